//! What becomes of picture files of every kind, whole and broken.

use super::*;
use image::codecs::gif::GifEncoder;
use image::codecs::jpeg::JpegEncoder;
use image::{Frame, ImageEncoder as _, Luma, LumaA, Rgb, Rgba};

/// 8×8 pixels of one ink mixture, CMYK with Adobe's marker, written by Pillow 13, which reads it as (235, 51, 51).
pub(super) const CMYK_JPEG: &str = "ffd8ffee000e41646f626500640000000000ffdb0043000302020302020303030304030304050805050404050a070706\
    080c0a0c0c0b0a0b0b0d0e12100d0e110e0b0b1016101113141515150c0f171816141812141514ffc000140800080008\
    044311004d11005911004b1100ffc4001f0000010501010101010100000000000000000102030405060708090a0bffc4\
    00b5100002010303020403050504040000017d01020300041105122131410613516107227114328191a1082342b1c115\
    52d1f02433627282090a161718191a25262728292a3435363738393a434445464748494a535455565758595a63646566\
    6768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2\
    c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9faffda000e0443004d005900\
    4b00003f00fd53af8f2be3cafd1dafffd9";
/// Two frames, red and blue, written by Pillow 13.
const ANIMATED_WEBP: &str = "524946468400000057454250565038580a00000002000000030000030000414e494d06000000000000000000\
    414e4d4628000000000000000000030000030000640000025650384c0f0000002f03c000000710fd8ffe0722a2ff0100414e4d46280000000\
    00000000000030000030000640000005650384c0f0000002f03c000000710d1fffe0722a2ff0100";
/// Two colours of a palette, the second one transparent, written by Pillow 13.
const PALETTE_PNG: &str = "89504e470d0a1a0a0000000d4948445200000002000000010103000000ceecedc900000006504c54450a141ec8\
    643277a0b39c0000000274524e53ff00e5b7304a0000000a49444154789c63700000004200412937f4ef0000000049454e44ae426082";

pub(super) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks_exact(2).map(pair).collect()
}

pub(super) fn encoded(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    picture.into().write_to(&mut file, format).unwrap();
    file.into_inner()
}

pub(super) fn read(file: &[u8], limits: &ImageLimits) -> Result<RgbImage, EncoderError> {
    decode(file, limits, None).map(|decoded| decoded.pixels)
}

fn pixels(file: &[u8]) -> Vec<[u8; 3]> {
    read(file, &ImageLimits::default()).unwrap().pixels().map(|pixel| pixel.0).collect()
}

pub(super) fn jpeg() -> Vec<u8> {
    encoded(RgbImage::from_fn(32, 24, |x, y| Rgb([x as u8 * 7, y as u8 * 9, 99])), ImageFormat::Jpeg)
}

#[test]
fn every_kind_of_colour_becomes_rgb() {
    let grey = image::GrayImage::from_pixel(2, 1, Luma([77]));
    assert_eq!(pixels(&encoded(grey, ImageFormat::Png)), [[77; 3]; 2]);
    let wide = image::ImageBuffer::<Luma<u16>, _>::from_pixel(1, 1, Luma([0x8080u16]));
    assert_eq!(pixels(&encoded(wide, ImageFormat::Png)), [[0x80; 3]]);
    let wide = image::ImageBuffer::<Rgb<u16>, _>::from_pixel(1, 1, Rgb([0xFFFFu16, 0, 0x4040]));
    assert_eq!(pixels(&encoded(wide, ImageFormat::Png)), [[255, 0, 0x40]]);
    assert_eq!(pixels(&bytes(PALETTE_PNG)), [[10, 20, 30], [200, 100, 50]]);
}

#[test]
fn alpha_is_dropped_not_blended() {
    let clear = image::RgbaImage::from_pixel(1, 1, Rgba([10, 200, 30, 0]));
    assert_eq!(pixels(&encoded(clear, ImageFormat::Png)), [[10, 200, 30]]);
    let clear = image::GrayAlphaImage::from_pixel(1, 1, LumaA([90, 3]));
    assert_eq!(pixels(&encoded(clear, ImageFormat::Png)), [[90; 3]]);
}

#[test]
fn cmyk_is_converted_as_pillow_does() {
    for pixel in pixels(&bytes(CMYK_JPEG)) {
        let close = pixel.iter().zip([235u8, 51, 51]).all(|(got, expected)| got.abs_diff(expected) <= 3);
        assert!(close, "{pixel:?}");
    }
}

#[test]
fn animations_give_their_first_frame() {
    assert_eq!(pixels(&bytes(ANIMATED_WEBP)), [[255, 0, 0]; 16]);
    let mut file = Vec::new();
    let frame = |colour| Frame::new(image::RgbaImage::from_pixel(2, 1, Rgba(colour)));
    let frames = [frame([250, 0, 0, 255]), frame([0, 0, 250, 255])];
    GifEncoder::new(&mut file).encode_frames(frames).unwrap();
    assert_eq!(pixels(&file), [[250, 0, 0]; 2]);
}

#[test]
fn orientation_is_applied() {
    // Orientation 6: to be turned a quarter clockwise.
    let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    let picture = RgbImage::from_fn(32, 16, |x, _| if x < 16 { Rgb([250, 0, 0]) } else { Rgb([0, 0, 250]) });
    let mut file = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut file, 95);
    encoder.set_exif_metadata(exif).unwrap();
    encoder.encode_image(&picture).unwrap();
    let upright = read(&file, &ImageLimits::default()).unwrap();
    assert_eq!(upright.dimensions(), (16, 32));
    let (top, bottom) = (upright.get_pixel(8, 4).0, upright.get_pixel(8, 28).0);
    assert!(top[0] > 200 && top[2] < 50 && bottom[2] > 200 && bottom[0] < 50, "{top:?} {bottom:?}");
}

#[test]
fn limits_are_checked_before_decoding() {
    let file = jpeg();
    let bytes = ImageLimits { max_bytes: 10, ..ImageLimits::default() };
    let error = read(&file, &bytes).unwrap_err().to_string();
    assert_eq!(error, format!("picture too large: {} bytes, allowed are 10", file.len()));
    let pixels = ImageLimits { max_pixels: 700, ..ImageLimits::default() };
    let error = read(&file, &pixels).unwrap_err().to_string();
    assert_eq!(error, "picture too large: 32x24 pixels, allowed are 700");
    // A header that promises 4 gigapixels, and nothing behind it.
    let mut bomb = encoded(image::RgbaImage::new(1, 1), ImageFormat::Gif);
    bomb[6..10].fill(0xFF);
    assert!(matches!(read(&bomb, &ImageLimits::default()), Err(EncoderError::ImageTooLarge { .. })));
}

#[test]
fn cut_off_files_are_broken() {
    let picture = RgbImage::from_fn(64, 64, |x, y| Rgb([x as u8, y as u8, (x * y) as u8]));
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Tiff] {
        let file = encoded(picture.clone(), format);
        assert!(read(&file, &ImageLimits::default()).is_ok(), "{format:?}");
        for length in [0, 5, 20, file.len() / 2, file.len() * 3 / 4] {
            let error = read(&file[..length], &ImageLimits::default()).unwrap_err();
            assert!(matches!(error, EncoderError::ImageBroken { .. }), "{format:?} {length}: {error}");
        }
    }
}

#[test]
fn a_jpeg_with_bytes_after_its_end_is_whole() {
    let mut file = jpeg();
    file.extend_from_slice(b"appended by a camera");
    assert_eq!(pixels(&file).len(), 32 * 24);
}

#[test]
fn bytes_that_are_no_picture_are_broken() {
    for file in [&b""[..], b"<svg/>", b"\xFF\xD8\xFF\xE0", b"GIF89a", b"\x89PNG\r\n\x1a\n", &[0x42; 1000]] {
        let error = read(file, &ImageLimits::default()).unwrap_err();
        assert!(matches!(error, EncoderError::ImageBroken { .. }), "{file:?}: {error}");
    }
}

#[test]
fn flipped_bytes_never_panic() {
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Gif, ImageFormat::WebP] {
        let picture = DynamicImage::from(RgbImage::from_fn(16, 16, |x, y| Rgb([x as u8 * 16, y as u8 * 16, 7])));
        let picture = if format == ImageFormat::Gif { picture.to_rgba8().into() } else { picture };
        let file = encoded(picture, format);
        for at in 0..file.len() {
            let mut broken = file.clone();
            broken[at] ^= 0x5A;
            // Either outcome is fine.
            drop(read(&broken, &ImageLimits::default()));
        }
    }
}

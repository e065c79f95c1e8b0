//! Which JPEGs are decoded with fewer pixels, that it makes no difference to what the model sees, and which are read by
//! the second decoder.

use image::codecs::jpeg::JpegEncoder;
use image::{ImageEncoder as _, Rgb};

use super::tests::{CMYK_JPEG, bytes, encoded, jpeg, read};
use super::*;
use crate::picture::settings::PictureSettings;
use crate::picture::transform::transform;

/// 21×18 pixels, progressive, colours subsampled in both directions, written by Pillow 13: red grows to the right, green
/// downwards.
const PROGRESSIVE_JPEG: &str = "ffd8ffe000104a46494600010100000100010000ffdb0043000d090a0b0a080d0b0a0b0e0e0d0f13201513121213271c1e17202e\
    2931302e292d2c333a4a3e333646372c2d405741464c4e525352323e5a615a50604a51524fffdb0043010e0e0e13111326151526\
    4f352d354f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f\
    4f4fffc20011080012001503012200021101031101ffc4001800010101010100000000000000000000000004030501ffc4001701\
    0101010100000000000000000000000005030406ffda000c03010002100310000001e5516efa6713a83d6f2829cd6e0f5bffc400\
    161001010100000000000000000000000000000102ffda0008010100010502984c26130984c2223fffc400191100020301000000\
    000000000000000000000103042131ffda0008010301013f01af38a7c2b8b87fffc4001611010101000000000000000000000000\
    00000301ffda0008010201013f01b59b659affc40014100100000000000000000000000000000030ffda0008010100063f021fff\
    c40017100003010000000000000000000000000010213100ffda0008010100013f211e987d278dffda000c030100020003000000\
    10943842ffc40017110101010100000000000000000000000000213141ffda0008010301013f10cea6ae593fffc4001711010003\
    0000000000000000000000000000102131ffda0008010201013f1016434fffc40019100003010101000000000000000000000000\
    0161511041ffda0008010100013f10891e24489884588458845e11ffd9";

/// Adobe's segment without its last bytes: `image` refuses it, others pass over it.
const SHORT_ADOBE_SEGMENT: &[u8] = b"\xFF\xEE\x00\x09Adobe\x00\x64";

fn shortest(edge: usize) -> Option<(Resize, Filter)> {
    Some((Resize::ShortestEdge(edge), Filter::Bicubic))
}

/// A picture whose corners differ, with edges in it.
fn pattern(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let edge = if (x / 40 + y / 31) % 2 == 0 { 60 } else { 0 };
        Rgb([(x * 190 / width) as u8 + edge, (y * 190 / height) as u8 + edge, 90])
    })
}

fn turned_jpeg(picture: &RgbImage, orientation: u8) -> Vec<u8> {
    let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    exif[18] = orientation;
    let mut file = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut file, 95);
    encoder.set_exif_metadata(exif).unwrap();
    encoder.encode_image(picture).unwrap();
    file
}

/// Mean difference, in steps of a byte, between what a model sees of both.
fn difference(one: Decoded, other: Decoded, resize: Option<(Resize, Filter)>) -> f64 {
    let settings = PictureSettings { resize, crop: None, rescale: 1.0, mean: [0.0; 3], deviation: [1.0; 3] };
    let (one, other) = (transform(one, &settings).unwrap(), transform(other, &settings).unwrap());
    assert_eq!(one.len(), other.len());
    let sum: f64 = one.iter().zip(&other).map(|(one, other)| f64::from((one - other).abs())).sum();
    sum / one.len() as f64
}

#[test]
fn fewer_pixels_look_the_same_in_every_orientation() {
    let limits = ImageLimits::default();
    // Sides that 4 and 8 do not divide: the last pixel of a row stands for less than a whole one.
    let picture = pattern(203, 333);
    for (edge, eighths) in [(12, 1), (25, 2)] {
        for orientation in 1..=8 {
            let file = turned_jpeg(&picture, orientation);
            let whole = decode(&file, &limits, None).unwrap();
            let reduced = decode(&file, &limits, shortest(edge)).unwrap();
            let turned = orientation >= 5;
            assert_eq!(reduced.full, whole.full);
            assert_eq!((reduced.full.width, reduced.full.height), if turned { (333, 203) } else { (203, 333) });
            let size = |length: u32| (length * eighths).div_ceil(8);
            let (width, height) = (size(whole.pixels.width()), size(whole.pixels.height()));
            assert_eq!(reduced.pixels.dimensions(), (width, height), "{edge} {orientation}");
            let difference = difference(reduced, whole, shortest(edge));
            assert!(difference < 1.5, "edge {edge}, orientation {orientation}: {difference}");
        }
    }
}

#[test]
fn the_model_gets_twice_the_pixels_it_takes_in_both_directions() {
    let file = encoded(pattern(400, 200), ImageFormat::Jpeg);
    let exact = |width, height| Some((Resize::Exact(Size { width, height }), Filter::Bilinear));
    for (resize, expected) in [
        (shortest(100), (400, 200)),
        (shortest(26), (400, 200)),
        (shortest(25), (100, 50)),
        (shortest(12), (50, 25)),
        (shortest(1), (50, 25)),
        (exact(50, 25), (100, 50)),
        (exact(51, 10), (400, 200)),
        (exact(10, 26), (400, 200)),
        (None, (400, 200)),
        (Some((Resize::ShortestEdge(12), Filter::Nearest)), (400, 200)),
    ] {
        let decoded = decode(&file, &ImageLimits::default(), resize).unwrap();
        assert_eq!(decoded.pixels.dimensions(), expected, "{resize:?}");
        assert_eq!(decoded.full, Size { width: 400, height: 200 });
    }
}

#[test]
fn progressive_and_grey_pictures_are_reduced_too() {
    let limits = ImageLimits::default();
    let grey = DynamicImage::from(pattern(64, 48)).into_luma8();
    for (file, expected) in [(bytes(PROGRESSIVE_JPEG), (6, 5)), (encoded(grey, ImageFormat::Jpeg), (8, 6))] {
        let reduced = decode(&file, &limits, shortest(2)).unwrap();
        assert_eq!(reduced.pixels.dimensions(), expected);
        let difference = difference(reduced, decode(&file, &limits, None).unwrap(), shortest(2));
        // Two pixels a side are left: what the last, incomplete block rounds to counts for much.
        assert!(difference < 5.0, "{difference}");
    }
}

#[test]
fn unusual_colours_are_decoded_in_full() {
    let decoded = decode(&bytes(CMYK_JPEG), &ImageLimits::default(), shortest(1)).unwrap();
    assert_eq!(decoded.pixels.dimensions(), (8, 8));
    let png = encoded(pattern(64, 64), ImageFormat::Png);
    let decoded = decode(&png, &ImageLimits::default(), shortest(1)).unwrap();
    assert_eq!(decoded.pixels.dimensions(), (64, 64));
}

#[test]
fn reduced_decoding_refuses_what_full_decoding_refuses() {
    let file = encoded(pattern(400, 200), ImageFormat::Jpeg);
    let small = ImageLimits { max_pixels: 79_999, ..ImageLimits::default() };
    let error = decode(&file, &small, shortest(10)).unwrap_err().to_string();
    assert_eq!(error, "picture too large: 400x200 pixels, allowed are 79999");
    for length in [30, file.len() / 2, file.len() - 2] {
        let error = decode(&file[..length], &ImageLimits::default(), shortest(10)).unwrap_err();
        assert!(matches!(error, EncoderError::ImageBroken { .. }), "{length}: {error}");
    }
    // Neither fails on damage that the other reads over, and neither panics.
    let file = encoded(pattern(48, 40), ImageFormat::Jpeg);
    for at in 0..file.len() {
        let mut broken = file.clone();
        broken[at] ^= 0x5A;
        let (reduced, whole) = (decode(&broken, &small, shortest(3)), decode(&broken, &small, None));
        assert_eq!(reduced.is_ok(), whole.is_ok(), "byte {at}");
    }
}

#[test]
fn a_jpeg_that_one_decoder_refuses_is_read_by_the_other() {
    let limits = ImageLimits::default();
    let mut file = jpeg();
    let whole = read(&file, &limits).unwrap();
    file.splice(2..2, SHORT_ADOBE_SEGMENT.iter().copied());
    let error = image::load_from_memory(&file).unwrap_err().to_string();
    assert!(error.contains("App14"), "{error}");
    let second = decode(&file, &limits, None).unwrap();
    assert_eq!(second.full, Size { width: 32, height: 24 });
    let furthest = second.pixels.as_raw().iter().zip(whole.as_raw()).map(|(one, other)| one.abs_diff(*other)).max();
    assert!(furthest <= Some(3), "{furthest:?}");

    let small = ImageLimits { max_pixels: 700, ..limits };
    let error = decode(&file, &small, None).unwrap_err().to_string();
    assert_eq!(error, "picture too large: 32x24 pixels, allowed are 700");
    let error = decode(&file[..file.len() - 2], &limits, None).unwrap_err();
    assert!(matches!(error, EncoderError::ImageBroken { .. }), "{error}");

    let mut turned = turned_jpeg(&pattern(32, 16), 6);
    turned.splice(2..2, SHORT_ADOBE_SEGMENT.iter().copied());
    assert_eq!(decode(&turned, &limits, None).unwrap().pixels.dimensions(), (16, 32));
}

#[test]
fn what_both_decoders_refuse_is_said_in_the_words_of_the_first() {
    let mut file = jpeg();
    // A segment of length 0.
    file.splice(2..2, *b"\xFF\xFE\x00\x00");
    let error = read(&file, &ImageLimits::default()).unwrap_err().to_string();
    let first = image::load_from_memory(&file).unwrap_err().to_string();
    assert_eq!(error, format!("picture cannot be decoded: {first}"));
}

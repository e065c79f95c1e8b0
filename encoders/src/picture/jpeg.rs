//! What `image` does not do with JPEGs: telling whether one is whole, decoding one at a fraction of its size, and decoding
//! one that `image` refuses. Owns reading marker segments (ITU-T T.81, annex B) and all use of the crate `jpeg-decoder`.
//! Invariant: only colours about which both decoders agree are decoded reduced; nothing is decoded beyond the limits.

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};
use jpeg_decoder::{ColorTransform, Decoder, PixelFormat};

use super::decode::{broken, check_pixels};
use super::settings::Size;
use crate::error::EncoderError;
use crate::image_encoder::ImageLimits;

/// End of image.
const END: u8 = 0xD9;
/// Start of scan: the header is over.
const SCAN: u8 = 0xDA;
/// The segment in which Adobe says how colours are transformed.
const ADOBE: u8 = 0xEE;

/// Whether the marker segments lead to the end marker. Decoders fill what is missing with grey, which would be embedded
/// as if it were the picture.
pub(crate) fn is_complete(file: &[u8]) -> bool {
    Segments { file, at: 2 }.any(|segment| segment.marker == END)
}

/// Whether it is grey or YCbCr, 8 bits, Huffman-coded, with the usual subsampling of colours: what needs no knowledge of
/// the conventions in which decoders differ.
pub(crate) fn is_plain(file: &[u8]) -> bool {
    let mut plain_frame = false;
    for Segment { marker, payload } in (Segments { file, at: 2 }) {
        match marker {
            SCAN | END => return plain_frame,
            // Baseline, extended and progressive; the payload is precision, height, width, and by colour id, sampling
            // and table.
            0xC0..=0xC2 => {
                plain_frame = match *payload {
                    [8, _, _, _, _, 1, _, _, _] => true,
                    [8, _, _, _, _, 3, id, sampling, _, _, 0x11, _, _, 0x11, _] => {
                        id != b'R' && matches!(sampling, 0x11 | 0x21 | 0x12 | 0x22 | 0x41)
                    }
                    _ => return false,
                }
            }
            // Other processes, but for the tables among these numbers.
            0xC3 | 0xC5..=0xC7 | 0xC9..=0xCF => return false,
            ADOBE if payload.starts_with(b"Adobe") && payload.get(11) != Some(&1) => return false,
            _ => {}
        }
    }
    false
}

struct Segment<'a> {
    marker: u8,
    payload: &'a [u8],
}

/// The segments of a file, and its end marker if there is one.
struct Segments<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    fn next(&mut self) -> Option<Segment<'a>> {
        loop {
            // To the next marker: entropy-coded data has FF only before 00 and restart markers.
            let offset = self.file.get(self.at..)?.iter().position(|byte| *byte == 0xFF)?;
            self.at += offset + 1;
            match *self.file.get(self.at)? {
                END => return Some(Segment { marker: END, payload: &[] }),
                // Fill bytes, stuffing, restart markers and others without a segment.
                0xFF => {}
                0x00 | 0x01 | 0xD0..=0xD8 => self.at += 1,
                marker => {
                    let length = self.file.get(self.at + 1..self.at + 3)?;
                    let length = usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
                    let begin = self.at + 3;
                    self.at += 1 + length;
                    let payload = self.file.get(begin..self.at.min(self.file.len()))?;
                    return Some(Segment { marker, payload });
                }
            }
        }
    }
}

/// Decodes a plain JPEG at `eighths` of its size, rounded up; not yet upright.
pub(crate) fn decode_reduced(file: &[u8], full: Size, eighths: usize) -> Result<RgbImage, EncoderError> {
    let mut decoder = Decoder::new(file);
    let length = |full: usize| u16::try_from((full * eighths).div_ceil(8)).map_err(broken);
    let expected = (length(full.width)?, length(full.height)?);
    let got = decoder.scale(expected.0, expected.1).map_err(broken)?;
    if got != expected {
        return Err(broken(format!("reduced to {}x{}, expected were {}x{}", got.0, got.1, expected.0, expected.1)));
    }
    if decoder.info().is_some_and(|info| info.pixel_format == PixelFormat::RGB24) {
        decoder.set_color_transform(ColorTransform::YCbCr);
    }
    pixels(&mut decoder)
}

/// Decodes a JPEG that `image` refused; not yet upright.
pub(crate) fn decode_refused(file: &[u8], limits: &ImageLimits) -> Result<(RgbImage, Orientation), EncoderError> {
    let mut decoder = Decoder::new(file);
    decoder.read_info().map_err(broken)?;
    let info = decoder.info().ok_or_else(|| broken("a JPEG without header"))?;
    check_pixels(info.width.into(), info.height.into(), limits)?;
    if !is_complete(file) {
        return Err(cut_off());
    }
    let picture = pixels(&mut decoder)?;
    let orientation = decoder.exif_data().and_then(Orientation::from_exif_chunk);
    Ok((picture, orientation.unwrap_or(Orientation::NoTransforms)))
}

/// What is said about a JPEG that is not whole.
pub(crate) fn cut_off() -> EncoderError {
    broken("the JPEG ends before its end marker: it is cut off")
}

fn pixels(decoder: &mut Decoder<&[u8]>) -> Result<RgbImage, EncoderError> {
    let bytes = decoder.decode().map_err(broken)?;
    let info = decoder.info().ok_or_else(|| broken("a JPEG without header"))?;
    let (width, height) = (info.width.into(), info.height.into());
    let picture = match info.pixel_format {
        PixelFormat::RGB24 => RgbImage::from_raw(width, height, bytes),
        PixelFormat::L8 => {
            let grey = GrayImage::from_raw(width, height, bytes);
            grey.map(|grey| DynamicImage::from(grey).into_rgb8())
        }
        // What the numbers of four inks mean is a convention that decoders differ in.
        PixelFormat::L16 | PixelFormat::CMYK32 => {
            return Err(broken(format!("a JPEG with pixels of kind {:?}", info.pixel_format)));
        }
    };
    picture.ok_or_else(|| broken(format!("the decoder gave other than {width}x{height} pixels")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageFormat, Rgb};

    fn file() -> Vec<u8> {
        let mut file = std::io::Cursor::new(Vec::new());
        RgbImage::from_pixel(9, 8, Rgb([200, 100, 50])).write_to(&mut file, ImageFormat::Jpeg).unwrap();
        file.into_inner()
    }

    /// A file with other bytes at a distance from the marker of its frame header.
    fn with_frame(changes: &[(usize, u8)]) -> Vec<u8> {
        let mut file = file();
        let frame = file.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
        changes.iter().for_each(|&(offset, value)| file[frame + offset] = value);
        file
    }

    #[test]
    fn the_end_marker_makes_it_whole() {
        let file = file();
        assert!(is_complete(&file));
        assert!((0..file.len()).all(|length| !is_complete(&file[..length])));
    }

    #[test]
    fn usual_colours_and_processes_are_plain() {
        assert!(is_plain(&file()));
        for marker in [0xC1, 0xC2] {
            assert!(is_plain(&with_frame(&[(1, marker)])), "{marker:X}");
        }
        for sampling in [0x11, 0x21, 0x12, 0x22, 0x41] {
            assert!(is_plain(&with_frame(&[(11, sampling)])), "{sampling:X}");
        }
    }

    #[test]
    fn what_decoders_differ_in_is_not_plain() {
        let lossless_or_arithmetic = [0xC3, 0xC9, 0xCA, 0xCF].map(|marker| with_frame(&[(1, marker)]));
        let twelve_bits = with_frame(&[(4, 12)]);
        let red_green_blue = with_frame(&[(10, b'R'), (13, b'G'), (16, b'B')]);
        let larger_chroma = with_frame(&[(14, 0x22)]);
        let mut adobe_rgb = file();
        adobe_rgb.splice(2..2, *b"\xFF\xEE\x00\x0EAdobe\x00\x64\x00\x00\x00\x00\x00");
        let mut without_frame = file();
        without_frame.truncate(20);
        let others = [twelve_bits, red_green_blue, larger_chroma, adobe_rgb, without_frame];
        for (number, file) in lossless_or_arithmetic.iter().chain(&others).enumerate() {
            assert!(!is_plain(file), "{number}");
        }
    }
}

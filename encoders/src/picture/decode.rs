//! Picture files to 8-bit RGB. Owns limits, recognising formats by content, the choice of decoder and of how much is
//! decoded, orientation, and what counts as broken. Invariant: bytes and pixels are checked before anything is decoded; a
//! decoder that panics is a decoder that refuses, and a picture that every decoder refuses is broken.

use std::fmt::Display;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};

use super::jpeg;
use super::settings::{Filter, Resize, Size};
use crate::error::EncoderError;
use crate::image_encoder::ImageLimits;

/// Most bytes of a decoded pixel: four colours of 32 bits.
const MAX_BYTES_PER_PIXEL: u64 = 16;
/// What decoders may use besides the picture itself.
const DECODER_OVERHEAD_BYTES: u64 = 64 << 20;
/// Characters of a decoder's words that are kept.
const MAX_DETAIL_CHARACTERS: usize = 200;
/// Parts of a JPEG's size that it may be decoded at, in eighths. Half the size is not among them: it takes longer than
/// decoding everything with the faster decoder.
const REDUCED_EIGHTHS: [usize; 2] = [1, 2];
/// A JPEG is decoded at 1/4 or 1/8 of its size where that leaves at least this many times the pixels, in both
/// directions, that the model's size has: the filter that resizes the rest sees enough to give the same picture.
const MIN_REDUCED_RATIO: usize = 2;

/// A decoded picture, upright.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// Its pixels, all of them or fewer.
    pub(crate) pixels: RgbImage,
    /// The size that the file has.
    pub(crate) full: Size,
    /// What of `pixels` the file's pixels cover: with fewer pixels, the last of a row stands for less than a whole one.
    pub(crate) extent: Extent,
}

/// A rectangle in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Extent {
    /// Left edge.
    pub(crate) left: f64,
    /// Upper edge.
    pub(crate) top: f64,
    /// Width.
    pub(crate) width: f64,
    /// Height.
    pub(crate) height: f64,
}

/// Decodes the first frame, upright, without alpha: as PIL's `convert("RGB")` does, transparent pixels keep the colour
/// they are stored with. With fewer pixels than the file has where that is enough for `resize`.
pub(crate) fn decode(
    file: &[u8],
    limits: &ImageLimits,
    resize: Option<(Resize, Filter)>,
) -> Result<Decoded, EncoderError> {
    let bytes = file.len() as u64;
    if bytes > limits.max_bytes {
        let detail = format!("{bytes} bytes, allowed are {}", limits.max_bytes);
        return Err(EncoderError::ImageTooLarge { detail });
    }
    let format = image::guess_format(file).map_err(|_| broken("not a picture in a known format"))?;
    let first = guarded(|| decode_first_frame(file, format, limits, resize));
    match first {
        // There is a second decoder for JPEGs only.
        Err(EncoderError::ImageBroken { detail }) if format == ImageFormat::Jpeg => {
            match guarded(|| jpeg::decode_refused(file, limits)) {
                Ok((pixels, orientation)) => Ok(upright(pixels, orientation)),
                Err(error @ EncoderError::ImageTooLarge { .. }) => Err(error),
                Err(_) => Err(EncoderError::ImageBroken { detail }),
            }
        }
        first => first,
    }
}

/// Decoders are other people's code on bytes from anywhere; nothing of ours is changed inside.
fn guarded<T>(decode: impl FnOnce() -> Result<T, EncoderError>) -> Result<T, EncoderError> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| Err(broken("the decoder gave up on it")))
}

fn decode_first_frame(
    file: &[u8],
    format: ImageFormat,
    limits: &ImageLimits,
    resize: Option<(Resize, Filter)>,
) -> Result<Decoded, EncoderError> {
    let mut reader = ImageReader::with_format(Cursor::new(file), format);
    // Until the size is known there is nothing to hold but metadata, such as colour profiles, which may be bombs too.
    reader.limits(allowing(0));
    let mut decoder = reader.into_decoder().map_err(undecodable)?;
    let (width, height) = decoder.dimensions();
    check_pixels(width, height, limits)?;
    decoder.set_limits(allowing(u64::from(width) * u64::from(height))).map_err(undecodable)?;
    if format == ImageFormat::Jpeg && !jpeg::is_complete(file) {
        return Err(jpeg::cut_off());
    }
    // A picture without a readable orientation is upright.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let full = Size { width: width as usize, height: height as usize };
    if format == ImageFormat::Jpeg
        && let Some(eighths) = sufficient_eighths(full, orientation, resize)
        && jpeg::is_plain(file)
        && let Ok(pixels) = guarded(|| jpeg::decode_reduced(file, full, eighths))
    {
        return Ok(upright_reduced(pixels, orientation, full, eighths));
    }
    Ok(upright(DynamicImage::from_decoder(decoder).map_err(undecodable)?.into_rgb8(), orientation))
}

/// What a decoder may use for a picture of so many pixels.
fn allowing(pixels: u64) -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(pixels.saturating_mul(MAX_BYTES_PER_PIXEL).saturating_add(DECODER_OVERHEAD_BYTES));
    limits
}

/// The smallest part of a picture's size that it may be decoded at, if it is less than all.
fn sufficient_eighths(full: Size, orientation: Orientation, resize: Option<(Resize, Filter)>) -> Option<usize> {
    let (resize, filter) = resize?;
    // It takes single pixels as they are: fewer pixels are other pixels.
    if filter == Filter::Nearest {
        return None;
    }
    let full = if swaps_sides(orientation) { full.turned() } else { full };
    let target = resize.target(full);
    let suffices = |full: usize, eighths: usize, target: usize| full * eighths / 8 >= MIN_REDUCED_RATIO * target;
    REDUCED_EIGHTHS
        .into_iter()
        .find(|&eighths| suffices(full.width, eighths, target.width) && suffices(full.height, eighths, target.height))
}

fn upright(pixels: RgbImage, orientation: Orientation) -> Decoded {
    let mut picture = DynamicImage::from(pixels);
    picture.apply_orientation(orientation);
    let full = Size { width: picture.width() as usize, height: picture.height() as usize };
    let extent = Extent { left: 0.0, top: 0.0, width: full.width as f64, height: full.height as f64 };
    Decoded { pixels: picture.into_rgb8(), full, extent }
}

fn upright_reduced(pixels: RgbImage, orientation: Orientation, full: Size, eighths: usize) -> Decoded {
    let Decoded { pixels, full: reduced, .. } = upright(pixels, orientation);
    let full = if swaps_sides(orientation) { full.turned() } else { full };
    let covered = |full: usize| full as f64 * eighths as f64 / 8.0;
    let (width, height) = (covered(full.width), covered(full.height));
    // The pixel that stands for less is the last one before the picture is turned.
    let (at_left, at_top) = incomplete_before(orientation);
    let left = if at_left { reduced.width as f64 - width } else { 0.0 };
    let top = if at_top { reduced.height as f64 - height } else { 0.0 };
    Decoded { pixels, full, extent: Extent { left, top, width, height } }
}

fn swaps_sides(orientation: Orientation) -> bool {
    match orientation {
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => {
            true
        }
        Orientation::NoTransforms
        | Orientation::Rotate180
        | Orientation::FlipHorizontal
        | Orientation::FlipVertical => false,
    }
}

/// Whether what was last in a row, or in a column, comes first at the left and at the top of the upright picture.
fn incomplete_before(orientation: Orientation) -> (bool, bool) {
    match orientation {
        Orientation::NoTransforms | Orientation::Rotate90FlipH => (false, false),
        Orientation::FlipHorizontal | Orientation::Rotate90 => (true, false),
        Orientation::FlipVertical | Orientation::Rotate270 => (false, true),
        Orientation::Rotate180 | Orientation::Rotate270FlipH => (true, true),
    }
}

/// Refuses pictures over the limit, and those without pixels.
pub(super) fn check_pixels(width: u32, height: u32, limits: &ImageLimits) -> Result<(), EncoderError> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits.max_pixels {
        let detail = format!("{width}x{height} pixels, allowed are {}", limits.max_pixels);
        return Err(EncoderError::ImageTooLarge { detail });
    }
    if pixels == 0 {
        return Err(broken(format!("{width}x{height} pixels")));
    }
    Ok(())
}

/// A picture that cannot be decoded. Decoders quote the file, whose words can be endless.
pub(super) fn broken(detail: impl Display) -> EncoderError {
    let mut detail = detail.to_string();
    if let Some((end, _)) = detail.char_indices().nth(MAX_DETAIL_CHARACTERS) {
        detail.truncate(end);
        detail.push('…');
    }
    EncoderError::ImageBroken { detail }
}

fn undecodable(error: ImageError) -> EncoderError {
    match error {
        ImageError::Limits(limit) => EncoderError::ImageTooLarge { detail: limit.to_string() },
        ImageError::Decoding(_)
        | ImageError::Encoding(_)
        | ImageError::Parameter(_)
        | ImageError::Unsupported(_)
        | ImageError::IoError(_) => broken(error),
    }
}

#[cfg(test)]
mod jpeg_tests;
#[cfg(test)]
mod tests;

//! A decoded picture to the values a tower takes: resize, crop, rescale, normalise. Owns being the same as transformers'
//! image processors with PIL behind them. Invariant: the result has the size that the settings promise.

use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

use super::decode::{Decoded, Extent, broken};
use super::settings::{Filter, PictureSettings, Size};
use crate::error::EncoderError;

/// Bytes of a pixel.
const RGB: usize = 3;

/// Largest resized picture before the crop, in pixels: the shorter side of a picture of 1 × 10,000 pixels grows to the
/// model's size, the longer one with it.
const MAX_RESIZED_PIXELS: u64 = 50_000_000;

/// Applies the settings; the result is colour, row, column.
pub(crate) fn transform(picture: Decoded, settings: &PictureSettings) -> Result<Vec<f32>, EncoderError> {
    let Decoded { pixels, full: mut size, extent } = picture;
    let mut bytes;
    if let Some((resize, filter)) = settings.resize {
        // Of the file's size, not of what was decoded: the crop must come out at the same place.
        let target = resize.target(size);
        if target.width as u64 * target.height as u64 > MAX_RESIZED_PIXELS {
            let detail = format!(
                "{}x{} pixels become {}x{} for the model, allowed are {MAX_RESIZED_PIXELS}",
                size.width, size.height, target.width, target.height
            );
            return Err(EncoderError::ImageTooLarge { detail });
        }
        bytes = resized(pixels, extent, target, filter)?;
        size = target;
    } else {
        bytes = pixels.into_raw();
    }
    if let Some(crop) = settings.crop {
        bytes = cropped(&bytes, size, crop);
        size = crop;
    }
    debug_assert_eq!(bytes.len(), size.width * size.height * RGB);
    let mut values = Vec::with_capacity(bytes.len());
    for colour in 0..RGB {
        let (mean, deviation) = (settings.mean[colour], settings.deviation[colour]);
        let normalised = |byte: &u8| (f32::from(*byte) * settings.rescale - mean) / deviation;
        values.extend(bytes[colour..].iter().step_by(RGB).map(normalised));
    }
    Ok(values)
}

/// PIL's antialiased resizing: the filter's support grows with the reduction.
fn resized(pixels: RgbImage, extent: Extent, to: Size, filter: Filter) -> Result<Vec<u8>, EncoderError> {
    let (width, height) = pixels.dimensions();
    if (to.width, to.height) == (width as usize, height as usize) {
        return Ok(pixels.into_raw());
    }
    let algorithm = match filter {
        Filter::Nearest => ResizeAlg::Nearest,
        Filter::Lanczos => ResizeAlg::Convolution(FilterType::Lanczos3),
        Filter::Bilinear => ResizeAlg::Convolution(FilterType::Bilinear),
        // Both have a = −0.5.
        Filter::Bicubic => ResizeAlg::Convolution(FilterType::CatmullRom),
        Filter::Box => ResizeAlg::Convolution(FilterType::Box),
        Filter::Hamming => ResizeAlg::Convolution(FilterType::Hamming),
    };
    let source = Image::from_vec_u8(width, height, pixels.into_raw(), PixelType::U8x3).map_err(broken)?;
    let mut target = Image::new(to.width as u32, to.height as u32, PixelType::U8x3);
    let Extent { left, top, width, height } = extent;
    let options = ResizeOptions::new().resize_alg(algorithm).crop(left, top, width, height);
    Resizer::new().resize(&source, &mut target, &options).map_err(broken)?;
    Ok(target.into_vec())
}

/// Cuts out the centre as `center_crop` of transformers does, with black where the picture is smaller: half of the
/// missing pixels, rounded up, go before it; half of the surplus, rounded down, is cut before it.
fn cropped(bytes: &[u8], from: Size, to: Size) -> Vec<u8> {
    let horizontal = Span::new(from.width, to.width);
    let vertical = Span::new(from.height, to.height);
    let mut cut = vec![0; to.width * to.height * RGB];
    for row in 0..vertical.length {
        let source = ((vertical.source + row) * from.width + horizontal.source) * RGB;
        let target = ((vertical.target + row) * to.width + horizontal.target) * RGB;
        let length = horizontal.length * RGB;
        cut[target..target + length].copy_from_slice(&bytes[source..source + length]);
    }
    cut
}

/// What of one dimension is copied where.
struct Span {
    source: usize,
    target: usize,
    length: usize,
}

impl Span {
    fn new(from: usize, to: usize) -> Span {
        if to <= from {
            return Span { source: (from - to) / 2, target: 0, length: to };
        }
        // transformers pads to the larger size with ceil((to − from) / 2) in front, then cuts at
        // floor((from − to) / 2) + that: 0. The picture starts after the padding.
        let missing = to - from;
        Span { source: 0, target: missing.div_ceil(2), length: from }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::settings::Resize;

    fn whole(pixels: RgbImage) -> Decoded {
        let full = Size { width: pixels.width() as usize, height: pixels.height() as usize };
        let extent = Extent { left: 0.0, top: 0.0, width: full.width as f64, height: full.height as f64 };
        Decoded { pixels, full, extent }
    }

    #[test]
    fn the_centre_is_cut_out_and_a_small_picture_gets_black_around() {
        // Values of numpy's view of transformers' center_crop on a row 1, 2, 3, 4, 5 and on 1, 2.
        let row = |values: &[u8]| values.iter().flat_map(|value| [*value; 3]).collect::<Vec<u8>>();
        let crop = |values: &[u8], to: usize| {
            cropped(&row(values), Size { width: values.len(), height: 1 }, Size { width: to, height: 1 })
        };
        assert_eq!(crop(&[1, 2, 3, 4, 5], 3), row(&[2, 3, 4]));
        assert_eq!(crop(&[1, 2, 3, 4, 5], 2), row(&[2, 3]));
        assert_eq!(crop(&[1, 2], 5), row(&[0, 0, 1, 2, 0]));
        assert_eq!(crop(&[1, 2], 4), row(&[0, 1, 2, 0]));
    }

    #[test]
    fn values_are_rescaled_and_normalised_by_colour() {
        let settings = PictureSettings {
            resize: None,
            crop: None,
            rescale: 1.0 / 255.0,
            mean: [0.5, 0.0, 0.25],
            deviation: [0.5, 1.0, 0.25],
        };
        let picture = RgbImage::from_raw(1, 2, vec![255, 0, 255, 0, 255, 0]).unwrap();
        assert_eq!(transform(whole(picture), &settings).unwrap(), [1.0, -1.0, 0.0, 1.0, 3.0, -1.0]);
    }

    #[test]
    fn extreme_proportions_are_refused() {
        let resize = Some((Resize::ShortestEdge(224), Filter::Bicubic));
        let one = [1.0; 3];
        let settings = PictureSettings { resize, crop: None, rescale: 1.0, mean: [0.0; 3], deviation: one };
        let error = transform(whole(RgbImage::new(1, 10_000)), &settings).unwrap_err();
        assert!(matches!(error, EncoderError::ImageTooLarge { .. }), "{error}");
    }
}

//! A decoded picture to the values a tower takes: resize, crop, rescale, normalise. Owns being the same as transformers'
//! image processors with PIL behind them. Invariant: the result has the size that the settings promise.

use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

use super::settings::{Filter, PictureSettings, Resize, Size};
use crate::error::EncoderError;

/// Bytes of a pixel.
const RGB: usize = 3;

/// Largest resized picture before the crop, in pixels: the shorter side of a picture of 1 × 10,000 pixels grows to the
/// model's size, the longer one with it.
const MAX_RESIZED_PIXELS: u64 = 50_000_000;

/// Applies the settings; the result is colour, row, column.
pub(crate) fn transform(picture: RgbImage, settings: &PictureSettings) -> Result<Vec<f32>, EncoderError> {
    let mut size = Size { width: picture.width() as usize, height: picture.height() as usize };
    let mut bytes = picture.into_raw();
    if let Some((resize, filter)) = settings.resize {
        let target = target_size(size, resize);
        let pixels = target.width as u64 * target.height as u64;
        if pixels > MAX_RESIZED_PIXELS {
            let detail = format!(
                "{}x{} pixels become {}x{} for the model, allowed are {MAX_RESIZED_PIXELS}",
                size.width, size.height, target.width, target.height
            );
            return Err(EncoderError::ImageTooLarge { detail });
        }
        bytes = resized(bytes, size, target, filter)?;
        size = target;
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

/// The size to resize to, rounded as `get_resize_output_image_size` of transformers does: down.
fn target_size(size: Size, resize: Resize) -> Size {
    match resize {
        Resize::Exact(target) => target,
        Resize::ShortestEdge(edge) if size.width <= size.height => {
            Size { width: edge, height: edge * size.height / size.width }
        }
        Resize::ShortestEdge(edge) => Size { width: edge * size.width / size.height, height: edge },
    }
}

/// PIL's antialiased resizing: the filter's support grows with the reduction.
fn resized(bytes: Vec<u8>, from: Size, to: Size, filter: Filter) -> Result<Vec<u8>, EncoderError> {
    if from == to {
        return Ok(bytes);
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
    let broken = |detail: String| EncoderError::ImageBroken { detail };
    let source = Image::from_vec_u8(from.width as u32, from.height as u32, bytes, PixelType::U8x3)
        .map_err(|error| broken(error.to_string()))?;
    let mut target = Image::new(to.width as u32, to.height as u32, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(algorithm);
    Resizer::new().resize(&source, &mut target, &options).map_err(|error| broken(error.to_string()))?;
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

    #[test]
    fn output_sizes_are_rounded_down() {
        let size = |width, height| Size { width, height };
        let shortest = Resize::ShortestEdge(224);
        assert_eq!(target_size(size(640, 427), shortest), size(335, 224));
        assert_eq!(target_size(size(427, 640), shortest), size(224, 335));
        assert_eq!(target_size(size(100, 100), shortest), size(224, 224));
        assert_eq!(target_size(size(640, 427), Resize::Exact(size(8, 9))), size(8, 9));
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
        assert_eq!(transform(picture, &settings).unwrap(), [1.0, -1.0, 0.0, 1.0, 3.0, -1.0]);
    }

    #[test]
    fn extreme_proportions_are_refused() {
        let resize = Some((Resize::ShortestEdge(224), Filter::Bicubic));
        let one = [1.0; 3];
        let settings = PictureSettings { resize, crop: None, rescale: 1.0, mean: [0.0; 3], deviation: one };
        let error = transform(RgbImage::new(1, 10_000), &settings).unwrap_err();
        assert!(matches!(error, EncoderError::ImageTooLarge { .. }), "{error}");
    }
}

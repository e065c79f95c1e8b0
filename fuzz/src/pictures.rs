//! Picture files of every format. Invariant: a picture becomes values of the model's size, all finite, or is refused as too
//! large or broken; no decoder's panic gets through.

use std::io::Cursor;
use std::path::Path;
use std::sync::OnceLock;

use encoders::{Checkpoint, CheckpointSource, DeviceChoice, EncoderError, ImageEncoder, ImageLimits};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use schemas::Dtype;

/// Small, so that an input costs milliseconds; the checks are the same.
const LIMITS: ImageLimits = ImageLimits { max_bytes: 1 << 20, max_pixels: 1 << 16 };

fn encoder() -> &'static ImageEncoder {
    static ENCODER: OnceLock<ImageEncoder> = OnceLock::new();
    ENCODER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/model");
        let checkpoint = Checkpoint::open(&CheckpointSource::Folder(folder)).unwrap();
        ImageEncoder::load(&checkpoint, DeviceChoice::Cpu, Dtype::F32).unwrap()
    })
}

pub(crate) fn picture(data: &[u8]) {
    static LENGTH: OnceLock<usize> = OnceLock::new();
    match encoder().preprocess(data, &LIMITS) {
        Ok(pixels) => {
            assert_eq!(pixels.0.len(), *LENGTH.get_or_init(|| pixels.0.len()));
            assert!(pixels.0.iter().all(|value| value.is_finite()));
        }
        Err(EncoderError::ImageTooLarge { detail } | EncoderError::ImageBroken { detail }) => {
            assert!(detail.len() < 1000, "{detail}");
        }
        Err(other) => panic!("{other}"),
    }
}

pub(crate) fn picture_seeds() -> Vec<Vec<u8>> {
    let picture = RgbImage::from_fn(19, 13, |x, y| Rgb([x as u8 * 13, y as u8 * 19, 99]));
    let formats =
        [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp, ImageFormat::Tiff];
    let encoded = |format| {
        let mut file = Cursor::new(Vec::new());
        let picture = DynamicImage::from(picture.clone());
        let picture = if format == ImageFormat::Gif { picture.to_rgba8().into() } else { picture };
        picture.write_to(&mut file, format).unwrap();
        file.into_inner()
    };
    formats.map(encoded).to_vec()
}

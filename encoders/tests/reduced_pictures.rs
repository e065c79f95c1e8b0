//! JPEGs that are decoded with fewer pixels than they have, against the same pixels decoded in full: the embeddings stay.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and print what they measured")]

mod common;

use std::io::Cursor;
use std::path::{Path, PathBuf};

use common::{Reference, cosine};
use encoders::{Checkpoint, CheckpointSource, DeviceChoice, ImageEncoder, ImageLimits};
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{ImageFormat, RgbImage};
use schemas::Dtype;

/// The least cosine between the embeddings of a picture decoded reduced and in full.
const FLOOR: f64 = 0.995;

/// Repository folders with pictures, and folders beside it.
fn pictures(folder: &Path, step: usize) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().step_by(step).collect()
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures")
}

fn decoded(file: &[u8]) -> RgbImage {
    image::load_from_memory(file).unwrap().into_rgb8()
}

fn jpeg(picture: &RgbImage) -> Vec<u8> {
    let mut file = Vec::new();
    JpegEncoder::new_with_quality(&mut file, 85).encode_image(picture).unwrap();
    file
}

/// The same pixels in a format that is always decoded in full.
fn in_full(file: &[u8]) -> Vec<u8> {
    let mut bitmap = Cursor::new(Vec::new());
    decoded(file).write_to(&mut bitmap, ImageFormat::Bmp).unwrap();
    bitmap.into_inner()
}

/// One picture enlarged, with a grain as fine as its pixels.
fn enlarged(picture: &RgbImage, width: u32, height: u32) -> RgbImage {
    let mut large = imageops::resize(picture, width, height, FilterType::CatmullRom);
    for (x, y, pixel) in large.enumerate_pixels_mut() {
        let grain = (x.wrapping_mul(0x9E37_79B1) ^ y.wrapping_mul(0x85EB_CA77)).wrapping_mul(0xC2B2_AE3D) >> 28;
        pixel.0 = pixel.0.map(|value| value.saturating_add(grain as u8));
    }
    large
}

/// Several pictures side by side: as sharp as pictures get.
fn collage(pictures: &[RgbImage], columns: u32) -> RgbImage {
    let (width, height) = pictures[0].dimensions();
    let mut large = RgbImage::new(width * columns, height * columns);
    for place in 0..columns * columns {
        let picture = &pictures[place as usize % pictures.len()];
        imageops::replace(&mut large, picture, i64::from(place % columns * width), i64::from(place / columns * height));
    }
    large
}

/// The lowest cosine between both ways to decode, and how many pictures came out differently at all.
fn compare(encoder: &ImageEncoder, files: &[Vec<u8>]) -> (f64, usize) {
    let limits = ImageLimits::default();
    let reduced: Vec<_> = files.iter().map(|file| encoder.preprocess(file, &limits).unwrap()).collect();
    let full: Vec<_> = files.iter().map(|file| encoder.preprocess(&in_full(file), &limits).unwrap()).collect();
    let differing = reduced.iter().zip(&full).filter(|(reduced, full)| reduced != full).count();
    let (reduced, full) = (encoder.encode_pixels(&reduced).unwrap(), encoder.encode_pixels(&full).unwrap());
    let cosines = reduced.rows().zip(full.rows()).map(|(reduced, full)| cosine(reduced, full));
    (cosines.fold(f64::INFINITY, f64::min), differing)
}

#[test]
fn embeddings_of_large_pictures_stay_the_same() {
    let checkpoint = Checkpoint::open(&CheckpointSource::Folder(fixtures().join("model"))).unwrap();
    let encoder = ImageEncoder::load(&checkpoint, DeviceChoice::Cpu, Dtype::F32).unwrap();
    let small: Vec<RgbImage> =
        pictures(&fixtures().join("images"), 97).iter().map(|path| decoded(&fs_err::read(path).unwrap())).collect();
    // The model takes 96 pixels: these are decoded at 1/4 and 1/8.
    for (width, height) in [(1025, 801), (1600, 1200), (2000, 1999)] {
        let files: Vec<Vec<u8>> = small.iter().take(6).map(|small| jpeg(&enlarged(small, width, height))).collect();
        let (lowest, differing) = compare(&encoder, &files);
        println!("fixture model, {width}x{height}: lowest cosine {lowest:.6}, {differing} of {} differ", files.len());
        assert!(lowest >= FLOOR, "{width}x{height}: {lowest}");
        assert_eq!(differing, files.len(), "{width}x{height}: not reduced");
    }
    let files: Vec<Vec<u8>> = [4, 8].iter().map(|&columns| jpeg(&collage(&small, columns))).collect();
    let (lowest, differing) = compare(&encoder, &files);
    println!("fixture model, collages: lowest cosine {lowest:.6}, {differing} of {} differ", files.len());
    assert!(lowest >= FLOOR, "collages: {lowest}");
    assert_eq!(differing, files.len());
}

#[test]
fn embeddings_of_catalog_pictures_stay_the_same() {
    let Some(shared) = common::shared() else { return common::skip() };
    let files: Vec<Vec<u8>> = ["data/eshop/images", "data/grocery/images/natural", "data/grocery/images/iconic"]
        .iter()
        .flat_map(|folder| pictures(&shared.join(folder), 3))
        .map(|path| fs_err::read(path).unwrap())
        .collect();
    for name in ["clip-tiny", "clip-gelu-tiny", "siglip-tiny", "chinese-clip-tiny"] {
        let checkpoint = Reference::load(&shared, name).open();
        let encoder = ImageEncoder::load(&checkpoint, DeviceChoice::Cpu, Dtype::F32).unwrap();
        let (lowest, differing) = compare(&encoder, &files);
        println!("{name}: lowest cosine {lowest:.6}, {differing} of {} differ", files.len());
        assert!(lowest >= FLOOR, "{name}: {lowest}");
    }
}

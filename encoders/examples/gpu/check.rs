//! Whether embeddings from a device are those of f32 on the CPU. Owns the floors; prints the lowest cosine of every
//! combination of modality and number type.

use std::error::Error;

use encoders::{DeviceChoice, Embeddings, ImageEncoder, ImageLimits, Pixels, TextEncoder, TextRole};
use rayon::prelude::*;
use schemas::Dtype;

use crate::{Setting, name};

/// Least cosine of f32: only the order of additions differs.
const FULL_FLOOR: f64 = 0.9999;
/// Least cosine of f16 and bf16.
const HALF_FLOOR: f64 = 0.999;

/// Prints the table; false where a cosine is below its floor.
pub(crate) fn check(setting: &Setting) -> Result<bool, Box<dyn Error>> {
    let titles: Vec<&str> = setting.catalog.titles.iter().map(String::as_str).collect();
    let descriptions: Vec<&str> = setting.catalog.descriptions.iter().map(String::as_str).collect();
    let cpu = TextEncoder::load(&setting.text, DeviceChoice::Cpu, Dtype::F32)?;
    let texts = [("title", titles), ("description", descriptions)];
    let expected: Vec<Embeddings> =
        texts.iter().map(|(_, texts)| cpu.encode(texts, TextRole::Document)).collect::<Result<_, _>>()?;
    let image_cpu = ImageEncoder::load(&setting.image, DeviceChoice::Cpu, Dtype::F32)?;
    let pixels = readable(&image_cpu, &setting.catalog.pictures);
    let expected_images = image_cpu.encode_pixels(&pixels)?;

    println!("lowest cosine to f32 on the CPU, device {}", setting.device);
    println!("{:<12} {:>5} {:>7} {:>10} {:>8}", "modality", "dtype", "items", "cosine", "floor");
    let mut all_close = true;
    for &dtype in &setting.dtypes {
        let floor = if dtype == Dtype::F32 { FULL_FLOOR } else { HALF_FLOOR };
        let encoder = TextEncoder::load(&setting.text, setting.device, dtype)?;
        for ((modality, texts), expected) in texts.iter().zip(&expected) {
            let got = encoder.encode(texts, TextRole::Document)?;
            all_close &= report(modality, dtype, floor, &got, expected);
        }
        let encoder = ImageEncoder::load(&setting.image, setting.device, dtype)?;
        all_close &= report("image", dtype, floor, &encoder.encode_pixels(&pixels)?, &expected_images);
    }
    println!("{}", if all_close { "all above the floor" } else { "TOO FAR OFF" });
    Ok(all_close)
}

/// The pictures that can be read.
pub(crate) fn readable(encoder: &ImageEncoder, files: &[Vec<u8>]) -> Vec<Pixels> {
    let limits = ImageLimits::default();
    files.par_iter().filter_map(|file| encoder.preprocess(file, &limits).ok()).collect()
}

/// Prints one line of the table. Nothing compared is a failure: a check must not pass because its catalog was empty.
fn report(modality: &str, dtype: Dtype, floor: f64, got: &Embeddings, expected: &Embeddings) -> bool {
    let cosines = got.rows().zip(expected.rows()).map(|(got, expected)| cosine(got, expected));
    let lowest = cosines.fold(f64::INFINITY, |lowest, cosine| if cosine < lowest { cosine } else { lowest });
    let close = got.len() == expected.len() && !got.is_empty() && lowest >= floor;
    let sign = if close { "" } else { "  TOO FAR OFF" };
    println!("{modality:<12} {:>5} {:>7} {lowest:>10.7} {floor:>8}{sign}", name(dtype), got.len());
    close
}

/// Of vectors of unit length; −1 where it is not a number.
fn cosine(left: &[f32], right: &[f32]) -> f64 {
    let dot: f64 = left.iter().zip(right).map(|(left, right)| f64::from(*left) * f64::from(*right)).sum();
    if dot.is_nan() { -1.0 } else { dot }
}

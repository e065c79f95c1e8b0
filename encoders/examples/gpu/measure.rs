//! Items per second on a device, and what share of its matrix-product rate that is. Owns how each figure is taken: after
//! one pass to warm up, whole passes for a number of seconds, loading not counted, results back on the host.

use std::error::Error;
use std::sync::mpsc;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use encoders::{EncoderError, ImageEncoder, ImageLimits, Pixels, TextEncoder, TextRole};
use rayon::prelude::*;
use schemas::Dtype;

use crate::check::readable;
use crate::work::Work;
use crate::{Setting, name};

/// Side of the square matrices whose product is the yardstick, on a GPU.
const YARDSTICK_SIDE: usize = 8192;
/// And on the CPU.
const YARDSTICK_SIDE_CPU: usize = 1024;
/// Pictures decoded together in the end-to-end figure, ahead of the device.
const PICTURES_IN_A_CHUNK: usize = 512;

/// Prints the table.
pub(crate) fn measure(setting: &Setting) -> Result<(), Box<dyn Error>> {
    println!("device {}, {} threads", setting.device, rayon::current_num_threads());
    let head = ["what", "dtype", "items", "seconds", "items/s", "TFLOP/s", "share"];
    println!(
        "{:<32} {:>5} {:>9} {:>8} {:>10} {:>8} {:>6}",
        head[0], head[1], head[2], head[3], head[4], head[5], head[6]
    );
    for &dtype in &setting.dtypes {
        let yardstick = matrix_product_rate(&setting.device.resolve()?, dtype, setting.seconds)?;
        row("matrix product", dtype, 0, setting.seconds, yardstick, yardstick);
        texts(setting, dtype, yardstick)?;
        pictures(setting, dtype, yardstick)?;
    }
    Ok(())
}

fn row(what: &str, dtype: Dtype, items: usize, seconds: f64, operations_per_second: f64, yardstick: f64) {
    println!(
        "{what:<32} {:>5} {items:>9} {seconds:>8.2} {:>10.1} {:>8.2} {:>5.1}%",
        name(dtype),
        items as f64 / seconds,
        operations_per_second / 1e12,
        100.0 * operations_per_second / yardstick,
    );
}

/// Whole passes after one to warm up: how many, and their seconds.
fn timed(seconds: f64, mut pass: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<(usize, f64), Box<dyn Error>> {
    pass()?;
    let begin = Instant::now();
    let mut passes = 0;
    while begin.elapsed().as_secs_f64() < seconds {
        pass()?;
        passes += 1;
    }
    Ok((passes, begin.elapsed().as_secs_f64()))
}

/// Operations per second of the product of two large matrices: what the device does at best through the same library.
fn matrix_product_rate(device: &Device, dtype: Dtype, seconds: f64) -> Result<f64, Box<dyn Error>> {
    let dtype = match dtype {
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::Bf16 => DType::BF16,
    };
    let side = if device.is_cpu() { YARDSTICK_SIDE_CPU } else { YARDSTICK_SIDE };
    let matrix = Tensor::randn(0f32, 1f32, (side, side), device)?.to_dtype(dtype)?;
    // Enough products in a pass that waiting for the last one is nothing.
    const PRODUCTS: usize = 10;
    let (passes, seconds) = timed(seconds.min(5.0), || {
        for _ in 0..PRODUCTS {
            matrix.matmul(&matrix)?;
        }
        Ok(device.synchronize()?)
    })?;
    Ok((passes * PRODUCTS) as f64 * 2.0 * (side as f64).powi(3) / seconds)
}

fn texts(setting: &Setting, dtype: Dtype, yardstick: f64) -> Result<(), Box<dyn Error>> {
    let encoder = TextEncoder::load(&setting.text, setting.device, dtype)?;
    let work = Work::read(setting.text.folder(), "text_config")?;
    for (what, texts) in [("titles", &setting.catalog.titles), ("descriptions", &setting.catalog.descriptions)] {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        if texts.is_empty() {
            continue;
        }
        let tokens = encoder.tokenize(&texts, TextRole::Document)?;
        let operations: f64 = tokens.iter().map(|tokens| work.text(tokens.0.len())).sum();
        let (passes, seconds) = timed(setting.seconds, || Ok(encoder.encode_tokens(&tokens).map(drop)?))?;
        row(what, dtype, passes * texts.len(), seconds, passes as f64 * operations / seconds, yardstick);
        let (passes, seconds) = timed(setting.seconds, || Ok(encoder.encode(&texts, TextRole::Document).map(drop)?))?;
        let what = format!("{what} + tokenising");
        row(&what, dtype, passes * texts.len(), seconds, passes as f64 * operations / seconds, yardstick);
    }
    Ok(())
}

fn pictures(setting: &Setting, dtype: Dtype, yardstick: f64) -> Result<(), Box<dyn Error>> {
    let encoder = ImageEncoder::load(&setting.image, setting.device, dtype)?;
    let operations = Work::read(setting.image.folder(), "vision_config")?.image();
    let files = &setting.catalog.pictures;
    let pixels = readable(&encoder, &files[..files.len().min(4 * PICTURES_IN_A_CHUNK)]);
    if pixels.is_empty() {
        return Ok(());
    }
    let (passes, seconds) = timed(setting.seconds, || Ok(encoder.encode_pixels(&pixels).map(drop)?))?;
    let items = passes * pixels.len();
    row("pictures, decoded", dtype, items, seconds, items as f64 * operations / seconds, yardstick);

    let mut device_seconds = 0.0;
    let processor = processor_seconds();
    let (passes, seconds) = timed(setting.seconds, || {
        device_seconds += from_files(&encoder, files)?;
        Ok(())
    })?;
    let items = passes * files.len();
    row("pictures, from files", dtype, items, seconds, items as f64 * operations / seconds, yardstick);
    // The warm-up pass is in both numerators, so it is in the denominator too.
    let with_warm_up = seconds * (passes + 1) as f64 / passes as f64;
    let cores = std::thread::available_parallelism()?.get() as f64;
    let busy = match (processor, processor_seconds()) {
        (Some(before), Some(after)) => format!("{:.0}%", 100.0 * (after - before) / with_warm_up / cores),
        (_, _) => "unknown".to_owned(),
    };
    println!("  busy: device {:.0}%, {cores} cores {busy}", 100.0 * device_seconds / with_warm_up);
    Ok(())
}

/// Decodes on all threads while the device computes what was decoded before; the seconds that the device was waited for.
fn from_files(encoder: &ImageEncoder, files: &[Vec<u8>]) -> Result<f64, EncoderError> {
    let limits = ImageLimits::default();
    let (send, receive) = mpsc::sync_channel::<Vec<Pixels>>(1);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for chunk in files.chunks(PICTURES_IN_A_CHUNK) {
                let pixels = chunk.par_iter().filter_map(|file| encoder.preprocess(file, &limits).ok()).collect();
                // The receiver is gone only after an error, which it reports.
                if send.send(pixels).is_err() {
                    return;
                }
            }
        });
        let mut device_seconds = 0.0;
        for pixels in receive {
            let begin = Instant::now();
            encoder.encode_pixels(&pixels)?;
            device_seconds += begin.elapsed().as_secs_f64();
        }
        Ok(device_seconds)
    })
}

/// Processor time of this process so far, where the system tells it (Linux).
fn processor_seconds() -> Option<f64> {
    /// Clock ticks per second in `/proc`, the same on all of today's Linux systems.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs_err::read_to_string("/proc/self/stat").ok()?;
    // After the program's name in brackets, user and system time are the 12th and 13th field.
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

//! Encodes the lines of a text file with a model folder and prints texts per second, tokenising included.
//!
//! ```text
//! cargo run --release -p encoders --example encode -- MODEL_FOLDER TEXT_FILE [DEVICE] [DTYPE]
//! ```
//!
//! Measures [`TextEncoder::encode`] over all lines at once, after one pass over the first lines to warm up. Loading is
//! not counted. `RAYON_NUM_THREADS` sets the threads.

#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use encoders::{Checkpoint, CheckpointSource, DeviceChoice, TextEncoder, TextRole};
use schemas::Dtype;

const WARM_UP_LINES: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (model, file) = match arguments.as_slice() {
        [model, file, ..] => (PathBuf::from(model), file),
        _ => return Err("usage: encode MODEL_FOLDER TEXT_FILE [DEVICE] [DTYPE]".into()),
    };
    let device: DeviceChoice = arguments.get(2).map_or(Ok(DeviceChoice::Auto), |device| device.parse())?;
    let dtype = match arguments.get(3).map(String::as_str) {
        None | Some("f32") => Dtype::F32,
        Some("f16") => Dtype::F16,
        Some("bf16") => Dtype::Bf16,
        Some(other) => return Err(format!("`{other}` is not f32, f16 or bf16").into()),
    };
    let text = fs_err::read_to_string(file)?;
    let lines: Vec<&str> = text.lines().collect();
    let encoder = TextEncoder::load(&Checkpoint::open(&CheckpointSource::Folder(model))?, device, dtype)?;
    encoder.encode(&lines[..lines.len().min(WARM_UP_LINES)], TextRole::Document)?;

    let begin = Instant::now();
    let tokens = encoder.tokenize(&lines, TextRole::Document)?;
    let tokenised = begin.elapsed();
    let embeddings = encoder.encode_tokens(&tokens)?;
    let seconds = begin.elapsed().as_secs_f64();
    let total: usize = tokens.iter().map(|tokens| tokens.0.len()).sum();
    println!(
        "{} texts, {total} tokens, {} dimensions, {} threads: {seconds:.2} s, {:.1} texts/s (tokenising {:.2} s)",
        embeddings.len(),
        embeddings.dimension(),
        rayon::current_num_threads(),
        embeddings.len() as f64 / seconds,
        tokenised.as_secs_f64(),
    );
    Ok(())
}

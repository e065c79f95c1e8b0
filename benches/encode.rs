//! Speed of the encoders on ready input, for `benches/peers/encode.py` to set beside other programs, or by itself.
//!
//! **What is measured.** Texts: tokenising and encoding of all lines, as the nightly run does it (`--windows sorted`) or in
//! batches of 32 in the file's order (`--windows unsorted`). Pictures: encoding of pixels that are ready, and with
//! `--decode` reading and preprocessing of the files too. Loading the model is not part of it; one pass over a small part
//! warms up. The best of `--rounds` passes counts. `RAYON_NUM_THREADS` sets the number of threads.
//!
//! **On what.** A checkpoint folder of your choice; texts as JSON strings, one a line; picture files as paths, one a line.
//!
//! ```text
//! cargo bench --bench encode -- --model DIR --texts FILE [--dtype f32|bf16|f16] [--device cpu|cuda:N]
//!                               [--windows sorted|unsorted] [--rounds N] [--out EMBEDDINGS.f32]
//! cargo bench --bench encode -- --model DIR --pictures FILE [--decode] …
//! ```
//!
//! Prints one JSON object. `--out` gets the embeddings, row after row, as little-endian f32.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use encoders::{Checkpoint, CheckpointSource, DeviceChoice, ImageEncoder, ImageLimits, TextEncoder, TextRole};
use rayon::prelude::*;
use schemas::Dtype;

/// Texts or pictures encoded once before the clock starts.
const WARM_UP: usize = 64;
/// Texts in a batch of the file's order: the default of sentence-transformers.
const UNSORTED_BATCH: usize = 32;

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    model: PathBuf,
    #[arg(long, conflicts_with = "pictures", required_unless_present = "pictures")]
    texts: Option<PathBuf>,
    #[arg(long)]
    pictures: Option<PathBuf>,
    #[arg(long)]
    decode: bool,
    #[arg(long, default_value = "f32")]
    dtype: String,
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    #[arg(long, default_value = "sorted")]
    windows: Windows,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[arg(long)]
    out: Option<PathBuf>,
    /// cargo itself adds this flag.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Windows {
    Sorted,
    Unsorted,
}

/// Embeddings row after row, and how many tokens were computed for them.
struct Encoded {
    rows: Vec<f32>,
    tokens: usize,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let dtype: Dtype =
        serde_json::from_value(arguments.dtype.as_str().into()).context("--dtype is f32, f16 or bf16")?;
    let checkpoint = Checkpoint::open(&CheckpointSource::Folder(arguments.model.clone()))?;
    let (count, encoded, seconds) = match (&arguments.texts, &arguments.pictures) {
        (Some(file), _) => texts(&arguments, &checkpoint, dtype, file)?,
        (None, Some(file)) => pictures(&arguments, &checkpoint, dtype, file)?,
        (None, None) => anyhow::bail!("--texts or --pictures"),
    };
    if let Some(path) = &arguments.out {
        let bytes: Vec<u8> = encoded.rows.iter().flat_map(|value| value.to_le_bytes()).collect();
        fs_err::write(path, bytes)?;
    }
    let result = serde_json::json!({
        "count": count, "tokens": encoded.tokens, "seconds": seconds, "per_second": count as f64 / seconds,
        "dtype": arguments.dtype, "device": arguments.device.to_string(), "threads": rayon::current_num_threads(),
    });
    println!("{result}");
    Ok(())
}

fn lines(path: &PathBuf) -> anyhow::Result<Vec<String>> {
    Ok(fs_err::read_to_string(path)?.lines().map(str::to_owned).collect())
}

/// Runs a pass several times; returns the last result and the best time.
fn best_of(rounds: usize, mut pass: impl FnMut() -> anyhow::Result<Encoded>) -> anyhow::Result<(Encoded, f64)> {
    let (mut best, mut last) = (f64::INFINITY, None);
    for _ in 0..rounds.max(1) {
        let begin = Instant::now();
        last = Some(pass()?);
        best = best.min(begin.elapsed().as_secs_f64());
    }
    Ok((last.context("no round")?, best))
}

fn texts(
    arguments: &Arguments,
    checkpoint: &Checkpoint,
    dtype: Dtype,
    file: &PathBuf,
) -> anyhow::Result<(usize, Encoded, f64)> {
    let texts: Vec<String> = lines(file)?
        .iter()
        .map(|line| serde_json::from_str(line))
        .collect::<Result<_, _>>()
        .context("a JSON string a line")?;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let encoder = TextEncoder::load(checkpoint, arguments.device, dtype)?;
    encoder.encode(&texts[..texts.len().min(WARM_UP)], TextRole::Document)?;
    let window = if arguments.windows == Windows::Sorted { texts.len() } else { UNSORTED_BATCH };
    let (encoded, seconds) = best_of(arguments.rounds, || {
        let (mut rows, mut tokens) = (Vec::new(), 0);
        for window in texts.chunks(window) {
            let tokenised = encoder.tokenize(window, TextRole::Document)?;
            tokens += tokenised.iter().map(|tokens| tokens.0.len()).sum::<usize>();
            rows.extend(encoder.encode_tokens(&tokenised)?.into_values());
        }
        Ok(Encoded { rows, tokens })
    })?;
    Ok((texts.len(), encoded, seconds))
}

fn pictures(
    arguments: &Arguments,
    checkpoint: &Checkpoint,
    dtype: Dtype,
    file: &PathBuf,
) -> anyhow::Result<(usize, Encoded, f64)> {
    let paths = lines(file)?;
    let encoder = ImageEncoder::load(checkpoint, arguments.device, dtype)?;
    let limits = ImageLimits::default();
    let preprocess = || -> anyhow::Result<Vec<_>> {
        paths.par_iter().map(|path| Ok(encoder.preprocess(&fs_err::read(path)?, &limits)?)).collect()
    };
    let ready = preprocess()?;
    encoder.encode_pixels(&ready[..ready.len().min(WARM_UP)])?;
    let (encoded, seconds) = best_of(arguments.rounds, || {
        let embeddings =
            if arguments.decode { encoder.encode_pixels(&preprocess()?)? } else { encoder.encode_pixels(&ready)? };
        Ok(Encoded { rows: embeddings.into_values(), tokens: 0 })
    })?;
    Ok((paths.len(), encoded, seconds))
}

//! Checks and measures encoding on a device: the program behind `benches/gpu/run.sh`, which says what is measured on what.
//! Owns the arguments and the order of steps; `check` compares, `measure` measures. It uses only what this crate makes
//! public, so it is also what a program of your own would do. Runs with `--device cpu` too.
//!
//! ```text
//! gpu check   --text-model DIR --image-model DIR --catalog FILE [--device cuda] [--limit 256]
//! gpu measure --text-model DIR --image-model DIR --catalog FILE [--device cuda] [--limit 20000] [--seconds 10] [--dtype f16]
//! ```
//!
//! Exit codes: 0, 1 when `check` finds an embedding too far off, 2 for any error.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it found")]

mod catalog;
mod check;
mod measure;
mod work;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use encoders::{Checkpoint, CheckpointSource, DeviceChoice};
use schemas::Dtype;

use catalog::Catalog;

/// Items that `check` encodes; the reference on the CPU is what takes time.
const DEFAULT_CHECKED_ITEMS: usize = 256;
/// Items that `measure` encodes again and again.
const DEFAULT_MEASURED_ITEMS: usize = 20_000;
/// Least seconds that one figure is measured for.
const DEFAULT_SECONDS: f64 = 10.0;

/// What the steps work on.
struct Setting {
    device: DeviceChoice,
    text: Checkpoint,
    image: Checkpoint,
    catalog: Catalog,
    seconds: f64,
    dtypes: Vec<Dtype>,
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprint!("error: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprint!(": {error}");
                cause = error.source();
            }
            eprintln!();
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let step = arguments.next().ok_or("usage: gpu check|measure --text-model DIR --image-model DIR --catalog FILE")?;
    let arguments = Arguments::read(arguments)?;
    let limit = arguments.count("--limit")?;
    match step.as_str() {
        "check" => check::check(&arguments.setting(limit.unwrap_or(DEFAULT_CHECKED_ITEMS))?),
        "measure" => measure::measure(&arguments.setting(limit.unwrap_or(DEFAULT_MEASURED_ITEMS))?).map(|()| true),
        other => Err(format!("`{other}` is neither check nor measure").into()),
    }
}

/// Names and values as they were given.
struct Arguments(Vec<(String, String)>);

impl Arguments {
    fn read(mut given: impl Iterator<Item = String>) -> Result<Arguments, Box<dyn Error>> {
        const KNOWN: [&str; 7] =
            ["--text-model", "--image-model", "--catalog", "--device", "--limit", "--seconds", "--dtype"];
        let mut pairs = Vec::new();
        while let Some(name) = given.next() {
            if !KNOWN.contains(&name.as_str()) {
                return Err(format!("`{name}` is none of {}", KNOWN.join(", ")).into());
            }
            let value = given.next().ok_or_else(|| format!("`{name}` needs a value"))?;
            pairs.push((name, value));
        }
        Ok(Arguments(pairs))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    fn required(&self, name: &str) -> Result<PathBuf, String> {
        self.get(name).map(PathBuf::from).ok_or_else(|| format!("`{name}` is missing"))
    }

    fn count(&self, name: &str) -> Result<Option<usize>, String> {
        let parse = |value: &str| value.parse().map_err(|_| format!("`{name} {value}` is not a number"));
        self.get(name).map(parse).transpose()
    }

    fn setting(&self, limit: usize) -> Result<Setting, Box<dyn Error>> {
        let open = |name| -> Result<Checkpoint, Box<dyn Error>> {
            Ok(Checkpoint::open(&CheckpointSource::Folder(self.required(name)?))?)
        };
        let seconds = self.get("--seconds").map(str::parse).transpose()?;
        let dtypes = match self.get("--dtype") {
            None => vec![Dtype::F32, Dtype::F16, Dtype::Bf16],
            Some("f32") => vec![Dtype::F32],
            Some("f16") => vec![Dtype::F16],
            Some("bf16") => vec![Dtype::Bf16],
            Some(other) => return Err(format!("`{other}` is not f32, f16 or bf16").into()),
        };
        let device: DeviceChoice = self.get("--device").unwrap_or("cuda").parse()?;
        // Before anything else is read: a machine without the device should say so at once.
        device.resolve()?;
        Ok(Setting {
            device,
            text: open("--text-model")?,
            image: open("--image-model")?,
            catalog: Catalog::read(&self.required("--catalog")?, limit)?,
            seconds: seconds.unwrap_or(DEFAULT_SECONDS),
            dtypes,
        })
    }
}

/// A number type's name.
fn name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F32 => "f32",
        Dtype::F16 => "f16",
        Dtype::Bf16 => "bf16",
    }
}

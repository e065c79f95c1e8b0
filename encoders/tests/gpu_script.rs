//! `benches/gpu/run.sh check` on the CPU and the fixture model: that the step works where there is a GPU cannot be tested
//! here, but what it compares and how it fails can.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests fail by panicking and say what they skip")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The example program, which cargo builds with the tests but for `cargo test --test gpu_script`.
fn program() -> Option<PathBuf> {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("examples/gpu");
    if !program.is_file() {
        eprintln!("skipped: `{}` is not built", program.display());
        return None;
    }
    Some(program)
}

fn script(program: &Path, step: &str, settings: &[(&str, &str)]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/gpu/run.sh");
    Command::new("bash")
        .arg(script)
        .arg(step)
        .env("GPU_PROGRAM", program)
        .env("LIMIT", "12")
        .envs(settings.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn check_passes_on_the_cpu() {
    let Some(program) = program() else { return };
    let output = script(&program, "check", &[("DEVICE", "cpu")]);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    // Three modalities in three number types, each with every row.
    let rows: Vec<Vec<&str>> = printed.lines().map(|line| line.split_whitespace().collect()).collect();
    for dtype in ["f32", "f16", "bf16"] {
        let of_dtype: Vec<_> = rows.iter().filter(|row| row.get(1) == Some(&dtype)).collect();
        assert_eq!(of_dtype.len(), 3, "{printed}");
        for row in of_dtype {
            assert!(row[2].parse::<usize>().unwrap() >= 10, "{printed}");
        }
    }
}

#[test]
fn nothing_to_compare_and_missing_devices_are_failures() {
    let Some(program) = program() else { return };
    let output = script(&program, "check", &[("DEVICE", "cpu"), ("LIMIT", "0")]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let output = script(&program, "check", &[("DEVICE", "cuda:4096")]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("error: device cuda:4096: "), "{said}");
    let output = script(&program, "polish", &[("DEVICE", "cpu")]);
    assert_eq!(output.status.code(), Some(2));
}

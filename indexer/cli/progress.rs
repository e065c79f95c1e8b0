//! What is shown while a run goes on: a bar per stage on a terminal, log lines otherwise, all on standard error.
//! Invariant: log lines and bars never garble each other, and nothing they quote commands the terminal.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indexer::Progress;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use schemas::terminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Variable with a log filter in tracing's syntax, such as `debug` or `indexer=debug`.
const LOG_VARIABLE: &str = "CATALENS_LOG";

/// Starts logging; returns where bars are drawn.
pub(crate) fn start_logging(quiet: bool) -> MultiProgress {
    let terminal = std::io::stderr().is_terminal();
    let target = if terminal && !quiet { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bars = MultiProgress::with_draw_target(target);
    let default = if quiet { "error" } else { "info,tantivy=warn" };
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new(default));
    let lines = LinesAboveBars { bars: bars.clone() };
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines);
    // Without colours: they could not be told from those of a text that the line quotes.
    subscriber.with_ansi(false).with_target(false).init();
    bars
}

/// Prints an error with its causes, and a hint where there is a next step.
#[expect(clippy::print_stderr, reason = "the one place where errors are printed")]
pub(crate) fn print_error(error: &anyhow::Error) {
    eprintln!("{}", terminal::line(&format!("error: {error:#}")));
}

/// Writes log lines above the bars.
struct LinesAboveBars {
    bars: MultiProgress,
}

impl<'a> MakeWriter<'a> for LinesAboveBars {
    type Writer = LineWriter;

    fn make_writer(&'a self) -> LineWriter {
        LineWriter { bars: self.bars.clone() }
    }
}

struct LineWriter {
    bars: MultiProgress,
}

impl Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let harmless = terminal::lines(&String::from_utf8_lossy(line));
        self.bars.suspend(|| std::io::stderr().write_all(harmless.as_bytes()))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

/// A bar per stage.
pub(crate) struct StageBars {
    bars: MultiProgress,
    current: Mutex<Option<StageBar>>,
}

/// The running stage's bar, and what was computed in it.
struct StageBar {
    bar: ProgressBar,
    start: Instant,
    tokens: u64,
    pictures: u64,
}

impl StageBars {
    pub(crate) fn new(bars: MultiProgress) -> StageBars {
        StageBars { bars, current: Mutex::new(None) }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Option<StageBar>> {
        // A panic while drawing leaves a bar that can still be used.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for StageBars {
    fn begin(&self, stage: &'static str, total: Option<u64>) {
        let (bar, template) = match total {
            Some(total) => (
                ProgressBar::new(total),
                "{prefix:>8} {wide_bar} {human_pos}/{human_len} items {per_sec}{msg} eta {eta}",
            ),
            None => (ProgressBar::new_spinner(), "{prefix:>8} {spinner} {human_pos} {elapsed}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let bar = self.bars.add(bar).with_prefix(stage);
        bar.enable_steady_tick(Duration::from_millis(200));
        *self.current() = Some(StageBar { bar, start: Instant::now(), tokens: 0, pictures: 0 });
    }

    fn advance(&self, steps: u64) {
        if let Some(stage) = self.current().as_ref() {
            stage.bar.inc(steps);
        }
    }

    fn computed(&self, tokens: u64, pictures: u64) {
        if let Some(stage) = self.current().as_mut() {
            stage.tokens += tokens;
            stage.pictures += pictures;
            stage.bar.set_message(speeds(stage.tokens, stage.pictures, stage.start.elapsed()));
        }
    }

    fn end(&self) {
        if let Some(stage) = self.current().take() {
            stage.bar.finish();
        }
    }
}

/// `, 5120 tokens/s, 31 pictures/s`, without what nothing was computed of.
fn speeds(tokens: u64, pictures: u64, elapsed: Duration) -> String {
    let speed = |count: u64, what: &str| match count {
        0 => String::new(),
        _ => format!(", {:.0} {what}/s", count as f64 / elapsed.as_secs_f64().max(0.001)),
    };
    speed(tokens, "tokens") + &speed(pictures, "pictures")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_name_what_was_computed() {
        let second = Duration::from_secs(2);
        assert_eq!(speeds(10_240, 62, second), ", 5120 tokens/s, 31 pictures/s");
        assert_eq!(speeds(0, 62, second), ", 31 pictures/s");
        assert_eq!(speeds(0, 0, Duration::ZERO), "");
    }
}

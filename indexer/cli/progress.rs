//! What is shown while a run goes on: a bar per stage on a terminal, log lines otherwise, all on standard error.
//! Invariant: log lines and bars never garble each other.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use indexer::Progress;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
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
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines).with_ansi(terminal);
    subscriber.with_target(false).init();
    bars
}

/// Prints an error with its causes, and a hint where there is a next step.
#[expect(clippy::print_stderr, reason = "the one place where errors are printed")]
pub(crate) fn print_error(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
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
        self.bars.suspend(|| std::io::stderr().write_all(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

/// A bar per stage.
pub(crate) struct StageBars {
    bars: MultiProgress,
    current: Mutex<Option<ProgressBar>>,
}

impl StageBars {
    pub(crate) fn new(bars: MultiProgress) -> StageBars {
        StageBars { bars, current: Mutex::new(None) }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Option<ProgressBar>> {
        // A panic while drawing leaves a bar that can still be used.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for StageBars {
    fn begin(&self, stage: &'static str, total: Option<u64>) {
        let (bar, template) = match total {
            Some(total) => {
                (ProgressBar::new(total), "{prefix:>8} {wide_bar} {human_pos}/{human_len} {per_sec} eta {eta}")
            }
            None => (ProgressBar::new_spinner(), "{prefix:>8} {spinner} {human_pos} {elapsed}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let bar = self.bars.add(bar).with_prefix(stage);
        bar.enable_steady_tick(std::time::Duration::from_millis(200));
        *self.current() = Some(bar);
    }

    fn advance(&self, steps: u64) {
        if let Some(bar) = self.current().as_ref() {
            bar.inc(steps);
        }
    }

    fn end(&self) {
        if let Some(bar) = self.current().take() {
            bar.finish();
        }
    }
}

//! What goes to standard output and standard error. Owns both streams and what may be written to a terminal; not what
//! is said. Invariant: no control character of a catalog, a query or a file name reaches the terminal.

use std::io::Write;

use anyhow::Context;
use schemas::terminal;
use searcher::SearchError;
use serde::Serialize;
use tracing_subscriber::EnvFilter;

pub(crate) use schemas::terminal::line as shown;

/// Variable with a log filter in tracing's syntax, such as `debug` or `searcher=debug`.
const LOG_VARIABLE: &str = "CATALENS_LOG";

/// Starts logging to standard error.
pub(crate) fn start_logging(quiet: bool) {
    let default = if quiet { "error" } else { "warn" };
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new(default));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| HarmlessLines);
    // Without colours: they could not be told from those of a text that the line quotes.
    subscriber.with_ansi(false).with_target(false).init();
}

/// Writes log lines to standard error.
struct HarmlessLines;

impl Write for HarmlessLines {
    fn write(&mut self, lines: &[u8]) -> std::io::Result<usize> {
        std::io::stderr().write_all(terminal::lines(&String::from_utf8_lossy(lines)).as_bytes())?;
        Ok(lines.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

/// Writes text to standard output.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).context("cannot write to standard output")
}

/// Writes one JSON object and a newline to standard output.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut json = terminal::json(&serde_json::to_string(value)?);
    json.push('\n');
    print(&json)
}

/// Says something on standard error, unless asked to be quiet.
pub(crate) fn say(quiet: bool, text: &str) {
    if !quiet {
        print_line(text);
    }
}

/// Prints an error with its causes, and a hint where there is a next step.
pub(crate) fn print_error(error: &anyhow::Error) {
    print_line(&format!("error: {error:#}"));
    let encoder = error.chain().any(|cause| {
        matches!(
            cause.downcast_ref::<SearchError>(),
            Some(SearchError::Encoder(_) | SearchError::EncoderMismatch { .. })
        )
    });
    if encoder {
        print_line("hint: `--mode keyword` needs no encoder; `--encoders DIR` names another folder of encoders");
    }
}

#[expect(clippy::print_stderr, reason = "the one place that talks")]
fn print_line(text: &str) {
    eprintln!("{}", shown(text));
}

/// Whether the reader of our output went away, as `head` does: no error of ours.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    causes.any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

/// The terminal's width, where standard output is one.
pub(crate) fn terminal_width() -> Option<u16> {
    console::Term::stdout().size_checked().map(|(_, width)| width)
}

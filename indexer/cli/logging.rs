//! Log lines and errors on standard error, for people or for programs. Owns their format; progress bars are
//! `progress.rs`'. Invariant: lines and bars never garble each other, nothing that a line quotes commands the terminal,
//! and in JSON every line is one object with `timestamp`, `level`, `stage`, `message` and `fields`.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use indexer::error::chain;
use indicatif::{MultiProgress, ProgressDrawTarget};
use schemas::terminal;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

/// Variable with a log filter in tracing's syntax, such as `debug` or `indexer=debug`.
const LOG_VARIABLE: &str = "CATALENS_LOG";

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// What is needed to show things on standard error.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    format: LogFormat,
    /// Where bars are drawn.
    pub(crate) bars: MultiProgress,
    /// The stage that the run is in.
    pub(crate) stage: CurrentStage,
}

/// The stage that the run is in, for log lines of all threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct CurrentStage(Arc<Mutex<Option<&'static str>>>);

impl CurrentStage {
    pub(crate) fn set(&self, stage: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(stage);
    }

    fn get(&self) -> Option<&'static str> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts logging.
pub(crate) fn start(quiet: bool, format: LogFormat) -> Log {
    let terminal = std::io::stderr().is_terminal();
    let has_bars = terminal && !quiet && format == LogFormat::Text;
    let target = if has_bars { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let log = Log { format, bars: MultiProgress::with_draw_target(target), stage: CurrentStage::default() };
    let default = if quiet { "error" } else { "info,tantivy=warn" };
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new(default));
    let lines = LinesAboveBars { format, bars: log.bars.clone() };
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines);
    match format {
        // Without colours: they could not be told from those of a text that the line quotes.
        LogFormat::Text => subscriber.with_ansi(false).with_target(false).init(),
        LogFormat::Json => subscriber.with_ansi(false).event_format(JsonLines { stage: log.stage.clone() }).init(),
    }
    log
}

impl Log {
    /// Prints the error that ends the program, with its causes.
    #[expect(clippy::print_stderr, reason = "the one place where errors are printed")]
    pub(crate) fn print_error(&self, error: &anyhow::Error) {
        match self.format {
            LogFormat::Text => eprintln!("{}", terminal::line(&format!("error: {error:#}"))),
            LogFormat::Json => {
                let line = Line {
                    stage: self.stage.get().map(Value::from),
                    message: format!("{error:#}"),
                    fields: Map::new(),
                };
                eprintln!("{}", terminal::json(&line.into_json("error").to_string()));
            }
        }
    }
}

/// A log line's content.
#[derive(Default)]
struct Line {
    stage: Option<Value>,
    message: String,
    fields: Map<String, Value>,
}

impl Line {
    fn into_json(self, level: &str) -> Value {
        let mut timestamp = String::new();
        // Formatting the time of the clock into a string cannot fail.
        let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
        serde_json::json!({
            "timestamp": timestamp,
            "level": level,
            "stage": self.stage,
            "message": self.message,
            "fields": self.fields,
        })
    }

    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            ("stage", value) => self.stage = Some(value),
            (name, value) => {
                self.fields.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for Line {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, chain(value).into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}").into());
    }
}

/// Formats events as JSON.
struct JsonLines {
    stage: CurrentStage,
}

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = Line::default();
        event.record(&mut line);
        line.stage = line.stage.or_else(|| self.stage.get().map(Value::from));
        writeln!(writer, "{}", line.into_json(&event.metadata().level().as_str().to_lowercase()))
    }
}

/// Writes log lines above the bars.
struct LinesAboveBars {
    format: LogFormat,
    bars: MultiProgress,
}

impl<'a> MakeWriter<'a> for LinesAboveBars {
    type Writer = LineWriter;

    fn make_writer(&'a self) -> LineWriter {
        LineWriter { format: self.format, bars: self.bars.clone() }
    }
}

struct LineWriter {
    format: LogFormat,
    bars: MultiProgress,
}

impl Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let harmless = match self.format {
            LogFormat::Text => terminal::lines(&text),
            LogFormat::Json => terminal::json(&text),
        };
        self.bars.suspend(|| std::io::stderr().write_all(harmless.as_bytes()))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

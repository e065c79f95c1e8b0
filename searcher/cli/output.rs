//! What goes to standard output and standard error. Owns both streams and what may be written to a terminal; not what
//! is said. Invariant: no control character of a catalog, a query or a file name reaches the terminal.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};

use anyhow::Context;
use searcher::SearchError;
use serde::Serialize;
use tracing_subscriber::EnvFilter;

/// Variable with a log filter in tracing's syntax, such as `debug` or `searcher=debug`.
const LOG_VARIABLE: &str = "CATALENS_LOG";

/// Starts logging to standard error.
pub(crate) fn start_logging(quiet: bool) {
    let default = if quiet { "error" } else { "warn" };
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new(default));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    subscriber.with_ansi(std::io::stderr().is_terminal()).with_target(false).init();
}

/// Writes text to standard output.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).context("cannot write to standard output")
}

/// Writes one JSON object and a newline to standard output.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut json = without_controls(&serde_json::to_string(value)?);
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

/// Text for one line of a terminal: line breaks and tabs as blanks, what could command the terminal or turn the
/// writing direction round as its number.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\r' | '\t' => shown.push(' '),
            _ if character.is_control() || turns_text(character) => {
                shown.extend(character.escape_unicode());
            }
            _ => shown.push(character),
        }
    }
    shown
}

/// Marks that change the direction of the text after them, and Unicode's own line breaks.
fn turns_text(character: char) -> bool {
    matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
    )
}

/// JSON with the control characters escaped that the format itself allows in strings.
fn without_controls(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_control() || turns_text(character) {
            // They stand only inside strings, and are all in the basic plane.
            let _ = write!(escaped, "\\u{:04x}", u32::from(character));
        } else {
            escaped.push(character);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_commands_the_terminal() {
        assert_eq!(shown("a\u{1b}[2J\u{9b}31m\u{202e}b\nc\u{7f}"), "a\\u{1b}[2J\\u{9b}31m\\u{202e}b c\\u{7f}");
        assert_eq!(shown("蓝色 👩‍🍳 é"), "蓝色 👩‍🍳 é");
    }

    #[test]
    fn json_stays_equal_without_control_characters() {
        let text = "a\u{1b}\u{9b}\u{7f}\u{202e}\"\\ 蓝\n";
        let json = without_controls(&serde_json::to_string(text).unwrap());
        assert!(json.is_ascii() || json.chars().all(|character| !character.is_control()));
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}

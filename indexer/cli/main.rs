//! The `indexer` program. Owns flags, exit codes and what is printed; the work is the `indexer` library's.
//! Exit codes: 0 done, 1 a gate refused (the old snapshot still serves) or the snapshot is older than asked for, 2 error.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use schemas::terminal;

mod arguments;
mod history;
mod label;
mod learn;
mod logging;
mod pace;
mod plan;
mod progress;
mod run;
mod shown;
mod status;
mod upkeep;

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let log = logging::start(arguments.quiet, arguments.log_format);
    let result = match &arguments.command {
        Command::Run(command) => run::run(command, &log),
        Command::Learn(command) => learn::learn(command),
        Command::Status(command) => status::status(command),
        Command::History(command) => history::history(command),
        Command::Label(command) => label::label(command),
        Command::Verify(command) => upkeep::verify(command),
        Command::Rollback(command) => upkeep::rollback(command),
        Command::Prune(command) => upkeep::prune(command),
    };
    match result {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            log.print_error(&error);
            ExitCode::from(2)
        }
    }
}

/// Whether the reader of our output went away, as `head` does: no error of ours.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Prints lines to standard output; what they quote cannot command the terminal.
fn print(text: &str) -> anyhow::Result<()> {
    write(&terminal::lines(text))
}

/// Prints JSON to standard output, followed by a line feed; reads back equal.
fn print_json(json: &str) -> anyhow::Result<()> {
    write(&(terminal::json(json) + "\n"))
}

fn write(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).context("cannot write to standard output")
}

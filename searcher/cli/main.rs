//! The `searcher` program. Owns flags, exit codes and what is printed; the work is the `searcher` library's.
//! Exit codes: 0 hits, 1 none, 2 error. Standard output is data, standard error is talk.

#![cfg_attr(test, expect(clippy::unwrap_used, reason = "tests fail by panicking"))]

use std::process::ExitCode;

use clap::Parser;

mod arguments;
mod eval;
mod explain;
mod facets;
mod history;
mod history_arguments;
mod info;
mod judged;
mod list_arguments;
mod opened;
mod output;
mod recommend;
mod search;
mod similar;
mod table;
mod tune;
mod weighted;

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    output::start_logging(arguments.snapshot.quiet);
    let result = match &arguments.command {
        Command::Search(command) => search::search(&arguments.snapshot, command),
        Command::Similar(command) => similar::similar(&arguments.snapshot, command),
        Command::Recommend(command) => recommend::recommend(&arguments.snapshot, command),
        Command::Eval(command) => eval::eval(&arguments.snapshot, command),
        Command::Tune(command) => tune::tune(&arguments.snapshot, command),
        Command::Info(command) => info::info(&arguments.snapshot, command),
    };
    match result {
        Ok(code) => code,
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::print_error(&error);
            ExitCode::from(2)
        }
    }
}

//! `indexer run --plan`. Owns how a plan is printed.

use std::fmt::Write;
use std::process::ExitCode;

use anyhow::Context;
use indexer::Plan;

use crate::arguments::RunArguments;
use crate::run::reasons;
use crate::shown::duration;

/// Prints a plan, and writes its JSON where the report is wanted.
pub(crate) fn print(arguments: &RunArguments, plan: &Plan) -> anyhow::Result<ExitCode> {
    if let Some(path) = &arguments.report {
        fs_err::write(path, plan.to_json()).context("the plan cannot be written")?;
    }
    if arguments.json { crate::print_json(&plan.to_json()) } else { crate::print(&summary(plan)) }?;
    Ok(ExitCode::SUCCESS)
}

/// The plan for people.
fn summary(plan: &Plan) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:>10}  {value}");
    };
    line("planned", "nothing was written".to_owned());
    line("items", format!("{} of {} rows, {} rejected", plan.items, plan.rows, plan.rejected));
    for (modality, one) in &plan.modalities {
        let why = reasons(&one.encode_reasons);
        let counts = format!("{} to encode{why}, {} kept, {} absent", one.encode, one.kept, one.absent);
        let time = match (one.seconds, one.embeddings_per_second) {
            (Some(seconds), Some(speed)) if one.encode > 0 => format!("; {} at {speed:.0} a second", duration(seconds)),
            (None, _) => "; not measured yet".to_owned(),
            (Some(_), _) => String::new(),
        };
        line(modality, counts + &time);
    }
    for (reason, count) in &plan.reject_reasons {
        line("left out", format!("{count} {reason}"));
    }
    line(
        "encoding",
        plan.seconds.map_or("not measured yet".to_owned(), |seconds| format!("about {}", duration(seconds))),
    );
    text
}

//! `indexer run`. Owns signals, the summary and the exit code.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use indexer::config::Overrides;
use indexer::metrics::{self, RunEnd};
use indexer::report::{FailureReport, RunOutcome};
use indexer::{Force, IndexConfig, RunContext, RunReport, StopSignal, gates};

use crate::arguments::RunArguments;
use crate::logging::Log;
use crate::progress::StageBars;
use crate::status::forced;

/// Runs one night.
pub(crate) fn run(arguments: &RunArguments, log: &Log) -> anyhow::Result<ExitCode> {
    let mut set = arguments.set.clone();
    set.extend(arguments.device.iter().map(|device| ("encode.device".to_owned(), device.clone())));
    let (store, catalog) = (arguments.store.clone(), arguments.catalog.clone());
    let overrides = Overrides { store, catalog, metrics: arguments.metrics.clone(), set };
    let config = match IndexConfig::read(&arguments.config, &overrides) {
        Ok(config) => config,
        Err(error) => {
            let report = FailureReport::before_the_first_stage(&error);
            if let Some(path) = &arguments.metrics {
                write_metrics(path, RunEnd::Failure(&report), arguments.store.as_deref());
            }
            return Err(report_failure(arguments, &report.to_json(), error.into()));
        }
    };
    let context = RunContext {
        progress: &StageBars::new(log),
        stop: stop_on_signals()?,
        rebuild: arguments.rebuild,
        force: arguments.force.as_deref().map(|reason| Force::by_this_user(Some(reason))),
    };
    if arguments.plan {
        let plan = indexer::plan(&config, &context).map_err(|error| {
            let error = anyhow::Error::from(error);
            let report = serde_json::json!({ "outcome": "failed", "error": format!("{error:#}") });
            report_failure(arguments, &report.to_string(), error)
        })?;
        return crate::plan::print(arguments, &plan);
    }
    let ended = match arguments.partition {
        None => indexer::run(&config, &context),
        Some(share) => indexer::run_partitions(&config, share, &context),
    };
    if let Some(path) = config.metrics.as_ref().filter(|_| arguments.partition.is_none()) {
        let end = match &ended {
            Ok(report) => RunEnd::Report(report),
            Err(failure) => RunEnd::Failure(&failure.report),
        };
        write_metrics(path, end, Some(&config.store));
    }
    let report = ended.map_err(|failure| {
        let report = failure.report.to_json();
        report_failure(arguments, &report, failure.into())
    })?;
    if let Some(path) = &arguments.report {
        fs_err::write(path, report.to_json()).context("the run is done, but the report cannot be written")?;
    }
    if arguments.json { crate::print_json(&report.to_json()) } else { crate::print(&summary(&report)) }?;
    Ok(match report.outcome {
        RunOutcome::Published | RunOutcome::Unchanged | RunOutcome::Encoded => ExitCode::SUCCESS,
        RunOutcome::Refused => ExitCode::from(1),
        RunOutcome::Failed | RunOutcome::Stopped | RunOutcome::Running => ExitCode::from(2),
    })
}

/// Writes the metrics; that they cannot be written is told and changes nothing else.
fn write_metrics(path: &Path, end: RunEnd<'_>, store: Option<&Path>) {
    if let Err(error) = metrics::write(path, end, store) {
        tracing::error!(
            path = %path.display(),
            error = &error as &dyn std::error::Error,
            "the metrics cannot be written"
        );
    }
}

/// Puts a failed run where its report is looked for, so that nobody takes the last night's report for this one's.
fn report_failure(arguments: &RunArguments, report: &str, error: anyhow::Error) -> anyhow::Error {
    let written = match &arguments.report {
        Some(path) => fs_err::write(path, format!("{report}\n")).map_err(anyhow::Error::from),
        None => Ok(()),
    };
    let printed = if arguments.json { crate::print_json(report) } else { Ok(()) };
    match written.and(printed) {
        Ok(()) => error,
        Err(also) => error.context(format!("the report cannot be written either ({also:#})")),
    }
}

/// The first SIGTERM or Ctrl-C asks the run to stop; the second ends the process at once.
fn stop_on_signals() -> anyhow::Result<StopSignal> {
    let stop = StopSignal::default();
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register_conditional_shutdown(signal, 2, stop.flag())
            .and_then(|_| signal_hook::flag::register(signal, stop.flag()))
            .context("cannot listen for signals")?;
    }
    Ok(stop)
}

/// ` (3 new_item, 1 content_changed)`; nothing where there is none.
pub(crate) fn reasons(counts: &BTreeMap<String, u64>) -> String {
    let reasons: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) }
}

/// The report for people.
fn summary(report: &RunReport) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:>10}  {value}");
    };
    match report.outcome {
        RunOutcome::Published => line("published", report.snapshot.clone().unwrap_or_default()),
        RunOutcome::Unchanged => {
            line("unchanged", format!("{} stays current", report.snapshot.clone().unwrap_or_default()));
        }
        RunOutcome::Refused => line("refused", "the old snapshot still serves".to_owned()),
        RunOutcome::Failed | RunOutcome::Stopped | RunOutcome::Running => {
            line("ended", report.outcome.name().to_owned())
        }
        RunOutcome::Encoded => {
            let share = report.partition.as_deref().unwrap_or_default();
            line("encoded", format!("share {share} of the partitions; `indexer run` without `--partition` publishes"));
        }
    }
    if let Some(overruled) = &report.overruled {
        line("FORCED", format!("{} REFUSED THIS SNAPSHOT, AND IT SERVES", gate_count(overruled.gates.len())));
        line("FORCED", forced(overruled));
    }
    line("items", format!("{} of {} rows, {} rejected", report.items, report.rows, report.rejected));
    for (modality, encoded) in &report.encoded {
        let count = |counts: &BTreeMap<String, u64>| counts.get(modality).copied().unwrap_or(0);
        let why = report.encode_reasons.get(modality).map(reasons).unwrap_or_default();
        line(
            modality,
            format!("{encoded} encoded{why}, {} kept, {} absent", count(&report.kept), count(&report.absent)),
        );
    }
    for (reason, count) in &report.reject_reasons {
        line("left out", format!("{count} {reason}"));
    }
    for (name, gate) in &report.gates {
        line(if gate.passed { "passed" } else { "FAILED" }, format!("{name}: {}", gate.message));
    }
    if let Some(advice) = gates::advice(&report.gates).filter(|_| report.outcome == RunOutcome::Refused) {
        line("next", advice);
    }
    if !report.reject_reasons.is_empty() {
        line("rejects", report.rejects_file.clone());
    }
    let seconds = report.seconds.iter().filter(|(stage, _)| *stage != "total");
    let seconds: Vec<String> = seconds.map(|(stage, seconds)| format!("{stage} {seconds:.2}")).collect();
    let total = report.seconds.get("total").copied().unwrap_or_default();
    line("seconds", format!("{total:.2} ({})", seconds.join(", ")));
    if let Some(pipeline) = report.pipeline.line() {
        line("encoding", pipeline);
    }
    text
}

/// `1 GATE` or `2 GATES`.
fn gate_count(count: usize) -> String {
    if count == 1 { "1 GATE".to_owned() } else { format!("{count} GATES") }
}

//! `indexer status`. Owns how a store is shown, and the exit code of `--max-age`.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use comfy_table::{Table, presets};
use indexer::status::{Freshness, LastRun, StoreStatus};
use schemas::manifest::Overruled;
use schemas::{Store, terminal};

use crate::arguments::StatusArguments;
use crate::shown::{bytes, duration};
use crate::{print, print_json};

/// Shows a store.
pub(crate) fn status(arguments: &StatusArguments) -> anyhow::Result<ExitCode> {
    let status = indexer::status::status_now(&Store::open(&arguments.store.store)?)?;
    let stale = arguments.max_age.and_then(|age| too_old(&status.freshness, age));
    if let Some(reason) = &stale {
        tracing::error!("{reason}");
    }
    for report in &status.unreadable_reports {
        tracing::warn!(file = report.file, reason = report.reason, "no report");
    }
    if arguments.store.json {
        let mut result = serde_json::to_value(&status)?;
        if arguments.max_age.is_some() {
            result["too_old"] = stale.is_some().into();
        }
        print_json(&serde_json::to_string_pretty(&result)?)?;
    } else {
        print(&text(&status))?;
    }
    Ok(if stale.is_some() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// Why the published snapshot is too old; `None` when it is not.
fn too_old(freshness: &Freshness, max_age: Duration) -> Option<String> {
    let allowed = duration(max_age.as_secs_f64());
    match freshness.age_seconds {
        Some(age) if age <= max_age.as_secs() => None,
        Some(age) => Some(format!("the published snapshot is {} old, more than {allowed}", duration(age as f64))),
        None => Some(format!("nothing is published whose age is known; at most {allowed} is wanted")),
    }
}

/// A status for people.
fn text(status: &StoreStatus) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:>10}  {value}");
    };
    line("published", status.current.clone().unwrap_or_else(|| "nothing yet".to_owned()));
    let freshness = &status.freshness;
    if let (Some(as_of), Some(age)) = (&freshness.as_of, freshness.age_seconds) {
        let unchanged = if freshness.built.as_ref() == Some(as_of) { "" } else { ", unchanged since it was built" };
        line("as of", format!("{as_of}, {} ago{unchanged}", duration(age as f64)));
    }
    let current = status.snapshots.iter().find(|snapshot| snapshot.current);
    if let Some(overruled) = current.and_then(|snapshot| snapshot.overruled.as_ref()) {
        line("FORCED", forced(overruled));
    }
    line("last run", status.last_run.as_ref().map_or_else(|| "none".to_owned(), last_run));
    let writers = status.writers.join(", ");
    line("running", if writers.is_empty() { "no".to_owned() } else { terminal::line(&writers) });
    let disk = &status.disk;
    let parts = [
        ("snapshots", disk.snapshots),
        ("embeddings", disk.embeddings),
        ("encoders", disk.encoders),
        ("reports", disk.reports),
        ("staging", disk.staging),
    ];
    let parts: Vec<String> = parts.iter().map(|(name, size)| format!("{name} {}", bytes(*size))).collect();
    line("disk", format!("{} ({})", bytes(disk.total), parts.join(", ")));
    for orphan in &status.orphans {
        line("orphan", format!("{}, {}: {}", terminal::line(&orphan.path), bytes(orphan.bytes), orphan.reason));
    }
    if status.snapshots.is_empty() {
        return text;
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(["", "snapshot", "started", "items", "size", "encoders"]);
    for snapshot in &status.snapshots {
        let encoders: Vec<_> = snapshot.encoders.iter().map(|(modality, name)| format!("{modality}: {name}")).collect();
        let encoders = snapshot.error.clone().unwrap_or_else(|| encoders.join(", "));
        table.add_row([
            if snapshot.current { "*" } else { "" }.to_owned(),
            snapshot.snapshot.clone(),
            terminal::line(&snapshot.created),
            snapshot.items.to_string(),
            bytes(snapshot.bytes),
            terminal::line(&encoders),
        ]);
    }
    format!("{text}\n{table}\n")
}

fn last_run(run: &LastRun) -> String {
    let mut text = format!("{} {}", run.outcome, terminal::line(&run.started));
    if let Some(seconds) = run.seconds {
        text += &format!(", {seconds:.2} s");
    }
    if let (Some(stage), Some(error)) = (&run.stage, &run.error) {
        text += &format!(", in stage {}: {}", terminal::line(stage), terminal::line(error));
    }
    if let Some(overruled) = &run.overruled {
        text += &format!(", forced: {}", forced(overruled));
    }
    text
}

/// `max_item_drop overruled by ana@host at 2026-11-20T03:20:00Z: the reason`.
pub(crate) fn forced(overruled: &Overruled) -> String {
    let Overruled { gates, by, at, reason } = overruled;
    let reason = reason.as_deref().unwrap_or("no reason given");
    terminal::line(&format!("{} overruled by {by} at {at}: {reason}", gates.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_held_against_the_limit() {
        let fresh = |age_seconds| Freshness { age_seconds, ..Freshness::default() };
        let limit = Duration::from_secs(26 * 3600);
        assert_eq!(too_old(&fresh(Some(26 * 3600)), limit), None);
        let message = too_old(&fresh(Some(30 * 3600)), limit);
        assert_eq!(message.as_deref(), Some("the published snapshot is 30 h 00 min old, more than 26 h 00 min"));
        assert!(too_old(&fresh(None), limit).is_some_and(|message| message.starts_with("nothing is published")));
    }
}

//! Metrics of the last run for Prometheus, as a file that node_exporter's textfile collector reads. Owns the names and what
//! they are taken from; not the text format (`metrics/exposition.rs`). Invariant: every metric is a gauge of one run or of
//! the published snapshot; what is not known is not there, rather than 0.

use std::path::Path;

use schemas::durable::write_durably;
use schemas::{Manifest, Store};
use time::OffsetDateTime;

use crate::error::IndexError;
use crate::report::{FailureReport, RunOutcome, RunReport};
use crate::reports::parse_time;
use crate::status::{Freshness, freshness};

mod exposition;

use exposition::Exposition;

/// How a run ended.
#[derive(Clone, Copy, Debug)]
pub enum RunEnd<'a> {
    /// It came to its end.
    Report(&'a RunReport),
    /// It failed or was stopped.
    Failure(&'a FailureReport),
}

/// Writes the metrics of a run that ended, durably and at once: a reader finds the old file or the new one, whole. The
/// published snapshot is looked at in `store`, if it can be.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, end: RunEnd<'_>, store: Option<&Path>) -> Result<(), IndexError> {
    let published = store.and_then(|folder| match Published::look(folder) {
        Ok(published) => Some(published),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the store cannot be looked at; the metrics have no snapshot"
            );
            None
        }
    });
    Ok(write_durably(path, text(end, published.as_ref()).as_bytes())?)
}

/// What is published.
#[derive(Debug, Default)]
struct Published {
    freshness: Freshness,
    manifest: Option<(String, Manifest)>,
}

impl Published {
    fn look(folder: &Path) -> Result<Published, IndexError> {
        let store = Store::open(folder)?;
        let (current, freshness) = freshness(&store, OffsetDateTime::now_utc())?;
        let manifest = current
            .map(|id| Ok::<_, IndexError>((id.to_string(), Manifest::read(&store.snapshot_folder(&id))?)))
            .transpose()?;
        Ok(Published { freshness, manifest })
    }
}

/// The file's text.
fn text(end: RunEnd<'_>, published: Option<&Published>) -> String {
    let mut text = Exposition::default();
    last_run(&mut text, end);
    if let RunEnd::Report(report) = end {
        counts(&mut text, report);
        gates(&mut text, report);
    }
    if let Some(published) = published {
        snapshot(&mut text, published);
    }
    text.finish()
}

fn last_run(text: &mut Exposition, end: RunEnd<'_>) {
    let (outcome, version, finished, seconds, failed_stage) = match end {
        RunEnd::Report(report) => (report.outcome, &report.tool_version, &report.finished, &report.seconds, None),
        RunEnd::Failure(report) => {
            (report.outcome, &report.tool_version, &report.finished, &report.seconds, Some(&report.stage))
        }
    };
    text.gauge(
        "catalens_build_info",
        "Version of Catalens that ran last.",
        [(&[("version", version.as_str())][..], 1.0)],
    );
    if let Some(end) = unix_seconds(finished) {
        text.number("catalens_last_run_timestamp_seconds", "Unix time of the end of the last run.", end);
    }
    let total = seconds.get("total").copied().unwrap_or_default();
    text.number("catalens_last_run_duration_seconds", "Duration of the last run.", total);
    let name = "catalens_last_run_stage_duration_seconds";
    let stages =
        seconds.iter().filter(|(stage, _)| *stage != "total").map(|(stage, seconds)| (stage.as_str(), *seconds));
    text.by(name, "Duration of each stage of the last run.", "stage", stages);
    let outcomes = RunOutcome::ALL.into_iter().filter(|one| *one != RunOutcome::Running && *one != RunOutcome::Encoded);
    let outcomes = outcomes.map(|one| (one.name(), flag(one == outcome)));
    let help = "How the last run ended: 1 for its outcome, 0 for the others.";
    text.by("catalens_last_run_outcome", help, "outcome", outcomes);
    let failed = failed_stage.into_iter().map(|stage| (stage.as_str(), 1.0));
    text.by("catalens_last_run_failed_stage", "The stage in which the last run failed, if it did.", "stage", failed);
}

fn counts(text: &mut Exposition, report: &RunReport) {
    text.number("catalens_last_run_rows", "Rows of the catalog in the last run.", report.rows as f64);
    text.number("catalens_last_run_items", "Rows that became items in the last run.", report.items as f64);
    text.number("catalens_last_run_rejected_rows", "Rows left out in the last run.", report.rejected as f64);
    fn floats(counts: &std::collections::BTreeMap<String, u64>) -> impl Iterator<Item = (&str, f64)> {
        counts.iter().map(|(name, count)| (name.as_str(), *count as f64))
    }
    let help = "Rows and pictures left out in the last run, by reason.";
    text.by("catalens_last_run_left_out", help, "reason", floats(&report.reject_reasons));
    let modalities = [
        ("catalens_last_run_embeddings_encoded", "Embeddings computed in the last run.", &report.encoded),
        ("catalens_last_run_embeddings_kept", "Embeddings kept from earlier runs in the last run.", &report.kept),
        ("catalens_last_run_embeddings_absent", "Items without the modality in the last run.", &report.absent),
    ];
    for (name, help, counts) in modalities {
        text.by(name, help, "modality", floats(counts));
    }
}

fn gates(text: &mut Exposition, report: &RunReport) {
    let gates = || report.gates.iter().map(|(name, gate)| (name.as_str(), gate));
    let help = "What a gate measured, of the last run that reached the gates.";
    text.by("catalens_gate_value", help, "gate", gates().map(|(name, gate)| (name, gate.value)));
    let help = "The bound that a gate's value was held against.";
    text.by("catalens_gate_bound", help, "gate", gates().map(|(name, gate)| (name, gate.bound)));
    let help = "Whether a gate passed (1) or refused (0).";
    text.by("catalens_gate_passed", help, "gate", gates().map(|(name, gate)| (name, flag(gate.passed))));
    let overruled = report.overruled.as_ref().map_or(&[][..], |overruled| &overruled.gates);
    let help = "Whether the last run overruled the gate by force (1) or not (0).";
    let flags = gates().map(|(name, _)| (name, flag(overruled.iter().any(|gate| gate == name))));
    text.by("catalens_gate_overruled", help, "gate", flags);
}

fn snapshot(text: &mut Exposition, published: &Published) {
    let Published { freshness, manifest } = published;
    let times = [
        (
            "catalens_last_success_timestamp_seconds",
            "Unix time of the end of the last run that published, or left the snapshot because nothing changed.",
            &freshness.last_success,
        ),
        (
            "catalens_snapshot_timestamp_seconds",
            "Unix time of the start of the run that built the published snapshot.",
            &freshness.built,
        ),
        (
            "catalens_snapshot_as_of_timestamp_seconds",
            "Unix time at which the catalog was last known to be what the published snapshot holds.",
            &freshness.as_of,
        ),
    ];
    for (name, help, time) in times {
        if let Some(seconds) = time.as_deref().and_then(unix_seconds) {
            text.number(name, help, seconds);
        }
    }
    let Some((id, manifest)) = manifest else { return };
    text.gauge("catalens_snapshot_info", "The published snapshot.", [(&[("snapshot", id.as_str())][..], 1.0)]);
    text.number("catalens_snapshot_items", "Items of the published snapshot.", manifest.item_count as f64);
    let bytes: u64 = manifest.files.values().map(|file| file.bytes).sum();
    text.number("catalens_snapshot_size_bytes", "Size of the published snapshot's files.", bytes as f64);
    let overruled = manifest.overruled.as_ref().map_or(0, |overruled| overruled.gates.len());
    let help = "Gates that refused the published snapshot and were overruled by force.";
    text.number("catalens_snapshot_overruled_gates", help, overruled as f64);
}

fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

fn unix_seconds(time: &str) -> Option<f64> {
    parse_time(time).map(|time| time.unix_timestamp() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_run_has_a_stage_and_no_counts() {
        let report = FailureReport {
            outcome: RunOutcome::Stopped,
            tool_version: "0.1.0".to_owned(),
            started: "2026-11-20T03:15:00Z".to_owned(),
            finished: "2026-11-20T03:16:00Z".to_owned(),
            partition: None,
            parent: None,
            stage: "encode".to_owned(),
            error: "stopped".to_owned(),
            seconds: [("encode".to_owned(), 2.5), ("total".to_owned(), 3.0)].into(),
        };
        let text = text(RunEnd::Failure(&report), None);
        for line in [
            "catalens_last_run_timestamp_seconds 1795144560",
            "catalens_last_run_duration_seconds 3",
            "catalens_last_run_stage_duration_seconds{stage=\"encode\"} 2.5",
            "catalens_last_run_outcome{outcome=\"stopped\"} 1",
            "catalens_last_run_outcome{outcome=\"published\"} 0",
            "catalens_last_run_failed_stage{stage=\"encode\"} 1",
        ] {
            assert!(text.lines().any(|one| one == line), "`{line}` is not in\n{text}");
        }
        assert!(!text.contains("_items") && !text.contains("snapshot"), "{text}");
    }
}

//! The trace that every run leaves: the stage it is in, the seconds of each, and its report in the store. Owns the log
//! lines of stages and the files in `reports/`; not what is counted (`report.rs`). Invariant: from the moment a run holds
//! its lock until its end there is a report of it; a run that is killed leaves one that says `running`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use schemas::durable::write_durably;
use schemas::store::host_name;
use schemas::{SnapshotId, Store};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use crate::error::{IndexError, RunFailure, chain};
use crate::partitions::PartitionShare;
use crate::progress::Progress;
use crate::report::{FailureReport, RunMarker, RunOutcome, RunReport};

/// Follows one run from its first stage to its report.
pub(crate) struct Journal<'a> {
    progress: &'a dyn Progress,
    share: Option<PartitionShare>,
    start: Instant,
    stage: &'static str,
    stage_start: Instant,
    seconds: BTreeMap<String, f64>,
    started: String,
    store: Option<Store>,
    parent: Option<String>,
    files: Option<ReportFiles>,
}

impl<'a> Journal<'a> {
    /// Begins with the stage `open`.
    pub(crate) fn begin(progress: &'a dyn Progress, share: Option<PartitionShare>) -> Journal<'a> {
        let now = Instant::now();
        let mut journal = Journal {
            progress,
            share,
            start: now,
            stage: "",
            stage_start: now,
            seconds: BTreeMap::new(),
            started: rfc3339(OffsetDateTime::now_utc()),
            store: None,
            parent: None,
            files: None,
        };
        journal.enter("open");
        journal
    }

    /// From here on there is a store to leave a report in.
    pub(crate) fn in_store(&mut self, store: &Store) {
        self.store = Some(store.clone());
    }

    /// From here on the run holds its lock: says so in the store. `started` and `compact` are its start, in RFC 3339 and as
    /// in names of files.
    pub(crate) fn holds_lock(
        &mut self,
        store: &Store,
        (started, compact): (&str, &str),
        parent: Option<&SnapshotId>,
    ) -> Result<(), IndexError> {
        started.clone_into(&mut self.started);
        self.parent = parent.map(ToString::to_string);
        let files = ReportFiles::unused(store, compact, self.share);
        let marker = RunMarker {
            outcome: RunOutcome::Running,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.started.clone(),
            partition: self.share.map(|share| share.to_string()),
            parent: self.parent.clone(),
            pid: std::process::id(),
            host: host_name(),
        };
        write_durably(&files.report, marker.to_json().as_bytes())?;
        self.files = Some(files);
        Ok(())
    }

    /// Where the rejects of this run go.
    pub(crate) fn rejects_file(&self) -> Result<PathBuf, IndexError> {
        let files = self.files.as_ref().map(|files| files.rejects.clone());
        files.ok_or_else(|| IndexError::Inconsistent { reason: "rejects before the lock".to_owned() })
    }

    /// Ends the running stage and begins the next.
    pub(crate) fn stage(&mut self, stage: &'static str) {
        self.end_stage("stage done");
        self.enter(stage);
    }

    fn enter(&mut self, stage: &'static str) {
        self.stage = stage;
        self.stage_start = Instant::now();
        self.progress.enter(stage);
        tracing::info!(stage, "stage started");
    }

    fn end_stage(&mut self, words: &str) {
        let seconds = self.stage_start.elapsed().as_secs_f64();
        *self.seconds.entry(self.stage.to_owned()).or_default() += seconds;
        tracing::info!(stage = self.stage, seconds = (seconds * 1000.0).round() / 1000.0, "{words}");
    }

    /// Ends the run: completes its report and leaves it in the store. A run whose report cannot be written has failed, and
    /// the store would say that it still runs; what was published is published, and the error says so.
    pub(crate) fn close(mut self, ended: Result<RunReport, IndexError>) -> Result<RunReport, RunFailure> {
        self.end_stage(if ended.is_ok() { "stage done" } else { "stage ended by an error" });
        self.seconds.insert("total".to_owned(), self.start.elapsed().as_secs_f64());
        // The start may be set after the parent's, which is in the future when the clock went back.
        let finished = rfc3339(OffsetDateTime::now_utc()).max(self.started.clone());
        let (tool_version, partition) =
            (env!("CARGO_PKG_VERSION").to_owned(), self.share.map(|share| share.to_string()));
        let error = match ended {
            Ok(report) => {
                let rejects = self.files.as_ref().map(|files| files.rejects.display().to_string());
                let report = RunReport {
                    tool_version: tool_version.clone(),
                    partition: partition.clone(),
                    finished: finished.clone(),
                    started: self.started.clone(),
                    parent: self.parent.clone(),
                    rejects_file: rejects.unwrap_or_default(),
                    seconds: self.seconds.clone(),
                    ..report
                };
                tracing::info!(
                    outcome = report.outcome.name(),
                    snapshot = report.snapshot,
                    rows = report.rows,
                    items = report.items,
                    rejected = report.rejected,
                    "run ended"
                );
                match self.keep(&report.to_json()) {
                    Ok(()) => return Ok(report),
                    Err(error) => unrecorded(&report, error),
                }
            }
            Err(error) => error,
        };
        let stopped = matches!(error, IndexError::Stopped);
        let report = FailureReport {
            outcome: if stopped { RunOutcome::Stopped } else { RunOutcome::Failed },
            tool_version,
            partition,
            finished,
            started: self.started.clone(),
            parent: self.parent.clone(),
            stage: self.stage.to_owned(),
            error: chain(&error),
            seconds: self.seconds.clone(),
        };
        if let Err(unkept) = self.keep(&report.to_json()) {
            tracing::error!(
                error = &unkept as &dyn std::error::Error,
                "the run's report cannot be kept in the store either"
            );
        }
        Err(RunFailure { error: Box::new(error), report: Box::new(report) })
    }

    fn keep(&self, report: &str) -> Result<(), IndexError> {
        let Some(store) = &self.store else { return Ok(()) };
        let path = match &self.files {
            Some(files) => files.report.clone(),
            // Another run holds the store: a name that it cannot choose.
            None => store.reports_folder().join(format!("{}_pid{}.json", compact_now(), std::process::id())),
        };
        Ok(write_durably(&path, report.as_bytes())?)
    }
}

/// A run whose report cannot be kept has failed; after a publish the error says what serves.
fn unrecorded(report: &RunReport, error: IndexError) -> IndexError {
    let published = report.snapshot.as_deref().filter(|_| report.outcome == RunOutcome::Published);
    match published.and_then(SnapshotId::parse) {
        Some(snapshot) => IndexError::AfterPublish { snapshot, source: Box::new(error) },
        None => error,
    }
}

/// Where a run's report and its rejects go, below the store's `reports/`.
struct ReportFiles {
    report: PathBuf,
    rejects: PathBuf,
}

impl ReportFiles {
    /// Names that no run had. Runs may start in the same second: those of different shares have the share in the name, those
    /// one after the other a number.
    fn unused(store: &Store, compact: &str, share: Option<PartitionShare>) -> ReportFiles {
        let folder = store.reports_folder();
        let share = share.map(|share| format!(".{}", share.file_name())).unwrap_or_default();
        let mut name = format!("{compact}{share}");
        let mut number = 2_u32;
        while folder.join(format!("{name}.json")).exists() {
            name = format!("{compact}_{number}{share}");
            number += 1;
        }
        ReportFiles {
            report: folder.join(format!("{name}.json")),
            rejects: folder.join(format!("{name}.rejects.parquet")),
        }
    }
}

/// A time as reports have it, in whole seconds.
pub(crate) fn rfc3339(time: OffsetDateTime) -> String {
    // Formatting fails only for years beyond four digits.
    time.replace_nanosecond(0).unwrap_or(time).format(&Rfc3339).unwrap_or_default()
}

/// Now, as in names of files.
fn compact_now() -> String {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    OffsetDateTime::now_utc().format(format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    fn only_report(store: &Store) -> serde_json::Value {
        let names = schemas::durable::list_files(&store.reports_folder()).unwrap();
        assert_eq!(names.len(), 1, "{names:?}");
        let text = fs_err::read(store.reports_folder().join(&names[0])).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn a_run_leaves_a_report_however_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(folder.path()).unwrap();
        let mut journal = Journal::begin(&Silent, None);
        journal.in_store(&store);
        let start = ("2026-11-20T03:15:00Z", "20261120T031500Z");
        journal.holds_lock(&store, start, None).unwrap();
        let marker = only_report(&store);
        assert_eq!((&marker["outcome"], &marker["pid"]), (&"running".into(), &std::process::id().into()));

        journal.stage("read");
        let source = std::io::Error::other("the disk is gone");
        let failure = journal.close(Err(IndexError::Io { path: "items.jsonl".into(), source })).unwrap_err();
        let report = only_report(&store);
        assert_eq!(report, serde_json::to_value(&failure.report).unwrap());
        assert_eq!((&report["outcome"], &report["stage"]), (&"failed".into(), &"read".into()));
        let error = "cannot read or write `items.jsonl`; check space and permissions: the disk is gone";
        assert_eq!(report["error"], error);
        let stages: Vec<&String> = report["seconds"].as_object().unwrap().keys().collect();
        assert_eq!(stages, ["open", "read", "total"]);
    }

    #[test]
    fn runs_of_one_second_have_different_reports() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(folder.path()).unwrap();
        for _ in 0..3 {
            let mut journal = Journal::begin(&Silent, None);
            journal.in_store(&store);
            journal.holds_lock(&store, ("2026-11-20T03:15:00Z", "20261120T031500Z"), None).unwrap();
            let failure = journal.close(Err(IndexError::Stopped)).unwrap_err();
            assert_eq!(failure.report.outcome, RunOutcome::Stopped);
        }
        let mut kept_out = Journal::begin(&Silent, None);
        kept_out.in_store(&store);
        kept_out.close(Err(IndexError::Stopped)).unwrap_err();
        let names = schemas::durable::list_files(&store.reports_folder()).unwrap();
        let (other, names): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| name.contains("_pid"));
        assert_eq!(names, ["20261120T031500Z.json", "20261120T031500Z_2.json", "20261120T031500Z_3.json"]);
        assert!(other.len() == 1 && other[0].ends_with(&format!("_pid{}.json", std::process::id())), "{other:?}");
    }
}

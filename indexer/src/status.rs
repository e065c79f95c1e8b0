//! A store at a glance: what is published and how fresh it is, how the last run ended, who writes now, what takes space and
//! what nobody needs. Owns these findings; not how they are shown. Invariant: nothing is written, no lock is held, and a
//! damaged part of the store is told of and hides no other.

use std::path::Path;

use schemas::manifest::Overruled;
use schemas::{Manifest, SnapshotId, Store};
use time::OffsetDateTime;

use crate::error::{IndexError, chain};
use crate::report::RunOutcome;
use crate::reports::{self, StoredReport, UnreadableReport, parse_time};

mod disk;

pub use disk::{DiskUse, Orphan};

/// A store at a glance.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct StoreStatus {
    /// The published snapshot.
    pub current: Option<String>,
    /// How fresh it is.
    pub freshness: Freshness,
    /// The last run of everything that left a report.
    pub last_run: Option<LastRun>,
    /// Who writes to the store now, as their lock files say.
    pub writers: Vec<String>,
    /// All snapshots, oldest first.
    pub snapshots: Vec<SnapshotStatus>,
    /// Bytes by part of the store.
    pub disk: DiskUse,
    /// What no snapshot and no run needs.
    pub orphans: Vec<Orphan>,
    /// Files in `reports/` that are no reports.
    pub unreadable_reports: Vec<UnreadableReport>,
}

/// How fresh the published snapshot is.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Freshness {
    /// Start of the run that built the published snapshot, RFC 3339, UTC.
    pub built: Option<String>,
    /// Start of the last run that found the catalog to be what the published snapshot was made from; `built` if there was
    /// none since.
    pub as_of: Option<String>,
    /// Seconds since `as_of`; 0 for a time in the future.
    pub age_seconds: Option<u64>,
    /// End of the last run that published, or left the current snapshot because nothing changed.
    pub last_success: Option<String>,
}

/// A run's end.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct LastRun {
    /// Name of the report's file.
    pub report: String,
    /// How it ended; `killed` when it left no end and holds no lock.
    pub outcome: &'static str,
    /// Start, RFC 3339, UTC.
    pub started: String,
    /// Seconds from start to end.
    pub seconds: Option<f64>,
    /// The stage that failed.
    pub stage: Option<String>,
    /// Why.
    pub error: Option<String>,
    /// Gates that it overruled.
    pub overruled: Option<Overruled>,
}

/// A snapshot at a glance.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct SnapshotStatus {
    /// Name.
    pub snapshot: String,
    /// Whether it is the published one.
    pub current: bool,
    /// Start of the run that built it.
    pub created: String,
    /// Items.
    pub items: u64,
    /// Size of its files in bytes.
    pub bytes: u64,
    /// Encoded modalities, each with the name of its encoder.
    pub encoders: Vec<(String, String)>,
    /// Gates that refused it and were overruled.
    pub overruled: Option<Overruled>,
    /// Why it cannot be read, if it cannot.
    pub error: Option<String>,
}

/// Looks at a store now; see [`status`].
///
/// # Errors
/// As [`status`].
pub fn status_now(store: &Store) -> Result<StoreStatus, IndexError> {
    status(store, OffsetDateTime::now_utc())
}

/// Looks at a store. Reads manifests and reports, and lists files; costs a look at each file of the store.
///
/// # Errors
/// When the store's folders or `CURRENT` cannot be read.
pub fn status(store: &Store, now: OffsetDateTime) -> Result<StoreStatus, IndexError> {
    // Looked at first: a run that ends in between has its report by then.
    let writers = store.writers()?;
    let current = store.current()?;
    let (reports, unreadable_reports) = reports::read(store)?;
    let manifests: Vec<(SnapshotId, Result<Manifest, String>)> = store
        .snapshots()?
        .into_iter()
        .map(|id| {
            let manifest = Manifest::read(&store.snapshot_folder(&id)).map_err(|error| chain(&error));
            (id, manifest)
        })
        .collect();
    let (disk, orphans) = disk::survey(store, current.as_ref(), &manifests, !writers.is_empty())?;
    let snapshots = manifests.iter().map(|(id, manifest)| snapshot_status(id, manifest, current.as_ref())).collect();
    let last_run = reports.iter().rfind(|report| report.partition.is_none());
    Ok(StoreStatus {
        freshness: freshness_of(store, current.as_ref(), &reports, now),
        current: current.map(|id| id.to_string()),
        last_run: last_run.map(|report| last_run_of(report, &writers)),
        writers,
        snapshots,
        disk,
        orphans,
        unreadable_reports,
    })
}

/// How fresh the published snapshot is, from its manifest and the reports.
///
/// # Errors
/// When `CURRENT` or the folder of reports cannot be read.
pub fn freshness(store: &Store, now: OffsetDateTime) -> Result<(Option<SnapshotId>, Freshness), IndexError> {
    let current = store.current()?;
    let (reports, _) = reports::read(store)?;
    let freshness = freshness_of(store, current.as_ref(), &reports, now);
    Ok((current, freshness))
}

fn freshness_of(
    store: &Store,
    current: Option<&SnapshotId>,
    reports: &[StoredReport],
    now: OffsetDateTime,
) -> Freshness {
    let last_success = reports
        .iter()
        .filter(|report| report.outcome.is_success())
        .filter_map(|report| report.ended())
        .max()
        .map(crate::journal::rfc3339);
    let manifest = current.and_then(|id| Manifest::read(&store.snapshot_folder(id)).ok());
    let built = manifest.map(|manifest| manifest.created);
    let confirmed = reports
        .iter()
        .filter(|report| report.outcome == RunOutcome::Unchanged)
        .filter(|report| current.is_some_and(|id| report.snapshot.as_deref() == Some(id.as_str())))
        .map(|report| report.started.clone());
    let as_of = confirmed.chain(built.clone()).filter_map(|time| Some((parse_time(&time)?, time))).max();
    let age = as_of.as_ref().map(|(time, _)| u64::try_from((now - *time).whole_seconds()).unwrap_or(0));
    Freshness { built, as_of: as_of.map(|(_, time)| time), age_seconds: age, last_success }
}

fn last_run_of(report: &StoredReport, writers: &[String]) -> LastRun {
    let killed = report.outcome == RunOutcome::Running && !report.is_under_way(writers);
    LastRun {
        report: report.file.clone(),
        outcome: if killed { "killed" } else { report.outcome.name() },
        started: report.started.clone(),
        seconds: report.seconds.get("total").copied(),
        stage: report.stage.clone(),
        error: report.error.clone(),
        overruled: report.overruled.clone(),
    }
}

fn snapshot_status(
    id: &SnapshotId,
    manifest: &Result<Manifest, String>,
    current: Option<&SnapshotId>,
) -> SnapshotStatus {
    let unreadable = SnapshotStatus {
        snapshot: id.to_string(),
        current: current == Some(id),
        created: String::new(),
        items: 0,
        bytes: 0,
        encoders: Vec::new(),
        overruled: None,
        error: manifest.as_ref().err().cloned(),
    };
    let Ok(manifest) = manifest else { return unreadable };
    let encoders =
        manifest.modalities.iter().map(|one| (one.modality.name().to_owned(), one.encoder.name.clone())).collect();
    SnapshotStatus {
        created: manifest.created.clone(),
        items: manifest.item_count,
        bytes: manifest.files.values().map(|file| file.bytes).sum(),
        encoders,
        overruled: manifest.overruled.clone(),
        ..unreadable
    }
}

/// Bytes of all regular files in a folder; links are not followed. What vanishes meanwhile counts as nothing.
fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs_err::read_dir(folder) else { return 0 };
    let sizes = entries.filter_map(Result::ok).map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) | Err(_) => 0,
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The manifest of the format book.
    fn example() -> &'static str {
        let book = include_str!("../../schemas/README.md");
        book.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap()
    }

    /// The name of a snapshot with that manifest.
    fn id() -> SnapshotId {
        let digest = blake3::hash(example().as_bytes()).to_hex();
        SnapshotId::new("20261119T031500Z", &digest[..12]).unwrap()
    }

    /// A store whose published snapshot has the format book's manifest, created at 2026-11-20T03:15:00Z, with reports.
    fn store(reports: &[Value]) -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(folder.path()).unwrap();
        let id = id();
        fs_err::create_dir(store.snapshot_folder(&id)).unwrap();
        fs_err::write(store.snapshot_folder(&id).join("manifest.json"), example()).unwrap();
        store.set_current(&id, &store.lock().unwrap()).unwrap();
        for (number, report) in reports.iter().enumerate() {
            let path = store.reports_folder().join(format!("20261120T03150{number}Z.json"));
            fs_err::write(path, report.to_string()).unwrap();
        }
        (folder, store)
    }

    fn run(outcome: &str, started: &str, snapshot: Option<&str>) -> Value {
        json!({"outcome": outcome, "started": started, "snapshot": snapshot, "seconds": {"total": 60.0}})
    }

    #[test]
    fn a_snapshot_is_as_fresh_as_the_last_run_that_found_nothing_changed() {
        let now = parse_time("2026-11-23T04:15:00Z").unwrap();
        let freshness = |reports: &[Value]| {
            let (_folder, store) = store(reports);
            let (_, freshness) = freshness(&store, now).unwrap();
            (freshness.as_of.unwrap(), freshness.age_seconds.unwrap(), freshness.last_success)
        };
        let built = "2026-11-20T03:15:00Z".to_owned();
        assert_eq!(freshness(&[]), (built.clone(), 73 * 3600, None));
        let confirmed = run("unchanged", "2026-11-22T03:15:00Z", Some(id().as_str()));
        let refused = run("refused", "2026-11-23T03:15:00Z", None);
        let expected = ("2026-11-22T03:15:00Z".to_owned(), 25 * 3600, Some("2026-11-22T03:16:00Z".to_owned()));
        assert_eq!(freshness(&[confirmed, refused]), expected);
        let other = run("unchanged", "2026-11-22T03:15:00Z", Some("20261118T031500Z-0f1e2d3c4b5a"));
        assert_eq!(freshness(&[other]).0, built, "of another snapshot, before a rollback");
        let future = run("unchanged", "2027-01-01T00:00:00Z", Some(id().as_str()));
        assert_eq!(freshness(&[future]).1, 0);
    }

    #[test]
    fn the_last_run_and_the_forced_snapshot_are_told_of() {
        let failed =
            json!({"outcome": "failed", "started": "2026-11-21T03:15:00Z", "stage": "encode", "error": "no room"});
        let share = json!({"outcome": "encoded", "started": "2026-11-22T03:15:00Z", "partition": "1/2"});
        let (_folder, store) = store(&[run("published", "2026-11-20T03:15:00Z", Some(id().as_str())), failed, share]);
        let status = status(&store, OffsetDateTime::UNIX_EPOCH).unwrap();
        let last = status.last_run.unwrap();
        assert_eq!((last.outcome, last.stage.as_deref()), ("failed", Some("encode")));
        assert_eq!(status.current.as_deref(), Some(id().as_str()));
        assert_eq!(status.snapshots[0].overruled.as_ref().unwrap().gates, ["max_item_drop"]);
        assert_eq!(status.freshness.age_seconds, Some(0), "a clock that went back");
        assert!(status.writers.is_empty());
        assert!(status.disk.snapshots > 0 && status.disk.reports > 0 && status.disk.total > status.disk.snapshots);
    }
}

//! The reports that runs left in a store. Owns reading them back and removing old ones; not writing them (`journal.rs`).
//! Invariant: a report that cannot be read costs itself and no other, and is named.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use schemas::Store;
use schemas::manifest::{GateResult, Overruled};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::{IndexError, chain};
use crate::report::RunOutcome;

/// Reports that `prune` leaves when no number is given: a quarter of nights.
pub const DEFAULT_KEEP_REPORTS: usize = 90;
/// Bytes above which a file in the folder is no report: a real one has a few thousand.
const MAX_REPORT_BYTES: u64 = 4 << 20;

/// A report as it is read back: of a run that ended well, that failed, or that left only its marker. Of earlier versions some
/// keys are not there; counts are not there for runs that failed.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
pub struct StoredReport {
    /// Name of its file.
    #[serde(skip)]
    pub file: String,
    /// How the run ended.
    pub outcome: RunOutcome,
    /// Start, RFC 3339, UTC.
    pub started: String,
    /// End, RFC 3339, UTC.
    pub finished: Option<String>,
    /// The share of the partitions.
    pub partition: Option<String>,
    /// The snapshot that was published or stayed.
    pub snapshot: Option<String>,
    /// Rows of the catalog.
    pub rows: Option<u64>,
    /// Items.
    pub items: Option<u64>,
    /// Rows left out.
    pub rejected: Option<u64>,
    /// Embeddings computed, by modality.
    pub encoded: Option<BTreeMap<String, u64>>,
    /// Embeddings kept, by modality.
    pub kept: Option<BTreeMap<String, u64>>,
    /// Results of the gates.
    #[serde(default)]
    pub gates: BTreeMap<String, GateResult>,
    /// Gates that the run overruled.
    pub overruled: Option<Overruled>,
    /// Seconds by stage, and `total`.
    #[serde(default)]
    pub seconds: BTreeMap<String, f64>,
    /// The stage that failed.
    pub stage: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// The process of a run that has not ended.
    pub pid: Option<u32>,
    /// Its machine.
    pub host: Option<String>,
}

impl StoredReport {
    /// The run's end: as it says, or as start and seconds say.
    #[must_use]
    pub fn ended(&self) -> Option<OffsetDateTime> {
        let end = self.finished.as_deref().and_then(parse_time);
        end.or_else(|| {
            let seconds = self.seconds.get("total").filter(|seconds| seconds.is_finite())?;
            parse_time(&self.started)?.checked_add(time::Duration::checked_seconds_f64(*seconds)?)
        })
    }

    /// Whether the run is one of those that write to the store now; see [`Store::writers`].
    #[must_use]
    pub fn is_under_way(&self, writers: &[String]) -> bool {
        let (Some(pid), Some(host)) = (self.pid, &self.host) else { return false };
        let holder = format!("pid {pid} on {host} since ");
        self.outcome == RunOutcome::Running && writers.iter().any(|writer| writer.starts_with(&holder))
    }
}

/// A file in the folder of reports that is no report.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct UnreadableReport {
    /// Name of its file.
    pub file: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Reads all reports of a store, oldest first, and names those that cannot be read. A run that ends meanwhile may be
/// missing.
///
/// # Errors
/// When the folder cannot be read.
pub fn read(store: &Store) -> Result<(Vec<StoredReport>, Vec<UnreadableReport>), IndexError> {
    let folder = store.reports_folder();
    let (mut reports, mut unreadable) = (Vec::new(), Vec::new());
    for file in names(&folder)?.into_iter().filter(|name| name.ends_with(".json") && !name.starts_with('.')) {
        match read_report(&folder.join(&file)) {
            Ok(report) => reports.push(StoredReport { file, ..report }),
            Err(reason) => unreadable.push(UnreadableReport { file, reason }),
        }
    }
    // Names of one second sort by length first: `…Z.json`, `…Z_2.json`, …, `…Z_10.json`.
    reports.sort_by(|left, right| {
        let key = |report: &StoredReport| (parse_time(&report.started), report.file.len(), report.file.clone());
        key(left).cmp(&key(right))
    });
    Ok((reports, unreadable))
}

fn read_report(path: &Path) -> Result<StoredReport, String> {
    let metadata = fs_err::symlink_metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("not a regular file".to_owned());
    }
    if metadata.len() > MAX_REPORT_BYTES {
        return Err(format!("{} bytes are too many for a report", metadata.len()));
    }
    let mut text = Vec::new();
    let read = fs_err::File::open(path).and_then(|file| file.take(MAX_REPORT_BYTES).read_to_end(&mut text));
    read.map_err(|error| error.to_string())?;
    let report: StoredReport = serde_json::from_slice(&text).map_err(|error| chain(&error))?;
    match parse_time(&report.started) {
        Some(_) => Ok(report),
        None => Err(format!("`{}` is no time", report.started)),
    }
}

/// What `prune` removed of the reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct PrunedReports {
    /// Runs whose report and rejects are gone.
    pub reports: usize,
}

/// Removes the reports and rejects of all but the newest `keep` runs, and what killed runs had begun to write; other files
/// stay.
///
/// # Errors
/// When a run holds the store or something cannot be removed.
pub fn prune(store: &Store, keep: usize) -> Result<PrunedReports, IndexError> {
    let _lock = store.lock()?;
    let folder = store.reports_folder();
    let mut runs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in names(&folder)? {
        if name.starts_with('.') {
            if name.ends_with(".tmp") {
                remove(&folder.join(name))?;
            }
            continue;
        }
        let stem = name.strip_suffix(".rejects.parquet").or_else(|| name.strip_suffix(".json"));
        if let Some(stem) = stem.filter(|stem| is_run_name(stem)) {
            runs.entry(stem.to_owned()).or_default().push(name);
        }
    }
    let mut stems: Vec<&String> = runs.keys().collect();
    stems.sort_by_key(|stem| (stem.get(..COMPACT_TIME), stem.len(), *stem));
    let old = &stems[..stems.len().saturating_sub(keep)];
    for name in old.iter().filter_map(|stem| runs.get(*stem)).flatten() {
        remove(&folder.join(name))?;
    }
    Ok(PrunedReports { reports: old.len() })
}

/// Characters of `20261120T031500Z`.
const COMPACT_TIME: usize = 16;

/// Whether a name without its ending is one that a run chooses: it begins with a time.
fn is_run_name(stem: &str) -> bool {
    stem.len() >= COMPACT_TIME
        && stem.bytes().zip(b"00000000T000000Z").all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            form => byte == *form,
        })
}

fn remove(path: &Path) -> Result<(), IndexError> {
    fs_err::remove_file(path).map_err(IndexError::io(path))
}

fn names(folder: &Path) -> Result<Vec<String>, IndexError> {
    let mut names = Vec::new();
    if folder.is_dir() {
        for entry in fs_err::read_dir(folder).map_err(IndexError::io(folder))? {
            let name = entry.map_err(IndexError::io(folder))?.file_name();
            // A name that is no UTF-8 is none that a run chooses.
            names.extend(name.into_string());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// A time of a report.
#[must_use]
pub fn parse_time(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(files: &[(&str, &str)]) -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(folder.path()).unwrap();
        for (name, text) in files {
            fs_err::write(store.reports_folder().join(name), text).unwrap();
        }
        (folder, store)
    }

    fn published(started: &str) -> String {
        format!(r#"{{"outcome":"published","started":"{started}","items":3,"seconds":{{"total":90.5}},"more":[1]}}"#)
    }

    #[test]
    fn reports_are_read_oldest_first_and_what_is_none_is_named() {
        let (one, two) = (published("2026-11-20T03:15:00Z"), published("2026-11-21T03:15:00Z"));
        let (_folder, store) = store(&[
            ("20261121T031500Z.json", &two),
            ("20261120T031500Z_10.json", &one),
            ("20261120T031500Z_2.json", &one),
            ("20261120T031500Z.json", &one),
            ("20261122T031500Z.json", &two[..30]),
            ("20261123T031500Z.json", "{\"outcome\":\"danced\",\"started\":\"2026-11-20T03:15:00Z\"}"),
            ("20261124T031500Z.json", "{\"outcome\":\"published\",\"started\":\"yesterday\"}"),
            ("notes.json", "[]"),
            ("20261120T031500Z.rejects.parquet", ""),
            (".20261125T031500Z.json.tmp", "{"),
        ]);
        fs_err::create_dir(store.reports_folder().join("folder.json")).unwrap();
        let (reports, unreadable) = read(&store).unwrap();
        let files: Vec<&str> = reports.iter().map(|report| report.file.as_str()).collect();
        let expected =
            ["20261120T031500Z.json", "20261120T031500Z_2.json", "20261120T031500Z_10.json", "20261121T031500Z.json"];
        assert_eq!(files, expected);
        assert_eq!(reports[0].ended(), parse_time("2026-11-20T03:16:30.5Z"), "of start and seconds");
        assert_eq!((reports[0].items, reports[0].rows, reports[0].outcome), (Some(3), None, RunOutcome::Published));
        let names: Vec<&str> = unreadable.iter().map(|report| report.file.as_str()).collect();
        let expected = ["20261122", "20261123", "20261124", "folder.json", "notes.json"];
        assert!(names.iter().zip(expected).all(|(name, start)| name.starts_with(start)), "{names:?}");
        assert_eq!(names.len(), expected.len());
        assert!(unreadable[1].reason.contains("danced") && unreadable[2].reason.contains("yesterday"));
    }

    #[test]
    fn every_length_of_a_cut_report_is_passed_over() {
        let whole = published("2026-11-20T03:15:00Z");
        for length in 0..whole.len() {
            let (_folder, store) = store(&[("20261120T031500Z.json", &whole[..length])]);
            let (reports, unreadable) = read(&store).unwrap();
            assert_eq!((reports.len(), unreadable.len()), (0, 1), "{length}");
        }
    }

    #[test]
    fn the_newest_runs_keep_report_and_rejects_and_other_files_stay() {
        let report = published("2026-11-20T03:15:00Z");
        let names = [
            "20261120T031500Z.json",
            "20261120T031500Z.rejects.parquet",
            "20261121T031500Z.partition-1-of-2.json",
            "20261122T031500Z_2.json",
            "20261122T031500Z_10.json",
            "20261122T031500Z_10.rejects.parquet",
        ];
        let mut files: Vec<(&str, &str)> = names.iter().map(|name| (*name, report.as_str())).collect();
        files.extend([("notes.json", "[]"), (".20261123T031500Z.rejects.parquet.tmp", ""), (".keep", "")]);
        let (_folder, store) = store(&files);
        assert_eq!(prune(&store, 2).unwrap().reports, 2);
        let left = schemas::durable::list_files(&store.reports_folder()).unwrap();
        assert_eq!(left, [".keep", names[4], names[5], names[3], "notes.json"]);
        assert_eq!(prune(&store, 90).unwrap().reports, 0);
        assert_eq!(prune(&store, 0).unwrap().reports, 2);
    }
}

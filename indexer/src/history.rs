//! The trend of a store's nights: a row for each run, from its report. Owns what is compared with what; not reading the
//! reports (`reports.rs`) nor how rows are shown. Invariant: a run's change of items is against the run of everything
//! before it that counted items, whatever became of either.

use std::collections::BTreeMap;

use schemas::Store;
use schemas::manifest::Overruled;

use crate::error::IndexError;
use crate::report::RunOutcome;
use crate::reports::{self, StoredReport, UnreadableReport};

/// Runs that are shown when no number is given.
pub const DEFAULT_RUNS: usize = 20;

/// A store's runs, oldest first.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct History {
    /// The newest runs.
    pub runs: Vec<HistoryRow>,
    /// Files in `reports/` that are no reports.
    pub unreadable: Vec<UnreadableReport>,
}

/// A run.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct HistoryRow {
    /// Name of the report's file.
    pub report: String,
    /// Start, RFC 3339, UTC.
    pub started: String,
    /// How it ended: as in reports; `killed` when it has not ended and does not hold the store.
    pub outcome: &'static str,
    /// The share of the partitions; `null` for a run of everything.
    pub partition: Option<String>,
    /// The snapshot that was published or stayed.
    pub snapshot: Option<String>,
    /// Rows of the catalog; as all counts `null` for a run that did not come to its end.
    pub rows: Option<u64>,
    /// Items.
    pub items: Option<u64>,
    /// Items more than in the run before; `null` for the first run and for shares.
    pub items_change: Option<i64>,
    /// Rows left out.
    pub rejected: Option<u64>,
    /// Embeddings computed, over all modalities.
    pub encoded: Option<u64>,
    /// Embeddings kept, over all modalities.
    pub kept: Option<u64>,
    /// Seconds from start to end.
    pub seconds: Option<f64>,
    /// Gates that the run overruled.
    pub overruled: Option<Overruled>,
    /// Names of the gates that refused or were overruled.
    pub gates_failed: Vec<String>,
    /// The stage that failed.
    pub stage: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
}

/// The newest `runs` runs of a store.
///
/// # Errors
/// When the store cannot be read. Reports that cannot be read are named in the result.
pub fn history(store: &Store, runs: usize) -> Result<History, IndexError> {
    // Looked at first: a run that ends in between has its report by then.
    let writers = store.writers()?;
    let (reports, unreadable) = reports::read(store)?;
    let mut rows = rows(reports, &writers);
    rows.drain(..rows.len().saturating_sub(runs));
    Ok(History { runs: rows, unreadable })
}

fn rows(reports: Vec<StoredReport>, writers: &[String]) -> Vec<HistoryRow> {
    let mut before: Option<u64> = None;
    let mut rows = Vec::new();
    for report in reports {
        let killed = report.outcome == RunOutcome::Running && !report.is_under_way(writers);
        let compared = if report.partition.is_none() { report.items } else { None };
        let items_change = compared.zip(before).map(|(now, before)| difference(now, before));
        before = compared.or(before);
        let failed = report.gates.iter().filter(|(_, gate)| !gate.passed).map(|(name, _)| name.clone());
        // Saturating: a damaged report may hold any number.
        let sum = |counts: Option<BTreeMap<String, u64>>| {
            counts.map(|counts| counts.into_values().fold(0, u64::saturating_add))
        };
        rows.push(HistoryRow {
            report: report.file,
            started: report.started,
            outcome: if killed { "killed" } else { report.outcome.name() },
            // The gates of a night without changes are those of an earlier one.
            gates_failed: if report.outcome == RunOutcome::Unchanged { Vec::new() } else { failed.collect() },
            partition: report.partition,
            snapshot: report.snapshot,
            rows: report.rows,
            items: report.items,
            items_change,
            rejected: report.rejected,
            encoded: sum(report.encoded),
            kept: sum(report.kept),
            seconds: report.seconds.get("total").copied(),
            overruled: report.overruled,
            stage: report.stage,
            error: report.error,
        });
    }
    rows
}

/// `now - before`.
fn difference(now: u64, before: u64) -> i64 {
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    signed(now) - signed(before)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn report(value: Value) -> StoredReport {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn items_are_compared_with_the_run_of_everything_before() {
        let items = |outcome: &str, items: u64| json!({"outcome": outcome, "started": "2026-11-20T03:15:00Z", "items": items, "encoded": {"title": 2, "image": 3}});
        let mut share = items("encoded", 7);
        share["partition"] = json!("1/2");
        let huge = json!({"title": u64::MAX, "image": u64::MAX});
        let damaged =
            json!({"outcome": "encoded", "started": "2026-11-20T03:15:00Z", "partition": "1/2", "kept": huge});
        assert_eq!(rows(vec![report(damaged)], &[])[0].kept, Some(u64::MAX));
        let failed = json!({"outcome": "failed", "started": "2026-11-20T03:15:00Z", "stage": "read", "error": "x"});
        let nights = [items("published", 100), share, failed, items("refused", 40), items("unchanged", 100)];
        let rows = rows(nights.map(report).into(), &[]);
        let changes: Vec<_> = rows.iter().map(|row| row.items_change).collect();
        assert_eq!(changes, [None, None, None, Some(-60), Some(60)]);
        assert_eq!((rows[0].encoded, rows[0].kept), (Some(5), None));
        assert_eq!((rows[2].outcome, rows[2].stage.as_deref(), rows[2].items), ("failed", Some("read"), None));
    }

    #[test]
    fn a_run_without_end_is_killed_unless_it_holds_the_store() {
        let marker = |pid| {
            report(json!({"outcome": "running", "started": "2026-11-20T03:15:00Z", "pid": pid, "host": "night-1"}))
        };
        let writers = ["pid 71 on night-1 since 2026-11-20T03:15:00Z".to_owned()];
        let rows = rows(vec![marker(7), marker(71)], &writers);
        assert_eq!([rows[0].outcome, rows[1].outcome], ["killed", "running"]);
    }
}

//! What a run did: counts while it goes on, and the JSON report at its end. Owns names and sums; not the decisions.
//! Invariant: rows read = items + rows rejected, and for each modality items = encoded + kept + absent.

use std::collections::BTreeMap;
use std::path::Path;

use schemas::Modality;
use schemas::manifest::{GateResult, Overruled};
use schemas::rejects::{Rejection, RejectsWriter};

use crate::error::IndexError;
use crate::reuse::EncodeReason;

mod failure;
mod pipeline;

pub use failure::{FailureReport, RunMarker};
pub use pipeline::{ModalityWork, PipelineReport, StageSeconds};

/// Counts of a run, and the file of its rejects.
#[derive(Debug)]
pub struct RunCounts {
    /// Rows of the catalog.
    pub rows: u64,
    /// Rows that became items.
    pub items: u64,
    /// Rows left out.
    pub rejected: u64,
    /// Rows and modalities left out, by kind of reason.
    pub reasons: BTreeMap<String, u64>,
    /// Pictures that the catalog names and that could not be used.
    pub pictures_left_out: u64,
    /// Per modality.
    pub modalities: BTreeMap<Modality, ModalityCounts>,
    /// `None` where rejects are only counted.
    rejects: Option<RejectsWriter>,
}

/// Counts of one modality.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModalityCounts {
    /// Embeddings computed, by reason.
    pub encoded: BTreeMap<EncodeReason, u64>,
    /// Embeddings kept from earlier runs.
    pub kept: u64,
    /// Items without it.
    pub absent: u64,
}

impl ModalityCounts {
    /// Embeddings computed.
    #[must_use]
    pub fn encoded(&self) -> u64 {
        self.encoded.values().sum()
    }

    /// Adds the counts of other items.
    pub(crate) fn add(&mut self, other: &ModalityCounts) {
        self.kept += other.kept;
        self.absent += other.absent;
        for (reason, count) in &other.encoded {
            *self.encoded.entry(*reason).or_default() += count;
        }
    }
}

impl RunCounts {
    /// Starts counting; rejects go to `rejects_file`.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn start(rejects_file: &Path, modalities: &[Modality]) -> Result<RunCounts, IndexError> {
        let rejects = Some(RejectsWriter::create(rejects_file)?);
        Ok(RunCounts { rejects, ..RunCounts::unrecorded(modalities) })
    }

    /// Starts counting; rejects are counted and not written anywhere.
    #[must_use]
    pub fn unrecorded(modalities: &[Modality]) -> RunCounts {
        RunCounts {
            rows: 0,
            items: 0,
            rejected: 0,
            reasons: BTreeMap::new(),
            pictures_left_out: 0,
            modalities: modalities.iter().map(|modality| (*modality, ModalityCounts::default())).collect(),
            rejects: None,
        }
    }

    /// Counts and records something left out.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn reject(&mut self, rejection: &Rejection) -> Result<(), IndexError> {
        if rejection.reason.rejects_row() {
            self.rejected += 1;
        } else {
            self.pictures_left_out += 1;
        }
        *self.reasons.entry(rejection.reason.kind().to_owned()).or_default() += 1;
        if let Some(rejects) = &mut self.rejects {
            rejects.write(rejection)?;
        }
        Ok(())
    }

    /// The counts of a modality that was named at the start.
    pub fn modality(&mut self, modality: Modality) -> &mut ModalityCounts {
        self.modalities.entry(modality).or_default()
    }

    /// Share of rejected rows, 0 for an empty catalog.
    #[must_use]
    pub fn rejected_share(&self) -> f64 {
        if self.rows == 0 { 0.0 } else { self.rejected as f64 / self.rows as f64 }
    }

    /// Closes the file of rejects and turns the counts into a report.
    ///
    /// # Errors
    /// When the file cannot be finished.
    pub fn finish(self) -> Result<RunReport, IndexError> {
        if let Some(rejects) = self.rejects {
            rejects.finish()?;
        }
        let by_modality = |count: &dyn Fn(&ModalityCounts) -> u64| {
            self.modalities.iter().map(|(modality, counts)| (modality.name().to_owned(), count(counts))).collect()
        };
        let reasons = self.modalities.iter().map(|(modality, counts)| {
            let reasons = counts.encoded.iter().map(|(reason, count)| (reason.name().to_owned(), *count)).collect();
            (modality.name().to_owned(), reasons)
        });
        Ok(RunReport {
            rows: self.rows,
            items: self.items,
            rejected: self.rejected,
            reject_reasons: self.reasons,
            encoded: by_modality(&ModalityCounts::encoded),
            encode_reasons: reasons.collect(),
            kept: by_modality(&|counts| counts.kept),
            absent: by_modality(&|counts| counts.absent),
            ..RunReport::default()
        })
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    /// The snapshot is the current one.
    Published,
    /// The current snapshot was made from just the same and stays current.
    Unchanged,
    /// A gate refused; the old snapshot still serves.
    #[default]
    Refused,
    /// The embeddings of some partitions are there; a run of everything publishes them.
    Encoded,
    /// An error ended it.
    Failed,
    /// A signal ended it.
    Stopped,
    /// It has not ended; or it was killed, when no writer holds the store.
    Running,
}

impl RunOutcome {
    /// All of them.
    pub const ALL: [RunOutcome; 7] = [
        RunOutcome::Published,
        RunOutcome::Unchanged,
        RunOutcome::Refused,
        RunOutcome::Encoded,
        RunOutcome::Failed,
        RunOutcome::Stopped,
        RunOutcome::Running,
    ];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            RunOutcome::Published => "published",
            RunOutcome::Unchanged => "unchanged",
            RunOutcome::Refused => "refused",
            RunOutcome::Encoded => "encoded",
            RunOutcome::Failed => "failed",
            RunOutcome::Stopped => "stopped",
            RunOutcome::Running => "running",
        }
    }

    /// Whether the current snapshot is what the catalog was at the run's start.
    #[must_use]
    pub fn is_success(self) -> bool {
        matches!(self, RunOutcome::Published | RunOutcome::Unchanged)
    }
}

/// The report of a run, as its JSON.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct RunReport {
    /// How it ended.
    pub outcome: RunOutcome,
    /// Version of Catalens.
    pub tool_version: String,
    /// Start, RFC 3339, UTC.
    pub started: String,
    /// End, RFC 3339, UTC.
    pub finished: String,
    /// The share of the partitions that was encoded, as `2/3`; not there for a run of everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// The published snapshot, or the one that stays current; `null` when a gate refused or only some partitions were encoded.
    pub snapshot: Option<String>,
    /// The snapshot that was current before.
    pub parent: Option<String>,
    /// Rows of the catalog; of the share, if there is one.
    pub rows: u64,
    /// Rows that became items.
    pub items: u64,
    /// Rows left out.
    pub rejected: u64,
    /// Rows and modalities left out, by kind of reason.
    pub reject_reasons: BTreeMap<String, u64>,
    /// File with a record for each of them.
    pub rejects_file: String,
    /// Embeddings computed, by modality.
    pub encoded: BTreeMap<String, u64>,
    /// Why they were computed, by modality and reason.
    pub encode_reasons: BTreeMap<String, BTreeMap<String, u64>>,
    /// Embeddings kept, by modality.
    pub kept: BTreeMap<String, u64>,
    /// Items without the modality, by modality.
    pub absent: BTreeMap<String, u64>,
    /// Results of the gates; of a night without changes those of the snapshot that stays.
    pub gates: BTreeMap<String, GateResult>,
    /// Gates that refused and that this run overruled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overruled: Option<Overruled>,
    /// Seconds by stage, and `total`.
    pub seconds: BTreeMap<String, f64>,
    /// How the seconds of encoding were spent.
    pub pipeline: PipelineReport,
}

impl RunReport {
    /// The report as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Serialising this record cannot fail: its maps have string keys and its numbers are finite.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_written_as_they_are_named() {
        for outcome in RunOutcome::ALL {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.name());
        }
    }
}

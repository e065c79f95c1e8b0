//! Reports of runs that did not come to their end. Owns the records; not when they are written (`journal.rs`).

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::RunOutcome;
use crate::error::{IndexError, chain};
use crate::journal::rfc3339;

/// The report of a run that failed or was stopped, as its JSON. It has no counts: they would be of a part of the catalog.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct FailureReport {
    /// [`RunOutcome::Failed`] or [`RunOutcome::Stopped`].
    pub outcome: RunOutcome,
    /// Version of Catalens.
    pub tool_version: String,
    /// Start, RFC 3339, UTC.
    pub started: String,
    /// End, RFC 3339, UTC.
    pub finished: String,
    /// The share of the partitions that was to be encoded; not there for a run of everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// The snapshot that was current at the start.
    pub parent: Option<String>,
    /// The stage that failed; `configuration` before the first.
    pub stage: String,
    /// Why, with its causes.
    pub error: String,
    /// Seconds by stage, the last one's until it failed, and `total`.
    pub seconds: BTreeMap<String, f64>,
}

/// What a run under way leaves in the store, and all that is left of one that was killed.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct RunMarker {
    /// [`RunOutcome::Running`].
    pub outcome: RunOutcome,
    /// Version of Catalens.
    pub tool_version: String,
    /// Start, RFC 3339, UTC.
    pub started: String,
    /// The share of the partitions; not there for a run of everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// The snapshot that was current at the start.
    pub parent: Option<String>,
    /// Its process.
    pub pid: u32,
    /// Its machine.
    pub host: String,
}

impl FailureReport {
    /// Of a run that did not begin: its configuration cannot be used.
    #[must_use]
    pub fn before_the_first_stage(error: &IndexError) -> FailureReport {
        let now = rfc3339(OffsetDateTime::now_utc());
        FailureReport {
            outcome: RunOutcome::Failed,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            started: now.clone(),
            finished: now,
            partition: None,
            parent: None,
            stage: "configuration".to_owned(),
            error: chain(error),
            seconds: BTreeMap::new(),
        }
    }

    /// The report as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Serialising this record cannot fail: its maps have string keys and its numbers are finite.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl RunMarker {
    /// The marker as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // As above.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

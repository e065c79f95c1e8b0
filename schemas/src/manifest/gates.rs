//! What the gates found, and who published all the same. Owns the records in the manifest; not the measuring.
//! Invariant: a snapshot with a gate that did not pass says who overruled it.

use serde::{Deserialize, Serialize};

/// What a gate measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateResult {
    /// What was measured.
    pub value: f64,
    /// The bound it was held against.
    pub bound: f64,
    /// Whether it was kept.
    pub passed: bool,
    /// What was measured, in words.
    pub message: String,
}

/// Gates that refused a snapshot which was published by force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overruled {
    /// Names of the gates, sorted; their results are among the others.
    pub gates: Vec<String>,
    /// Who did it, as `user@host`.
    pub by: String,
    /// When the gates were overruled, RFC 3339, UTC.
    pub at: String,
    /// Why, in the words of who did it; `null` when nothing was said.
    pub reason: Option<String>,
}

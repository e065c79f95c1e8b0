//! How text becomes terms: the analyzers by name, and the version of their rules. Owns the names in files; not the rules
//! (`searcher`'s `analysis`). Invariant: a number or a name is never given another meaning.

use serde::{Deserialize, Serialize};

/// The rules by which analyzers turn text into terms. An index is queried by those that it was built with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub enum AnalysisVersion {
    /// Words are runs of letters and digits.
    V1,
    /// Numbers, measures and compounds such as model numbers are found by any common spelling.
    #[default]
    V2,
}

impl AnalysisVersion {
    /// The version of snapshots that name none.
    pub(super) fn first() -> AnalysisVersion {
        AnalysisVersion::V1
    }
}

impl From<AnalysisVersion> for u32 {
    fn from(version: AnalysisVersion) -> u32 {
        match version {
            AnalysisVersion::V1 => 1,
            AnalysisVersion::V2 => 2,
        }
    }
}

impl TryFrom<u32> for AnalysisVersion {
    type Error = String;

    fn try_from(number: u32) -> Result<AnalysisVersion, String> {
        match number {
            1 => Ok(AnalysisVersion::V1),
            2 => Ok(AnalysisVersion::V2),
            other => Err(format!(
                "the keyword index was built by version {other} of the analysis, this program knows 1 and 2; \
                 use a newer program, or build the snapshot anew"
            )),
        }
    }
}

/// How text becomes terms. Every analyzer folds case and normalises with NFKC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnalyzerKind {
    /// Words as they are.
    Simple,
    /// Words with English stemming; runs of Chinese are segmented by dictionary.
    #[default]
    English,
    /// Runs of Chinese are segmented by dictionary; other words as they are.
    Chinese,
}

impl AnalyzerKind {
    /// Every analyzer.
    pub const ALL: [AnalyzerKind; 3] = [AnalyzerKind::Simple, AnalyzerKind::English, AnalyzerKind::Chinese];

    /// Its name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            AnalyzerKind::Simple => "simple",
            AnalyzerKind::English => "english",
            AnalyzerKind::Chinese => "chinese",
        }
    }
}

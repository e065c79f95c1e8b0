//! How text becomes terms: the analyzers by name, and the version of their rules. Owns the names in files; not the rules
//! (`searcher`'s `analysis`). Invariant: a number or a name is never given another meaning.

use std::collections::BTreeMap;

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
    /// As `English`, with German stemming.
    German,
    /// As `English`, with French stemming.
    French,
    /// As `English`, with Spanish stemming.
    Spanish,
    /// As `English`, with Italian stemming.
    Italian,
    /// As `English`, with Portuguese stemming.
    Portuguese,
    /// As `English`, with Dutch stemming.
    Dutch,
    /// As `English`, with Swedish stemming.
    Swedish,
    /// As `English`, with Danish stemming.
    Danish,
    /// As `English`, with Norwegian stemming.
    Norwegian,
    /// As `English`, with Finnish stemming.
    Finnish,
    /// As `English`, with Russian stemming.
    Russian,
}

impl AnalyzerKind {
    /// Every analyzer.
    pub const ALL: [AnalyzerKind; 14] = [
        AnalyzerKind::Simple,
        AnalyzerKind::English,
        AnalyzerKind::Chinese,
        AnalyzerKind::German,
        AnalyzerKind::French,
        AnalyzerKind::Spanish,
        AnalyzerKind::Italian,
        AnalyzerKind::Portuguese,
        AnalyzerKind::Dutch,
        AnalyzerKind::Swedish,
        AnalyzerKind::Danish,
        AnalyzerKind::Norwegian,
        AnalyzerKind::Finnish,
        AnalyzerKind::Russian,
    ];

    /// Its name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            AnalyzerKind::Simple => "simple",
            AnalyzerKind::English => "english",
            AnalyzerKind::Chinese => "chinese",
            AnalyzerKind::German => "german",
            AnalyzerKind::French => "french",
            AnalyzerKind::Spanish => "spanish",
            AnalyzerKind::Italian => "italian",
            AnalyzerKind::Portuguese => "portuguese",
            AnalyzerKind::Dutch => "dutch",
            AnalyzerKind::Swedish => "swedish",
            AnalyzerKind::Danish => "danish",
            AnalyzerKind::Norwegian => "norwegian",
            AnalyzerKind::Finnish => "finnish",
            AnalyzerKind::Russian => "russian",
        }
    }
}

/// Analyzers by the language of an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeywordLanguages {
    /// The declared field that holds an item's language code.
    pub field: String,
    /// Analyzers by language code in lower case. An item whose code is missing or not here is analysed by the field's own.
    pub analyzers: BTreeMap<String, AnalyzerKind>,
}

impl KeywordLanguages {
    /// The place in `analyzers` of the one for a language code: that of the whole code (`pt-br`), or else of its language (`pt`).
    /// Upper case and `_` for `-` make no difference.
    #[must_use]
    pub fn position(&self, code: &str) -> Option<usize> {
        let code = code.trim().to_lowercase().replace('_', "-");
        let place = |wanted: &str| self.analyzers.keys().position(|known| known == wanted);
        place(&code).or_else(|| place(code.split('-').next().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_files() -> Result<(), serde_json::Error> {
        for kind in AnalyzerKind::ALL {
            assert_eq!(serde_json::to_value(kind)?, kind.name());
        }
        Ok(())
    }

    #[test]
    fn versions_are_numbers_and_newer_ones_are_refused() {
        let read = |text: &str| serde_json::from_str::<AnalysisVersion>(text).map_err(|error| error.to_string());
        assert_eq!(read("1"), Ok(AnalysisVersion::V1));
        assert_eq!(read("2"), Ok(AnalysisVersion::V2));
        assert!(read("3").is_err_and(|message| message.contains("use a newer program")));
    }

    #[test]
    fn a_region_falls_back_to_its_language() {
        let analyzers =
            [("de", AnalyzerKind::German), ("pt", AnalyzerKind::Portuguese), ("pt-br", AnalyzerKind::Simple)];
        let analyzers = analyzers.map(|(code, kind)| (code.to_owned(), kind));
        let languages = KeywordLanguages { field: "language".to_owned(), analyzers: BTreeMap::from(analyzers) };
        let cases = [("de", 0), (" DE ", 0), ("de-AT", 0), ("pt_BR", 2), ("pt-PT", 1)];
        for (code, expected) in cases {
            assert_eq!(languages.position(code), Some(expected), "{code}");
        }
        assert_eq!((languages.position("ja"), languages.position("")), (None, None));
    }
}

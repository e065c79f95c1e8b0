//! Stemming. Owns which analyzer stems with which algorithm; not where words begin. Invariant: equal words have equal
//! stems, and words with digits have none.
//!
//! The algorithms are Snowball's (M. Porter, 2001). They look at accents and umlauts, which folding drops; so but for
//! English they are given the word as it was written, and the stem is folded.

use std::borrow::Cow;

use rust_stemmers::{Algorithm, Stemmer};
use schemas::manifest::AnalyzerKind;
use unicode_normalization::UnicodeNormalization;

use super::{MAX_TERM_CHARACTERS, fold};

/// The stemmer of an analyzer. Invariant: cheap to make.
pub(super) struct Stems {
    english: bool,
    stemmer: Option<Stemmer>,
}

impl Stems {
    pub(super) fn of(kind: AnalyzerKind) -> Stems {
        let algorithm = match kind {
            AnalyzerKind::Simple | AnalyzerKind::Chinese => None,
            AnalyzerKind::English => Some(Algorithm::English),
            AnalyzerKind::German => Some(Algorithm::German),
            AnalyzerKind::French => Some(Algorithm::French),
            AnalyzerKind::Spanish => Some(Algorithm::Spanish),
            AnalyzerKind::Italian => Some(Algorithm::Italian),
            AnalyzerKind::Portuguese => Some(Algorithm::Portuguese),
            AnalyzerKind::Dutch => Some(Algorithm::Dutch),
            AnalyzerKind::Swedish => Some(Algorithm::Swedish),
            AnalyzerKind::Danish => Some(Algorithm::Danish),
            AnalyzerKind::Norwegian => Some(Algorithm::Norwegian),
            AnalyzerKind::Finnish => Some(Algorithm::Finnish),
            AnalyzerKind::Russian => Some(Algorithm::Russian),
        };
        Stems { english: kind == AnalyzerKind::English, stemmer: algorithm.map(Stemmer::create) }
    }

    /// Whether a possessive `'s` is dropped.
    pub(super) fn drops_possessive(&self) -> bool {
        self.english
    }

    /// The stem of a folded word that is written so in the text.
    pub(super) fn stem(&self, folded: String, written: &str) -> String {
        let Some(stemmer) = &self.stemmer else { return folded };
        if self.english {
            if !folded.bytes().all(|byte| byte.is_ascii_lowercase()) {
                return folded;
            }
            let changed = match stemmer.stem(&folded) {
                Cow::Owned(stem) => Some(stem),
                Cow::Borrowed(stem) if stem.len() == folded.len() => None,
                Cow::Borrowed(stem) => Some(stem.to_owned()),
            };
            return changed.unwrap_or(folded);
        }
        // What was cut to its first characters is no word any more.
        if !folded.chars().all(char::is_alphabetic) || folded.chars().count() >= MAX_TERM_CHARACTERS {
            return folded;
        }
        let lower: String = written.nfc().flat_map(char::to_lowercase).collect();
        let stem = fold::fold(&stemmer.stem(&lower)).into_iter().take(MAX_TERM_CHARACTERS);
        let stem: String = stem.map(|folded| folded.value).collect();
        if stem.is_empty() { folded } else { stem }
    }
}

//! A query's text after analysis against one index. Owns what of it the index has, and the numbers it is scored with; not
//! the scores. Invariant: every word here is in at least one item, and every number is finite.

use std::sync::Arc;

use schemas::Row;
use tantivy::postings::TermInfo;

use super::word_statistics::AskedWords;
use super::words::{Neighbours, WritingOrigin};

/// Distinct words of a query that are looked for: the first ones that the index has. Bounds what a hostile query costs.
pub const MAX_QUERY_TERMS: usize = 1024;

/// A query's text after analysis against one index; for that index only.
#[derive(Clone, Debug, PartialEq)]
pub struct KeywordQuery {
    pub(super) words: Vec<QueryWord>,
    /// Of all words that were asked for.
    pub(super) asked: AskedWords,
    /// Words that stand next to each other in the query, by their numbers.
    pub(super) neighbours: Vec<Neighbours>,
    pub(super) k1: f32,
    /// Weight of words that stand close together.
    pub(super) proximity: f32,
    /// Words that a row must have to be found.
    pub(super) required: usize,
    /// Whether an item has any word as it was asked for; then a similar word alone finds nothing.
    pub(super) is_exact: bool,
    /// By number of the searched field; see [`super::bm25f::field_factors`].
    pub(super) factors: Vec<[f32; 256]>,
}

/// A word that at least one item has.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct QueryWord {
    /// The word as the first field that has it writes it.
    pub(super) text: String,
    /// Sum of the weights of the text parts, once for each time the word stands in them.
    pub(super) weight: f32,
    /// The largest of its writings in single fields.
    pub(super) document_frequency: u64,
    pub(super) idf: f32,
    /// Whether no item has it as it was asked for, but similar ones.
    pub(super) is_fuzzy: bool,
    pub(super) writings: Vec<FoundWriting>,
}

/// A writing of a word that a field has.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FoundWriting {
    pub(super) text: String,
    pub(super) origin: WritingOrigin,
    /// What an occurrence counts.
    pub(super) factor: f32,
    /// Number of the searched field.
    pub(super) field: usize,
    pub(super) postings: FoundPostings,
}

/// Where a writing stands in a field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum FoundPostings {
    /// A term's postings.
    Term(TermInfo),
    /// Rows that have several terms in their places, ascending, and how often.
    Phrase(Arc<Vec<(Row, u32)>>),
}

impl FoundPostings {
    pub(super) fn document_frequency(&self) -> u64 {
        match self {
            FoundPostings::Term(info) => u64::from(info.doc_freq),
            FoundPostings::Phrase(rows) => rows.len() as u64,
        }
    }
}

impl KeywordQuery {
    /// Whether no word is left, so that nothing can match.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }
}

//! Explanation of a keyword score. Owns its parts; not how they are shown. Invariant: the parts of a row, its words and the
//! pairs of them that stand close together, add up to the score that scoring gives it.

use schemas::Row;

use super::bm25f;
use super::index::KeywordIndex;
use super::proximity::{Proximity, ProximityExplanation};
use super::query::KeywordQuery;
use super::words::WritingOrigin;
use crate::error::SearchError;

/// One word's part of a keyword score.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct TermExplanation {
    /// The word as indexed (in the first field that has it, where fields have different analyzers).
    pub term: String,
    /// Weight of the query's text part and the term's count in it.
    pub query_weight: f32,
    /// Inverse document frequency.
    pub idf: f32,
    /// Documents with the term in the field where most have it.
    pub document_frequency: u64,
    /// `tf`, the weighted and length-normalised frequency over all fields.
    pub frequency: f32,
    /// The term's part of the score; the parts add up to it.
    pub score: f32,
    /// Where it stands, by field and writing; their parts add up to `score`.
    pub fields: Vec<TermFieldExplanation>,
}

/// One field's part of a term's score (in proportion to its part of `tf`).
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct TermFieldExplanation {
    /// Field.
    pub field: String,
    /// What stands there: the word itself, or another writing of it.
    pub written: String,
    /// How that came to be looked for.
    pub origin: WritingOrigin,
    /// What an occurrence of it counts.
    pub factor: f32,
    /// How often the term stands in it.
    pub count: u32,
    /// Length of the field in terms, as the index keeps it (rounded to tantivy's field norm steps).
    pub length: u32,
    /// The field's part of the term's score.
    pub score: f32,
}

/// The parts of a row's keyword score.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeywordParts {
    /// One for each word that the row has, in the query's order.
    pub terms: Vec<TermExplanation>,
    /// One for each pair of words that stand close together.
    pub proximity: Vec<ProximityExplanation>,
}

impl KeywordParts {
    /// The score that they add up to.
    #[must_use]
    pub fn score(&self) -> f32 {
        let terms: f32 = self.terms.iter().map(|term| term.score).sum();
        terms + self.proximity.iter().map(|pair| pair.score).sum::<f32>()
    }
}

impl KeywordIndex {
    /// The parts of a row's score; none where no word finds it.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn explain(&self, query: &KeywordQuery, row: Row) -> Result<KeywordParts, SearchError> {
        self.no_panic(|| self.parts(query, row))
    }

    fn parts(&self, query: &KeywordQuery, row: Row) -> Result<KeywordParts, SearchError> {
        let mut terms = Vec::new();
        let mut is_found = false;
        for mut cursor in self.cursors(query)? {
            let word = &query.words[cursor.word];
            let mut frequency = 0.0;
            let mut parts = Vec::new();
            for field in &mut cursor.fields {
                if field.postings.seek(row) {
                    frequency += field.part();
                    parts.push((field.writing, field.postings.count(), field.part()));
                }
            }
            if parts.is_empty() {
                continue;
            }
            is_found |= cursor.finds;
            let score = bm25f::saturate(cursor.weight, query.k1, frequency);
            let fields = parts.into_iter().map(|(number, count, part)| {
                let writing = &word.writings[number];
                let field = &self.fields[writing.field];
                let share = if frequency == 0.0 { 0.0 } else { part / frequency };
                TermFieldExplanation {
                    field: field.name.clone(),
                    written: writing.text.clone(),
                    origin: writing.origin,
                    factor: writing.factor,
                    count,
                    length: field.norms.fieldnorm(row),
                    score: score * share,
                }
            });
            terms.push(TermExplanation {
                term: word.text.clone(),
                query_weight: word.weight,
                idf: word.idf,
                document_frequency: word.document_frequency,
                frequency,
                score,
                fields: fields.collect(),
            });
        }
        if !is_found {
            return Ok(KeywordParts::default());
        }
        Ok(KeywordParts { terms, proximity: Proximity::new(self, query)?.explain(query, row) })
    }
}

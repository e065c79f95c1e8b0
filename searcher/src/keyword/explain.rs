//! Explanation of a keyword score. Owns its parts; not how they are shown. Invariant: the parts of a row add up to the
//! score that retrieval gives it.

use schemas::Row;
use tantivy::postings::Postings;

use super::bm25f;
use super::index::KeywordIndex;
use super::query::KeywordQuery;
use crate::error::SearchError;

/// One term's part of a keyword score.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct TermExplanation {
    /// The term as indexed (in the first field that has it, where fields have different analyzers).
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
    /// The fields it stands in; their parts add up to `score`.
    pub fields: Vec<TermFieldExplanation>,
}

/// One field's part of a term's score (in proportion to its part of `tf`).
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct TermFieldExplanation {
    /// Field.
    pub field: String,
    /// How often the term stands in it.
    pub count: u32,
    /// Length of the field in terms, as the index keeps it (rounded to tantivy's field norm steps).
    pub length: u32,
    /// The field's part of the term's score.
    pub score: f32,
}

impl KeywordIndex {
    /// The parts of a row's score: one for each term that the row has, in the query's order.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn explain(&self, query: &KeywordQuery, row: Row) -> Result<Vec<TermExplanation>, SearchError> {
        self.no_panic(|| self.parts(query, row))
    }

    fn parts(&self, query: &KeywordQuery, row: Row) -> Result<Vec<TermExplanation>, SearchError> {
        let mut explanations = Vec::new();
        for mut cursor in self.cursors(query)? {
            let mut frequency = 0.0;
            let mut parts = Vec::new();
            for field in &mut cursor.fields {
                if field.seek(row) {
                    frequency += field.part();
                    parts.push((field.field, field.postings.term_freq(), field.part()));
                }
            }
            if parts.is_empty() {
                continue;
            }
            let score = bm25f::saturate(cursor.weight, query.k1, frequency);
            let fields = parts.into_iter().map(|(number, count, part)| {
                let field = &self.fields[number];
                let share = if frequency == 0.0 { 0.0 } else { part / frequency };
                TermFieldExplanation {
                    field: field.name.clone(),
                    count,
                    length: field.norms.fieldnorm(row),
                    score: score * share,
                }
            });
            let term = &query.terms[cursor.term];
            explanations.push(TermExplanation {
                term: term.text.clone(),
                query_weight: term.weight,
                idf: term.idf,
                document_frequency: term.document_frequency,
                frequency,
                score,
                fields: fields.collect(),
            });
        }
        Ok(explanations)
    }
}

//! The formula. Owns idf, length normalisation and saturation, and the cursors that evaluate them at a row; not which
//! rows are looked at. Invariant: every score is summed in the order of the query's words and, within a word, of the
//! ways of writing it and their fields, in `f32`, so that retrieval, scoring and explanation give the same number.

use schemas::Row;
use tantivy::fieldnorm::FieldNormReader;
use tantivy::postings::{Postings, SegmentPostings};
use tantivy::{DocSet, TERMINATED};

use super::phrase;

/// Inverse document frequency; positive for every `document_frequency` up to `documents`.
pub(super) fn idf(documents: u64, document_frequency: u64) -> f32 {
    let (documents, found) = (documents as f64, document_frequency as f64);
    (1.0 + (documents - found + 0.5) / (found + 0.5)).ln() as f32
}

/// `w / (1 − b + b·len/avglen)` for each field norm that tantivy has.
pub(super) fn field_factors(weight: f32, b: f32, average_length: f32) -> [f32; 256] {
    let factor = |norm: u8| {
        // A field that has the term has a length; 1 keeps b = 1 from dividing by zero for those that have none.
        let length = FieldNormReader::id_to_fieldnorm(norm).max(1) as f32;
        weight / (1.0 - b + b * length / average_length)
    };
    let mut factors = [0.0; 256];
    for (slot, norm) in factors.iter_mut().zip(0..=u8::MAX) {
        *slot = factor(norm);
    }
    factors
}

/// A term's score for a `tf` over all fields.
pub(super) fn saturate(weight: f32, k1: f32, frequency: f32) -> f32 {
    weight * frequency / (k1 + frequency)
}

/// A writing's occurrences in one field.
pub(super) struct FieldCursor<'a> {
    /// Number of the word's writing.
    pub(super) writing: usize,
    pub(super) postings: Occurrences<'a>,
    pub(super) norms: &'a FieldNormReader,
    pub(super) factors: &'a [f32; 256],
    /// What an occurrence of the writing counts.
    pub(super) factor: f32,
}

/// Rows and counts, from postings or from a list.
pub(super) enum Occurrences<'a> {
    Term(Box<SegmentPostings>),
    Phrase { rows: &'a [(Row, u32)], at: usize },
}

impl Occurrences<'_> {
    /// The current row; [`TERMINATED`] at the end.
    #[inline]
    pub(super) fn row(&self) -> Row {
        match self {
            Occurrences::Term(postings) => postings.doc(),
            Occurrences::Phrase { rows, at } => rows.get(*at).map_or(TERMINATED, |(row, _)| *row),
        }
    }

    /// Moves to the next row, and gives it.
    #[inline]
    pub(super) fn advance(&mut self) -> Row {
        match self {
            Occurrences::Term(postings) => postings.advance(),
            Occurrences::Phrase { at, .. } => {
                *at += 1;
                self.row()
            }
        }
    }

    /// How often it stands in the current row.
    #[inline]
    pub(super) fn count(&self) -> u32 {
        match self {
            Occurrences::Term(postings) => postings.term_freq(),
            Occurrences::Phrase { rows, at } => rows.get(*at).map_or(0, |(_, count)| *count),
        }
    }

    /// Moves to `row` or behind it; whether it stands at `row`.
    #[inline]
    pub(super) fn seek(&mut self, row: Row) -> bool {
        match self {
            Occurrences::Term(postings) => phrase::stands_at(postings, row),
            Occurrences::Phrase { rows, at } => {
                *at += rows.get(*at..).unwrap_or_default().partition_point(|(other, _)| *other < row);
                rows.get(*at).is_some_and(|(other, _)| *other == row)
            }
        }
    }
}

impl FieldCursor<'_> {
    /// The writing's part of `tf` in the current row.
    #[inline]
    pub(super) fn part(&self) -> f32 {
        let norm = self.norms.fieldnorm_id(self.postings.row());
        self.factor * self.factors[usize::from(norm)] * self.postings.count() as f32
    }
}

/// A word's occurrences in all fields that have it.
pub(super) struct WordCursor<'a> {
    /// Number of the query's word.
    pub(super) word: usize,
    /// Query weight · idf.
    pub(super) weight: f32,
    /// Whether it finds a row by itself: not a similar word beside words that items have.
    pub(super) finds: bool,
    pub(super) fields: Vec<FieldCursor<'a>>,
}

/// The score of `row`, `None` where no word finds it. Rows must be asked for in ascending order.
pub(super) fn score_row(cursors: &mut [WordCursor<'_>], k1: f32, row: Row) -> Option<RowScore> {
    let mut score = 0.0;
    let (mut words, mut is_found) = (0, false);
    for word in cursors {
        let mut frequency = 0.0;
        let mut has_word = false;
        for field in &mut word.fields {
            if field.postings.seek(row) {
                frequency += field.part();
                has_word = true;
            }
        }
        if has_word {
            score += saturate(word.weight, k1, frequency);
            words += 1;
            is_found |= word.finds;
        }
    }
    is_found.then_some(RowScore { score, words })
}

/// What a row has of a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RowScore {
    pub(super) score: f32,
    /// Distinct words.
    pub(super) words: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idf_is_that_of_the_formula() {
        assert!((idf(3, 2) - (1.0f32 + 1.5 / 2.5).ln()).abs() < 1e-6);
        assert!(idf(10, 10) > 0.0);
    }

    #[test]
    fn factors_normalise_by_length() {
        let factors = field_factors(2.0, 0.75, 4.0);
        assert!((factors[4] - 2.0).abs() < 1e-6, "average length");
        assert!((factors[8] - 2.0 / 1.75).abs() < 1e-6, "twice the average");
        assert!(field_factors(1.0, 1.0, 1.0).iter().all(|factor| factor.is_finite()));
    }
}

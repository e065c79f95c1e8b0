//! The formula. Owns idf, length normalisation and saturation, and the cursors that evaluate them at a row; not which
//! rows are looked at. Invariant: every score is summed in the order of the query's terms and, within a term, of the
//! fields, in `f32`, so that retrieval, scoring and explanation give the same number.

use schemas::Row;
use tantivy::fieldnorm::FieldNormReader;
use tantivy::postings::{Postings, SegmentPostings};
use tantivy::{DocSet, TERMINATED};

/// Inverse document frequency; positive for every `document_frequency` up to `documents`.
pub(super) fn idf(documents: u64, document_frequency: u64) -> f32 {
    let (documents, found) = (documents as f64, document_frequency as f64);
    (1.0 + (documents - found + 0.5) / (found + 0.5)).ln() as f32
}

/// `w / (1 − b + b·len/avglen)` for each field norm that tantivy has.
pub(super) fn field_factors(weight: f32, b: f32, average_length: f32) -> Box<[f32; 256]> {
    let factor = |norm: u8| {
        // A field that has the term has a length; 1 keeps b = 1 from dividing by zero for those that have none.
        let length = FieldNormReader::id_to_fieldnorm(norm).max(1) as f32;
        weight / (1.0 - b + b * length / average_length)
    };
    let mut factors = Box::new([0.0; 256]);
    for (slot, norm) in factors.iter_mut().zip(0..=u8::MAX) {
        *slot = factor(norm);
    }
    factors
}

/// A term's score for a `tf` over all fields.
pub(super) fn saturate(weight: f32, k1: f32, frequency: f32) -> f32 {
    weight * frequency / (k1 + frequency)
}

/// A term's postings in one field.
pub(super) struct FieldCursor<'a> {
    /// Number of the searched field.
    pub(super) field: usize,
    pub(super) postings: SegmentPostings,
    pub(super) norms: &'a FieldNormReader,
    pub(super) factors: &'a [f32; 256],
}

impl FieldCursor<'_> {
    /// The field's part of `tf` in the current document.
    pub(super) fn part(&self) -> f32 {
        let norm = self.norms.fieldnorm_id(self.postings.doc());
        self.factors[usize::from(norm)] * self.postings.term_freq() as f32
    }

    /// Moves to `row` or behind it; whether it stands at `row`.
    pub(super) fn seek(&mut self, row: Row) -> bool {
        // tantivy forbids to seek backwards, and beyond its last document number.
        if self.postings.doc() < row && row < TERMINATED {
            self.postings.seek(row);
        }
        self.postings.doc() == row
    }
}

/// A term's postings in all fields that have it.
pub(super) struct TermCursor<'a> {
    /// Number of the query's term.
    pub(super) term: usize,
    /// Query weight · idf.
    pub(super) weight: f32,
    pub(super) fields: Vec<FieldCursor<'a>>,
}

/// The score of `row`, `None` where no term matches. Rows must be asked for in ascending order.
pub(super) fn score_row(cursors: &mut [TermCursor<'_>], k1: f32, row: Row) -> Option<f32> {
    let mut score = None;
    for term in cursors {
        let mut frequency = 0.0;
        let mut found = false;
        for field in &mut term.fields {
            if field.seek(row) {
                frequency += field.part();
                found = true;
            }
        }
        if found {
            *score.get_or_insert(0.0) += saturate(term.weight, k1, frequency);
        }
    }
    score
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

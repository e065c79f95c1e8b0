//! Words of a query that stand close together in an item. Owns the measure of closeness and its part of a keyword score;
//! not which rows are looked at. Invariant: the part is 0 where the settings give it no weight, and never below 0.
//!
//! After Rasolofo and Savoy 2003 ("Term proximity scoring for keyword-based retrieval systems") and Büttcher, Clarke and
//! Lushman 2006: for two words next to each other in the query, every occurrence of the first in a field adds `1/d²`, where d is 1
//! when the second stands as far behind it as in the query, and one more for each place that it is off, up to
//! [`PROXIMITY_PLACES`]. These sums are the frequencies of a pair, combined over fields and saturated as BM25F does with a
//! word's, and weighed by the settings' weight and the smaller of the two words' weights.

use schemas::Row;
use tantivy::fieldnorm::FieldNormReader;
use tantivy::postings::{Postings, SegmentPostings};
use tantivy::schema::IndexRecordOption;

use super::bm25f;
use super::index::KeywordIndex;
use super::phrase::stands_at;
use super::query::{FoundPostings, KeywordQuery};
use crate::error::SearchError;

/// Places that a word may be off its place in the query and still count as close.
pub const PROXIMITY_PLACES: u32 = 4;

/// The part that two words have in a score because they stand close together.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ProximityExplanation {
    /// The two words, in the query's order.
    pub terms: [String; 2],
    /// The weighted, length-normalised sum of `1/d²` over the fields.
    pub frequency: f32,
    /// The part of the score.
    pub score: f32,
}

/// Measures the closeness of a query's words, row by row.
pub(super) struct Proximity<'a> {
    k1: f32,
    pairs: Vec<Pair<'a>>,
}

struct Pair<'a> {
    /// Numbers of the query's words.
    words: [usize; 2],
    distance: u32,
    weight: f32,
    fields: Vec<PairField<'a>>,
}

/// A field that has both words.
struct PairField<'a> {
    left: Vec<Positions>,
    right: Vec<Positions>,
    norms: &'a FieldNormReader,
    factors: &'a [f32; 256],
}

/// One writing's positions.
struct Positions {
    postings: SegmentPostings,
    factor: f32,
    /// Those in the current row.
    at: Vec<u32>,
}

impl<'a> Proximity<'a> {
    /// Opens the postings that are needed; none where closeness has no weight.
    pub(super) fn new(index: &'a KeywordIndex, query: &'a KeywordQuery) -> Result<Proximity<'a>, SearchError> {
        let mut pairs = Vec::new();
        for pair in query.neighbours.iter().filter(|_| query.proximity > 0.0) {
            let weight = |word: usize| query.words[word].weight * query.words[word].idf;
            let mut fields = Vec::new();
            for (number, field) in index.fields.iter().enumerate() {
                let positions = |word: usize| -> Result<Vec<Positions>, SearchError> {
                    let mut found = Vec::new();
                    for writing in query.words[word].writings.iter().filter(|writing| writing.field == number) {
                        // A phrase's place is not kept; its words count for themselves.
                        if let FoundPostings::Term(info) = &writing.postings {
                            let option = IndexRecordOption::WithFreqsAndPositions;
                            let postings = index.read_postings(field, info, option)?;
                            found.push(Positions { postings, factor: writing.factor, at: Vec::new() });
                        }
                    }
                    Ok(found)
                };
                let (left, right) = (positions(pair.left)?, positions(pair.right)?);
                if let Some(factors) = query.factors.get(number)
                    && !left.is_empty()
                    && !right.is_empty()
                {
                    fields.push(PairField { left, right, norms: &field.norms, factors });
                }
            }
            if !fields.is_empty() {
                pairs.push(Pair {
                    words: [pair.left, pair.right],
                    distance: u32::try_from(pair.distance).unwrap_or(u32::MAX),
                    weight: query.proximity * weight(pair.left).min(weight(pair.right)).max(0.0),
                    fields,
                });
            }
        }
        Ok(Proximity { k1: query.k1, pairs })
    }

    /// The part of a row's score. Rows must be asked for in ascending order.
    pub(super) fn score(&mut self, row: Row) -> f32 {
        let k1 = self.k1;
        self.pairs.iter_mut().map(|pair| bm25f::saturate(pair.weight, k1, pair.frequency(row))).sum()
    }

    /// The parts of a row's score, one for each pair that stands close together there.
    pub(super) fn explain(&mut self, query: &KeywordQuery, row: Row) -> Vec<ProximityExplanation> {
        let k1 = self.k1;
        let parts = self.pairs.iter_mut().filter_map(|pair| {
            let frequency = pair.frequency(row);
            let terms = pair.words.map(|word| query.words[word].text.clone());
            let score = bm25f::saturate(pair.weight, k1, frequency);
            (frequency > 0.0).then_some(ProximityExplanation { terms, frequency, score })
        });
        parts.collect()
    }
}

impl Pair<'_> {
    fn frequency(&mut self, row: Row) -> f32 {
        let distance = self.distance;
        self.fields.iter_mut().map(|field| field.frequency(row, distance)).sum()
    }
}

impl PairField<'_> {
    fn frequency(&mut self, row: Row, distance: u32) -> f32 {
        let PairField { left, right, norms, factors } = self;
        // Most rows have one of the words only: positions are read where both stand.
        let stand = |side: &mut Vec<Positions>| {
            side.iter_mut().fold(false, |any, positions| {
                positions.at.clear();
                let here = stands_at(&mut positions.postings, row);
                any | here
            })
        };
        if !(stand(left) && stand(right)) {
            return 0.0;
        }
        let read = |side: &mut Vec<Positions>| {
            for positions in side.iter_mut().filter(|positions| tantivy::DocSet::doc(&positions.postings) == row) {
                positions.postings.positions(&mut positions.at);
            }
        };
        read(left);
        read(right);
        let mut sum = 0.0;
        for left in left.iter() {
            for position in &left.at {
                let wanted = position.saturating_add(distance);
                let near = right.iter().map(|right| right.factor * closeness(wanted, &right.at));
                sum += left.factor * near.fold(0.0, f32::max);
            }
        }
        sum * factors[usize::from(norms.fieldnorm_id(row))]
    }
}

/// `1/d²` of the position nearest to the wanted one; 0 where none is close. Positions are ascending.
fn closeness(wanted: u32, positions: &[u32]) -> f32 {
    let after = positions.partition_point(|position| *position < wanted);
    let around = positions[after.saturating_sub(1)..].iter().take(2);
    let off = around.map(|position| position.abs_diff(wanted)).min();
    off.filter(|off| *off <= PROXIMITY_PLACES).map_or(0.0, |off| 1.0 / ((off + 1) as f32).powi(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_position_counts() {
        assert_eq!(closeness(5, &[5]), 1.0);
        assert_eq!(closeness(5, &[1, 4, 9]), 0.25);
        assert_eq!(closeness(5, &[7]), 1.0 / 9.0);
        assert_eq!(closeness(5, &[0, 10]), 0.0);
        assert_eq!(closeness(5, &[]), 0.0);
    }
}

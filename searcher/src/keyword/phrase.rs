//! Terms that must stand in their places. Owns walking positions; not where the terms come from. Invariant: a row is given
//! once, in ascending order, with the number of places at which the whole phrase stands.

use schemas::Row;
use tantivy::postings::{Postings, SegmentPostings};
use tantivy::{DocSet, TERMINATED};

/// A term of a phrase with its place relative to the first one.
pub(super) struct PlacedPostings {
    pub(super) place: usize,
    /// Read with positions.
    pub(super) postings: SegmentPostings,
}

/// The rows that have every term in its place, and how often. Cost: a walk over the rarest term's postings, jumps in the
/// others, and the positions of the rows that have all.
pub(super) fn rows(mut terms: Vec<PlacedPostings>) -> Vec<(Row, u32)> {
    terms.sort_by_key(|term| term.postings.doc_freq());
    let Some((rarest, others)) = terms.split_first_mut() else { return Vec::new() };
    let mut found = Vec::new();
    let (mut starts, mut positions) = (Vec::new(), Vec::new());
    let mut row = rarest.postings.doc();
    while row < TERMINATED {
        if others.iter_mut().all(|other| stands_at(&mut other.postings, row)) {
            starts_of(rarest, &mut starts);
            for other in others.iter_mut() {
                starts_of(other, &mut positions);
                starts.retain(|start| positions.binary_search(start).is_ok());
            }
            if !starts.is_empty() {
                found.push((row, starts.len() as u32)); // at most the positions of one field, which are 32 bits
            }
        }
        row = rarest.postings.advance();
    }
    found
}

/// Moves to `row` or behind it; whether it stands at `row`.
pub(super) fn stands_at(postings: &mut SegmentPostings, row: Row) -> bool {
    // tantivy forbids to seek backwards, and beyond its last document number.
    if postings.doc() < row && row < TERMINATED {
        postings.seek(row);
    }
    postings.doc() == row
}

/// Where the phrase would begin for each position of the term.
fn starts_of(term: &mut PlacedPostings, starts: &mut Vec<u32>) {
    term.postings.positions(starts);
    let place = u32::try_from(term.place).unwrap_or(u32::MAX);
    starts.retain_mut(|position| {
        let start = position.checked_sub(place);
        *position = start.unwrap_or_default();
        start.is_some()
    });
}

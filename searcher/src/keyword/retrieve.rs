//! Walks over postings. Owns finding the best rows and scoring given ones; not the formula.
//! Invariant: the rows found are those that a score of every row, sorted, would put first.
//!
//! Document at a time in windows: within a window of row numbers each term's fields are added up in a small array of
//! `tf`, then each term's scores in one of scores. A document costs no allocation and no search among the cursors, and
//! every sum has the order that `bm25f` prescribes. The same idea as tantivy's buffered union (Lucene's `BooleanScorer`).

use schemas::Row;
use tantivy::{DocSet, TERMINATED};

use super::bm25f::{self, TermCursor};
use super::index::KeywordIndex;
use super::query::KeywordQuery;
use crate::candidate::{Candidate, TopRows};
use crate::error::SearchError;
use crate::row_set::RowSet;

/// Rows of a window; its arrays fit the first-level cache.
const WINDOW_ROWS: usize = 4096;

/// Postings that can be read in the time of one jump to a row.
const POSTINGS_PER_JUMP: u64 = 16;

impl KeywordIndex {
    /// The best `depth` rows that contain at least one term, among `rows` where given.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn retrieve(
        &self,
        query: &KeywordQuery,
        rows: Option<&RowSet>,
        depth: usize,
    ) -> Result<Vec<Candidate>, SearchError> {
        self.no_panic(|| self.walk(query, rows, depth))
    }

    fn walk(&self, query: &KeywordQuery, rows: Option<&RowSet>, depth: usize) -> Result<Vec<Candidate>, SearchError> {
        let mut cursors = self.cursors(query)?;
        let mut top = TopRows::new(depth);
        let postings: u64 =
            query.terms.iter().flat_map(|term| &term.fields).map(|(_, info)| u64::from(info.doc_freq)).sum();
        let cursor_count: u64 = cursors.iter().map(|term| term.fields.len() as u64).sum();
        match rows {
            Some(rows) if rows.len() * cursor_count * POSTINGS_PER_JUMP < postings => {
                for row in rows.iter() {
                    if let Some(score) = bm25f::score_row(&mut cursors, query.k1, row) {
                        top.offer(row, score);
                    }
                }
            }
            rows => {
                let mut window = Window::new();
                while let Some(start) = first_row(&cursors) {
                    window.fill(&mut cursors, start, rows, query.k1);
                    window.drain(start, |row, score| top.offer(row, score));
                }
            }
        }
        Ok(top.into_candidates())
    }

    /// The scores of `rows` (ascending), 0 where no term matches; the same number as [`KeywordIndex::retrieve`] gives.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn score_rows(&self, query: &KeywordQuery, rows: &[Row]) -> Result<Vec<f32>, SearchError> {
        debug_assert!(rows.is_sorted(), "rows must be ascending");
        self.no_panic(|| {
            let mut cursors = self.cursors(query)?;
            Ok(rows.iter().map(|row| bm25f::score_row(&mut cursors, query.k1, *row).unwrap_or(0.0)).collect())
        })
    }
}

/// The lowest row that a cursor stands at.
fn first_row(cursors: &[TermCursor<'_>]) -> Option<Row> {
    let first = cursors.iter().flat_map(|term| &term.fields).map(|field| field.postings.doc()).min();
    first.filter(|row| *row != TERMINATED)
}

/// Sums over the rows of a window, all zero between windows.
struct Window {
    frequencies: Box<[f32; WINDOW_ROWS]>,
    scores: Box<[f32; WINDOW_ROWS]>,
    found: [u64; WINDOW_ROWS / 64],
}

impl Window {
    fn new() -> Window {
        Window {
            frequencies: Box::new([0.0; WINDOW_ROWS]),
            scores: Box::new([0.0; WINDOW_ROWS]),
            found: [0; WINDOW_ROWS / 64],
        }
    }

    /// Moves the cursors past the window that begins at `start`, adding up the scores of its rows.
    fn fill(&mut self, cursors: &mut [TermCursor<'_>], start: Row, rows: Option<&RowSet>, k1: f32) {
        let end = (start + WINDOW_ROWS as Row).min(TERMINATED);
        for term in cursors {
            let mut term_found = [0u64; WINDOW_ROWS / 64];
            for field in &mut term.fields {
                let mut row = field.postings.doc();
                while row < end {
                    if rows.is_none_or(|rows| rows.contains(row)) {
                        let place = (row - start) as usize;
                        self.frequencies[place] += field.part();
                        term_found[place / 64] |= 1 << (place % 64);
                    }
                    row = field.postings.advance();
                }
            }
            for (word, bits) in term_found.into_iter().enumerate() {
                self.found[word] |= bits;
                for place in places(word, bits) {
                    self.scores[place] += bm25f::saturate(term.weight, k1, self.frequencies[place]);
                    self.frequencies[place] = 0.0;
                }
            }
        }
    }

    /// Hands out the rows found with their scores and resets the window.
    fn drain(&mut self, start: Row, mut give: impl FnMut(Row, f32)) {
        for word in 0..self.found.len() {
            for place in places(word, self.found[word]) {
                give(start + place as Row, self.scores[place]);
                self.scores[place] = 0.0;
            }
            self.found[word] = 0;
        }
    }
}

/// Places of the set bits of a window's word.
fn places(word: usize, mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
        bits &= bits - 1;
        Some(word * 64 + bit)
    })
}

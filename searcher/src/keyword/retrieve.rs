//! Walks over postings. Owns finding the best rows and scoring given ones; not the formula.
//! Invariant: the rows found are those that a score of every row, sorted, would put first.
//!
//! Document at a time in windows: within a window of row numbers each word's fields are added up in a small array of
//! `tf`, then each word's scores in one of scores. A document costs no allocation and no search among the cursors, and
//! every sum has the order that `bm25f` prescribes. The same idea as tantivy's buffered union (Lucene's `BooleanScorer`).

use schemas::Row;
use tantivy::TERMINATED;

use super::bm25f::{self, RowScore, WordCursor};
use super::index::KeywordIndex;
use super::proximity::Proximity;
use super::query::KeywordQuery;
use crate::candidate::{Candidate, TopRows};
use crate::error::SearchError;
use crate::row_set::RowSet;

/// Rows of a window; its arrays fit the first-level cache.
const WINDOW_ROWS: usize = 4096;

/// Postings that can be read in the time of one jump to a row.
const POSTINGS_PER_JUMP: u64 = 16;

impl KeywordIndex {
    /// The best `depth` rows by BM25F that have as many of the words as the settings ask for, among `rows` where given.
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
            query.words.iter().flat_map(|word| &word.writings).map(|found| found.postings.document_frequency()).sum();
        let cursor_count: u64 = cursors.iter().map(|word| word.fields.len() as u64).sum();
        match rows {
            Some(rows) if rows.len() * cursor_count * POSTINGS_PER_JUMP < postings => {
                for row in rows.iter() {
                    if let Some(RowScore { score, words }) = bm25f::score_row(&mut cursors, query.k1, row)
                        && words >= query.required
                    {
                        top.offer(row, score);
                    }
                }
            }
            rows => {
                let mut window = Window::new();
                while let Some(start) = first_row(&cursors) {
                    window.fill(&mut cursors, start, rows, query.k1);
                    window.drain(start, query.required, |row, score| top.offer(row, score));
                }
            }
        }
        Ok(top.into_candidates())
    }

    /// The scores of `rows` (ascending), 0 where no word finds them: what [`KeywordIndex::retrieve`] orders by, and what words
    /// that stand close together add to it. How many words a row must have plays no part.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn score_rows(&self, query: &KeywordQuery, rows: &[Row]) -> Result<Vec<f32>, SearchError> {
        debug_assert!(rows.is_sorted(), "rows must be ascending");
        self.no_panic(|| {
            let mut cursors = self.cursors(query)?;
            let mut proximity = Proximity::new(self, query)?;
            let score = |row: &Row| match bm25f::score_row(&mut cursors, query.k1, *row) {
                Some(found) => found.score + proximity.score(*row),
                None => 0.0,
            };
            Ok(rows.iter().map(score).collect())
        })
    }
}

/// The lowest row that a cursor stands at.
fn first_row(cursors: &[WordCursor<'_>]) -> Option<Row> {
    let first = cursors.iter().flat_map(|word| &word.fields).map(|field| field.postings.row()).min();
    first.filter(|row| *row != TERMINATED)
}

/// Sums over the rows of a window, all zero between windows.
struct Window {
    frequencies: Box<[f32; WINDOW_ROWS]>,
    scores: Box<[f32; WINDOW_ROWS]>,
    /// Words of each row.
    words: Box<[u16; WINDOW_ROWS]>,
    /// Rows with a score.
    scored: [u64; WINDOW_ROWS / 64],
    /// Those of them that a word finds.
    found: [u64; WINDOW_ROWS / 64],
}

impl Window {
    fn new() -> Window {
        Window {
            frequencies: Box::new([0.0; WINDOW_ROWS]),
            scores: Box::new([0.0; WINDOW_ROWS]),
            words: Box::new([0; WINDOW_ROWS]),
            scored: [0; WINDOW_ROWS / 64],
            found: [0; WINDOW_ROWS / 64],
        }
    }

    /// Moves the cursors past the window that begins at `start`, adding up the scores of its rows.
    fn fill(&mut self, cursors: &mut [WordCursor<'_>], start: Row, rows: Option<&RowSet>, k1: f32) {
        let end = (start + WINDOW_ROWS as Row).min(TERMINATED);
        for word in cursors {
            let mut has_word = [0u64; WINDOW_ROWS / 64];
            for field in &mut word.fields {
                let mut row = field.postings.row();
                while row < end {
                    if rows.is_none_or(|rows| rows.contains(row)) {
                        let place = (row - start) as usize;
                        self.frequencies[place] += field.part();
                        has_word[place / 64] |= 1 << (place % 64);
                    }
                    row = field.postings.advance();
                }
            }
            for (group, bits) in has_word.into_iter().enumerate() {
                self.scored[group] |= bits;
                self.found[group] |= if word.finds { bits } else { 0 };
                for place in places(group, bits) {
                    self.scores[place] += bm25f::saturate(word.weight, k1, self.frequencies[place]);
                    self.words[place] += 1; // a query has far fewer words than 16 bits can count
                    self.frequencies[place] = 0.0;
                }
            }
        }
    }

    /// Hands out the rows found that have the words required, with their scores, and resets the window.
    fn drain(&mut self, start: Row, required: usize, mut give: impl FnMut(Row, f32)) {
        for group in 0..self.scored.len() {
            for place in places(group, self.scored[group]) {
                let is_found = self.found[group] >> (place % 64) & 1 == 1;
                if is_found && usize::from(self.words[place]) >= required {
                    give(start + place as Row, self.scores[place]);
                }
                (self.scores[place], self.words[place]) = (0.0, 0);
            }
            (self.scored[group], self.found[group]) = (0, 0);
        }
    }
}

/// Places of the set bits of a window's group of 64.
fn places(group: usize, mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
        bits &= bits - 1;
        Some(group * 64 + bit)
    })
}

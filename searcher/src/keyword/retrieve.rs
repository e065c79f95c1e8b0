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
        self.retrieve_beside(query, rows, depth, &[]).map(|found| found.best)
    }

    /// As [`KeywordIndex::retrieve`], with the scores of `others` (ascending, among `rows`), whether they are among the best
    /// or not: those of rows that another retriever found. The walk meets them anyway, so they cost next to nothing.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn retrieve_beside(
        &self,
        query: &KeywordQuery,
        rows: Option<&RowSet>,
        depth: usize,
        others: &[Row],
    ) -> Result<KeywordFound, SearchError> {
        debug_assert!(others.is_sorted(), "rows must be ascending");
        self.no_panic(|| self.walk(query, rows, depth, others))
    }

    fn walk(
        &self,
        query: &KeywordQuery,
        rows: Option<&RowSet>,
        depth: usize,
        others: &[Row],
    ) -> Result<KeywordFound, SearchError> {
        let mut cursors = self.cursors(query)?;
        let mut top = TopRows::new(depth);
        let mut others = OtherRows { rows: others, scores: Vec::with_capacity(others.len()) };
        let postings: u64 =
            query.words.iter().flat_map(|word| &word.writings).map(|found| found.postings.document_frequency()).sum();
        let cursor_count: u64 = cursors.iter().map(|word| word.fields.len() as u64).sum();
        match rows {
            Some(rows) if rows.len() * cursor_count * POSTINGS_PER_JUMP < postings => {
                for row in rows.iter() {
                    let found = bm25f::score_row(&mut cursors, query.k1, row);
                    others.take_until(row + 1, |other| found.filter(|_| other == row).map(|found| found.score));
                    if let Some(RowScore { score, .. }) = found.filter(|found| found.words >= query.required) {
                        top.offer(row, score);
                    }
                }
            }
            rows => {
                let mut window = Window::new();
                while let Some(start) = first_row(&cursors) {
                    window.fill(&mut cursors, start, rows, query.k1);
                    others.take_until(start, |_| None);
                    others.take_until(start.saturating_add(WINDOW_ROWS as Row), |row| window.score(row - start));
                    window.drain(start, query.required, |row, score| top.offer(row, score));
                }
            }
        }
        others.take_until(TERMINATED, |_| None);
        Ok(KeywordFound { best: top.into_candidates(), others: others.scores })
    }

    /// Adds to the scores of rows that a word finds (ascending) what words that stand close together are worth there: nothing,
    /// where the settings give closeness no weight.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn add_proximity<'s>(
        &self,
        query: &KeywordQuery,
        scores: impl Iterator<Item = (Row, &'s mut f32)>,
    ) -> Result<(), SearchError> {
        if query.proximity <= 0.0 {
            return Ok(());
        }
        self.no_panic(|| {
            let mut proximity = Proximity::new(self, query)?;
            scores.for_each(|(row, score)| *score += proximity.score(row));
            Ok(())
        })
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

/// What a walk over the postings gives.
#[derive(Clone, Debug, PartialEq)]
pub struct KeywordFound {
    /// The best rows, best first.
    pub best: Vec<Candidate>,
    /// The score of each of the other rows asked for, in their order; `None` where no word finds it. How many words a row
    /// must have plays no part.
    pub others: Vec<Option<f32>>,
}

/// Rows whose scores are wanted beside the best ones, in ascending order.
struct OtherRows<'a> {
    /// Those that the walk has not come to.
    rows: &'a [Row],
    scores: Vec<Option<f32>>,
}

impl OtherRows<'_> {
    /// Takes the scores of the rows below `end`.
    fn take_until(&mut self, end: Row, score: impl Fn(Row) -> Option<f32>) {
        while let Some((row, rest)) = self.rows.split_first().filter(|(row, _)| **row < end) {
            self.scores.push(score(*row));
            self.rows = rest;
        }
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

    /// The score at a place of the window, where a word finds its row.
    fn score(&self, place: Row) -> Option<f32> {
        let place = place as usize;
        let is_found = self.found[place / 64] >> (place % 64) & 1 == 1;
        is_found.then(|| self.scores[place])
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

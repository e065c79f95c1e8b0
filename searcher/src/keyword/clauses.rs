//! Conditions that a text sets: which rows have words next to each other, in any searched field or in one. Owns that
//! question; not scores, and not the syntax (`query_text`). Invariant: a row is found in a field by that field's analyzer, as
//! its text was indexed.

use schemas::Row;

use super::index::KeywordIndex;
use super::words::PlacedTerm;
use crate::error::SearchError;
use crate::row_set::RowSet;

impl KeywordIndex {
    /// Whether keyword search looks into a field.
    #[must_use]
    pub fn is_searched(&self, field: &str) -> bool {
        self.settings().fields.iter().any(|searched| searched.name == field)
    }

    /// The rows that have the words of `text`, in any spelling, next to each other in `field`, or in any searched field. All
    /// rows when no word is left of the text. Cost: the postings of the words of each phrase, with positions where there are
    /// several ([`crate::analysis::Analyzer::query_phrases`]).
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn rows_with(&self, text: &str, field: Option<&str>) -> Result<RowSet, SearchError> {
        let mut rows = RowSet::empty(self.row_count());
        let mut has_words = false;
        for (number, analyzer) in self.analyzers().iter().enumerate() {
            let placed = |(place, text): (usize, String)| PlacedTerm { text, place };
            let phrases = analyzer.query_phrases(text).into_iter();
            let phrases: Vec<Vec<PlacedTerm>> =
                phrases.map(|phrase| phrase.into_iter().map(placed).collect()).collect();
            has_words |= !phrases.is_empty();
            for (_, searched) in self.fields_of(number).filter(|(_, own)| field.is_none_or(|name| own.name == name)) {
                for phrase in &phrases {
                    let found: Vec<(Row, u32)> = self.no_panic(|| self.phrase_rows(searched, phrase))?;
                    found.into_iter().for_each(|(row, _)| rows.insert(row));
                }
            }
        }
        Ok(if has_words { rows } else { RowSet::full(self.row_count()) })
    }
}

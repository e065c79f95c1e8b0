//! Similar words, for a word that no item has. Owns which words are forgiven a typo, how far a similar one may be, and
//! finding those that a field has; not what they score. Invariant: only a word that no item has is looked for so, and the
//! words found are the nearest ones, of equally near ones the most frequent.
//!
//! Distance is Damerau's (a letter more, less, another, or two neighbours exchanged: optimal string alignment), found with a Levenshtein automaton over the term
//! dictionary (Schulz, Mihov 2002), tantivy's. The lengths are those of Elasticsearch's `AUTO`; the first letter must be
//! right, which keeps the automaton to a small part of the dictionary. Words with digits are codes, where one digit makes
//! another product, and Chinese, Japanese and Korean words are too short: neither is forgiven anything.

use tantivy::postings::TermInfo;
use tantivy::query::{DfaWrapper, FuzzyTermQuery};
use tantivy::schema::Field;
use tantivy::{InvertedIndexReader, TantivyError, Term};

/// Similar words that take a missing one's place, at most.
pub const MAX_FUZZY_TERMS: usize = 8;
/// Words of a query that similar ones are looked for, at most: the first ones that no item has. Each costs an automaton and a
/// walk over part of the dictionary, some tens of microseconds a field.
pub const MAX_FUZZY_WORDS: usize = 8;
/// What an occurrence of a similar word counts, for each letter that differs: half, then a quarter.
const FACTOR_BY_DISTANCE: [f32; 3] = [1.0, 0.5, 0.25];
/// Terms of the dictionary that are compared, at most.
const MAX_COMPARED: usize = 4096;

/// A similar word that a field has.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SimilarTerm {
    pub(super) text: String,
    pub(super) distance: usize,
    pub(super) info: TermInfo,
}

impl SimilarTerm {
    /// What an occurrence counts.
    pub(super) fn factor(&self) -> f32 {
        FACTOR_BY_DISTANCE.get(self.distance).copied().unwrap_or(0.0)
    }
}

/// Letters that may differ; 0 where a word is not forgiven any.
fn most_different(word: &str) -> u8 {
    if !word.chars().all(|letter| letter.is_alphabetic() && letter < '\u{2E80}') {
        return 0;
    }
    match word.chars().count() {
        0..=2 => 0,
        3..=5 => 1,
        _ => 2,
    }
}

/// What words must be like to be similar to one.
pub(super) struct SimilarTo<'a> {
    word: &'a str,
    automaton: DfaWrapper,
    /// The first letter, and the bytes after all that begin with it.
    first_letter: [Vec<u8>; 2],
}

impl<'a> SimilarTo<'a> {
    /// `None` where the word is not forgiven anything. Cost: the automaton, some hundreds of states.
    ///
    /// # Errors
    /// When tantivy refuses the word.
    pub(super) fn new(word: &'a str) -> Result<Option<SimilarTo<'a>>, TantivyError> {
        let most = most_different(word);
        let Some(first) = word.chars().next().filter(|_| most > 0) else { return Ok(None) };
        // The automaton is of the text alone, whichever the field.
        let term = Term::from_field_text(Field::from_field_id(0), word);
        let automaton = FuzzyTermQuery::new(term, most, true).automaton()?;
        let from = first.to_string().into_bytes();
        let mut to = from.clone();
        if let Some(last) = to.last_mut() {
            *last += 1; // no byte of UTF-8 is 255
        }
        Ok(Some(SimilarTo { word, automaton, first_letter: [from, to] }))
    }

    /// A field's words that are similar, nearest first.
    ///
    /// # Errors
    /// When the dictionary cannot be read.
    pub(super) fn found_in(&self, postings: &InvertedIndexReader) -> Result<Vec<SimilarTerm>, TantivyError> {
        let [from, to] = &self.first_letter;
        // Without the upper bound the walk would go on through the rest of the dictionary.
        let mut stream = postings.terms().search(&self.automaton).ge(from).lt(to).into_stream()?;
        let mut found = Vec::new();
        while let Some((key, info)) = stream.next().filter(|_| found.len() < MAX_COMPARED) {
            let Ok(text) = std::str::from_utf8(key) else { continue };
            let distance = strsim::osa_distance(self.word, text);
            found.push(SimilarTerm { text: text.to_owned(), distance, info: info.clone() });
        }
        found.sort_by(|left, right| {
            let by_frequency = right.info.doc_freq.cmp(&left.info.doc_freq);
            left.distance.cmp(&right.distance).then(by_frequency).then_with(|| left.text.cmp(&right.text))
        });
        found.truncate(MAX_FUZZY_TERMS);
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_short_words_and_han_are_not_forgiven() {
        for word in ["tv", "dv7", "蓝牙耳机", "イヤホン", "a-b", ""] {
            assert_eq!(most_different(word), 0, "{word}");
        }
        assert_eq!(["sony", "mouse", "charger", "naïve"].map(most_different), [1, 1, 2, 1]);
    }
}

//! A query's text after analysis. Owns which terms it has and what each weighs; not their scores. Invariant: a term is
//! one word of the query in all fields together, however each field's analyzer writes it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use tantivy::postings::TermInfo;

use crate::analysis::Analyzer;

/// Distinct terms of a query that are looked for: the first ones that the index has. Bounds what a hostile query costs.
pub const MAX_QUERY_TERMS: usize = 1024;

/// A query's text after analysis against one index; for that index only.
#[derive(Clone, Debug, PartialEq)]
pub struct KeywordQuery {
    pub(super) terms: Vec<QueryTerm>,
    pub(super) k1: f32,
    /// By number of the searched field; see [`super::bm25f::field_factors`].
    pub(super) factors: Vec<Box<[f32; 256]>>,
}

/// A term that at least one field of the index has.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct QueryTerm {
    /// The term as the first field that has it writes it.
    pub(super) text: String,
    /// Sum of the weights of the text parts, once for each time the term stands in them.
    pub(super) weight: f32,
    /// The largest in a field.
    pub(super) document_frequency: u64,
    pub(super) idf: f32,
    /// Where its postings are, by number of the searched field.
    pub(super) fields: Vec<(usize, TermInfo)>,
}

impl KeywordQuery {
    /// Whether no term is left, so that nothing can match.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }
}

/// A word of the query, as each of several analyzers writes it (`None`: that analyzer cuts the text elsewhere).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Word {
    pub(super) forms: Vec<Option<String>>,
}

/// The distinct words of weighted texts in order of first appearance, with their summed weights; parts that weigh
/// nothing or are not numbers are left out.
pub(super) fn words(texts: &[(&str, f32)], analyzers: &[Analyzer]) -> Vec<(Word, f32)> {
    let mut distinct: Vec<(Word, f32)> = Vec::new();
    let mut numbers: HashMap<Word, usize> = HashMap::new();
    for (text, weight) in texts.iter().filter(|(_, weight)| weight.is_finite() && *weight != 0.0) {
        for word in words_of(text, analyzers) {
            match numbers.entry(word) {
                Entry::Occupied(known) => distinct[*known.get()].1 += weight,
                Entry::Vacant(new) => {
                    distinct.push((new.key().clone(), *weight));
                    new.insert(distinct.len() - 1);
                }
            }
        }
    }
    distinct.retain(|(_, weight)| *weight != 0.0);
    distinct
}

/// The words of one text: terms of different analyzers over the same bytes of it are one word.
fn words_of(text: &str, analyzers: &[Analyzer]) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut places: HashMap<(usize, usize, usize), usize> = HashMap::new();
    for (number, analyzer) in analyzers.iter().enumerate() {
        let mut last = (0, 0);
        let mut nth = 0;
        for term in analyzer.query_terms(text) {
            // One character can fold to several words (`½`), which then stand over the same bytes.
            nth = if last == (term.start, term.end) { nth + 1 } else { 0 };
            last = (term.start, term.end);
            let place = *places.entry((term.start, term.end, nth)).or_insert_with(|| {
                words.push(Word { forms: vec![None; analyzers.len()] });
                words.len() - 1
            });
            words[place].forms[number] = Some(term.text);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use schemas::manifest::AnalyzerKind;

    use super::*;

    fn forms(words: &[(Word, f32)]) -> Vec<(Vec<Option<&str>>, f32)> {
        words.iter().map(|(word, weight)| (word.forms.iter().map(Option::as_deref).collect(), *weight)).collect()
    }

    #[test]
    fn repeated_words_add_up() {
        let found = words(
            &[("red shoes red", 1.0), ("Red", 0.5), ("blue", 0.0), ("x", f32::NAN)],
            &[Analyzer::new(AnalyzerKind::English)],
        );
        assert_eq!(forms(&found), [(vec![Some("red")], 2.5), (vec![Some("shoe")], 1.0)]);
    }

    #[test]
    fn opposite_weights_cancel() {
        assert!(words(&[("red", 1.0), ("red", -1.0)], &[Analyzer::new(AnalyzerKind::Simple)]).is_empty());
    }

    #[test]
    fn analyzers_share_words_by_place() {
        let found =
            words(&[("red shoes 蓝牙耳机", 1.0)], &[AnalyzerKind::English, AnalyzerKind::Simple].map(Analyzer::new));
        assert_eq!(
            forms(&found),
            [
                (vec![Some("red"), Some("red")], 1.0),
                (vec![Some("shoe"), Some("shoes")], 1.0),
                (vec![Some("蓝牙"), None], 1.0),
                (vec![Some("耳机"), None], 1.0),
                (vec![None, Some("蓝牙耳机")], 1.0),
            ]
        );
    }
}

//! A query's texts as words, before any index is asked. Owns which words there are, every way an item may have each
//! written, what each weighs, and which follow each other; not whether an index has them. Invariant: a word is one thing
//! that was named, in all fields together, however many ways of writing it there are.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::analysis::{Analyzer, QueryWord};
use crate::keyword::synonyms::{CompiledSynonyms, SYNONYM_FACTOR, Synonyms};

/// Ways of writing a word that are looked for: the word's own ones first. Bounds what a hostile synonym file costs.
const MAX_WRITINGS: usize = 64;
/// Pairs of words whose closeness is looked at: the first ones. Bounds what a hostile query costs.
const MAX_NEIGHBOURS: usize = 64;

/// How a way of writing came to be one of a word's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WritingOrigin {
    /// The query has it so.
    Exact,
    /// Another spelling of the same.
    Spelling,
    /// By a rule of the synonyms.
    Synonym,
    /// A similar word, because no item has the query's own.
    Fuzzy,
}

/// A term with its place relative to the first one of its phrase.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PlacedTerm {
    pub(super) text: String,
    pub(super) place: usize,
}

/// One way an item may have a word written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Writing {
    /// Number of the analyzer by which a field has it so.
    pub(super) analyzer: usize,
    /// One term, or several in their places.
    pub(super) terms: Vec<PlacedTerm>,
    /// What an occurrence counts, compared with the word itself: above 0, at most 1.
    pub(super) factor: f32,
    pub(super) origin: WritingOrigin,
}

/// A word of the query.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Word {
    /// Sum of the weights of the text parts, once for each time the word stands in them.
    pub(super) weight: f32,
    pub(super) writings: Vec<Writing>,
}

/// A word that comes after another in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Neighbours {
    /// Number of the word before.
    pub(super) left: usize,
    /// Number of the word after.
    pub(super) right: usize,
    /// Places from the one to the other.
    pub(super) distance: usize,
}

/// The words of weighted texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Words {
    /// The distinct ones in order of first appearance.
    pub(super) words: Vec<Word>,
    /// Each pair once.
    pub(super) neighbours: Vec<Neighbours>,
}

/// The term of an analyzer for a word, as [`Words`] tells words apart.
type Form = (usize, String);

/// The words of weighted texts; parts that weigh nothing or are not numbers are left out.
pub(super) fn words(texts: &[(&str, f32)], analyzers: &[Analyzer], synonyms: Option<&Synonyms>) -> Words {
    let mut found = Words::default();
    let mut numbers: HashMap<Vec<Form>, usize> = HashMap::new();
    for (text, weight) in texts.iter().filter(|(_, weight)| weight.is_finite() && *weight != 0.0) {
        let mut placed = words_of(text, analyzers);
        if let Some(synonyms) = synonyms {
            for (number, analyzer) in analyzers.iter().enumerate() {
                add_synonyms(&mut placed, number, &synonyms.compiled(*analyzer));
            }
        }
        let mut before: Option<(usize, usize)> = None;
        for PlacedWord { forms, place, mut writings } in placed {
            writings.sort_by_key(|writing| writing.origin);
            writings.truncate(MAX_WRITINGS);
            let number = match numbers.entry(forms) {
                Entry::Occupied(known) => {
                    found.words[*known.get()].weight += weight;
                    *known.get()
                }
                Entry::Vacant(new) => {
                    found.words.push(Word { weight: *weight, writings });
                    *new.insert(found.words.len() - 1)
                }
            };
            if let Some((left, left_place)) = before.filter(|(left, at)| *left != number && *at < place) {
                let pair = Neighbours { left, right: number, distance: place - left_place };
                if !found.neighbours.contains(&pair) && found.neighbours.len() < MAX_NEIGHBOURS {
                    found.neighbours.push(pair);
                }
            }
            before = Some((number, place));
        }
    }
    found
}

/// A word where it stands in its text.
struct PlacedWord {
    forms: Vec<Form>,
    place: usize,
    writings: Vec<Writing>,
}

/// The words of one text: terms of different analyzers over the same bytes of it are one word.
fn words_of(text: &str, analyzers: &[Analyzer]) -> Vec<PlacedWord> {
    let mut words: Vec<PlacedWord> = Vec::new();
    let mut numbers: HashMap<(usize, usize, usize), usize> = HashMap::new();
    for (analyzer, kind) in analyzers.iter().enumerate() {
        let mut last = (0, 0);
        let mut nth = 0;
        for QueryWord { start, end, term: text, position, alternatives } in kind.query_words(text) {
            // One character can fold to several words (`½`), which then stand over the same bytes.
            nth = if last == (start, end) { nth + 1 } else { 0 };
            last = (start, end);
            let number = *numbers.entry((start, end, nth)).or_insert_with(|| {
                words.push(PlacedWord { forms: Vec::new(), place: position, writings: Vec::new() });
                words.len() - 1
            });
            let word = &mut words[number];
            let terms = vec![PlacedTerm { text: text.clone(), place: 0 }];
            word.writings.push(Writing { analyzer, terms, factor: 1.0, origin: WritingOrigin::Exact });
            word.forms.push((analyzer, text));
            word.writings.extend(alternatives.into_iter().map(|spelling| Writing {
                analyzer,
                terms: spelling.terms.into_iter().map(|(place, text)| PlacedTerm { text, place }).collect(),
                factor: 1.0,
                origin: WritingOrigin::Spelling,
            }));
        }
    }
    words
}

/// Adds what the rules say of runs of words. A run of several shares the factor among its words: an item with the synonym
/// counts as having each of them, and no more than once in all.
fn add_synonyms(words: &mut [PlacedWord], analyzer: usize, synonyms: &CompiledSynonyms) {
    let form = |word: &PlacedWord| word.forms.iter().find(|(of, _)| *of == analyzer).map(|(_, text)| text.clone());
    let forms: Vec<(usize, String)> =
        words.iter().enumerate().filter_map(|(number, word)| form(word).map(|form| (number, form))).collect();
    let texts: Vec<&str> = forms.iter().map(|(_, text)| text.as_str()).collect();
    for start in 0..texts.len() {
        for rule in synonyms.rules_at(&texts[start..]) {
            let run = &forms[start..start + rule.words];
            for (number, _) in run {
                let word = &mut words[*number];
                if rule.replaces {
                    word.writings
                        .retain(|writing| writing.analyzer != analyzer || writing.origin > WritingOrigin::Spelling);
                }
                word.writings.extend(rule.writings.iter().map(|terms| Writing {
                    analyzer,
                    terms: terms.clone(),
                    factor: SYNONYM_FACTOR / rule.words as f32,
                    origin: WritingOrigin::Synonym,
                }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::manifest::AnalyzerKind;

    use super::*;

    fn analyzers(kinds: &[AnalyzerKind]) -> Vec<Analyzer> {
        kinds.iter().map(|kind| Analyzer::new(*kind)).collect()
    }

    /// The writings of each word as `analyzer:terms`, and its weight.
    fn shown(words: &Words) -> Vec<(Vec<String>, f32)> {
        let writing = |writing: &Writing| {
            let terms: Vec<&str> = writing.terms.iter().map(|term| term.text.as_str()).collect();
            format!("{}:{}", writing.analyzer, terms.join("+"))
        };
        words.words.iter().map(|word| (word.writings.iter().map(writing).collect(), word.weight)).collect()
    }

    fn expected(words: &[(&[&str], f32)]) -> Vec<(Vec<String>, f32)> {
        words
            .iter()
            .map(|(writings, weight)| (writings.iter().map(|text| (*text).to_owned()).collect(), *weight))
            .collect()
    }

    #[test]
    fn repeated_words_add_up() {
        let texts = [("red shoes red", 1.0), ("Red", 0.5), ("blue", 0.0), ("x", f32::NAN)];
        let found = words(&texts, &analyzers(&[AnalyzerKind::English]), None);
        assert_eq!(shown(&found), expected(&[(&["0:red"], 2.5), (&["0:shoe"], 1.0)]));
        let pair = |left, right| Neighbours { left, right, distance: 1 };
        assert_eq!(found.neighbours, [pair(0, 1), pair(1, 0)]);
    }

    #[test]
    fn analyzers_share_words_by_place() {
        let kinds = analyzers(&[AnalyzerKind::English, AnalyzerKind::Simple]);
        let found = words(&[("red shoes 蓝牙耳机", 1.0)], &kinds, None);
        let wanted = expected(&[
            (&["0:red", "1:red"], 1.0),
            (&["0:shoe", "1:shoes"], 1.0),
            (&["0:蓝牙"], 1.0),
            (&["0:耳机"], 1.0),
            (&["1:蓝牙耳机"], 1.0),
        ]);
        assert_eq!(shown(&found), wanted);
    }

    #[test]
    fn synonyms_are_further_writings() {
        let rules = Synonyms::parse("sofa, couch, love seat\nhead set => headset\n").unwrap();
        let kinds = analyzers(&[AnalyzerKind::English]);
        let found = words(&[("red couches", 1.0)], &kinds, Some(&rules));
        assert_eq!(shown(&found), expected(&[(&["0:red"], 1.0), (&["0:couch", "0:sofa", "0:love+seat"], 1.0)]));
        let found = words(&[("head set", 1.0)], &kinds, Some(&rules));
        assert_eq!(shown(&found), expected(&[(&["0:headset"], 1.0), (&["0:headset"], 1.0)]));
        assert!(found.words.iter().all(|word| word.writings[0].factor < 0.5), "shared among two words");
    }
}

//! Terms of a run of Han characters. Owns the dictionary (jieba's) and both readings of a run; not where runs begin.
//! Invariant: a query's terms are single characters and dictionary words, and an item has all of those that its run
//! contains; so segmentation that differs between item and query never hides an item.
//!
//! The pair of a complete reading for items and a likeliest one for queries is that of the IK analyzer (`ik_max_word`,
//! `ik_smart`). Words that the dictionary lacks are left as characters: jieba's hidden Markov model would guess them
//! from their surroundings, and guess differently in item and query.

use std::ops::Range;
use std::sync::LazyLock;

use jieba_rs::Jieba;

use super::fold::{Class, FoldedChar, class};
use super::{Term, term};

/// Loaded when the first Han run is met, once; about 30 MB.
static DICTIONARY: LazyLock<Jieba> = LazyLock::new(Jieba::new);

/// The run of Han characters from `start` and the character after it. White space between Han characters does not
/// separate words in Chinese: a query means the same with and without it.
pub(super) fn run(chars: &[FoldedChar], start: usize) -> (Vec<FoldedChar>, usize) {
    let mut run = Vec::new();
    let mut end = start;
    for (at, next) in chars.iter().enumerate().skip(start) {
        if class(next.value) == Class::Han {
            run.push(*next);
            end = at + 1;
        } else if !next.value.is_whitespace() {
            break;
        }
    }
    (run, end)
}

/// Every character and every dictionary word of the run, by position and then length.
pub(super) fn item_terms(run: &[FoldedChar], position: usize, terms: &mut Vec<Term>) {
    let text: String = run.iter().map(|folded| folded.value).collect();
    let words =
        DICTIONARY.cut_all(&text).into_iter().filter(|token| is_word(token)).map(|token| token.start..token.end);
    push((0..run.len()).map(|at| at..at + 1).chain(words).collect(), run, position, terms);
}

/// The words of the likeliest segmentation with the shorter words in them, and uncovered characters.
pub(super) fn query_terms(run: &[FoldedChar], position: usize, terms: &mut Vec<Term>) {
    let text: String = run.iter().map(|folded| folded.value).collect();
    let mut spans = Vec::with_capacity(run.len());
    for token in DICTIONARY.cut_for_search(&text, false) {
        if is_word(&token) {
            spans.push(token.start..token.end);
        } else {
            spans.extend((token.start..token.end).map(|at| at..at + 1));
        }
    }
    push(spans, run, position, terms);
}

/// Whether the dictionary has the word.
pub(super) fn is_dictionary_word(word: &str) -> bool {
    DICTIONARY.has_word(word)
}

/// Whether a token is a dictionary word of several characters (jieba joins characters that it takes for foreign).
fn is_word(token: &jieba_rs::Token<'_>) -> bool {
    token.end - token.start > 1 && DICTIONARY.has_word(token.word)
}

fn push(mut spans: Vec<Range<usize>>, run: &[FoldedChar], position: usize, terms: &mut Vec<Term>) {
    spans.sort_unstable_by_key(|span| (span.start, span.end));
    spans.dedup();
    terms.extend(spans.into_iter().map(|span| term(&run[span.clone()], position + span.start)));
}

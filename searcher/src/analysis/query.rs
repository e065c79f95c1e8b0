//! The words of a query's text. Owns the other spellings in which an item may have a word; not how a text is split.
//! Invariant: the words' own terms are among those of the same text as an item's, in the order of the text, at the
//! same positions.

use std::ops::Range;

use super::fold::FoldedChar;
use super::item::{halves, has_halves, joined_text, word_text};
use super::joined;
use super::stem::Stems;
use super::tokens::{Measure, Token, TokenKind};
use super::units::UnitSpelling;
use super::{QueryWord, Script, Spelling, Term, han, pairs};

/// Places at which a word of letters and digits is cut to find it written with spaces; bounds its spellings.
const MAX_CUTS: usize = 16;
/// Borders between letters and digits of a word that are cut together in every way.
const MAX_BORDERS: usize = 4;

/// A query's words, and what else runs of them may be written as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) words: Vec<QueryWord>,
    pub(super) spellings: Vec<RunSpelling>,
}

/// Another spelling of words that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunSpelling {
    /// Numbers of the words.
    pub(super) words: Range<usize>,
    pub(super) spelling: Spelling,
    /// Positions that it takes in an item.
    pub(super) width: usize,
}

/// The words of a text that was split into tokens.
pub(super) fn read(text: &str, chars: &[FoldedChar], tokens: &[Token], script: Script, stems: &Stems) -> Reading {
    let mut words: Vec<QueryWord> = Vec::with_capacity(tokens.len());
    let mut spellings: Vec<RunSpelling> = Vec::new();
    // For each token its word, where it is one.
    let mut places = Vec::with_capacity(tokens.len());
    let mut position = 0;
    for token in tokens {
        let (start, end) = (chars[token.start].start, chars[token.end - 1].end);
        places.push(words.len());
        match &token.kind {
            TokenKind::Word(word) => {
                let term = word_text(word.text.clone(), word.has_digits, stems, &text[start..end]);
                spellings.extend(cut_spellings(&word.text, words.len()..words.len() + 1, stems));
                words.push(QueryWord { start, end, term, position, alternatives: Vec::new() });
                position += if halves(word, chars, token.start..token.end).is_some() { 2 } else { 1 };
            }
            TokenKind::Measure(measure) => {
                let Measure { name, unit, .. } = &**measure;
                words.push(QueryWord { start, end, term: name.clone(), position, alternatives: Vec::new() });
                position += 1 + match unit.spelling {
                    UnitSpelling::Sign | UnitSpelling::Attached => 0,
                    UnitSpelling::Word => 1,
                    UnitSpelling::Han if !script.has_han() => 0,
                    UnitSpelling::Han => {
                        chars[unit.start..unit.end].iter().filter(|folded| !folded.value.is_whitespace()).count()
                    }
                };
            }
            TokenKind::Pairs => {
                let mut terms = Vec::new();
                position = pairs(&chars[token.start..token.end], position, &mut terms);
                words.extend(terms.into_iter().map(QueryWord::from));
            }
            TokenKind::Han(run) => {
                let mut terms = Vec::new();
                han::query_terms(run, position, &mut terms);
                words.extend(terms.into_iter().map(QueryWord::from));
                position += run.len();
            }
        }
    }
    for first in 0..tokens.len() {
        // A token that is joined is one word.
        let run = |end: usize| places[first]..places[end - 1] + 1;
        for joined in joined::windows(chars, tokens, first) {
            let written: Vec<char> = joined.text.chars().collect();
            let spelling = Spelling { terms: vec![(0, joined_text(&joined, stems))] };
            spellings.push(RunSpelling { words: run(joined.end), spelling, width: width(&written) });
        }
        // A compound is a word, so it is found wherever it is cut.
        if let Some(joined) = joined::compound(chars, tokens, first) {
            spellings.extend(cut_spellings(&joined.text, run(joined.end), stems));
        }
    }
    for RunSpelling { words: run, spelling, width: _ } in &spellings {
        for word in &mut words[run.clone()] {
            if !spelling.terms.iter().any(|(_, term)| *term == word.term) && !word.alternatives.contains(spelling) {
                word.alternatives.push(spelling.clone());
            }
        }
    }
    Reading { words, spellings }
}

/// Positions that a word of letters and digits takes in an item.
fn width(word: &[char]) -> usize {
    if has_halves(word) { 2 } else { 1 }
}

impl From<Term> for QueryWord {
    fn from(term: Term) -> QueryWord {
        let Term { text: term, position, start, end } = term;
        QueryWord { start, end, term, position, alternatives: Vec::new() }
    }
}

/// A word of letters and digits cut into words that stand next to each other: at its borders between letters and digits
/// in every way, and once inside its digits (`dv71211ea` is `dv7 1211ea`).
fn cut_spellings(word: &str, run: Range<usize>, stems: &Stems) -> Vec<RunSpelling> {
    let chars: Vec<char> = word.chars().collect();
    if !chars.iter().any(char::is_ascii_digit) || !chars.iter().any(|value| value.is_alphabetic()) {
        return Vec::new();
    }
    let inner = 1..chars.len();
    let is_digit = |at: usize| chars[at].is_ascii_digit() || chars[at] == '.';
    let (digits, borders): (Vec<usize>, Vec<usize>) = inner
        .filter(|at| is_digit(*at - 1) || is_digit(*at))
        .filter(|at| chars[*at] != '.' && chars[*at - 1] != '.')
        .partition(|at| is_digit(*at - 1) && is_digit(*at));
    let mut cuts: Vec<Vec<usize>> = Vec::new();
    if borders.len() <= MAX_BORDERS {
        for choice in 1u32..1 << borders.len() {
            let chosen = borders.iter().enumerate().filter(|(number, _)| choice & (1 << number) != 0);
            cuts.push(chosen.map(|(_, at)| *at).collect());
        }
    } else {
        cuts.extend(borders.iter().take(MAX_CUTS).map(|at| vec![*at]));
    }
    cuts.extend(digits.into_iter().take(MAX_CUTS).map(|at| vec![at]));
    let spelling = |cuts: &Vec<usize>| {
        let (terms, width) = parts(&chars, cuts, stems);
        RunSpelling { words: run.clone(), spelling: Spelling { terms }, width }
    };
    cuts.iter().map(spelling).collect()
}

/// The terms of a cut word with their places, and the places that they take together.
fn parts(chars: &[char], cuts: &[usize], stems: &Stems) -> (Vec<(usize, String)>, usize) {
    let starts = std::iter::once(0).chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain(std::iter::once(chars.len()));
    let mut place = 0;
    let part = |(start, end)| {
        let part: String = chars[start..end].iter().collect();
        let at = place;
        place += width(&chars[start..end]);
        (at, stems.stem(part.clone(), &part))
    };
    let terms = starts.zip(ends).map(part).collect();
    (terms, place)
}

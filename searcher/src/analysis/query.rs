//! The words of a query's text. Owns the other spellings in which an item may have a word; not how a text is split.
//! Invariant: the words' own terms are among those of the same text as an item's, in the order of the text, at the
//! same positions.

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

/// The words of a text that was split into tokens.
pub(super) fn words(
    text: &str,
    chars: &[FoldedChar],
    tokens: &[Token],
    script: Script,
    stems: &Stems,
) -> Vec<QueryWord> {
    let mut words: Vec<QueryWord> = Vec::with_capacity(tokens.len());
    // For each token its word, where it is one.
    let mut places = Vec::with_capacity(tokens.len());
    let mut position = 0;
    for token in tokens {
        let (start, end) = (chars[token.start].start, chars[token.end - 1].end);
        places.push(words.len());
        match &token.kind {
            TokenKind::Word(word) => {
                let term = word_text(word.text.clone(), word.has_digits, stems, &text[start..end]);
                words.push(QueryWord { start, end, term, position, alternatives: cut_spellings(&word.text, stems) });
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
        for joined in joined::windows(chars, tokens, first) {
            let spelling = Spelling { terms: vec![(0, joined_text(&joined, stems))] };
            add(&mut words, &places[first..joined.end], &[spelling]);
        }
        // A compound is a word, so it is found wherever it is cut.
        if let Some(joined) = joined::compound(chars, tokens, first) {
            add(&mut words, &places[first..joined.end], &cut_spellings(&joined.text, stems));
        }
    }
    words
}

/// Adds spellings to the words at some places.
fn add(words: &mut [QueryWord], places: &[usize], spellings: &[Spelling]) {
    for place in places {
        let word = &mut words[*place];
        for spelling in spellings {
            if !spelling.terms.iter().any(|(_, term)| *term == word.term) && !word.alternatives.contains(spelling) {
                word.alternatives.push(spelling.clone());
            }
        }
    }
}

impl From<Term> for QueryWord {
    fn from(term: Term) -> QueryWord {
        let Term { text: term, position, start, end } = term;
        QueryWord { start, end, term, position, alternatives: Vec::new() }
    }
}

/// A word of letters and digits cut into words that stand next to each other: at its borders between letters and digits
/// in every way, and once inside its digits (`dv71211ea` is `dv7 1211ea`).
fn cut_spellings(word: &str, stems: &Stems) -> Vec<Spelling> {
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
    cuts.iter().map(|cuts| Spelling { terms: parts(&chars, cuts, stems) }).collect()
}

fn parts(chars: &[char], cuts: &[usize], stems: &Stems) -> Vec<(usize, String)> {
    let starts = std::iter::once(0).chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain(std::iter::once(chars.len()));
    let mut place = 0;
    let part = |(start, end)| {
        let part: String = chars[start..end].iter().collect();
        let at = place;
        place += if has_halves(&chars[start..end]) { 2 } else { 1 };
        (at, stems.stem(part.clone(), &part))
    };
    starts.zip(ends).map(part).collect()
}

//! The terms of an item's text. Owns which spellings are indexed beside each other; not how a text is split.
//! Invariant: every term of the same text as a query is among them, at ascending positions.
//!
//! A word takes one position. A measure is indexed at its number's, a compound at its first word's. A word of letters and
//! digits such as `iphone13` takes two, those of `iphone` and `13`.

use super::fold::{Class, FoldedChar};
use super::joined::{self, Joined};
use super::stem::Stems;
use super::tokens::{Token, TokenKind, Word};
use super::units::UnitSpelling;
use super::{Script, Term, han, pairs};

/// Letters of a word such as `iphone13` from which on they are indexed as a word of their own; shorter ones (`dv7`) mean
/// nothing without their digits.
const MIN_STEM_LETTERS: usize = 3;

/// The terms of a text that was split into tokens.
pub(super) fn terms(text: &str, chars: &[FoldedChar], tokens: &[Token], stems: &Stems) -> Vec<Term> {
    let mut terms = Vec::with_capacity(tokens.len() * 2);
    let mut position = 0;
    for (number, token) in tokens.iter().enumerate() {
        let at = |start: usize, end: usize| (chars[start].start, chars[end - 1].end);
        let mut push = |text: String, position: usize, (start, end): (usize, usize)| {
            terms.push(Term { text, position, start, end });
        };
        let join = |joined: Option<Joined>| {
            joined.map(|joined| (joined_text(&joined, stems), at(token.start, tokens[joined.end - 1].end)))
        };
        match &token.kind {
            TokenKind::Word(word) => {
                let span = at(token.start, token.end);
                push(word_text(word, stems, &text[span.0..span.1]), position, span);
                for (joined, span) in
                    [join(joined::compound(chars, tokens, number)), join(joined::lone_letter(chars, tokens, number))]
                        .into_iter()
                        .flatten()
                {
                    push(joined, position, span);
                }
                match halves(word, chars, token) {
                    Some(halves) => {
                        for (position, (start, end)) in (position..).zip(halves) {
                            let span = at(start, end);
                            let part: String = chars[start..end].iter().map(|folded| folded.value).collect();
                            push(stems.stem(&part, &text[span.0..span.1]), position, span);
                        }
                        position += 2;
                    }
                    None => position += 1,
                }
            }
            TokenKind::Measure { number: value, number_end, name, unit } => {
                let number_span = at(token.start, *number_end);
                push(value.text.clone(), position, number_span);
                push(name.clone(), position, at(token.start, token.end));
                if let Some((joined, span)) = join(joined::compound(chars, tokens, number)) {
                    push(joined, position, span);
                }
                position += 1;
                if unit.spelling == UnitSpelling::Word {
                    let span = at(unit.start, unit.end);
                    let written: String = chars[unit.start..unit.end].iter().map(|folded| folded.value).collect();
                    push(stems.stem(&written, &text[span.0..span.1]), position, span);
                    position += 1;
                }
            }
            TokenKind::Pairs => position = pairs(&chars[token.start..token.end], position, &mut terms),
            TokenKind::Han(run) => {
                han::item_terms(run, position, &mut terms);
                position += run.len();
            }
        }
    }
    terms
}

/// Words of a text.
pub(super) fn length(chars: &[FoldedChar], script: Script) -> usize {
    let mut before = Class::Break;
    let mut count = 0;
    for folded in chars {
        let class = script.class(*folded);
        match class {
            Class::Word if before == Class::Word => {}
            Class::Mark | Class::Break => {}
            Class::Word | Class::Pair | Class::Han => count += 1,
        }
        // A mark goes on with the word before it.
        before = if class == Class::Mark { before } else { class };
    }
    count
}

/// The term of a word.
pub(super) fn word_text(word: &Word, stems: &Stems, written: &str) -> String {
    if word.has_digits { word.text.clone() } else { stems.stem(&word.text, written) }
}

/// The term of a joined spelling.
pub(super) fn joined_text(joined: &Joined, stems: &Stems) -> String {
    if joined.is_letters { stems.stem(&joined.text, &joined.text) } else { joined.text.clone() }
}

/// The two halves of a word that are worth a term each: its letters and digits, where they meet once (`iphone13`,
/// `14pro`), and the numbers of what may be a list (`38,40`).
pub(super) fn halves(word: &Word, chars: &[FoldedChar], token: &Token) -> Option<[(usize, usize); 2]> {
    let part = &chars[token.start..token.end];
    if word.list {
        let comma = token.start + part.iter().position(|folded| folded.value == ',')?;
        return (comma > token.start && comma + 1 < token.end)
            .then_some([(token.start, comma), (comma + 1, token.end)]);
    }
    if !(word.has_letters && word.has_digits) {
        return None;
    }
    let part: Vec<char> = part.iter().map(|folded| folded.value).collect();
    let middle = middle_of(&part)?;
    let middle = token.start + middle;
    Some([(token.start, middle), (middle, token.end)])
}

/// Whether a word of letters and digits takes two positions.
pub(super) fn has_halves(word: &[char]) -> bool {
    middle_of(word).is_some()
}

/// Where letters and digits meet, if they meet once and both halves are worth a term.
fn middle_of(word: &[char]) -> Option<usize> {
    let first = word.first()?.is_ascii_digit();
    let middle = word.iter().position(|value| value.is_ascii_digit() != first)?;
    let plain = |part: &[char], digits: bool| {
        part.iter().all(|value| value.is_ascii_digit() == digits && value.is_alphanumeric())
    };
    let letters = if first { word.len() - middle } else { middle };
    let worth = plain(&word[..middle], first)
        && plain(&word[middle..], !first)
        && letters >= MIN_STEM_LETTERS
        && word.len() <= super::MAX_TERM_CHARACTERS;
    worth.then_some(middle)
}

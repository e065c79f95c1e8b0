//! The terms of an item's text. Owns which spellings are indexed beside each other; not how a text is split.
//! Invariant: every term of the same text as a query is among them, at ascending positions.
//!
//! A word takes one position. A measure is indexed at its number's, a compound at its first word's. A word of letters and
//! digits such as `iphone13` takes two, those of `iphone` and `13`.

use std::mem::take;
use std::ops::Range;

use super::fold::{self, Class, FoldedChar};
use super::joined::{self, Joined};
use super::stem::Stems;
use super::tokens::{Measure, Token, TokenKind, Word};
use super::units::UnitSpelling;
use super::{Script, Term, han, pairs};

/// Letters of a word such as `iphone13` from which on they are indexed as a word of their own; shorter ones (`dv7`) mean
/// nothing without their digits.
const MIN_STEM_LETTERS: usize = 3;

/// The terms of a text that was split into tokens.
pub(super) fn terms(text: &str, chars: &[FoldedChar], mut tokens: Vec<Token>, stems: &Stems) -> Vec<Term> {
    let mut terms = Vec::with_capacity(tokens.len() + tokens.len() / 2);
    let mut position = 0;
    for number in 0..tokens.len() {
        let compound = joined::compound(chars, &tokens, number);
        let lone_letter = joined::lone_letter(chars, &tokens, number);
        // No later token looks at the text of this one.
        let token = &mut tokens[number];
        let (start, end) = (token.start, token.end);
        let at = |start: usize, end: usize| (chars[start].start, chars[end - 1].end);
        let mut push = |text: String, position: usize, (start, end): (usize, usize)| {
            terms.push(Term { text, position, start, end });
        };
        match &mut token.kind {
            TokenKind::Word(word) => {
                let span = at(start, end);
                let (has_digits, halves) = (word.has_digits, halves(word, chars, start..end));
                push(word_text(take(&mut word.text), has_digits, stems, &text[span.0..span.1]), position, span);
                for joined in [compound, lone_letter].into_iter().flatten() {
                    push(joined_text(&joined, stems), position, at(start, tokens[joined.end - 1].end));
                }
                match halves {
                    Some(halves) => {
                        for (position, (start, end)) in (position..).zip(halves) {
                            let span = at(start, end);
                            let part: String = chars[start..end].iter().map(|folded| folded.value).collect();
                            push(stems.stem(part, &text[span.0..span.1]), position, span);
                        }
                        position += 2;
                    }
                    None => position += 1,
                }
            }
            TokenKind::Measure(measure) => {
                let Measure { number: value, number_end, name, unit } = &mut **measure;
                let unit = *unit;
                push(take(&mut value.text), position, at(start, *number_end));
                push(take(name), position, at(start, end));
                if let Some(joined) = compound {
                    push(joined_text(&joined, stems), position, at(start, tokens[joined.end - 1].end));
                }
                position += 1;
                if unit.spelling == UnitSpelling::Word {
                    let span = at(unit.start, unit.end);
                    let written: String = chars[unit.start..unit.end].iter().map(|folded| folded.value).collect();
                    push(stems.stem(written, &text[span.0..span.1]), position, span);
                    position += 1;
                }
            }
            TokenKind::Pairs => position = pairs(&chars[start..end], position, &mut terms),
            TokenKind::Han(run) => {
                han::item_terms(run, position, &mut terms);
                position += run.len();
            }
        }
    }
    terms
}

/// Words of a text.
pub(super) fn length(text: &str, script: Script) -> usize {
    if text.is_ascii() {
        // Folding changes no class then, so it can be left out.
        let mut in_word = false;
        let begins_word = |byte: u8| {
            let was_in_word = std::mem::replace(&mut in_word, byte.is_ascii_alphanumeric());
            in_word && !was_in_word
        };
        return text.bytes().map(begins_word).filter(|begins| *begins).count();
    }
    let mut before = Class::Break;
    let mut count = 0;
    for folded in fold::fold(text) {
        let class = script.class(folded);
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

/// The term of a word that is written so in the text.
pub(super) fn word_text(word: String, has_digits: bool, stems: &Stems, written: &str) -> String {
    if has_digits { word } else { stems.stem(word, written) }
}

/// The term of a joined spelling.
pub(super) fn joined_text(joined: &Joined, stems: &Stems) -> String {
    let text = joined.text.clone();
    if joined.is_letters { stems.stem(text, &joined.text) } else { text }
}

/// The two halves of a word over `place` that are worth a term each: its letters and digits, where they meet once
/// (`iphone13`, `14pro`), and the numbers of what may be a list (`38,40`).
pub(super) fn halves(word: &Word, chars: &[FoldedChar], place: Range<usize>) -> Option<[(usize, usize); 2]> {
    let Range { start, end } = place;
    let part = &chars[start..end];
    if word.list {
        let comma = start + part.iter().position(|folded| folded.value == ',')?;
        return (comma > start && comma + 1 < end).then_some([(start, comma), (comma + 1, end)]);
    }
    if !(word.has_letters && word.has_digits) {
        return None;
    }
    let middle = start + middle_of(part, |folded| folded.value)?;
    Some([(start, middle), (middle, end)])
}

/// Whether a word of letters and digits takes two positions.
pub(super) fn has_halves(word: &[char]) -> bool {
    middle_of(word, |value| *value).is_some()
}

/// Where letters and digits meet, if they meet once and both halves are worth a term.
fn middle_of<T>(word: &[T], value: impl Fn(&T) -> char) -> Option<usize> {
    let is_digit = |of: &T| value(of).is_ascii_digit();
    let first = is_digit(word.first()?);
    let middle = word.iter().position(|of| is_digit(of) != first)?;
    let plain = |part: &[T], digits: bool| part.iter().all(|of| is_digit(of) == digits && value(of).is_alphanumeric());
    let letters = if first { word.len() - middle } else { middle };
    let worth = plain(&word[..middle], first)
        && plain(&word[middle..], !first)
        && letters >= MIN_STEM_LETTERS
        && word.len() <= super::MAX_TERM_CHARACTERS;
    worth.then_some(middle)
}

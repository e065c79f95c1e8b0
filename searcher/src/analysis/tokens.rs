//! Splitting folded characters into words, measures and runs of other scripts. Owns where each begins and ends; not which
//! terms become of them (`item.rs`, `query.rs`). Invariant: an item and a query are split alike, except that an item's
//! run of Han characters keeps the unit at its start (`15.6英寸屏`), because the run is found by every character of it.

use super::fold::{Class, FoldedChar};
use super::numbers::{self, Number, Place};
use super::stem::Stems;
use super::units::{self, UnitAfter, UnitSpelling};
use super::{MAX_TERM_CHARACTERS, Script, Side, han, is_possessive};

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    /// First folded character, and the one after the last.
    pub(super) start: usize,
    pub(super) end: usize,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A run of letters and digits, with the dot of a decimal number.
    Word(Word),
    /// A number with its unit; boxed, so that a list of words is small.
    Measure(Box<Measure>),
    /// A run of kana or hangul.
    Pairs,
    /// A run of Han characters, without the white space in it.
    Han(Vec<FoldedChar>),
}

/// A number with its unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Measure {
    pub(super) number: Word,
    /// The character after the number.
    pub(super) number_end: usize,
    /// The number and the unit's name.
    pub(super) name: String,
    pub(super) unit: UnitAfter,
}

/// Bytes that are reserved for a word: as many as the smallest allocation of a common allocator has.
const WORD_BYTES: usize = 24;

/// Letters and digits in one spelling; at most [`MAX_TERM_CHARACTERS`] of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) has_letters: bool,
    pub(super) has_digits: bool,
    /// Whether it may be a list of two numbers: `38,40`.
    pub(super) list: bool,
    /// Characters of `text`.
    length: usize,
}

impl Word {
    fn new() -> Word {
        let text = String::with_capacity(WORD_BYTES);
        Word { text, has_letters: false, has_digits: false, list: false, length: 0 }
    }

    fn push(&mut self, folded: FoldedChar) {
        if folded.value.is_ascii_digit() {
            self.has_digits = true;
        } else {
            self.has_letters = true;
        }
        self.push_char(folded.value);
    }

    fn push_number(&mut self, number: &Number) {
        self.has_digits = true;
        self.list |= number.list;
        number.text.chars().for_each(|value| self.push_char(value));
    }

    fn push_char(&mut self, value: char) {
        if self.length < MAX_TERM_CHARACTERS {
            self.text.push(value);
            self.length += 1;
        }
    }
}

/// Splits a text.
pub(super) fn tokens(chars: &[FoldedChar], script: Script, stems: &Stems, side: Side) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(chars.len() / 5);
    let mut at = 0;
    let mut quoted = false;
    while at < chars.len() {
        let start = at;
        let kind = match script.class(chars[at]) {
            Class::Break | Class::Mark if chars[at].value == '.' => {
                let Some(number) = numbers::after_point(chars, at) else {
                    at += 1;
                    continue;
                };
                word(chars, start, Some(number), script, quoted)
            }
            Class::Break | Class::Mark if chars[at].value == '×' => {
                let x = FoldedChar { value: 'x', ..chars[at] };
                let mut word = Word::new();
                word.push(x);
                (TokenKind::Word(word), at + 1)
            }
            Class::Break | Class::Mark => {
                quoted = match chars[at].value {
                    '"' => !quoted,
                    '\u{201C}' => true,
                    '\u{201D}' => false,
                    _ => quoted,
                };
                at += 1;
                continue;
            }
            Class::Word => word(chars, start, None, script, quoted),
            Class::Pair => {
                let more = chars[at..].iter().take_while(|next| script.class(**next) == Class::Pair).count();
                (TokenKind::Pairs, at + more)
            }
            Class::Han => {
                let (run, end) = han::run(chars, start);
                (TokenKind::Han(run), end)
            }
        };
        let (kind, end) = kind;
        at = end;
        if stems.drops_possessive() && is_possessive(chars, start, end) {
            continue;
        }
        // The unit at the start of an item's run is read again with the run.
        if let TokenKind::Measure(measure) = &kind
            && measure.unit.spelling == UnitSpelling::Han
            && side == Side::Item
            && script.has_han()
        {
            at = measure.unit.start;
        }
        tokens.push(Token { kind, start, end });
    }
    tokens
}

/// The word or measure from `start`, which begins with `number` where that was read already.
fn word(
    chars: &[FoldedChar],
    start: usize,
    number: Option<Number>,
    script: Script,
    quoted: bool,
) -> (TokenKind, usize) {
    let mut word = Word::new();
    let mut at = start;
    if number.is_some() || chars[at].value.is_ascii_digit() {
        let number = number.unwrap_or_else(|| numbers::number(chars, at, Place::Start));
        word.push_number(&number);
        at = number.end;
        if let Some(unit) = units::unit_after(chars, at, quoted) {
            let name = format!("{}{}", word.text, unit.name);
            // What is cut would not be told apart.
            if name.chars().count() <= MAX_TERM_CHARACTERS {
                let measure = Measure { number: word, number_end: at, name, unit };
                return (TokenKind::Measure(Box::new(measure)), unit.end);
            }
        }
    }
    while at < chars.len() && matches!(script.class(chars[at]), Class::Word | Class::Mark) {
        if chars[at].value.is_ascii_digit() && !chars[at - usize::from(at > start)].value.is_ascii_digit() {
            let number = numbers::number(chars, at, Place::AfterLetters);
            word.push_number(&number);
            at = number.end;
        } else {
            word.push(chars[at]);
            at += 1;
        }
    }
    (TokenKind::Word(word), at)
}

/// What stands between two tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// A hyphen.
    Hyphen,
    /// A slash, dot or underscore.
    Sign,
    /// One space.
    Space,
    /// Nothing: digits that are no part of the number before them.
    Nothing,
    /// Anything else.
    Other,
}

/// The gap between two tokens that follow each other.
pub(super) fn gap(chars: &[FoldedChar], before: &Token, after: &Token) -> Gap {
    // A unit in Han characters separates as they do, with and without spaces behind it.
    if let TokenKind::Measure(measure) = &before.kind
        && measure.unit.spelling == UnitSpelling::Han
    {
        return Gap::Other;
    }
    match chars.get(before.end..after.start) {
        Some([]) => Gap::Nothing,
        Some([only]) => match only.value {
            '-' | '\u{2010}' | '\u{2011}' | '\u{2013}' => Gap::Hyphen,
            '/' | '.' | '_' => Gap::Sign,
            value if value.is_whitespace() => Gap::Space,
            _ => Gap::Other,
        },
        Some(_) | None => Gap::Other,
    }
}

impl Token {
    /// What the token puts into a joined spelling: a word's or a measure's text.
    pub(super) fn joint(&self) -> Option<Joint<'_>> {
        match &self.kind {
            TokenKind::Word(word) => {
                Some(Joint { text: &word.text, has_letters: word.has_letters, has_digits: word.has_digits })
            }
            TokenKind::Measure(measure) => Some(Joint { text: &measure.name, has_letters: true, has_digits: true }),
            TokenKind::Pairs | TokenKind::Han(_) => None,
        }
    }
}

/// A part of a joined spelling.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joint<'a> {
    pub(super) text: &'a str,
    pub(super) has_letters: bool,
    pub(super) has_digits: bool,
}

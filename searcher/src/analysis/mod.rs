//! Text to terms. Owns the analyzers; not which field uses which. Invariant: the same analyzer is used for a field's
//! text at night and for a query's text, and never fails on any text.
//!
//! Characters are folded first (`fold.rs`: NFKC, lower case, no diacritics on Latin and Greek letters), then split
//! (`tokens.rs`) into words (runs of letters and digits, with the point of a decimal number) and measures (a number with
//! its unit). `English` drops a possessive `'s` and stems (`stem.rs`). All but `Simple` cut runs of Han characters by
//! dictionary (`han.rs`), and kana and hangul into overlapping pairs of characters.
//!
//! One thing is written in many ways: `dv7-1211ea`, `dv7 1211ea`, `dv71211ea`; `15.6"`, `15.6 inch`, `15.6英寸`. Numbers
//! (`numbers.rs`) and units (`units.rs`) have one spelling here. An item is given the joined spelling of a compound beside
//! its parts (`item.rs`); a query names for each word the other spellings that an item may have (`query.rs`), and for quoted
//! words every way in which they stand next to each other (`phrases.rs`).
//!
//! A run of Han characters has many readings: an item is given all of them and a query the likeliest.
//! Invariant: the terms of a query are found in every item whose text contains the query's Han run.
//!
//! What terms a text has is part of the format: a snapshot's [`AnalysisVersion`] says by which rules it was indexed.

mod first_version;
mod fold;
mod han;
mod item;
mod joined;
mod numbers;
mod phrases;
mod query;
mod stem;
mod tokens;
mod units;

use schemas::manifest::{AnalysisVersion, AnalyzerKind};

use fold::{Class, FoldedChar};
pub use phrases::{MAX_PHRASE_WORDS, MAX_PHRASES};
use query::Reading;
use stem::Stems;

/// Characters of a term that are kept; what follows is cut, in items and queries alike. No word of a language is that
/// long; what is are codes and addresses, told apart well enough by so many.
pub const MAX_TERM_CHARACTERS: usize = 64;

/// One term of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// The term as it is indexed.
    pub text: String,
    /// Place among the text's terms, from 0; several terms may share one.
    pub position: usize,
    /// Byte offsets of its surface form in the text.
    pub start: usize,
    /// End of the surface form, exclusive.
    pub end: usize,
}

/// One thing that a query names, with every way in which an item may have it written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryWord {
    /// Byte offsets of its surface form in the text.
    pub start: usize,
    /// End of the surface form, exclusive.
    pub end: usize,
    /// The term as it is indexed.
    pub term: String,
    /// Its place among the terms that the same text has as an item's, from 0.
    pub position: usize,
    /// Other spellings of the word, or of several words of the query with this one among them.
    pub alternatives: Vec<Spelling>,
}

/// Another spelling of a [`QueryWord`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spelling {
    /// One term, or several with their places relative to the first one's.
    pub terms: Vec<(usize, String)>,
}

/// An analyzer. Cheap to clone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Analyzer {
    kind: AnalyzerKind,
    version: AnalysisVersion,
}

/// Whose text it is: decides which readings become terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Item,
    Query,
}

/// Which characters an analyzer takes for words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Script(AnalyzerKind);

impl Analyzer {
    /// The analyzer of that kind, by the rules of today.
    #[must_use]
    pub fn new(kind: AnalyzerKind) -> Analyzer {
        Analyzer::of_version(kind, AnalysisVersion::default())
    }

    /// The analyzer of that kind, by the rules of a version.
    #[must_use]
    pub fn of_version(kind: AnalyzerKind, version: AnalysisVersion) -> Analyzer {
        Analyzer { kind, version }
    }

    /// The terms of an item's text, ordered by position. Of a Han run: every character and every dictionary word in it.
    #[must_use]
    pub fn terms(&self, text: &str) -> Vec<Term> {
        let chars = fold::fold(text);
        let stems = Stems::of(self.kind);
        match self.version {
            AnalysisVersion::V1 => first_version::terms(text, &chars, Script(self.kind), &stems, Side::Item),
            AnalysisVersion::V2 => {
                let tokens = tokens::tokens(&chars, Script(self.kind), &stems, Side::Item);
                item::terms(text, &chars, tokens, &stems)
            }
        }
    }

    /// Words of a text, as BM25 counts its length: runs of letters and digits, characters of other scripts. Spellings
    /// that are indexed beside each other do not make a text longer.
    #[must_use]
    pub fn length(&self, text: &str) -> usize {
        match self.version {
            AnalysisVersion::V1 => self.terms(text).len(),
            AnalysisVersion::V2 => item::length(text, Script(self.kind)),
        }
    }

    /// The terms of a query's text in its order: those of [`Analyzer::query_words`] without their other spellings.
    #[must_use]
    pub fn query_terms(&self, text: &str) -> Vec<Term> {
        let term = |word: QueryWord| {
            let QueryWord { start, end, term: text, position, alternatives: _ } = word;
            Term { text, position, start, end }
        };
        self.query_words(text).into_iter().map(term).collect()
    }

    /// The words of a query's text in its order. Of a Han run: the words of its likeliest segmentation, their shorter
    /// words, and the characters that no word covers.
    #[must_use]
    pub fn query_words(&self, text: &str) -> Vec<QueryWord> {
        self.read_query(text).words
    }

    /// The ways in which an item may have all the words of a query's text next to each other, each as terms with their
    /// places: the words as they are first, then with words in other spellings. None where the text has no word. At most
    /// [`MAX_PHRASES`]; of a text of more than [`MAX_PHRASE_WORDS`] words only the first.
    #[must_use]
    pub fn query_phrases(&self, text: &str) -> Vec<Vec<(usize, String)>> {
        phrases::phrases(&self.read_query(text))
    }

    fn read_query(&self, text: &str) -> Reading {
        let chars = fold::fold(text);
        let stems = Stems::of(self.kind);
        match self.version {
            AnalysisVersion::V1 => {
                let terms = first_version::terms(text, &chars, Script(self.kind), &stems, Side::Query);
                Reading { words: terms.into_iter().map(QueryWord::from).collect(), spellings: Vec::new() }
            }
            AnalysisVersion::V2 => {
                let tokens = tokens::tokens(&chars, Script(self.kind), &stems, Side::Query);
                query::read(text, &chars, &tokens, Script(self.kind), &stems)
            }
        }
    }
}

impl Script {
    /// The class of a character; the simple analyzer knows words only.
    fn class(self, folded: FoldedChar) -> Class {
        let class = fold::class(folded.value);
        match (self.has_han(), class) {
            (false, Class::Han | Class::Pair) => Class::Word,
            (_, class) => class,
        }
    }

    /// Whether runs of Han characters are cut by dictionary.
    fn has_han(self) -> bool {
        self.0 != AnalyzerKind::Simple
    }
}

/// A term over `chars`, which must not be empty.
fn term(chars: &[FoldedChar], position: usize) -> Term {
    let text = chars.iter().take(MAX_TERM_CHARACTERS).map(|folded| folded.value).collect();
    Term { text, position, start: chars[0].start, end: chars[chars.len() - 1].end }
}

/// Whether the word is the `s` of `men's`.
fn is_possessive(chars: &[FoldedChar], start: usize, end: usize) -> bool {
    end - start == 1
        && chars[start].value == 's'
        && start >= 2
        && matches!(chars[start - 1].value, '\'' | '\u{2019}')
        && fold::class(chars[start - 2].value) == Class::Word
}

/// Overlapping pairs of characters (a character that stands alone stays one); gives the next position.
fn pairs(chars: &[FoldedChar], position: usize, terms: &mut Vec<Term>) -> usize {
    if let [only] = chars {
        terms.push(term(&[*only], position));
    }
    terms.extend(chars.windows(2).zip(position..).map(|(pair, position)| term(pair, position)));
    position + chars.len()
}

#[cfg(test)]
mod spelling_tests;
#[cfg(test)]
mod tests;

//! Our analyzers as tantivy tokenizers. Owns the adapter and the names under which a schema refers to analyzers.
//! Invariant: tantivy indexes exactly the terms that [`Analyzer::terms`] gives, with the analyzer of the item's language,
//! and counts [`Analyzer::length`] words.
//!
//! Where items have languages, the writer puts one private-use character before a text, which names the analyzer and is no
//! part of the text: tantivy's thread analyses, so it has to be told there.
//!
//! tantivy's field norms count every indexed term, so an item would get longer by each spelling of its model number. From
//! the second version of the analysis on, lengths are those of a field of their own, which has one term, `w`, once for
//! each word: a posting and a byte for each item.

use schemas::manifest::{AnalysisVersion, AnalyzerKind, KeywordManifest};
use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

use crate::analysis::{Analyzer, Term};

/// The one term of a field of lengths.
const LENGTH_TERM: &str = "w";

/// The name of an analyzer in the tantivy schema; the first version's have no number.
pub(super) fn name(kind: AnalyzerKind, manifest: &KeywordManifest) -> String {
    match manifest.analysis {
        AnalysisVersion::V1 => format!("catalens_{}", kind.name()),
        AnalysisVersion::V2 => {
            let languages = manifest.languages.iter().flat_map(|languages| &languages.analyzers);
            let languages: String = languages.map(|(code, kind)| format!("_{code}={}", kind.name())).collect();
            format!("catalens_{}_2{languages}", kind.name())
        }
    }
}

/// The analyzers of a field: its own, then those of the languages in their order; some may be equal.
pub(super) fn analyzers(kind: AnalyzerKind, manifest: &KeywordManifest) -> Vec<Analyzer> {
    let languages = manifest.languages.iter().flat_map(|languages| languages.analyzers.values().copied());
    std::iter::once(kind).chain(languages).map(|kind| Analyzer::of_version(kind, manifest.analysis)).collect()
}

/// The character before a text that is to be analysed by a field's analyzer of that number.
pub(super) fn mark(analyzer: usize) -> char {
    u32::try_from(analyzer)
        .ok()
        .and_then(|number| char::from_u32(FIRST_MARK + number))
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Supplementary private-use area A.
const FIRST_MARK: u32 = 0xF_0000;

/// The analyzer of a text and the text without its mark.
fn choose<'a>(analyzers: &[Analyzer], text: &'a str) -> (Analyzer, &'a str) {
    if let [only] = analyzers {
        return (*only, text);
    }
    let mut chars = text.chars();
    let number = chars.next().and_then(|mark| u32::from(mark).checked_sub(FIRST_MARK));
    let chosen = number.and_then(|number| analyzers.get(number as usize)).unwrap_or(&analyzers[0]);
    (*chosen, chars.as_str())
}

/// The name of the tokenizer of a field's lengths.
pub(super) fn length_name(kind: AnalyzerKind, manifest: &KeywordManifest) -> String {
    format!("{}_length", name(kind, manifest))
}

/// Registers the analyzers of an index; needed for writing only.
pub(super) fn register(index: &tantivy::Index, manifest: &KeywordManifest) {
    for field in &manifest.fields {
        let analyzers = analyzers(field.analyzer, manifest);
        index.tokenizers().register(&name(field.analyzer, manifest), TermTokenizer(analyzers.clone()));
        index.tokenizers().register(&length_name(field.analyzer, manifest), LengthTokenizer(analyzers));
    }
}

#[derive(Clone)]
struct TermTokenizer(Vec<Analyzer>);

impl Tokenizer for TermTokenizer {
    type TokenStream<'a> = TermStream;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> TermStream {
        let (analyzer, text) = choose(&self.0, text);
        TermStream { terms: analyzer.terms(text).into_iter(), token: Token::default() }
    }
}

struct TermStream {
    terms: std::vec::IntoIter<Term>,
    token: Token,
}

impl TokenStream for TermStream {
    fn advance(&mut self) -> bool {
        let Some(Term { text, position, start, end }) = self.terms.next() else { return false };
        self.token = Token { offset_from: start, offset_to: end, position, text, position_length: 1 };
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

#[derive(Clone)]
struct LengthTokenizer(Vec<Analyzer>);

impl Tokenizer for LengthTokenizer {
    type TokenStream<'a> = LengthStream;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> LengthStream {
        let (analyzer, text) = choose(&self.0, text);
        LengthStream { left: analyzer.length(text), token: Token { text: LENGTH_TERM.to_owned(), ..Token::default() } }
    }
}

struct LengthStream {
    left: usize,
    token: Token,
}

impl TokenStream for LengthStream {
    fn advance(&mut self) -> bool {
        self.token.position = self.token.position.wrapping_add(1);
        let more = self.left > 0;
        self.left = self.left.saturating_sub(1);
        more
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

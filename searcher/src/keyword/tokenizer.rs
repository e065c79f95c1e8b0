//! Our analyzers as tantivy tokenizers. Owns the adapter and the names under which a schema refers to analyzers.
//! Invariant: tantivy indexes exactly the terms that [`Analyzer::terms`] gives, with the analyzer of the item's language,
//! and counts [`Analyzer::length`] words.
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
        AnalysisVersion::V2 => format!("catalens_{}_2", kind.name()),
    }
}

/// The name of the tokenizer of a field's lengths.
pub(super) fn length_name(kind: AnalyzerKind, manifest: &KeywordManifest) -> String {
    format!("{}_length", name(kind, manifest))
}

/// Registers the analyzers of an index; needed for writing only.
pub(super) fn register(index: &tantivy::Index, manifest: &KeywordManifest) {
    for field in &manifest.fields {
        let analyzer = Analyzer::of_version(field.analyzer, manifest.analysis);
        index.tokenizers().register(&name(field.analyzer, manifest), TermTokenizer(analyzer));
        index.tokenizers().register(&length_name(field.analyzer, manifest), LengthTokenizer(analyzer));
    }
}

#[derive(Clone)]
struct TermTokenizer(Analyzer);

impl Tokenizer for TermTokenizer {
    type TokenStream<'a> = TermStream;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> TermStream {
        TermStream { terms: self.0.terms(text).into_iter(), token: Token::default() }
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
struct LengthTokenizer(Analyzer);

impl Tokenizer for LengthTokenizer {
    type TokenStream<'a> = LengthStream;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> LengthStream {
        LengthStream { left: self.0.length(text), token: Token { text: LENGTH_TERM.to_owned(), ..Token::default() } }
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

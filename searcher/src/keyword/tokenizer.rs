//! Our analyzers as tantivy tokenizers. Owns the adapter and the names under which a schema refers to analyzers.
//! Invariant: tantivy indexes exactly the terms that [`Analyzer::terms`] gives.

use schemas::manifest::AnalyzerKind;
use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

use crate::analysis::{Analyzer, Term};

/// The name of an analyzer in the tantivy schema.
pub(super) fn name(kind: AnalyzerKind) -> &'static str {
    match kind {
        AnalyzerKind::Simple => "catalens_simple",
        AnalyzerKind::English => "catalens_english",
        AnalyzerKind::Chinese => "catalens_chinese",
    }
}

/// Registers every analyzer; needed for writing only.
pub(super) fn register(index: &tantivy::Index) {
    for kind in [AnalyzerKind::Simple, AnalyzerKind::English, AnalyzerKind::Chinese] {
        index.tokenizers().register(name(kind), AnalyzerTokenizer(Analyzer::new(kind)));
    }
}

#[derive(Clone)]
struct AnalyzerTokenizer(Analyzer);

impl Tokenizer for AnalyzerTokenizer {
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

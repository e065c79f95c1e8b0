//! Text to terms. Owns the analyzers; not which field uses which. Invariant: the same analyzer is used for a field's
//! text at night and for a query's text, and never fails on any text.
//!
//! Characters are folded first (`fold.rs`: NFKC, lower case, no diacritics on Latin and Greek letters), then split into
//! words: runs of letters and digits. So `USB-C`, `15.6` and `3/4` become their parts, and `iPhone13` stays whole.
//! `English` drops a possessive `'s` and stems (Snowball's English stemmer, Porter 2001). `English` and `Chinese` cut
//! runs of Han characters by dictionary (`han.rs`), and kana and hangul into overlapping pairs of characters.
//!
//! A text of an item and a text of a query are treated alike but for one thing: a run of Han characters has many
//! readings, an item is given all of them ([`Analyzer::terms`]) and a query the likeliest ([`Analyzer::query_terms`]).
//! Invariant: the terms of a query are found in every item whose text contains the query's Han run.

mod fold;
mod han;

use rust_stemmers::{Algorithm, Stemmer};
use schemas::manifest::AnalyzerKind;

use fold::{Class, FoldedChar};

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

/// An analyzer. Cheap to clone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Analyzer {
    kind: AnalyzerKind,
}

/// Whose text it is: decides which readings of a Han run become terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Item,
    Query,
}

impl Analyzer {
    /// The analyzer of that kind.
    #[must_use]
    pub fn new(kind: AnalyzerKind) -> Analyzer {
        Analyzer { kind }
    }

    /// The terms of an item's text, ordered by position. Of a Han run: every character and every dictionary word in it.
    #[must_use]
    pub fn terms(&self, text: &str) -> Vec<Term> {
        self.run(text, Side::Item)
    }

    /// The terms of a query's text, ordered by position. Of a Han run: the words of its likeliest segmentation, their
    /// shorter words, and the characters that no word covers.
    #[must_use]
    pub fn query_terms(&self, text: &str) -> Vec<Term> {
        self.run(text, Side::Query)
    }

    fn run(&self, text: &str, side: Side) -> Vec<Term> {
        let chars = fold::fold(text);
        let stemmer = (self.kind == AnalyzerKind::English).then(|| Stemmer::create(Algorithm::English));
        let mut terms = Vec::with_capacity(chars.len() / 5);
        let mut position = 0;
        let mut at = 0;
        while at < chars.len() {
            let class = self.class(chars[at]);
            let mut end = at + 1;
            match class {
                Class::Break | Class::Mark => {}
                Class::Word => {
                    while end < chars.len() && matches!(self.class(chars[end]), Class::Word | Class::Mark) {
                        end += 1;
                    }
                    if !(stemmer.is_some() && is_possessive(&chars, at, end)) {
                        terms.push(word(&chars[at..end], position, stemmer.as_ref()));
                        position += 1;
                    }
                }
                Class::Pair => {
                    while end < chars.len() && self.class(chars[end]) == Class::Pair {
                        end += 1;
                    }
                    position = pairs(&chars[at..end], position, &mut terms);
                }
                Class::Han => {
                    // White space between Han characters does not separate words in Chinese: a query means the same
                    // with and without it.
                    let mut run = vec![chars[at]];
                    let mut ahead = end;
                    while ahead < chars.len() {
                        if self.class(chars[ahead]) == Class::Han {
                            run.push(chars[ahead]);
                            end = ahead + 1;
                        } else if !chars[ahead].value.is_whitespace() {
                            break;
                        }
                        ahead += 1;
                    }
                    match side {
                        Side::Item => han::item_terms(&run, position, &mut terms),
                        Side::Query => han::query_terms(&run, position, &mut terms),
                    }
                    position += run.len();
                }
            }
            at = end;
        }
        terms
    }

    /// The class of a character; the simple analyzer knows words only.
    fn class(&self, folded: FoldedChar) -> Class {
        let class = fold::class(folded.value);
        match (self.kind, class) {
            (AnalyzerKind::Simple, Class::Han | Class::Pair) => Class::Word,
            (_, class) => class,
        }
    }
}

/// A term over `chars`, which must not be empty.
fn term(chars: &[FoldedChar], position: usize) -> Term {
    let text = chars.iter().take(MAX_TERM_CHARACTERS).map(|folded| folded.value).collect();
    Term { text, position, start: chars[0].start, end: chars[chars.len() - 1].end }
}

fn word(chars: &[FoldedChar], position: usize, stemmer: Option<&Stemmer>) -> Term {
    let mut term = term(chars, position);
    if let Some(stemmer) = stemmer
        && term.text.bytes().all(|byte| byte.is_ascii_lowercase())
    {
        term.text = stemmer.stem(&term.text).into_owned();
    }
    term
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(kind: AnalyzerKind, text: &str) -> Vec<String> {
        Analyzer::new(kind).terms(text).into_iter().map(|term| term.text).collect()
    }

    fn query_texts(kind: AnalyzerKind, text: &str) -> Vec<String> {
        Analyzer::new(kind).query_terms(text).into_iter().map(|term| term.text).collect()
    }

    #[test]
    fn words_are_folded_and_split() {
        let terms = Analyzer::new(AnalyzerKind::Simple).terms("USB-C Ｃafé® 15.6\" iPhone13 a@b/c");
        let found: Vec<&str> = terms.iter().map(|term| term.text.as_str()).collect();
        assert_eq!(found, ["usb", "c", "cafe", "15", "6", "iphone13", "a", "b", "c"]);
        assert_eq!(terms.iter().map(|term| term.position).collect::<Vec<_>>(), (0..9).collect::<Vec<_>>());
        assert_eq!((terms[2].start, terms[2].end), (6, 13));
    }

    #[test]
    fn english_stems_and_drops_the_possessive() {
        assert_eq!(texts(AnalyzerKind::English, "Men’s running shoes"), ["men", "run", "shoe"]);
        assert_eq!(texts(AnalyzerKind::English, "women's watches 4ks 's"), ["women", "watch", "4ks", "s"]);
        assert_eq!(texts(AnalyzerKind::Simple, "Men's shoes"), ["men", "s", "shoes"]);
        assert_eq!(texts(AnalyzerKind::Chinese, "running shoes"), ["running", "shoes"]);
    }

    #[test]
    fn a_single_han_character_is_found_in_a_compound() {
        for kind in [AnalyzerKind::Chinese, AnalyzerKind::English] {
            let item = texts(kind, "陶瓷马克杯");
            for query in ["杯", "陶瓷", "马克", "马克杯", "陶瓷 马克杯"] {
                for term in query_texts(kind, query) {
                    assert!(item.contains(&term), "{query}: {term} not in {item:?}");
                }
            }
        }
    }

    #[test]
    fn a_query_takes_words_and_not_their_characters() {
        assert_eq!(query_texts(AnalyzerKind::Chinese, "蓝牙耳机"), ["蓝牙", "耳机"]);
        assert_eq!(query_texts(AnalyzerKind::Chinese, "杯"), ["杯"]);
    }

    #[test]
    fn white_space_in_chinese_changes_nothing() {
        for (with, without) in [("蓝牙 耳机", "蓝牙耳机"), ("无线　充电 器", "无线充电器")] {
            assert_eq!(query_texts(AnalyzerKind::Chinese, with), query_texts(AnalyzerKind::Chinese, without));
            assert_eq!(texts(AnalyzerKind::Chinese, with), texts(AnalyzerKind::Chinese, without));
        }
    }

    #[test]
    fn mixed_scripts_are_cut_at_their_borders() {
        let found = query_texts(AnalyzerKind::English, "Sony耳机WH-1000XM4");
        assert_eq!(found, ["soni", "耳机", "wh", "1000xm4"]);
    }

    #[test]
    fn kana_and_hangul_become_pairs() {
        assert_eq!(texts(AnalyzerKind::Chinese, "イヤホン"), ["イヤ", "ヤホ", "ホン"]);
        assert_eq!(texts(AnalyzerKind::English, "ｲﾔ"), ["イヤ"]);
        assert_eq!(texts(AnalyzerKind::Chinese, "이어폰"), ["이어", "어폰"]);
        assert_eq!(texts(AnalyzerKind::Simple, "イヤホン 耳机"), ["イヤホン", "耳机"]);
    }

    #[test]
    fn long_terms_are_cut() {
        let terms = texts(AnalyzerKind::Simple, &"x".repeat(1000));
        assert_eq!(terms, ["x".repeat(MAX_TERM_CHARACTERS)]);
    }

    #[test]
    fn nothing_comes_of_nothing() {
        for text in ["", "  \n", "--- !", "\u{300}", "\u{feff}"] {
            assert!(texts(AnalyzerKind::English, text).is_empty(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_terms_inside_it(text in "\\PC*|[a-z'’ é马克杯蓝牙耳机イ이\u{301}\u{200d}]{0,24}") {
            for kind in [AnalyzerKind::Simple, AnalyzerKind::English, AnalyzerKind::Chinese] {
                let analyzer = Analyzer::new(kind);
                for terms in [analyzer.terms(&text), analyzer.query_terms(&text)] {
                    for term in &terms {
                        prop_assert!(!term.text.is_empty() && term.start < term.end);
                        prop_assert!(text.get(term.start..term.end).is_some(), "{term:?}");
                    }
                    prop_assert!(terms.windows(2).all(|pair| pair[0].position <= pair[1].position));
                }
            }
        }

        #[test]
        fn a_query_is_found_where_it_stands(
            before in "[无线运动陶瓷a ]{0,4}", query in "[马克杯蓝牙耳机充电大学生北京 ]{1,8}", after in "[子器套b ]{0,4}",
        ) {
            let analyzer = Analyzer::new(AnalyzerKind::Chinese);
            let item = texts(AnalyzerKind::Chinese, &format!("{before}{query}{after}"));
            for term in analyzer.query_terms(&query) {
                prop_assert!(item.contains(&term.text), "{} not in {item:?}", term.text);
            }
        }
    }
}

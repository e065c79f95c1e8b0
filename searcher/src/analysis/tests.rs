//! Analyzers as a whole: scripts, folding, positions.

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
    let terms = Analyzer::new(AnalyzerKind::Simple).query_terms("USB, Ｃafé® 15.6 iPhone13 a@b/c");
    let found: Vec<&str> = terms.iter().map(|term| term.text.as_str()).collect();
    assert_eq!(found, ["usb", "cafe", "15.6", "iphone13", "a", "b", "c"]);
    assert_eq!(terms.iter().map(|term| term.position).collect::<Vec<_>>(), [0, 1, 2, 3, 5, 6, 7], "iphone13 takes two");
    assert_eq!((terms[1].start, terms[1].end), (5, 12));
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
        for kind in AnalyzerKind::ALL {
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

#[test]
fn every_part_of_a_mixed_text_finds_it() {
    let item = "蓝色T恤 iPhone13 保护壳 小米14Pro 500毫升 L码";
    let parts = [
        "T恤",
        "t恤",
        "蓝色",
        "iphone 13",
        "iPhone13",
        "iphone",
        "13",
        "保护壳",
        "小米",
        "14pro",
        "14 Pro",
        "500ml",
        "L码",
        "l 码",
    ];
    for kind in [AnalyzerKind::English, AnalyzerKind::Chinese] {
        let analyzer = Analyzer::new(kind);
        let indexed = analyzer.terms(item);
        for part in parts {
            for word in analyzer.query_words(part) {
                assert!(spelling_tests::has(&indexed, &word), "{kind:?}: {word:?} of {part}");
            }
        }
        let words = analyzer.query_words("手机壳");
        assert!(!words.iter().all(|word| spelling_tests::has(&indexed, word)));
    }
}

#[test]
fn stems_are_of_the_written_word_and_folded() {
    let cases = [
        (AnalyzerKind::German, "Häuser Haus", ["haus", "haus"]),
        (AnalyzerKind::French, "chaussures chaussure", ["chaussur", "chaussur"]),
        (AnalyzerKind::Spanish, "zapatos zapato", ["zapat", "zapat"]),
        (AnalyzerKind::Italian, "scarpe scarpa", ["scarp", "scarp"]),
        (AnalyzerKind::Portuguese, "sapatos sapato", ["sapat", "sapat"]),
        (AnalyzerKind::Dutch, "schoenen schoen", ["schoen", "schoen"]),
        (AnalyzerKind::Swedish, "skorna skor", ["skorn", "skor"]),
        (AnalyzerKind::Danish, "skoene skoen", ["skoen", "skoen"]),
        (AnalyzerKind::Norwegian, "jakkene jakke", ["jakk", "jakk"]),
        (AnalyzerKind::Finnish, "kengät kenkä", ["keng", "kenk"]),
        (AnalyzerKind::Russian, "кроссовки кроссовка", ["кроссовк", "кроссовк"]),
    ];
    for (kind, text, expected) in cases {
        assert_eq!(texts(kind, text), expected, "{kind:?}");
        assert_eq!(texts(kind, text), query_texts(kind, text), "{kind:?}");
    }
}

proptest! {
    /// Latin words and numbers stand apart; between them and Chinese, and inside Chinese, spaces say nothing.
    #[test]
    fn white_space_around_chinese_changes_no_query(
        parts in prop::collection::vec(("[蓝色红恤保护壳手机升级毫米码 ]{1,4}", "T|iPhone13|500|XL|小米14Pro|15.6|dv7-12"), 1..5),
        spaces in prop::collection::vec(0usize..3, 16),
    ) {
        let plain: String = parts.iter().flat_map(|(han, latin)| [han.replace(' ', ""), latin.clone()]).collect();
        let mut spaced = String::new();
        let mut spaces = spaces.into_iter().cycle();
        for (han, latin) in &parts {
            for part in han.replace(' ', "").chars().map(String::from).chain([latin.clone()]) {
                spaced.push_str(&part);
                spaced.push_str(&" ".repeat(spaces.next().unwrap_or(0)));
            }
        }
        // What is left of a part of spaces alone is nothing, and then Latin words would touch.
        prop_assume!(parts.iter().all(|(han, _)| !han.trim().is_empty()));
        for kind in [AnalyzerKind::English, AnalyzerKind::Chinese] {
            let analyzer = Analyzer::new(kind);
            let words = |text: &str| -> Vec<(String, usize, Vec<Spelling>)> {
                analyzer.query_words(text).into_iter().map(|word| (word.term, word.position, word.alternatives)).collect()
            };
            prop_assert_eq!(words(&plain), words(&spaced));
        }
    }

    #[test]
    fn a_query_word_stands_where_the_item_has_it(text in "[0-9.,/½\"' a-z升级毫米寸-]{0,24}") {
        for kind in [AnalyzerKind::Simple, AnalyzerKind::English, AnalyzerKind::Chinese] {
            let analyzer = Analyzer::new(kind);
            let item: Vec<(String, usize)> =
                analyzer.terms(&text).into_iter().map(|term| (term.text, term.position)).collect();
            for word in analyzer.query_terms(&text) {
                let word = (word.text, word.position);
                prop_assert!(item.contains(&word), "{word:?} of {text:?} is not in {item:?}");
            }
        }
    }
}

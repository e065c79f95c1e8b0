//! One thing in many spellings: every spelling as a query finds every spelling as an item, and near misses do not.

use super::*;

/// Whether an item has a word of a query in one of its spellings.
pub(super) fn has(item: &[Term], word: &QueryWord) -> bool {
    let at =
        |text: &str| -> Vec<usize> { item.iter().filter(|term| term.text == text).map(|term| term.position).collect() };
    let spelling = |spelling: &Spelling| {
        at(&spelling.terms[0].1)
            .into_iter()
            .any(|first| spelling.terms.iter().all(|(place, term)| at(term).contains(&(first + place))))
    };
    !at(&word.term).is_empty() || word.alternatives.iter().any(spelling)
}

/// Whether an item has all words of a query.
fn finds(kind: AnalyzerKind, query: &str, item: &str) -> bool {
    let analyzer = Analyzer::new(kind);
    let (words, item) = (analyzer.query_words(query), analyzer.terms(item));
    !words.is_empty() && words.iter().all(|word| has(&item, word))
}

const KINDS: [AnalyzerKind; 3] = [AnalyzerKind::Simple, AnalyzerKind::English, AnalyzerKind::Chinese];

/// Spellings of one thing.
const SAME: &[&[&str]] = &[
    &["dv7-1211ea", "dv7 1211ea", "dv71211ea", "DV7/1211EA", "DV7_1211EA", "ＤＶ７－１２１１ＥＡ"],
    &["WH-1000XM4", "wh1000xm4", "WH 1000 XM4", "wh-1000 xm4", "WH1000-XM4", "WH 1000XM4"],
    &["iPhone13", "iphone 13", "iPhone-13"],
    &["iPhone 13 Pro", "iphone13 pro", "iPhone13Pro"],
    &["RTX 3080 Ti", "RTX3080 Ti", "rtx3080ti", "RTX-3080-Ti"],
    &["4K@60Hz", "4k 60 hz", "4K 60Hz", "4K/60Hz"],
    &["USB-C", "usbc", "usb c", "USB‑C"],
    &["T-shirt", "tshirt", "t shirt"],
    &["Wi-Fi", "wifi", "WiFi"],
    &["USB 3.0", "USB3.0", "usb 3", "USB-3.0", "usb3"],
    &["802.11b", "802.11 b"],
    &["½ inch", "1/2 inch", "0.5 inch", "1/2\"", "½\"", ".5 in", "0,5 inch", "1/2-inch", "0.50\""],
    &["1½\"", "1.5 inch", "1 1/2 inch", "1-1/2\"", "1,5 inches"],
    &["12,345.67", "12345.67", "12.345,67", "12,345.670"],
    &[
        "15.6\"",
        "15.6 inch",
        "15.6 in",
        "15.6-inch",
        "15.6inches",
        "15,6 Zoll",
        "15.6英寸",
        "15.6 英寸",
        "15.6''",
        "15.6″",
    ],
    &["500GB", "500 GB", "500-GB", "500 gigabytes"],
    &["2,5 l", "2.5L", "2.5 litres", "2.5升", "2.50 l"],
    &["3.5mm", "3.5 mm", "3,5 mm", "3.5毫米", "3.5-mm"],
    &["500毫升", "500ml", "500 ml", "500 毫升", "５００ｍｌ"],
    &["1440x900", "1440 x 900", "1440×900", "1440 × 900"],
    &["12V", "12 V", "12 volts", "12-volt"],
    &["5000mAh", "5000 mAh", "5000毫安时", "5,000 mAh"],
    &["2.4GHz", "2.4 GHz", "2,4 GHz"],
];

/// A query that must not find an item with all its words.
const OTHER: &[(&str, &str)] = &[
    ("dv7-1212ea", "HP dv7-1211ea"),
    ("dv71212ea", "HP dv7 1211ea"),
    ("15.4\"", "15.6 inch"),
    ("15.6 inch", "15.6 kg"),
    ("6 inch", "15.6 inch"),
    ("250 GB", "500GB disk, 250 MB cache"),
    ("500GB", "500 MB and 2 GB"),
    ("1/2 inch", "1 inch, 2 inch"),
    ("3/4", "3 of 4"),
    ("1/2", "1/20"),
    ("2升", "2升级版"),
    ("1.234", "1,234"),
    ("WH-1000XM5", "WH-1000XM4"),
    ("iphone 13", "iphone 12 2013"),
    ("usb d", "usb-c"),
    ("2 inch", "2 in 1"),
    ("手机壳", "iPhone13 保护壳"),
];

#[test]
fn every_spelling_finds_every_other() {
    let mut failures = Vec::new();
    for kind in KINDS {
        for spellings in SAME {
            for query in *spellings {
                for item in *spellings {
                    for item in [(*item).to_owned(), format!("Fine {item} thing"), format!("thing, {item}.")] {
                        if !finds(kind, query, &item) {
                            failures.push(format!("{kind:?}: {query:?} does not find {item:?}"));
                        }
                    }
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn near_misses_are_not_found() {
    for kind in KINDS {
        for (query, item) in OTHER {
            assert!(!finds(kind, query, item), "{kind:?}: {query:?} finds {item:?}");
        }
    }
}

#[test]
fn a_measure_is_one_word_of_a_query() {
    let terms = |text| Analyzer::new(AnalyzerKind::English).query_terms(text).into_iter().map(|term| term.text);
    for query in ["17 inch monitors", "17\" monitors", "monitors 17英寸", "17in monitor"] {
        let mut found: Vec<String> = terms(query).collect();
        found.sort_unstable();
        assert_eq!(found, ["17inch", "monitor"], "{query}");
    }
}

#[test]
fn an_item_keeps_the_parts_beside_what_they_make() {
    let terms = Analyzer::new(AnalyzerKind::English).terms("iPhone13 USB-C 15.6 inches 500ml 38,40");
    let found: Vec<(usize, &str)> = terms.iter().map(|term| (term.position, term.text.as_str())).collect();
    let expected = [
        (0, "iphone13"),
        (0, "iphon"),
        (1, "13"),
        (2, "usb"),
        (2, "usbc"),
        (3, "c"),
        (4, "15.6"),
        (4, "15.6inch"),
        (5, "inch"),
        (6, "500"),
        (6, "500ml"),
        (7, "38.4"),
        (7, "38"),
        (8, "40"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_quoted_number_is_no_length() {
    let words = Analyzer::new(AnalyzerKind::English).query_terms("case for \"iphone 13\"");
    assert_eq!(words.last().map(|word| word.text.as_str()), Some("13"));
}

#[test]
fn hostile_words_have_few_spellings() {
    for text in ["a1".repeat(500), "1-".repeat(500), "a.1/b_".repeat(500), "½".repeat(500), "1,2.".repeat(500)] {
        let analyzer = Analyzer::new(AnalyzerKind::English);
        let most = analyzer.query_words(&text).iter().map(|word| word.alternatives.len()).max();
        assert!(most.is_none_or(|most| most <= 80), "{most:?} of {}", &text[..4]);
        assert!(analyzer.terms(&text).len() <= 4 * text.len());
    }
}

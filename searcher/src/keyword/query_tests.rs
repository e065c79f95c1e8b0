//! What a query's words find: policies of matching, closeness, phrases, similar words and synonyms, over small indexes.

use proptest::prelude::*;
use schemas::Row;
use schemas::ranking::Matching;

use super::tests::{build, item, manifest, open};
use super::*;

/// The rows found with settings, best first by their whole scores.
fn found(
    index: &KeywordIndex,
    text: &str,
    matching: Matching,
    proximity: f32,
    synonyms: Option<&Synonyms>,
) -> Vec<Row> {
    let settings = schemas::manifest::KeywordManifest { matching, proximity, ..manifest() };
    let query = index.analyze_with(&[(text, 1.0)], &settings, synonyms).unwrap();
    let mut rows: Vec<Row> = index.retrieve(&query, None, 100).unwrap().iter().map(|candidate| candidate.row).collect();
    rows.sort_unstable();
    let scores = index.score_rows(&query, &rows).unwrap();
    for (row, score) in rows.iter().zip(&scores) {
        let parts = index.explain(&query, *row).unwrap();
        assert!((parts.score() - score).abs() < 1e-5, "{parts:?}, not {score}");
    }
    let mut ranked: Vec<(Row, f32)> = rows.into_iter().zip(scores).collect();
    ranked.sort_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
    ranked.into_iter().map(|(row, _)| row).collect()
}

fn titles(titles: &[&str]) -> tempfile::TempDir {
    let items: Vec<_> = titles.iter().map(|title| item(title, title, "", &[])).collect();
    build(&items, usize::MAX)
}

#[test]
fn an_item_must_have_as_many_words_as_asked() {
    let folder = titles(&["red cup", "red shoe", "blue cup", "red tea cup", "lamp"]);
    let index = open(&folder);
    let sorted = |matching| {
        let mut rows = found(&index, "red tea cup zebra", matching, 0.0, None);
        rows.sort_unstable();
        rows
    };
    assert_eq!(sorted(Matching::Any), [0, 1, 2, 3]);
    assert_eq!(sorted(Matching::Share(67)), [0, 3], "two of the three words that the index has");
    assert_eq!(sorted(Matching::All), [3], "a word that nothing has is not asked for");
}

#[test]
fn words_that_stand_close_together_come_first() {
    let folder = titles(&["case phone red", "phone red blue case", "red phone case", "phone a b c d e f case"]);
    let index = open(&folder);
    let query = "phone case";
    assert_eq!(found(&index, query, Matching::Any, 1.0, None)[0], 2);
    let settings = schemas::manifest::KeywordManifest { proximity: 1.0, ..manifest() };
    let asked = index.analyze_with(&[(query, 1.0)], &settings, None).unwrap();
    let closeness = |row| index.explain(&asked, row).unwrap().proximity.first().map_or(0.0, |pair| pair.frequency);
    let [reversed, near, next, far] = [0, 1, 2, 3].map(closeness);
    assert!(next > near && near > 0.0 && reversed > 0.0 && next > reversed, "{next} {near} {reversed}");
    assert_eq!(far, 0.0);
    let plain = index.analyze(&[(query, 1.0)]).unwrap();
    assert!(index.explain(&plain, 2).unwrap().proximity.is_empty(), "no weight by default");
}

#[test]
fn closeness_by_hand() {
    let folder = titles(&["phone case", "lamp"]);
    let index = open(&folder);
    let settings = schemas::manifest::KeywordManifest { proximity: 0.5, ..manifest() };
    let query = index.analyze_with(&[("phone case", 2.0)], &settings, None).unwrap();
    // Both words: one of two items. Title: weight 2, length 2, average length 1.5.
    let idf = (1.0f64 + (2.0 - 1.0 + 0.5) / 1.5).ln();
    let frequency = 2.0 / (0.25 + 0.75 * 2.0 / 1.5);
    let saturated = frequency / (1.2 + frequency);
    let expected = 2.0 * idf * saturated * (2.0 + 0.5);
    let score = index.score_rows(&query, &[0]).unwrap()[0];
    assert!((f64::from(score) - expected).abs() < 1e-5, "{score}, not {expected}");
}

#[test]
fn a_typo_finds_similar_words_only_where_no_item_has_the_word() {
    let folder = titles(&["bluetooth speaker", "wired speaker", "blutooth cable", "bluetoth adapter", "headphones"]);
    let index = open(&folder);
    let any = |text| found(&index, text, Matching::Any, 0.0, None);
    assert_eq!(any("hedphones"), [4]);
    assert_eq!(any("blutooth"), [2], "an item has it so");
    assert_eq!(any("bluetooht"), [0, 2, 3], "no item has it so; the nearest first");
    assert_eq!(any("bluetooht speaker")[0], 0);
    assert_eq!(found(&index, "bluetooht speaker", Matching::All, 0.0, None), [0]);
    assert!(any("zluetooth").is_empty(), "the first letter must be right");
    assert!(any("xm5").is_empty());
}

#[test]
fn synonyms_find_other_words_and_rank_behind_the_word_itself() {
    let folder = titles(&["red sofa", "red couch", "love seat, red", "love the seat", "headset", "telly", "tv set"]);
    let index = open(&folder);
    let rules = Synonyms::parse("sofa, couch, love seat\nhead set => headset\ntelly => tv\n").unwrap();
    let with = |text, matching| found(&index, text, matching, 0.0, Some(&rules));
    assert_eq!(with("sofa", Matching::Any)[..], [0, 1, 2]);
    assert_eq!(with("couch", Matching::Any)[0], 1);
    assert_eq!(with("head set", Matching::All), [4], "each word is known by the synonym of both");
    assert_eq!(with("telly", Matching::Any), [6], "replaced");
    assert_eq!(found(&index, "sofa", Matching::Any, 0.0, None), [0], "without the rules");
}

#[test]
fn clauses_are_rows() {
    let items = [
        item("a", "Red mug", "not a blue tea cup", &["Daybird"]),
        item("b", "Tea cup", "a red one", &["Day bird"]),
        item("c", "Cup of tea", "Daybird", &[]),
        item("d", "无线蓝牙耳机", "", &[]),
        item("e", "XM4 1000 mug, red", "", &[]),
    ];
    let folder = build(&items, usize::MAX);
    let index = open(&folder);
    let rows = |text, field| index.rows_with(text, field).unwrap().iter().collect::<Vec<Row>>();
    assert_eq!(rows("tea cup", None), [0, 1]);
    assert_eq!(rows("tea cups", Some("title")), [1]);
    assert_eq!(rows("daybird", Some("brand")), [0]);
    assert_eq!(rows("daybird", None), [0, 2]);
    assert_eq!(rows("蓝牙耳机", None), [3]);
    assert!(rows("耳机蓝牙", None).is_empty());
    assert_eq!(rows("!!", None).len(), 5, "no word, no condition");
    assert_eq!(rows("xm4-1000 mug", None), [4]);
    assert_eq!(rows("XM 4 1000 mug", None), [4]);
    assert_eq!(rows("xm41000", Some("title")), [4]);
    assert!(rows("xm41000 red", None).is_empty());
    assert!(rows("zebra", None).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However the words are spread: who has a word as it was asked for ranks above whoever has only similar ones.
    #[test]
    fn similar_words_never_outrank_exact_ones(
        texts in prop::collection::vec(prop::collection::vec(
            prop::sample::select(vec!["speaker", "speakers", "bluetooth", "blueteeth", "cable", "lamp", "tea"]), 1..6), 1..30),
        asked in prop::sample::select(vec!["speaker bluetooht", "bluetooht cables tea", "bluetooht lampp", "lamp speker tea"]),
    ) {
        let joined: Vec<String> = texts.iter().map(|words| words.join(" ")).collect();
        let folder = titles(&joined.iter().map(String::as_str).collect::<Vec<_>>());
        let index = open(&folder);
        let query = index.analyze(&[(asked, 1.0)]).unwrap();
        let all: Vec<Row> = (0..texts.len() as Row).collect();
        let scores = index.score_rows(&query, &all).unwrap();
        let is_exact = |row: Row| {
            let parts = index.explain(&query, row).unwrap();
            parts.terms.iter().flat_map(|term| &term.fields).any(|field| field.origin == WritingOrigin::Exact)
        };
        let (exact, others): (Vec<Row>, Vec<Row>) = all.iter().partition(|row| is_exact(**row));
        let worst = exact.iter().map(|row| scores[*row as usize]).fold(f32::INFINITY, f32::min);
        for row in others {
            prop_assert!(exact.is_empty() || scores[row as usize] < worst);
        }
    }
}

//! Writer and index together, on indexes in temporary folders.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use proptest::prelude::*;
use schemas::items::StoredItem;
use schemas::manifest::{AnalysisVersion, AnalyzerKind, KeywordFieldManifest, KeywordManifest};
use schemas::{FieldSpec, FieldType, FieldValue, Row};
use tempfile::TempDir;

use super::*;
use crate::row_set::RowSet;

mod analysis;

pub(super) fn manifest() -> KeywordManifest {
    let field =
        |name: &str, analyzer, weight| KeywordFieldManifest { name: name.to_owned(), analyzer, weight, b: 0.75 };
    KeywordManifest {
        k1: 1.2,
        matching: DEFAULT_MATCHING,
        proximity: 0.0,
        analysis: AnalysisVersion::V2,
        languages: None,
        fields: vec![
            field("title", AnalyzerKind::English, 2.0),
            field("description", AnalyzerKind::English, 1.0),
            field("brand", AnalyzerKind::Simple, 1.5),
        ],
    }
}

fn declared() -> Vec<FieldSpec> {
    vec![
        FieldSpec { name: "price".to_owned(), r#type: FieldType::Float, searched: false },
        FieldSpec { name: "brand".to_owned(), r#type: FieldType::Strings, searched: true },
    ]
}

pub(super) fn item(id: &str, title: &str, description: &str, brands: &[&str]) -> StoredItem {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let brands = brands.iter().map(|brand| (*brand).to_owned()).collect::<Vec<_>>();
    StoredItem {
        id: id.to_owned(),
        title: text(title),
        description: text(description),
        image: None,
        fields: vec![Some(FieldValue::Float(1.0)), (!brands.is_empty()).then_some(FieldValue::Strings(brands))],
    }
}

pub(super) fn build(items: &[StoredItem], segment_every: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = KeywordWriter::create(&folder.path().join("keyword"), &manifest(), &declared()).unwrap();
    for (number, item) in (1..).zip(items) {
        writer.write(item).unwrap();
        if number % segment_every == 0 {
            writer.end_segment().unwrap();
        }
    }
    assert_eq!(writer.finish().unwrap(), items.len() as u64);
    folder
}

pub(super) fn open(folder: &TempDir) -> KeywordIndex {
    KeywordIndex::open(&folder.path().join("keyword"), &manifest()).unwrap()
}

fn search(index: &KeywordIndex, text: &str) -> Vec<Row> {
    let query = index.analyze(&[(text, 1.0)]).unwrap();
    index.retrieve(&query, None, 100).unwrap().into_iter().map(|candidate| candidate.row).collect()
}

fn cups() -> Vec<StoredItem> {
    vec![
        item("a", "Red cups", "A cup for tea and coffee", &["Daybird"]),
        item("b", "Blue shoes", "", &["Cups & Co", "Daybird"]),
        item("c", "", "Red running shoes with a red sole, no cup", &[]),
    ]
}

/// Files in the keyword folder, but for the names that tantivy draws by lot.
fn fixed_files(folder: &Path) -> Vec<String> {
    let names = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with('.') || name.ends_with(".json")).collect();
    names.sort();
    names
}

#[test]
fn scores_are_those_of_the_formula() {
    let folder = build(&cups(), usize::MAX);
    let index = open(&folder);
    let query = index.analyze(&[("cup", 2.0)]).unwrap();
    // `cup` stems to itself; brand's simple analyzer has `cups`, which the query's word does not match.
    // Title: lengths 2, 2 → average 2. Description: `a cup for tea and coffee` 6, `red run shoe with a red sole no cup` 9
    // → average 7.5. df = 1 in titles, 2 in descriptions → 2.
    let idf = (1.0f64 + (3.0 - 2.0 + 0.5) / (2.0 + 0.5)).ln();
    let frequency = |title: f64, description: f64, length: f64| {
        2.0 * title / (0.25 + 0.75 * 2.0 / 2.0) + description / (0.25 + 0.75 * length / 7.5)
    };
    let score = |frequency: f64| 2.0 * idf * frequency / (1.2 + frequency);
    let found = index.retrieve(&query, None, 10).unwrap();
    let expected = [(0, score(frequency(1.0, 1.0, 6.0))), (2, score(frequency(0.0, 1.0, 9.0)))];
    assert_eq!(found.len(), expected.len());
    for (candidate, (row, score)) in found.iter().zip(expected) {
        assert_eq!(candidate.row, row);
        assert!((f64::from(candidate.score) - score).abs() < 1e-5, "{candidate:?}, not {score}");
    }
    assert_eq!(found.iter().map(|candidate| candidate.rank).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn declared_fields_are_searched_value_by_value() {
    let folder = build(&cups(), usize::MAX);
    let index = open(&folder);
    assert_eq!(search(&index, "daybird"), [0, 1]);
    let mut found = search(&index, "cups");
    found.sort_unstable();
    assert_eq!(found, [0, 1, 2], "in a title, as a brand, in a description");
    let query = index.analyze(&[("cups", 1.0)]).unwrap();
    let explained = index.explain(&query, 1).unwrap();
    assert_eq!((explained.terms[0].fields[0].field.as_str(), explained.terms[0].fields[0].length), ("brand", 3));
}

#[test]
fn rows_are_found_by_id() {
    let folder = build(&cups(), usize::MAX);
    let index = open(&folder);
    assert_eq!(index.row_of("c").unwrap(), Some(2));
    assert_eq!(index.row_of("A").unwrap(), None);
    assert_eq!(index.row_count(), 3);
}

#[test]
fn unknown_words_and_empty_texts_match_nothing() {
    let folder = build(&cups(), usize::MAX);
    let index = open(&folder);
    for text in ["", "  ", "zebra", "!!!"] {
        let query = index.analyze(&[(text, 1.0)]).unwrap();
        assert!(query.is_empty(), "{text:?}");
        assert!(index.retrieve(&query, None, 10).unwrap().is_empty());
        assert_eq!(index.score_rows(&query, &[0, 1, 2]).unwrap(), [0.0; 3]);
        assert_eq!(index.explain(&query, 0).unwrap(), KeywordParts::default());
    }
}

#[test]
fn an_empty_index_opens_and_answers_nothing() {
    let folder = build(&[], usize::MAX);
    let index = open(&folder);
    assert_eq!(index.row_count(), 0);
    assert!(search(&index, "cup").is_empty());
    assert_eq!(index.row_of("a").unwrap(), None);
}

#[test]
fn items_without_any_text_keep_their_row() {
    let folder = build(&[item("a", "", "", &[]), item("b", "cup", "", &[]), item("c", "", "", &[])], usize::MAX);
    let index = open(&folder);
    assert_eq!(search(&index, "cup"), [1]);
    assert_eq!(index.row_of("c").unwrap(), Some(2));
}

#[test]
fn segments_are_merged_in_row_order() {
    // Segments of unequal size, because tantivy lists them by size.
    let items: Vec<StoredItem> =
        (0..50).map(|row| item(&format!("id{row}"), &format!("word{row} cup"), "", &[])).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyword");
    let mut writer = KeywordWriter::create(&path, &manifest(), &declared()).unwrap();
    for (row, item) in items.iter().enumerate() {
        writer.write(item).unwrap();
        if [3, 30, 31, 45].contains(&row) {
            writer.end_segment().unwrap();
        }
    }
    assert_eq!(writer.finish().unwrap(), 50);
    let index = open(&folder);
    for row in 0..50 {
        assert_eq!(search(&index, &format!("word{row}")), [row]);
        assert_eq!(index.row_of(&format!("id{row}")).unwrap(), Some(row));
    }
    let postings: Vec<_> = fs_err::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(postings.iter().filter(|path| path.extension().is_some_and(|end| end == "idx")).count(), 1);
}

#[test]
fn nothing_is_left_behind_and_a_read_only_folder_opens() {
    let folder = build(&cups(), 1);
    let path = folder.path().join("keyword");
    assert_eq!(fixed_files(&path), [".managed.json", "meta.json"]);
    let mode = |mode| std::fs::Permissions::from_mode(mode);
    for entry in fs_err::read_dir(&path).unwrap() {
        fs_err::set_permissions(entry.unwrap().path(), mode(0o444)).unwrap();
    }
    fs_err::set_permissions(&path, mode(0o555)).unwrap();
    assert_eq!(search(&open(&folder), "shoes"), [1, 2]);
    fs_err::set_permissions(&path, mode(0o755)).unwrap();
    assert_eq!(fixed_files(&path), [".managed.json", "meta.json"]);
}

#[test]
fn foreign_and_damaged_indexes_are_errors() {
    let folder = build(&cups(), usize::MAX);
    let path = folder.path().join("keyword");
    let mut other = manifest();
    other.fields[0].analyzer = AnalyzerKind::Simple;
    let error = KeywordIndex::open(&path, &other).unwrap_err();
    assert!(format!("{:?}", error).contains("analyzer"), "{error:?}");
    other = manifest();
    other.fields[2].name = "colour".to_owned();
    assert!(KeywordIndex::open(&path, &other).is_err());
    assert!(KeywordWriter::create(&folder.path().join("other"), &other, &declared()).is_err(), "not declared");
    assert!(KeywordIndex::open(&folder.path().join("missing"), &manifest()).is_err());

    let files: Vec<_> = fs_err::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
    for file in files.iter().filter(|file| file.file_name().is_some_and(|name| name != ".managed.json")) {
        let bytes = fs_err::read(file).unwrap();
        // `meta.json` ends in a line feed that it could do without.
        for length in [0, bytes.len() / 2, bytes.len() - 2] {
            fs_err::write(file, &bytes[..length]).unwrap();
            assert!(KeywordIndex::open(&path, &manifest()).is_err(), "{} cut to {length}", file.display());
        }
        fs_err::remove_file(file).unwrap();
        assert!(KeywordIndex::open(&path, &manifest()).is_err(), "{} missing", file.display());
        fs_err::write(file, &bytes).unwrap();
    }
    assert!(KeywordIndex::open(&path, &manifest()).is_ok());
}

#[test]
fn chinese_words_are_found_in_compounds() {
    let items = [
        item("a", "陶瓷马克杯", "", &["小米"]),
        item("b", "无线蓝牙耳机", "", &[]),
        item("c", "运动耳机 蓝牙 防水", "", &[]),
        item("d", "保温杯", "", &[]),
    ];
    let folder = build(&items, usize::MAX);
    let index = open(&folder);
    let rows = |text| {
        let mut rows = search(&index, text);
        rows.sort_unstable();
        rows
    };
    assert_eq!(rows("杯"), [0, 3]);
    assert_eq!(rows("马克杯"), [0]);
    assert_eq!(rows("蓝牙耳机"), [1, 2]);
    assert_eq!(search(&index, "蓝牙 耳机"), search(&index, "蓝牙耳机"));
    assert_eq!(rows("小米"), [0], "a brand with the simple analyzer");
}

/// Small vocabularies give many ties, repeated words, and empty fields.
fn any_item() -> impl Strategy<Value = StoredItem> {
    let text = || prop::collection::vec(prop::sample::select(vec!["red", "cup", "shoes", "blue", "杯"]), 0..6);
    (text(), text(), text())
        .prop_map(|(title, description, brand)| item("x", &title.join(" "), &description.join(" "), &brand))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn retrieval_scoring_and_explanation_agree(
        items in prop::collection::vec(any_item(), 1..40),
        words in prop::collection::vec(prop::sample::select(vec!["red", "cups", "shoe", "blue", "杯", "green"]), 1..5),
        kept in prop::collection::vec(any::<bool>(), 40),
        depth in 1usize..50,
    ) {
        let folder = build(&items, usize::MAX);
        let index = open(&folder);
        let query = index.analyze(&[(&words.join(" "), 0.7), ("cup", 0.3)]).unwrap();
        let all: Vec<Row> = (0..items.len() as Row).collect();
        let scores = index.score_rows(&query, &all).unwrap();
        for (row, score) in all.iter().zip(&scores) {
            let parts = index.explain(&query, *row).unwrap();
            let terms: f32 = parts.terms.iter().map(|part| part.score).sum();
            let fields: f32 = parts.terms.iter().flat_map(|part| &part.fields).map(|field| field.score).sum();
            prop_assert!((terms - score).abs() < 1e-5 && (fields - score).abs() < 1e-5);
        }
        let mut rows = RowSet::empty(items.len() as u64);
        all.iter().filter(|row| kept[**row as usize]).for_each(|row| rows.insert(*row));
        for filter in [None, Some(&rows)] {
            let mut expected: Vec<(Row, f32)> = all.iter().copied().zip(scores.iter().copied())
                .filter(|(row, score)| *score > 0.0 && filter.is_none_or(|rows| rows.contains(*row))).collect();
            expected.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            expected.truncate(depth);
            let others: Vec<Row> = all.iter().copied()
                .filter(|row| row % 3 != 0 && filter.is_none_or(|rows| rows.contains(*row))).collect();
            let found = index.retrieve_beside(&query, filter, depth, &others).unwrap();
            prop_assert_eq!(&index.retrieve(&query, filter, depth).unwrap(), &found.best);
            prop_assert_eq!(found.best.iter().map(|hit| (hit.row, hit.score)).collect::<Vec<_>>(), expected);
            let beside: Vec<f32> = found.others.iter().map(|score| score.unwrap_or(0.0)).collect();
            prop_assert_eq!(beside, others.iter().map(|row| scores[*row as usize]).collect::<Vec<_>>());
        }
    }
}

#[test]
fn both_ways_of_filtering_agree_over_many_windows() {
    // More rows than a window, so that cursors cross from one to the next; few kept rows are jumped to.
    let items: Vec<StoredItem> = (0..9_000)
        .map(|row| item(&row.to_string(), if row % 3 == 0 { "red cup" } else { "cup" }, &"tea ".repeat(row % 7), &[]))
        .collect();
    let folder = build(&items, usize::MAX);
    let index = open(&folder);
    let query = index.analyze(&[("red cup of tea", 1.0)]).unwrap();
    let all = index.retrieve(&query, None, 9_000).unwrap();
    assert_eq!(all.len(), 9_000);
    let scores: BTreeMap<Row, f32> = all.iter().map(|candidate| (candidate.row, candidate.score)).collect();
    for step in [2, 1000] {
        let mut rows = RowSet::empty(9_000);
        (0..9_000).step_by(step).for_each(|row| rows.insert(row));
        let others: Vec<Row> = rows.iter().filter(|row| row % 4 == 0).collect();
        let found = index.retrieve_beside(&query, Some(&rows), 9_000, &others).unwrap();
        assert_eq!(found.best.len() as u64, rows.len());
        assert!(found.best.iter().all(|candidate| scores[&candidate.row] == candidate.score));
        assert_eq!(found.others, others.iter().map(|row| Some(scores[row])).collect::<Vec<_>>());
    }
}

#[test]
fn a_flipped_bit_is_never_a_panic() {
    let folder = build(&cups(), usize::MAX);
    let path = folder.path().join("keyword");
    let files: Vec<_> = fs_err::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
    let use_it = || -> Result<(), crate::SearchError> {
        let index = KeywordIndex::open(&path, &manifest())?;
        let query = index.analyze(&[("red cup", 1.0), ("daybird", 1.0)])?;
        index.retrieve(&query, None, 5)?;
        index.score_rows(&query, &[0, 1, 2])?;
        index.explain(&query, 1)?;
        index.row_of("b").map(|_| ())
    };
    let (mut changes, mut errors) = (0, 0);
    for file in files {
        let bytes = fs_err::read(&file).unwrap();
        for at in (0..bytes.len()).step_by(3) {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            // A new file each time, as maps of the old one may live.
            fs_err::remove_file(&file).unwrap();
            fs_err::write(&file, &changed).unwrap();
            changes += 1;
            errors += u32::from(use_it().is_err());
        }
        fs_err::remove_file(&file).unwrap();
        fs_err::write(&file, &bytes).unwrap();
    }
    assert!(use_it().is_ok());
    assert!(errors * 2 > changes, "{errors} errors for {changes} changes");
}

//! Indexes of an earlier analysis, and of items in several languages.

use schemas::manifest::KeywordLanguages;

use super::*;

#[test]
fn an_index_of_the_first_analysis_is_queried_by_its_rules() {
    let first = KeywordManifest { analysis: AnalysisVersion::V1, ..manifest() };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyword");
    let mut writer = KeywordWriter::create(&path, &first, &declared()).unwrap();
    writer.write(&item("a", "Screen 15.6\" USB-C", "", &[])).unwrap();
    writer.finish().unwrap();
    let index = KeywordIndex::open(&path, &first).unwrap();
    for (query, found) in [("15.6 usb", true), ("6", true), ("6inch", false), ("usb6c", false)] {
        assert_eq!(search(&index, query).len(), usize::from(found), "{query}");
    }
    // The schema names the version, so that a manifest that says another is found out.
    assert!(KeywordIndex::open(&path, &manifest()).is_err());
}

#[test]
fn an_item_is_analysed_by_its_language_and_a_query_by_all() {
    let kinds = [("de", AnalyzerKind::German), ("zh", AnalyzerKind::Chinese)];
    let languages = KeywordLanguages {
        field: "language".to_owned(),
        analyzers: kinds.into_iter().map(|(code, kind)| (code.to_owned(), kind)).collect(),
    };
    let mut manifest = KeywordManifest { languages: Some(languages), ..manifest() };
    manifest.fields.truncate(2);
    manifest.fields[0].analyzer = AnalyzerKind::Simple;
    let declared = [FieldSpec { name: "language".to_owned(), r#type: FieldType::String, searched: false }];
    let item = |language: Option<&str>, title: &str| StoredItem {
        fields: vec![language.map(|code| FieldValue::String(code.to_owned()))],
        ..item(title, title, "", &[])
    };
    let items = [
        item(Some("de-AT"), "Rote Häuser"),
        item(Some("zh"), "蓝色T恤"),
        item(Some("xx"), "Rote Häuser"),
        item(None, "蓝色T恤"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyword");
    let mut writer = KeywordWriter::create(&path, &manifest, &declared).unwrap();
    items.iter().for_each(|item| writer.write(item).unwrap());
    writer.finish().unwrap();
    let index = KeywordIndex::open(&path, &manifest).unwrap();
    let cases: [(&str, &[Row]); 5] =
        [("Haus", &[0]), ("häuser", &[0, 2]), ("蓝色", &[1]), ("恤", &[1]), ("\u{F0000}", &[])];
    for (query, expected) in cases {
        let mut found = search(&index, query);
        found.sort_unstable();
        assert_eq!(found, expected, "{query}");
    }
    let query = index.analyze(&[("häuser", 1.0)]).unwrap();
    assert_eq!(index.explain(&query, 0).unwrap().terms[0].fields[0].length, 2, "the mark of the language is no word");
    let other = KeywordManifest { languages: None, ..manifest.clone() };
    assert!(KeywordIndex::open(&path, &other).is_err(), "the schema names the languages");
    manifest.languages.as_mut().unwrap().field = "tongue".to_owned();
    assert!(KeywordWriter::create(&folder.path().join("other"), &manifest, &declared).is_err());
}

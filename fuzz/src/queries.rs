//! What people type, and the files they write queries and judgments in. Invariant: any text is answered or refused with a
//! reason that fits a line, and what is accepted means the same however it is written.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use schemas::manifest::AnalyzerKind;
use schemas::ranking::Matching;
use schemas::trec::{read_qrels, read_queries, read_run, write_run};
use schemas::{MappedFile, items::ITEMS_FILE, items::ItemsReader};
use searcher::analysis::{Analyzer, MAX_TERM_CHARACTERS};
use searcher::example;
use searcher::filter::Filter;
use searcher::keyword::Synonyms;
use searcher::{Mode, OpenOptions, Query, Searcher};
use tempfile::TempDir;

fn example_items() -> &'static ItemsReader {
    static ITEMS: OnceLock<(TempDir, ItemsReader)> = OnceLock::new();
    let (_, items) = ITEMS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        example::write_snapshot(folder.path(), &example::items()).unwrap();
        let map = MappedFile::open(&folder.path().join(ITEMS_FILE)).unwrap();
        (folder, ItemsReader::open(map, &example::fields()).unwrap())
    });
    items
}

/// A filter means the same in parentheses; nothing matches both it and its `not`.
pub(crate) fn filter(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let fields = example::fields();
    let filter = match Filter::parse(text, &fields) {
        Ok(filter) => filter,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    // One level more may be too deep.
    if let Ok(wrapped) = Filter::parse(&format!("({text})"), &fields) {
        assert_eq!(wrapped, filter);
    }
    let rows = |filter: &Filter| {
        let set = filter.evaluate(example_items()).unwrap();
        (0..example_items().row_count() as u32).filter(|row| set.contains(*row)).collect::<HashSet<u32>>()
    };
    let matched = rows(&filter);
    if let Ok(negated) = Filter::parse(&format!("not ({text})"), &fields) {
        assert!(rows(&negated).is_disjoint(&matched));
    }
    if let Ok(twice) = Filter::parse(&format!("({text}) and ({text})"), &fields) {
        assert_eq!(rows(&twice), matched);
    }
}

pub(crate) fn filter_seeds() -> Vec<Vec<u8>> {
    let seeds = [
        r#"brand = "Daybird" and price < 50 and category in ["Footwear", "Home > Kitchen"]"#,
        r#"category under "Home > Kitchen" and not (tags = 'used' or exists(stock))"#,
        "new = true or stock not in [1, 2, -3.5e2] and `price` >= .5",
        "not not not (((id != \"a\\\"b\")))",
        "tags not all ['gift', \"sale\"] or brand prefix 'Day' and category not prefix \"\"",
        "price < 9223372036854775808 and title = \"蓝色\" or image in [\"\"]",
        "brand = \"never closed",
    ];
    seeds.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Terms lie in the text in its order, and a text as a query finds itself as an item.
pub(crate) fn analysis(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for kind in AnalyzerKind::ALL {
        let analyzer = Analyzer::new(kind);
        let (of_item, of_query) = (analyzer.terms(text), analyzer.query_terms(text));
        for terms in [&of_item, &of_query] {
            assert!(terms.windows(2).all(|pair| pair[0].position <= pair[1].position));
            for term in terms {
                assert!(!term.text.is_empty() && term.text.chars().count() <= MAX_TERM_CHARACTERS, "{term:?}");
                assert!(term.start < term.end && text.get(term.start..term.end).is_some(), "{term:?}");
            }
        }
        let known: HashSet<&str> = of_item.iter().map(|term| term.text.as_str()).collect();
        let unknown = of_query.iter().find(|term| !known.contains(term.text.as_str()));
        assert_eq!(unknown, None, "{kind:?}");
    }
}

pub(crate) fn analysis_seeds() -> Vec<Vec<u8>> {
    let seeds = [
        "The children's USB-C cables, 15.6 inch (3/4) iPhone13",
        "蓝色条纹马克杯 中华人民共和国 ABC中文",
        "ﬁne ÉCOLE Straße İstanbul ㎏ ① ｶﾞ が한국어",
        "a\u{0}b\u{200d}\u{202e}c\u{301}\u{301}",
        "dv7-1211ea WH 1000 XM4 1½\" 12.345,67 1/2-inch .5 in 15.6英寸 2升级 500毫升装 3×4",
    ];
    seeds.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// A shopper's text is answered, whatever its syntax looks like, with any synonyms that can be read; what stands after the first
/// NUL is their file.
pub(crate) fn query(data: &[u8]) {
    static SEARCHER: OnceLock<(TempDir, Searcher)> = OnceLock::new();
    let (_, searcher) = SEARCHER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        example::write_store(folder.path(), &example::items()).unwrap();
        let (_, searcher) = Searcher::open_current(folder.path(), &OpenOptions::default()).unwrap();
        (folder, searcher)
    });
    let Ok(data) = std::str::from_utf8(data) else { return };
    let (text, rules) = data.split_once('\0').unwrap_or((data, ""));
    let synonyms = Synonyms::parse(rules).ok().map(Arc::new);
    if text.trim().is_empty() {
        return;
    }
    let matching = if text.len() % 2 == 0 { Matching::Any } else { Matching::Share(60) };
    let mut query = Query { mode: Mode::Keyword, explain: true, synonyms, ..Query::text(text) };
    query.settings.keyword.matching = Some(matching);
    query.settings.keyword.proximity = Some(0.5);
    let results = searcher.search(&query).unwrap();
    assert!(results.hits.len() <= results.total && results.total <= example::items().len());
    for hit in &results.hits {
        let keyword = hit.explain.as_ref().and_then(|explain| explain.keyword.as_ref()).unwrap();
        let terms: f32 = keyword.terms.iter().map(|term| term.score).sum();
        let parts = terms + keyword.proximity.iter().map(|pair| pair.score).sum::<f32>();
        assert!((parts - hit.score).abs() <= 1e-5 * hit.score.max(1.0), "{hit:?}");
    }
    let clauses = searcher.understand(text).clauses;
    for clause in clauses.iter().filter(|clause| clause.excluded && clause.field.is_none()) {
        let alone = Query { mode: Mode::Keyword, ..Query::text(format!("\"{}\"", clause.words)) };
        let having: HashSet<u32> = searcher.search(&alone).unwrap().hits.iter().map(|hit| hit.row).collect();
        assert!(results.hits.iter().all(|hit| !having.contains(&hit.row)), "{clause:?}");
    }
}

pub(crate) fn query_seeds() -> Vec<Vec<u8>> {
    let seeds = [
        "\"red mug\" -sofa brand:Daybird price:12 tags:gift",
        "large -\"red sofa\" category:\"Home > Kitchen\" -new:true\0mug, cup => beaker\nsofa => couch, settee",
        "15.6\" 5'11\" -20 \" \"\" -\" : a: :b -: 「red」",
        "larg rde mugg\0red, crimson\nbig mug => large",
    ];
    seeds.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Files of queries, judgments and runs are read or refused; a run that is read is written and read back equal.
pub(crate) fn trec(data: &[u8]) {
    thread_local! {
        static FOLDER: TempDir = crate::folder_in_memory();
    }
    FOLDER.with(|folder| {
        let path = folder.path().join("file");
        fs_err::write(&path, data).unwrap();
        let _ = read_queries(&path);
        let _ = read_qrels(&path);
        let Ok(run) = read_run(&path) else { return };
        let mut written = Vec::new();
        for (query, documents) in &run {
            write_run(&mut written, query, documents, "fuzz").unwrap();
        }
        fs_err::write(&path, &written).unwrap();
        assert_eq!(read_run(&path).unwrap(), run);
    });
}

pub(crate) fn trec_seeds() -> Vec<Vec<u8>> {
    let seeds = [
        "q1\tred mug\nq2\tpicture.jpg\ttext\n# comment\n",
        "q1 0 p1 2\nq1 0 p2 0\n",
        "q1 Q0 p1 1 2.5 tag\nq1 Q0 p2 2 -1e-3 tag\n",
    ];
    seeds.iter().map(|text| text.as_bytes().to_vec()).collect()
}

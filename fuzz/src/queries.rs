//! What people type, and the files they write queries and judgments in. Invariant: any text is answered or refused with a
//! reason that fits a line, and what is accepted means the same however it is written.

use std::collections::HashSet;
use std::sync::OnceLock;

use schemas::manifest::AnalyzerKind;
use schemas::trec::{read_qrels, read_queries, read_run, write_run};
use schemas::{MappedFile, items::ITEMS_FILE, items::ItemsReader};
use searcher::analysis::{Analyzer, MAX_TERM_CHARACTERS};
use searcher::example;
use searcher::filter::Filter;
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

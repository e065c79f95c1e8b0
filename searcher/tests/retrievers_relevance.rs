//! Measures BM25F's defaults on a judged catalog. Not run by default: it needs the chorus data.
//!
//! ```sh
//! CHORUS=/work/shared/data/chorus cargo test -p searcher --test retrievers_relevance -- --ignored --nocapture
//! ```
//!
//! `catalog.jsonl` has 19,406 products, `queries.tsv` 58 judged queries. nDCG@10 with linear gain as in trec_eval.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and print what they measured")]

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

use schemas::items::StoredItem;
use schemas::manifest::{AnalyzerKind, KeywordFieldManifest, KeywordManifest};
use schemas::{FieldSpec, FieldType, FieldValue};
use searcher::keyword::{
    DEFAULT_B, DEFAULT_DESCRIPTION_WEIGHT, DEFAULT_FIELD_WEIGHT, DEFAULT_K1, DEFAULT_TITLE_B, DEFAULT_TITLE_WEIGHT,
    KeywordIndex, KeywordWriter,
};

struct Chorus {
    ids: Vec<String>,
    queries: Vec<(String, String)>,
    judged: HashMap<String, HashMap<String, f64>>,
}

fn folder() -> Option<PathBuf> {
    std::env::var_os("CHORUS").map(PathBuf::from)
}

fn manifest(k1: f32, b: [f32; 3], weights: [f32; 3]) -> KeywordManifest {
    let names = ["title", "description", "brand"].into_iter().zip(b).zip(weights);
    let fields = names.filter(|(_, weight)| *weight > 0.0).map(|((name, b), weight)| KeywordFieldManifest {
        name: name.to_owned(),
        analyzer: AnalyzerKind::English,
        weight,
        b,
    });
    KeywordManifest { k1, fields: fields.collect() }
}

fn read(folder: &std::path::Path, index: &std::path::Path) -> Chorus {
    let text = |name: &str| fs_err::read_to_string(folder.join(name)).unwrap();
    let declared = [FieldSpec { name: "brand".to_owned(), r#type: FieldType::String, searched: true }];
    let mut writer = KeywordWriter::create(index, &manifest(1.2, [0.75; 3], [1.0; 3]), &declared).unwrap();
    let mut ids = Vec::new();
    for line in text("catalog.jsonl").lines() {
        let product: serde_json::Value = serde_json::from_str(line).unwrap();
        let field = |name: &str| product[name].as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned);
        let id = field("id").unwrap();
        ids.push(id.clone());
        let fields = vec![field("brand").map(FieldValue::String)];
        let item = StoredItem { id, title: field("title"), description: field("description"), image: None, fields };
        writer.write(&item).unwrap();
    }
    writer.finish().unwrap();
    let mut judged: HashMap<String, HashMap<String, f64>> = HashMap::new();
    for line in text("qrels.tsv").lines() {
        let columns: Vec<&str> = line.split_whitespace().collect();
        judged.entry(columns[0].to_owned()).or_default().insert(columns[2].to_owned(), columns[3].parse().unwrap());
    }
    let queries = text("queries.tsv");
    let queries = queries.lines().filter_map(|line| line.split_once('\t'));
    Chorus { ids, queries: queries.map(|(id, text)| (id.to_owned(), text.to_owned())).collect(), judged }
}

fn discounted(gains: impl Iterator<Item = f64>) -> f64 {
    gains.take(10).zip(2..).map(|(gain, place)| gain / f64::from(place).log2()).sum()
}

/// Mean nDCG@10 over the queries that have a relevant item, and how many those are.
fn ndcg(index: &KeywordIndex, chorus: &Chorus) -> (f64, usize) {
    let mut values = Vec::new();
    for (id, text) in &chorus.queries {
        let Some(judged) = chorus.judged.get(id) else { continue };
        let mut ideal: Vec<f64> = judged.values().copied().collect();
        ideal.sort_by(|a, b| b.total_cmp(a));
        if ideal.first().is_none_or(|best| *best <= 0.0) {
            continue;
        }
        let query = index.analyze(&[(text, 1.0)]).unwrap();
        let found = index.retrieve(&query, None, 10).unwrap();
        let gains = found.iter().map(|hit| judged.get(&chorus.ids[hit.row as usize]).copied().unwrap_or(0.0));
        values.push(discounted(gains) / discounted(ideal.into_iter()));
    }
    (values.iter().sum::<f64>() / values.len() as f64, values.len())
}

#[test]
#[ignore = "needs the chorus data; see the top of this file"]
fn defaults_reach_the_floor() {
    let Some(folder) = folder() else { panic!("set CHORUS to the folder with catalog.jsonl") };
    let temporary = tempfile::tempdir().unwrap();
    let place = temporary.path().join("keyword");
    let start = Instant::now();
    let chorus = read(&folder, &place);
    println!("built in {:.1} s", start.elapsed().as_secs_f64());
    let measure = |k1, b, weights| {
        let index = KeywordIndex::open(&place, &manifest(k1, b, weights)).unwrap();
        let (value, queries) = ndcg(&index, &chorus);
        println!("k1 {k1:<4} b {b:?} weights {weights:?}: nDCG@10 {value:.4} over {queries} queries");
        value
    };
    for k1 in [0.6, 0.9, 1.2, 2.0, 3.0] {
        for title in [1.0, 1.5, 2.0, 3.0, 5.0] {
            for b in [[0.75; 3], [0.5; 3], [0.5, 0.75, 0.75], [0.3, 0.75, 0.75], [0.75, 0.5, 0.75]] {
                measure(k1, b, [title, 1.0, 0.0]);
            }
        }
    }
    println!("the defaults, without and with the brand:");
    let b = [DEFAULT_TITLE_B, DEFAULT_B, DEFAULT_B];
    for brand in [0.0, DEFAULT_FIELD_WEIGHT] {
        assert!(measure(DEFAULT_K1, b, [DEFAULT_TITLE_WEIGHT, DEFAULT_DESCRIPTION_WEIGHT, brand]) >= 0.75);
    }

    let weights = [DEFAULT_TITLE_WEIGHT, DEFAULT_DESCRIPTION_WEIGHT, DEFAULT_FIELD_WEIGHT];
    let index = KeywordIndex::open(&place, &manifest(DEFAULT_K1, b, weights)).unwrap();
    let mut times: Vec<f64> = Vec::new();
    for _ in 0..20 {
        for (_, text) in &chorus.queries {
            let start = Instant::now();
            let query = index.analyze(&[(text, 1.0)]).unwrap();
            std::hint::black_box(index.retrieve(&query, None, 100).unwrap());
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    times.sort_by(f64::total_cmp);
    println!("p50 {:.0} µs, p99 {:.0} µs", times[times.len() / 2], times[times.len() * 99 / 100]);
}

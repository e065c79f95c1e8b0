//! The measures against pytrec_eval's numbers on the same run; `data/make_metrics.py` made them, once.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use searcher::evaluation::metrics::{grades, highest_first};
use searcher::evaluation::{GradedList, Measure, Metrics, evaluate, has_relevant, trec_order};

const TOLERANCE: f64 = 1e-6;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn expected() -> BTreeMap<String, BTreeMap<String, f64>> {
    serde_json::from_slice(&fs_err::read(data("metrics_expected.json")).unwrap()).unwrap()
}

fn as_map(metrics: &Metrics) -> BTreeMap<String, f64> {
    serde_json::from_value(serde_json::to_value(metrics).unwrap()).unwrap()
}

#[test]
fn every_query_measures_as_pytrec_eval_does() {
    let qrels = schemas::trec::read_qrels(&data("metrics_qrels.tsv")).unwrap();
    let run = schemas::trec::read_run(&data("metrics_run.tsv")).unwrap();
    let expected = expected();
    assert!(expected.len() >= 10);
    for (query, expected) in &expected {
        let documents = run.get(query).map_or(&[][..], Vec::as_slice);
        let ranked = trec_order(documents);
        let metrics = as_map(&Metrics::of(&ranked, &qrels[query]));
        assert!(metrics.keys().all(|measure| expected.contains_key(measure)), "every measure has a reference");
        let (grades, judged) = (grades(&ranked, &qrels[query]), highest_first(&qrels[query]));
        for (measure, expected) in expected {
            let got = measure.parse::<Measure>().unwrap().of(GradedList { ranked: &grades, judged: &judged });
            assert_eq!(metrics.get(measure).copied().unwrap_or(got), got, "one formula for a measure");
            assert!((got - expected).abs() < TOLERANCE, "{query} {measure}: {got}, pytrec_eval says {expected}");
        }
    }
}

#[test]
fn means_are_over_the_queries_with_a_relevant_document() {
    let qrels = schemas::trec::read_qrels(&data("metrics_qrels.tsv")).unwrap();
    let run = schemas::trec::read_run(&data("metrics_run.tsv")).unwrap();
    let expected = expected();
    let asked: Vec<&str> = qrels.keys().map(String::as_str).filter(|query| *query != "q99").collect();
    let lists = asked.iter().map(|query| (*query, run.get(*query).map_or_else(Vec::new, |run| trec_order(run))));
    let evaluation = evaluate(lists, &qrels);
    assert_eq!((evaluation.queries, evaluation.skipped), (expected.len(), 1));
    assert_eq!(qrels.values().filter(|judgments| !has_relevant(judgments)).count(), 1);
    let got = as_map(&evaluation.metrics);
    for (measure, got) in got {
        let mean = expected.values().map(|query| query[&measure]).sum::<f64>() / expected.len() as f64;
        assert!((got - mean).abs() < TOLERANCE, "{measure}: {got}, pytrec_eval says {mean}");
    }
}

//! Relevance, on the fixture's judged queries and on the real catalogs beside the repository. The floors are below the
//! figures in the README by less than a change of the ranking would cost.

use std::path::Path;

use serde_json::Value;

use crate::harness::{Folder, fixture_store, indexer, root, searcher, shared};

fn evaluate(store: &Path, queries_flag: &str, queries: &Path, qrels: &Path) -> Value {
    let program = searcher(["eval", "--json", "--store"]).arg(store).arg(queries_flag).arg(queries);
    program.arg("--qrels").arg(qrels).output().expect_code(0).json()
}

fn figure(result: &Value, mode: &str, metric: &str) -> f64 {
    result[mode][metric].as_f64().unwrap_or_else(|| panic!("no {metric} for {mode} in {result}"))
}

#[test]
fn hybrid_beats_keyword_and_vector_on_the_fixture() {
    let fixtures = root().join("fixtures");
    let result = evaluate(fixture_store(), "--queries", &fixtures.join("queries.tsv"), &fixtures.join("qrels.tsv"));
    let [keyword, vector, hybrid] = ["keyword", "vector", "hybrid"].map(|mode| figure(&result, mode, "ndcg@10"));
    assert!(hybrid > keyword && hybrid > vector, "{result:#}");
}

#[test]
fn pictures_find_their_kind_on_the_fixture() {
    let fixtures = root().join("fixtures");
    let (queries, qrels) = (fixtures.join("image_queries.tsv"), fixtures.join("image_qrels.tsv"));
    let result = evaluate(fixture_store(), "--image-queries", &queries, &qrels);
    assert!(figure(&result, "vector", "ndcg@10") >= 0.5, "{result:#}");
}

/// The floors are a few hundredths below what the README shows.
#[test]
fn every_kind_of_query_keeps_its_floor_on_the_fixture() {
    let fixtures = root().join("fixtures");
    for (flag, name, floors) in [
        ("--queries", "", [("keyword", 0.72), ("vector", 0.78), ("hybrid", 0.80)]),
        ("--image-queries", "image_", [("keyword", 0.0), ("vector", 0.70), ("hybrid", 0.70)]),
        ("--image-queries", "multimodal_", [("keyword", 0.02), ("vector", 0.65), ("hybrid", 0.33)]),
    ] {
        let (queries, qrels) = (fixtures.join(format!("{name}queries.tsv")), fixtures.join(format!("{name}qrels.tsv")));
        let result = evaluate(fixture_store(), flag, &queries, &qrels);
        for (mode, floor) in floors {
            assert!(figure(&result, mode, "ndcg@10") >= floor, "{name}{mode}: {result:#}");
        }
    }
}

#[test]
fn real_catalogs_with_pictures_run_through() {
    let Some(shared) = shared() else { return };
    let model = root().join("fixtures/model");
    for (name, items) in [("eshop", 101), ("grocery", 81)] {
        let folder = Folder::new();
        let catalog = shared.join("data").join(name).join("catalog.jsonl");
        let encoders =
            ["title", "image"].map(|one| format!("[encoders.{one}]\nmodel = '{}'\n", model.display())).concat();
        folder.config(&fs_err::canonicalize(catalog).unwrap().display().to_string(), &encoders);
        let report = folder.publish();
        assert_eq!((&report["items"], &report["rejected"]), (&Value::from(items), &Value::from(0)), "{name}");
        assert_eq!(report["encoded"]["image"], items, "{name}");
        assert_eq!(folder.publish()["encoded"]["image"], 0, "{name}");
    }
}

#[test]
fn chorus_reaches_the_yardstick() {
    let Some(shared) = shared() else { return };
    let folder = Folder::new();
    let data = fs_err::canonicalize(shared.join("data/chorus")).unwrap();
    let model = fs_err::canonicalize(shared.join("models/all-MiniLM-L6-v2")).unwrap();
    let config = fs_err::read_to_string(root().join("tests/chorus.toml")).unwrap();
    folder.write("catalens.toml", config);
    let catalog = data.join("catalog.jsonl");
    let report = indexer(["run", "--json", "--config"])
        .arg(folder.path("catalens.toml"))
        .arg("--store")
        .arg(folder.path("store"))
        .arg("--catalog")
        .arg(&catalog)
        .arg("--set")
        .arg(format!("encoders.title.model={}", model.display()))
        .arg("--set")
        .arg(format!("encoders.description.model={}", model.display()))
        .output()
        .expect_code(0)
        .json();
    assert_eq!(report["items"], 19_406);
    let result = evaluate(&folder.path("store"), "--queries", &data.join("queries.tsv"), &data.join("qrels.tsv"));
    let (keyword, hybrid) = (figure(&result, "keyword", "ndcg@10"), figure(&result, "hybrid", "ndcg@10"));
    assert!(keyword >= 0.72, "{result:#}");
    assert!(hybrid >= keyword - 0.01, "{result:#}");
    let judged = |mode| figure(&result, mode, "judged_ndcg@10");
    assert!(judged("hybrid") > judged("keyword"), "{result:#}");

    // Tuned, every query measured with settings that did not see it.
    let tune = |mode: &str| {
        let program = searcher(["tune", "--json", "--mode", mode, "--store"]).arg(folder.path("store"));
        let program = program.arg("--queries").arg(data.join("queries.tsv")).arg("--qrels").arg(data.join("qrels.tsv"));
        let report = program.output().expect_code(0).json();
        [0, 1].map(|measure| report["measures"][measure]["after"].as_f64().unwrap())
    };
    let ([keyword, _], [hybrid, judged_hybrid]) = (tune("keyword"), tune("hybrid"));
    assert!(keyword >= 0.76 && hybrid >= keyword && judged_hybrid >= 0.88, "{keyword} {hybrid} {judged_hybrid}");
    assert!(judged_hybrid >= judged("keyword") + 0.03, "{judged_hybrid} {result:#}");
}

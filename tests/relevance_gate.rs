//! `[gates.relevance]`: a night that answers judged queries worse is refused; and settings of `searcher tune` in a night.

use serde_json::json;

use crate::harness::{Folder, Output, indexer};

const GATE: &str =
    "[gates.relevance]\nqueries = 'golden.tsv'\nqrels = 'golden_qrels.tsv'\nfloor = 0.7\nmax_query_drop = 0.3\n";

/// Twenty products; `titles` says what stands in each title.
fn catalog(titles: impl Fn(u32) -> String) -> String {
    (0..20).map(|id| format!("{}\n", json!({"id": format!("i{id}"), "title": titles(id)}))).collect()
}

fn word(id: u32) -> &'static str {
    ["oak", "willow", "birch", "cedar", "maple"][(id % 5) as usize]
}

fn golden(folder: &Folder) {
    folder.write("golden.tsv", "q1\toak basket\nq2\twillow basket\nq3\tcedar basket\n");
    let judged = [("q1", 0), ("q2", 1), ("q3", 3)];
    let lines =
        judged.iter().flat_map(|(query, wood)| (0..4).map(move |nth| format!("{query} 0 i{} 1\n", wood + 5 * nth)));
    folder.write("golden_qrels.tsv", lines.collect::<String>());
}

fn run_with(folder: &Folder, arguments: &[&str]) -> Output {
    indexer(["run", "--json", "--config"]).arg(folder.path("catalens.toml")).args(arguments).output()
}

#[test]
fn a_spoilt_catalog_is_refused_and_the_report_names_the_queries_that_fell() {
    let folder = Folder::new();
    folder.config("items.jsonl", GATE);
    golden(&folder);
    folder.write("items.jsonl", catalog(|id| format!("{} basket {id}", word(id))));
    let first = folder.publish();
    assert_eq!(first["gates"]["relevance.floor"]["value"], 1.0);
    assert!(first["gates"].get("relevance.max_drop").is_none(), "the first night has nothing to compare with");

    // The feed put each title on the next product, but for those of oak.
    let wood = ["oak", "birch", "cedar", "maple", "willow"];
    let shifted = |id: u32| format!("{} basket {id}", wood[(id % 5) as usize]);
    folder.write("items.jsonl", catalog(shifted));
    let refused = folder.run().expect_code(1);
    let gates = refused.json()["gates"].clone();
    let names = ["relevance.floor", "relevance.max_drop", "relevance.max_query_drop"];
    for gate in names {
        assert_eq!(gates[gate]["passed"], false, "{gates:#}");
    }
    let message = gates["relevance.max_query_drop"]["message"].as_str().unwrap();
    assert!(message.contains("q2 (`willow basket`) 1.0000 to 0.") && message.contains("q3"), "{message}");
    assert!(!message.contains("q1"), "{message}");
    refused.expect_stderr(&["`gates.relevance.max_drop`", "q2 (`willow basket`) 1.0000 to 0."]);
    let current = fs_err::read_to_string(folder.path("store/CURRENT")).unwrap();
    assert_eq!(current.trim(), first["snapshot"], "the old snapshot serves");

    let allowed = [
        "--set",
        "gates.relevance.floor=0",
        "--set",
        "gates.relevance.max_drop=1",
        "--set",
        "gates.relevance.max_query_drop=1",
    ];
    run_with(&folder, &allowed).expect_code(0);
}

#[test]
fn a_mistake_in_the_golden_queries_is_found_before_the_night_begins() {
    let folder = Folder::new();
    folder.config("items.jsonl", GATE);
    folder.write("items.jsonl", catalog(|id| format!("{} basket {id}", word(id))));
    folder.write("golden.tsv", "q1\toak basket\n");
    folder.write("golden_qrels.tsv", "q9 0 i0 1\n");
    folder.run().expect_code(2).expect_stderr(&["gates.relevance.qrels", "ids agree"]);
}

#[test]
fn tuned_settings_become_the_snapshots() {
    let folder = Folder::new();
    folder.config("items.jsonl", "");
    golden(&folder);
    folder.write("items.jsonl", catalog(|id| format!("{} basket {id}", word(id))));
    folder.publish();
    let tune = |output: &str| {
        let program = crate::harness::searcher([
            "tune", "--json", "--mode", "keyword", "--folds", "3", "--search", "random", "--trials", "10",
        ]);
        let program = program.arg("--store").arg(folder.path("store")).arg("--queries").arg(folder.path("golden.tsv"));
        let program = program.arg("--qrels").arg(folder.path("golden_qrels.tsv")).arg("--output");
        program.arg(folder.path(output)).output().expect_code(0)
    };
    let report = tune("ranking.toml").expect_stderr(&["no gain on queries"]);
    assert_eq!(report.stdout, tune("again.toml").stdout, "one seed, one report");
    assert_eq!(report.json()["untuned"], 1.0);
    let text = fs_err::read_to_string(folder.path("ranking.toml")).unwrap();
    assert!(text.starts_with("# Tuned by `searcher tune` for keyword search") && text.contains("seed"), "{text}");

    let config = fs_err::read_to_string(folder.path("catalens.toml")).unwrap();
    folder.write("catalens.toml", format!("ranking = 'ranking.toml'\n{config}"));
    folder.write("ranking.toml", text.replace("k1 = 1.2", "k1 = 0.9"));
    let published = folder.publish();
    let manifest = folder.path("store/snapshots").join(published["snapshot"].as_str().unwrap()).join("manifest.json");
    let manifest: serde_json::Value = serde_json::from_slice(&fs_err::read(manifest).unwrap()).unwrap();
    assert!((manifest["keyword"]["k1"].as_f64().unwrap() - 0.9).abs() < 1e-6, "{manifest:#}");
    folder.write("ranking.toml", "[keyword]\nk9 = 1\n");
    folder.run().expect_code(2).expect_stderr(&["k9"]);
}

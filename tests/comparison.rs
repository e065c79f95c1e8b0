//! `searcher eval`: comparisons, figures by query, and the report.

use ::searcher::evaluation::trec_order;
use serde_json::{Value, json};

use crate::harness::{Folder, Output, fixture_store, ids, root, searcher};

fn eval(arguments: &[&str]) -> Output {
    evaluated(arguments).expect_code(0)
}

fn evaluated(arguments: &[&str]) -> Output {
    let fixtures = root().join("fixtures");
    let program = searcher(["eval", "--store"]).arg(fixture_store()).arg("--queries").arg(fixtures.join("queries.tsv"));
    program.arg("--qrels").arg(fixtures.join("qrels.tsv")).args(arguments).output()
}

fn comparison<'a>(result: &'a Value, measure: &str) -> &'a Value {
    let all = result["comparisons"].as_array().unwrap();
    &all.iter().find(|one| one["comparison"]["measure"] == measure).unwrap()["comparison"]
}

#[test]
fn hybrid_is_compared_with_keyword_and_the_figures_agree() {
    let result = eval(&["--json", "--per-query", "--measure", "ndcg@5,precision@20"]).json();
    let found = comparison(&result, "ndcg@10");
    assert_eq!((&found["before"], &found["after"]), (&result["keyword"]["ndcg@10"], &result["hybrid"]["ndcg@10"]));
    let p = found["p_value"].as_f64().unwrap();
    assert!(p > 0.0 && p < 0.05, "{found:#}");
    let counted = ["better", "worse", "equal"].map(|key| found[key].as_u64().unwrap()).iter().sum::<u64>();
    assert_eq!(found["queries"], counted);
    let queries = result["hybrid"]["per_query"].as_array().unwrap();
    let mean = queries.iter().map(|query| query["ndcg@10"].as_f64().unwrap()).sum::<f64>() / queries.len() as f64;
    assert!((mean - result["hybrid"]["ndcg@10"].as_f64().unwrap()).abs() < 1e-9);
    assert!(result["vector"]["ndcg@5"].is_f64() && result["vector"]["precision@20"].is_f64());
}

#[test]
fn settings_are_compared_with_the_snapshots_own_and_a_snapshot_with_itself() {
    let folder = Folder::new();
    let settings = folder.write("ranking.toml", "[rank_fusion]\nalpha = 0.0\n");
    let settings = settings.to_str().unwrap();
    let result = eval(&["--json", "--mode", "hybrid", "--settings", settings, "--against", "defaults"]).json();
    let found = comparison(&result, "ndcg@10");
    assert!(found["difference"].as_f64().unwrap() < 0.0, "{found:#}");
    assert!(!found["changed"].as_array().unwrap().is_empty());

    let current = fs_err::read_to_string(fixture_store().join("CURRENT")).unwrap();
    let snapshot = fixture_store().join("snapshots").join(current.trim());
    let same = eval(&["--json", "--mode", "keyword", "--against-snapshot", snapshot.to_str().unwrap()]).json();
    let found = comparison(&same, "judged_ndcg@10");
    assert_eq!((found["difference"].as_f64(), found["p_value"].as_f64()), (Some(0.0), Some(1.0)));
}

#[test]
fn tables_have_every_query_and_the_test() {
    let folder = Folder::new();
    let tsv = folder.path("queries.tsv");
    let output = eval(&["--mode", "keyword,hybrid", "--per-query", "--per-query-tsv", tsv.to_str().unwrap()]);
    for words in ["keyword → hybrid", "p: two-sided paired randomisation test", "t001", "exp. nDCG@10"] {
        assert!(output.stdout.contains(words), "{output}");
    }
    let lines = fs_err::read_to_string(tsv).unwrap();
    assert!(lines.starts_with("query\tmode\tnDCG@10\t") && lines.lines().count() == 2 * 81 + 1, "{lines}");
}

#[test]
fn a_report_is_one_page_in_which_markup_stays_text() {
    let folder = Folder::new();
    folder.config("items.jsonl", "");
    let row =
        |id: u32, title: &str| format!("{}\n", json!({"id": format!("i{id}"), "title": title, "image": "a b.png"}));
    folder.write("items.jsonl", row(1, "<script>alert(1)</script> oak basket") + &row(2, "willow & oak"));
    folder.publish();
    let queries = folder.write("queries.tsv", "q<1>\toak <script>alert(2)</script>\n");
    let qrels = folder.write("qrels.tsv", "q<1> 0 i1 2\nq<1> 0 i2 0\n");
    let report = folder.path("report.html");
    let program = searcher(["eval", "--mode", "keyword", "--store"]).arg(folder.path("store"));
    let program = program.arg("--queries").arg(queries).arg("--qrels").arg(qrels).arg("--report").arg(&report);
    program.arg("--pictures").arg(folder.path("")).output().expect_code(0);
    let html = fs_err::read_to_string(report).unwrap();
    assert!(!html.contains("<script"), "{html}");
    for words in
        ["&lt;script&gt;alert(1)", "alert(2)", "q&lt;1&gt;", "grade 2", "/a%20b.png\"", "nDCG@10", "Snapshot 2"]
    {
        assert!(html.contains(words), "{words}: {html}");
    }
}

#[test]
fn lists_are_measured_as_a_search_with_the_same_flags_shows_them() {
    let folder = Folder::new();
    let history = folder.write("history.jsonl", r#"{"id": "p0925", "time": 0}"#).display().to_string();
    let flags = ["--collapse", "category", "--history", &history, "--history-weight", "0.6"];
    let run = |name: &str, flags: &[&str]| {
        let path = folder.path(name);
        eval(&[&["--mode", "hybrid", "--run", path.to_str().unwrap()], flags].concat());
        schemas::trec::read_run(&path).unwrap()
    };
    let (plain, collapsed, personal) = (run("plain", &[]), run("collapsed", &flags[..2]), run("personal", &flags));
    assert!(plain != collapsed && collapsed != personal);
    let queries = schemas::trec::read_queries(&root().join("fixtures/queries.tsv")).unwrap();
    for query in &queries[..3] {
        let shown = searcher(["search", "--json", "--limit", "1000", "--store"]).arg(fixture_store()).args(&flags);
        let shown = ids(&shown.arg("--").arg(&query.text).output().expect_code(0).json());
        assert_eq!(trec_order(&personal[&query.id]), shown, "query {}", query.id);
        assert!(shown.len() < plain[&query.id].len());
    }
    evaluated(&["--collapse", "price"]).expect_code(2).expect_stderr(&["collapse: `price`"]);
    evaluated(&["--user", "ana"]).expect_code(2).expect_stderr(&["--history"]);
}

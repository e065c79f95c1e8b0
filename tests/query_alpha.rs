//! An alpha that depends on the query: what explanations say of it, and when `searcher tune` keeps it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{Folder, fixture_store, root, searcher};

/// Queries of each kind.
const QUERIES: usize = 16;

#[test]
fn explanations_say_what_moved_alpha_and_by_how_much() {
    let folder = Folder::new();
    let settings = "[rank_fusion]\nalpha = 0.5\n[rank_fusion.query_alpha]\nwords = { weight = 0.4, middle = 0.5 }\n\
                    digits = { weight = -0.6, middle = 0.0 }\nvector_spread = { weight = 0.5, middle = 0.4 }\n";
    let settings = folder.write("ranking.toml", settings);
    let search = |arguments: &[&str]| {
        let program = searcher(["search", "mug 250 ml", "--explain", "--settings"]).arg(&settings);
        program.arg("--store").arg(fixture_store()).args(arguments).output().expect_code(0)
    };
    let result = search(&["--json", "-k", "20"]).json();
    for hit in result["hits"].as_array().unwrap() {
        let fusion = &hit["explain"]["fusion"];
        let parts = fusion["query_alpha"]["parts"].as_array().unwrap();
        let names: Vec<&str> = parts.iter().map(|part| part["feature"].as_str().unwrap()).collect();
        assert_eq!(names, ["words", "digits", "vector_spread"], "in the features' order");
        // `mug` and the one word `250 ml`.
        assert_eq!((parts[0]["value"].as_f64(), parts[1]["value"].as_f64()), (Some(0.5), Some(0.5)));
        let part = |part: &Value| part["part"].as_f64().unwrap();
        let alpha = fusion["alpha"].as_f64().unwrap();
        let sum = fusion["query_alpha"]["base"].as_f64().unwrap() + parts.iter().map(part).sum::<f64>();
        assert!((sum - alpha).abs() <= 1e-5, "{fusion}");
        let normalised = |side: &str| hit["explain"][side]["normalised"].as_f64().unwrap();
        let score = (1.0 - alpha) * normalised("keyword") + alpha * normalised("vector");
        assert!((score - hit["score"].as_f64().unwrap()).abs() <= 1e-5, "{hit}");
    }
    let shown = search(&["-k", "1"]).stdout;
    for words in [" = 0.5 + 0.0000 words (0.5000, middle 0.5, weight 0.4)", " - 0.3000 digits (", "vector_spread"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let given = search(&["--json", "--alpha", "0.25", "-k", "1"]).json();
    let fusion = &given["hits"][0]["explain"]["fusion"];
    assert_eq!((fusion["alpha"].as_f64(), fusion.get("query_alpha")), (Some(0.25), None));

    let wrong = folder.write("wrong.toml", "[rank_fusion.query_alpha]\nlength = { weight = 1, middle = 0 }\n");
    let wrong = searcher(["search", "mug", "--settings"]).arg(&wrong).arg("--store").arg(fixture_store()).output();
    wrong.expect_code(2).expect_stderr(&["length", "mean_rarity"]);
}

/// Titles of the fixture as queries, some with digits and some without, and a file that judges anything, to ask them.
fn titles(folder: &Folder) -> (PathBuf, PathBuf) {
    let catalog = fs_err::read_to_string(root().join("fixtures/catalog.jsonl")).unwrap();
    let item = |line: &str| -> (String, String) {
        let item: Value = serde_json::from_str(line).unwrap();
        (item["id"].as_str().unwrap().to_owned(), item["title"].as_str().unwrap_or_default().to_owned())
    };
    let items: Vec<(String, String)> = catalog.lines().map(item).collect();
    let has_digit = |title: &str| title.contains(|letter: char| letter.is_ascii_digit());
    let is_plain = |title: &str| title.is_ascii() && title.split(' ').count() >= 4;
    let some = |digits: bool| {
        items.iter().filter(move |(_, title)| is_plain(title) && has_digit(title) == digits).take(QUERIES)
    };
    let queries: String = some(true).chain(some(false)).map(|(id, title)| format!("{id}\t{title}\n")).collect();
    let qrels: String = some(true).chain(some(false)).map(|(id, _)| format!("{id} 0 {id} 1\n")).collect();
    (folder.write("queries.tsv", queries), folder.write("any.tsv", qrels))
}

/// The first hits of each query in a mode, as judgments: the query and a line for each.
fn judged_by(folder: &Folder, mode: &str, (queries, qrels): &(PathBuf, PathBuf)) -> Vec<(String, String)> {
    let run = folder.path("run.txt");
    let program = searcher(["eval", "--mode", mode, "--store"]).arg(fixture_store()).arg("--queries").arg(queries);
    program.arg("--qrels").arg(qrels).arg("--run").arg(&run).output().expect_code(0);
    let run = fs_err::read_to_string(run).unwrap();
    let judged = run.lines().filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let rank: u32 = columns[3].parse().unwrap();
        (rank <= 10).then(|| (columns[0].to_owned(), format!("{} 0 {} {}\n", columns[0], columns[2], 11 - rank)))
    });
    judged.collect()
}

fn tune(qrels: &Path, queries: &Path, output: &Path) -> Value {
    let program = searcher(["tune", "--json", "--folds", "4", "--store"]).arg(fixture_store());
    let program = program.arg("--queries").arg(queries).arg("--qrels").arg(qrels).arg("--output").arg(output);
    program.output().expect_code(0).expect_stderr(&["alpha"]).json()
}

#[test]
fn tuning_keeps_it_where_numbers_are_for_keywords_and_the_rest_for_vectors() {
    let folder = Folder::new();
    let asked = titles(&folder);
    let queries = fs_err::read_to_string(&asked.0).unwrap();
    let has_digit = |id: &str| {
        let title = queries.lines().find_map(|line| line.strip_prefix(id)?.strip_prefix('\t')).unwrap();
        title.contains(|letter: char| letter.is_ascii_digit())
    };
    let keyword = judged_by(&folder, "keyword", &asked).into_iter().filter(|(query, _)| has_digit(query));
    let vector = judged_by(&folder, "vector", &asked).into_iter().filter(|(query, _)| !has_digit(query));
    let judged: String = keyword.chain(vector).map(|(_, line)| line).collect();
    let (qrels, output) = (folder.write("qrels.tsv", judged), folder.path("ranking.toml"));
    let report = tune(&qrels, &asked.0, &output);
    let found = &report["query_alpha"];
    assert_eq!(found["kept"], true, "{found:#}");
    assert!(found["gain"].as_f64().unwrap() > 0.0 && found["p_value"].as_f64().unwrap() < 0.05, "{found:#}");
    let settings = &report["settings"]["rank_fusion"]["query_alpha"];
    assert!(settings["digits"]["weight"].as_f64().unwrap() < 0.0, "{settings}");
    let written = fs_err::read_to_string(&output).unwrap();
    assert!(written.contains("[rank_fusion.query_alpha.digits]") && written.contains("with query_alpha"), "{written}");

    // The file is read, and moves alpha apart.
    let alpha = |text: &str| {
        let program = searcher(["search", text, "--json", "--explain", "-k", "1", "--settings"]).arg(&output);
        let result = program.arg("--store").arg(fixture_store()).output().expect_code(0).json();
        result["hits"][0]["explain"]["fusion"]["alpha"].as_f64().unwrap()
    };
    assert!(alpha("mug 250 ml") < alpha("striped mug"));
}

#[test]
fn tuning_leaves_it_out_where_one_alpha_is_the_best_for_all_and_where_features_say_nothing() {
    let folder = Folder::new();
    let asked = titles(&folder);
    let judged: String = judged_by(&folder, "hybrid", &asked).into_iter().map(|(_, line)| line).collect();
    let (qrels, output) = (folder.write("qrels.tsv", judged), folder.path("ranking.toml"));
    let report = tune(&qrels, &asked.0, &output);
    let found = &report["query_alpha"];
    assert_eq!((&found["kept"], &found["constant"]), (&Value::from(false), &Value::from(1.0)), "{found:#}");
    assert!(!fs_err::read_to_string(&output).unwrap().contains("query_alpha"));
    assert_eq!(report["in_sample"], 1.0);

    // Every other query is for keywords, the rest for vectors: some formula fits the queries seen, and fails on the others.
    let queries = fs_err::read_to_string(&asked.0).unwrap();
    let place = |id: &str| queries.lines().position(|line| line.split('\t').next() == Some(id)).unwrap();
    let keyword = judged_by(&folder, "keyword", &asked).into_iter().filter(|(query, _)| place(query) % 2 == 0);
    let vector = judged_by(&folder, "vector", &asked).into_iter().filter(|(query, _)| place(query) % 2 == 1);
    let judged: String = keyword.chain(vector).map(|(_, line)| line).collect();
    let found = &tune(&folder.write("qrels.tsv", judged), &asked.0, &output)["query_alpha"];
    assert_eq!(found["kept"], false, "{found:#}");
    let chosen = found["chosen_by_fold"].as_array().unwrap();
    assert!(chosen.iter().any(|formula| !formula.as_object().unwrap().is_empty()), "{found:#}");
    assert!(!fs_err::read_to_string(&output).unwrap().contains("query_alpha"));
}

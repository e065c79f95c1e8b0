//! The search program over the published fixture.

use serde_json::Value;

use crate::harness::{Output, fixture_store, ids, root, searcher};

fn search(arguments: &[&str]) -> Output {
    searcher(["search", "--store"]).arg(fixture_store()).args(arguments).output()
}

fn json(arguments: &[&str]) -> Value {
    let mut arguments = arguments.to_vec();
    arguments.push("--json");
    search(&arguments).expect_code(0).json()
}

fn query_picture() -> String {
    let queries = fs_err::read_to_string(root().join("fixtures/image_queries.tsv")).unwrap();
    let path = queries.lines().next().unwrap().split('\t').nth(1).unwrap().to_owned();
    root().join("fixtures").join(path).display().to_string()
}

#[test]
fn a_text_query_finds_items_in_every_mode() {
    for mode in ["keyword", "vector", "hybrid"] {
        let result = json(&["red mug", "--mode", mode, "-k", "5"]);
        assert_eq!(result["hits"].as_array().unwrap().len(), 5, "{mode}");
        assert!(result["total"].as_u64().unwrap() >= 5);
        assert!(result["took_ms"].is_number());
        let hits = result["hits"].as_array().unwrap();
        for (rank, hit) in (1..).zip(hits) {
            assert_eq!(hit["rank"], rank);
            assert!(hit["title"].is_string() && hit["id"].is_string() && hit["score"].is_number());
        }
        let scores: Vec<f64> = hits.iter().map(|hit| hit["score"].as_f64().unwrap()).collect();
        assert!(scores.is_sorted_by(|a, b| a >= b), "{mode}: {scores:?}");
    }
}

#[test]
fn pages_joined_equal_one_large_page_in_every_mode() {
    for mode in ["keyword", "vector", "hybrid"] {
        let whole = json(&["striped cotton shirt", "--mode", mode, "-k", "30"]);
        let mut joined = Vec::new();
        for offset in ["0", "10", "20"] {
            let page = json(&["striped cotton shirt", "--mode", mode, "-k", "10", "--offset", offset]);
            assert_eq!(page["total"], whole["total"], "{mode}");
            joined.extend(page["hits"].as_array().unwrap().clone());
        }
        assert_eq!(&joined, whole["hits"].as_array().unwrap(), "{mode}");
    }
}

#[test]
fn explanations_add_up_to_the_score() {
    for arguments in [
        vec!["blue striped sofa"],
        vec!["blue striped sofa", "--mode", "keyword"],
        vec!["blue striped sofa", "--mode", "vector"],
        vec!["蓝色 杯子"],
        vec!["lamp", "--like", "p0001^0.5"],
    ] {
        let mut arguments = arguments;
        arguments.extend(["--explain", "-k", "20"]);
        let result = json(&arguments);
        for hit in result["hits"].as_array().unwrap() {
            let explain = &hit["explain"];
            let close = |sum: f64, score: &Value, what: &str| {
                let score = score.as_f64().unwrap();
                assert!((sum - score).abs() <= 1e-5, "{what}: {sum} is not {score} in {hit}");
            };
            let part = |name: &str| explain["fusion"][name].as_f64().unwrap_or(0.0);
            close(part("keyword") + part("vector"), &hit["score"], "fusion");
            if let Some(terms) = explain["keyword"]["terms"].as_array() {
                let sum = terms.iter().map(|term| term["score"].as_f64().unwrap()).sum();
                close(sum, &explain["keyword"]["score"], "terms");
                for term in terms {
                    let fields = term["fields"].as_array().unwrap().iter();
                    close(fields.map(|field| field["score"].as_f64().unwrap()).sum(), &term["score"], "fields");
                }
            }
            if let Some(modalities) = explain["vector"]["modalities"].as_array() {
                let sum = modalities.iter().map(|modality| modality["score"].as_f64().unwrap()).sum();
                close(sum, &explain["vector"]["score"], "modalities");
            }
        }
    }
    let table = search(&["blue striped sofa", "--explain", "-k", "2"]).expect_code(0);
    assert!(table.stdout.contains("sofa"), "{table}");
}

#[test]
fn pictures_and_items_search_alone_and_with_text() {
    let picture = query_picture();
    let by_picture = json(&["--image", &picture, "-k", "10"]);
    assert_eq!(ids(&by_picture).len(), 10);
    let with_text = json(&["red", "--image", &format!("{picture}^0.7"), "-k", "10"]);
    assert_ne!(ids(&by_picture), ids(&with_text));
    let like = json(&["--like", "p0001", "-k", "10"]);
    assert!(!ids(&like).contains(&"p0001".to_owned()), "the item itself is left out");
    assert_ne!(ids(&json(&["--like", "p0001", "--like", "p0002^2", "-k", "10"])), ids(&like));
}

#[test]
fn filters_hold_for_every_hit_and_for_the_total() {
    for mode in ["keyword", "vector", "hybrid"] {
        let filter = "price < 50 and colour in [\"red\", \"blue\"] and not language = \"zh\"";
        let result = json(&["mug", "--mode", mode, "--filter", filter, "-k", "50"]);
        let hits = result["hits"].as_array().unwrap();
        assert!(!hits.is_empty(), "{mode}");
        for hit in hits {
            assert!(hit["price"].as_f64().unwrap() < 50.0 && hit["language"] != "zh", "{hit}");
            assert!(["red", "blue"].contains(&hit["colour"].as_str().unwrap()), "{hit}");
        }
    }
}

#[test]
fn nothing_found_is_exit_code_1() {
    search(&["xyzzyplugh", "--mode", "keyword"]).expect_code(1);
    let none = search(&["mug", "--filter", "price < 0", "--json"]).expect_code(1).json();
    assert_eq!((&none["total"], none["hits"].as_array().unwrap().len()), (&Value::from(0), 0));
}

#[test]
fn what_cannot_be_asked_is_an_error_that_says_why() {
    search(&["mug", "--filter", "prise < 5"]).expect_code(2).expect_stderr(&["prise", "price"]);
    search(&["mug", "--filter", "price < "]).expect_code(2).expect_stderr(&["position"]);
    search(&["mug", "--filter", "price < \"cheap\""]).expect_code(2).expect_stderr(&["price"]);
    search(&["--like", "nobody"]).expect_code(2).expect_stderr(&["nobody"]);
    search(&["--image", "none.jpg"]).expect_code(2).expect_stderr(&["none.jpg"]);
    search(&["--image", &query_picture(), "--mode", "keyword"]).expect_code(2).expect_stderr(&["keyword"]);
    search(&["--image", file!()]).expect_code(2).expect_stderr(&["search.rs"]);
    search(&[]).expect_code(2);
    search(&["mug", "--mode", "psychic"]).expect_code(2).expect_stderr(&["hybrid"]);
    searcher(["search", "mug", "--store", "no-such-store"]).output().expect_code(2).expect_stderr(&["no-such-store"]);
}

#[test]
fn keyword_queries_load_no_model() {
    let folder = crate::harness::Folder::new();
    let store = folder.path("store");
    crate::harness::copy_folder(fixture_store(), &store);
    fs_err::remove_dir_all(store.join("encoders")).unwrap();
    let search = |mode: &str| searcher(["search", "mug", "--mode", mode, "--store"]).arg(&store).output();
    search("keyword").expect_code(0);
    search("vector").expect_code(2).expect_stderr(&["encoders"]);
}

#[test]
fn a_snapshot_folder_opens_by_itself() {
    let store = fixture_store();
    let current = fs_err::read_to_string(store.join("CURRENT")).unwrap();
    let snapshot = store.join("snapshots").join(current.trim());
    let direct = searcher(["search", "oak chair", "--json", "--snapshot"]).arg(snapshot).output().expect_code(0).json();
    assert_eq!(ids(&direct), ids(&json(&["oak chair"])));
}

#[test]
fn titles_cannot_send_control_sequences() {
    let folder = crate::harness::Folder::new();
    folder.config("items.jsonl", "");
    let title = "kettle \u{1b}[31mred\u{7}\u{202e} end";
    folder.write("items.jsonl", serde_json::json!({"id": "a\u{1b}[2J", "title": title}).to_string());
    folder.publish();
    let table = folder.search(&["kettle", "--mode", "keyword"]).expect_code(0);
    assert!(!table.stdout.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{:?}", table.stdout);
    assert!(table.stdout.contains("kettle"));
}

#[test]
fn help_names_every_flag_of_the_contract() {
    let help = searcher(["search", "--help"]).output().expect_code(0).stdout;
    for flag in
        ["--store", "--snapshot", "--image", "--like", "--mode", "-k", "--offset", "--filter", "--explain", "--json"]
    {
        assert!(help.contains(flag), "{flag}");
    }
    for flag in ["--unlike", "--not", "--sort", "--facet", "--facet-values", "--collapse", "--diversity"] {
        assert!(help.contains(flag), "{flag}");
    }
    let help = searcher(["eval", "--help"]).output().expect_code(0).stdout;
    for flag in ["--queries", "--qrels", "--run", "--image-queries", "--mode", "--json"] {
        assert!(help.contains(flag), "{flag}");
    }
}

//! Likeness, recommendations and histories, on the fixture's store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{Float32Type, UInt32Type};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::harness::{Folder, Output, fixture_store, ids, root, searcher};

/// Runs a command on the fixture's store.
fn fixture(command: &str, arguments: &[&str]) -> Output {
    searcher([command, "--store"]).arg(fixture_store()).args(arguments).output()
}

fn fixture_json(command: &str, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    fixture(command, &arguments).expect_code(0).json()
}

/// The fixture's catalog, by id.
fn catalog() -> BTreeMap<String, Value> {
    let text = fs_err::read_to_string(root().join("fixtures/catalog.jsonl")).unwrap();
    let items = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    items.map(|item| (item["id"].as_str().unwrap().to_owned(), item)).collect()
}

fn write_history(folder: &Folder, events: &[Value]) -> String {
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    folder.write("history.jsonl", lines.join("\n")).display().to_string()
}

/// Two blue mugs.
fn blue_mugs() -> Vec<Value> {
    vec![
        json!({"user": "ana", "id": "p0925", "time": "2026-11-01T10:00:00Z", "weight": 5}),
        json!({"user": "ana", "id": "p1054", "time": 1_794_508_200, "weight": 1}),
    ]
}

#[test]
fn similar_items_are_the_nearest_by_item_vectors() {
    let found = fixture_json("similar", &["--id", "p0925", "-k", "20"]);
    assert!(ids(&found).len() == 20 && !ids(&found).contains(&"p0925".to_owned()));
    let searched = fixture_json("search", &["--like", "p0925", "--mode", "vector", "-k", "20"]);
    assert_eq!(found["hits"], searched["hits"]);
    let both = fixture_json("similar", &["--id", "p0925", "--id", "p1054^0.5", "--filter", "colour = \"blue\""]);
    let hits = both["hits"].as_array().unwrap();
    assert!(hits.iter().all(|hit| hit["colour"] == "blue" && hit["id"] != "p0925" && hit["id"] != "p1054"));
    let titles = fixture_json("similar", &["--id", "p0925", "--weight", "image=0", "--weight", "description=0"]);
    assert_ne!(ids(&titles), ids(&found)[..10]);
    fixture("similar", &["--id", "p0925", "--explain", "-k", "1"]).expect_code(0);
    fixture("similar", &["--id", "p0925", "--filter", "price < 0"]).expect_code(1);
    fixture("similar", &["--id", "nobody"]).expect_code(2).expect_stderr(&["nobody"]);
    fixture("similar", &[]).expect_code(2).expect_stderr(&["--id"]);
}

#[test]
fn a_buyer_of_blue_mugs_is_recommended_blue_mugs() {
    let folder = Folder::new();
    let history = write_history(&folder, &blue_mugs());
    let found = fixture_json("recommend", &["--history", &history, "-k", "5"]);
    let hits = found["hits"].as_array().unwrap();
    assert!(hits.iter().all(|hit| hit["kind"] == "mug" && hit["colour"] == "blue"), "{found:#}");
    assert!(!ids(&found).iter().any(|id| ["p0925", "p1054"].contains(&id.as_str())));
    assert_eq!(found["query"]["profile"]["seen"], 2);
    let seen = fixture_json("recommend", &["--history", &history, "--include-seen", "-k", "1"]);
    assert_eq!(ids(&seen), ["p0925"]);
    let teapots = fixture_json("recommend", &["--history", &history, "--filter", "not kind = \"mug\" and price < 50"]);
    let hits = teapots["hits"].as_array().unwrap();
    assert!(hits.iter().all(|hit| hit["kind"] != "mug" && hit["price"].as_f64().unwrap() < 50.0));
    // A dislike turns the profile round.
    let disliked = write_history(&folder, &[json!({"id": "p0925", "time": 0, "weight": -1})]);
    let found = fixture_json("recommend", &["--history", &disliked]);
    assert!(found["hits"].as_array().unwrap().iter().all(|hit| hit["kind"] != "mug"));
}

#[test]
fn what_is_wrong_with_a_history_is_said() {
    let folder = Folder::new();
    let mut events = blue_mugs();
    events.extend([
        json!({"user": "ana", "id": "sold-out", "time": 0}),
        json!({"user": "ana", "id": "p0001", "time": "soon"}),
        json!({"user": "ben", "id": "p0001", "time": 0}),
    ]);
    let history = write_history(&folder, &events);
    let recommend = |arguments: &[&str]| {
        let arguments: Vec<&str> = ["--history", &history].into_iter().chain(arguments.iter().copied()).collect();
        fixture("recommend", &arguments)
    };
    let words = ["line 4, item `p0001`: column `time`", "1 rows are no events", "1 events are about items"];
    recommend(&["--user", "ana"]).expect_code(0).expect_stderr(&words);
    recommend(&[]).expect_code(2).expect_stderr(&["the history has 2 users (ana, ben", "--user"]);
    recommend(&["--user", "cleo"]).expect_code(1).expect_stderr(&["nothing is known of the user `cleo`"]);
    let none = recommend(&["--user", "ana", "--now", "1970-01-01T00:00:00Z", "--json"]).expect_code(1);
    assert_eq!(none.json()["hits"].as_array().unwrap().len(), 0);
    recommend(&["--user", "ana", "--now", "tomorrow"]).expect_code(2).expect_stderr(&["expected a time"]);
    recommend(&["--user", "ana", "--half-life", "0"]).expect_code(2).expect_stderr(&["half-life", "above 0"]);

    let empty = folder.write("empty.jsonl", "").display().to_string();
    fixture("recommend", &["--history", &empty]).expect_code(1).expect_stderr(&["nothing that could rank"]);
    let plain = fixture_json("search", &["mug"]);
    let result = fixture("search", &["mug", "--history", &empty, "--json"]).expect_code(0);
    assert_eq!(result.json()["hits"], plain["hits"]);
    fixture("recommend", &["--history", "no.jsonl"]).expect_code(2).expect_stderr(&["no.jsonl"]);
    fixture("search", &["mug", "--user", "ana"]).expect_code(2).expect_stderr(&["--history"]);
    let wrong = ["mug", "--history", &history, "--user", "ana", "--history-weight", "2"];
    fixture("search", &wrong).expect_code(2).expect_stderr(&["between 0 and 1"]);
}

#[test]
fn a_history_moves_hits_towards_the_users_taste() {
    let folder = Folder::new();
    let items = catalog();
    let blue = items.values().filter(|item| item["colour"] == "blue" && item["kind"] != "mug").take(8);
    let events: Vec<Value> = blue.zip(0..).map(|(item, time)| json!({"id": item["id"], "time": time})).collect();
    let history = write_history(&folder, &events);
    let share =
        |result: &Value| result["hits"].as_array().unwrap().iter().filter(|hit| hit["colour"] == "blue").count();
    for mode in ["keyword", "vector", "hybrid"] {
        let plain = fixture_json("search", &["mug", "--mode", mode]);
        let personal = fixture_json("search", &["mug", "--mode", mode, "--history", &history]);
        assert!(share(&personal) > share(&plain), "{mode}: {} and {}", share(&personal), share(&plain));
        assert_eq!(personal["total"], plain["total"]);
        let without = fixture_json("search", &["mug", "--mode", mode, "--history", &history, "--history-weight", "0"]);
        assert_eq!(without["hits"], plain["hits"], "{mode}");
    }
}

#[test]
fn the_profiles_part_adds_up_and_pages_are_one_list() {
    let folder = Folder::new();
    let history = write_history(&folder, &blue_mugs());
    for mode in ["keyword", "vector", "hybrid"] {
        for method in ["convex", "z_score", "reciprocal_rank"] {
            let ask = |page: &[&str]| {
                let mut arguments = vec!["striped cotton shirt", "--mode", mode, "--method", method, "--explain"];
                arguments.extend(["--history", &history, "--history-weight", "0.3"]);
                arguments.extend(page);
                fixture_json("search", &arguments)
            };
            let whole = ask(&["-k", "20"]);
            for hit in whole["hits"].as_array().unwrap() {
                let part = |name: &str| hit["explain"]["fusion"][name].as_f64().unwrap();
                let sum = part("keyword") + part("vector") + part("profile");
                assert!((sum - hit["score"].as_f64().unwrap()).abs() <= 1e-5, "{mode} {method}: {hit:#}");
                let profile = &hit["explain"]["profile"];
                let modalities = profile["modalities"].as_array().unwrap().iter();
                let sum: f64 = modalities.map(|modality| modality["score"].as_f64().unwrap()).sum();
                assert!((sum - profile["score"].as_f64().unwrap()).abs() <= 1e-5, "{hit:#}");
            }
            let mut joined = ask(&["-k", "10"])["hits"].as_array().unwrap().clone();
            joined.extend(ask(&["-k", "10", "--offset", "10"])["hits"].as_array().unwrap().clone());
            assert_eq!(&joined, whole["hits"].as_array().unwrap(), "{mode} {method}");
        }
    }
    let arguments = ["shirt", "--history", &history, "--explain", "-k", "1"];
    assert!(fixture("search", &arguments).expect_code(0).stdout.contains(" + profile "));
}

/// The ids and scores that a file of recommendations has for each user, in order of their ranks.
fn recommendations(path: &Path) -> BTreeMap<String, Vec<(String, f32)>> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(fs_err::File::open(path).unwrap().into_parts().0).unwrap();
    let mut lists: BTreeMap<String, Vec<(String, f32)>> = BTreeMap::new();
    for batch in builder.build().unwrap() {
        let batch = batch.unwrap();
        let (users, ids) = (batch["user"].as_string::<i32>(), batch["id"].as_string::<i32>());
        let ranks = batch["rank"].as_primitive::<UInt32Type>();
        let scores = batch["score"].as_primitive::<Float32Type>();
        for row in 0..batch.num_rows() {
            let list = lists.entry(users.value(row).to_owned()).or_default();
            list.push((ids.value(row).to_owned(), scores.value(row)));
            assert_eq!(ranks.value(row) as usize, list.len());
        }
    }
    lists
}

/// A history in Parquet, as a warehouse would export it.
fn write_parquet_history(path: &Path, events: &[(String, String, i64)]) {
    let columns: [(&str, ArrayRef); 4] = [
        ("user", Arc::new(StringArray::from_iter_values(events.iter().map(|(user, _, _)| user)))),
        ("id", Arc::new(StringArray::from_iter_values(events.iter().map(|(_, id, _)| id)))),
        ("time", Arc::new(TimestampMillisecondArray::from_iter_values(events.iter().map(|(_, _, time)| time * 1000)))),
        ("weight", Arc::new(Float64Array::from(vec![1.0; events.len()]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = fs_err::File::create(path).unwrap().into_parts().0;
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn a_batch_writes_what_each_user_alone_gets() {
    let folder = Folder::new();
    let event = |user: &str, id: &str, time: i64| (user.to_owned(), id.to_owned(), time);
    let events = [
        event("cold", "sold-out", 1),
        event("ben", "p0001", 5),
        event("ana", "p0925", 3),
        event("ben", "p0002", 86_400),
    ];
    let history = folder.path("history.parquet");
    write_parquet_history(&history, &events);
    let history = history.display().to_string();
    let output = folder.path("out.parquet");
    let path = output.display().to_string();
    let batch = ["--history", &history, "--output", &path, "-k", "7", "--filter", "price < 100"];
    let counts = fixture_json("recommend", &batch);
    let expected = json!({"users": 3, "cold_users": 1, "users_without_items": 0, "recommendations": 14});
    assert_eq!(counts, expected);
    let lists = recommendations(&output);
    assert_eq!(lists.keys().collect::<Vec<_>>(), ["ana", "ben"]);
    for (user, list) in &lists {
        let alone = ["--history", &history, "--user", user, "-k", "7", "--filter", "price < 100"];
        let alone = fixture_json("recommend", &alone);
        let alone = alone["hits"].as_array().unwrap().iter().map(|hit| {
            assert!(hit["price"].as_f64().unwrap() < 100.0);
            (hit["id"].as_str().unwrap().to_owned(), hit["score"].as_f64().unwrap() as f32)
        });
        assert_eq!(&alone.collect::<Vec<_>>(), list);
    }
    let none = ["--history", &history, "--output", &path, "--filter", "price < 0"];
    fixture("recommend", &none).expect_code(1);
    let files: Vec<_> = fs_err::read_dir(output.parent().unwrap()).unwrap().collect();
    assert_eq!(files.len(), 2, "nothing but history and output is left: {files:?}");
}

/// For every third group of like items, and each of its items, a user who knows all others: how often is the item among the
/// ten recommended, by profile and by popularity (the items most often in histories that the user does not know).
fn leave_one_out(group_of: impl Fn(&Value) -> String, name: &str) -> (f64, f64) {
    let items = catalog();
    let mut groups: BTreeMap<String, Vec<&String>> = BTreeMap::new();
    for (id, item) in &items {
        groups.entry(group_of(item)).or_default().push(id);
    }
    let groups: Vec<Vec<&String>> = groups.into_values().filter(|ids| ids.len() >= 4).step_by(3).collect();
    let mut events = Vec::new();
    let mut popularity: BTreeMap<&String, usize> = BTreeMap::new();
    let mut users: BTreeMap<String, (&String, BTreeSet<&String>)> = BTreeMap::new();
    for left_out in groups.iter().flatten() {
        let known = groups.iter().find(|ids| ids.contains(left_out)).unwrap().iter().filter(|id| id != &left_out);
        for (id, day) in known.clone().zip(0..) {
            events.push(((*left_out).clone(), (*id).clone(), day * 86_400));
            *popularity.entry(id).or_default() += 1;
        }
        users.insert((*left_out).clone(), (left_out, known.copied().collect()));
    }
    let folder = Folder::new();
    let (history, output) = (folder.path("history.parquet"), folder.path("out.parquet"));
    write_parquet_history(&history, &events);
    let (history, path) = (history.display().to_string(), output.display().to_string());
    fixture_json("recommend", &["--history", &history, "--output", &path, "-k", "10"]);
    let lists = recommendations(&output);
    let mut popular: Vec<(&&String, &usize)> = popularity.iter().collect();
    popular.sort_by_key(|(id, count)| (std::cmp::Reverse(**count), **id));
    let (mut found, mut found_by_popularity) = (0, 0);
    for (user, (left_out, known)) in &users {
        found += usize::from(lists[user].iter().any(|(id, _)| id == *left_out));
        let unknown = popular.iter().map(|(id, _)| **id).filter(|id| !known.contains(id));
        found_by_popularity += usize::from(unknown.take(10).any(|id| id == *left_out));
    }
    let rate = |count: usize| count as f64 / users.len() as f64;
    let (found, by_popularity) = (rate(found), rate(found_by_popularity));
    eprintln!("{name}: {} users, hit rate@10 {found:.3}, by popularity {by_popularity:.3}", users.len());
    (found, by_popularity)
}

#[test]
fn recommendations_find_what_was_left_out() {
    let text = |item: &Value, names: &[&str]| names.iter().map(|name| item[name].to_string()).collect::<String>();
    let (found, popular) = leave_one_out(|item| text(item, &["kind", "colour"]), "kind and colour");
    assert!(found >= 0.9 && found > popular + 0.5, "{found} and {popular}");
    let department = |item: &Value| item["category"].as_str().unwrap().split(" > ").next().unwrap().to_owned();
    let taste = |item: &Value| department(item) + &text(item, &["colour", "pattern"]);
    let (found, popular) = leave_one_out(taste, "colour and pattern in a department");
    assert!(found >= 0.4 && found > popular + 0.3, "{found} and {popular}");
}

//! The nightly run and the upkeep of a store.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Folder, copy_folder, fixture_encoders, fixture_store, indexer, root};

/// Copies the fixture with a configuration into a folder of its own, and the published store beside it.
fn fixture_copy() -> Folder {
    let folder = Folder::new();
    for name in ["catalog.jsonl", "catalens.toml"] {
        fs_err::create_dir_all(folder.path("fixtures")).unwrap();
        fs_err::copy(root().join("fixtures").join(name), folder.path("fixtures").join(name)).unwrap();
    }
    copy_folder(&root().join("fixtures/images"), &folder.path("fixtures/images"));
    copy_folder(&root().join("fixtures/model"), &folder.path("fixtures/model"));
    copy_folder(fixture_store(), &folder.path("store"));
    folder
}

fn run_fixture(folder: &Folder) -> Value {
    indexer(["run", "--json", "--config"]).arg(folder.path("fixtures/catalens.toml")).output().expect_code(0).json()
}

#[test]
fn the_fixture_is_published_and_an_unchanged_night_encodes_nothing() {
    let folder = fixture_copy();
    let items = fs_err::read_to_string(folder.path("fixtures/catalog.jsonl")).unwrap().lines().count();
    let published = fs_err::read_to_string(folder.path("store/CURRENT")).unwrap();
    let unchanged = run_fixture(&folder);
    assert_eq!(unchanged["outcome"], "unchanged");
    assert_eq!(unchanged["snapshot"], published.trim());
    assert_eq!(unchanged["encoded"], json!({"title": 0, "description": 0, "image": 0}));
    assert_eq!(fs_err::read_to_string(folder.path("store/CURRENT")).unwrap(), published);
    assert!(unchanged["seconds"].get("build").is_none(), "nothing is built");

    let report = indexer(["run", "--json", "--rebuild", "--config"]).arg(folder.path("fixtures/catalens.toml"));
    let report = report.output().expect_code(0).json();
    assert_eq!(report["outcome"], "published");
    assert_ne!(report["snapshot"], published.trim());
    assert_eq!(report["items"], items);
    assert_eq!(report["rejected"], 0);
    assert_eq!(report["encoded"], json!({"title": 0, "description": 0, "image": 0}));
    assert_eq!(report["kept"]["title"], items);
    for modality in ["description", "image"] {
        let (kept, absent) = (report["kept"][modality].as_u64().unwrap(), report["absent"][modality].as_u64().unwrap());
        assert_eq!(kept + absent, items as u64, "{modality}");
        assert!(absent > 0, "the fixture has items without {modality}");
    }
    assert!(report["gates"]["min_ann_recall"]["value"].as_f64().unwrap() >= 0.95);
    assert!(report["seconds"]["total"].as_f64().unwrap() > 0.0);
}

#[test]
fn an_edited_title_and_an_edited_picture_are_all_that_is_encoded_again() {
    let folder = fixture_copy();
    let catalog = fs_err::read_to_string(folder.path("fixtures/catalog.jsonl")).unwrap();
    let mut rows: Vec<Value> = catalog.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    rows[7]["title"] = json!("A title that nobody wrote before");
    let image = rows[11]["image"].as_str().unwrap().to_owned();
    folder.picture(&format!("fixtures/{image}"), 224, 224, [200, 30, 30]);
    let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    folder.write("fixtures/catalog.jsonl", lines.join("\n"));

    let report = run_fixture(&folder);
    assert_eq!(report["encoded"], json!({"title": 1, "description": 0, "image": 1}));
    assert_eq!(report["encode_reasons"]["title"], json!({"content_changed": 1}));
    assert_eq!(report["encode_reasons"]["image"], json!({"content_changed": 1}));
}

#[test]
fn a_night_is_built_again_when_anything_it_is_made_from_changed_or_the_snapshot_is_damaged() {
    let folder = Folder::new();
    folder.write("items.jsonl", catalog(0..20));
    folder.config("items.jsonl", &fixture_encoders());
    let outcome = || folder.publish()["outcome"].as_str().unwrap().to_owned();
    assert_eq!((outcome(), outcome()), ("published".to_owned(), "unchanged".to_owned()));

    // A setting, an order of rows, a rejected row: nothing is encoded, but the snapshot would be another.
    folder.config("items.jsonl", &(fixture_encoders() + "[rank_fusion]\nalpha = 0.4\n"));
    assert_eq!((outcome(), outcome()), ("published".to_owned(), "unchanged".to_owned()));
    let mut lines: Vec<String> = catalog(0..20).lines().map(str::to_owned).collect();
    lines.reverse();
    folder.write("items.jsonl", lines.join("\n"));
    assert_eq!((outcome(), outcome()), ("published".to_owned(), "unchanged".to_owned()));
    folder.write("items.jsonl", lines.join("\n") + "\n{\"title\":\"no id\"}\n");
    folder.config("items.jsonl", &(fixture_encoders() + "[gates]\nmax_rejected_share = 0.5\n"));
    assert_eq!((outcome(), outcome()), ("published".to_owned(), "unchanged".to_owned()));

    let current = fs_err::read_to_string(folder.path("store/CURRENT")).unwrap();
    let items = folder.path("store/snapshots").join(current.trim()).join("items.arrow");
    let mut bytes = fs_err::read(&items).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs_err::write(&items, bytes).unwrap();
    assert_eq!((outcome(), outcome()), ("published".to_owned(), "unchanged".to_owned()));
    assert_eq!(folder.hits(&["chair number 7", "--mode", "keyword", "-k", "20"]).len(), 20);
}

fn catalog(ids: std::ops::Range<u32>) -> String {
    ids.map(|id| format!("{}\n", json!({"id": format!("i{id}"), "title": format!("wooden chair number {id}")})))
        .collect()
}

#[test]
fn new_removed_and_moved_items_are_told_apart() {
    let folder = Folder::new();
    folder.config("items.jsonl", &(fixture_encoders() + "[encode]\npartitions = 3\npart_rows = 4\n"));
    folder.write("items.jsonl", catalog(0..40));
    let first = folder.publish();
    assert_eq!(first["encode_reasons"]["title"], json!({"new_item": 40}));

    folder.write("items.jsonl", catalog(5..45));
    let second = folder.publish();
    assert_eq!(second["encode_reasons"]["title"], json!({"new_item": 5}));
    assert_eq!(second["kept"]["title"], 35);
    assert!(!folder.hits(&["chair number 44", "-k", "40"]).contains(&"i1".to_owned()));

    let third = folder.publish();
    assert_eq!(third["encoded"]["title"], 0);

    // Another number of partitions moves rows between parts and encodes nothing.
    folder.config("items.jsonl", &(fixture_encoders() + "[encode]\npartitions = 2\npart_rows = 4\n"));
    let moved = folder.publish();
    assert_eq!((&moved["encoded"]["title"], &moved["kept"]["title"]), (&json!(0), &json!(40)));
    let folders = fs_err::read_dir(folder.path("store/embeddings")).unwrap();
    let names: Vec<_> = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!names.contains(&"partition=00002".to_owned()), "{names:?}");
    assert_eq!(folder.publish()["encoded"]["title"], 0);
}

#[test]
fn a_gate_that_refuses_leaves_the_old_snapshot_serving() {
    let folder = Folder::new();
    folder.write("items.jsonl", catalog(0..3));
    folder.config("items.jsonl", "");
    let first = folder.publish();
    folder.config("items.jsonl", "[gates]\nmin_items = 10\n");
    let refused = folder.run().expect_code(1).json();
    assert_eq!(refused["outcome"], "refused");
    assert_eq!(refused["snapshot"], Value::Null);
    assert_eq!(refused["gates"]["min_items"]["passed"], false);
    folder.config(
        "items.jsonl",
        "[[gates.golden_queries]]\ntext = 'chair number 2'\nexpect = 'i2'\nwithin = 1\n\
         [[gates.golden_queries]]\ntext = 'sofa'\nexpect = 'i1'\n",
    );
    folder.run().expect_code(1).expect_stderr(&["golden_queries", "`sofa` does not find `i1`"]);
    let current = fs_err::read_to_string(folder.path("store/CURRENT")).unwrap();
    assert_eq!(current.trim(), first["snapshot"]);
    assert!(!folder.path("store/staging").exists());
    assert_eq!(folder.hits(&["chair", "--mode", "keyword"]).len(), 3);
}

#[test]
fn rejected_rows_over_their_share_refuse_the_night() {
    let folder = Folder::new();
    folder.write("items.jsonl", catalog(0..9) + "{\"title\":\"no id\"}\n");
    folder.config("items.jsonl", "");
    let refused = folder.run().expect_code(1).json();
    assert_eq!(refused["gates"]["max_rejected_share"]["value"], 0.1);
    folder.config("items.jsonl", "[gates]\nmax_rejected_share = 0.1\n");
    assert_eq!(folder.publish()["rejected"], 1);
}

#[test]
fn a_store_is_listed_verified_rolled_back_and_pruned() {
    let folder = Folder::new();
    folder.config("items.jsonl", "");
    let store = folder.path("store");
    let mut published = Vec::new();
    for items in 1..=4 {
        folder.write("items.jsonl", catalog(0..items));
        published.push(folder.publish()["snapshot"].as_str().unwrap().to_owned());
    }
    let run = |command: &str, more: &[&str]| indexer([command, "--json", "--store"]).arg(&store).args(more).output();
    let status = run("status", &[]).expect_code(0).json();
    let listed: Vec<_> = status["snapshots"].as_array().unwrap().iter().map(|one| one["snapshot"].clone()).collect();
    assert_eq!(listed, published, "oldest first");
    assert_eq!(status["current"], published[3].as_str());
    assert_eq!(run("verify", &[]).expect_code(0).json()["items"], 4);

    assert_eq!(run("rollback", &[]).expect_code(0).json()["current"], published[2].as_str());
    assert_eq!(folder.hits(&["chair", "--mode", "keyword"]).len(), 3);
    assert_eq!(run("rollback", &["--to", &published[0]]).expect_code(0).json()["current"], published[0].as_str());
    run("rollback", &[]).expect_code(2).expect_stderr(&["older than the current one", "indexer status"]);

    let pruned = run("prune", &["--keep", "1"]).expect_code(0).json();
    assert_eq!(pruned["snapshots"], json!([published[1], published[2]]), "the published one stays");
    assert_eq!(folder.hits(&["chair", "--mode", "keyword"]), ["i0"]);
}

#[test]
fn a_second_writer_is_kept_out() {
    let folder = Folder::new();
    folder.write("items.jsonl", catalog(0..3));
    folder.config("items.jsonl", "");
    folder.publish();
    let store = schemas::Store::open(&folder.path("store")).unwrap();
    let lock = store.lock().unwrap();
    folder.run().expect_code(2).expect_stderr(&["locked", &std::process::id().to_string()]);
    assert_eq!(folder.hits(&["chair", "--mode", "keyword"]).len(), 3, "readers need no lock");
    drop(lock);
    folder.publish();
}

#[test]
fn sigterm_stops_a_run_cleanly_and_the_next_one_goes_on() {
    let folder = Folder::new();
    folder.write("items.jsonl", catalog(0..20_000));
    folder.config("items.jsonl", &(fixture_encoders() + "[encode]\npart_rows = 256\n"));
    let mut run = indexer(["run", "--config"]).arg(folder.path("catalens.toml")).spawn();
    let first_part = folder.path("store/embeddings/partition=00000/part-00000.parquet");
    let start = Instant::now();
    while !first_part.exists() {
        assert!(start.elapsed() < Duration::from_secs(120), "no part was finished");
        assert!(run.try_wait().unwrap().is_none(), "the run ended before it could be stopped");
        std::thread::sleep(Duration::from_millis(5));
    }
    let terminated = std::process::Command::new("kill").arg(run.id().to_string()).status().unwrap();
    assert!(terminated.success());
    assert_eq!(run.wait().unwrap().code(), Some(2), "stopped, not killed");
    assert!(!folder.path("store/CURRENT").exists());

    folder.write("items.jsonl", catalog(0..2_000));
    let report = folder.publish();
    assert!(report["kept"]["title"].as_u64().unwrap() > 0, "{report}");
}

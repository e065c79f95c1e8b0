//! A killed run loses nothing.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Folder, fixture_encoders, indexer};

fn catalog(items: u32, word: &str) -> String {
    (0..items)
        .map(|id| format!("{}\n", json!({"id": format!("i{id}"), "title": format!("{word} lamp {id}")})))
        .collect()
}

#[test]
fn after_kill_9_the_old_snapshot_answers_and_the_next_run_succeeds() {
    let folder = Folder::new();
    folder.config(
        "items.jsonl",
        &(fixture_encoders() + "[encode]\npart_rows = 64\npartitions = 2\n[gates]\nmax_item_growth = 10\n"),
    );
    folder.write("items.jsonl", catalog(500, "old"));
    let first = folder.publish();
    folder.write("items.jsonl", catalog(4_000, "new"));

    // Killed at different depths of the night: the later ones find what the earlier ones finished.
    for milliseconds in [50, 300, 900, 1_500] {
        let mut run = indexer(["run", "--config"]).arg(folder.path("catalens.toml")).spawn();
        std::thread::sleep(Duration::from_millis(milliseconds));
        run.kill().unwrap();
        let code = run.wait().unwrap().code();
        if code == Some(0) {
            break;
        }
        let current = fs_err::read_to_string(folder.path("store/CURRENT")).unwrap();
        assert_eq!(current.trim(), first["snapshot"]);
        assert_eq!(folder.hits(&["old lamp", "--mode", "keyword", "-k", "5"]).len(), 5);
    }
    let start = Instant::now();
    let report = folder.publish();
    assert_eq!(report["items"], 4_000, "after {:?}", start.elapsed());
    assert_eq!(folder.hits(&["new lamp", "--mode", "keyword", "-k", "5"]).len(), 5);
    assert!(!folder.path("store/staging").exists());
    let snapshots = fs_err::read_dir(folder.path("store/snapshots")).unwrap().count();
    assert!(snapshots >= 2, "{snapshots}");
    indexer(["verify", "--store"]).arg(folder.path("store")).output().expect_code(0);
}

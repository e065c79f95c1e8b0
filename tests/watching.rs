//! What a night leaves to be watched by: reports of every ending, status, history and structured logs.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Folder, Output, fixture_encoders, indexer};

fn catalog(items: u32) -> String {
    (0..items).map(|id| format!("{}\n", json!({"id": format!("i{id}"), "title": format!("copper pan {id}")}))).collect()
}

fn upkeep(folder: &Folder, command: &str, more: &[&str]) -> Output {
    indexer([command, "--store"]).arg(folder.path("store")).args(more).output()
}

fn history(folder: &Folder) -> Vec<Value> {
    upkeep(folder, "history", &["--json"]).expect_code(0).json()["runs"].as_array().unwrap().clone()
}

fn reports(folder: &Folder) -> Vec<String> {
    schemas::durable::list_files(&folder.path("store/reports")).unwrap()
}

/// The newest report in the store.
fn newest_report(folder: &Folder) -> Value {
    let name = history(folder).last().unwrap()["report"].as_str().unwrap().to_owned();
    serde_json::from_slice(&fs_err::read(folder.path("store/reports").join(name)).unwrap()).unwrap()
}

/// Waits until a run has finished its first part of embeddings.
fn wait_for_first_part(folder: &Folder, run: &mut std::process::Child) {
    let part = folder.path("store/embeddings/partition=00000/part-00000.parquet");
    let start = Instant::now();
    while !part.exists() {
        assert!(start.elapsed() < Duration::from_secs(120), "no part was finished");
        assert!(run.try_wait().unwrap().is_none(), "the run ended before it could be stopped");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn every_ending_leaves_a_report_and_a_line_in_the_history() {
    let folder = Folder::new();
    folder.config("items.jsonl", "");
    folder.write("items.jsonl", catalog(10));
    let published = folder.publish();
    assert_eq!(newest_report(&folder), published, "what is printed is what is kept");
    folder.publish();
    folder.write("items.jsonl", catalog(3));
    folder.run().expect_code(1);
    fs_err::remove_file(folder.path("items.jsonl")).unwrap();
    let failed = folder.run().expect_code(2).json();
    assert_eq!(newest_report(&folder), failed);
    assert_eq!((&failed["outcome"], &failed["stage"]), (&json!("failed"), &json!("open")));
    assert!(failed["error"].as_str().unwrap().contains("items.jsonl"), "{failed}");
    assert_eq!(failed["parent"], published["snapshot"]);
    assert!(failed["finished"].as_str().unwrap() >= failed["started"].as_str().unwrap());
    folder.write("items.jsonl", catalog(12));
    folder.publish();
    indexer(["run", "--partition", "1/2", "--config"]).arg(folder.path("catalens.toml")).output().expect_code(0);

    // A store that is held: a report all the same, beside the holder's.
    let store = schemas::Store::open(&folder.path("store")).unwrap();
    let lock = store.lock().unwrap();
    let kept_out = folder.run().expect_code(2).json();
    assert_eq!((&kept_out["stage"], &kept_out["outcome"]), (&json!("open"), &json!("failed")));
    drop(lock);

    let runs = history(&folder);
    let outcomes: Vec<&str> = runs.iter().map(|run| run["outcome"].as_str().unwrap()).collect();
    let mut expected = ["published", "unchanged", "refused", "failed", "published", "encoded", "failed"].to_vec();
    // Runs of one second may change places with the one that did not get the lock.
    assert_eq!(outcomes.len(), expected.len(), "{outcomes:?}");
    expected.sort_unstable();
    let mut sorted = outcomes.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    let items: Vec<&Value> = runs.iter().filter(|run| run["items"].is_u64() && run["partition"].is_null()).collect();
    let changes: Vec<&Value> = items.iter().map(|run| &run["items_change"]).collect();
    assert_eq!(changes, [&Value::Null, &json!(0), &json!(-7), &json!(9)]);
    assert_eq!(reports(&folder).iter().filter(|name| name.ends_with(".json")).count(), 7);

    let text = upkeep(&folder, "history", &["-n", "4"]).expect_code(0);
    assert_eq!(text.stdout.lines().count(), 5, "a header and four runs\n{text}");
    let text = upkeep(&folder, "history", &[]).expect_code(0);
    for words in [
        "refused (max_item_drop)",
        "failed (open)",
        "encoded (1/2)",
        "-7",
        "+9",
        published["snapshot"].as_str().unwrap(),
    ] {
        assert!(text.stdout.contains(words), "no `{words}`\n{text}");
    }
}

#[test]
fn a_report_that_is_wanted_and_kept_are_the_same_when_the_configuration_is_broken_too() {
    let folder = Folder::new();
    folder.config("items.jsonl", "[gates]\nmax_item_dorp = 1\n");
    let report = folder.path("report.json");
    let output = indexer(["run", "--json", "--config"]).arg(folder.path("catalens.toml")).arg("--report").arg(&report);
    let failed = output.output().expect_code(2).expect_stderr(&["max_item_dorp"]).json();
    assert_eq!((&failed["outcome"], &failed["stage"]), (&json!("failed"), &json!("configuration")));
    assert_eq!(serde_json::from_slice::<Value>(&fs_err::read(report).unwrap()).unwrap(), failed);
}

#[test]
fn stopped_and_killed_runs_are_told_apart_and_a_run_under_way_is_seen() {
    let folder = Folder::new();
    folder.config("items.jsonl", &(fixture_encoders() + "[encode]\npartitions = 1\npart_rows = 64\n"));
    folder.write("items.jsonl", catalog(20_000));
    let start = || indexer(["run", "--config"]).arg(folder.path("catalens.toml")).spawn();

    let mut run = start();
    wait_for_first_part(&folder, &mut run);
    let status = upkeep(&folder, "status", &["--json"]).expect_code(0).json();
    let own = format!("pid {} on ", run.id());
    assert!(status["writers"][0].as_str().unwrap().starts_with(&own), "{status}");
    assert_eq!(status["last_run"]["outcome"], "running");
    assert_eq!(status["orphans"], json!([]), "what a run under way writes is none");
    assert_eq!(history(&folder)[0]["outcome"], "running");
    let text = upkeep(&folder, "status", &[]).expect_code(0);
    assert!(text.stdout.contains(&format!("running  {own}")), "{text}");
    let terminated = std::process::Command::new("kill").arg(run.id().to_string()).status().unwrap();
    assert!(terminated.success());
    assert_eq!(run.wait().unwrap().code(), Some(2));
    let stopped = newest_report(&folder);
    assert_eq!((&stopped["outcome"], &stopped["stage"]), (&json!("stopped"), &json!("encode")));
    assert!(stopped["seconds"]["encode"].as_f64().unwrap() > 0.0);

    let markers = || reports(&folder).iter().filter(|name| name.ends_with(".json") && !name.starts_with('.')).count();
    let before = markers();
    let mut run = start();
    let waiting = Instant::now();
    while markers() == before {
        assert!(waiting.elapsed() < Duration::from_secs(60), "no marker");
        std::thread::sleep(Duration::from_millis(5));
    }
    run.kill().unwrap();
    run.wait().unwrap();
    let runs = history(&folder);
    assert_eq!((&runs[0]["outcome"], &runs[1]["outcome"]), (&json!("stopped"), &json!("killed")));
    let status = upkeep(&folder, "status", &["--json"]).expect_code(0).json();
    assert_eq!(status["writers"], json!([]));
    assert_eq!(status["last_run"]["outcome"], "killed");
}

#[test]
fn status_says_how_fresh_the_snapshot_is_and_max_age_decides_the_exit_code() {
    let folder = Folder::new();
    folder.config("items.jsonl", &fixture_encoders());
    folder.write("items.jsonl", catalog(5));
    schemas::Store::open_or_create(&folder.path("store")).unwrap();
    upkeep(&folder, "status", &["--max-age", "1d"]).expect_code(1).expect_stderr(&["nothing is published"]);
    let published = folder.publish();
    let fresh = upkeep(&folder, "status", &["--json", "--max-age", "1h"]).expect_code(0).json();
    assert_eq!((&fresh["too_old"], &fresh["freshness"]["as_of"]), (&json!(false), &published["started"]));
    assert_eq!(fresh["last_run"]["outcome"], "published");
    assert_eq!(fresh["current"], published["snapshot"]);
    let disk = &fresh["disk"];
    for part in ["snapshots", "embeddings", "encoders", "reports"] {
        assert!(disk[part].as_u64().unwrap() > 0, "{part}: {disk}");
    }
    assert_eq!(fresh["orphans"], json!([]));
    upkeep(&folder, "status", &["--max-age", "26"]).expect_code(2).expect_stderr(&["--max-age", "26h"]);

    // The same snapshot as if it had been built two days ago.
    let path = folder.path("store/snapshots").join(published["snapshot"].as_str().unwrap()).join("manifest.json");
    let text = fs_err::read_to_string(&path).unwrap();
    let year = &published["started"].as_str().unwrap()[..4];
    let older = text.replace(&format!("\"created\": \"{year}"), "\"created\": \"2020");
    assert_ne!(text, older);
    fs_err::write(&path, older).unwrap();
    // A snapshot's name has the digest of its manifest.
    let digest = schemas::durable::checksum_file(&path).unwrap().blake3;
    let id = schemas::SnapshotId::new(&published["snapshot"].as_str().unwrap()[..16], &digest[..12]).unwrap();
    fs_err::rename(path.parent().unwrap(), folder.path("store/snapshots").join(id.as_str())).unwrap();
    folder.write("store/CURRENT", format!("{id}\n"));
    upkeep(&folder, "status", &["--max-age", "26h"]).expect_code(1).expect_stderr(&["old, more than 26 h 00 min"]);
    let old = upkeep(&folder, "status", &["--json"]).expect_code(0).json();
    assert!(old["freshness"]["age_seconds"].as_u64().unwrap() > 365 * 86_400);
    // A night that finds nothing changed makes it fresh: it is what the catalog is.
    assert_eq!(folder.publish()["outcome"], "unchanged");
    let text = upkeep(&folder, "status", &["--max-age", "26h"]).expect_code(0);
    assert!(text.stdout.contains("unchanged since it was built"), "{text}");

    // What nobody needs is listed.
    folder.write("store/snapshots/backup/manifest.json", "{}");
    folder.write("store/embeddings/partition=00000/.part-00009.parquet.tmp", "x");
    let text = upkeep(&folder, "status", &[]).expect_code(0);
    assert_eq!(text.stdout.matches("    orphan  ").count(), 2, "{text}");
}

#[test]
fn damaged_and_foreign_reports_are_named_and_passed_over_and_old_ones_pruned() {
    let folder = Folder::new();
    folder.config("items.jsonl", "[gates]\nmax_rejected_share = 0.5\n");
    for items in [4, 5, 6] {
        folder.write("items.jsonl", catalog(items) + "{\"title\":\"no id\"}\n");
        folder.publish();
    }
    let whole = reports(&folder);
    assert_eq!(whole.len(), 6, "three reports and three lists of rejects");
    let first = whole.iter().find(|name| name.ends_with(".json")).unwrap();
    let path = folder.path("store/reports").join(first);
    let text = fs_err::read(&path).unwrap();
    fs_err::write(&path, &text[..text.len() / 2]).unwrap();
    folder.write("store/reports/notes.json", "{\"to\": \"the night shift\"}");
    folder.write("store/reports/binary.json", [0xff, 0x00, 0xfe]);
    let listed = upkeep(&folder, "history", &["--json"]).expect_code(0);
    assert_eq!(listed.json()["runs"].as_array().unwrap().len(), 2);
    assert_eq!(listed.json()["unreadable"].as_array().unwrap().len(), 3);
    listed.expect_stderr(&[first, "notes.json", "binary.json", "passed over"]);
    upkeep(&folder, "status", &[]).expect_code(0);

    let pruned = upkeep(&folder, "prune", &["--json", "--keep", "9", "--keep-reports", "1"]).expect_code(0).json();
    assert_eq!((&pruned["reports"], &pruned["snapshots"]), (&json!(2), &json!([])));
    let left = reports(&folder);
    assert_eq!(left.len(), 4, "a report, its rejects and two foreign files: {left:?}");
    upkeep(&folder, "prune", &[]).expect_code(0);
    assert_eq!(reports(&folder), left, "the default keeps many");
}

#[test]
fn json_logs_are_an_object_a_line_with_the_start_and_end_of_every_stage() {
    let folder = Folder::new();
    folder.config("items.jsonl", &fixture_encoders());
    folder.write("items.jsonl", catalog(5));
    let lines = |output: &Output| -> Vec<Value> {
        output
            .stderr
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    };
    let arguments = ["--log-format", "json", "run", "--config"];
    let run = indexer(arguments).arg(folder.path("catalens.toml")).output().expect_code(0);
    let mut stages = Vec::new();
    for line in lines(&run) {
        let keys: Vec<&String> = line.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["fields", "level", "message", "stage", "timestamp"]);
        let timestamp = line["timestamp"].as_str().unwrap();
        assert!(timestamp.len() > 20 && timestamp.ends_with('Z'), "{timestamp}");
        assert!(["info", "warn"].contains(&line["level"].as_str().unwrap()), "{line}");
        assert!(line["stage"].is_string(), "{line}");
        match line["message"].as_str().unwrap() {
            "stage started" => stages.push((line["stage"].as_str().unwrap().to_owned(), false)),
            "stage done" => {
                assert!(line["fields"]["seconds"].is_f64(), "{line}");
                stages.push((line["stage"].as_str().unwrap().to_owned(), true));
            }
            _ => {}
        }
    }
    let expected = ["open", "read", "encode", "build", "verify", "publish"];
    let expected: Vec<(String, bool)> =
        expected.iter().flat_map(|stage| [false, true].map(|ended| ((*stage).to_owned(), ended))).collect();
    assert_eq!(stages, expected);

    // Refused, then failed: warnings and errors are lines with fields, too. The variable does what the flag does.
    folder.write("items.jsonl", catalog(1));
    let refused = indexer(arguments).arg(folder.path("catalens.toml")).output().expect_code(1);
    let gate = lines(&refused).into_iter().find(|line| line["fields"]["gate"] == "max_item_drop").unwrap();
    assert_eq!(
        (&gate["level"], &gate["stage"], &gate["fields"]["value"]),
        (&json!("error"), &json!("verify"), &json!(0.8))
    );
    fs_err::remove_file(folder.path("items.jsonl")).unwrap();
    let failed = indexer(["--quiet", "run", "--config"]).arg(folder.path("catalens.toml"));
    let failed = failed.env("CATALENS_LOG_FORMAT", "json").output().expect_code(2);
    let error = lines(&failed).pop().unwrap();
    assert_eq!((&error["level"], &error["stage"]), (&json!("error"), &json!("open")));
    assert!(error["message"].as_str().unwrap().contains("items.jsonl"), "{error}");
    let text = indexer(["--log-format", "xml", "status", "--store", "x"]).output().expect_code(2);
    text.expect_stderr(&["--log-format", "json"]);
}

//! `indexer run --partition`: several processes encode one catalog, a last run publishes it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Folder, Output, fixture_encoders, indexer};

fn catalog(ids: std::ops::Range<u32>) -> String {
    let colours = ["red", "blue", "green", "white"];
    let row = |id: u32| json!({"id": format!("i{id}"), "title": format!("{} chair {id}", colours[id as usize % 4])});
    ids.map(|id| row(id).to_string() + "\n").collect()
}

fn run_share(folder: &Folder, share: &str) -> Output {
    indexer(["run", "--json", "--partition", share, "--config"]).arg(folder.path("catalens.toml")).output()
}

fn parts(folder: &Folder) -> Vec<(PathBuf, std::time::SystemTime)> {
    let embeddings = folder.path("store/embeddings");
    let names = schemas::durable::list_files(&embeddings).unwrap().into_iter();
    let paths = names.filter(|name| name.ends_with(".parquet")).map(|name| embeddings.join(name));
    paths.map(|path| (path.clone(), fs_err::metadata(path).unwrap().modified().unwrap())).collect()
}

fn sum(reports: &[Value], key: &str) -> u64 {
    reports.iter().map(|report| report[key].as_u64().unwrap()).sum()
}

#[test]
fn three_processes_encode_what_one_run_would_and_a_last_one_publishes_it() {
    let (folder, alone) = (Folder::new(), Folder::new());
    // A duplicate, a row without an id and one that is malformed: each is some process's, and only one's.
    let rows = catalog(0..90) + "{\"id\":\"i4\",\"title\":\"again\"}\n{\"title\":\"no id\"}\nno JSON\n";
    let sections = fixture_encoders() + "[encode]\npartitions = 5\npart_rows = 8\n[gates]\nmax_rejected_share = 0.1\n";
    for folder in [&folder, &alone] {
        folder.write("items.jsonl", &rows);
        folder.config("items.jsonl", &sections);
    }
    let reports: Vec<Value> = std::thread::scope(|scope| {
        let shares = ["1/3", "2/3", "3/3"];
        let runs = shares.map(|share| scope.spawn(|| run_share(&folder, share).expect_code(0).json()));
        runs.map(|run| run.join().unwrap()).into()
    });
    let expected = alone.publish();
    assert_eq!((sum(&reports, "rows"), sum(&reports, "items"), sum(&reports, "rejected")), (93, 90, 3));
    for (report, share) in reports.iter().zip(["1/3", "2/3", "3/3"]) {
        assert_eq!((report["outcome"].as_str(), report["partition"].as_str()), (Some("encoded"), Some(share)));
        assert_eq!(report["snapshot"], Value::Null);
        assert!(PathBuf::from(report["rejects_file"].as_str().unwrap()).exists());
    }
    assert_eq!(expected["encoded"]["title"], 90);
    assert!(!folder.path("store/CURRENT").exists(), "nothing is published");

    let encoded = parts(&folder);
    let again = run_share(&folder, "2/3").expect_code(0).json();
    assert_eq!((&again["encoded"]["title"], &again["kept"]["title"]), (&json!(0), &reports[1]["items"]));
    let joined = folder.publish();
    assert_eq!((&joined["encoded"]["title"], &joined["kept"]["title"]), (&json!(0), &json!(90)));
    assert_eq!((&joined["rejected"], &joined["items"]), (&expected["rejected"], &expected["items"]));
    assert_eq!(parts(&folder), encoded, "the parts stay as they are");

    let snapshot = |folder: &Folder, report: &Value, file: &str| {
        let path = folder.path("store/snapshots").join(report["snapshot"].as_str().unwrap()).join(file);
        fs_err::read(path).unwrap()
    };
    assert!(snapshot(&folder, &joined, "items.arrow") == snapshot(&alone, &expected, "items.arrow"));
    for query in ["blue chair", "chair 17", "white"] {
        assert_eq!(folder.hits(&[query, "-k", "20"]), alone.hits(&[query, "-k", "20"]), "{query}");
    }
}

#[test]
fn a_killed_share_goes_on_where_it_was() {
    let folder = Folder::new();
    folder.write("items.jsonl", catalog(0..6_000));
    folder.config("items.jsonl", &(fixture_encoders() + "[encode]\npartitions = 2\npart_rows = 128\n"));
    let mut run = indexer(["run", "--partition", "1/2", "--config"]).arg(folder.path("catalens.toml")).spawn();
    let start = Instant::now();
    while !folder.path("store/embeddings/partition=00000/part-00000.parquet").exists() {
        assert!(start.elapsed() < Duration::from_secs(120), "no part was finished");
        std::thread::sleep(Duration::from_millis(5));
    }
    run.kill().unwrap();
    run.wait().unwrap();
    folder.write("items.jsonl", catalog(0..1_000));
    let before = parts(&folder).len() as u64;
    assert!(before >= 1);
    let first = run_share(&folder, "1/2").expect_code(0).json();
    assert!(first["kept"]["title"].as_u64().unwrap() >= 128, "{first}");
    let second = run_share(&folder, "2/2").expect_code(0).json();
    assert_eq!(sum(&[first, second], "items"), 1_000);
    assert_eq!(folder.publish()["encoded"]["title"], 0);
    assert!(!folder.path("store/staging").exists());
}

#[test]
fn shares_keep_each_other_and_runs_of_everything_out() {
    let folder = Folder::new();
    folder.write("items.jsonl", catalog(0..6));
    folder.config("items.jsonl", "[encode]\npartitions = 4\n");
    let store = schemas::Store::open_or_create(&folder.path("store")).unwrap();
    let pid = std::process::id().to_string();
    let partition = store.lock_partitions(&[1]).unwrap();
    folder.run().expect_code(2).expect_stderr(&["locked", "a run of partitions: pid", &pid]);
    run_share(&folder, "2/4").expect_code(2).expect_stderr(&["partition 1", "locked", &pid]);
    run_share(&folder, "1/4").expect_code(0);
    drop(partition);
    let everything = store.lock().unwrap();
    run_share(&folder, "1/4").expect_code(2).expect_stderr(&["locked", &pid]);
    drop(everything);
    run_share(&folder, "5/8").expect_code(2).expect_stderr(&["share 5/8 of 4 partitions", "encode.partitions"]);
    for share in ["0/4", "5/4", "one"] {
        run_share(&folder, share).expect_code(2).expect_stderr(&["no share of the partitions", share]);
    }
    folder.publish();
}

//! Damaged and foreign files under the reader. Owns handing out the trials to worker processes, their limits, and what
//! may come of them; `worker.rs` owns a worker, `change.rs` the damage. Invariant: an abort, a hang or memory without bound
//! ends a worker and not the test, and is told with file, kind of damage and number of the trial.
//!
//! The workers are this test program once more, at its ignored test `worker`. To see one trial again, or to run more:
//!
//! ```text
//! CATALENS_DAMAGE_FILE=items.arrow CATALENS_DAMAGE_KIND=bit CATALENS_DAMAGE_TRIALS=17..18 CATALENS_DAMAGE_ASKED=files \
//!   CATALENS_DAMAGE_SNAPSHOT=store/snapshots/ID CATALENS_DAMAGE_RESULTS=/dev/stderr \
//!   cargo test --test end_to_end -- --exact damage::worker::worker --ignored --nocapture
//! ```

mod change;
mod worker;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use indexer::error::chain;
use schemas::items::StoredItem;
use schemas::manifest::ScalarKind;
use schemas::{FieldValue, Manifest, SnapshotId, Store};
use searcher::example::{self, DIMENSION, ExampleItem};
use searcher::vector::{GRAPH_FILE, NODE_TABLE_FILE};
use searcher::{FileCheck, OpenOptions, Searcher};

use crate::harness::{Folder, copy_folder, fixture_encoders};
use change::{Kind, Random};
use worker::{Asked, Outcome};

/// Items of the snapshot: so many that postings have skip lists, and that most files are larger than what is compared whole
/// when they are opened.
const ITEMS: usize = 1_100;
/// Trials of a kind for each file of an encoder, which take some hundred times as long.
const ENCODER_TRIALS: u32 = 32;
/// Address space of a worker. Far above what a small snapshot needs, far below what a wild length asks for.
const WORKER_KIB: u64 = 2 << 20;
/// Trials of a batch that ended badly after which no more are made: each costs a worker.
const ENOUGH: usize = 20;
/// Time without a finished trial after which a worker hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Made-up items; `seed` makes other ones of the same lengths.
pub(super) fn items(seed: u64) -> Vec<ExampleItem> {
    let words = ["red", "blue", "mug", "sofa", "lamp", "oak", "wool", "large", "small", "round"];
    let mut random = Random::new(seed);
    let mut word = || words[random.below(words.len())];
    (0..ITEMS)
        .map(|number| {
            let text = |text: &str| Some(FieldValue::String(text.to_owned()));
            let (title, brand) = (format!("{} {} thing", word(), word()), word());
            let fields = vec![
                text(brand),
                Some(FieldValue::Float(number as f64)),
                Some(FieldValue::Integer(number as i64 % 7)),
                (number % 3 == 0).then_some(FieldValue::Boolean(true)),
                text("Home > Kitchen"),
                Some(FieldValue::Strings(vec![word().to_owned(), "gift".to_owned()])),
            ];
            // A word of its own for each item makes the dictionary of terms long.
            let own = Random::new(seed * 7_000_000 + number as u64).next();
            let description = (number % 4 > 0).then(|| format!("A {} {} for every day, {own:x}.", word(), word()));
            let item = StoredItem { id: format!("i{number:04}"), title: Some(title), description, image: None, fields };
            let embedding = |salt| unit(&mut Random::new(seed * 1_000_000 + number as u64 * 2 + salt));
            ExampleItem { item, embeddings: [Some(embedding(0)), (number % 5 > 0).then(|| embedding(1))] }
        })
        .collect()
}

fn unit(random: &mut Random) -> [f32; DIMENSION] {
    let mut values = [0.0; DIMENSION].map(|_: f32| random.below(2001) as f32 / 1000.0 - 1.001);
    let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    values.iter_mut().for_each(|value| *value /= length);
    values
}

/// A snapshot, named as a published one, whose manifest has no file ends, as if the damage were in the middle of large
/// files: what is tried is the readers of the files, not the comparison of their ends.
fn snapshot_without_ends(folder: &Folder, kind: ScalarKind) -> PathBuf {
    let staged = folder.path("whole/snapshots/staged");
    example::write_snapshot_of_kind(&staged, &items(1), kind).unwrap();
    let mut manifest = Manifest::read(&staged).unwrap();
    manifest.files.values_mut().for_each(|entry| entry.tail = None);
    let path = staged.join("manifest.json");
    fs_err::write(&path, manifest.to_bytes()).unwrap();
    let digest = schemas::durable::checksum_file(&path).unwrap().blake3;
    let snapshot = staged.with_file_name(SnapshotId::new(example::SNAPSHOT_TIME, &digest).unwrap().as_str());
    fs_err::rename(&staged, &snapshot).unwrap();
    snapshot
}

/// What came of the trials of one file and kind.
#[derive(Default)]
struct Tally {
    outcomes: BTreeMap<Outcome, u32>,
    /// Trials that must not end as they did.
    bad: Vec<String>,
}

/// Trials of one file and kind, for one worker.
struct Batch {
    file: String,
    kind: Kind,
    trials: Range<u32>,
}

#[test]
fn bit_and_block_changes_truncation_and_emptying_give_errors_that_name_the_file_or_answers() {
    let folder = Folder::new();
    let snapshot = snapshot_without_ends(&folder, ScalarKind::default());
    let mut batches = Vec::new();
    for file in schemas::durable::list_files(&snapshot).unwrap() {
        for kind in Kind::ALL {
            batches.push(Batch { file: file.clone(), kind, trials: 0..kind.trials() });
        }
    }
    run_batches(&folder, &snapshot, &batches, Asked::Files);
}

#[test]
fn walks_over_a_changed_graph_of_halves_give_errors_that_name_the_file_or_answers() {
    // The way through the file is the other kind's; a part of the trials will do.
    walks_over_a_changed_graph(ScalarKind::F16, 4);
}

#[test]
fn walks_over_a_changed_graph_of_codes_give_errors_that_name_the_file_or_answers() {
    walks_over_a_changed_graph(ScalarKind::I8, 1);
}

/// Makes one of so many trials of each kind of damage.
fn walks_over_a_changed_graph(kind: ScalarKind, one_of: u32) {
    let folder = Folder::new();
    let snapshot = snapshot_without_ends(&folder, kind);
    let batches: Vec<Batch> = [GRAPH_FILE, NODE_TABLE_FILE]
        .into_iter()
        .flat_map(|file| {
            Kind::ALL.map(|kind| Batch { file: file.to_owned(), kind, trials: 0..kind.trials().div_ceil(one_of) })
        })
        .collect();
    run_batches(&folder, &snapshot, &batches, Asked::Graph);
}

#[test]
fn changed_query_encoders_give_errors_that_name_the_file() {
    let folder = Folder::new();
    folder.write("items.jsonl", "{\"id\":\"a\",\"title\":\"red mug\"}\n{\"id\":\"b\",\"title\":\"blue sofa\"}\n");
    folder.config("items.jsonl", &fixture_encoders());
    let report = folder.publish();
    let snapshot = folder.path("store/snapshots").join(report["snapshot"].as_str().unwrap());
    let files = schemas::durable::list_files(&folder.path("store/encoders")).unwrap();
    assert!(files.len() > 4, "{files:?}");
    let mut batches = Vec::new();
    for file in files {
        for kind in Kind::ALL {
            let trials = 0..kind.trials().min(ENCODER_TRIALS);
            batches.push(Batch { file: format!("encoders/{file}"), kind, trials });
        }
    }
    run_batches(&folder, &snapshot, &batches, Asked::Encoders);
}

/// Runs all batches, each worker on a copy of the snapshot's store, and asserts that no trial ended badly.
fn run_batches(folder: &Folder, snapshot: &Path, batches: &[Batch], asked: Asked) {
    let tallies: Mutex<BTreeMap<(String, Kind), Tally>> = Mutex::default();
    let next = AtomicUsize::new(0);
    let id = snapshot.file_name().unwrap();
    std::thread::scope(|scope| {
        for worker in 0..std::thread::available_parallelism().map_or(2, usize::from).min(8) {
            let (tallies, next) = (&tallies, &next);
            scope.spawn(move || {
                let store = folder.path(&format!("copy-{worker}"));
                let copy = store.join("snapshots").join(id);
                copy_folder(snapshot, &copy);
                let encoders = snapshot.join("../../encoders");
                if encoders.exists() {
                    copy_folder(&encoders, &store.join("encoders"));
                }
                while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let tally = run_batch(snapshot, &copy, batch, asked);
                    tallies.lock().unwrap().insert((batch.file.clone(), batch.kind), tally);
                }
            });
        }
    });
    let tallies = tallies.into_inner().unwrap();
    let mut bad = Vec::new();
    for ((file, kind), tally) in &tallies {
        eprintln!("{file} {}: {:?}", kind.name(), tally.outcomes);
        bad.extend(tally.bad.iter().map(|trial| format!("{file} {} {trial}", kind.name())));
    }
    let trials: u32 = tallies.values().flat_map(|tally| tally.outcomes.values()).sum();
    let expected: u32 = batches.iter().map(|batch| batch.trials.end).sum();
    assert_eq!((trials, tallies.len()), (expected, batches.len()), "every trial came to an end");
    assert!(bad.is_empty(), "{} of {trials} trials ended badly:\n{}", bad.len(), bad.join("\n"));
}

/// Runs the trials of a batch in workers; a worker that dies is followed by one that goes on behind the trial.
fn run_batch(original: &Path, snapshot: &Path, batch: &Batch, asked: Asked) -> Tally {
    let results = snapshot.with_file_name("results");
    let mut tally = Tally::default();
    let mut start = batch.trials.start;
    while start < batch.trials.end && tally.bad.len() < ENOUGH {
        fs_err::write(&results, "").unwrap();
        let end = wait(snapshot, batch, start..batch.trials.end, asked, &results);
        let lines = fs_err::read_to_string(&results).unwrap();
        for line in lines.lines() {
            let (outcome, detail) = Outcome::parse(line).unwrap_or_else(|| panic!("`{line}`"));
            *tally.outcomes.entry(outcome).or_default() += 1;
            if outcome.is_bad(&batch.file) {
                tally.bad.push(format!("trial {start}: {outcome:?}: {detail}"));
            }
            start += 1;
        }
        if let Err((outcome, detail)) = end {
            *tally.outcomes.entry(outcome).or_default() += 1;
            tally.bad.push(format!("trial {start}: {outcome:?}: {detail}"));
            start += 1;
            // The dead worker left the damage behind.
            let place = if asked == Asked::Encoders { "../.." } else { "" };
            fs_err::copy(original.join(place).join(&batch.file), snapshot.join(place).join(&batch.file)).unwrap();
        }
    }
    tally
}

/// A worker from start to end, killed when it makes no progress.
fn wait(
    snapshot: &Path,
    batch: &Batch,
    trials: Range<u32>,
    asked: Asked,
    results: &Path,
) -> Result<(), (Outcome, String)> {
    let limited = format!("ulimit -v {WORKER_KIB} && exec \"$0\" \"$@\"");
    let log = results.with_extension("log");
    let mut worker = Command::new("sh")
        .args(["-c", &limited])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "damage::worker::worker", "--ignored", "--nocapture", "--test-threads", "1"])
        .env("CATALENS_DAMAGE_SNAPSHOT", snapshot)
        .env("CATALENS_DAMAGE_FILE", &batch.file)
        .env("CATALENS_DAMAGE_KIND", batch.kind.name())
        .env("CATALENS_DAMAGE_ASKED", asked.name())
        .env("CATALENS_DAMAGE_TRIALS", format!("{}..{}", trials.start, trials.end))
        .env("CATALENS_DAMAGE_RESULTS", results)
        // The address space of a worker must not depend on the number of processors.
        .env("RAYON_NUM_THREADS", "2")
        .env("MALLOC_ARENA_MAX", "2")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs_err::File::create(&log).unwrap().into_parts().0)
        .spawn()
        .unwrap();
    let (mut progress, mut since) = (0, Instant::now());
    loop {
        if let Some(status) = worker.try_wait().unwrap() {
            let done = fs_err::read_to_string(results).unwrap().lines().count();
            if status.success() && done == trials.len() {
                return Ok(());
            }
            let log = fs_err::read_to_string(&log).unwrap_or_default();
            return Err((Outcome::Crash, format!("{status}: {}", log.lines().last().unwrap_or_default())));
        }
        let written = fs_err::metadata(results).unwrap().len();
        if written != progress {
            (progress, since) = (written, Instant::now());
        }
        if since.elapsed() > PATIENCE {
            worker.kill().unwrap();
            worker.wait().unwrap();
            return Err((Outcome::Hang, format!("nothing for {PATIENCE:?}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_file_replaced_by_another_snapshots_a_folder_or_a_link_is_refused_by_name() {
    let folder = Folder::new();
    let store = Store::open_or_create(&folder.path("store")).unwrap();
    let add = |time: &str, seed| store.snapshot_folder(&example::add_snapshot(&store, time, &items(seed)).unwrap());
    let (ours, other) = (add("20260101T000000Z", 1), add("20260101T000001Z", 2));
    let open = |check| Searcher::open(&ours, &OpenOptions { check, ..OpenOptions::default() });
    open(FileCheck::Checksums).unwrap();
    let refused = |name: &str, what: &str| {
        for check in [FileCheck::Ends, FileCheck::Checksums] {
            let error = open(check).map(|_| ()).expect_err(&format!("{name} as {what} is accepted"));
            let message = chain(&error);
            assert!(message.contains(name), "{name} as {what}: {message}");
        }
        assert!(worker::verify_files(&ours).is_err(), "{name} as {what}");
    };
    let others = schemas::durable::list_files(&other).unwrap();
    let mut same_size = 0;
    for name in schemas::durable::list_files(&ours).unwrap() {
        let (path, aside) = (ours.join(&name), folder.path("aside"));
        // tantivy's files have random names, the same endings in every snapshot.
        let ending = |name: &str| name.rsplit('.').next().unwrap().to_owned();
        let foreign = if others.contains(&name) {
            &name
        } else {
            others.iter().find(|foreign| ending(foreign) == ending(&name)).unwrap()
        };
        let foreign = other.join(foreign);
        fs_err::rename(&path, &aside).unwrap();
        if fs_err::read(&foreign).unwrap() != fs_err::read(&aside).unwrap() {
            same_size +=
                u32::from(fs_err::metadata(&foreign).unwrap().len() == fs_err::metadata(&aside).unwrap().len());
            fs_err::copy(&foreign, &path).unwrap();
            refused(&name, "another snapshot's");
            fs_err::remove_file(&path).unwrap();
        }
        refused(&name, "missing");
        fs_err::create_dir(&path).unwrap();
        refused(&name, "a folder");
        fs_err::remove_dir(&path).unwrap();
        #[cfg(unix)]
        for (target, what) in [(aside.as_path(), "a link to the same bytes"), (Path::new("nowhere"), "a dangling link")]
        {
            fs_err::os::unix::fs::symlink(target, &path).unwrap();
            refused(&name, what);
            fs_err::remove_file(&path).unwrap();
        }
        #[cfg(target_os = "linux")]
        {
            // Opening a pipe waits for a writer, reading this device never ends.
            fs_err::os::unix::fs::symlink("/dev/zero", &path).unwrap();
            refused(&name, "a link to a device");
            fs_err::remove_file(&path).unwrap();
            assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
            refused(&name, "a pipe");
            fs_err::remove_file(&path).unwrap();
        }
        fs_err::rename(&aside, &path).unwrap();
    }
    assert!(same_size >= 2, "only {same_size} of the other snapshot's files differ in nothing but content");
    #[cfg(unix)]
    for subfolder in ["keyword", "vector"] {
        let (path, aside) = (ours.join(subfolder), folder.path(subfolder));
        fs_err::rename(&path, &aside).unwrap();
        fs_err::os::unix::fs::symlink(&aside, &path).unwrap();
        refused(subfolder, "a link to the folder");
        fs_err::remove_file(&path).unwrap();
        fs_err::rename(&aside, &path).unwrap();
    }
    open(FileCheck::Checksums).unwrap();
}

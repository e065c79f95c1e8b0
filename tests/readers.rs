//! Readers while snapshots are published and pruned, in one process and in several.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use indexer::upkeep;
use schemas::{SnapshotId, Store};
use searcher::example::{self, ExampleItem};
use searcher::{CurrentSearcher, ItemPart, Mode, OpenOptions, Query, Searcher};

use crate::harness::{Folder, copy_folder, fixture_encoders, fixture_store, indexer};

const READERS: usize = 8;
const PUBLISHES: usize = 200;

/// The example's items, of which every version has others, with titles of its own.
fn items(version: usize) -> Vec<ExampleItem> {
    let mut items = example::items();
    let count = items.len();
    items.rotate_left(version % count);
    items.truncate(count - version % 3);
    for item in &mut items {
        item.item.title = Some(format!("{} {version}", item.item.title.as_deref().unwrap_or_default()));
    }
    items
}

fn time(version: usize) -> String {
    format!("20260101T{:02}{:02}{:02}Z", version / 3600, version / 60 % 60, version % 60)
}

/// What a snapshot answers to a keyword query and to a vector query, with every score.
fn answer(searcher: &Searcher) -> String {
    let keyword = Query { mode: Mode::Keyword, ..Query::text("red blue mug") };
    let like = searcher.items().id(0).unwrap().to_owned();
    let vector = Query { mode: Mode::Vector, like: vec![ItemPart { id: like, weight: 1.0 }], ..Query::default() };
    let hits = |query: &Query| searcher.search(query).map(|results| results.hits);
    // The example's voucher has no embedding to be like.
    format!("{:?} {:?}", hits(&keyword).unwrap(), hits(&vector).map_err(|error| error.to_string()))
}

#[test]
fn eight_threads_query_across_two_hundred_publishes_and_prunes() {
    let folder = Folder::new();
    let store = Store::open_or_create(&folder.path("store")).unwrap();
    // What each snapshot answers, known before it is published. They wait beside the store, where nobody prunes them.
    let waiting = Store::open_or_create(&folder.path("waiting")).unwrap();
    let mut known: HashMap<PathBuf, String> = HashMap::new();
    let snapshots: Vec<SnapshotId> = (0..=PUBLISHES)
        .map(|version| {
            let snapshot = example::add_snapshot(&waiting, &time(version), &items(version)).unwrap();
            let opened = Searcher::open(&waiting.snapshot_folder(&snapshot), &OpenOptions::default()).unwrap();
            let answer = answer(&opened);
            assert!(known.values().all(|other| *other != answer), "answers tell the snapshots apart");
            known.insert(store.snapshot_folder(&snapshot), answer);
            snapshot
        })
        .collect();
    let publish = |snapshot: &SnapshotId| {
        fs_err::rename(waiting.snapshot_folder(snapshot), store.snapshot_folder(snapshot)).unwrap();
        store.set_current(snapshot, &store.lock().unwrap()).unwrap();
    };
    publish(&snapshots[0]);
    let current = CurrentSearcher::open(store.folder(), &OpenOptions::default()).unwrap();
    assert_eq!(current.refresh().unwrap(), None);

    let (done, answered, mut held, mut pruned) = (AtomicBool::new(false), AtomicUsize::new(0), 0, 0);
    let check = |searcher: &Searcher| {
        let answer = answer(searcher);
        answered.fetch_add(1, Ordering::Relaxed);
        assert_eq!(Some(&answer), known.get(searcher.folder()), "the answer is that of the snapshot that was opened");
        assert!(searcher.folder().join("manifest.json").exists(), "pruned under its reader");
        searcher.folder().to_owned()
    };
    let seen: Vec<BTreeSet<PathBuf>> = std::thread::scope(|scope| {
        let reader = |number: usize| {
            let (current, store, done, check) = (&current, &store, &done, &check);
            move || {
                let mut seen = BTreeSet::new();
                while !done.load(Ordering::Relaxed) {
                    if number.is_multiple_of(2) {
                        let searcher = current.searcher();
                        current.refresh().unwrap();
                        seen.insert(check(&searcher));
                    } else {
                        let (snapshot, searcher) =
                            Searcher::open_current(store.folder(), &OpenOptions::default()).unwrap();
                        assert!(searcher.folder().ends_with(snapshot.as_str()));
                        seen.insert(check(&searcher));
                    }
                }
                seen
            }
        };
        let readers: Vec<_> = (0..READERS).map(|number| scope.spawn(reader(number))).collect();
        for snapshot in &snapshots[1..] {
            // Some queries between two publishes; a reader that failed must end the test, not let it wait.
            let before = answered.load(Ordering::Relaxed);
            while answered.load(Ordering::Relaxed) < before + READERS && !readers.iter().any(|one| one.is_finished()) {
                std::thread::sleep(Duration::from_millis(1));
            }
            publish(snapshot);
            let result = upkeep::prune(&store, 1).unwrap();
            held += result.held.len();
            pruned += result.snapshots.len();
        }
        done.store(true, Ordering::Relaxed);
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    let answered = answered.into_inner();
    let seen_counts: Vec<usize> = seen.iter().map(BTreeSet::len).collect();
    eprintln!("{answered} answers, {pruned} pruned, {held} times passed over; snapshots seen {seen_counts:?}");
    assert!(seen.iter().all(|seen| seen.len() > 1), "every reader met several snapshots");
    current.refresh().unwrap();
    assert_eq!(&current.snapshot(), &snapshots[PUBLISHES]);
    drop(current);
    let rest = upkeep::prune(&store, 1).unwrap();
    assert!(rest.held.is_empty());
    assert_eq!(pruned + rest.snapshots.len(), PUBLISHES, "all but the last are gone, each once");
    assert_eq!(store.snapshots().unwrap(), snapshots[PUBLISHES..]);
}

#[test]
#[ignore = "started by the test below, as a reader in another process"]
fn reader_in_another_process() {
    let (store, ready) = (std::env::var("CATALENS_READER_STORE"), std::env::var("CATALENS_READER_READY"));
    let (_, searcher) = Searcher::open_current(Path::new(&store.unwrap()), &OpenOptions::default()).unwrap();
    fs_err::write(ready.unwrap(), "").unwrap();
    // Until it is killed, or the test that started it is gone.
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
    drop(searcher);
}

#[test]
fn prune_passes_over_what_another_process_reads_until_that_is_killed() {
    let folder = Folder::new();
    let store = Store::open_or_create(&folder.path("store")).unwrap();
    let snapshots: Vec<SnapshotId> = (0..3)
        .map(|version| {
            let snapshot = example::add_snapshot(&store, &time(version), &items(version)).unwrap();
            store.set_current(&snapshot, &store.lock().unwrap()).unwrap();
            snapshot
        })
        .collect();
    store.set_current(&snapshots[0], &store.lock().unwrap()).unwrap();
    let ready = folder.path("ready");
    let mut reader = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "readers::reader_in_another_process", "--ignored", "--nocapture"])
        .env("CATALENS_READER_STORE", store.folder())
        .env("CATALENS_READER_READY", &ready)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while !ready.exists() {
        assert!(start.elapsed() < Duration::from_secs(60) && reader.try_wait().unwrap().is_none(), "no reader");
        std::thread::sleep(Duration::from_millis(5));
    }
    store.set_current(&snapshots[2], &store.lock().unwrap()).unwrap();

    let prune = || indexer(["prune", "--keep", "1", "--json", "--store"]).arg(store.folder()).output().expect_code(0);
    let pruned = prune().json();
    assert_eq!(pruned["held"][0], snapshots[0].as_str());
    assert_eq!(pruned["snapshots"][0], snapshots[1].as_str());
    assert_eq!(store.snapshots().unwrap(), [snapshots[0].clone(), snapshots[2].clone()]);
    let text = indexer(["prune", "--keep", "1", "--store"]).arg(store.folder()).output().expect_code(0);
    assert!(text.stdout.contains("held by readers stay") && text.stdout.contains(snapshots[0].as_str()), "{text}");

    reader.kill().unwrap();
    reader.wait().unwrap();
    let pruned = prune().json();
    assert_eq!((pruned["held"].as_array().unwrap().len(), &pruned["snapshots"][0]), (0, &snapshots[0].as_str().into()));
    assert_eq!(store.snapshots().unwrap(), snapshots[2..]);
}

#[test]
fn a_refresh_keeps_encoders_that_are_loaded() {
    let folder = Folder::new();
    folder.write("items.jsonl", "{\"id\":\"a\",\"title\":\"red mug\"}\n{\"id\":\"b\",\"title\":\"blue sofa\"}\n");
    folder.config("items.jsonl", &fixture_encoders());
    folder.publish();
    let current = CurrentSearcher::open(&folder.path("store"), &OpenOptions::default()).unwrap();
    let query = Query { mode: Mode::Vector, ..Query::text("a mug") };
    let before = current.searcher().search(&query).unwrap();
    folder.write("items.jsonl", "{\"id\":\"a\",\"title\":\"red mug\"}\n{\"id\":\"c\",\"title\":\"oak chair\"}\n");
    let published = folder.publish();
    // Whoever has the encoder need not read it again.
    fs_err::rename(folder.path("store/encoders"), folder.path("elsewhere")).unwrap();
    let snapshot = current.refresh().unwrap();
    assert_eq!(snapshot.map(|snapshot| snapshot.to_string()).as_deref(), published["snapshot"].as_str());
    let after = current.searcher().search(&query).unwrap();
    assert_eq!((before.hits[0].id.as_str(), before.hits[0].score), (after.hits[0].id.as_str(), after.hits[0].score));
    assert!(after.hits.iter().any(|hit| hit.id == "c") && before.hits.iter().all(|hit| hit.id != "c"));
    let cold = CurrentSearcher::open(&folder.path("store"), &OpenOptions::default()).unwrap();
    assert!(cold.searcher().search(&query).is_err(), "there is no encoder to load");
}

#[test]
fn a_broken_new_snapshot_leaves_the_old_one_answering() {
    let folder = Folder::new();
    let store = Store::open_or_create(&folder.path("store")).unwrap();
    let first = example::add_snapshot(&store, &time(0), &items(0)).unwrap();
    store.set_current(&first, &store.lock().unwrap()).unwrap();
    let current = CurrentSearcher::open(store.folder(), &OpenOptions::default()).unwrap();
    let before = answer(&current.searcher());
    let second = example::add_snapshot(&store, &time(1), &items(1)).unwrap();
    let damaged = store.snapshot_folder(&second).join("items.arrow");
    let whole = fs_err::read(&damaged).unwrap();
    fs_err::write(&damaged, &whole[1..]).unwrap();
    store.set_current(&second, &store.lock().unwrap()).unwrap();
    current.refresh().unwrap_err();
    assert_eq!((current.snapshot(), answer(&current.searcher())), (first, before.clone()));
    fs_err::write(&damaged, &whole).unwrap();
    assert_eq!(current.refresh().unwrap(), Some(second));
    assert_ne!(answer(&current.searcher()), before);
}

#[cfg(unix)]
#[test]
fn another_user_searches_a_read_only_store_that_it_does_not_own() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65_534;
    let folder = Folder::new();
    let store = folder.path("store");
    if fs_err::metadata(folder.path("")).unwrap().uid() != 0 {
        eprintln!("skipped: only root can become another user");
        return;
    }
    copy_folder(fixture_store(), &store);
    let set_mode = |path: &Path, mode| fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    set_mode(&folder.path(""), 0o755);
    // The program may lie where the other user cannot go.
    let program = folder.path("searcher");
    fs_err::copy(env!("CARGO_BIN_EXE_searcher"), &program).unwrap();
    set_mode(&program, 0o755);
    fn read_only(path: &Path, set_mode: &impl Fn(&Path, u32)) {
        for entry in fs_err::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { read_only(&path, set_mode) } else { set_mode(&path, 0o444) }
        }
        set_mode(path, 0o555);
    }
    // What a run writes has the rights of the files of its user, all of them.
    for snapshot in fs_err::read_dir(store.join("snapshots")).unwrap() {
        let snapshot = snapshot.unwrap().path();
        let mode = |name: &str| fs_err::metadata(snapshot.join(name)).unwrap().mode();
        for name in schemas::durable::list_files(&snapshot).unwrap() {
            assert_eq!(mode(&name), mode("items.arrow"), "{name}");
        }
    }
    read_only(&store, &set_mode);
    let files = schemas::durable::list_files(&store).unwrap();
    let output = Command::new(&program)
        .args(["search", "red mug", "--json", "--store"])
        .arg(&store)
        .current_dir(folder.path(""))
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{error}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"hits\""));
    assert_eq!(schemas::durable::list_files(&store).unwrap(), files, "nothing was written");
}

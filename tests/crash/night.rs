//! The night that is broken: a store with a published snapshot, and a catalog in which items are new, changed and gone.
//! Owns the fixture and what a store must be like; not the faults. Invariant: the old and the new snapshot answer
//! differently, and every run starts from the same bytes.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use schemas::durable::{checksum_file, list_files};
use schemas::embeddings::{EmbeddingsReader, list_parts};
use schemas::manifest::FileEntry;
use schemas::{ContentHash, SnapshotId, Store};
use searcher::query::{ItemPart, Mode, TextPart};
use searcher::{Query, Searcher};
use serde_json::{Value, json};

use crate::harness::{Folder, Program, fixture_encoders, indexer};

/// Partitions of the store.
const PARTITIONS: u32 = 2;
const MODALITIES: [&str; 3] = ["title", "description", "image"];
/// How far a score may be from the one of an undisturbed night: the rounding of an embedding to half precision.
const SCORE_TOLERANCE: f32 = 1e-3;

/// Ids and scores of some queries.
pub(crate) type Answers = Vec<Vec<(String, f32)>>;

/// The fixture.
pub(crate) struct Night {
    pub(crate) folder: Folder,
    /// The current snapshot of the store before the night.
    pub(crate) old: SnapshotId,
    pub(crate) old_answers: Answers,
    pub(crate) new_answers: Answers,
    /// What the new catalog has to encode: hashes by id, in the order of the modalities.
    contents: BTreeMap<String, [Option<ContentHash>; 3]>,
}

impl Night {
    pub(crate) fn new() -> Night {
        let folder = Folder::new();
        write_catalog(&folder, "before", 0..22, false);
        let contents = write_catalog(&folder, "after", 3..25, true);
        let base = folder.path("base");
        run(&folder, "before", &base).output().expect_code(0);
        let (old, old_answers) = answers(&base);
        let mut night = Night { folder, old, old_answers, new_answers: Answers::new(), contents };
        let undisturbed = night.store("undisturbed");
        run(&night.folder, "after", &undisturbed).output().expect_code(0);
        (_, night.new_answers) = answers(&undisturbed);
        assert!(!same(&night.old_answers, &night.new_answers));
        night
    }

    /// A copy of the store before the night. Files that are never written again are linked: at the end
    /// [`Night::base_files`] proves that they were not.
    pub(crate) fn store(&self, name: &str) -> PathBuf {
        self.store_like(&self.folder.path("base"), name)
    }

    /// A copy of another store, likewise.
    pub(crate) fn store_like(&self, from: &Path, name: &str) -> PathBuf {
        let store = self.folder.path("stores").join(name);
        link_folder(from, &store);
        store
    }

    /// `indexer run` of the new catalog.
    pub(crate) fn program(&self, store: &Path) -> Program {
        run(&self.folder, "after", store)
    }

    /// Names and checksums of the files of the store before the night.
    pub(crate) fn base_files(&self) -> Vec<(String, FileEntry)> {
        let base = self.folder.path("base");
        let files = list_files(&base).unwrap().into_iter();
        files.map(|name| (name.clone(), checksum_file(&base.join(name)).unwrap())).collect()
    }

    /// Embeddings that a run must compute in the store as it is: those that no complete part holds.
    pub(crate) fn missing_embeddings(&self, store: &Path) -> BTreeMap<&'static str, u64> {
        let store = Store::open(store).unwrap();
        let mut found: HashMap<String, [Option<ContentHash>; 3]> = HashMap::new();
        for partition in 0..PARTITIONS {
            for (_, part) in list_parts(&store.embeddings_folder(partition)).unwrap() {
                for batch in EmbeddingsReader::open(&part).unwrap() {
                    let batch = batch.unwrap();
                    for (row, id) in batch.ids.iter().enumerate() {
                        let hash = |column: usize| {
                            let column = &batch.columns[column];
                            column.hashes[row].filter(|_| column.present[row])
                        };
                        found.insert(id.clone(), [hash(0), hash(1), hash(2)]);
                    }
                }
            }
        }
        let missing = |modality: usize| {
            let wanted = self.contents.iter().filter(|(id, hashes)| {
                let known = found.get(*id).and_then(|known| known[modality]);
                hashes[modality].is_some() && hashes[modality] != known
            });
            wanted.count() as u64
        };
        (0..3).map(|modality| (MODALITIES[modality], missing(modality))).collect()
    }

    /// Which snapshot a store serves, checked byte by byte, and whether it answers just as that snapshot must.
    pub(crate) fn check_served(&self, store: &Path) -> Result<SnapshotId, String> {
        let opened = Store::open(store).map_err(|error| error.to_string())?;
        let current = opened.current().map_err(|error| error.to_string())?.ok_or("nothing is published")?;
        indexer::upkeep::verify(&opened, &current).map_err(|error| format!("verify: {error}"))?;
        let (served, answers) = answers(store);
        let (expected, name) = match served == self.old {
            true => (&self.old_answers, "old"),
            false => (&self.new_answers, "new"),
        };
        match same(&answers, expected) {
            true => Ok(served),
            false => Err(format!("{served} does not answer as the {name} snapshot: {answers:?}, not {expected:?}")),
        }
    }

    /// An undisturbed run after whatever happened: it succeeds, encodes what is not there and nothing else, serves the
    /// new snapshot and leaves nothing behind.
    pub(crate) fn check_next_run(&self, store: &Path) -> Result<Value, String> {
        let before = self.check_served(store)?;
        let missing = self.missing_embeddings(store);
        let output = self.program(store).output();
        if output.code != Some(0) {
            return Err(format!("the next run fails\n{output}"));
        }
        let report = output.json();
        let encoded = |modality: &str| report["encoded"][modality].as_u64();
        if let Some((modality, missing)) = missing.iter().find(|(name, missing)| encoded(name) != Some(**missing)) {
            return Err(format!("{missing} {modality} embeddings were not there: {}", report["encoded"]));
        }
        let outcome = if before == self.old { "published" } else { "unchanged" };
        if report["outcome"] != outcome {
            return Err(format!("the next run is {}, not {outcome}", report["outcome"]));
        }
        let served = self.check_served(store)?;
        if served == self.old || report["snapshot"] != served.as_str() {
            return Err(format!("{served} is served after {}", report["snapshot"]));
        }
        self.check_clean(store, &[&self.old, &served])?;
        Ok(report)
    }

    /// Exactly the files of a store that nothing happened to.
    pub(crate) fn check_clean(&self, store: &Path, snapshots: &[&SnapshotId]) -> Result<(), String> {
        let mut expected = vec!["CURRENT", "embeddings", "encoders", "lock", "locks", "reports", "snapshots"];
        let mut found = names(store);
        if found != expected {
            return Err(format!("the store has {found:?}"));
        }
        expected = snapshots.iter().map(|snapshot| snapshot.as_str()).collect();
        expected.sort_unstable();
        found = names(&store.join("snapshots"));
        if found != expected {
            return Err(format!("snapshots/ has {found:?}, not {expected:?}"));
        }
        if names(&store.join("locks")) != ["layout"]
            || names(&store.join("encoders")) != names(&self.folder.path("base/encoders"))
        {
            return Err(format!(
                "locks/ {:?}, encoders/ {:?}",
                names(&store.join("locks")),
                names(&store.join("encoders"))
            ));
        }
        if names(&store.join("embeddings")) != ["layout.json", "partition=00000", "partition=00001"] {
            return Err(format!("embeddings/ has {:?}", names(&store.join("embeddings"))));
        }
        let opened = Store::open(store).unwrap();
        let mut rows = 0;
        for partition in 0..PARTITIONS {
            let folder = opened.embeddings_folder(partition);
            let parts = list_parts(&folder).unwrap();
            if parts.len() != names(&folder).len() {
                return Err(format!("{} has {:?}", folder.display(), names(&folder)));
            }
            rows += parts.iter().map(|(_, path)| EmbeddingsReader::open(path).unwrap().row_count()).sum::<u64>();
        }
        if rows != self.contents.len() as u64 {
            return Err(format!("{rows} rows of embeddings of {} items", self.contents.len()));
        }
        let reports = names(&store.join("reports"));
        let is_known = |name: &String| match (name.strip_suffix(".rejects.parquet"), name.strip_suffix(".json")) {
            (Some(run), _) => reports.contains(&format!("{run}.json")),
            // A run that failed may have written a report and no rejects.
            (None, Some(run)) => !run.starts_with('.'),
            (None, None) => false,
        };
        match reports.iter().find(|name| !is_known(name)) {
            Some(name) => Err(format!("reports/ has `{name}` of {reports:?}")),
            None => Ok(()),
        }
    }
}

/// Names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A catalog with a row that is rejected and a picture that cannot be decoded, its pictures, and a configuration. Gives
/// what of it can be encoded.
fn write_catalog(
    folder: &Folder,
    name: &str,
    ids: std::ops::Range<u32>,
    changed: bool,
) -> BTreeMap<String, [Option<ContentHash>; 3]> {
    let mut rows = "{\"title\":\"no id\"}\n".to_owned();
    let mut contents = BTreeMap::new();
    for number in ids {
        let id = format!("i{number}");
        let is_changed = |every: u32| changed && number % every == 0;
        let colour = ["red", "blue", "green"][number as usize % 3];
        let word = if is_changed(5) { "changed" } else { "plain" };
        let title = (number % 11 != 4).then(|| format!("{word} {colour} lamp {number}"));
        let description = (number % 4 != 3).then(|| format!("A {colour} lamp. Number {number}, {}.", is_changed(7)));
        let image = format!("{id}.png");
        let path = folder.path(name).join(&image);
        match number % 6 {
            5 => {}
            4 if number == 4 => drop(folder.write(&format!("{name}/{image}"), "no picture")),
            _ => {
                let shade = if is_changed(6) { 30 } else { 200 };
                folder.picture(&format!("{name}/{image}"), 24, 24, [shade, (number * 9) as u8, 80]);
            }
        }
        let picture = if number % 6 == 5 { Value::Null } else { json!(image) };
        rows += &format!("{}\n", json!({"id": id, "title": title, "description": description, "image": picture}));
        let hash = |text: &Option<String>| text.as_ref().map(|text| ContentHash::of(text.as_bytes()));
        let picture = fs_err::read(path).ok().filter(|_| number != 4).map(|bytes| ContentHash::of(&bytes));
        contents.insert(id, [hash(&title), hash(&description), picture]);
    }
    folder.write(&format!("{name}/items.jsonl"), rows);
    let settings = format!("[encode]\npartitions = {PARTITIONS}\npart_rows = 6\n[gates]\nmax_rejected_share = 0.1\n");
    folder.write(
        &format!("{name}/catalens.toml"),
        format!("[store]\npath = 'given'\n[catalog]\npath = 'items.jsonl'\n{}{settings}", fixture_encoders()),
    );
    contents
}

fn run(folder: &Folder, catalog: &str, store: &Path) -> Program {
    let config = folder.path(catalog).join("catalens.toml");
    indexer(["--quiet", "run", "--json", "--config"]).arg(config).arg("--store").arg(store)
}

/// What the current snapshot answers to a hybrid, a keyword and a vector query.
fn answers(store: &Path) -> (SnapshotId, Answers) {
    let (snapshot, searcher) = Searcher::open_current(store, &Default::default()).unwrap();
    let text = |text: &str| vec![TextPart { text: text.to_owned(), weight: 1.0 }];
    let queries = [
        Query { texts: text("a blue lamp"), limit: 100, ..Query::default() },
        Query { texts: text("changed red lamp"), mode: Mode::Keyword, limit: 100, ..Query::default() },
        Query { like: vec![ItemPart { id: "i10".to_owned(), weight: 1.0 }], limit: 100, ..Query::default() },
    ];
    let answer = |query: &Query| {
        let hits = searcher.search(query).unwrap().hits;
        hits.into_iter().map(|hit| (hit.id, hit.score)).collect()
    };
    (snapshot, queries.iter().map(answer).collect())
}

fn same(left: &Answers, right: &Answers) -> bool {
    left.len() == right.len()
        && left.iter().zip(right).all(|(left, right)| {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|((id, score), (other, expected))| id == other && (score - expected).abs() <= SCORE_TOLERANCE)
        })
}

/// Copies a folder by links; lock files, which every run writes to, are copied.
fn link_folder(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).unwrap();
    for entry in fs_err::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().unwrap().is_dir() {
            link_folder(&path, &target);
        } else if entry.file_name() == "lock" || from.ends_with("locks") {
            fs_err::copy(path, target).unwrap();
        } else {
            fs_err::hard_link(path, target).unwrap();
        }
    }
}

//! A worker: damages a file of its own snapshot, opens and searches it, puts the file back, trial after trial. Owns a
//! trial and how its end is told; not which ones are run. Invariant: a line of results for every trial that ended, written
//! before the next begins.

use std::io::Write;
use std::path::{Path, PathBuf};

use indexer::error::chain;
use indexer::upkeep;
use schemas::map::MapOptions;
use schemas::{Manifest, SnapshotId, Store};
use searcher::vector::Graph;
use searcher::{FileCheck, ImagePart, ItemPart, Mode, OpenOptions, Query, RowSet, SearchError, Searcher};

use super::change::{Kind, Random};
use crate::harness::root;

/// How a trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// An error that names the file.
    NamedError,
    /// An error that does not name it.
    OtherError,
    /// The answers of the whole file.
    SameAnswer,
    /// Other answers, without an error; also that there is no such item.
    DifferentAnswer,
    /// The whole check did not find the damage.
    Unverified,
    /// The worker died.
    Crash,
    /// The worker came to no end.
    Hang,
}

impl Outcome {
    const ALL: [Outcome; 7] = [
        Outcome::NamedError,
        Outcome::OtherError,
        Outcome::SameAnswer,
        Outcome::DifferentAnswer,
        Outcome::Unverified,
        Outcome::Crash,
        Outcome::Hang,
    ];

    pub(super) fn parse(line: &str) -> Option<(Outcome, &str)> {
        let (name, detail) = line.split_once('\t')?;
        Some((Outcome::ALL.into_iter().find(|outcome| format!("{outcome:?}") == name)?, detail))
    }

    /// Whether this must not happen to a file of that name. Other answers may only come of files whose bytes all mean
    /// something (a changed weight is as good a weight); finding those is what checksums are for.
    pub(super) fn is_bad(self, file: &str) -> bool {
        match self {
            Outcome::NamedError | Outcome::SameAnswer => false,
            Outcome::DifferentAnswer => file == "manifest.json" || file.starts_with("encoders/"),
            Outcome::OtherError | Outcome::Unverified | Outcome::Crash | Outcome::Hang => true,
        }
    }
}

/// Which part of the reader is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Everything that a small snapshot needs no encoder for; it scans its vectors.
    Files,
    /// Queries that need the encoders.
    Encoders,
    /// Walks over the graph, which large snapshots do.
    Graph,
}

impl Asked {
    pub(super) fn name(self) -> &'static str {
        match self {
            Asked::Files => "files",
            Asked::Encoders => "encoders",
            Asked::Graph => "graph",
        }
    }

    fn parse(name: &str) -> Option<Asked> {
        [Asked::Files, Asked::Encoders, Asked::Graph].into_iter().find(|asked| asked.name() == name)
    }
}

/// The rows that walks from several places find.
fn walks(snapshot: &Path) -> Result<Vec<String>, SearchError> {
    let manifest = Manifest::read(snapshot)?;
    let vector = manifest.vector.clone().unwrap();
    let graph = Graph::open(snapshot, &manifest, &vector, MapOptions::default())?;
    let mut kept = RowSet::empty(manifest.item_count);
    (0..).take(manifest.item_count as usize).step_by(5).for_each(|row| kept.insert(row));
    let mut random = Random::new(3);
    let queries = (0..8).map(|_| (0..vector.dimension).map(|_| random.below(2001) as f32 / 1000.0 - 1.0).collect());
    let walk = |query: &[f32], rows| graph.nearest(query, rows, 64);
    queries.map(|query: Vec<f32>| Ok(format!("{:?} {:?}", walk(&query, None)?, walk(&query, Some(&kept))?))).collect()
}

/// What every query of a kind answers.
fn answers(snapshot: &Path, asked: Asked) -> Result<Vec<String>, SearchError> {
    if asked == Asked::Graph {
        return walks(snapshot);
    }
    let searcher = Searcher::open(snapshot, &OpenOptions::default())?;
    if asked == Asked::Encoders {
        let image = ImagePart { file: root().join("fixtures/query_images/i001.jpg"), weight: 1.0 };
        let picture = Query { mode: Mode::Vector, images: vec![image], ..Query::default() };
        let text = Query { mode: Mode::Vector, ..Query::text("red mug") };
        return [text, picture].iter().map(|query| Ok(format!("{:?}", searcher.search(query)?.hits))).collect();
    }
    let like =
        |id: &str, mode| Query { mode, like: vec![ItemPart { id: id.to_owned(), weight: 1.0 }], ..Query::default() };
    let queries = [
        Query { mode: Mode::Keyword, explain: true, limit: 30, ..Query::text("red mug thing") },
        Query { mode: Mode::Keyword, offset: 200, limit: 100, ..Query::text("thing gift day") },
        Query {
            mode: Mode::Keyword,
            filter: Some(r#"(price < 200 and stock in [1, 2, 3] and tags = "gift") or new = true"#.to_owned()),
            ..Query::text("blue lamp")
        },
        Query { explain: true, ..like("i0007", Mode::Vector) },
        Query { filter: Some(r#"category under "Home" and brand != "oak""#.to_owned()), ..like("i0150", Mode::Vector) },
        Query {
            collapse: Some("stock".to_owned()),
            diversity: 0.5,
            sort: ["new:desc", "price", "brand"].map(|key| key.parse().unwrap()).to_vec(),
            facets: ["tags", "category", "price"].map(str::to_owned).to_vec(),
            filter: Some("exists(id)".to_owned()),
            ..Query::default()
        },
    ];
    let mut answers = Vec::new();
    for query in &queries {
        let results = searcher.search(query)?;
        answers.push(format!("{} {:?} {:?}", results.total, results.facets, results.hits));
    }
    // The example's encoders do not exist: the vector side of a text is lent by an item.
    let lent = searcher.encode(&like("i0299", Mode::Vector))?;
    let hybrid = Query { explain: true, limit: 50, ..Query::text("wool sofa") };
    let results = searcher.search_encoded(&hybrid, &lent)?;
    answers.push(format!("{} {:?}", results.total, results.hits));
    Ok(answers)
}

/// `indexer verify` of a snapshot that lies in no store.
pub(super) fn verify_files(snapshot: &Path) -> Result<(), String> {
    let manifest = Manifest::read(snapshot).map_err(|error| chain(&error))?;
    indexer::verify::check_files(snapshot, &manifest).map_err(|error| chain(&error))
}

/// One trial, on the damaged file.
fn trial(snapshot: &Path, file: &str, asked: Asked, whole: &[String]) -> (Outcome, String) {
    // A graph that is asked by itself cannot tell in which of its two files the damage is; a searcher looks.
    let named = if asked == Asked::Graph { "vector/fused." } else { file };
    let (verified, checked) = if asked == Asked::Encoders {
        let store = Store::open(&snapshot.join("../..")).unwrap();
        let id = SnapshotId::parse(snapshot.file_name().unwrap().to_str().unwrap()).unwrap();
        (upkeep::verify(&store, &id).map(drop).map_err(|error| chain(&error)), None)
    } else {
        let options = OpenOptions { check: FileCheck::Checksums, ..OpenOptions::default() };
        let checked = Searcher::open(snapshot, &options).map(drop).map_err(|error| chain(&error));
        (verify_files(snapshot), Some(checked))
    };
    // The record of a checkpoint has a name that is only for people.
    let for_people = file.ends_with("/checkpoint.json");
    if !for_people && (verified.is_ok() || checked.as_ref().is_some_and(Result::is_ok)) {
        return (Outcome::Unverified, String::new());
    }
    let checked = checked.and_then(Result::err);
    if let Some(error) = [verified.err(), checked].into_iter().flatten().find(|error| !error.contains(file)) {
        return (Outcome::OtherError, error);
    }
    match answers(snapshot, asked) {
        Ok(answers) if answers == whole => (Outcome::SameAnswer, String::new()),
        Ok(_) | Err(SearchError::Query { .. }) => (Outcome::DifferentAnswer, String::new()),
        Err(error) => {
            let error = chain(&error);
            (if error.contains(named) { Outcome::NamedError } else { Outcome::OtherError }, error)
        }
    }
}

#[test]
#[ignore = "started by the tests of this module, with what to do in the environment"]
fn worker() {
    let variable = |name: &str| std::env::var(format!("CATALENS_DAMAGE_{name}")).unwrap();
    let (snapshot, file) = (PathBuf::from(variable("SNAPSHOT")), variable("FILE"));
    let kind = Kind::parse(&variable("KIND")).unwrap();
    let trials = variable("TRIALS");
    let (first, end) = trials.split_once("..").unwrap();
    let trials = first.parse::<u32>().unwrap()..end.parse::<u32>().unwrap();
    let mut results = fs_err::OpenOptions::new().append(true).open(variable("RESULTS")).unwrap();
    let asked = Asked::parse(&variable("ASKED")).unwrap();
    let whole_answers = answers(&snapshot, asked).unwrap();
    let path = if asked == Asked::Encoders { snapshot.join("../..").join(&file) } else { snapshot.join(&file) };
    let whole = fs_err::read(&path).unwrap();
    // tantivy's panics are caught and become errors; what they say would fill the log.
    std::panic::set_hook(Box::new(|_| {}));
    for number in trials {
        fs_err::write(&path, kind.apply(&whole, number)).unwrap();
        let (outcome, detail) = trial(&snapshot, &file, asked, &whole_answers);
        fs_err::write(&path, &whole).unwrap();
        let line = format!("{outcome:?}\t{}\n", detail.replace(['\n', '\r'], " "));
        results.write_all(line.as_bytes()).unwrap();
    }
    drop(std::panic::take_hook());
    assert_eq!(answers(&snapshot, asked).unwrap(), whole_answers, "the last trial left something behind");
}

//! The graph in both scalar kinds: our reader beside usearch's own search, over the same file.
//!
//! **What is measured.** One thread, one query after the other, every query three times over, the first round not counted:
//! queries a second and recall@10 against an exact scan of the same vectors, without a filter and with filters that keep a
//! random share of the rows; once as the graph orders them ("walk", the default beam) and once as the searcher does it
//! ("scored": a beam of at least 256 rows, ordered by their exact inner products); for filters also the exact scan of the kept
//! rows, which the searcher falls back to. Time to build and to open. Both read the file from the page cache; usearch loads it
//! into memory, and is given queries of 8 bits for codes of 8 bits.
//!
//! **On what.** Seeded unit vectors around 500 centres, as halves; or the item vectors of a snapshot, with the titles of
//! random items as text queries. The graph has the default settings.
//!
//! ```text
//! cargo bench --bench graph -- [ROWS=100000] [DIMENSION=384]
//! cargo bench --bench graph -- SNAPSHOT
//! ```

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use half::f16;
use rayon::prelude::*;
use schemas::manifest::{EmbeddingFusionKind, Scalar, VectorManifest};
use schemas::modalities::{MODALITIES_FILE, ModalitiesReader, ModalityColumn};
use schemas::{Manifest, MappedFile, Row};
use searcher::RowSet;
use searcher::embedding_fusion::EmbeddingFusion;
use searcher::random::SeededRandom;
use searcher::vector::{
    DEFAULT_CONNECTIVITY, DEFAULT_EXPANSION_ADD, DEFAULT_EXPANSION_SEARCH, GRAPH_FILE, Graph, GraphWriter,
    MIN_GRAPH_ROWS, Magnitudes, NODE_TABLE_FILE,
};
use usearch::{Index, IndexOptions, MetricKind, ScalarKind};

const CENTRES: u64 = 500;
const QUERIES: usize = 200;
const DEPTH: usize = 10;
/// Shares of the rows that filters keep.
const SHARES: [f64; 6] = [0.5, 0.2, 0.1, 0.05, 0.02, 0.01];

/// About normal: the sum of four uniform numbers, centred.
fn normal(random: &mut SeededRandom) -> f32 {
    (0..4).map(|_| (random.bits() >> 40) as f32 / (1u64 << 24) as f32 - 0.5).sum()
}

/// The vector of a number: its centre's direction and some of its own.
fn vector(number: u64, dimension: usize) -> Vec<f16> {
    let (mut centre, mut own) = (SeededRandom::new(number % CENTRES), SeededRandom::new(1 << 40 | number));
    let values: Vec<f32> = (0..dimension).map(|_| normal(&mut centre) + 0.7 * normal(&mut own)).collect();
    let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    values.into_iter().map(|value| f16::from_f32(value / length)).collect()
}

/// Item vectors and queries.
struct Corpus {
    vectors: Vec<(Row, Vec<f16>)>,
    queries: Vec<Vec<f32>>,
    dimension: usize,
}

fn clustered(rows: Row, dimension: usize) -> Corpus {
    let vectors = (0..rows).into_par_iter().map(|row| (row, vector(u64::from(row), dimension))).collect();
    let queries = (0..QUERIES as u64)
        .map(|number| vector(1 << 32 | number, dimension).into_iter().map(f16::to_f32).collect())
        .collect();
    Corpus { vectors, queries, dimension }
}

/// The item vectors of a snapshot whose modalities are all texts of one encoder.
fn of_snapshot(folder: &Path) -> anyhow::Result<Corpus> {
    let manifest = Manifest::read(folder)?;
    let columns: Vec<ModalityColumn> = manifest.modalities.iter().map(ModalityColumn::from).collect();
    let modalities = ModalitiesReader::open(MappedFile::open(&folder.join(MODALITIES_FILE))?, &columns)?;
    let vector = manifest.vector.as_ref().context("nothing is encoded")?;
    let fusion = EmbeddingFusion::open(folder, vector, &manifest.modalities)?;
    let weights: Vec<f32> = manifest.modalities.iter().map(|one| one.weight).collect();
    let rows = Row::try_from(modalities.row_count())?;
    let (mut vectors, mut queries) = (Vec::new(), Vec::new());
    let mut random = SeededRandom::new(5);
    while queries.len() < QUERIES {
        let title = modalities.embedding(0, (random.bits() % u64::from(rows)) as Row)?;
        let title = title.map(|title| title.iter().map(|value| value.to_f32()).collect::<Vec<f32>>());
        queries.extend(title.map(|title| fusion.query_vector(&vec![Some(title); columns.len()], &weights)));
    }
    for row in 0..rows {
        let embeddings =
            (0..columns.len()).map(|column| modalities.embedding(column, row)).collect::<Result<Vec<_>, _>>()?;
        vectors.extend(fusion.item_vector(&embeddings).map(|vector| (row, vector)));
    }
    Ok(Corpus { vectors, queries, dimension: vector.dimension })
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let first = arguments.next().unwrap_or_else(|| "100000".to_owned());
    let corpus = if Path::new(&first).is_dir() {
        of_snapshot(Path::new(&first))?
    } else {
        let dimension = arguments.next().unwrap_or_else(|| "384".to_owned()).parse().context("DIMENSION")?;
        clustered(first.parse().context("ROWS, or the folder of a snapshot")?, dimension)
    };
    println!("{} rows of {}, {} queries", corpus.vectors.len(), corpus.dimension, corpus.queries.len());
    let mut magnitudes = Magnitudes::default();
    corpus.vectors.iter().for_each(|(_, vector)| magnitudes.count(vector));
    compare(&corpus, Scalar::F16)?;
    compare(&corpus, Scalar::I8 { step: magnitudes.step() })
}

/// Builds the graph in one scalar kind, and prints its table.
fn compare(corpus: &Corpus, scalar: Scalar) -> anyhow::Result<()> {
    let Corpus { vectors, queries, dimension } = corpus;
    let rows = vectors.iter().map(|(row, _)| row + 1).max().context("no rows")?;
    let manifest = VectorManifest {
        embedding_fusion: EmbeddingFusionKind::WeightedBlocks,
        dimension: *dimension,
        scalar,
        connectivity: DEFAULT_CONNECTIVITY,
        expansion_add: DEFAULT_EXPANSION_ADD,
        expansion_search: DEFAULT_EXPANSION_SEARCH,
        vector_count: vectors.len() as u64,
    };
    let folder = tempfile::tempdir()?;
    let start = Instant::now();
    let writer = GraphWriter::create(folder.path(), &manifest, vectors.len())?;
    vectors.chunks(4096).try_for_each(|part| writer.add(part))?;
    writer.finish()?;
    let path = folder.path().join(GRAPH_FILE);
    let bytes = fs_err::metadata(&path)?.len();
    println!("{scalar:?}: built in {:.1} s, {:.1} MB", start.elapsed().as_secs_f64(), bytes as f64 / 1e6);

    let start = Instant::now();
    let table = MappedFile::open(&folder.path().join(NODE_TABLE_FILE))?;
    let graph = Graph::from_maps(MappedFile::open(&path)?, Some(table), &manifest, u64::from(rows))?;
    println!("open: ours {:.3} ms", start.elapsed().as_secs_f64() * 1e3);
    let start = Instant::now();
    Graph::from_maps(MappedFile::open(&path)?, None, &manifest, u64::from(rows))?;
    println!("open: ours, without the table of nodes {:.3} ms", start.elapsed().as_secs_f64() * 1e3);
    let options = IndexOptions {
        dimensions: *dimension,
        metric: MetricKind::IP,
        quantization: match scalar {
            Scalar::F16 => ScalarKind::F16,
            Scalar::I8 { .. } => ScalarKind::I8,
        },
        connectivity: manifest.connectivity,
        expansion_add: manifest.expansion_add,
        expansion_search: manifest.expansion_search,
        multi: false,
    };
    let peer = Index::new(&options)?;
    let start = Instant::now();
    peer.view(path.to_str().context("path")?)?;
    println!("open: usearch, view {:.3} ms", start.elapsed().as_secs_f64() * 1e3);
    peer.load(path.to_str().context("path")?)?;

    let mut by_row: Vec<&[f16]> = vec![&[]; rows as usize];
    vectors.iter().for_each(|(row, vector)| by_row[*row as usize] = vector);
    let rayon = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    println!("kept    walk q/s recall   scored q/s recall   usearch q/s recall   scan q/s");
    for share in std::iter::once(1.0).chain(SHARES) {
        let mut kept = RowSet::empty(u64::from(rows));
        let mut random = SeededRandom::new(3);
        (0..rows).filter(|_| (random.bits() as f64) < share * u64::MAX as f64).for_each(|row| kept.insert(row));
        let filter = (share < 1.0).then_some(&kept);
        let exact: Vec<Vec<Row>> = queries.par_iter().map(|query| scan(&by_row, query, kept.iter())).collect();
        let walk = measure(queries, &exact, |query| {
            Ok(graph.nearest(query, filter, DEPTH)?.into_iter().map(|(row, _)| row).collect())
        })?;
        let scored = measure(queries, &exact, |query| {
            let found = graph.nearest(query, filter, MIN_GRAPH_ROWS)?;
            Ok(scan(&by_row, query, found.into_iter().map(|(row, _)| row)))
        })?;
        let usearch = measure(queries, &exact, |query| {
            let matches = match scalar {
                Scalar::F16 => peer_search(&peer, query, filter),
                Scalar::I8 { .. } => peer_search(&peer, &codes(query), filter),
            };
            Ok(matches?.keys.into_iter().map(|key| key as Row).collect())
        })?;
        let start = Instant::now();
        let few = &queries[..20];
        rayon.install(|| {
            few.iter().for_each(|query| drop(std::hint::black_box(scan(&by_row, query, kept.iter()))));
        });
        let scans = few.len() as f64 / start.elapsed().as_secs_f64();
        println!(
            "{share:<6} {:>9.0} {:.4}   {:>10.0} {:.4}   {:>11.0} {:.4}   {scans:>8.0}",
            walk.0, walk.1, scored.0, scored.1, usearch.0, usearch.1
        );
    }
    Ok(())
}

fn peer_search<T: usearch::VectorType>(
    peer: &Index,
    query: &[T],
    filter: Option<&RowSet>,
) -> anyhow::Result<usearch::ffi::Matches> {
    Ok(match filter {
        None => peer.search(query, DEPTH)?,
        Some(kept) => peer.filtered_search(query, DEPTH, |key| kept.contains(key as Row))?,
    })
}

/// A query in 8 bits; its scale does not change the order.
fn codes(query: &[f32]) -> Vec<i8> {
    let largest = query.iter().map(|value| value.abs()).fold(f32::MIN_POSITIVE, f32::max);
    query.iter().map(|value| (value / largest * 127.0).round() as i8).collect()
}

/// Queries a second and recall.
fn measure(
    queries: &[Vec<f32>],
    exact: &[Vec<Row>],
    search: impl Fn(&[f32]) -> anyhow::Result<Vec<Row>>,
) -> anyhow::Result<(f64, f64)> {
    let (mut found, mut wanted) = (0, 0);
    for (query, exact) in queries.iter().zip(exact) {
        let rows = search(query)?;
        found += exact.iter().filter(|row| rows.contains(row)).count();
        wanted += exact.len();
    }
    let start = Instant::now();
    for query in queries.iter().chain(queries) {
        std::hint::black_box(search(query)?);
    }
    Ok((2.0 * queries.len() as f64 / start.elapsed().as_secs_f64(), found as f64 / wanted.max(1) as f64))
}

/// The nearest of some rows by the kernel that scores.
fn scan(by_row: &[&[f16]], query: &[f32], rows: impl Iterator<Item = Row>) -> Vec<Row> {
    let mut best: Vec<(f32, Row)> = Vec::new();
    for row in rows {
        best.push((searcher::vector::dot(by_row[row as usize], query), row));
        if best.len() > 1000 {
            shorten(&mut best);
        }
    }
    shorten(&mut best);
    best.into_iter().map(|(_, row)| row).collect()
}

fn shorten(best: &mut Vec<(f32, Row)>) {
    best.sort_unstable_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
    best.truncate(DEPTH);
}

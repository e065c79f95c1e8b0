//! Graph, scorer and scan together, on files in temporary folders and seeded clustered vectors.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::PathBuf;

use half::f16;
use schemas::manifest::{EmbeddingFusionKind, ModalityManifest, Scalar, ScalarKind, VectorManifest};
use schemas::modalities::{ModalitiesReader, ModalitiesWriter, ModalityColumn};
use schemas::{Architecture, Dtype, EncoderSpec, MappedFile, Modality, Pooling, Row};
use tempfile::TempDir;

use super::*;
use crate::embedding_fusion::EmbeddingFusion;
use crate::error::SearchError;
use crate::random::SeededRandom;
use crate::row_set::RowSet;

const DIMENSION: usize = 48;
const WEIGHTS: [f32; 2] = [0.6, 0.4];

/// About normal: the sum of four uniform numbers, centred.
pub(crate) fn normal(random: &mut SeededRandom) -> f32 {
    (0..4).map(|_| (random.bits() >> 40) as f32 / (1u64 << 24) as f32 - 0.5).sum()
}

/// A vector of unit length near another.
pub(crate) fn direction(random: &mut SeededRandom, around: &[f32], spread: f32) -> Vec<f32> {
    let values: Vec<f32> = around.iter().map(|centre| centre + spread * normal(random)).collect();
    let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    values.into_iter().map(|value| value / length).collect()
}

pub(super) struct Fixture {
    pub(super) folder: TempDir,
    pub(super) manifest: VectorManifest,
    pub(super) modalities: ModalitiesReader,
    pub(super) fusion: EmbeddingFusion,
    pub(super) queries: Vec<QueryEmbeddings>,
}

impl Fixture {
    /// `rows` items around 50 centres; every seventh has no picture, every hundredth nothing at all. Built on one
    /// thread, so that it is the same graph every time.
    pub(super) fn new(rows: u32) -> Fixture {
        Fixture::of_kind(rows, ScalarKind::F16)
    }

    pub(super) fn of_kind(rows: u32, kind: ScalarKind) -> Fixture {
        Fixture::with_threads(rows, kind, 1)
    }

    fn with_threads(rows: u32, kind: ScalarKind, threads: usize) -> Fixture {
        let mut random = SeededRandom::new(7);
        let zero = vec![0.0; DIMENSION];
        let centres: Vec<Vec<f32>> = (0..50).map(|_| direction(&mut random, &zero, 1.0)).collect();
        let folder = tempfile::tempdir().unwrap();
        let columns =
            [Modality::Title, Modality::Image].map(|modality| ModalityColumn { modality, dimension: DIMENSION });
        let path = folder.path().join("modalities.arrow");
        let mut writer = ModalitiesWriter::create(&path, &columns).unwrap();
        let modalities: Vec<ModalityManifest> =
            columns.iter().zip(WEIGHTS).map(|(column, weight)| modality(column.modality, weight)).collect();
        let fusion = EmbeddingFusion::new(EmbeddingFusionKind::WeightedBlocks, &modalities).unwrap();
        let mut vectors = Vec::new();
        for row in 0..rows {
            let centre = &centres[(random.bits() % 50) as usize];
            let halves = |values: Vec<f32>| values.into_iter().map(f16::from_f32).collect::<Vec<_>>();
            let title = halves(direction(&mut random, centre, 0.3));
            let image = halves(direction(&mut random, centre, 0.3));
            let embeddings =
                [(row % 100 != 99).then_some(&title[..]), (row % 7 != 6 && row % 100 != 99).then_some(&image[..])];
            writer.write(&embeddings).unwrap();
            vectors.extend(fusion.item_vector(&embeddings).map(|vector| (row, vector)));
        }
        assert_eq!(writer.finish().unwrap(), u64::from(rows));
        let mut magnitudes = Magnitudes::default();
        vectors.iter().for_each(|(_, vector)| magnitudes.count(vector));
        let scalar = match kind {
            ScalarKind::F16 => Scalar::F16,
            ScalarKind::I8 => Scalar::I8 { step: magnitudes.step() },
        };
        let manifest = VectorManifest {
            embedding_fusion: EmbeddingFusionKind::WeightedBlocks,
            dimension: fusion.dimension(),
            scalar,
            connectivity: DEFAULT_CONNECTIVITY,
            expansion_add: DEFAULT_EXPANSION_ADD,
            expansion_search: DEFAULT_EXPANSION_SEARCH,
            vector_count: vectors.len() as u64,
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let count = pool.install(|| {
            let graph = GraphWriter::create(folder.path(), &manifest, vectors.len()).unwrap();
            vectors.chunks(1000).for_each(|part| graph.add(part).unwrap());
            graph.finish().unwrap()
        });
        assert_eq!(count, manifest.vector_count);
        let queries = (0..100)
            .map(|number| {
                let centre = &centres[number % 50];
                let mut embedding = || Some(direction(&mut random, centre, 0.3));
                QueryEmbeddings { embeddings: vec![embedding(), embedding()], weights: WEIGHTS.to_vec(), vector: None }
            })
            .collect();
        let modalities = ModalitiesReader::open(MappedFile::open(&path).unwrap(), &columns).unwrap();
        Fixture { folder, manifest, modalities, fusion, queries }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join(GRAPH_FILE)
    }

    pub(super) fn graph(&self) -> Graph {
        self.try_graph(&self.manifest).unwrap()
    }

    pub(super) fn try_graph(&self, manifest: &VectorManifest) -> Result<Graph, SearchError> {
        let [graph, table] = [GRAPH_FILE, NODE_TABLE_FILE].map(|name| MappedFile::open(&self.folder.path().join(name)));
        Graph::from_maps(graph?, Some(table?), manifest, self.modalities.row_count())
    }

    pub(super) fn scorer<'a>(&'a self, query: &'a QueryEmbeddings) -> VectorScorer<'a> {
        VectorScorer { modalities: &self.modalities, query, learned: None }
    }
}

fn modality(modality: Modality, weight: f32) -> ModalityManifest {
    let encoder = EncoderSpec {
        name: "test".to_owned(),
        architecture: Architecture::ClipText,
        checkpoint: modality.name().to_owned(),
        weights: String::new(),
        preprocessing: String::new(),
        pooling: Pooling::Mean,
        dimension: DIMENSION,
        dtype: Dtype::F32,
    };
    ModalityManifest { modality, encoder, weight, present: 0 }
}

fn rows(candidates: &[crate::Candidate]) -> Vec<Row> {
    candidates.iter().map(|candidate| candidate.row).collect()
}

#[test]
fn the_graph_finds_what_a_scan_finds() {
    finds_what_a_scan_finds(&Fixture::with_threads(5_000, ScalarKind::F16, 4), 10, 5e-3);
}

#[test]
fn a_graph_of_codes_finds_what_a_scan_finds() {
    // Items with one modality have larger values, of which some are cut off.
    finds_what_a_scan_finds(&Fixture::with_threads(5_000, ScalarKind::I8, 4), 20, 5e-2);
}

/// The best ten are among the walk's `depth`, whose inner products are off by less than `tolerance`.
fn finds_what_a_scan_finds(fixture: &Fixture, depth: usize, tolerance: f32) {
    let graph = fixture.graph();
    let mut found = 0;
    for query in &fixture.queries {
        let vector = fixture.fusion.query_vector(&query.embeddings, &query.weights);
        let nearest = graph.nearest(&vector, None, depth).unwrap();
        assert!(nearest.windows(2).all(|pair| pair[0].1 >= pair[1].1), "nearest first");
        for (row, inner_product) in &nearest {
            let exact = fixture.scorer(query).score(*row).unwrap().unwrap();
            assert!(
                (inner_product - exact).abs() < tolerance,
                "item vectors give about the exact score: {inner_product}, {exact}"
            );
        }
        let exact = rows(&fixture.scorer(query).scan(None, 10).unwrap());
        found += nearest.iter().filter(|(row, _)| exact.contains(row)).count();
    }
    let recall = found as f64 / (10.0 * fixture.queries.len() as f64);
    assert!(recall >= 0.95, "recall@10 {recall}");
}

#[test]
fn filters_hold_in_graph_and_scan() {
    let fixture = Fixture::new(2_000);
    let graph = fixture.graph();
    let mut kept = RowSet::empty(2_000);
    (0..2_000).filter(|row| row % 3 == 0).for_each(|row| kept.insert(row));
    let query = &fixture.queries[0];
    let vector = fixture.fusion.query_vector(&query.embeddings, &query.weights);
    let nearest = graph.nearest(&vector, Some(&kept), 20).unwrap();
    assert!(nearest.len() == 20 && nearest.iter().all(|(row, _)| kept.contains(*row)));
    let all = fixture.scorer(query).scan(None, 2_000).unwrap();
    let expected: Vec<Row> = rows(&all).into_iter().filter(|row| kept.contains(*row)).take(50).collect();
    assert_eq!(rows(&fixture.scorer(query).scan(Some(&kept), 50).unwrap()), expected);
    let retrieved = retrieve(&graph, &fixture.scorer(query), &fixture.fusion, Some(&kept), 50).unwrap();
    assert_eq!(rows(&retrieved), expected, "few rows are scanned");
    assert!(fixture.scorer(query).scan(Some(&RowSet::empty(2_000)), 50).unwrap().is_empty());
}

#[test]
fn many_rows_are_found_by_the_graph_and_scored_exactly() {
    [ScalarKind::F16, ScalarKind::I8].into_iter().for_each(graph_and_exact_scores);
}

fn graph_and_exact_scores(kind: ScalarKind) {
    let fixture = Fixture::of_kind(EXACT_SCAN_ROWS as u32 + 2_000, kind);
    let graph = fixture.graph();
    let one_sided = |query: &QueryEmbeddings| QueryEmbeddings {
        embeddings: vec![None, query.embeddings[1].clone()],
        ..query.clone()
    };
    for adapt in [QueryEmbeddings::clone, one_sided] {
        let mut found = 0;
        for query in fixture.queries.iter().take(20).map(adapt) {
            let scorer = fixture.scorer(&query);
            let retrieved = retrieve(&graph, &scorer, &fixture.fusion, None, 10).unwrap();
            for candidate in &retrieved {
                assert_eq!(scorer.score(candidate.row).unwrap(), Some(candidate.score));
            }
            let best = |pair: &[crate::Candidate]| (pair[0].score, pair[1].row) > (pair[1].score, pair[0].row);
            assert!(retrieved.windows(2).all(best), "by exact score, ties by row");
            let exact = rows(&scorer.scan(None, 10).unwrap());
            found += rows(&retrieved).iter().filter(|row| exact.contains(row)).count();
        }
        assert!(found >= 190, "recall@10: {found} of 200");
    }
}

#[test]
fn scores_are_weighted_means_of_the_cosines_that_exist() {
    let fixture = Fixture::new(200);
    let query = &fixture.queries[3];
    let scorer = fixture.scorer(query);
    assert_eq!(scorer.score(99).unwrap(), None, "no embedding at all");
    for row in 0..200 {
        let parts = scorer.explain(row).unwrap();
        let sum: f32 = parts.iter().map(|part| part.score).sum();
        assert!((sum - scorer.score(row).unwrap().unwrap_or(0.0)).abs() < 1e-5);
        assert_eq!(parts[1].cosine.is_some(), row % 7 != 6 && row % 100 != 99);
    }
    let title = scorer.explain(6).unwrap()[0].clone();
    assert!((title.score - title.cosine.unwrap()).abs() < 1e-6, "title only: its cosine");
    let unweighted = QueryEmbeddings { weights: vec![0.0, 0.0], ..query.clone() };
    assert_eq!(fixture.scorer(&unweighted).score(0).unwrap(), None);
    let short = QueryEmbeddings { embeddings: vec![Some(vec![1.0]), None], ..query.clone() };
    assert!(fixture.scorer(&short).score(0).is_err());
    assert!(scorer.score(200).is_err(), "beyond the end");
}

#[test]
fn scans_do_not_depend_on_the_number_of_threads() {
    let fixture = Fixture::new(9_000);
    let scan = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| fixture.scorer(&fixture.queries[1]).scan(None, 100).unwrap())
    };
    assert_eq!(scan(1), scan(4));
}

#[test]
fn one_thread_writes_the_same_file_again() {
    for kind in [ScalarKind::F16, ScalarKind::I8] {
        let [first, second] = [(); 2].map(|()| fs_err::read(Fixture::of_kind(500, kind).path()).unwrap());
        assert!(first == second, "{kind:?}");
    }
}

#[test]
fn an_empty_graph_answers_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = VectorManifest { vector_count: 0, ..Fixture::new(1).manifest };
    assert_eq!(GraphWriter::create(folder.path(), &manifest, 0).unwrap().finish().unwrap(), 0);
    let [file, table] = [GRAPH_FILE, NODE_TABLE_FILE].map(|name| MappedFile::open(&folder.path().join(name)).unwrap());
    let graph = Graph::from_maps(file, Some(table), &manifest, 0).unwrap();
    graph.check().unwrap();
    assert!(graph.nearest(&vec![0.0; manifest.dimension], None, 10).unwrap().is_empty());
}

#[test]
fn wrong_vectors_are_refused_when_adding() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = Fixture::new(1).manifest;
    let writer = GraphWriter::create(folder.path(), &manifest, 2).unwrap();
    let vector = vec![f16::ONE; manifest.dimension];
    assert!(writer.add(&[(0, vec![f16::ONE])]).unwrap_err().to_string().contains("row 0 has a vector of 1 values"));
    writer.add(&[(0, vector.clone())]).unwrap();
    assert!(writer.add(&[(0, vector)]).is_err(), "the same row again");
}

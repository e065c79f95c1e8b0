//! Learned item vectors in a graph that is walked: more rows than are scanned, seeded clustered embeddings.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::Path;

use half::f16;
use schemas::item_weights::{ItemWeightsReader, ItemWeightsWriter};
use schemas::learned_fusion::{Gate, LearnedFusion, LearnedModality, TrainingSummary};
use schemas::manifest::{EmbeddingFusionKind, MANIFEST_FILE, ModalityManifest, Scalar, ScalarKind, VectorManifest};
use schemas::modalities::{ModalitiesReader, ModalitiesWriter, ModalityColumn};
use schemas::{Manifest, MappedFile, Row};
use tempfile::TempDir;

use crate::embedding_fusion::EmbeddingFusion;
use crate::random::SeededRandom;
use crate::row_set::RowSet;
use crate::vector::tests::{direction, normal};
use crate::vector::{
    EXACT_SCAN_ROWS, GRAPH_FILE, Graph, GraphWriter, LearnedItems, Magnitudes, NODE_TABLE_FILE, QueryEmbeddings,
    VectorScorer, retrieve,
};
use crate::{Candidate, example};

const ROWS: Row = EXACT_SCAN_ROWS as Row + 1_000;
const CENTRES: usize = 50;
/// Length of an embedding, and of the common space.
const DIMENSION: usize = 24;
const COMMON_DIMENSION: usize = 16;
/// How far embeddings lie from their centre.
const SPREAD: f32 = 0.4;
/// Queries, and candidates of each.
const QUERIES: usize = 20;
const DEPTH: usize = 10;

fn model(random: &mut SeededRandom, modalities: &[ModalityManifest]) -> LearnedFusion {
    let modality = |one: &ModalityManifest| {
        let mut values = |count: usize| (0..count).map(|_| normal(random)).collect::<Vec<f32>>();
        LearnedModality {
            modality: one.modality,
            encoder: one.encoder.fingerprint(),
            encoder_dimension: DIMENSION,
            projection: values(COMMON_DIMENSION * DIMENSION),
            item_gate: Gate { bias: 0.2, direction: values(COMMON_DIMENSION) },
            query_gate: Gate { bias: -0.1, direction: values(COMMON_DIMENSION) },
        }
    };
    let modalities = modalities.iter().map(modality).collect();
    LearnedFusion { dimension: COMMON_DIMENSION, modalities, training: TrainingSummary::default() }
}

/// A snapshot's vector files, and queries around the same centres.
struct Learned {
    folder: TempDir,
    manifest: VectorManifest,
    fusion: EmbeddingFusion,
    modalities: ModalitiesReader,
    weights: ItemWeightsReader,
    queries: Vec<QueryEmbeddings>,
}

impl Learned {
    /// Every fifth item has no picture, every hundredth nothing at all; every fourth query has a picture alone. Built on one
    /// thread, so that it is the same graph every time.
    fn new(kind: ScalarKind) -> Learned {
        let folder = tempfile::tempdir().unwrap();
        example::write_snapshot(&folder.path().join("example"), &example::items()).unwrap();
        let path = folder.path().join("example").join(MANIFEST_FILE);
        let Manifest { mut modalities, vector, .. } =
            Manifest::from_bytes(&path, &fs_err::read(&path).unwrap()).unwrap();
        modalities.iter_mut().for_each(|one| one.encoder.dimension = DIMENSION);
        let mut random = SeededRandom::new(20_261_121);
        let fusion = EmbeddingFusion::with_model(model(&mut random, &modalities), &modalities).unwrap();
        let centres: Vec<Vec<f32>> = (0..CENTRES).map(|_| direction(&mut random, &[0.0; DIMENSION], 1.0)).collect();

        let column = |one: &ModalityManifest| ModalityColumn { modality: one.modality, dimension: DIMENSION };
        let columns: Vec<ModalityColumn> = modalities.iter().map(column).collect();
        let [exact_path, weights_path] = ["exact.arrow", "weights.arrow"].map(|name| folder.path().join(name));
        let mut exact = ModalitiesWriter::create(&exact_path, &columns).unwrap();
        let mut weights = ItemWeightsWriter::create(&weights_path, columns.len()).unwrap();
        let mut vectors = Vec::new();
        for row in 0..ROWS {
            let centre = &centres[random.below(CENTRES)];
            let mut embedding =
                || direction(&mut random, centre, SPREAD).into_iter().map(f16::from_f32).collect::<Vec<_>>();
            let (title, image) = (embedding(), embedding());
            let has_any = row % 100 != 99;
            let embeddings = [has_any.then_some(&title[..]), (has_any && row % 5 != 4).then_some(&image[..])];
            exact.write(&embeddings).unwrap();
            let item = fusion.learned().unwrap().item(&embeddings);
            weights.write(item.as_ref().map_or(&[0.0; 2], |item| &item.weights)).unwrap();
            vectors.extend(item.map(|item| (row, item.halves())));
        }
        exact.finish().unwrap();
        weights.finish().unwrap();

        let mut magnitudes = Magnitudes::default();
        vectors.iter().for_each(|(_, vector)| magnitudes.count(vector));
        let manifest = VectorManifest {
            embedding_fusion: EmbeddingFusionKind::Learned,
            scalar: match kind {
                ScalarKind::F16 => Scalar::F16,
                ScalarKind::I8 => Scalar::I8 { step: magnitudes.step() },
            },
            dimension: COMMON_DIMENSION,
            vector_count: vectors.len() as u64,
            ..vector.unwrap()
        };
        build_graph(folder.path(), &manifest, &vectors);
        let query = |number: usize| {
            let centre = &centres[number % CENTRES];
            let (title, image) = (direction(&mut random, centre, SPREAD), direction(&mut random, centre, SPREAD));
            let embeddings = [(number % 4 != 3).then_some(title), Some(image)];
            fusion.query_embeddings(&embeddings, vec![1.0; 2]).unwrap()
        };
        let queries = (0..QUERIES).map(query).collect();
        let modalities = ModalitiesReader::open(MappedFile::open(&exact_path).unwrap(), &columns).unwrap();
        let weights = ItemWeightsReader::open(MappedFile::open(&weights_path).unwrap(), columns.len()).unwrap();
        Learned { folder, manifest, fusion, modalities, weights, queries }
    }

    fn scorer<'a>(&'a self, query: &'a QueryEmbeddings) -> VectorScorer<'a> {
        let learned = LearnedItems { fusion: self.fusion.learned().unwrap(), weights: &self.weights };
        VectorScorer { modalities: &self.modalities, query, learned: Some(learned) }
    }
}

fn build_graph(folder: &Path, manifest: &VectorManifest, vectors: &[(Row, Vec<f16>)]) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(|| {
        let graph = GraphWriter::create(folder, manifest, vectors.len()).unwrap();
        vectors.chunks(1_000).for_each(|part| graph.add(part).unwrap());
        assert_eq!(graph.finish().unwrap(), manifest.vector_count);
    });
}

fn open_graph(folder: &Path, manifest: &VectorManifest) -> Graph {
    let [file, table] = [GRAPH_FILE, NODE_TABLE_FILE].map(|name| MappedFile::open(&folder.join(name)).unwrap());
    Graph::from_maps(file, Some(table), manifest, u64::from(ROWS)).unwrap()
}

fn rows(candidates: &[Candidate]) -> Vec<Row> {
    candidates.iter().map(|candidate| candidate.row).collect()
}

#[test]
fn a_walk_over_many_learned_vectors_finds_what_a_scan_finds() {
    finds_what_a_scan_finds(ScalarKind::F16, 5e-3);
}

#[test]
fn so_does_a_walk_over_their_codes() {
    finds_what_a_scan_finds(ScalarKind::I8, 0.05);
}

/// `tolerance`: how far inner products in the graph may be from the scores.
fn finds_what_a_scan_finds(kind: ScalarKind, tolerance: f32) {
    let learned = Learned::new(kind);
    let graph = open_graph(learned.folder.path(), &learned.manifest);
    graph.check().unwrap();
    let mut half = RowSet::empty(u64::from(ROWS));
    (0..ROWS).filter(|row| row % 2 == 0).for_each(|row| half.insert(row));
    // The half that is kept is few enough to be scanned: a walk over it is asked for by itself.
    for kept in [None, Some(&half)] {
        let mut found = 0;
        for query in &learned.queries {
            let scorer = learned.scorer(query);
            let exact = scorer.scan(kept, DEPTH).unwrap();
            assert_eq!(exact.len(), DEPTH);
            let retrieved = retrieve(&graph, &scorer, &learned.fusion, kept, DEPTH).unwrap();
            for candidate in &retrieved {
                assert_eq!(scorer.score(candidate.row).unwrap(), Some(candidate.score));
            }
            let best = |pair: &[Candidate]| (pair[0].score, pair[1].row) > (pair[1].score, pair[0].row);
            assert!(retrieved.windows(2).all(best), "by exact score, ties by row");
            let vector = query.vector.as_ref().unwrap();
            let walked = graph.nearest(vector, kept, 256).unwrap();
            let mut scored = Vec::new();
            for (row, inner_product) in &walked {
                let score = scorer.score(*row).unwrap().unwrap();
                assert!((inner_product - score).abs() < tolerance, "row {row}: {inner_product} in the graph, {score}");
                scored.push((score, *row));
            }
            scored.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
            let exact = rows(&exact);
            if kept.is_none() {
                found += rows(&retrieved).iter().filter(|row| exact.contains(row)).count();
            } else {
                assert_eq!(rows(&retrieved), exact, "few rows are scanned");
                found += scored.iter().take(DEPTH).filter(|(_, row)| exact.contains(row)).count();
            }
        }
        let wanted = QUERIES * DEPTH;
        assert!(found * 100 >= wanted * 95, "recall@{DEPTH}: {found} of {wanted}, filtered: {}", kept.is_some());
    }

    // So many rows are not scanned: a graph without nodes finds nothing of them.
    let empty = tempfile::tempdir().unwrap();
    let manifest = VectorManifest { vector_count: 0, ..learned.manifest.clone() };
    build_graph(empty.path(), &manifest, &[]);
    let graph = open_graph(empty.path(), &manifest);
    let scorer = learned.scorer(&learned.queries[0]);
    assert_eq!(retrieve(&graph, &scorer, &learned.fusion, None, DEPTH).unwrap(), []);
}

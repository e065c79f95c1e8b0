//! The files of a snapshot, read through maps. Invariant: damaged bytes give an error or other values; what opens can be
//! read from its first row to its last.

use std::path::Path;
use std::sync::OnceLock;

use half::f16;
use schemas::items::{ITEMS_FILE, ItemsReader};
use schemas::manifest::{MANIFEST_FILE, Scalar, VectorManifest};
use schemas::modalities::{MODALITIES_FILE, ModalitiesReader, ModalityColumn};
use schemas::{Manifest, MappedFile, Row};
use searcher::example;
use searcher::vector::{GRAPH_FILE, Graph, GraphWriter, NODE_TABLE_FILE};

/// Rows of a file that are looked at: a damaged count may promise four billion.
const READ_ROWS: u64 = 1000;
/// Nodes of the graph's seed: some of them on upper levels.
const GRAPH_VECTORS: u32 = 60;

/// A file of the example snapshot.
pub(crate) fn example_file(name: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    example::write_snapshot(folder.path(), &example::items()).unwrap();
    fs_err::read(folder.path().join(name)).unwrap()
}

/// What is read is written and read back equal.
pub(crate) fn manifest(data: &[u8]) {
    let path = Path::new(MANIFEST_FILE);
    if let Ok(manifest) = Manifest::from_bytes(path, data) {
        assert_eq!(Manifest::from_bytes(path, &manifest.to_bytes()).unwrap(), manifest);
    }
}

pub(crate) fn manifest_seeds() -> Vec<Vec<u8>> {
    vec![example_file(MANIFEST_FILE), br#"{"format_version": 99}"#.to_vec(), b"{}".to_vec()]
}

/// Every row is an item or an error, and the ids are the items' own.
pub(crate) fn items(data: &[u8]) {
    let map = MappedFile::from_bytes(Path::new(ITEMS_FILE), data.to_vec());
    let Ok(reader) = ItemsReader::open(map, &example::fields()) else { return };
    let rows = reader.row_count().min(READ_ROWS) as Row;
    for row in 0..rows {
        if let Ok(item) = reader.item(row) {
            assert_eq!(reader.id(row).unwrap(), item.id);
            assert_eq!(item.fields.len(), example::fields().len());
        }
    }
    for batch in 0..reader.batch_count().min(READ_ROWS as usize) {
        if let Ok((first_row, batch)) = reader.batch(batch) {
            assert!(u64::from(first_row) + batch.num_rows() as u64 <= reader.row_count());
        }
    }
    assert!(reader.item(Row::MAX).is_err() || reader.row_count() > u64::from(Row::MAX));
}

pub(crate) fn items_seeds() -> Vec<Vec<u8>> {
    vec![example_file(ITEMS_FILE)]
}

/// Every row has an embedding of the column's length, none, or an error.
pub(crate) fn modalities(data: &[u8]) {
    let columns = example::MODALITIES.map(|modality| ModalityColumn { modality, dimension: example::DIMENSION });
    let map = MappedFile::from_bytes(Path::new(MODALITIES_FILE), data.to_vec());
    let Ok(reader) = ModalitiesReader::open(map, &columns) else { return };
    for row in 0..reader.row_count().min(READ_ROWS) as Row {
        for column in 0..columns.len() {
            if let Ok(Some(embedding)) = reader.embedding(column, row) {
                assert_eq!(embedding.len(), example::DIMENSION);
            }
        }
    }
    for batch in 0..reader.batch_count().min(READ_ROWS as usize) {
        if let Ok(slice) = reader.slice(0, batch) {
            assert_eq!(slice.values.len(), slice.rows * slice.dimension);
        }
    }
}

pub(crate) fn modalities_seeds() -> Vec<Vec<u8>> {
    vec![example_file(MODALITIES_FILE)]
}

/// A seed's manifest and two files, the graph and its table of nodes, for each scalar kind.
struct GraphSeed {
    manifest: VectorManifest,
    graph: Vec<u8>,
    table: Vec<u8>,
}

fn graph_seed_files() -> &'static [GraphSeed; 2] {
    static FILES: OnceLock<[GraphSeed; 2]> = OnceLock::new();
    FILES.get_or_init(|| {
        let manifest = Manifest::from_bytes(Path::new(MANIFEST_FILE), &example_file(MANIFEST_FILE)).unwrap();
        let manifest = VectorManifest { vector_count: u64::from(GRAPH_VECTORS), ..manifest.vector.unwrap() };
        [Scalar::F16, Scalar::I8 { step: 0.004 }]
            .map(|scalar| GraphSeed::new(VectorManifest { scalar, ..manifest.clone() }))
    })
}

impl GraphSeed {
    fn new(manifest: VectorManifest) -> GraphSeed {
        let folder = tempfile::tempdir().unwrap();
        let writer = GraphWriter::create(folder.path(), &manifest, GRAPH_VECTORS as usize).unwrap();
        let dimension = manifest.dimension;
        let value = |row: u32, place: usize| f16::from_f32(((row as usize * 7 + place * 13) % 17) as f32 / 17.0 - 0.5);
        let vector = |row| (row, (0..dimension).map(|place| value(row, place)).collect());
        let vectors: Vec<(Row, Vec<f16>)> = (0..GRAPH_VECTORS).map(vector).collect();
        writer.add(&vectors).unwrap();
        writer.finish().unwrap();
        let [graph, table] = [GRAPH_FILE, NODE_TABLE_FILE].map(|name| fs_err::read(folder.path().join(name)).unwrap());
        GraphSeed { manifest, graph, table }
    }
}

/// Opens, checks and walks: no more rows than asked for, each once, all of the snapshot.
fn walk(manifest: &VectorManifest, graph: &[u8], table: Option<&[u8]>) {
    let map = |name: &str, bytes: &[u8]| MappedFile::from_bytes(Path::new(name), bytes.to_vec());
    let (file, table) = (map(GRAPH_FILE, graph), table.map(|table| map(NODE_TABLE_FILE, table)));
    let Ok(graph) = Graph::from_maps(file, table, manifest, u64::from(GRAPH_VECTORS)) else { return };
    let is_whole = graph.check().is_ok();
    let query: Vec<f32> = (0..manifest.dimension).map(|place| place as f32 - 1.5).collect();
    for depth in [1, 10, 1000] {
        match graph.nearest(&query, None, depth) {
            Ok(found) => assert!(found.len() <= depth && found.iter().all(|(row, _)| *row < GRAPH_VECTORS)),
            Err(error) => assert!(!is_whole, "{error}"),
        }
    }
}

pub(crate) fn graph(data: &[u8]) {
    for seed in graph_seed_files() {
        walk(&seed.manifest, data, None);
        walk(&seed.manifest, data, Some(&seed.table));
    }
}

pub(crate) fn graph_seeds() -> Vec<Vec<u8>> {
    graph_seed_files().iter().map(|seed| seed.graph.clone()).collect()
}

pub(crate) fn node_table(data: &[u8]) {
    for seed in graph_seed_files() {
        walk(&seed.manifest, &seed.graph, Some(data));
    }
}

pub(crate) fn node_table_seeds() -> Vec<Vec<u8>> {
    graph_seed_files().iter().map(|seed| seed.table.clone()).collect()
}

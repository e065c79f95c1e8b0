//! The graph's reader beside usearch's own, and on damaged bytes.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use half::f16;
use schemas::MappedFile;
use schemas::manifest::{Scalar, ScalarKind as Kind, VectorManifest};
use usearch::{Index, IndexOptions, MetricKind, ScalarKind};

use super::quantisation::quantise;
use super::tests::Fixture;
use super::*;
use crate::error::SearchError;
use crate::random::SeededRandom;
use crate::row_set::RowSet;

/// The fixture's graph, read into memory by usearch.
fn usearch_of(fixture: &Fixture) -> Index {
    let VectorManifest { dimension, connectivity, expansion_add, expansion_search, .. } = fixture.manifest;
    let options = IndexOptions {
        dimensions: dimension,
        metric: MetricKind::IP,
        quantization: match fixture.manifest.scalar {
            Scalar::F16 => ScalarKind::F16,
            Scalar::I8 { .. } => ScalarKind::I8,
        },
        connectivity,
        expansion_add,
        expansion_search,
        multi: false,
    };
    let index = Index::new(&options).unwrap();
    index.load(fixture.path().to_str().unwrap()).unwrap();
    index
}

/// A query vector whose numbers are halves, so that usearch, which rounds queries to halves, searches for the same.
fn query(fixture: &Fixture, number: usize) -> Vec<f32> {
    let query = &fixture.queries[number];
    let vector = fixture.fusion.query_vector(&query.embeddings, &query.weights);
    vector.into_iter().map(|value| f16::from_f32(value).to_f32()).collect()
}

#[test]
fn finds_what_usearch_finds() {
    let fixture = Fixture::new(6_000);
    let (graph, peer) = (fixture.graph(), usearch_of(&fixture));
    for number in 0..fixture.queries.len() {
        let vector = query(&fixture, number);
        for depth in [1, 10, 200] {
            let found = graph.nearest(&vector, None, depth).unwrap();
            let matches = peer.search(&vector, depth).unwrap();
            assert_eq!(found.len(), matches.keys.len());
            for ((row, product), (key, distance)) in found.iter().zip(matches.keys.iter().zip(&matches.distances)) {
                // Sums in another order differ in the last places, so that near ties may change places.
                assert!((product - (1.0 - distance)).abs() < 1e-5, "{number}: {row} {product}, {key} {distance}");
            }
            let same = found.iter().filter(|(row, _)| matches.keys.contains(&u64::from(*row))).count();
            assert!(same + 1 >= found.len(), "query {number}, depth {depth}: {same} of {}", found.len());
        }
    }
}

#[test]
fn finds_in_codes_what_usearch_finds() {
    let fixture = Fixture::of_kind(6_000, Kind::I8);
    let (graph, peer) = (fixture.graph(), usearch_of(&fixture));
    let Scalar::I8 { step } = fixture.manifest.scalar else { panic!("{:?}", fixture.manifest) };
    for number in 0..fixture.queries.len() {
        // A query of codes, so that usearch, which multiplies codes, searches for the same.
        let halves: Vec<f16> = query(&fixture, number).into_iter().map(f16::from_f32).collect();
        let codes = quantise(&halves, step);
        let vector: Vec<f32> = codes.iter().map(|code| f32::from(*code) * step).collect();
        for depth in [1, 10, 200] {
            let found = graph.nearest(&vector, None, depth).unwrap();
            let matches = peer.search(&codes, depth).unwrap();
            assert_eq!(found.len(), matches.keys.len());
            for ((row, product), (key, distance)) in found.iter().zip(matches.keys.iter().zip(&matches.distances)) {
                let peers = (1.0 - distance) * step * step;
                assert!((product - peers).abs() < 2e-5, "{number}: {row} {product}, {key} {peers}");
            }
            let same = found.iter().filter(|(row, _)| matches.keys.contains(&u64::from(*row))).count();
            assert!(same + 1 >= found.len(), "query {number}, depth {depth}: {same} of {}", found.len());
        }
    }
}

#[test]
fn a_filter_steers_the_walk() {
    [Kind::F16, Kind::I8].into_iter().for_each(steered_walks);
}

fn steered_walks(kind: Kind) {
    let fixture = Fixture::of_kind(6_000, kind);
    let graph = fixture.graph();
    for every in [2, 5, 10, 20] {
        let mut kept = RowSet::empty(6_000);
        (0..6_000).filter(|row| row % every == 0).for_each(|row| kept.insert(row));
        let (mut found, mut wanted) = (0, 0);
        for number in 0..fixture.queries.len() {
            let vector = query(&fixture, number);
            // Codes give the order of the nearest only about; the searcher orders them by exact scores.
            let depth = if kind == Kind::I8 { 20 } else { 10 };
            let nearest = graph.nearest(&vector, Some(&kept), depth).unwrap();
            assert!(nearest.iter().all(|(row, _)| kept.contains(*row)));
            let exact = fixture.scorer(&fixture.queries[number]).scan(Some(&kept), 10).unwrap();
            found += exact.iter().filter(|best| nearest.iter().any(|(row, _)| *row == best.row)).count();
            wanted += exact.len();
        }
        let recall = f64::from(u32::try_from(found).unwrap()) / f64::from(u32::try_from(wanted).unwrap());
        assert!(recall >= 0.95, "one row of {every} kept: recall@10 {recall}");
    }
    assert!(graph.nearest(&query(&fixture, 0), Some(&RowSet::empty(6_000)), 10).unwrap().is_empty());
}

#[test]
fn a_snapshot_without_a_table_of_nodes_answers_the_same() {
    let fixture = Fixture::new(700);
    let file = MappedFile::open(&fixture.path()).unwrap();
    let computed = Graph::from_maps(file, None, &fixture.manifest, 700).unwrap();
    computed.check().unwrap();
    let graph = fixture.graph();
    for number in 0..20 {
        let vector = query(&fixture, number);
        assert_eq!(computed.nearest(&vector, None, 10).unwrap(), graph.nearest(&vector, None, 10).unwrap());
    }
}

#[test]
fn foreign_graphs_are_errors() {
    let fixture = Fixture::new(300);
    let refused = |manifest: &VectorManifest, expected: &str| {
        let error = fixture.try_graph(manifest).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("fused.usearch"), "{error}");
    };
    let manifest = || fixture.manifest.clone();
    refused(&VectorManifest { dimension: 7, ..manifest() }, "bytes of a vector: it has 192, expected was 14");
    refused(&VectorManifest { vector_count: 5, ..manifest() }, "vectors: it has 297, expected was 5");
    refused(&VectorManifest { connectivity: 8, ..manifest() }, "connectivity: it has 16, expected was 8");
    let codes = Scalar::I8 { step: 0.01 };
    refused(&VectorManifest { scalar: codes, ..manifest() }, "bytes of a vector: it has 192, expected was 96");
    let longer = VectorManifest { scalar: codes, dimension: 192, ..manifest() };
    refused(&longer, "scalar kind: it has 12, expected was 23");
    let open = |name: &str, bytes: Vec<u8>| MappedFile::from_bytes(std::path::Path::new(name), bytes);
    let text = open("text", vec![b'x'; 10_000]);
    assert!(Graph::from_maps(text, None, &fixture.manifest, 300).is_err());
    let other = Fixture::new(301);
    let [foreign, own] =
        [&other, &fixture].map(|one| MappedFile::open(&one.folder.path().join(NODE_TABLE_FILE)).unwrap());
    let file = MappedFile::open(&fixture.path()).unwrap();
    let error = Graph::from_maps(file.clone(), Some(foreign), &fixture.manifest, 300).unwrap_err().to_string();
    assert!(error.contains("fused.nodes") && error.contains("297 nodes"), "{error}");
    let mut newer = own.bytes().to_vec();
    newer[8] = 2;
    let error = Graph::from_maps(file, Some(open("fused.nodes", newer)), &fixture.manifest, 300).unwrap_err();
    assert!(error.to_string().contains("version 2"), "{error}");
    let graph = fixture.graph();
    assert!(graph.nearest(&[1.0], None, 10).unwrap_err().to_string().contains("1 values, item vectors have 96"));
}

#[test]
fn damaged_graphs_give_errors_or_neighbours() {
    [Kind::F16, Kind::I8].into_iter().for_each(damaged_graphs);
}

fn damaged_graphs(kind: Kind) {
    let fixture = Fixture::of_kind(300, kind);
    let [graph, table] =
        [GRAPH_FILE, NODE_TABLE_FILE].map(|name| fs_err::read(fixture.folder.path().join(name)).unwrap());
    let queries: Vec<Vec<f32>> = (0..5).map(|number| query(&fixture, number)).collect();
    let mut kept = RowSet::empty(300);
    (0..300).filter(|row| row % 4 == 0).for_each(|row| kept.insert(row));
    let ask = |graph: &[u8], table: &[u8]| -> Result<(), SearchError> {
        let open = |name: &str, bytes: &[u8]| MappedFile::from_bytes(std::path::Path::new(name), bytes.to_vec());
        let opened =
            Graph::from_maps(open(GRAPH_FILE, graph), Some(open(NODE_TABLE_FILE, table)), &fixture.manifest, 300)?;
        for query in &queries {
            for (row, product) in
                opened.nearest(query, None, 10)?.into_iter().chain(opened.nearest(query, Some(&kept), 10)?)
            {
                assert!(row < 300 && !product.is_nan());
            }
        }
        opened.check()
    };
    ask(&graph, &table).unwrap();
    for length in (0..64).map(|part| graph.len() * part / 64).chain([graph.len() - 1]) {
        assert!(ask(&graph[..length], &table).is_err(), "graph cut to {length}");
    }
    for length in (0..64).map(|part| table.len() * part / 64).chain([table.len() - 1]) {
        assert!(ask(&graph, &table[..length]).is_err(), "table cut to {length}");
    }
    let mut random = SeededRandom::new(11);
    // The vectors are most of the file, and no change in them can be told from another vector.
    let vectors = 8 + 297 * fixture.manifest.scalar.bytes() * fixture.manifest.dimension;
    let (mut unnoticed, trials) = (0, 3_000);
    for trial in 0..trials {
        let (mut graph, mut table) = (graph.clone(), table.clone());
        let (file, from) = if trial % 3 == 0 { (&mut table, 0) } else { (&mut graph, vectors) };
        let place = from + (random.bits() % (file.len() - from) as u64) as usize;
        if trial % 2 == 0 {
            file[place] ^= 1 << (random.bits() % 8);
        } else {
            let end = file.len().min(place + 64);
            file[place..end].iter_mut().for_each(|byte| *byte = random.bits() as u8);
        }
        unnoticed += usize::from(ask(&graph, &table).is_ok());
    }
    // Unused places of lists, zeros of the head, and neighbours that became other neighbours.
    assert!(unnoticed < trials / 2, "{unnoticed} of {trials} changes went unnoticed by the complete check");
}

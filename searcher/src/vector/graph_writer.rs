//! Building the graph. Owns usearch's options for our item vectors and the writing of the graph's two files; not which
//! vectors go in. Invariant: the file holds every vector added, under its row number, in the manifest's scalar kind with the
//! inner product as metric, and our own reader has followed every link in it.

use std::path::{Path, PathBuf};

use half::f16;
use rayon::prelude::*;
use schemas::manifest::{Scalar, VectorManifest};
use schemas::{MappedFile, Row};
use usearch::{Index, IndexOptions, MetricKind, ScalarKind};

use super::graph::Graph;
use super::graph_file::GraphFile;
use super::node_table::NodeTable;
use super::quantisation::quantise;
use super::{GRAPH_FILE, NODE_TABLE_FILE};
use crate::error::SearchError;

/// Vectors that are added one after the other before threads go on together. What threads add at the same time does not see each
/// other; while the graph is small that is a large part of it, and the links between those parts stay few.
const SEQUENTIAL_VECTORS: usize = 4096;

/// Builds the graph.
pub struct GraphWriter {
    folder: PathBuf,
    path: PathBuf,
    index: Index,
    manifest: VectorManifest,
}

impl std::fmt::Debug for GraphWriter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("GraphWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

/// usearch's options for a manifest.
fn options(manifest: &VectorManifest) -> IndexOptions {
    IndexOptions {
        dimensions: manifest.dimension,
        metric: MetricKind::IP,
        quantization: match manifest.scalar {
            Scalar::F16 => ScalarKind::F16,
            Scalar::I8 { .. } => ScalarKind::I8,
        },
        connectivity: manifest.connectivity,
        expansion_add: manifest.expansion_add,
        expansion_search: manifest.expansion_search,
        multi: false,
    }
}

impl GraphWriter {
    /// Starts the graph of the snapshot in `folder`, for up to `capacity` vectors; its subfolder is created. Memory:
    /// about `capacity · (2·dimension + 10·connectivity)` bytes until it is written, with codes of 8 bits
    /// `capacity · (dimension + 10·connectivity)`.
    ///
    /// # Errors
    /// When memory cannot be had, or the folder cannot be created.
    pub fn create(folder: &Path, manifest: &VectorManifest, capacity: usize) -> Result<GraphWriter, SearchError> {
        let path = folder.join(GRAPH_FILE);
        let failed = |reason: String| SearchError::Vector { path: path.clone(), reason };
        if let Some(subfolder) = path.parent() {
            fs_err::create_dir_all(subfolder).map_err(|error| failed(error.to_string()))?;
        }
        let index = Index::new(&options(manifest)).map_err(|error| failed(error.to_string()))?;
        // usearch refuses to add from more threads than it has reserved for.
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = rayon::current_num_threads().max(processors);
        index
            .reserve_capacity_and_threads(capacity.max(1), threads)
            .map_err(|error| failed(format!("no memory for {capacity} vectors: {error}")))?;
        Ok(GraphWriter { folder: folder.to_owned(), path, index, manifest: manifest.clone() })
    }

    /// Adds item vectors, all but the graph's first 4,096 in parallel on rayon's threads. A graph of no more than
    /// these, and any that is built with one thread, is reproducible byte by byte with the same number of threads and processors
    /// (usearch draws levels from a generator for each thread that it reserves for).
    ///
    /// # Errors
    /// When a vector has the wrong length, a row is added twice, or memory cannot be had.
    pub fn add(&self, vectors: &[(Row, Vec<f16>)]) -> Result<(), SearchError> {
        let sequential = match rayon::current_num_threads() {
            1 => vectors.len(),
            _ => SEQUENTIAL_VECTORS.saturating_sub(self.index.size()).min(vectors.len()),
        };
        let (first, others) = vectors.split_at(sequential);
        first.iter().try_for_each(|(row, vector)| self.add_one(*row, vector))?;
        others.par_iter().try_for_each(|(row, vector)| self.add_one(*row, vector))
    }

    fn add_one(&self, row: Row, vector: &[f16]) -> Result<(), SearchError> {
        if vector.len() != self.manifest.dimension {
            let (expected, got) = (self.manifest.dimension, vector.len());
            return Err(self.error(format!("row {row} has a vector of {got} values, not {expected}")));
        }
        let added = match self.manifest.scalar {
            Scalar::F16 => {
                // usearch's own f16 wraps the same bits as a signed integer.
                let bits: Vec<i16> = vector.iter().map(|value| value.to_bits().cast_signed()).collect();
                self.index.add(u64::from(row), usearch::f16::from_i16s(&bits))
            }
            // usearch's own rounding to 8 bits gives each vector another scale and loses recall.
            Scalar::I8 { step } => self.index.add(u64::from(row), &quantise(vector, step)),
        };
        added.map_err(|error| self.error(format!("cannot add row {row}: {error}")))
    }

    /// Writes the graph and its table of nodes, and follows every link of what was written; does not sync. Returns the
    /// number of vectors.
    ///
    /// # Errors
    /// When writing fails, or the file is not what our reader understands (another layout, a failing disk).
    pub fn finish(self) -> Result<u64, SearchError> {
        let Some(path) = self.path.to_str() else {
            return Err(self.error("usearch cannot write to a path that is not UTF-8".to_owned()));
        };
        self.index
            .save(path)
            .map_err(|error| self.error(format!("cannot be written: {error}; check space and the disk")))?;
        // usearch does not notice when closing the file fails, as it does on a full disk.
        let expected = self.index.serialized_length() as u64;
        let got = fs_err::metadata(&self.path).map_err(|error| self.error(error.to_string()))?.len();
        if got != expected {
            return Err(self.error(format!("has {got} bytes after writing, not {expected}; check space and the disk")));
        }
        let vector_count = self.index.size() as u64;
        let GraphWriter { folder, path, index, manifest } = self;
        // What usearch holds is as large as the file; it is not needed beside the file's map.
        drop(index);
        let manifest = VectorManifest { vector_count, ..manifest };
        let table = NodeTable::compute(&GraphFile::open(MappedFile::open(&path)?, &manifest)?)?;
        table.write(&folder.join(NODE_TABLE_FILE))?;
        let written = MappedFile::open(&folder.join(NODE_TABLE_FILE))?;
        Graph::from_maps(MappedFile::open(&path)?, Some(written), &manifest, u64::from(Row::MAX) + 1)?.check()?;
        Ok(vector_count)
    }

    fn error(&self, reason: String) -> SearchError {
        SearchError::Vector { path: self.path.clone(), reason }
    }
}

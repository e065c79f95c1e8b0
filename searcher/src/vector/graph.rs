//! The opened graph. Owns the checks before usearch reads a file and the walk; not scores (its inner products come from
//! item vectors). Invariant: usearch's view of the map never outlives the map.

use std::path::{Path, PathBuf};

use schemas::manifest::VectorManifest;
use schemas::{MappedFile, Row};
use usearch::{Index, MetricKind, ScalarKind};

use super::graph_writer;
use super::searches::Searches;
use crate::error::SearchError;
use crate::row_set::RowSet;

/// Searches of one graph that run at once; further ones wait for their turn. usearch keeps a work area for each and
/// fails beyond what was reserved. Far more than processors, so that it is processors that are waited for.
pub const MAX_CONCURRENT_SEARCHES: usize = 256;

/// An opened graph over a map of its file. `Send + Sync`.
pub struct Graph {
    /// usearch's side; `None` where the graph is empty, which usearch cannot view. Declared before the map that it
    /// points into, because fields are dropped in this order.
    index: Option<Index>,
    file: MappedFile,
    searches: Searches,
    dimension: usize,
    vector_count: u64,
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = formatter.debug_struct("Graph");
        debug.field("path", &self.file.path()).field("vector_count", &self.vector_count).finish_non_exhaustive()
    }
}

impl Graph {
    /// Opens the graph over a map of the file (not usearch's own `view`, which needs to own the file). Reads the level
    /// of every node: about 6 ms per 100,000.
    ///
    /// # Errors
    /// When the header does not fit the manifest.
    pub fn open(path: &Path, manifest: &VectorManifest) -> Result<Graph, SearchError> {
        Graph::from_map(MappedFile::open(path)?, manifest)
    }

    /// As [`Graph::open`], over a map.
    ///
    /// # Errors
    /// As [`Graph::open`].
    #[expect(
        unsafe_code,
        reason = "usearch's view of a buffer cannot be tied to the buffer's lifetime; contract below"
    )]
    pub fn from_map(file: MappedFile, manifest: &VectorManifest) -> Result<Graph, SearchError> {
        check_header(&file, manifest)?;
        let failed = |reason: String| SearchError::Vector { path: file.path().to_owned(), reason };
        let index = if manifest.vector_count == 0 {
            None
        } else {
            let index = Index::new(&graph_writer::options(manifest)).map_err(|error| failed(error.to_string()))?;
            // The number of work areas survives viewing.
            index
                .reserve_capacity_and_threads(0, MAX_CONCURRENT_SEARCHES)
                .map_err(|error| failed(format!("no memory for searching: {error}")))?;
            // SAFETY: the buffer must outlive the index, unchanged. Both live in the `Graph` built below; its bytes are
            // a shared handle on the map, whose address does not change when `Graph` moves; the index is its first
            // field and so dropped before the map; neither is ever handed out; and the map's own contract (see
            // `schemas::MappedFile`) is that its bytes never change.
            unsafe { index.view_from_buffer(file.bytes()) }
                .map_err(|error| failed(format!("is damaged: {error}; restore the snapshot or roll back")))?;
            Some(index)
        };
        let size = index.as_ref().map_or(0, Index::size) as u64;
        if size != manifest.vector_count {
            return Err(mismatch(file.path(), "vectors", manifest.vector_count, size));
        }
        let searches = Searches::new(MAX_CONCURRENT_SEARCHES);
        Ok(Graph { index, file, searches, dimension: manifest.dimension, vector_count: manifest.vector_count })
    }

    /// Number of item vectors.
    #[must_use]
    pub fn vector_count(&self) -> u64 {
        self.vector_count
    }

    /// The rows that the walk finds nearest to `query`, nearest first, with the inner product; only `rows` where given.
    /// The beam is as wide as the manifest's `expansion_search` or `depth`, whichever is greater. `rows` filters what is
    /// found, not where the walk goes: it costs the more, the fewer rows it keeps.
    ///
    /// # Errors
    /// When the query's length is wrong or usearch fails.
    pub fn nearest(&self, query: &[f32], rows: Option<&RowSet>, depth: usize) -> Result<Vec<(Row, f32)>, SearchError> {
        let failed = |reason: String| SearchError::Vector { path: self.file.path().to_owned(), reason };
        if query.len() != self.dimension {
            let (expected, got) = (self.dimension, query.len());
            return Err(failed(format!("the query vector has {got} values, item vectors have {expected}")));
        }
        let depth = depth.min(usize::try_from(self.vector_count).unwrap_or(usize::MAX));
        let Some(index) = self.index.as_ref().filter(|_| depth > 0) else { return Ok(Vec::new()) };
        let permit = self.searches.start();
        let matches = match rows {
            None => index.search(query, depth),
            Some(rows) => {
                index.filtered_search(query, depth, |key| Row::try_from(key).is_ok_and(|row| rows.contains(row)))
            }
        };
        drop(permit);
        let matches = matches.map_err(|error| failed(format!("search failed: {error}")))?;
        let found = matches.keys.into_iter().zip(matches.distances);
        // usearch's distance for the inner product is 1 − inner product.
        found
            .map(|(key, distance)| match Row::try_from(key) {
                Ok(row) => Ok((row, 1.0 - distance)),
                Err(_) => Err(failed(format!("has the key {key}, which is no row number"))),
            })
            .collect()
    }
}

/// Reads the file's head, which usearch does in bounds, and compares it with the manifest.
fn check_header(file: &MappedFile, manifest: &VectorManifest) -> Result<(), SearchError> {
    let path = file.path();
    let header = Index::metadata_from_buffer(file.bytes()).map_err(|error| SearchError::Vector {
        path: path.to_owned(),
        reason: format!("has no usearch header ({error}); restore the snapshot or roll back"),
    })?;
    let dimension = manifest.dimension as u64;
    if header.dimensions != dimension {
        return Err(mismatch(path, "dimensions", dimension, header.dimensions));
    }
    if header.metric != MetricKind::IP {
        return Err(mismatch(path, "metric", "IP", format!("{:?}", header.metric)));
    }
    if header.quantization != ScalarKind::F16 {
        return Err(mismatch(path, "scalar kind", "F16", format!("{:?}", header.quantization)));
    }
    if header.count_present != manifest.vector_count || header.count_deleted != 0 || header.multi {
        return Err(mismatch(path, "vectors", manifest.vector_count, header.count_present));
    }
    Ok(())
}

fn mismatch(path: &Path, what: &str, expected: impl std::fmt::Display, got: impl std::fmt::Display) -> SearchError {
    let path: PathBuf = path.to_owned();
    let reason = format!("{what}: has {got}, the manifest says {expected}; restore the snapshot or roll back");
    SearchError::Vector { path, reason }
}

//! The opened graph. Owns opening its two files and the search; not scores (its inner products come from item vectors).
//! Invariant: usearch's C++ never sees these bytes: every offset, count and number in them is checked where it is used,
//! so that a damaged file gives an error or a worse neighbour, and nothing else.

use std::path::Path;

use schemas::manifest::VectorManifest;
use schemas::map::MapOptions;
use schemas::{Manifest, MappedFile, Row};

use super::graph_file::GraphFile;
use super::node_table::NodeTable;
use super::walk::Walk;
use super::{GRAPH_FILE, NODE_TABLE_FILE};
use crate::error::SearchError;
use crate::row_set::RowSet;

/// An opened graph over maps of its files. `Send + Sync`; searches share nothing and do not wait for each other.
#[derive(Debug)]
pub struct Graph {
    file: GraphFile,
    table: NodeTable,
    expansion_search: usize,
    dimension: usize,
    item_count: u64,
}

impl Graph {
    /// Opens the graph of a snapshot. Costs the same for every size, but for snapshots that have no table of nodes yet:
    /// theirs is computed, O(nodes).
    ///
    /// # Errors
    /// When a file is missing or does not fit the manifest.
    pub fn open(
        folder: &Path,
        manifest: &Manifest,
        vector: &VectorManifest,
        maps: MapOptions,
    ) -> Result<Graph, SearchError> {
        let has_table = manifest.files.contains_key(NODE_TABLE_FILE);
        let table = has_table.then(|| MappedFile::open_with(&folder.join(NODE_TABLE_FILE), maps)).transpose()?;
        Graph::from_maps(MappedFile::open_with(&folder.join(GRAPH_FILE), maps)?, table, vector, manifest.item_count)
    }

    /// As [`Graph::open`], over maps of the graph and of its table of nodes.
    ///
    /// # Errors
    /// As [`Graph::open`].
    pub fn from_maps(
        file: MappedFile,
        table: Option<MappedFile>,
        manifest: &VectorManifest,
        item_count: u64,
    ) -> Result<Graph, SearchError> {
        let file = GraphFile::open(file, manifest)?;
        let table = match table {
            Some(table) => NodeTable::open(table, &file)?,
            None => NodeTable::compute(&file)?,
        };
        let (expansion_search, dimension) = (manifest.expansion_search, manifest.dimension);
        Ok(Graph { file, table, expansion_search, dimension, item_count })
    }

    /// Number of item vectors.
    #[must_use]
    pub fn vector_count(&self) -> u64 {
        u64::from(self.file.nodes())
    }

    /// The rows that the walk finds nearest to `query`, nearest first, with the inner product (about that, where item vectors
    /// are codes of 8 bits); only `rows` where given.
    /// The beam is as wide as the manifest's `expansion_search` or `depth`, whichever is greater. With `rows` it may find
    /// fewer than there are: the walk keeps to them, and few lie far apart.
    ///
    /// # Errors
    /// When the query's length is wrong or the graph is damaged where the walk comes by.
    pub fn nearest(&self, query: &[f32], rows: Option<&RowSet>, depth: usize) -> Result<Vec<(Row, f32)>, SearchError> {
        if query.len() != self.dimension {
            let (expected, got) = (self.dimension, query.len());
            let reason = format!("the query vector has {got} values, item vectors have {expected}");
            return Err(SearchError::Vector { path: self.file.path().to_owned(), reason });
        }
        // No memory is taken for a beam wider than the graph.
        let depth = depth.min(self.file.nodes() as usize);
        let width = depth.max(self.expansion_search).min(self.file.nodes() as usize);
        let mut found = Walk::new(&self.file, &self.table, query, rows, width).run()?;
        found.truncate(depth);
        found.into_iter().map(|near| Ok((self.row(near.slot)?, near.product))).collect()
    }

    /// Follows every node, neighbour and row once: whether the two files are a whole graph, over which no walk fails.
    /// O(bytes); for checking what was just written.
    ///
    /// # Errors
    /// Says what is wrong first.
    pub fn check(&self) -> Result<(), SearchError> {
        if self.file.nodes() > 0 {
            self.check_reaches(self.file.entry_slot(), self.file.highest_level())?;
        }
        let mut levels_before = 0;
        for slot in 0..self.file.nodes() {
            let table_says = self.table.levels_before(slot, &self.file)?;
            if table_says != levels_before {
                return Err(self.file.damaged(format!("slot {slot} is not where the table of nodes says")));
            }
            let node = self.file.node(slot, levels_before)?;
            let level = self.file.levels(slot, 1)?.sum::<u16>();
            for level in 0..=level {
                for neighbour in self.file.neighbours(node, level)? {
                    self.check_reaches(neighbour, level)?;
                }
            }
            self.row(slot)?;
            levels_before += u64::from(level);
        }
        self.file.check_end(levels_before)
    }

    fn check_reaches(&self, slot: u32, level: u16) -> Result<(), SearchError> {
        if self.file.levels(slot, 1)?.all(|reached| reached >= level) {
            return Ok(());
        }
        Err(self.file.damaged(format!("slot {slot} does not reach level {level}")))
    }

    /// The row of a slot, as graph and table agree on it.
    fn row(&self, slot: u32) -> Result<Row, SearchError> {
        let node = self.file.node(slot, self.table.levels_before(slot, &self.file)?)?;
        let row = self.table.row(slot, &self.file).filter(|row| u64::from(*row) == node.key);
        row.filter(|_| node.key < self.item_count).ok_or_else(|| {
            let (key, rows) = (node.key, self.item_count);
            self.file.damaged(format!("slot {slot} has the key {key}, which is not its row below {rows}"))
        })
    }
}

//! `vector/fused.nodes`: where the nodes of the graph begin, and their rows. Owns that file's format, writer and reader; not
//! the graph. Invariant: opening costs the same for every size, and a lookup stays in bounds whatever the bytes are; what
//! a damaged table says is checked again by whoever uses it.
//!
//! usearch's file tells where a node begins only by the sum of the levels of all nodes before it. This table keeps that
//! sum for every [`BLOCK_NODES`]-th node; the rest is a few levels that lie side by side. It also has the rows by slot:
//! four bytes in a row instead of a node each, for filters. Little endian:
//!
//! ```text
//! 0    "CATNODES"
//! 8    u32 version of the format, 1
//! 12   u32 nodes
//! 16   u64 sum of the levels of all nodes
//! 24   ceil(nodes / 16) × u32 sum of the levels of all nodes before the block
//! …    nodes × u32 row
//! ```

use std::path::Path;

use schemas::{MappedFile, Row, SchemaError};

use super::graph_file::{GraphFile, damaged};
use crate::error::SearchError;

/// Nodes of a block.
const BLOCK_NODES: u32 = 16;
const MAGIC: &[u8; 8] = b"CATNODES";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 24;

/// The opened table.
#[derive(Debug)]
pub(super) enum NodeTable {
    /// Over a map of the file.
    Mapped(MappedFile),
    /// Computed from the graph, for snapshots from before the file was there.
    Computed(Vec<u8>),
}

impl NodeTable {
    /// Opens the file of a graph.
    ///
    /// # Errors
    /// When it is of a newer version, has another number of nodes or another length, or sums that do not fit the graph.
    pub(super) fn open(file: MappedFile, graph: &GraphFile) -> Result<NodeTable, SearchError> {
        let path = file.path().to_owned();
        let bytes = file.bytes();
        if !bytes.starts_with(MAGIC) || bytes.len() < HEAD_BYTES {
            return Err(damaged(&path, "it is no table of nodes"));
        }
        let version = number(bytes, 8).unwrap_or_default();
        if version != VERSION {
            let reason = format!("it has version {version}, this program knows {VERSION}; use a newer Catalens");
            return Err(SearchError::Vector { path, reason });
        }
        if number(bytes, 12) != Some(graph.nodes()) || bytes.len() != length(graph.nodes()) {
            return Err(damaged(&path, format!("it is not the table of a graph of {} nodes", graph.nodes())));
        }
        graph.check_end(levels(bytes))?;
        Ok(NodeTable::Mapped(file))
    }

    /// The table of a graph, by reading the levels of all its nodes and all their rows: O(nodes).
    ///
    /// # Errors
    /// When a level, a place or a row is damaged.
    pub(super) fn compute(graph: &GraphFile) -> Result<NodeTable, SearchError> {
        let nodes = graph.nodes();
        let mut bytes = Vec::with_capacity(length(nodes));
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&nodes.to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
        let (mut sum, mut rows) = (0_u64, Vec::with_capacity(4 * nodes as usize));
        for first in (0..nodes).step_by(BLOCK_NODES as usize) {
            let block = u32::try_from(sum).map_err(|_| graph.damaged("its levels sum up to 2^32 or more"))?;
            bytes.extend_from_slice(&block.to_le_bytes());
            for (slot, level) in (first..).zip(graph.levels(first, BLOCK_NODES.min(nodes - first))?) {
                let key = graph.node(slot, sum)?.key;
                let row = Row::try_from(key).map_err(|_| graph.damaged(format!("its key {key} is no row number")))?;
                rows.extend_from_slice(&row.to_le_bytes());
                sum += u64::from(level);
            }
        }
        graph.check_end(sum)?;
        bytes[16..HEAD_BYTES].copy_from_slice(&sum.to_le_bytes());
        bytes.append(&mut rows);
        Ok(NodeTable::Computed(bytes))
    }

    /// Writes the table to a new file; does not sync.
    ///
    /// # Errors
    /// When writing fails.
    pub(super) fn write(&self, path: &Path) -> Result<(), SearchError> {
        let written = fs_err::write(path, self.bytes());
        written.map_err(|source| SchemaError::Io { path: path.to_owned(), source }.into())
    }

    /// The sum of the levels of all nodes before `slot`.
    ///
    /// # Errors
    /// When there is no such node or the levels beside it are damaged.
    pub(super) fn levels_before(&self, slot: u32, graph: &GraphFile) -> Result<u64, SearchError> {
        let block = slot / BLOCK_NODES;
        let Some(sum) = number(self.bytes(), HEAD_BYTES + 4 * block as usize) else {
            return Err(graph.damaged(format!("it has no slot {slot}")));
        };
        let beside = graph.levels(block * BLOCK_NODES, slot % BLOCK_NODES)?;
        Ok(u64::from(sum) + beside.map(u64::from).sum::<u64>())
    }

    /// The row of a slot; `None` where there is no such node.
    pub(super) fn row(&self, slot: u32, graph: &GraphFile) -> Option<Row> {
        number(self.bytes(), HEAD_BYTES + 4 * (blocks(graph.nodes()) + slot as usize))
    }

    fn bytes(&self) -> &[u8] {
        match self {
            NodeTable::Mapped(file) => file.bytes(),
            NodeTable::Computed(bytes) => bytes,
        }
    }
}

fn blocks(nodes: u32) -> usize {
    nodes.div_ceil(BLOCK_NODES) as usize
}

fn length(nodes: u32) -> usize {
    HEAD_BYTES + 4 * (blocks(nodes) + nodes as usize)
}

fn number(bytes: &[u8], place: usize) -> Option<u32> {
    bytes.get(place..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn levels(bytes: &[u8]) -> u64 {
    bytes.get(16..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

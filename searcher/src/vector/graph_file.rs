//! The bytes of `vector/fused.usearch`. Owns their layout and every check on them; not the walk. Invariant: whatever the
//! bytes are, reading them gives values or an error, never a panic or a read out of bounds, and opening looks at a fixed
//! number of them.
//!
//! As usearch 2.26 writes it (`save_to_stream` of its `index_dense.hpp` and `index.hpp`), little endian, unaligned:
//!
//! ```text
//! 0        u32 nodes, u32 bytes of a vector
//! 8        nodes × vector: f16 or i8 × dimension
//! …        head, 64 bytes: "usearch", u16 version × 3, u8 metric, u8 scalar kind, u8 kind of keys, u8 kind of slots,
//!          u64 present, u64 deleted, u64 dimension, u8 multi, zeros
//! …        u64 nodes, u64 connectivity, u64 connectivity of the base level, u64 highest level, u64 entry slot
//! …        nodes × i16 level
//! …        nodes × node: u64 key (the row), i16 level, neighbours of level 0, of level 1, … up to its level
//!          neighbours: u32 count, u32 slot × connectivity of the level (of which the first `count` count)
//! ```
//!
//! A *slot* is a node's number in this order; it is not the row.

use std::path::{Path, PathBuf};

use schemas::MappedFile;
use schemas::manifest::{ScalarKind, VectorManifest};

use super::NODE_TABLE_FILE;
use super::item_vectors::{InnerProducts, ItemVectors};
use crate::error::SearchError;

/// Bytes before the vectors.
const SHAPE_BYTES: usize = 8;
/// Bytes of the head.
const HEAD_BYTES: usize = 64;
/// Bytes of the graph's own head: five numbers.
const GRAPH_HEAD_BYTES: usize = 40;
/// Neighbours of a node on the base level that a file may claim; usearch makes it twice the connectivity.
const MAX_BASE_CONNECTIVITY: u64 = 1 << 16;
/// A node's key and level.
const NODE_HEAD_BYTES: usize = 10;
/// What the head starts with.
const MAGIC: &[u8] = b"usearch";
/// The major version of usearch whose layout this is.
const VERSION_MAJOR: u16 = 2;
/// usearch's code of the inner product as metric.
const METRIC_INNER_PRODUCT: u8 = b'i';
/// usearch's codes of scalar kinds: of vectors, keys and slots.
const SCALAR_F16: u8 = 12;
const SCALAR_I8: u8 = 23;
const SCALAR_U64: u8 = 14;
const SCALAR_U32: u8 = 15;

/// The file with the places of its parts.
#[derive(Debug)]
pub(super) struct GraphFile {
    file: MappedFile,
    vectors: ItemVectors,
    nodes: u32,
    entry_slot: u32,
    highest_level: u16,
    levels_start: usize,
    nodes_start: usize,
    base_connectivity: usize,
    connectivity: usize,
}

/// A node's bytes: its place was in bounds, and its level is the one expected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a> {
    /// The row, as usearch keeps it.
    pub(super) key: u64,
    /// The neighbours of all levels.
    lists: &'a [u8],
    /// For messages.
    slot: u32,
}

impl GraphFile {
    /// Checks the heads against the manifest and finds the parts. Cost: the same for every size.
    ///
    /// # Errors
    /// When a head is damaged or says something else than the manifest.
    pub(super) fn open(file: MappedFile, manifest: &VectorManifest) -> Result<GraphFile, SearchError> {
        let path = file.path().to_owned();
        let bytes = file.bytes().clone();
        let cut = || damaged(&path, "it ends early");
        let nodes = u32::from_le_bytes(array(&bytes, 0).ok_or_else(cut)?);
        let vector_bytes = u32::from_le_bytes(array(&bytes, 4).ok_or_else(cut)?);
        expect(&path, "vectors", manifest.vector_count, u64::from(nodes))?;
        let expected_bytes = manifest.scalar.bytes() as u64 * manifest.dimension as u64;
        expect(&path, "bytes of a vector", expected_bytes, u64::from(vector_bytes))?;
        let vectors_bytes = (nodes as usize).checked_mul(vector_bytes as usize).ok_or_else(cut)?;
        let head = vectors_bytes.checked_add(SHAPE_BYTES).ok_or_else(cut)?;
        let head_bytes = bytes.get(head..).and_then(|rest| rest.get(..HEAD_BYTES)).ok_or_else(cut)?;
        check_head(&path, head_bytes, manifest)?;

        let mut numbers = [0_u64; GRAPH_HEAD_BYTES / 8];
        for (place, number) in (head + HEAD_BYTES..).step_by(8).zip(&mut numbers) {
            *number = u64::from_le_bytes(array(&bytes, place).ok_or_else(cut)?);
        }
        let [graph_nodes, connectivity, base_connectivity, highest_level, entry_slot] = numbers;
        let levels_start = head + HEAD_BYTES + GRAPH_HEAD_BYTES;
        let nodes_start = levels_start.checked_add(2 * nodes as usize).filter(|start| *start <= bytes.len());
        // A graph without nodes has no parameters yet.
        if nodes > 0 {
            expect(&path, "nodes", u64::from(nodes), graph_nodes)?;
            expect(&path, "connectivity", manifest.connectivity as u64, connectivity)?;
            if base_connectivity < connectivity || base_connectivity > MAX_BASE_CONNECTIVITY {
                return Err(damaged(&path, format!("its base level has connectivity {base_connectivity}")));
            }
            if entry_slot >= u64::from(nodes) || highest_level > i16::MAX as u64 {
                return Err(damaged(&path, format!("it starts at slot {entry_slot} on level {highest_level}")));
            }
        }
        let vectors = bytes.slice(SHAPE_BYTES..SHAPE_BYTES + vectors_bytes);
        Ok(GraphFile {
            vectors: ItemVectors::new(vectors.into(), manifest.scalar),
            nodes,
            // In bounds as compared above, or never used where there are no nodes.
            entry_slot: entry_slot as u32,
            highest_level: highest_level as u16,
            levels_start,
            nodes_start: nodes_start.ok_or_else(cut)?,
            base_connectivity: base_connectivity as usize,
            connectivity: connectivity as usize,
            file,
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Number of nodes; slots are below it.
    pub(super) fn nodes(&self) -> u32 {
        self.nodes
    }

    /// The node where every walk starts, on the highest level.
    pub(super) fn entry_slot(&self) -> u32 {
        self.entry_slot
    }

    pub(super) fn highest_level(&self) -> u16 {
        self.highest_level
    }

    /// Neighbours of a node on an upper level, at most.
    pub(super) fn connectivity(&self) -> usize {
        self.connectivity
    }

    /// The item vectors' inner products with a query, which must have their length.
    pub(super) fn inner_products<'a>(&'a self, query: &'a [f32]) -> InnerProducts<'a> {
        self.vectors.with_query(query)
    }

    /// The levels above the base of `slots` nodes from `first` on.
    ///
    /// # Errors
    /// When there is no such node or a level is negative.
    pub(super) fn levels(&self, first: u32, slots: u32) -> Result<impl Iterator<Item = u16>, SearchError> {
        let (start, length) = (self.levels_start + 2 * first as usize, 2 * slots as usize);
        let bytes = self.file.bytes().get(start..start + length).filter(|_| start + length <= self.nodes_start);
        let (levels, _) = bytes.ok_or_else(|| self.no_node(first))?.as_chunks::<2>();
        if levels.iter().any(|level| i16::from_le_bytes(*level) < 0) {
            return Err(self.damaged(format!("a node near slot {first} has a negative level")));
        }
        Ok(levels.iter().map(|level| u16::from_le_bytes(*level)))
    }

    /// A node whose place is told by the sum of the levels of all nodes before it.
    ///
    /// # Errors
    /// When it would lie outside the file, or has another level than the list of levels says.
    pub(super) fn node(&self, slot: u32, levels_before: u64) -> Result<Node<'_>, SearchError> {
        let Some(level) = self.levels(slot, 1)?.next() else { return Err(self.no_node(slot)) };
        let base_bytes = NODE_HEAD_BYTES + self.list_bytes(0);
        let upper_bytes = self.list_bytes(1);
        // Nothing overflows: slots and sums are below 2^48, lists of slots below 2^20 bytes in any file that was opened.
        let start = u64::from(slot) * base_bytes as u64 + levels_before * upper_bytes as u64 + self.nodes_start as u64;
        let length = base_bytes + usize::from(level) * upper_bytes;
        let bytes = usize::try_from(start).ok().and_then(|start| self.file.bytes().get(start..)?.get(..length));
        let bytes = bytes.ok_or_else(|| self.damaged(format!("slot {slot} lies outside the file")))?;
        let (head, lists) = bytes.split_at(NODE_HEAD_BYTES);
        let key = array(head, 0).map(u64::from_le_bytes);
        let own_level = array(head, 8).map(u16::from_le_bytes);
        match key.filter(|_| own_level == Some(level)) {
            Some(key) => Ok(Node { key, lists, slot }),
            None => Err(self.damaged(format!("slot {slot} is not where its place says"))),
        }
    }

    /// The slots of a node's neighbours on a level, each below the number of nodes.
    ///
    /// # Errors
    /// When the node does not reach that level, or a count or slot is out of range.
    pub(super) fn neighbours<'a>(
        &'a self,
        node: Node<'a>,
        level: u16,
    ) -> Result<impl Iterator<Item = u32> + 'a, SearchError> {
        let slot = node.slot;
        let start = if level == 0 { 0 } else { self.list_bytes(0) + usize::from(level - 1) * self.list_bytes(1) };
        let list = node.lists.get(start..).and_then(|rest| rest.get(..self.list_bytes(level)));
        let list = list.ok_or_else(|| self.damaged(format!("slot {slot} does not reach level {level}")))?;
        let (slots, _) = list.as_chunks::<4>();
        let (count, slots) = slots.split_first().ok_or_else(|| self.no_node(slot))?;
        let slots = usize::try_from(u32::from_le_bytes(*count)).ok().and_then(|count| slots.get(..count));
        let slots = slots.ok_or_else(|| self.damaged(format!("slot {slot} has too many neighbours")))?;
        if slots.iter().any(|neighbour| u32::from_le_bytes(*neighbour) >= self.nodes) {
            return Err(self.damaged(format!("slot {slot} has a neighbour that is not there")));
        }
        Ok(slots.iter().map(|neighbour| u32::from_le_bytes(*neighbour)))
    }

    /// Bytes of a list of neighbours on a level.
    fn list_bytes(&self, level: u16) -> usize {
        4 + 4 * if level == 0 { self.base_connectivity } else { self.connectivity }
    }

    /// Whether the nodes fill the file to its end, when the levels of all nodes sum up to `levels`.
    ///
    /// # Errors
    /// When they do not.
    pub(super) fn check_end(&self, levels: u64) -> Result<(), SearchError> {
        let base = (NODE_HEAD_BYTES + self.list_bytes(0)) as u64;
        let end = u64::from(self.nodes)
            .checked_mul(base)
            .and_then(|nodes| nodes.checked_add(levels.checked_mul(self.list_bytes(1) as u64)?))
            .and_then(|nodes| nodes.checked_add(self.nodes_start as u64));
        if end == Some(self.file.bytes().len() as u64) {
            return Ok(());
        }
        Err(self.damaged("its nodes do not end where the file ends"))
    }

    /// An error about what was read by way of the table of nodes: either file may be the damaged one.
    pub(super) fn damaged(&self, reason: impl std::fmt::Display) -> SearchError {
        damaged(self.path(), format!("{reason}, here or in `{NODE_TABLE_FILE}`"))
    }

    pub(super) fn no_node(&self, slot: u32) -> SearchError {
        self.damaged(format!("it has no slot {slot}"))
    }
}

/// Compares usearch's head with the manifest.
fn check_head(path: &Path, head: &[u8], manifest: &VectorManifest) -> Result<(), SearchError> {
    if !head.starts_with(MAGIC) {
        return Err(damaged(path, "it has no usearch header"));
    }
    let number = |place: usize| array(head, place).map(u64::from_le_bytes).unwrap_or_default();
    let version = array(head, 7).map(u16::from_le_bytes).unwrap_or_default();
    expect(path, "major version", u64::from(VERSION_MAJOR), u64::from(version))?;
    expect(path, "metric", u64::from(METRIC_INNER_PRODUCT), u64::from(head[13]))?;
    let scalar = match manifest.scalar.kind() {
        ScalarKind::F16 => SCALAR_F16,
        ScalarKind::I8 => SCALAR_I8,
    };
    expect(path, "scalar kind", u64::from(scalar), u64::from(head[14]))?;
    expect(path, "kind of keys", u64::from(SCALAR_U64), u64::from(head[15]))?;
    expect(path, "kind of slots", u64::from(SCALAR_U32), u64::from(head[16]))?;
    expect(path, "vectors", manifest.vector_count, number(17))?;
    expect(path, "deleted vectors", 0, number(25))?;
    expect(path, "dimensions", manifest.dimension as u64, number(33))?;
    expect(path, "vectors of one row", 0, u64::from(head[41]))
}

/// The `N` bytes at a place, if they are there.
fn array<const N: usize>(bytes: &[u8], place: usize) -> Option<[u8; N]> {
    bytes.get(place..).and_then(|rest| rest.first_chunk()).copied()
}

fn expect(path: &Path, what: &str, expected: u64, got: u64) -> Result<(), SearchError> {
    if got == expected {
        return Ok(());
    }
    Err(damaged(path, format!("{what}: it has {got}, expected was {expected}")))
}

pub(super) fn damaged(path: &Path, reason: impl Into<String>) -> SearchError {
    let (path, reason): (PathBuf, String) = (path.to_owned(), reason.into());
    SearchError::Vector { path, reason: format!("{reason}; restore the snapshot or roll back") }
}

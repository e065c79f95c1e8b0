//! The walk over the graph (HNSW: Malkov and Yashunin 2016, algorithms 2 and 5). Owns the greedy way down, the beam on the
//! base level, and how a filter steers it; not bytes, nor scores. Invariant: a slot's neighbours are followed once on the base
//! level, so that a walk ends after at most as many steps as there are nodes, whatever the graph says.
//!
//! **With a filter** the beam holds kept nodes only. A filter that keeps many leaves the walk its ways: it goes over all
//! nodes. One that keeps few steers it: where a neighbour is not kept the walk looks through it at its own neighbours
//! (ACORN-1: Patel, Kraft, Guestrin, Zaharia 2024, <https://arxiv.org/abs/2403.04871>), so that distances are computed for
//! kept nodes only. Few kept nodes can leave it in a corner of the graph; it then finds fewer than asked for, and the
//! caller scans.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use super::graph_file::{GraphFile, Node};
use super::item_vectors::InnerProducts;
use super::node_table::NodeTable;
use crate::error::SearchError;
use crate::row_set::RowSet;

/// Share of kept nodes below which a filter steers the walk. Over all nodes a walk costs the inverse of the share, steered
/// about three times the walk without a filter (`benches/graph.rs`).
const STEERED_BELOW: f64 = 1.0 / 3.0;

/// One walk.
pub(super) struct Walk<'a> {
    graph: &'a GraphFile,
    table: &'a NodeTable,
    products: InnerProducts<'a>,
    rows: Option<&'a RowSet>,
    is_steered: bool,
    seen: HashSet<u32, BuildHasherDefault<SlotHasher>>,
    /// Nodes whose neighbours were not looked at yet, nearest first.
    frontier: BinaryHeap<Near>,
    /// The nearest nodes so far, furthest first.
    nearest: BinaryHeap<Reverse<Near>>,
    width: usize,
}

/// A node with its inner product with the query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Near {
    pub(super) product: f32,
    pub(super) slot: u32,
}

impl Eq for Near {}

impl Ord for Near {
    /// Greater is nearer; among equals the lower slot.
    fn cmp(&self, other: &Self) -> Ordering {
        self.product.total_cmp(&other.product).then(other.slot.cmp(&self.slot))
    }
}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Spreads slots by a multiplication (Knuth 1973, section 6.4): they are numbers that nobody chose to collide.
#[derive(Default)]
struct SlotHasher(u64);

impl Hasher for SlotHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, value: u32) {
        self.0 = (self.0 ^ u64::from(value)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl<'a> Walk<'a> {
    /// A walk towards `query`, which must have the item vectors' length, with a beam of `width` nodes. Counts `rows`.
    pub(super) fn new(
        graph: &'a GraphFile,
        table: &'a NodeTable,
        query: &'a [f32],
        rows: Option<&'a RowSet>,
        width: usize,
    ) -> Walk<'a> {
        let (seen, frontier, nearest) = (HashSet::default(), BinaryHeap::new(), BinaryHeap::new());
        let few = f64::from(graph.nodes()) * STEERED_BELOW;
        let is_steered = rows.is_some_and(|rows| (rows.len() as f64) < few);
        let products = graph.inner_products(query);
        Walk { graph, table, products, rows, is_steered, seen, frontier, nearest, width }
    }

    /// The nearest nodes that the walk finds, nearest first; at most the beam's width.
    ///
    /// # Errors
    /// When the graph is damaged where the walk comes by.
    pub(super) fn run(mut self) -> Result<Vec<Near>, SearchError> {
        if self.graph.nodes() == 0 || self.width == 0 {
            return Ok(Vec::new());
        }
        let start = self.descend()?;
        self.seen.insert(start.slot);
        self.frontier.push(start);
        if self.is_kept(start.slot)? {
            self.nearest.push(Reverse(start));
        }
        while let Some(near) = self.frontier.pop() {
            if self.nearest.len() >= self.width && self.nearest.peek().is_some_and(|furthest| near < furthest.0) {
                break;
            }
            if self.is_steered {
                self.look_around_and_through(near.slot)?;
            } else {
                self.look_around(near.slot)?;
            }
        }
        Ok(self.nearest.into_sorted_vec().into_iter().map(|Reverse(near)| near).collect())
    }

    /// From the entry down to the base level: on each level to the nearest node, neighbour by neighbour.
    fn descend(&self) -> Result<Near, SearchError> {
        let mut nearest = self.near(self.graph.entry_slot())?;
        for level in (1..=self.graph.highest_level()).rev() {
            // Every step goes to a greater product, so no node comes twice.
            loop {
                let from = nearest;
                for slot in self.graph.neighbours(self.node(from.slot)?, level)? {
                    let near = self.near(slot)?;
                    if near.product > nearest.product {
                        nearest = near;
                    }
                }
                if nearest.slot == from.slot {
                    break;
                }
            }
        }
        Ok(nearest)
    }

    fn look_around(&mut self, slot: u32) -> Result<(), SearchError> {
        let graph = self.graph;
        for neighbour in graph.neighbours(self.node(slot)?, 0)? {
            if self.seen.insert(neighbour) {
                let is_kept = self.is_kept(neighbour)?;
                self.offer(neighbour, is_kept)?;
            }
        }
        Ok(())
    }

    /// Looks at kept neighbours, and through the others at their kept neighbours, until as many were found as the graph's
    /// connectivity. With one row of ten kept, 50,000 rows, twice as many cost 1.4 times the distances for 0.007 of recall@10,
    /// half as many lose 0.016.
    fn look_around_and_through(&mut self, slot: u32) -> Result<(), SearchError> {
        let graph = self.graph;
        let mut left = graph.connectivity();
        let mut others = Vec::new();
        for neighbour in graph.neighbours(self.node(slot)?, 0)? {
            if self.seen.contains(&neighbour) {
                continue;
            }
            if self.is_kept(neighbour)? {
                self.seen.insert(neighbour);
                self.offer(neighbour, true)?;
                left = left.saturating_sub(1);
            } else {
                others.push(neighbour);
            }
        }
        for other in others {
            if left == 0 {
                break;
            }
            self.seen.insert(other);
            for neighbour in graph.neighbours(self.node(other)?, 0)? {
                if !self.seen.contains(&neighbour) && self.is_kept(neighbour)? {
                    self.seen.insert(neighbour);
                    self.offer(neighbour, true)?;
                    left = left.saturating_sub(1);
                }
            }
        }
        Ok(())
    }

    /// Takes a node into the frontier if it is near enough, and into the beam if it is kept too.
    fn offer(&mut self, slot: u32, is_kept: bool) -> Result<(), SearchError> {
        let near = self.near(slot)?;
        let is_full = self.nearest.len() >= self.width;
        if is_full && self.nearest.peek().is_some_and(|furthest| near < furthest.0) {
            return Ok(());
        }
        self.frontier.push(near);
        if is_kept {
            if is_full {
                self.nearest.pop();
            }
            self.nearest.push(Reverse(near));
        }
        Ok(())
    }

    fn node(&self, slot: u32) -> Result<Node<'a>, SearchError> {
        self.graph.node(slot, self.table.levels_before(slot, self.graph)?)
    }

    fn near(&self, slot: u32) -> Result<Near, SearchError> {
        match self.products.of(slot) {
            Some(product) => Ok(Near { product, slot }),
            None => Err(self.graph.no_node(slot)),
        }
    }

    fn is_kept(&self, slot: u32) -> Result<bool, SearchError> {
        let Some(rows) = self.rows else { return Ok(true) };
        match self.table.row(slot, self.graph) {
            Some(row) => Ok(rows.contains(row)),
            None => Err(self.graph.no_node(slot)),
        }
    }
}

//! The section `[vector]`. Owns its keys, their defaults and checks. Invariant: a [`GraphConfig`] has values that a graph can
//! be built with.

use schemas::manifest::ScalarKind;

use super::file::at_least;
use crate::error::IndexError;

/// Scalar kind of the item vectors in the graph.
pub const DEFAULT_SCALAR_KIND: ScalarKind = ScalarKind::I8;
/// Neighbours per node of the graph (HNSW's M).
pub const DEFAULT_CONNECTIVITY: usize = 16;
/// Beam width when building the graph (HNSW's efConstruction).
pub const DEFAULT_EXPANSION_ADD: usize = 128;
/// Least beam width when searching the graph (HNSW's ef).
pub const DEFAULT_EXPANSION_SEARCH: usize = 64;

/// Kind and shape of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphConfig {
    /// Default: [`DEFAULT_SCALAR_KIND`].
    pub scalar: ScalarKind,
    /// Default: [`DEFAULT_CONNECTIVITY`].
    pub connectivity: usize,
    /// Default: [`DEFAULT_EXPANSION_ADD`].
    pub expansion_add: usize,
    /// Default: [`DEFAULT_EXPANSION_SEARCH`].
    pub expansion_search: usize,
}

/// As it is written in TOML.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VectorSection {
    scalar: Option<ScalarKind>,
    connectivity: Option<usize>,
    expansion_add: Option<usize>,
    expansion_search: Option<usize>,
}

impl VectorSection {
    pub(super) fn resolve(&self) -> Result<GraphConfig, IndexError> {
        Ok(GraphConfig {
            scalar: self.scalar.unwrap_or(DEFAULT_SCALAR_KIND),
            connectivity: at_least("vector.connectivity", self.connectivity.unwrap_or(DEFAULT_CONNECTIVITY), 2)?,
            expansion_add: at_least("vector.expansion_add", self.expansion_add.unwrap_or(DEFAULT_EXPANSION_ADD), 1)?,
            expansion_search: at_least(
                "vector.expansion_search",
                self.expansion_search.unwrap_or(DEFAULT_EXPANSION_SEARCH),
                1,
            )?,
        })
    }
}

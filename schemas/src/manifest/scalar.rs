//! How the graph keeps the values of item vectors. Owns the kinds and their names in files; not the arithmetic (`searcher`'s
//! `vector`). Invariant: a snapshot that names none has halves.

use serde::{Deserialize, Serialize};

/// Scalar kind of the item vectors in the graph, as it is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScalarKind {
    /// 16-bit IEEE floating point.
    F16,
    /// Whole numbers of 8 bits with one quantisation step for all values: half the memory.
    #[default]
    I8,
}

/// Scalar kind of the item vectors in a graph, with what it takes to read them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Scalar {
    /// 16-bit IEEE floating point.
    #[default]
    F16,
    /// Whole numbers of 8 bits, *codes*: a value is about `code · step`.
    I8 {
        /// The quantisation step; above 0.
        step: f32,
    },
}

impl Scalar {
    /// The kind alone.
    #[must_use]
    pub fn kind(self) -> ScalarKind {
        match self {
            Scalar::F16 => ScalarKind::F16,
            Scalar::I8 { .. } => ScalarKind::I8,
        }
    }

    /// Bytes of a value.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Scalar::F16 => 2,
            Scalar::I8 { .. } => 1,
        }
    }
}

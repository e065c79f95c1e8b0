//! The item vectors in the graph's file, and a query's inner products with them. Owns the scalar kinds' layouts; not where
//! in the file the vectors lie. Invariant: a query is only ever held against vectors of the kind that it was prepared for,
//! and whatever the bytes are, a slot that is not there gives nothing.

use arrow::buffer::{Buffer, ScalarBuffer};
use half::f16;
use schemas::manifest::Scalar;

use super::dot::dot;
use super::quantisation::QuantisedQuery;

/// The vectors of all slots, one after the other.
#[derive(Debug)]
pub(super) enum ItemVectors {
    /// Values as halves.
    F16(ScalarBuffer<f16>),
    /// Values in steps.
    I8 {
        /// The codes.
        codes: ScalarBuffer<i8>,
        /// The quantisation step.
        step: f32,
    },
}

/// The item vectors' inner products with a query.
#[derive(Debug)]
pub(super) enum InnerProducts<'a> {
    /// With halves.
    F16 {
        /// The vectors of all slots.
        vectors: &'a [f16],
        /// The query.
        query: &'a [f32],
    },
    /// With codes.
    I8 {
        /// The codes of all slots.
        codes: &'a [i8],
        /// The query.
        query: QuantisedQuery,
        /// Length of a vector.
        dimension: usize,
    },
}

impl ItemVectors {
    /// The vectors that these bytes are.
    pub(super) fn new(bytes: Buffer, scalar: Scalar) -> ItemVectors {
        match scalar {
            Scalar::F16 => {
                // A map starts at a page; only bytes from elsewhere can lie crooked, and are copied.
                let crooked = bytes.as_ptr().align_offset(align_of::<f16>()) != 0;
                let bytes = if crooked { Buffer::from(bytes.as_ref()) } else { bytes };
                let values = bytes.len() / 2;
                ItemVectors::F16(ScalarBuffer::new(bytes, 0, values))
            }
            Scalar::I8 { step } => {
                let codes = bytes.len();
                ItemVectors::I8 { codes: ScalarBuffer::new(bytes, 0, codes), step }
            }
        }
    }

    /// Prepares a query, whose length is that of the vectors.
    pub(super) fn with_query<'a>(&'a self, query: &'a [f32]) -> InnerProducts<'a> {
        match self {
            ItemVectors::F16(vectors) => InnerProducts::F16 { vectors, query },
            ItemVectors::I8 { codes, step } => {
                InnerProducts::I8 { codes, query: QuantisedQuery::new(query, *step), dimension: query.len() }
            }
        }
    }
}

impl InnerProducts<'_> {
    /// The inner product with a slot's vector, of codes about that; `None` where there is no such slot.
    pub(super) fn of(&self, slot: u32) -> Option<f32> {
        match self {
            InnerProducts::F16 { vectors, query } => Some(dot(vector_of(vectors, slot, query.len())?, query)),
            InnerProducts::I8 { codes, query, dimension } => Some(query.product(vector_of(codes, slot, *dimension)?)),
        }
    }
}

/// The part of `values` that is a slot's vector.
fn vector_of<T>(values: &[T], slot: u32, dimension: usize) -> Option<&[T]> {
    let start = (slot as usize).checked_mul(dimension)?;
    values.get(start..)?.get(..dimension)
}

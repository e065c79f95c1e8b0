//! `vector/modalities.arrow`: the exact embeddings, one nullable fixed-size list of `f16` per modality, Arrow IPC file
//! format, uncompressed, mapped zero-copy. Owns columns, reader and writer; not the scores computed from them.
//! Invariant: row number = row number everywhere; a present embedding has unit length (to f16's precision).

mod read;
mod write;

use arrow::datatypes::{DataType, Field, Schema};

use crate::manifest::ModalityManifest;
use crate::modality::Modality;

pub use read::{EmbeddingsSlice, ModalitiesReader};
pub use write::ModalitiesWriter;

/// File name in a snapshot.
pub const MODALITIES_FILE: &str = "vector/modalities.arrow";
/// Rows of a record batch at most.
pub const DEFAULT_BATCH_ROWS: usize = 65_536;
/// Bytes of embeddings in a record batch at most, but for one row that is longer by itself.
pub const DEFAULT_BATCH_BYTES: usize = 64 << 20;

/// A column: modality and length of its embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModalityColumn {
    /// Modality.
    pub modality: Modality,
    /// Length of an embedding.
    pub dimension: usize,
}

impl From<&ModalityManifest> for ModalityColumn {
    fn from(manifest: &ModalityManifest) -> ModalityColumn {
        ModalityColumn { modality: manifest.modality, dimension: manifest.encoder.dimension }
    }
}

/// The Arrow columns; `None` when a dimension is 0 or does not fit 31 bits.
pub(crate) fn modalities_schema(columns: &[ModalityColumn]) -> Option<Schema> {
    let field = |column: &ModalityColumn| {
        let dimension = i32::try_from(column.dimension).ok().filter(|dimension| *dimension > 0)?;
        let value = Field::new("item", DataType::Float16, false);
        Some(Field::new(column.modality.name(), DataType::FixedSizeList(value.into(), dimension), true))
    };
    columns.iter().map(field).collect::<Option<Vec<Field>>>().map(Schema::new)
}

#[cfg(test)]
mod tests;

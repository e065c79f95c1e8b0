//! Embeddings Parquet, `embeddings/partition=00003/part-00000.parquet`: the output of encoding and, as a cache, the
//! reason why an unchanged night encodes nothing. Owns columns, key-value metadata, reader and writer; not the
//! decision what is reused. Invariant: within a file all embeddings of a modality come from the one encoder that the
//! file's metadata names.
//!
//! Columns: `id` (string), then for each modality `<modality>_hash` (nullable fixed 16 bytes; null: the item does not
//! have that modality) and `<modality>_embedding` (nullable fixed-size list of `f16`; null with a hash: the content
//! could not be encoded). Key-value metadata: `catalens.format_version` and `catalens.encoder.<modality>`, an
//! [`EncoderSpec`] as JSON.

mod hashes;
mod parts;
mod read;
mod write;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use half::f16;

use crate::content_hash::ContentHash;
use crate::encoder_spec::EncoderSpec;
use crate::modality::Modality;

pub use hashes::{HashesBatch, HashesReader};
pub use parts::{list_parts, part_name};
pub use read::EmbeddingsReader;
pub use write::EmbeddingsWriter;

/// Version of the format that this code writes.
pub const FORMAT_VERSION: u32 = 1;
/// Start of the metadata key of a modality's encoder spec; the modality's name follows.
pub const ENCODER_KEY_PREFIX: &str = "catalens.encoder.";
/// Rows of a batch that [`EmbeddingsReader`] gives out.
pub const DEFAULT_READ_ROWS: usize = 4_096;

/// Which modalities a file holds and what encoded each; in the order of [`Modality::ALL`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct EmbeddingsSchema {
    /// Modality and encoder of each column pair.
    pub modalities: Vec<(Modality, EncoderSpec)>,
}

/// Some rows, column by column.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct EmbeddingsBatch {
    /// Item ids.
    pub ids: Vec<String>,
    /// A column pair per modality of the schema, in its order.
    pub columns: Vec<EmbeddingsColumn>,
}

/// One modality of some rows.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct EmbeddingsColumn {
    /// Length of an embedding.
    pub dimension: usize,
    /// Content hash of each row; `None`: the item does not have the modality.
    pub hashes: Vec<Option<ContentHash>>,
    /// Whether each row has an embedding.
    pub present: Vec<bool>,
    /// `rows × dimension` values, zeros where absent.
    pub values: Vec<f16>,
}

impl EmbeddingsColumn {
    /// The embedding of a row of this batch, if it has one.
    #[must_use]
    pub fn embedding(&self, row: usize) -> Option<&[f16]> {
        self.present[row].then(|| &self.values[row * self.dimension..(row + 1) * self.dimension])
    }

    /// Appends a row.
    ///
    /// # Panics
    /// When the embedding does not have `dimension` values.
    pub fn push(&mut self, hash: Option<ContentHash>, embedding: Option<&[f16]>) {
        self.hashes.push(hash);
        self.present.push(embedding.is_some());
        match embedding {
            Some(values) => {
                assert_eq!(values.len(), self.dimension, "length of an embedding");
                self.values.extend_from_slice(values);
            }
            None => self.values.resize(self.values.len() + self.dimension, f16::ZERO),
        }
    }
}

impl EmbeddingsSchema {
    /// An empty batch with a column pair per modality.
    #[must_use]
    pub fn empty_batch(&self) -> EmbeddingsBatch {
        let column = |(_, encoder): &(Modality, EncoderSpec)| EmbeddingsColumn {
            dimension: encoder.dimension,
            ..EmbeddingsColumn::default()
        };
        EmbeddingsBatch { ids: Vec::new(), columns: self.modalities.iter().map(column).collect() }
    }

    /// The Arrow columns of a file, or what is wrong with the schema.
    pub(crate) fn arrow_schema(&self) -> Result<Schema, String> {
        let mut fields = vec![Field::new("id", DataType::Utf8, false)];
        for (number, (modality, encoder)) in self.modalities.iter().enumerate() {
            if self.modalities[..number].iter().any(|(earlier, _)| earlier >= modality) {
                return Err("its modalities are repeated or out of order".to_owned());
            }
            let dimension = i32::try_from(encoder.dimension).ok().filter(|dimension| *dimension > 0);
            let dimension =
                dimension.ok_or_else(|| format!("its {modality} encoder has dimension {}", encoder.dimension))?;
            let hash = DataType::FixedSizeBinary(ContentHash::BYTES as i32);
            // `element` is the name that the Parquet specification gives to it.
            let value = Arc::new(Field::new("element", DataType::Float16, false));
            fields.push(Field::new(hash_name(*modality), hash, true));
            fields.push(Field::new(embedding_name(*modality), DataType::FixedSizeList(value, dimension), true));
        }
        Ok(Schema::new(fields))
    }
}

fn hash_name(modality: Modality) -> String {
    format!("{modality}_hash")
}

fn embedding_name(modality: Modality) -> String {
    format!("{modality}_embedding")
}

#[cfg(test)]
mod tests;

//! Reading embeddings Parquet. Owns checking a file against its own metadata; not what is reused of it.

use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Float16Type, Schema};
use half::f16;
use parquet::file::metadata::KeyValue;

use super::{
    DEFAULT_READ_ROWS, ENCODER_KEY_PREFIX, EmbeddingsBatch, EmbeddingsColumn, EmbeddingsSchema, FORMAT_VERSION,
};
use crate::content_hash::ContentHash;
use crate::error::SchemaError;
use crate::format_version::{FORMAT_VERSION_KEY, check_text};
use crate::modality::Modality;
use crate::parquet_file::{Batches, Builder, open};

/// Reads one part file batch by batch, [`DEFAULT_READ_ROWS`] rows at a time. After an error there is nothing more.
pub struct EmbeddingsReader {
    path: PathBuf,
    schema: EmbeddingsSchema,
    row_count: u64,
    batches: Option<Batches>,
}

impl EmbeddingsReader {
    /// Opens the file and reads its metadata.
    ///
    /// # Errors
    /// When it is missing, damaged, foreign, or of a newer format version.
    pub fn open(path: &Path) -> Result<EmbeddingsReader, SchemaError> {
        let Checked { builder, schema, row_count } = open_checked(path)?;
        let batches = Batches::new(path, builder.with_batch_size(DEFAULT_READ_ROWS))?;
        Ok(EmbeddingsReader { path: path.to_owned(), schema, row_count, batches: Some(batches) })
    }

    /// Modalities and encoders of the file.
    #[must_use]
    pub fn schema(&self) -> &EmbeddingsSchema {
        &self.schema
    }

    /// Number of rows, from the footer.
    #[must_use]
    pub fn row_count(&self) -> u64 {
        self.row_count
    }
}

impl Iterator for EmbeddingsReader {
    type Item = Result<EmbeddingsBatch, SchemaError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match self.batches.as_mut()?.next()? {
            Ok(batch) => convert(&batch, &self.schema)
                .ok_or_else(|| SchemaError::invalid(&self.path, "its columns do not hold what its metadata says")),
            Err(error) => Err(error),
        };
        if batch.is_err() {
            self.batches = None;
        }
        Some(batch)
    }
}

impl std::fmt::Debug for EmbeddingsReader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let EmbeddingsReader { path, schema, row_count, batches: _ } = self;
        let mut shown = formatter.debug_struct("EmbeddingsReader");
        shown.field("path", path).field("schema", schema).field("row_count", row_count).finish_non_exhaustive()
    }
}

/// A part file whose footer says that it is one.
pub(super) struct Checked {
    pub(super) builder: Builder,
    pub(super) schema: EmbeddingsSchema,
    pub(super) row_count: u64,
}

/// Opens a file and compares its columns with its own metadata.
pub(super) fn open_checked(path: &Path) -> Result<Checked, SchemaError> {
    let builder = open(path)?;
    let metadata = builder.metadata().file_metadata();
    let schema = schema(path, metadata.key_value_metadata().map_or(&[], Vec::as_slice))?;
    let row_count = u64::try_from(metadata.num_rows())
        .map_err(|_| SchemaError::invalid(path, "its footer has a negative number of rows"))?;
    let expected = schema.arrow_schema().map_err(|reason| SchemaError::invalid(path, reason))?;
    compare_columns(builder.schema(), &expected).map_err(|reason| SchemaError::invalid(path, reason))?;
    Ok(Checked { builder, schema, row_count })
}

/// Version and encoders, from the key-value metadata.
fn schema(path: &Path, metadata: &[KeyValue]) -> Result<EmbeddingsSchema, SchemaError> {
    let value = |key: &str| metadata.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.as_deref());
    check_text(path, FORMAT_VERSION, value(FORMAT_VERSION_KEY))?;
    let mut modalities = Vec::new();
    for modality in Modality::ALL {
        if let Some(spec) = value(&format!("{ENCODER_KEY_PREFIX}{modality}")) {
            let spec = serde_json::from_str(spec);
            modalities.push((modality, spec.map_err(|source| SchemaError::Json { path: path.to_owned(), source })?));
        }
    }
    Ok(EmbeddingsSchema { modalities })
}

/// The columns must have the expected names and types; what a list's child is called depends on the writer.
fn compare_columns(got: &Schema, expected: &Schema) -> Result<(), String> {
    if got.fields().len() != expected.fields().len() {
        return Err(format!("it has {} columns, expected {}", got.fields().len(), expected.fields().len()));
    }
    for (got, expected) in got.fields().iter().zip(expected.fields()) {
        if got.name() != expected.name() || !got.data_type().equals_datatype(expected.data_type()) {
            let (name, data_type) = (expected.name(), expected.data_type());
            return Err(format!(
                "it has the column `{}: {}`, expected `{name}: {data_type}`",
                got.name(),
                got.data_type()
            ));
        }
    }
    Ok(())
}

/// `None` when a column is not of its type, or an id is missing.
fn convert(batch: &RecordBatch, schema: &EmbeddingsSchema) -> Option<EmbeddingsBatch> {
    let ids = ids(batch.column(0))?;
    let mut columns = Vec::with_capacity(schema.modalities.len());
    for (number, (_, encoder)) in schema.modalities.iter().enumerate() {
        columns.push(column(batch.column(1 + 2 * number), batch.column(2 + 2 * number), encoder.dimension)?);
    }
    Some(EmbeddingsBatch { ids, columns })
}

/// `None` when the column is no text, or an id is missing.
pub(super) fn ids(column: &ArrayRef) -> Option<Vec<String>> {
    let ids = column.as_string_opt::<i32>().filter(|ids| ids.null_count() == 0)?;
    Some(ids.iter().flatten().map(str::to_owned).collect())
}

/// `None` when the column has no hashes.
pub(super) fn hashes(column: &ArrayRef) -> Option<Vec<Option<ContentHash>>> {
    let hashes = column.as_fixed_size_binary_opt()?;
    let hash = |row| match hashes.is_valid(row) {
        true => Some(Some(ContentHash(hashes.value(row).try_into().ok()?))),
        false => Some(None),
    };
    (0..hashes.len()).map(hash).collect()
}

fn column(hash_column: &ArrayRef, embeddings: &ArrayRef, dimension: usize) -> Option<EmbeddingsColumn> {
    let lists = embeddings.as_fixed_size_list_opt()?;
    let values = lists.values().as_primitive_opt::<Float16Type>()?;
    let mut column = EmbeddingsColumn {
        dimension,
        hashes: Vec::with_capacity(lists.len()),
        present: Vec::with_capacity(lists.len()),
        values: Vec::with_capacity(lists.len() * dimension),
    };
    for (row, hash) in hashes(hash_column)?.into_iter().enumerate() {
        let start = lists.value_offset_at(row);
        let embedding: Option<&[f16]> = match lists.is_valid(row) {
            true => Some(values.values().get(start..start + dimension)?),
            false => None,
        };
        column.push(hash, embedding);
    }
    Some(column)
}

//! Writing embeddings Parquet. Owns the encoding of the columns; the commit is `durable`'s.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, FixedSizeBinaryBuilder, FixedSizeListArray, Float16Array, RecordBatch, StringArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use super::{ENCODER_KEY_PREFIX, EmbeddingsBatch, EmbeddingsColumn, EmbeddingsSchema, FORMAT_VERSION, embedding_name};
use crate::content_hash::ContentHash;
use crate::error::SchemaError;
use crate::format_version::FORMAT_VERSION_KEY;
use crate::parquet_file::ParquetFileWriter;

/// Writes one part file: under a temporary name until [`EmbeddingsWriter::finish`], which syncs and renames it.
/// Dropped before that, it leaves nothing behind. Memory is bounded by one row group.
#[derive(Debug)]
pub struct EmbeddingsWriter {
    file: ParquetFileWriter,
    schema: EmbeddingsSchema,
}

impl EmbeddingsWriter {
    /// Starts the file.
    ///
    /// # Errors
    /// When it cannot be created, or the schema's modalities are repeated or not in the order of
    /// [`crate::Modality::ALL`].
    pub fn create(path: &Path, schema: &EmbeddingsSchema) -> Result<EmbeddingsWriter, SchemaError> {
        let arrow_schema = schema.arrow_schema().map_err(|reason| SchemaError::invalid(path, reason))?;
        let mut metadata = vec![KeyValue::new(FORMAT_VERSION_KEY.to_owned(), FORMAT_VERSION.to_string())];
        for (modality, encoder) in &schema.modalities {
            let spec = serde_json::to_string(encoder);
            let spec = spec.map_err(|source| SchemaError::Json { path: path.to_owned(), source })?;
            metadata.push(KeyValue::new(format!("{ENCODER_KEY_PREFIX}{modality}"), spec));
        }
        let embeddings: Vec<ColumnPath> = schema
            .modalities
            .iter()
            .map(|(modality, _)| {
                ColumnPath::from([embedding_name(*modality), "list".to_owned(), "element".to_owned()].to_vec())
            })
            .collect();
        let properties = |common| embeddings.into_iter().fold(common, half_float_properties);
        let file = ParquetFileWriter::create(path, arrow_schema, metadata, properties)?;
        Ok(EmbeddingsWriter { file, schema: schema.clone() })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// When the columns of the batch do not fit the schema or each other, or writing fails.
    pub fn write(&mut self, batch: &EmbeddingsBatch) -> Result<(), SchemaError> {
        check(batch, &self.schema).map_err(|reason| SchemaError::invalid(self.file.path(), reason))?;
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(StringArray::from_iter_values(&batch.ids))];
        let arrow = |source| SchemaError::Arrow { path: self.file.path().to_owned(), source };
        for (number, column) in batch.columns.iter().enumerate() {
            arrays.push(hashes(column).map_err(arrow)?);
            // Columns of the file: the id, then a pair for each modality.
            let field = self.file.schema().field(2 + 2 * number);
            arrays.push(embeddings(column, field.data_type()).map_err(arrow)?);
        }
        let record_batch = RecordBatch::try_new(Arc::clone(self.file.schema()), arrays).map_err(arrow)?;
        self.file.write(&record_batch)
    }

    /// Writes the footer, syncs, renames to the final name and syncs the folder.
    ///
    /// # Errors
    /// When any of it fails; the final name then does not exist or is the old file.
    pub fn finish(self) -> Result<(), SchemaError> {
        self.file.finish()
    }
}

/// Plain and uncompressed: half floats of embeddings have no repetitions to gain from, and duckdb cannot read them
/// split by byte stream.
fn half_float_properties(properties: WriterPropertiesBuilder, column: ColumnPath) -> WriterPropertiesBuilder {
    properties
        .set_column_dictionary_enabled(column.clone(), false)
        .set_column_encoding(column.clone(), Encoding::PLAIN)
        .set_column_compression(column.clone(), Compression::UNCOMPRESSED)
        .set_column_statistics_enabled(column, EnabledStatistics::None)
}

fn check(batch: &EmbeddingsBatch, schema: &EmbeddingsSchema) -> Result<(), String> {
    if batch.columns.len() != schema.modalities.len() {
        return Err(format!("a batch of {} modalities, expected {}", batch.columns.len(), schema.modalities.len()));
    }
    let rows = batch.ids.len();
    for (column, (modality, encoder)) in batch.columns.iter().zip(&schema.modalities) {
        if column.dimension != encoder.dimension {
            return Err(format!(
                "{modality} embeddings of {} values, expected {}",
                column.dimension, encoder.dimension
            ));
        }
        let lengths = (column.hashes.len(), column.present.len(), column.values.len());
        if lengths != (rows, rows, rows * column.dimension) {
            return Err(format!("the {modality} column does not have {rows} rows"));
        }
    }
    Ok(())
}

fn hashes(column: &EmbeddingsColumn) -> Result<ArrayRef, ArrowError> {
    let mut builder = FixedSizeBinaryBuilder::with_capacity(column.hashes.len(), ContentHash::BYTES as i32);
    for hash in &column.hashes {
        match hash {
            Some(hash) => builder.append_value(hash.0)?,
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn embeddings(column: &EmbeddingsColumn, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    let DataType::FixedSizeList(value, dimension) = data_type else {
        // The schema was built by `EmbeddingsSchema::arrow_schema` and has no other type there.
        return Err(ArrowError::SchemaError(format!("{data_type} is no fixed-size list")));
    };
    let values = Float16Array::from(column.values.clone());
    debug_assert_eq!(values.null_count(), 0);
    let nulls = NullBuffer::from(column.present.clone());
    Ok(Arc::new(FixedSizeListArray::try_new(Arc::clone(value), *dimension, Arc::new(values), Some(nulls))?))
}

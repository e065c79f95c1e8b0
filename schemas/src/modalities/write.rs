//! Writing `modalities.arrow`. Owns the buffers of the record batch at hand and its bounds.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBufferBuilder, FixedSizeListArray, Float16Array, RecordBatch, RecordBatchOptions};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use half::f16;

use super::{DEFAULT_BATCH_BYTES, DEFAULT_BATCH_ROWS, ModalityColumn, modalities_schema};
use crate::arrow_file::ArrowFileWriter;
use crate::error::SchemaError;

/// Writes the file in row order, in record batches bounded in rows ([`DEFAULT_BATCH_ROWS`]) and bytes
/// ([`DEFAULT_BATCH_BYTES`]), so that memory does not grow with the file.
#[derive(Debug)]
pub struct ModalitiesWriter {
    file: ArrowFileWriter,
    columns: Vec<ColumnBuffer>,
    rows: usize,
    batch_rows: usize,
}

#[derive(Debug)]
struct ColumnBuffer {
    column: ModalityColumn,
    values: Vec<f16>,
    present: BooleanBufferBuilder,
}

impl ModalitiesWriter {
    /// Starts the file.
    ///
    /// # Errors
    /// When it cannot be created, a dimension is 0, or two columns are of one modality.
    pub fn create(path: &Path, columns: &[ModalityColumn]) -> Result<ModalitiesWriter, SchemaError> {
        let schema = modalities_schema(columns).ok_or_else(|| SchemaError::invalid(path, "a dimension is 0"))?;
        for (number, column) in columns.iter().enumerate() {
            if columns[..number].iter().any(|earlier| earlier.modality == column.modality) {
                return Err(SchemaError::invalid(path, format!("two columns are of `{}`", column.modality)));
            }
        }
        let row_bytes: usize = columns.iter().map(|column| column.dimension * size_of::<f16>()).sum();
        let batch_rows = (DEFAULT_BATCH_BYTES / row_bytes.max(1)).clamp(1, DEFAULT_BATCH_ROWS);
        let buffer = |column: &ModalityColumn| ColumnBuffer {
            column: *column,
            values: Vec::new(),
            present: BooleanBufferBuilder::new(0),
        };
        let columns = columns.iter().map(buffer).collect();
        Ok(ModalitiesWriter { file: ArrowFileWriter::create(path, schema)?, columns, rows: 0, batch_rows })
    }

    /// Appends the next row; `embeddings` runs parallel to the columns.
    ///
    /// # Errors
    /// When writing fails or a length is wrong; nothing of the row is then written.
    pub fn write(&mut self, embeddings: &[Option<&[f16]>]) -> Result<(), SchemaError> {
        if embeddings.len() != self.columns.len() {
            let reason = format!("a row of {} embeddings for {} columns", embeddings.len(), self.columns.len());
            return Err(SchemaError::invalid(self.file.path(), reason));
        }
        for (buffer, embedding) in self.columns.iter().zip(embeddings) {
            let ModalityColumn { modality, dimension } = buffer.column;
            if let Some(values) = embedding
                && values.len() != dimension
            {
                let reason = format!("a {modality} embedding of {} values, expected {dimension}", values.len());
                return Err(SchemaError::invalid(self.file.path(), reason));
            }
        }
        if self.rows == self.batch_rows {
            self.write_batch()?;
        }
        for (buffer, embedding) in self.columns.iter_mut().zip(embeddings) {
            buffer.present.append(embedding.is_some());
            match embedding {
                Some(values) => buffer.values.extend_from_slice(values),
                None => buffer.values.resize(buffer.values.len() + buffer.column.dimension, f16::ZERO),
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// Writes what is left and the footer; does not sync. Returns the number of rows.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(mut self) -> Result<u64, SchemaError> {
        self.write_batch()?;
        self.file.finish()
    }

    fn write_batch(&mut self) -> Result<(), SchemaError> {
        let schema = Arc::clone(self.file.schema());
        let arrow = SchemaError::arrow(self.file.path());
        let arrays =
            self.columns.iter_mut().zip(schema.fields()).map(|(buffer, field)| buffer.finish(field.data_type()));
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let batch = arrays
            .collect::<Result<Vec<ArrayRef>, _>>()
            .and_then(|arrays| RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options))
            .map_err(arrow)?;
        self.rows = 0;
        self.file.write(&batch)
    }
}

impl ColumnBuffer {
    fn finish(&mut self, data_type: &DataType) -> Result<ArrayRef, arrow::error::ArrowError> {
        let DataType::FixedSizeList(value, dimension) = data_type else {
            // The schema was built in `create` and has no other type.
            return Err(arrow::error::ArrowError::SchemaError(format!("{data_type} is no fixed-size list")));
        };
        let capacity = self.values.len();
        let values = Float16Array::from(std::mem::replace(&mut self.values, Vec::with_capacity(capacity)));
        let nulls = NullBuffer::new(self.present.finish());
        let list = FixedSizeListArray::try_new(Arc::clone(value), *dimension, Arc::new(values), Some(nulls))?;
        Ok(Arc::new(list))
    }
}

//! Reading `modalities.arrow` through a map. Owns access to embeddings by row and by batch; the container is
//! `arrow_file`'s.

use arrow::array::{Array, AsArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::Float16Type;
use half::f16;

use super::{ModalityColumn, modalities_schema};
use crate::Row;
use crate::arrow_file::ArrowFile;
use crate::error::SchemaError;
use crate::map::MappedFile;

/// Reads the file through a map. Opening reads the footer only; batches are decoded when first touched, without
/// copying. `Send + Sync`.
#[derive(Debug)]
pub struct ModalitiesReader {
    file: ArrowFile,
    columns: Vec<ModalityColumn>,
}

/// The embeddings of one column in one record batch: for scans, which would otherwise look up every row.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddingsSlice<'a> {
    /// Row number of the first row.
    pub first_row: Row,
    /// Number of rows.
    pub rows: usize,
    /// Length of an embedding.
    pub dimension: usize,
    /// `rows × dimension` values; what stands where a row has no embedding means nothing.
    pub values: &'a [f16],
    /// Which rows have an embedding; `None`: all.
    pub present: Option<&'a NullBuffer>,
}

impl<'a> EmbeddingsSlice<'a> {
    /// Whether the row at a place in the batch has an embedding.
    ///
    /// # Panics
    /// When `place` is not below [`EmbeddingsSlice::rows`].
    #[must_use]
    pub fn is_present(&self, place: usize) -> bool {
        self.present.is_none_or(|present| present.is_valid(place))
    }

    /// The embedding at a place in the batch, if that row has one.
    ///
    /// # Panics
    /// When `place` is not below [`EmbeddingsSlice::rows`].
    #[must_use]
    pub fn embedding(&self, place: usize) -> Option<&'a [f16]> {
        self.is_present(place).then(|| &self.values[place * self.dimension..(place + 1) * self.dimension])
    }
}

impl ModalitiesReader {
    /// Opens the file and checks its columns.
    ///
    /// # Errors
    /// When it is damaged, foreign, of a newer version, or has other columns.
    #[expect(clippy::needless_pass_by_value, reason = "the reader keeps the map alive; the caller gives it away")]
    pub fn open(file: MappedFile, columns: &[ModalityColumn]) -> Result<ModalitiesReader, SchemaError> {
        let schema = modalities_schema(columns).ok_or_else(|| SchemaError::invalid(file.path(), "a dimension is 0"))?;
        Ok(ModalitiesReader { file: ArrowFile::open(&file, &schema)?, columns: columns.to_vec() })
    }

    /// The columns.
    #[must_use]
    pub fn columns(&self) -> &[ModalityColumn] {
        &self.columns
    }

    /// Number of rows.
    #[must_use]
    pub fn row_count(&self) -> u64 {
        u64::from(self.file.row_count())
    }

    /// Number of record batches.
    #[must_use]
    pub fn batch_count(&self) -> usize {
        self.file.batch_count()
    }

    /// The embedding of a row in the column of that number (not modality), if the item has one.
    ///
    /// # Errors
    /// When its batch is damaged, or row or column are beyond the end.
    pub fn embedding(&self, column: usize, row: Row) -> Result<Option<&[f16]>, SchemaError> {
        let (batch, place) = self.file.locate(row)?;
        Ok(self.slice(column, batch)?.embedding(place))
    }

    /// All embeddings of a column in one record batch.
    ///
    /// # Errors
    /// When the batch is damaged, or batch or column are beyond the end.
    pub fn slice(&self, column: usize, batch: usize) -> Result<EmbeddingsSlice<'_>, SchemaError> {
        let (first_row, rows) = self.file.batch_rows(batch)?;
        let array = self.file.column(batch, column)?;
        let lists = array.as_fixed_size_list_opt();
        let values = lists.and_then(|lists| lists.values().as_primitive_opt::<Float16Type>());
        let (Some(lists), Some(values)) = (lists, values) else {
            // The types were compared when the file was opened, so this error is never seen.
            return Err(SchemaError::invalid(self.file.path(), "a column holds no embeddings"));
        };
        let dimension = self.columns[column].dimension;
        Ok(EmbeddingsSlice { first_row, rows, dimension, values: values.values(), present: lists.nulls() })
    }
}

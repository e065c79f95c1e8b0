//! Reading `items.arrow` through a map. Owns turning columns back into items; the container is `arrow_file`'s.

use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Float64Type, Int64Type};

use super::{DESCRIPTION_COLUMN, FIRST_FIELD_COLUMN, ID_COLUMN, IMAGE_COLUMN, StoredItem, TITLE_COLUMN, items_schema};
use crate::Row;
use crate::arrow_file::ArrowFile;
use crate::error::SchemaError;
use crate::field::{FieldSpec, FieldType, FieldValue};
use crate::map::MappedFile;

/// Reads the file through a map. Opening reads the footer only; a column of a record batch is decoded (and checked)
/// when it is first asked for, without copying its values. `Send + Sync`.
#[derive(Debug)]
pub struct ItemsReader {
    file: ArrowFile,
    types: Vec<FieldType>,
    /// Whole batches, for those who asked for them.
    batches: Vec<OnceLock<RecordBatch>>,
}

impl ItemsReader {
    /// Opens the file and checks its columns against the declared fields.
    ///
    /// # Errors
    /// When it is damaged, foreign, of a newer version, or has other columns.
    #[expect(clippy::needless_pass_by_value, reason = "the reader keeps the map alive; the caller gives it away")]
    pub fn open(file: MappedFile, fields: &[FieldSpec]) -> Result<ItemsReader, SchemaError> {
        let file = ArrowFile::open(&file, &items_schema(fields))?;
        let batches = (0..file.batch_count()).map(|_| OnceLock::new()).collect();
        Ok(ItemsReader { file, types: fields.iter().map(|field| field.r#type).collect(), batches })
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

    /// A record batch with all its columns, and the row number of its first row. Decodes and checks every column of
    /// it; [`ItemsReader::column`] does so for one.
    ///
    /// # Errors
    /// When the batch is damaged or there is none of that number.
    pub fn batch(&self, number: usize) -> Result<(Row, &RecordBatch), SchemaError> {
        let (first_row, _) = self.file.batch_rows(number)?;
        let cell = &self.batches[number];
        if let Some(batch) = cell.get() {
            return Ok((first_row, batch));
        }
        let columns = 0..self.file.schema().fields().len();
        let arrays = columns.map(|column| self.file.column(number, column).cloned()).collect::<Result<_, _>>()?;
        let batch = RecordBatch::try_new(Arc::clone(self.file.schema()), arrays);
        let batch = batch.map_err(SchemaError::arrow(self.file.path()))?;
        Ok((first_row, cell.get_or_init(|| batch)))
    }

    /// One column of a record batch and the row number of its first row. Declared fields start at
    /// [`FIRST_FIELD_COLUMN`].
    ///
    /// # Errors
    /// When the column is damaged or there is no such batch or column.
    pub fn column(&self, batch: usize, column: usize) -> Result<(Row, &ArrayRef), SchemaError> {
        let (first_row, _) = self.file.batch_rows(batch)?;
        Ok((first_row, self.file.column(batch, column)?))
    }

    /// The record batch that holds a row, and the row's place in it.
    ///
    /// # Errors
    /// When the row is beyond the end.
    pub fn locate(&self, row: Row) -> Result<(usize, usize), SchemaError> {
        self.file.locate(row)
    }

    /// The stored item of a row.
    ///
    /// # Errors
    /// When its batch is damaged or the row is beyond the end.
    pub fn item(&self, row: Row) -> Result<StoredItem, SchemaError> {
        let (batch, place) = self.file.locate(row)?;
        let text = |column| -> Result<Option<String>, SchemaError> {
            let array = self.strings(batch, column)?;
            Ok(array.is_valid(place).then(|| array.value(place).to_owned()))
        };
        let mut fields = Vec::with_capacity(self.types.len());
        for (number, field_type) in self.types.iter().enumerate() {
            let array = self.file.column(batch, FIRST_FIELD_COLUMN + number)?;
            fields.push(if array.is_valid(place) { value(array, place, *field_type) } else { None });
        }
        Ok(StoredItem {
            id: self.id(row)?.to_owned(),
            title: text(TITLE_COLUMN)?,
            description: text(DESCRIPTION_COLUMN)?,
            image: text(IMAGE_COLUMN)?,
            fields,
        })
    }

    /// The id of a row; cheaper than [`ItemsReader::item`].
    ///
    /// # Errors
    /// As [`ItemsReader::item`].
    pub fn id(&self, row: Row) -> Result<&str, SchemaError> {
        let (batch, place) = self.file.locate(row)?;
        Ok(self.strings(batch, ID_COLUMN)?.value(place))
    }

    fn strings(&self, batch: usize, column: usize) -> Result<&StringArray, SchemaError> {
        let array = self.file.column(batch, column)?;
        // The types were compared when the file was opened, so this error is never seen.
        array.as_string_opt().ok_or_else(|| SchemaError::invalid(self.file.path(), "a text column holds no strings"))
    }
}

/// The value of a declared field at a place where there is one. `None` for a type that the file was proven not to have.
fn value(array: &ArrayRef, place: usize, field_type: FieldType) -> Option<FieldValue> {
    Some(match field_type {
        FieldType::String | FieldType::Category => {
            FieldValue::String(array.as_string_opt::<i32>()?.value(place).to_owned())
        }
        FieldType::Strings => {
            let list = array.as_list_opt::<i32>()?.value(place);
            FieldValue::Strings(list.as_string_opt::<i32>()?.iter().flatten().map(str::to_owned).collect())
        }
        FieldType::Integer => FieldValue::Integer(array.as_primitive_opt::<Int64Type>()?.value(place)),
        FieldType::Float => FieldValue::Float(array.as_primitive_opt::<Float64Type>()?.value(place)),
        FieldType::Boolean => FieldValue::Boolean(array.as_boolean_opt()?.value(place)),
    })
}

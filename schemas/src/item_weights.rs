//! `vector/item_weights.arrow`: what each modality weighs in an item's vector under learned embedding fusion, one
//! non-null fixed-size list of `f32` per row, Arrow IPC file format, uncompressed, mapped zero-copy. Owns column, reader
//! and writer; not where the weights come from. Invariant: row number = row number everywhere; a list has a value per
//! encoded modality, in the manifest's order, 0 where the item lacks it.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, FixedSizeListArray, Float32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Float32Type, Schema};

use crate::Row;
use crate::arrow_file::{ArrowFile, ArrowFileWriter};
use crate::error::SchemaError;
use crate::map::MappedFile;

/// File name in a snapshot.
pub const ITEM_WEIGHTS_FILE: &str = "vector/item_weights.arrow";
/// Rows of a record batch at most.
const BATCH_ROWS: usize = 65_536;
/// The one column.
const COLUMN: &str = "weights";

/// The Arrow column; `None` when there are no modalities or more than fit.
fn item_weights_schema(modalities: usize) -> Option<Schema> {
    let length = i32::try_from(modalities).ok().filter(|length| *length > 0)?;
    Some(Schema::new(vec![Field::new(COLUMN, DataType::FixedSizeList(value_field(), length), false)]))
}

fn value_field() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Float32, false))
}

/// Reads the file through a map; batches are decoded when first touched, without copying. `Send + Sync`.
#[derive(Debug)]
pub struct ItemWeightsReader {
    file: ArrowFile,
    modalities: usize,
}

impl ItemWeightsReader {
    /// Opens the file of a snapshot with so many encoded modalities.
    ///
    /// # Errors
    /// When it is damaged, foreign, of a newer version, or has another column.
    #[expect(clippy::needless_pass_by_value, reason = "the reader keeps the map alive; the caller gives it away")]
    pub fn open(file: MappedFile, modalities: usize) -> Result<ItemWeightsReader, SchemaError> {
        let schema = item_weights_schema(modalities)
            .ok_or_else(|| SchemaError::invalid(file.path(), "there are no modalities to weigh"))?;
        Ok(ItemWeightsReader { file: ArrowFile::open(&file, &schema)?, modalities })
    }

    /// Number of rows.
    #[must_use]
    pub fn row_count(&self) -> u64 {
        u64::from(self.file.row_count())
    }

    /// A row's weights, one per modality.
    ///
    /// # Errors
    /// When its batch is damaged, or the row is beyond the end.
    pub fn row(&self, row: Row) -> Result<&[f32], SchemaError> {
        let (batch, place) = self.file.locate(row)?;
        let lists = self.file.column(batch, 0)?.as_fixed_size_list_opt();
        let values = lists.and_then(|lists| lists.values().as_primitive_opt::<Float32Type>());
        let values = values.and_then(|values| values.values().get(place * self.modalities..)?.get(..self.modalities));
        // Types and lengths were compared before, so that only a weight itself can be wrong.
        let values = values.filter(|values| values.iter().all(|weight| weight.is_finite()));
        values.ok_or_else(|| SchemaError::invalid(self.file.path(), format!("row {row} has no finite weights")))
    }
}

/// Writes the file in row order.
#[derive(Debug)]
pub struct ItemWeightsWriter {
    file: ArrowFileWriter,
    modalities: usize,
    values: Vec<f32>,
}

impl ItemWeightsWriter {
    /// Starts the file.
    ///
    /// # Errors
    /// When it cannot be created or there are no modalities.
    pub fn create(path: &Path, modalities: usize) -> Result<ItemWeightsWriter, SchemaError> {
        let schema = item_weights_schema(modalities)
            .ok_or_else(|| SchemaError::invalid(path, "there are no modalities to weigh"))?;
        Ok(ItemWeightsWriter { file: ArrowFileWriter::create(path, schema)?, modalities, values: Vec::new() })
    }

    /// Appends the next row: a weight per modality.
    ///
    /// # Errors
    /// When writing fails, or there are not as many weights as modalities.
    pub fn write(&mut self, weights: &[f32]) -> Result<(), SchemaError> {
        if weights.len() != self.modalities {
            let reason = format!("a row of {} weights for {} modalities", weights.len(), self.modalities);
            return Err(SchemaError::invalid(self.file.path(), reason));
        }
        self.values.extend_from_slice(weights);
        if self.values.len() == BATCH_ROWS * self.modalities { self.write_batch() } else { Ok(()) }
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
        let values = Arc::new(Float32Array::from(std::mem::take(&mut self.values)));
        // It fitted when the schema was made.
        let length = i32::try_from(self.modalities).unwrap_or(i32::MAX);
        let list = FixedSizeListArray::try_new(value_field(), length, values, None);
        let batch = list.and_then(|list| RecordBatch::try_new(Arc::clone(self.file.schema()), vec![Arc::new(list)]));
        self.file.write(&batch.map_err(SchemaError::arrow(self.file.path()))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrow_file::damage;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    fn write(path: &Path, rows: usize) -> Result<u64, SchemaError> {
        let mut writer = ItemWeightsWriter::create(path, 2)?;
        for row in 0..rows {
            writer.write(&[row as f32, 0.5])?;
        }
        writer.finish()
    }

    #[test]
    fn weights_of_several_batches_are_read_back() -> Outcome {
        let file = tempfile::NamedTempFile::new()?;
        let rows = BATCH_ROWS + 3;
        assert_eq!(write(file.path(), rows)?, rows as u64);
        let reader = ItemWeightsReader::open(MappedFile::open(file.path())?, 2)?;
        assert_eq!(reader.row_count(), rows as u64);
        for row in [0, 1, BATCH_ROWS - 1, BATCH_ROWS, rows - 1] {
            assert_eq!(reader.row(row as Row)?, [row as f32, 0.5]);
        }
        assert!(matches!(reader.row(rows as Row), Err(SchemaError::Invalid { .. })));
        Ok(())
    }

    #[test]
    fn other_numbers_of_modalities_are_refused() -> Outcome {
        let file = tempfile::NamedTempFile::new()?;
        write(file.path(), 3)?;
        assert!(ItemWeightsReader::open(MappedFile::open(file.path())?, 3).is_err());
        assert!(ItemWeightsReader::open(MappedFile::open(file.path())?, 0).is_err());
        let mut writer = ItemWeightsWriter::create(file.path(), 2)?;
        assert!(writer.write(&[1.0]).is_err());
        Ok(())
    }

    #[test]
    fn damage_is_an_error_or_other_values() -> Outcome {
        let file = tempfile::NamedTempFile::new()?;
        write(file.path(), 3)?;
        let read_all = |bytes: Vec<u8>| -> Result<(), SchemaError> {
            let reader = ItemWeightsReader::open(MappedFile::from_bytes("damaged".as_ref(), bytes), 2)?;
            (0..reader.row_count()).try_for_each(|row| reader.row(row as Row).map(|_| ()))
        };
        let bytes = fs_err::read(file.path())?;
        let refused = damage::flips(&bytes).filter(|bytes| read_all(bytes.clone()).is_err()).count();
        assert!(refused > bytes.len() / 8, "{refused} of {} flips were noticed", bytes.len() * damage::FLIPS_PER_BYTE);
        assert!((0..bytes.len()).all(|cut| read_all(bytes[..cut].to_vec()).is_err()));
        Ok(())
    }
}

//! Reading Parquet that may be damaged. Owns turning the parquet crate's panics into errors: it checks footers, but
//! slices pages by the lengths that stand in them. Invariant: a damaged file is a [`SchemaError`], never a panic.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};

use super::ending_file::EndingFile;
use crate::error::SchemaError;

/// A file whose footer was read.
pub(crate) type Builder = ParquetRecordBatchReaderBuilder<EndingFile>;

/// Opens a file and reads its footer.
pub(crate) fn open(path: &Path) -> Result<Builder, SchemaError> {
    let file = open_file(path)?;
    guard(path, || Builder::try_new(file))?.map_err(SchemaError::parquet(path))
}

/// As [`open`], with strings and bytes as views: a value that a dictionary has once is in memory once, however many rows
/// have it.
pub(crate) fn open_with_views(path: &Path) -> Result<Builder, SchemaError> {
    let file = open_file(path)?;
    let opened = guard(path, || {
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?;
        let fields: Vec<Field> = metadata.schema().fields().iter().map(|field| as_view(field)).collect();
        let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields)));
        let metadata = ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)?;
        Ok(Builder::new_with_metadata(file, metadata))
    })?;
    opened.map_err(SchemaError::parquet(path))
}

fn open_file(path: &Path) -> Result<EndingFile, SchemaError> {
    Ok(EndingFile(fs_err::File::open(path).map_err(SchemaError::io(path))?.into_parts().0))
}

/// A column of strings or bytes, or a list of them, as views; any other as it is.
fn as_view(field: &Field) -> Field {
    let data_type = field.data_type();
    let is_dictionary_of_strings = matches!(data_type, DataType::Dictionary(_, value) if value.is_string());
    let view = if data_type.is_string() || is_dictionary_of_strings {
        DataType::Utf8View
    } else if matches!(data_type, DataType::Binary | DataType::LargeBinary) {
        DataType::BinaryView
    } else if let DataType::List(child) = data_type {
        DataType::List(Arc::new(as_view(child)))
    } else if let DataType::LargeList(child) = data_type {
        DataType::LargeList(Arc::new(as_view(child)))
    } else {
        return field.clone();
    };
    field.clone().with_data_type(view)
}

/// The record batches of a file. After an error there is nothing more.
pub(crate) struct Batches {
    path: PathBuf,
    reader: Option<ParquetRecordBatchReader>,
}

impl Batches {
    /// Starts reading with what was chosen in the builder.
    pub(crate) fn new(path: &Path, builder: Builder) -> Result<Batches, SchemaError> {
        let reader = guard(path, || builder.build())?.map_err(SchemaError::parquet(path))?;
        Ok(Batches { path: path.to_owned(), reader: Some(reader) })
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, SchemaError>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = self.reader.as_mut()?;
        let batch = match guard(&self.path, || reader.next()) {
            Ok(batch) => batch?.map_err(SchemaError::arrow(&self.path)),
            Err(error) => Err(error),
        };
        if batch.is_err() {
            self.reader = None;
        }
        Some(batch)
    }
}

/// Runs a piece of the parquet crate. Its state may be torn after a panic, so callers drop it then.
fn guard<T>(path: &Path, read: impl FnOnce() -> T) -> Result<T, SchemaError> {
    catch_unwind(AssertUnwindSafe(read))
        .map_err(|panic| SchemaError::invalid(path, format!("the Parquet decoder gave up: {}", words(&*panic))))
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_words() {
        let path = Path::new("part-00000.parquet");
        assert_eq!(guard(path, || 7).ok(), Some(7));
        let place = std::hint::black_box(9);
        let error = guard(path, || [1, 2, 3][place]).map_err(|error| error.to_string());
        let text = "`part-00000.parquet` is damaged or foreign: the Parquet decoder gave up: index out of bounds: \
                    the len is 3 but the index is 9";
        assert_eq!(error, Err(text.to_owned()));
    }
}

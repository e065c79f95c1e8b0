//! Reading Parquet that may be damaged. Owns turning the parquet crate's panics into errors: it checks footers, but
//! slices pages by the lengths that stand in them. Invariant: a damaged file is a [`SchemaError`], never a panic.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::error::SchemaError;

/// A file whose footer was read.
pub(crate) type Builder = ParquetRecordBatchReaderBuilder<std::fs::File>;

/// Opens a file and reads its footer.
pub(crate) fn open(path: &Path) -> Result<Builder, SchemaError> {
    let file = fs_err::File::open(path).map_err(SchemaError::io(path))?.into_parts().0;
    guard(path, || Builder::try_new(file))?.map_err(SchemaError::parquet(path))
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

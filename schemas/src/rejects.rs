//! Rows and pictures that the night left out. Owns the record, its reasons, and the Parquet file of them; not the
//! decision. Invariant: nothing is left out without one of these records.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::file::metadata::KeyValue;

use crate::error::SchemaError;
use crate::format_version::FORMAT_VERSION_KEY;
use crate::item::Location;
use crate::parquet_file::ParquetFileWriter;

/// Version of the format that this code writes.
pub const FORMAT_VERSION: u32 = 1;
/// Records that are buffered before they are written.
pub const DEFAULT_BATCH_ROWS: usize = 1_024;

/// Why a row is rejected, or why one of its modalities is absent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RejectReason {
    /// No id, or an empty one.
    MissingId,
    /// The id was seen before; the first row with it stays.
    DuplicateId {
        /// Where the first one stands.
        first: Location,
    },
    /// A line that is not the JSON, CSV or UTF-8 it should be.
    Malformed {
        /// The parser's words.
        detail: String,
    },
    /// A value that does not fit its declared type.
    WrongType {
        /// The column.
        column: String,
        /// The declared type.
        expected: String,
        /// What was found.
        got: String,
    },
    /// Neither title nor description nor picture: nothing to find it by.
    Empty,
    /// Modality absent: the picture's file is not there.
    ImageMissing,
    /// Modality absent: the path leaves the catalog's folder.
    ImageOutsideCatalog,
    /// Modality absent: the file or its pixels are over the limit.
    ImageTooLarge {
        /// What was measured against which limit.
        detail: String,
    },
    /// Modality absent: the file cannot be decoded.
    ImageBroken {
        /// The decoder's words.
        detail: String,
    },
}

impl RejectReason {
    /// Short name of the kind, for counting: `missing_id`, `duplicate_id`, ….
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            RejectReason::MissingId => "missing_id",
            RejectReason::DuplicateId { .. } => "duplicate_id",
            RejectReason::Malformed { .. } => "malformed",
            RejectReason::WrongType { .. } => "wrong_type",
            RejectReason::Empty => "empty",
            RejectReason::ImageMissing => "image_missing",
            RejectReason::ImageOutsideCatalog => "image_outside_catalog",
            RejectReason::ImageTooLarge { .. } => "image_too_large",
            RejectReason::ImageBroken { .. } => "image_broken",
        }
    }

    /// Whether the whole row is left out (true) or only a modality of it (false).
    #[must_use]
    pub fn rejects_row(&self) -> bool {
        match self {
            RejectReason::MissingId
            | RejectReason::DuplicateId { .. }
            | RejectReason::Malformed { .. }
            | RejectReason::WrongType { .. }
            | RejectReason::Empty => true,
            RejectReason::ImageMissing
            | RejectReason::ImageOutsideCatalog
            | RejectReason::ImageTooLarge { .. }
            | RejectReason::ImageBroken { .. } => false,
        }
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RejectReason::MissingId => write!(formatter, "it has no id"),
            RejectReason::DuplicateId { first } => {
                write!(formatter, "its id stands already in `{}` line {}", first.file.display(), first.line)
            }
            RejectReason::Malformed { detail } => write!(formatter, "it is malformed: {detail}"),
            RejectReason::WrongType { column, expected, got } => {
                write!(formatter, "column `{column}`: expected {expected}, got {got}")
            }
            RejectReason::Empty => write!(formatter, "it has neither title nor description nor picture"),
            RejectReason::ImageMissing => write!(formatter, "its picture's file is not there"),
            RejectReason::ImageOutsideCatalog => write!(formatter, "its picture's path leaves the catalog's folder"),
            RejectReason::ImageTooLarge { detail } => write!(formatter, "its picture is too large: {detail}"),
            RejectReason::ImageBroken { detail } => write!(formatter, "its picture cannot be decoded: {detail}"),
        }
    }
}

/// A row or modality that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Where it stands.
    pub location: Location,
    /// The row's id, where it has one.
    pub id: Option<String>,
    /// Why.
    pub reason: RejectReason,
}

/// As a log line: file, line, id and reason.
impl fmt::Display for Rejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rejection { location, id, reason } = self;
        write!(formatter, "`{}` line {}", location.file.display(), location.line)?;
        if let Some(id) = id {
            write!(formatter, ", item `{id}`")?;
        }
        write!(formatter, ": {reason}")
    }
}

/// Writes `rejects.parquet`: columns file, line, id, kind, rejects_row, reason. Under a temporary name until
/// [`RejectsWriter::finish`]; dropped before that, it leaves nothing behind.
#[derive(Debug)]
pub struct RejectsWriter {
    file: ParquetFileWriter,
    buffered: Vec<Rejection>,
}

impl RejectsWriter {
    /// Creates the file.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(path: &Path) -> Result<RejectsWriter, SchemaError> {
        let column = |name: &str, data_type, nullable| Field::new(name, data_type, nullable);
        let schema = Schema::new(vec![
            column("file", DataType::Utf8, false),
            column("line", DataType::UInt64, false),
            column("id", DataType::Utf8, true),
            column("kind", DataType::Utf8, false),
            column("rejects_row", DataType::Boolean, false),
            column("reason", DataType::Utf8, false),
        ]);
        let metadata = vec![KeyValue::new(FORMAT_VERSION_KEY.to_owned(), FORMAT_VERSION.to_string())];
        let file = ParquetFileWriter::create(path, schema, metadata, |common| common)?;
        Ok(RejectsWriter { file, buffered: Vec::new() })
    }

    /// Adds a record; buffered, flushed in row groups.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write(&mut self, rejection: &Rejection) -> Result<(), SchemaError> {
        self.buffered.push(rejection.clone());
        if self.buffered.len() == DEFAULT_BATCH_ROWS { self.write_batch() } else { Ok(()) }
    }

    /// Writes what is left and the footer, and gives the file its name, durably.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(mut self) -> Result<(), SchemaError> {
        self.write_batch()?;
        self.file.finish()
    }

    fn write_batch(&mut self) -> Result<(), SchemaError> {
        let rows = std::mem::take(&mut self.buffered);
        let files = rows.iter().map(|row| row.location.file.to_string_lossy());
        let ids = rows.iter().map(|row| row.id.as_deref());
        let rejects_row: Vec<bool> = rows.iter().map(|row| row.reason.rejects_row()).collect();
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(files)),
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.location.line))),
            Arc::new(ids.collect::<StringArray>()),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.reason.kind()))),
            Arc::new(BooleanArray::from(rejects_row)),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.reason.to_string()))),
        ];
        let batch = RecordBatch::try_new(Arc::clone(self.file.schema()), arrays);
        self.file.write(&batch.map_err(SchemaError::arrow(self.file.path()))?)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::UInt64Type;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    fn at(line: u64) -> Location {
        Location { file: "catalog.jsonl".into(), line }
    }

    #[test]
    fn every_reason_has_a_kind_and_a_text() {
        let detail = || "why".to_owned();
        let told = [
            (RejectReason::MissingId, "missing_id", "it has no id"),
            (
                RejectReason::DuplicateId { first: at(3) },
                "duplicate_id",
                "its id stands already in `catalog.jsonl` line 3",
            ),
            (RejectReason::Malformed { detail: detail() }, "malformed", "it is malformed: why"),
            (
                RejectReason::WrongType { column: "price".into(), expected: "float".into(), got: "true".into() },
                "wrong_type",
                "column `price`: expected float, got true",
            ),
            (RejectReason::Empty, "empty", "it has neither title nor description nor picture"),
            (RejectReason::ImageMissing, "image_missing", "its picture's file is not there"),
            (
                RejectReason::ImageOutsideCatalog,
                "image_outside_catalog",
                "its picture's path leaves the catalog's folder",
            ),
            (RejectReason::ImageTooLarge { detail: detail() }, "image_too_large", "its picture is too large: why"),
            (RejectReason::ImageBroken { detail: detail() }, "image_broken", "its picture cannot be decoded: why"),
        ];
        for (reason, kind, text) in told {
            assert_eq!((reason.kind(), reason.to_string().as_str()), (kind, text));
            assert_eq!(reason.rejects_row(), !kind.starts_with("image"));
        }
    }

    #[test]
    fn the_file_holds_every_record() -> Outcome {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("rejects.parquet");
        let mut writer = RejectsWriter::create(&path)?;
        let count = DEFAULT_BATCH_ROWS as u64 + 2;
        for line in 1..=count {
            let id = (line % 2 == 0).then(|| format!("id {line}"));
            writer.write(&Rejection { location: at(line), id, reason: RejectReason::MissingId })?;
        }
        assert!(!path.exists());
        writer.finish()?;

        let builder = ParquetRecordBatchReaderBuilder::try_new(fs_err::File::open(&path)?.into_parts().0)?;
        let batches = builder.with_batch_size(1 << 20).build()?.collect::<Result<Vec<_>, _>>()?;
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>() as u64, count);
        let first = &batches[0];
        let names: Vec<&str> = first.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["file", "line", "id", "kind", "rejects_row", "reason"]);
        assert_eq!(first.column(0).as_string::<i32>().value(0), "catalog.jsonl");
        assert_eq!(first.column(1).as_primitive::<UInt64Type>().value(1), 2);
        assert!(first.column(2).is_null(0));
        assert_eq!(first.column(2).as_string::<i32>().value(1), "id 2");
        assert_eq!(first.column(3).as_string::<i32>().value(0), "missing_id");
        assert!(first.column(4).as_boolean().value(0));
        assert_eq!(first.column(5).as_string::<i32>().value(0), "it has no id");
        Ok(())
    }

    #[test]
    fn no_record_is_a_file_without_rows() -> Outcome {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("rejects.parquet");
        RejectsWriter::create(&path)?.finish()?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(fs_err::File::open(&path)?.into_parts().0)?;
        assert_eq!(builder.metadata().file_metadata().num_rows(), 0);
        Ok(())
    }

    #[test]
    fn a_rejection_reads_as_a_log_line() {
        let rejection = Rejection { location: at(7), id: Some("a".to_owned()), reason: RejectReason::Empty };
        let text = "`catalog.jsonl` line 7, item `a`: it has neither title nor description nor picture";
        assert_eq!(rejection.to_string(), text);
    }
}

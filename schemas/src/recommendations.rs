//! What was recommended to many users. Owns the Parquet file of it: columns user, rank, id, score. Invariant: a user's
//! rows stand together, in the order of their ranks.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::file::metadata::KeyValue;

use crate::error::SchemaError;
use crate::format_version::FORMAT_VERSION_KEY;
use crate::parquet_file::ParquetFileWriter;

/// Version of the format that this code writes.
pub const FORMAT_VERSION: u32 = 1;

/// One recommended item.
#[derive(Clone, Debug, PartialEq)]
pub struct Recommendation {
    /// The user; `None` for the events of a history that name none.
    pub user: Option<String>,
    /// Place in the user's list, from 1.
    pub rank: u32,
    /// The item's id.
    pub id: String,
    /// Final score.
    pub score: f32,
}

/// Writes the file under a temporary name until [`RecommendationsWriter::finish`]; dropped before that, it leaves nothing
/// behind.
#[derive(Debug)]
pub struct RecommendationsWriter {
    file: ParquetFileWriter,
}

impl RecommendationsWriter {
    /// Creates the file.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(path: &Path) -> Result<RecommendationsWriter, SchemaError> {
        let schema = Schema::new(vec![
            Field::new("user", DataType::Utf8, true),
            Field::new("rank", DataType::UInt32, false),
            Field::new("id", DataType::Utf8, false),
            Field::new("score", DataType::Float32, false),
        ]);
        let metadata = vec![KeyValue::new(FORMAT_VERSION_KEY.to_owned(), FORMAT_VERSION.to_string())];
        let file = ParquetFileWriter::create(path, schema, metadata, |common| common)?;
        Ok(RecommendationsWriter { file })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write(&mut self, rows: &[Recommendation]) -> Result<(), SchemaError> {
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|row| row.user.as_deref()).collect::<StringArray>()),
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.rank))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.id))),
            Arc::new(Float32Array::from_iter_values(rows.iter().map(|row| row.score))),
        ];
        let batch = RecordBatch::try_new(Arc::clone(self.file.schema()), arrays);
        self.file.write(&batch.map_err(SchemaError::arrow(self.file.path()))?)
    }

    /// Writes the footer and gives the file its name, durably.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(self) -> Result<(), SchemaError> {
        self.file.finish()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Float32Type, UInt32Type};

    use super::*;
    use crate::parquet_file::{Batches, open};

    #[test]
    fn the_file_holds_the_rows_in_order() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("recommendations.parquet");
        let row = |user: Option<&str>, rank, id: &str, score| Recommendation {
            user: user.map(str::to_owned),
            rank,
            id: id.to_owned(),
            score,
        };
        let mut writer = RecommendationsWriter::create(&path)?;
        writer.write(&[row(None, 1, "p2", 0.5)])?;
        writer.write(&[])?;
        writer.write(&[row(Some("ana"), 1, "p1", 0.75), row(Some("ana"), 2, "p3", -0.5)])?;
        assert!(!path.exists());
        writer.finish()?;
        let batches = Batches::new(&path, open(&path)?)?.collect::<Result<Vec<_>, _>>()?;
        let [batch] = batches.as_slice() else { return Err("several batches".into()) };
        let names: Vec<&str> = batch.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["user", "rank", "id", "score"]);
        let users = batch.column(0).as_string::<i32>();
        assert!(users.is_null(0));
        assert_eq!((users.value(1), users.value(2)), ("ana", "ana"));
        assert_eq!(batch.column(1).as_primitive::<UInt32Type>().values().as_ref(), [1, 1, 2]);
        assert_eq!(batch.column(2).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["p2", "p1", "p3"]);
        assert_eq!(batch.column(3).as_primitive::<Float32Type>().values().as_ref(), [0.5, 0.75, -0.5]);
        Ok(())
    }
}

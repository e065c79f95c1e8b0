//! Values that were proposed for items whose catalog row lacks them. Owns the Parquet file of them: columns id, field, value,
//! confidence, method, evidence; not how they are found. Invariant: a value is a proposal beside the catalog, never written
//! into it or into a snapshot.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, ListBuilder, RecordBatch, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::file::metadata::KeyValue;
use serde::Serialize;

use crate::error::SchemaError;
use crate::format_version::FORMAT_VERSION_KEY;
use crate::parquet_file::ParquetFileWriter;

/// Version of the format that this code writes.
pub const FORMAT_VERSION: u32 = 1;

/// What names a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelMethod {
    /// The vote of the nearest items that have a value.
    Neighbours,
    /// The likeness of the item to the value's name.
    ZeroShot,
    /// Both together.
    Both,
}

impl LabelMethod {
    /// All methods, in the order in which they are listed.
    pub const ALL: [LabelMethod; 3] = [LabelMethod::Neighbours, LabelMethod::ZeroShot, LabelMethod::Both];

    /// The name in files, options and output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            LabelMethod::Neighbours => "neighbours",
            LabelMethod::ZeroShot => "zero_shot",
            LabelMethod::Both => "both",
        }
    }
}

/// A proposed value.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// The item's id.
    pub id: String,
    /// The declared field that the item lacks.
    pub field: String,
    /// The value proposed.
    pub value: String,
    /// How sure the proposal is, 0 to 1.
    pub confidence: f32,
    /// Which methods name this value by themselves; [`LabelMethod::Both`] also where only both together do.
    pub method: LabelMethod,
    /// Ids of the nearest items that have the value, nearest first.
    pub evidence: Vec<String>,
}

/// Writes the file under a temporary name until [`LabelsWriter::finish`]; dropped before that, it leaves nothing behind.
#[derive(Debug)]
pub struct LabelsWriter {
    file: ParquetFileWriter,
}

impl LabelsWriter {
    /// Creates the file.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(path: &Path) -> Result<LabelsWriter, SchemaError> {
        let evidence = DataType::new_list(DataType::Utf8, true);
        let schema = Schema::new(vec![
            Field::new("id", DataType::Utf8, false),
            Field::new("field", DataType::Utf8, false),
            Field::new("value", DataType::Utf8, false),
            Field::new("confidence", DataType::Float32, false),
            Field::new("method", DataType::Utf8, false),
            Field::new("evidence", evidence, false),
        ]);
        let metadata = vec![KeyValue::new(FORMAT_VERSION_KEY.to_owned(), FORMAT_VERSION.to_string())];
        let file = ParquetFileWriter::create(path, schema, metadata, |common| common)?;
        Ok(LabelsWriter { file })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write(&mut self, labels: &[Label]) -> Result<(), SchemaError> {
        let texts =
            |text: fn(&Label) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(labels.iter().map(text))) };
        let mut evidence = ListBuilder::new(StringBuilder::new());
        for label in labels {
            label.evidence.iter().for_each(|id| evidence.values().append_value(id));
            evidence.append(true);
        }
        let arrays: Vec<ArrayRef> = vec![
            texts(|label| &label.id),
            texts(|label| &label.field),
            texts(|label| &label.value),
            Arc::new(Float32Array::from_iter_values(labels.iter().map(|label| label.confidence))),
            texts(|label| label.method.name()),
            Arc::new(evidence.finish()),
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
    use arrow::array::AsArray;
    use arrow::datatypes::Float32Type;

    use super::*;
    use crate::parquet_file::{Batches, open};

    #[test]
    fn the_file_holds_the_labels_with_their_evidence() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("labels.parquet");
        let label = |id: &str, confidence, method, evidence: &[&str]| Label {
            id: id.to_owned(),
            field: "category".to_owned(),
            value: "Home > Mugs".to_owned(),
            confidence,
            method,
            evidence: evidence.iter().map(|id| (*id).to_owned()).collect(),
        };
        let mut writer = LabelsWriter::create(&path)?;
        writer.write(&[
            label("p1", 0.75, LabelMethod::Both, &["p2", "p3"]),
            label("p4", 0.5, LabelMethod::ZeroShot, &[]),
        ])?;
        writer.write(&[label("p5", 0.25, LabelMethod::Neighbours, &["p6"])])?;
        assert!(!path.exists());
        writer.finish()?;
        let batches = Batches::new(&path, open(&path)?)?.collect::<Result<Vec<_>, _>>()?;
        let [batch] = batches.as_slice() else { return Err("several batches".into()) };
        let names: Vec<&str> = batch.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["id", "field", "value", "confidence", "method", "evidence"]);
        let texts = |column: usize| batch.column(column).as_string::<i32>().iter().flatten().collect::<Vec<_>>();
        assert_eq!(texts(0), ["p1", "p4", "p5"]);
        assert_eq!((texts(1)[2], texts(2)[2]), ("category", "Home > Mugs"));
        assert_eq!(batch.column(3).as_primitive::<Float32Type>().values().as_ref(), [0.75, 0.5, 0.25]);
        assert_eq!(texts(4), ["both", "zero_shot", "neighbours"]);
        let evidence = batch.column(5).as_list::<i32>();
        let evidence = (0..3)
            .map(|row| evidence.value(row).as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(
            evidence.collect::<Vec<_>>(),
            [vec!["p2".to_owned(), "p3".to_owned()], vec![], vec!["p6".to_owned()]]
        );
        Ok(())
    }
}

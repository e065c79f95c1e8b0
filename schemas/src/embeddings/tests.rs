//! What is written is read back equal, and a file that is not whole or not ours is an error.

use std::path::Path;

use arrow::array::{RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;

use super::*;
use crate::encoder_spec::{Architecture, Dtype, Pooling};
use crate::error::SchemaError;
use crate::format_version::FORMAT_VERSION_KEY;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn encoder(name: &str, dimension: usize) -> EncoderSpec {
    EncoderSpec {
        name: name.to_owned(),
        architecture: Architecture::Bert,
        checkpoint: "0123456789abcdef".to_owned(),
        weights: "a".repeat(64),
        preprocessing: "b".repeat(64),
        pooling: Pooling::Mean,
        dimension,
        dtype: Dtype::F32,
    }
}

fn schema() -> EmbeddingsSchema {
    EmbeddingsSchema { modalities: vec![(Modality::Title, encoder("text", 4)), (Modality::Image, encoder("image", 2))] }
}

fn batch(first: usize, rows: usize) -> EmbeddingsBatch {
    let mut batch = schema().empty_batch();
    for row in first..first + rows {
        batch.ids.push(format!("id-{row}"));
        for column in &mut batch.columns {
            let values: Vec<f16> = (0..column.dimension).map(|value| f16::from_f32((row + value) as f32)).collect();
            let hash = (!row.is_multiple_of(3)).then(|| ContentHash::of(&row.to_le_bytes()));
            column.push(hash, (row % 3 == 1).then_some(&values));
        }
    }
    batch
}

fn write(path: &Path, batches: &[EmbeddingsBatch]) -> Result<(), SchemaError> {
    let mut writer = EmbeddingsWriter::create(path, &schema())?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()
}

/// All rows of a file as one batch.
fn read(path: &Path) -> Result<EmbeddingsBatch, SchemaError> {
    let reader = EmbeddingsReader::open(path)?;
    let mut all = reader.schema().empty_batch();
    let row_count = reader.row_count();
    for batch in reader {
        let batch = batch?;
        all.ids.extend(batch.ids);
        for (all, column) in all.columns.iter_mut().zip(batch.columns) {
            all.hashes.extend(column.hashes);
            all.present.extend(column.present);
            all.values.extend(column.values);
        }
    }
    assert_eq!(row_count, all.ids.len() as u64);
    Ok(all)
}

#[test]
fn batches_are_read_back_in_order_with_their_encoders() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join(part_name(0));
    write(&path, &[batch(0, 5000), batch(5000, 1), batch(5001, 4000)])?;
    assert_eq!(read(&path)?, batch(0, 9001));
    assert_eq!(EmbeddingsReader::open(&path)?.schema(), &schema());
    assert_eq!(list_parts(folder.path())?, [(0, path)]);
    Ok(())
}

#[test]
fn hashes_are_read_without_embeddings_and_the_footer_counts_those() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join(part_name(0));
    let written = batch(0, 5000);
    write(&path, std::slice::from_ref(&written))?;
    let reader = HashesReader::open(&path)?;
    assert_eq!((reader.schema(), reader.row_count()), (&schema(), 5000));
    for (number, column) in written.columns.iter().enumerate() {
        let present = column.present.iter().filter(|present| **present).count() as u64;
        assert_eq!(reader.embedding_count(number), Some(present), "of {}", column.hashes.len());
    }
    let batches: Vec<HashesBatch> = reader.collect::<Result<_, _>>()?;
    let ids: Vec<String> = batches.iter().flat_map(|batch| batch.ids.clone()).collect();
    assert_eq!(ids, written.ids);
    for (number, column) in written.columns.iter().enumerate() {
        let hashes: Vec<_> = batches.iter().flat_map(|batch| batch.hashes[number].clone()).collect();
        assert_eq!(hashes, column.hashes);
    }
    Ok(())
}

#[test]
fn a_part_without_rows_or_modalities_opens() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join(part_name(0));
    write(&path, &[])?;
    assert_eq!(read(&path)?, schema().empty_batch());
    let mut writer = EmbeddingsWriter::create(&path, &EmbeddingsSchema::default())?;
    writer.write(&EmbeddingsBatch { ids: vec!["a".to_owned()], columns: Vec::new() })?;
    writer.finish()?;
    assert_eq!(read(&path)?.ids, ["a"]);
    Ok(())
}

#[test]
fn an_unfinished_part_does_not_exist() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join(part_name(0));
    let mut writer = EmbeddingsWriter::create(&path, &schema())?;
    writer.write(&batch(0, 10))?;
    assert!(!path.exists());
    drop(writer);
    assert_eq!(fs_err::read_dir(folder.path())?.count(), 0);
    Ok(())
}

#[test]
fn batches_that_do_not_fit_are_refused() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut writer = EmbeddingsWriter::create(&folder.path().join(part_name(0)), &schema())?;
    let mut fewer = batch(0, 2);
    fewer.columns.pop();
    let mut shorter = batch(0, 2);
    shorter.ids.pop();
    let mut wider = batch(0, 2);
    wider.columns[0].dimension = 5;
    for wrong in [fewer, shorter, wider] {
        assert!(matches!(writer.write(&wrong), Err(SchemaError::Invalid { .. })));
    }
    let backwards = EmbeddingsSchema { modalities: schema().modalities.into_iter().rev().collect() };
    assert!(EmbeddingsWriter::create(&folder.path().join("x"), &backwards).is_err());
    let flat = EmbeddingsSchema { modalities: vec![(Modality::Title, encoder("text", 0))] };
    assert!(EmbeddingsWriter::create(&folder.path().join("x"), &flat).is_err());
    Ok(())
}

/// Opens a file with the column `id` and this metadata.
fn open_foreign(metadata: &[(&str, &str)]) -> Result<(), Box<dyn std::error::Error>> {
    let file = tempfile::NamedTempFile::new()?;
    let ids: arrow::array::ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    let batch = RecordBatch::try_from_iter([("id", ids)])?;
    let metadata = metadata.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), (*value).to_owned()));
    let properties = WriterProperties::builder().set_key_value_metadata(Some(metadata.collect())).build();
    let mut writer = ArrowWriter::try_new(file.reopen()?, batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    writer.close()?;
    EmbeddingsReader::open(file.path())?;
    Ok(())
}

#[test]
fn foreign_and_newer_files_are_refused() {
    let refusal = |metadata: &[(&str, &str)]| open_foreign(metadata).map_err(|error| error.to_string());
    assert!(refusal(&[(FORMAT_VERSION_KEY, "1")]).is_ok());
    assert!(refusal(&[]).is_err_and(|text| text.ends_with("its metadata has no `catalens.format_version`")));
    assert!(refusal(&[(FORMAT_VERSION_KEY, "2")]).is_err_and(|text| text.contains("update Catalens or roll back")));
    let spec = serde_json::to_string(&encoder("text", 4)).unwrap_or_default();
    let version = (FORMAT_VERSION_KEY, "1");
    assert!(
        refusal(&[version, ("catalens.encoder.title", &spec)])
            .is_err_and(|text| text.ends_with("it has 1 columns, expected 3"))
    );
    assert!(refusal(&[version, ("catalens.encoder.title", "{}")]).is_err_and(|text| text.ends_with("is not valid")));
}

#[test]
fn damage_is_an_error_or_other_values() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join(part_name(0));
    write(&path, &[batch(0, 30)])?;
    let bytes = fs_err::read(&path)?;
    for length in 0..bytes.len() {
        fs_err::write(&path, &bytes[..length])?;
        assert!(read(&path).is_err(), "cut to {length}");
    }
    // The row count of the footer is asserted by `read`, so damaged counts are read batch by batch here.
    let mut refused = 0;
    // A prime step, so that every kind of change comes about; all of them take a minute.
    for damaged in crate::arrow_file::damage::flips(&bytes).step_by(37) {
        fs_err::write(&path, &damaged)?;
        let all_read = EmbeddingsReader::open(&path).and_then(|reader| reader.collect::<Result<Vec<_>, _>>());
        refused += usize::from(all_read.is_err());
    }
    assert!(refused > bytes.len() / 37, "{refused} flips were noticed");
    Ok(())
}

proptest! {
    #[test]
    fn any_rows_are_read_back_equal(
        rows in prop::collection::vec(
            ("[a-z é]{0,8}", any::<Option<[u8; 16]>>(), prop::option::of(prop::collection::vec(-1.0..1.0_f32, 4))),
            0..30,
        ),
    ) {
        let mut batch = schema().empty_batch();
        for (id, hash, values) in &rows {
            batch.ids.push(id.clone());
            let values: Option<Vec<f16>> =
                values.as_ref().map(|values| values.iter().map(|value| f16::from_f32(*value)).collect());
            batch.columns[0].push(hash.map(ContentHash), values.as_deref());
            batch.columns[1].push(None, values.as_deref().map(|values| &values[..2]));
        }
        let folder = tempfile::tempdir()?;
        let path = folder.path().join(part_name(0));
        write(&path, std::slice::from_ref(&batch)).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(read(&path).map_err(|error| TestCaseError::fail(error.to_string()))?, batch);
    }
}

//! What is written is read back equal, without copies, and damage is an error.

use half::f16;
use proptest::prelude::*;

use super::*;
use crate::SchemaError;
use crate::arrow_file::damage;
use crate::map::MappedFile;

type Outcome = Result<(), Box<dyn std::error::Error>>;
type Rows = Vec<[Option<Vec<f16>>; 2]>;

const COLUMNS: [ModalityColumn; 2] = [
    ModalityColumn { modality: Modality::Title, dimension: 4 },
    ModalityColumn { modality: Modality::Image, dimension: 3 },
];

fn rows(count: usize) -> Rows {
    let embedding = |row: usize, dimension: usize| -> Vec<f16> {
        (0..dimension).map(|value| f16::from_f32((row % 1000) as f32 + value as f32 / 8.0)).collect()
    };
    let row = |row: usize| {
        [(!row.is_multiple_of(3)).then(|| embedding(row, 4)), (!row.is_multiple_of(2)).then(|| embedding(row, 3))]
    };
    (0..count).map(row).collect()
}

fn write(rows: &Rows, columns: &[ModalityColumn]) -> Result<(tempfile::NamedTempFile, Vec<u8>), SchemaError> {
    let file = tempfile::NamedTempFile::new().map_err(SchemaError::io("temporary file".as_ref()))?;
    let mut writer = ModalitiesWriter::create(file.path(), columns)?;
    for row in rows {
        writer.write(&row.each_ref().map(Option::as_deref))?;
    }
    assert_eq!(writer.finish()?, rows.len() as u64);
    let bytes = fs_err::read(file.path()).map_err(SchemaError::io(file.path()))?;
    Ok((file, bytes))
}

#[test]
fn embeddings_of_several_batches_are_read_back() -> Outcome {
    let rows = rows(DEFAULT_BATCH_ROWS + 5);
    let (file, _) = write(&rows, &COLUMNS)?;
    let reader = ModalitiesReader::open(MappedFile::open(file.path())?, &COLUMNS)?;
    assert_eq!((reader.row_count(), reader.batch_count()), (rows.len() as u64, 2));
    assert_eq!(reader.columns(), COLUMNS);
    for (row, embeddings) in rows.iter().enumerate() {
        for (column, embedding) in embeddings.iter().enumerate() {
            assert_eq!(reader.embedding(column, row as u32)?, embedding.as_deref());
        }
    }
    let slice = reader.slice(1, 1)?;
    assert_eq!((slice.first_row as usize, slice.rows, slice.dimension), (DEFAULT_BATCH_ROWS, 5, 3));
    for place in 0..slice.rows {
        assert_eq!(slice.embedding(place), rows[DEFAULT_BATCH_ROWS + place][1].as_deref());
    }
    assert!(matches!(reader.embedding(0, rows.len() as u32), Err(SchemaError::Invalid { .. })));
    assert!(matches!(reader.embedding(2, 0), Err(SchemaError::Invalid { .. })));
    assert!(matches!(reader.slice(0, 2), Err(SchemaError::Invalid { .. })));
    Ok(())
}

#[test]
fn values_lie_in_the_map_and_are_aligned() -> Outcome {
    let (file, _) = write(&rows(100), &COLUMNS)?;
    let file = MappedFile::open(file.path())?;
    let map = file.bytes().as_ptr_range();
    let reader = ModalitiesReader::open(file.clone(), &COLUMNS)?;
    for column in 0..COLUMNS.len() {
        let values = reader.slice(column, 0)?.values.as_ptr_range();
        assert!(map.start <= values.start.cast() && values.end.cast() <= map.end, "the values were copied");
        assert_eq!(values.start.addr() % 64, 0);
    }
    Ok(())
}

#[test]
fn wide_rows_end_a_batch_early() -> Outcome {
    let wide = ModalityColumn { modality: Modality::Title, dimension: DEFAULT_BATCH_BYTES / 4 };
    let file = tempfile::NamedTempFile::new()?;
    let mut writer = ModalitiesWriter::create(file.path(), &[wide])?;
    for _ in 0..3 {
        writer.write(&[None])?;
    }
    assert_eq!(writer.finish()?, 3);
    assert_eq!(ModalitiesReader::open(MappedFile::open(file.path())?, &[wide])?.batch_count(), 2);
    Ok(())
}

#[test]
fn files_without_rows_or_columns_open() -> Outcome {
    let (file, _) = write(&Vec::new(), &COLUMNS)?;
    assert_eq!(ModalitiesReader::open(MappedFile::open(file.path())?, &COLUMNS)?.row_count(), 0);
    let mut writer = ModalitiesWriter::create(file.path(), &[])?;
    writer.write(&[])?;
    writer.finish()?;
    assert_eq!(ModalitiesReader::open(MappedFile::open(file.path())?, &[])?.row_count(), 1);
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused() -> Outcome {
    let (file, _) = write(&rows(3), &COLUMNS)?;
    let open = |columns: &[ModalityColumn]| {
        MappedFile::open(file.path()).and_then(|file| ModalitiesReader::open(file, columns)).map(|_| ())
    };
    let text = "it has the column `title: FixedSizeList(4 x non-null Float16)` where \
                `title: FixedSizeList(5 x non-null Float16)` is expected";
    let wider = [ModalityColumn { dimension: 5, ..COLUMNS[0] }, COLUMNS[1]];
    let message = open(&wider).map_err(|error| error.to_string());
    assert!(message.as_ref().is_err_and(|got| got.replace('"', "").ends_with(text)), "{message:?}");
    assert!(open(&[COLUMNS[1], COLUMNS[0]]).is_err());
    assert!(open(&COLUMNS[..1]).is_err());

    let folder = tempfile::tempdir()?;
    let path = folder.path().join("modalities.arrow");
    assert!(ModalitiesWriter::create(&path, &[COLUMNS[0], COLUMNS[0]]).is_err());
    assert!(ModalitiesWriter::create(&path, &[ModalityColumn { dimension: 0, ..COLUMNS[0] }]).is_err());
    let mut writer = ModalitiesWriter::create(&path, &COLUMNS)?;
    assert!(matches!(writer.write(&[None]), Err(SchemaError::Invalid { .. })));
    let short = [f16::ZERO; 3];
    assert!(matches!(writer.write(&[Some(&short), None]), Err(SchemaError::Invalid { .. })));
    writer.write(&[None, Some(&short)])?;
    assert_eq!(writer.finish()?, 1);
    Ok(())
}

fn read_all(bytes: Vec<u8>) -> Result<(), SchemaError> {
    let reader = ModalitiesReader::open(MappedFile::from_bytes("damaged".as_ref(), bytes), &COLUMNS)?;
    for row in 0..reader.row_count() {
        for column in 0..COLUMNS.len() {
            reader.embedding(column, row as u32)?;
        }
    }
    Ok(())
}

#[test]
fn damage_is_an_error_or_other_values() -> Outcome {
    let (_file, bytes) = write(&rows(20), &COLUMNS)?;
    assert!(read_all(bytes.clone()).is_ok());
    for length in 0..bytes.len() {
        assert!(read_all(bytes[..length].to_vec()).is_err(), "cut to {length}");
    }
    let refused = damage::flips(&bytes).filter(|bytes| read_all(bytes.clone()).is_err()).count();
    assert!(refused > bytes.len() / 8, "{refused} of {} flips were noticed", bytes.len() * damage::FLIPS_PER_BYTE);
    Ok(())
}

proptest! {
    #[test]
    fn any_embeddings_are_read_back_equal(bits in prop::collection::vec(prop::option::of(any::<[u16; 4]>()), 0..40)) {
        let embedding = |bits: &[u16]| bits.iter().map(|bits| f16::from_bits(*bits)).collect::<Vec<f16>>();
        let rows: Rows = bits
            .iter()
            .map(|bits| [bits.map(|bits| embedding(&bits)), bits.map(|bits| embedding(&bits[1..]))])
            .collect();
        let (file, _) = write(&rows, &COLUMNS).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let reader = MappedFile::open(file.path()).and_then(|file| ModalitiesReader::open(file, &COLUMNS));
        let reader = reader.map_err(|error| TestCaseError::fail(error.to_string()))?;
        for (row, embeddings) in rows.iter().enumerate() {
            for (column, embedding) in embeddings.iter().enumerate() {
                let read = reader.embedding(column, row as u32).map_err(|error| TestCaseError::fail(error.to_string()))?;
                // By bits: NaN is not equal to itself.
                let bits = |values: &[f16]| values.iter().map(|value| value.to_bits()).collect::<Vec<u16>>();
                prop_assert_eq!(read.map(bits), embedding.as_deref().map(bits));
            }
        }
    }
}

//! The files of a snapshot, read through maps. Invariant: damaged bytes give an error or other values; what opens can be
//! read from its first row to its last.

use std::path::Path;

use schemas::items::{ITEMS_FILE, ItemsReader};
use schemas::manifest::MANIFEST_FILE;
use schemas::modalities::{MODALITIES_FILE, ModalitiesReader, ModalityColumn};
use schemas::{Manifest, MappedFile, Row};
use searcher::example;

/// Rows of a file that are looked at: a damaged count may promise four billion.
const READ_ROWS: u64 = 1000;

/// A file of the example snapshot.
fn example_file(name: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    example::write_snapshot(folder.path(), &example::items()).unwrap();
    fs_err::read(folder.path().join(name)).unwrap()
}

/// What is read is written and read back equal.
pub(crate) fn manifest(data: &[u8]) {
    let path = Path::new(MANIFEST_FILE);
    if let Ok(manifest) = Manifest::from_bytes(path, data) {
        assert_eq!(Manifest::from_bytes(path, &manifest.to_bytes()).unwrap(), manifest);
    }
}

pub(crate) fn manifest_seeds() -> Vec<Vec<u8>> {
    vec![example_file(MANIFEST_FILE), br#"{"format_version": 99}"#.to_vec(), b"{}".to_vec()]
}

/// Every row is an item or an error, and the ids are the items' own.
pub(crate) fn items(data: &[u8]) {
    let map = MappedFile::from_bytes(Path::new(ITEMS_FILE), data.to_vec());
    let Ok(reader) = ItemsReader::open(map, &example::fields()) else { return };
    let rows = reader.row_count().min(READ_ROWS) as Row;
    for row in 0..rows {
        if let Ok(item) = reader.item(row) {
            assert_eq!(reader.id(row).unwrap(), item.id);
            assert_eq!(item.fields.len(), example::fields().len());
        }
    }
    for batch in 0..reader.batch_count().min(READ_ROWS as usize) {
        if let Ok((first_row, batch)) = reader.batch(batch) {
            assert!(u64::from(first_row) + batch.num_rows() as u64 <= reader.row_count());
        }
    }
    assert!(reader.item(Row::MAX).is_err() || reader.row_count() > u64::from(Row::MAX));
}

pub(crate) fn items_seeds() -> Vec<Vec<u8>> {
    vec![example_file(ITEMS_FILE)]
}

/// Every row has an embedding of the column's length, none, or an error.
pub(crate) fn modalities(data: &[u8]) {
    let columns = example::MODALITIES.map(|modality| ModalityColumn { modality, dimension: example::DIMENSION });
    let map = MappedFile::from_bytes(Path::new(MODALITIES_FILE), data.to_vec());
    let Ok(reader) = ModalitiesReader::open(map, &columns) else { return };
    for row in 0..reader.row_count().min(READ_ROWS) as Row {
        for column in 0..columns.len() {
            if let Ok(Some(embedding)) = reader.embedding(column, row) {
                assert_eq!(embedding.len(), example::DIMENSION);
            }
        }
    }
    for batch in 0..reader.batch_count().min(READ_ROWS as usize) {
        if let Ok(slice) = reader.slice(0, batch) {
            assert_eq!(slice.values.len(), slice.rows * slice.dimension);
        }
    }
}

pub(crate) fn modalities_seeds() -> Vec<Vec<u8>> {
    vec![example_file(MODALITIES_FILE)]
}

//! What other programs rely on: the files of a store, read without our readers where that is possible.

use arrow::array::{Array, AsArray};
use arrow::datatypes::Float16Type;
use serde_json::Value;

use crate::harness::{Folder, copy_folder, fixture_store, indexer, searcher};

fn snapshot_folder(store: &std::path::Path) -> std::path::PathBuf {
    let current = fs_err::read_to_string(store.join("CURRENT")).unwrap();
    store.join("snapshots").join(current.trim())
}

fn manifest(store: &std::path::Path) -> Value {
    serde_json::from_slice(&fs_err::read(snapshot_folder(store).join("manifest.json")).unwrap()).unwrap()
}

#[test]
fn the_manifest_names_every_file_with_size_and_checksum() {
    let folder = snapshot_folder(fixture_store());
    let manifest = manifest(fixture_store());
    let files = manifest["files"].as_object().unwrap();
    for name in ["items.arrow", "vector/fused.usearch", "vector/modalities.arrow", "keyword/meta.json"] {
        assert!(files.contains_key(name), "{name}");
    }
    for (name, entry) in files {
        let bytes = fs_err::read(folder.join(name)).unwrap();
        assert_eq!(entry["bytes"], bytes.len(), "{name}");
        assert_eq!(entry["blake3"].as_str().unwrap().len(), 64, "{name}");
    }
    assert_eq!(manifest["format_version"], 1);
    assert_eq!(manifest["vector"]["scalar"]["kind"], "i8");
    let weights = manifest["modalities"].as_array().unwrap().iter().map(|one| one["weight"].as_f64().unwrap());
    assert!((weights.sum::<f64>() - 1.0).abs() < 1e-6);
}

#[test]
fn any_arrow_reader_reads_items_and_embeddings_row_by_row() {
    let folder = snapshot_folder(fixture_store());
    let read = |name: &str| {
        let file = fs_err::File::open(folder.join(name)).unwrap();
        let reader = arrow::ipc::reader::FileReader::try_new(file, None).unwrap();
        let batches: Vec<_> = reader.map(Result::unwrap).collect();
        arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
    };
    let (items, modalities) = (read("items.arrow"), read("vector/modalities.arrow"));
    assert_eq!(items.num_rows(), modalities.num_rows());
    let ids = items.column_by_name("id").unwrap().as_string::<i32>();
    let images = items.column_by_name("image").unwrap();
    let embeddings = modalities.column_by_name("image").unwrap().as_fixed_size_list();
    let mut with_picture = 0;
    for row in 0..items.num_rows() {
        assert!(ids.value(row).starts_with('p'));
        assert_eq!(images.is_valid(row), embeddings.is_valid(row), "row {row}");
        if embeddings.is_valid(row) {
            with_picture += 1;
            let embedding = embeddings.value(row);
            let values = embedding.as_primitive::<Float16Type>().values();
            let length: f32 = values.iter().map(|value| value.to_f32().powi(2)).sum();
            assert!((length - 1.0).abs() < 5e-3, "row {row}: {length}");
        }
    }
    assert!(with_picture > 1_000);
}

#[test]
fn embeddings_parquet_has_ids_hashes_embeddings_and_encoder_specs() {
    let path = fixture_store().join("embeddings/partition=00000/part-00000.parquet");
    let file = fs_err::File::open(path).unwrap().into_parts().0;
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let metadata = reader.metadata().file_metadata().key_value_metadata().unwrap().clone();
    let value = |key: &str| metadata.iter().find(|entry| entry.key == key).and_then(|entry| entry.value.clone());
    let spec: Value = serde_json::from_str(&value("catalens.encoder.image").unwrap()).unwrap();
    assert_eq!(spec["architecture"], "clip_image");
    assert!(value("catalens.format_version").is_some());
    let batch = reader.build().unwrap().next().unwrap().unwrap();
    let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    let columns = ["id", "title_hash", "title_embedding", "description_hash", "description_embedding", "image_hash"];
    assert_eq!(names[..6], columns);
    let dimension = spec["dimension"].as_u64().unwrap() as i32;
    assert_eq!(batch.column_by_name("image_embedding").unwrap().as_fixed_size_list().value_length(), dimension);
}

#[test]
fn a_store_that_is_moved_works() {
    let folder = Folder::new();
    copy_folder(fixture_store(), &folder.path("elsewhere/store"));
    let store = folder.path("elsewhere/store");
    searcher(["search", "red mug", "--store"]).arg(&store).output().expect_code(0);
    indexer(["verify", "--store"]).arg(&store).output().expect_code(0);
}

#[test]
fn a_read_only_snapshot_opens_and_nothing_is_written_into_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let store = folder.path("store");
    copy_folder(fixture_store(), &store);
    let snapshot = snapshot_folder(&store);
    let before = schemas::durable::list_files(&snapshot).unwrap();
    let set_mode = |path: &std::path::Path, mode| {
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for name in &before {
        set_mode(&snapshot.join(name), 0o444);
    }
    for name in ["keyword", "vector", ""] {
        set_mode(&snapshot.join(name), 0o555);
    }
    searcher(["search", "red mug", "--store"]).arg(&store).output().expect_code(0);
    assert_eq!(schemas::durable::list_files(&snapshot).unwrap(), before);
    for name in ["keyword", "vector", ""] {
        set_mode(&snapshot.join(name), 0o755);
    }
}

#[test]
fn a_newer_format_is_refused_with_advice() {
    let folder = Folder::new();
    let store = folder.path("store");
    copy_folder(fixture_store(), &store);
    let mut manifest = manifest(&store);
    manifest["format_version"] = Value::from(999);
    fs_err::write(snapshot_folder(&store).join("manifest.json"), manifest.to_string()).unwrap();
    let output = searcher(["search", "mug", "--store"]).arg(&store).output().expect_code(2);
    output.expect_stderr(&["manifest.json", "999", "update Catalens"]);
}

#[test]
fn every_damaged_file_is_found_by_verify_and_named() {
    let names: Vec<String> = manifest(fixture_store())["files"].as_object().unwrap().keys().cloned().collect();
    let folder = Folder::new();
    let store = folder.path("store");
    copy_folder(fixture_store(), &store);
    let snapshot = snapshot_folder(&store);
    for name in &names {
        let path = snapshot.join(name);
        let whole = fs_err::read(&path).unwrap();
        let mut flipped = whole.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        fs_err::write(&path, &flipped).unwrap();
        indexer(["verify", "--store"]).arg(&store).output().expect_code(2).expect_stderr(&[name]);
        fs_err::write(&path, &whole[..whole.len() - 1]).unwrap();
        indexer(["verify", "--store"]).arg(&store).output().expect_code(2).expect_stderr(&[name]);
        searcher(["search", "mug", "--store"]).arg(&store).output().expect_code(2).expect_stderr(&[name]);
        fs_err::remove_file(&path).unwrap();
        searcher(["search", "mug", "--store"]).arg(&store).output().expect_code(2).expect_stderr(&[name]);
        fs_err::write(&path, &whole).unwrap();
    }
    fs_err::write(snapshot.join("stray"), "x").unwrap();
    indexer(["verify", "--store"]).arg(&store).output().expect_code(2).expect_stderr(&["stray"]);
}

//! What of earlier nights is kept: files that stay, encoders that change, parts that are damaged.

use std::collections::BTreeMap;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use parquet::file::reader::{FileReader, SerializedFileReader};
use schemas::embeddings::{EmbeddingsReader, EmbeddingsWriter};
use schemas::{Manifest, SnapshotId};
use serde_json::{Value, json};

use crate::harness::{Folder, copy_folder, fixture_encoders, indexer, root};

fn catalog(ids: std::ops::Range<u32>) -> String {
    let row = |id| json!({"id": format!("i{id}"), "title": format!("oak table {id}"), "description": "a table"});
    ids.map(|id| row(id).to_string() + "\n").collect()
}

/// Inode and time of change of every embeddings part of a store.
fn parts(store: &Path) -> BTreeMap<PathBuf, (u64, std::time::SystemTime)> {
    use std::os::unix::fs::MetadataExt;
    let embeddings = store.join("embeddings");
    let files = schemas::durable::list_files(&embeddings).unwrap();
    let paths = files.into_iter().filter(|name| name.ends_with(".parquet")).map(|name| embeddings.join(name));
    paths
        .map(|path| (path.clone(), fs_err::metadata(&path).unwrap()))
        .map(|(path, file)| (path, (file.ino(), file.modified().unwrap())))
        .collect()
}

/// Three parts in one partition.
fn three_parts() -> Folder {
    let folder = Folder::new();
    folder.config("items.jsonl", &(fixture_encoders() + "[encode]\npartitions = 1\npart_rows = 10\n"));
    folder.write("items.jsonl", catalog(0..30));
    folder.publish();
    assert_eq!(parts(&folder.path("store")).len(), 3);
    folder
}

#[test]
fn an_unchanged_night_writes_no_embeddings_file() {
    let folder = three_parts();
    let before = parts(&folder.path("store"));
    let report = folder.publish();
    assert_eq!(report["encoded"], json!({"title": 0, "description": 0, "image": 0}));
    assert_eq!(report["pipeline"]["tokens"], 0);
    assert_eq!(report["pipeline"]["modalities"]["title"]["embeddings_per_second"], Value::Null);
    assert_eq!(parts(&folder.path("store")), before);
}

#[test]
fn a_changed_row_writes_its_part_and_no_other() {
    let folder = three_parts();
    let before = parts(&folder.path("store"));
    folder.write("items.jsonl", catalog(0..30).replace("oak table 15", "ash table 15"));
    let report = folder.publish();
    assert_eq!(report["encoded"], json!({"title": 1, "description": 0, "image": 0}));
    assert_eq!(report["kept"], json!({"title": 29, "description": 30, "image": 0}));
    let after = parts(&folder.path("store"));
    assert_eq!((after.len(), after.iter().filter(|part| before.get(part.0) == Some(part.1)).count()), (3, 2));
    let work = &report["pipeline"]["modalities"]["title"];
    assert_eq!(work["embeddings"], 1);
    assert!(work["tokens"].as_u64().unwrap() >= 3 && work["embeddings_per_second"].as_f64().unwrap() > 0.0);
    for stage in ["read", "prepare", "encode", "write"] {
        let seconds = &report["pipeline"]["stages"][stage];
        for name in ["busy", "waiting_for_input", "waiting_for_room"] {
            assert!(seconds[name].as_f64().unwrap() >= 0.0, "{stage} {name}");
        }
    }
    assert!(["read", "prepare", "encode", "write"].contains(&report["pipeline"]["bottleneck"].as_str().unwrap()));
}

#[test]
fn another_encoder_encodes_its_modality_again_and_no_other() {
    let folder = Folder::new();
    folder.write("items.jsonl", catalog(0..12));
    copy_folder(&root().join("fixtures/model"), &folder.path("other"));
    let tokenizer_config = folder.path("other/tokenizer_config.json");
    let mut changed: Value = serde_json::from_slice(&fs_err::read(&tokenizer_config).unwrap()).unwrap();
    changed["model_max_length"] = json!(16);
    fs_err::write(&tokenizer_config, changed.to_string()).unwrap();
    folder.config("items.jsonl", &fixture_encoders());
    folder.publish();
    let model = root().join("fixtures/model");
    let sections = format!(
        "[encoders.title]\nmodel = 'other'\n[encoders.description]\nmodel = '{}'\n[encoders.image]\nmodel = '{}'\n",
        model.display(),
        model.display()
    );
    folder.config("items.jsonl", &sections);
    let report = folder.publish();
    assert_eq!(report["encode_reasons"]["title"], json!({"encoder_changed": 12}));
    assert_eq!(report["encoded"], json!({"title": 12, "description": 0, "image": 0}));
    assert_eq!(report["kept"]["description"], 12);
    assert_eq!(folder.publish()["kept"]["title"], 12);
}

/// The hash of a file, or of text.
fn hash(folder: &Folder, text: &str) -> String {
    schemas::durable::checksum_file(&folder.write("hashed", text)).unwrap().blake3
}

/// Makes of a store one that was written when pictures were decoded by version 1 of the preprocessing: other specs in the
/// parts and the manifest, and so another name of the snapshot.
fn make_earlier(folder: &Folder) {
    let preprocessor = root().join("fixtures/model/preprocessor_config.json");
    let file = schemas::durable::checksum_file(&preprocessor).unwrap().blake3;
    let version_1 = hash(folder, &format!("preprocessor_config.json\n{file}\n"));
    let store = folder.path("store");
    let mut changed = 0;
    for path in parts(&store).into_keys() {
        let reader = EmbeddingsReader::open(&path).unwrap();
        let mut schema = reader.schema().clone();
        for (_, spec) in schema.modalities.iter_mut().filter(|(modality, _)| !modality.is_text()) {
            assert_eq!(spec.preprocessing, hash(folder, &format!("{version_1}\n2\n")), "the recipe of version 2");
            spec.preprocessing.clone_from(&version_1);
            changed += 1;
        }
        let batches: Vec<_> = reader.map(Result::unwrap).collect();
        let mut writer = EmbeddingsWriter::create(&path, &schema).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        writer.finish().unwrap();
    }
    assert!(changed > 0);
    let current = fs_err::read_to_string(store.join("CURRENT")).unwrap();
    let snapshot = store.join("snapshots").join(current.trim());
    let path = snapshot.join("manifest.json");
    let mut manifest = Manifest::from_bytes(&path, &fs_err::read(&path).unwrap()).unwrap();
    for modality in manifest.modalities.iter_mut().filter(|one| !one.modality.is_text()) {
        modality.encoder.preprocessing.clone_from(&version_1);
    }
    // It has the specs' fingerprints in it.
    manifest.inputs = Some("of an earlier version".to_owned());
    fs_err::write(&path, manifest.to_bytes()).unwrap();
    let digest = schemas::durable::checksum_file(&path).unwrap().blake3;
    let id = SnapshotId::new(&current[..SnapshotId::TIME_CHARACTERS], &digest).unwrap();
    fs_err::rename(&snapshot, snapshot.with_file_name(id.as_str())).unwrap();
    fs_err::write(store.join("CURRENT"), format!("{id}\n")).unwrap();
}

#[test]
fn another_preprocessing_version_encodes_pictures_again_and_the_earlier_snapshot_answers_until_then() {
    let folder = Folder::new();
    let colours = [[200, 30, 30], [30, 200, 30], [30, 30, 200]];
    let rows = colours.iter().enumerate().map(|(number, colour)| {
        folder.picture(&format!("{number}.png"), 60, 40, *colour);
        json!({"id": format!("i{number}"), "title": format!("mug {number}"), "image": format!("{number}.png")})
    });
    let rows: String = rows.map(|row| row.to_string() + "\n").collect();
    folder.write("items.jsonl", rows);
    folder.config("items.jsonl", &fixture_encoders());
    folder.publish();
    let picture = folder.path("2.png").display().to_string();
    let question = ["--image", &picture, "--mode", "vector"];
    let before = folder.hits(&question);
    assert_eq!(before[0], "i2");

    make_earlier(&folder);
    assert_eq!(folder.hits(&question), before, "a snapshot of the earlier version takes pictures as queries");
    indexer(["verify", "--store"]).arg(folder.path("store")).output().expect_code(0);
    let report = folder.publish();
    assert_eq!(report["encode_reasons"]["image"], json!({"encoder_changed": 3}));
    assert_eq!(report["encoded"], json!({"title": 0, "description": 0, "image": 3}));
    assert_eq!(report["kept"]["title"], 3);
    assert_eq!(folder.publish()["encoded"]["image"], 0);
}

/// Overwrites the header of the first page of the titles' embeddings; ids and hashes stay readable.
fn damage_embeddings(part: &Path) {
    let reader = SerializedFileReader::new(std::fs::File::open(part).unwrap()).unwrap();
    let column = reader.metadata().row_group(0).column(2);
    assert_eq!(column.column_path().parts()[0], "title_embedding");
    let offset = column.data_page_offset() as u64;
    let mut file = fs_err::OpenOptions::new().write(true).open(part).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(&[0xff; 16]).unwrap();
}

#[test]
fn rows_of_a_part_with_damaged_embeddings_are_encoded_again() {
    let folder = three_parts();
    let second = folder.path("store/embeddings/partition=00000/part-00001.parquet");
    damage_embeddings(&second);
    // A changed row of that part: the others' embeddings would be copied from it.
    folder.write("items.jsonl", catalog(0..30).replace("oak table 15", "ash table 15"));
    let run = folder.run().expect_code(0).expect_stderr(&["earlier embeddings cannot be read", "part-00001"]);
    let report = run.json();
    assert_eq!(report["encode_reasons"]["title"], json!({"content_changed": 1, "new_item": 9}));
    assert_eq!((&report["kept"]["title"], &report["items"]), (&json!(20), &json!(30)));
    assert!(!second.exists(), "what replaces it is published");
    assert_eq!(folder.publish()["encoded"]["title"], 0);
}

#[test]
fn a_damaged_part_that_nothing_made_anyone_read_is_set_aside_for_the_next_run() {
    let folder = three_parts();
    damage_embeddings(&folder.path("store/embeddings/partition=00000/part-00001.parquet"));
    let current = fs_err::read(folder.path("store/CURRENT")).unwrap();
    assert_eq!(folder.publish()["outcome"], "unchanged", "nothing needs the part");
    let rebuild = indexer(["run", "--rebuild", "--config"]).arg(folder.path("catalens.toml")).output();
    rebuild.expect_code(2).expect_stderr(&["part-00001.parquet", "set aside", "run again"]);
    assert_eq!(fs_err::read(folder.path("store/CURRENT")).unwrap(), current, "the old snapshot serves");
    let report = folder.publish();
    assert_eq!(report["encode_reasons"]["title"], json!({"new_item": 10}));
    assert_eq!(schemas::durable::list_files(&folder.path("store/embeddings")).unwrap().len(), 4, "parts and layout");
}

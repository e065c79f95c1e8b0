//! Wrong clocks, other machines, other versions: what a store goes through in years.

use std::sync::Arc;

use arrow::array::{Int32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use serde_json::{Value, json};

use crate::harness::{Folder, copy_folder, fixture_encoders, fixture_store, indexer, root, searcher};

fn snapshots(folder: &Folder) -> Vec<String> {
    let status = indexer(["status", "--json", "--store"]).arg(folder.path("store")).output().expect_code(0).json();
    status["snapshots"].as_array().unwrap().iter().map(|one| one["snapshot"].as_str().unwrap().to_owned()).collect()
}

fn write_catalog(folder: &Folder, word: &str) {
    folder.write("items.jsonl", format!("{}\n", json!({"id": "a", "title": format!("{word} mug")})));
}

#[test]
fn ids_stay_in_the_order_of_publishing_when_the_clock_goes_back_and_after_a_rollback() {
    let folder = Folder::new();
    folder.config("items.jsonl", "");
    let publish = |word: &str| {
        write_catalog(&folder, word);
        folder.publish()["snapshot"].as_str().unwrap().to_owned()
    };
    // The clock was far ahead once: the snapshot of that night has a name of the future.
    let today = publish("first");
    let future = format!("20990101T000000Z{}", &today[16..]);
    fs_err::rename(folder.path("store/snapshots").join(&today), folder.path("store/snapshots").join(&future)).unwrap();
    folder.write("store/CURRENT", format!("{future}\n"));
    let second = publish("second");
    assert!(second.starts_with("20990101T000001Z-"), "{second}");

    indexer(["rollback", "--store"]).arg(folder.path("store")).output().expect_code(0);
    assert_eq!(fs_err::read_to_string(folder.path("store/CURRENT")).unwrap().trim(), future);
    let third = publish("third");
    assert!(third.starts_with("20990101T000002Z-"), "after one that is not its parent: {third}");
    assert_eq!(snapshots(&folder), [future.clone(), second.clone(), third.clone()]);
    assert_eq!(folder.hits(&["mug", "--mode", "keyword"]), ["a"]);

    indexer(["rollback", "--store"]).arg(folder.path("store")).output().expect_code(0);
    assert_eq!(fs_err::read_to_string(folder.path("store/CURRENT")).unwrap().trim(), second);
    indexer(["prune", "--keep", "1", "--store"]).arg(folder.path("store")).output().expect_code(0);
    assert_eq!(snapshots(&folder), [second, third]);
}

#[test]
fn the_last_second_of_the_calendar_is_an_error_and_no_crash() {
    let folder = Folder::new();
    folder.config("items.jsonl", "");
    write_catalog(&folder, "first");
    let today = folder.publish()["snapshot"].as_str().unwrap().to_owned();
    let last = format!("99991231T235959Z{}", &today[16..]);
    fs_err::rename(folder.path("store/snapshots").join(&today), folder.path("store/snapshots").join(&last)).unwrap();
    folder.write("store/CURRENT", format!("{last}\n"));
    write_catalog(&folder, "second");
    let output = folder.run();
    assert!(!output.stderr.contains("panicked"), "{output}");
    assert_eq!(folder.hits(&["mug", "--mode", "keyword"]), ["a"]);
}

#[test]
fn a_store_that_was_copied_and_renamed_goes_on_where_it_was() {
    let folder = Folder::new();
    let store = folder.path("another machine/shop");
    copy_folder(fixture_store(), &store);
    let search = |store: &std::path::Path| {
        let output = searcher(["search", "red mug", "--json", "--store"]).arg(store).output().expect_code(0);
        output.json()["hits"].clone()
    };
    assert_eq!(search(&store), search(fixture_store()));
    indexer(["verify", "--store"]).arg(&store).output().expect_code(0);
    let run = indexer(["run", "--json", "--rebuild", "--config"]).arg(root().join("fixtures/catalens.toml"));
    let report = run.arg("--store").arg(&store).output().expect_code(0).json();
    assert_eq!(report["outcome"], "published");
    for modality in ["title", "description", "image"] {
        assert_eq!(report["encoded"][modality], 0, "{modality}");
        assert!(report["kept"][modality].as_u64().unwrap() > 1_000, "{modality}");
    }
    assert_eq!(search(&store), search(fixture_store()));
    // The original is not needed any more.
    assert!(!fs_err::read_to_string(store.join("CURRENT")).unwrap().is_empty());
}

/// A store with one published snapshot and a part of embeddings.
fn small_store() -> Folder {
    let folder = Folder::new();
    write_catalog(&folder, "red");
    folder.config("items.jsonl", &(fixture_encoders() + "[encode]\npartitions = 1\n"));
    folder.publish();
    folder
}

const ADVICE: &str = "update Catalens";

#[test]
fn a_newer_manifest_is_refused_by_readers_and_writers_until_it_is_rolled_back() {
    let folder = small_store();
    let older = snapshots(&folder).remove(0);
    write_catalog(&folder, "blue");
    let newer = folder.publish()["snapshot"].as_str().unwrap().to_owned();
    let path = folder.path("store/snapshots").join(&newer).join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs_err::read(&path).unwrap()).unwrap();
    manifest["format_version"] = json!(2);
    manifest["modalities"] = json!("of another shape");
    fs_err::write(&path, manifest.to_string()).unwrap();
    let words = ["manifest.json", "version 2", ADVICE];
    folder.search(&["mug"]).expect_code(2).expect_stderr(&words);
    folder.run().expect_code(2).expect_stderr(&words);
    indexer(["verify", "--store"]).arg(folder.path("store")).output().expect_code(2).expect_stderr(&words);
    assert_eq!(snapshots(&folder), [older.clone(), newer]);
    indexer(["rollback", "--store"]).arg(folder.path("store")).output().expect_code(0);
    assert_eq!(fs_err::read_to_string(folder.path("store/CURRENT")).unwrap().trim(), older);
    folder.publish();
    assert_eq!(folder.hits(&["mug", "--mode", "keyword"]), ["a"]);
}

#[test]
fn newer_arrow_files_are_refused_by_name() {
    let folder = small_store();
    let published = folder.path("store/snapshots").join(snapshots(&folder).remove(0));
    for name in ["items.arrow", "vector/modalities.arrow"] {
        // Not named as a snapshot, whose manifest could not be changed to fit.
        let copy = folder.path("copy");
        copy_folder(&published, &copy);
        let metadata = [("catalens.format_version".to_owned(), "2".to_owned())];
        let schema = Schema::new(vec![Field::new("new", DataType::Int32, false)]).with_metadata(metadata);
        let column = Arc::new(Int32Array::from(vec![1]));
        let batch = RecordBatch::try_new(Arc::new(schema), vec![column]).unwrap();
        let file = fs_err::File::create(copy.join(name)).unwrap();
        let mut writer = arrow::ipc::writer::FileWriter::try_new(file, &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        let mut manifest = schemas::Manifest::read(&copy).unwrap();
        manifest.files.insert(name.to_owned(), schemas::durable::checksum_file(&copy.join(name)).unwrap());
        fs_err::write(copy.join("manifest.json"), manifest.to_bytes()).unwrap();
        let search = searcher(["search", "mug", "--mode", "keyword", "--snapshot"]).arg(&copy);
        search.output().expect_code(2).expect_stderr(&[name, "version 2", ADVICE]);
        fs_err::remove_dir_all(&copy).unwrap();
    }
}

#[test]
fn newer_embeddings_layout_and_current_are_refused_and_left_as_they_are() {
    let folder = small_store();
    let part = folder.path("store/embeddings/partition=00000/part-00000.parquet");
    let newer_part = {
        let schema = Arc::new(Schema::new(vec![Field::new("new", DataType::Int32, false)]));
        let key = parquet::file::metadata::KeyValue::new("catalens.format_version".to_owned(), "2".to_owned());
        let properties =
            parquet::file::properties::WriterProperties::builder().set_key_value_metadata(Some(vec![key])).build();
        let mut bytes = Vec::new();
        let mut writer =
            parquet::arrow::ArrowWriter::try_new(&mut bytes, Arc::clone(&schema), Some(properties)).unwrap();
        writer.write(&RecordBatch::try_new(schema, vec![Arc::new(Int32Array::from(vec![1]))]).unwrap()).unwrap();
        writer.close().unwrap();
        bytes
    };
    let newer: [(&std::path::Path, &[u8], &[&str]); 3] = [
        (&part, &newer_part, &["part-00000.parquet", "version 2", ADVICE]),
        (
            &folder.path("store/embeddings/layout.json"),
            b"{\"format_version\":2,\"slices\":[1,2]}",
            &["layout.json", "version 2", ADVICE],
        ),
        (&folder.path("store/CURRENT"), b"{\"snapshot\":\"of another form\"}", &["CURRENT", ADVICE]),
    ];
    for (path, content, words) in newer {
        let whole = fs_err::read(path).unwrap();
        fs_err::write(path, content).unwrap();
        folder.run().expect_code(2).expect_stderr(words);
        assert_eq!(fs_err::read(path).unwrap(), content, "it is left as it is");
        fs_err::write(path, whole).unwrap();
        let report = folder.publish();
        assert_eq!((&report["outcome"], &report["encoded"]["title"]), (&json!("unchanged"), &json!(0)));
    }
}

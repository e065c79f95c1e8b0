//! Bad rows, pictures and configurations: each has its outcome, and none stops the night for the others.

use serde_json::{Value, json};

use crate::harness::{Folder, fixture_encoders, indexer};

/// Rejects of the last run: (line, id, kind).
pub(crate) fn rejects(report: &Value) -> Vec<(u64, Option<String>, String)> {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::UInt64Type;
    let file = fs_err::File::open(report["rejects_file"].as_str().unwrap()).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file.into_parts().0);
    let mut rejects = Vec::new();
    for batch in reader.unwrap().build().unwrap() {
        let batch = batch.unwrap();
        let column = |name: &str| batch.column_by_name(name).unwrap();
        let (lines, ids, kinds) = (column("line"), column("id"), column("kind"));
        for row in 0..batch.num_rows() {
            let id = ids.is_valid(row).then(|| ids.as_string::<i32>().value(row).to_owned());
            let line = lines.as_primitive::<UInt64Type>().value(row);
            rejects.push((line, id, kinds.as_string::<i32>().value(row).to_owned()));
        }
    }
    rejects.sort();
    rejects
}

#[test]
fn bad_rows_are_rejected_with_line_and_reason_and_the_others_published() {
    let folder = Folder::new();
    let mut lines: Vec<Vec<u8>> = vec![
        json!({"id": "good", "title": "green kettle", "price": 12.5}).to_string().into(),
        json!({"title": "no id at all"}).to_string().into(),
        json!({"id": "", "title": "empty id"}).to_string().into(),
        json!({"id": "good", "title": "the same id again"}).to_string().into(),
        json!({"id": "typed", "title": "wrong type", "price": "twelve"}).to_string().into(),
        b"{\"id\": \"cut\", \"title\": ".to_vec(),
        b"{\"id\": \"bytes\", \"title\": \"\xff\xfe\"}".to_vec(),
        json!({"id": "nothing"}).to_string().into(),
        json!(["not", "an", "object"]).to_string().into(),
    ];
    lines.push(json!({"id": "last", "title": "blue kettle"}).to_string().into());
    folder.write("items.jsonl", lines.join(&b'\n'));
    folder.config("items.jsonl", "[catalog.fields.price]\ntype = 'float'\n[gates]\nmax_rejected_share = 0.9\n");
    let report = folder.publish();
    assert_eq!((&report["rows"], &report["items"], &report["rejected"]), (&json!(10), &json!(2), &json!(8)));
    let found = rejects(&report);
    let kinds: Vec<(u64, &str)> = found.iter().map(|(line, _, kind)| (*line, kind.as_str())).collect();
    let expected = [
        (2, "missing_id"),
        (3, "missing_id"),
        (4, "duplicate_id"),
        (5, "wrong_type"),
        (6, "malformed"),
        (7, "malformed"),
        (8, "empty"),
        (9, "malformed"),
    ];
    assert_eq!(kinds, expected);
    assert_eq!(found[3].1.as_deref(), Some("typed"));
    let mut hits = folder.hits(&["kettle", "--mode", "keyword"]);
    hits.sort();
    assert_eq!(hits, ["good", "last"]);
}

#[test]
fn bad_pictures_leave_the_modality_absent_and_are_counted() {
    let folder = Folder::new();
    folder.picture("images/good.jpg", 40, 30, [250, 10, 10]);
    let whole = fs_err::read(folder.picture("images/whole.jpg", 300, 300, [10, 250, 10])).unwrap();
    folder.write("images/truncated.jpg", &whole[..whole.len() / 2]);
    folder.write("images/text.jpg", "this is no picture");
    folder.write("outside.jpg", &whole);
    // 60 megapixels by the header of a PNG that compresses to little.
    folder.picture("images/large.png", 10_000, 6_000, [0, 0, 0]);
    let items = [
        ("good", json!("images/good.jpg")),
        ("missing", json!("images/none.jpg")),
        ("truncated", json!("images/truncated.jpg")),
        ("text", json!("images/text.jpg")),
        ("dots", json!("../outside.jpg")),
        ("absolute", json!("/etc/hostname")),
        ("large", json!("images/large.png")),
        ("none", Value::Null),
    ];
    let lines: Vec<String> = items
        .iter()
        .map(|(id, image)| json!({"id": id, "title": format!("lamp {id}"), "image": image}).to_string())
        .collect();
    folder.write("shop/items.jsonl", lines.join("\n"));
    fs_err::rename(folder.path("images"), folder.path("shop/images")).unwrap();
    folder.config("shop/items.jsonl", &fixture_encoders());
    let refused = folder.run().expect_code(1).json();
    assert_eq!(refused["gates"]["max_missing_images"]["passed"], false, "6 of 7 that the catalog names");
    folder.config("shop/items.jsonl", &(fixture_encoders() + "[gates]\nmax_missing_images = 1\n"));
    let report = folder.publish();
    assert_eq!((&report["items"], &report["rejected"]), (&json!(8), &json!(0)), "no row is lost over a picture");
    assert_eq!((&refused["encoded"]["image"], &report["kept"]["image"]), (&json!(1), &json!(1)));
    assert_eq!(report["absent"]["image"], 7);
    let expected = json!({"image_missing": 1, "image_broken": 2, "image_outside_catalog": 2, "image_too_large": 1});
    assert_eq!(report["reject_reasons"], expected);
    assert_eq!(folder.hits(&["lamp", "--mode", "keyword"]).len(), 8);
    // The next night tells of them again and encodes nothing.
    let again = folder.publish();
    assert_eq!(again["reject_reasons"], expected);
    assert_eq!(again["encoded"], json!({"title": 0, "description": 0, "image": 0}));
}

#[test]
fn a_text_of_a_megabyte_is_cut_for_the_encoder_and_found_to_its_end() {
    let folder = Folder::new();
    let text = "soft wool blanket ".repeat(60_000) + "zanzibar";
    assert!(text.len() > 1_000_000);
    let lines = [
        json!({"id": "long", "title": "blanket", "description": text}).to_string(),
        json!({"id": "short", "title": "cushion"}).to_string(),
    ];
    folder.write("items.jsonl", lines.join("\n"));
    folder.config("items.jsonl", &fixture_encoders());
    assert_eq!(folder.publish()["encoded"]["description"], 1);
    assert_eq!(folder.hits(&["zanzibar", "--mode", "keyword"]), ["long"]);
}

#[test]
fn an_empty_catalog_is_refused_and_costs_neither_snapshot_nor_embeddings() {
    let folder = Folder::new();
    folder.config("items.jsonl", &fixture_encoders());
    let catalog = json!({"id": "a", "title": "tea pot"}).to_string();
    folder.write("items.jsonl", &catalog);
    assert_eq!(folder.publish()["encoded"]["title"], 1);
    folder.write("items.jsonl", "");
    folder.run().expect_code(1).expect_stderr(&["min_items", "0 items"]);
    assert_eq!(folder.hits(&["pot", "--mode", "keyword"]), ["a"]);
    folder.write("items.jsonl", &catalog);
    let after = folder.publish();
    assert_eq!((&after["encoded"]["title"], &after["kept"]["title"]), (&json!(0), &json!(1)));
}

#[test]
fn a_catalog_that_is_not_there_or_lacks_a_column_is_an_error_that_says_so() {
    let folder = Folder::new();
    folder.config("none.jsonl", "");
    let failed = folder.run().expect_code(2).expect_stderr(&["none.jsonl"]).json();
    assert_eq!(failed["outcome"], "failed");
    assert!(failed["error"].as_str().unwrap().contains("none.jsonl"), "{failed}");
    folder.write("items.csv", "id,title\na,tea pot\n");
    folder.config("items.csv", "description = 'text'\n");
    folder.run().expect_code(2).expect_stderr(&["text", "title"]);
    folder.write("items.xml", "<items/>");
    folder.config("items.xml", "");
    folder.run().expect_code(2).expect_stderr(&["items.xml"]);
}

/// The catalog of the test below as Parquet.
fn write_parquet(path: &std::path::Path) {
    use arrow::array::{ArrayRef, Float64Array, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder};
    use std::sync::Arc;
    let mut tags = ListBuilder::new(StringBuilder::new());
    tags.append_value([Some("tea"), Some("kitchen")]);
    let columns: [(&str, ArrayRef); 6] = [
        ("id", Arc::new(Int64Array::from(vec![1]))),
        ("title", Arc::new(StringArray::from(vec!["kettle, red"]))),
        ("description", Arc::new(StringArray::from(vec!["two\nlines"]))),
        ("image", Arc::new(StringArray::from(vec![None::<&str>]))),
        ("price", Arc::new(Float64Array::from(vec![9.5]))),
        ("tags", Arc::new(tags.finish())),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn csv_and_parquet_catalogs_give_the_same_items_as_json_lines() {
    let folder = Folder::new();
    let fields = "[catalog.fields.price]\ntype = 'float'\n[catalog.fields.tags]\ntype = 'strings'\nsearched = true\n";
    folder.write(
        "items.csv",
        "id,title,description,image,price,tags\n1,\"kettle, red\",\"two\nlines\",,9.5,tea|kitchen\n",
    );
    folder.write(
        "items.jsonl",
        json!({"id": 1, "title": "kettle, red", "description": "two\nlines", "price": 9.5, "tags": ["tea", "kitchen"]})
            .to_string(),
    );
    write_parquet(&folder.path("items.parquet"));
    let mut results = Vec::new();
    for catalog in ["items.csv", "items.jsonl", "items.parquet"] {
        folder.config(catalog, fields);
        folder.publish();
        results.push(folder.search(&["tea", "--mode", "keyword", "--json"]).expect_code(0).json()["hits"].clone());
    }
    assert_eq!(results[0], results[1]);
    assert_eq!(results[0], results[2]);
    assert_eq!(results[0][0]["price"], 9.5);
    assert_eq!(results[0][0]["tags"], json!(["tea", "kitchen"]));
}

#[test]
fn a_wrong_configuration_names_file_and_key() {
    let folder = Folder::new();
    folder.config("items.jsonl", "[gates]\nmin_itmes = 3\n");
    folder.run().expect_code(2).expect_stderr(&["catalens.toml", "min_itmes"]);
    indexer(["run", "--config", "nowhere.toml"]).output().expect_code(2).expect_stderr(&["nowhere.toml"]);
    indexer(["run"]).output().expect_code(2).expect_stderr(&["--config"]);
    indexer(["run", "--confg", "x"]).output().expect_code(2).expect_stderr(&["--config"]);
    folder.config("items.jsonl", "[encoders.title]\nmodel = 'no-such-folder'\n");
    folder.write("items.jsonl", json!({"id": "a", "title": "tea pot"}).to_string());
    folder.run().expect_code(2).expect_stderr(&["title", "no-such-folder"]);
}

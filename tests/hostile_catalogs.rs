//! Catalogs that are made to break the night, or look like it: bombs, giants, and files that are no files. Each has its
//! outcome and costs bounded memory. The table of all outcomes is `docs/bad-input.md`.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;
use serde_json::{Value, json};

use crate::bad_input::rejects;
use crate::harness::{Folder, indexer, searcher};

/// Nothing here stops because of the share of rejected rows.
const OPEN_GATE: &str = "[gates]\nmax_rejected_share = 1.0\n";
/// Peak memory of a run over rows that are refused, in MiB; a run over one small row takes about 40.
const REFUSED_PEAK: u64 = 400;

/// Publishes; the report and the kinds of the rejects by line.
fn publish(folder: &Folder, catalog: &str) -> (Value, Vec<(u64, String)>, u64) {
    folder.config(catalog, OPEN_GATE);
    let (output, peak) = folder.run_and_peak();
    let report = output.expect_code(0).json();
    let kinds = rejects(&report).into_iter().map(|(line, _, kind)| (line, kind)).collect();
    (report, kinds, peak)
}

fn malformed(lines: &[u64]) -> Vec<(u64, String)> {
    lines.iter().map(|line| (*line, "malformed".to_owned())).collect()
}

#[test]
fn a_bomb_in_gzip_or_zstd_costs_one_row_and_little_memory() {
    let folder = Folder::new();
    let text = vec![b'a'; 1 << 20];
    for name in ["items.jsonl.gz", "items.jsonl.zst"] {
        // A title of 300 MiB, which packs to less than one.
        let file = fs_err::File::create(folder.path(name)).unwrap();
        let mut writer: Box<dyn Write> = if name.ends_with("gz") {
            Box::new(flate2::write::GzEncoder::new(file, flate2::Compression::fast()))
        } else {
            Box::new(zstd::stream::write::Encoder::new(file, 1).unwrap().auto_finish())
        };
        writer.write_all(b"{\"id\": \"bomb\", \"title\": \"").unwrap();
        for _ in 0..300 {
            writer.write_all(&text).unwrap();
        }
        writer.write_all(b"\"}\n{\"id\": \"mug\", \"title\": \"tea mug\"}\n").unwrap();
        drop(writer);
        assert!(fs_err::metadata(folder.path(name)).unwrap().len() < 3 << 20);
        let (report, kinds, peak) = publish(&folder, name);
        assert_eq!((&report["rows"], &report["items"]), (&json!(2), &json!(1)), "{name}");
        assert_eq!(kinds, malformed(&[1]), "{name}");
        assert!(peak < REFUSED_PEAK, "{name}: {peak} MiB");
        assert_eq!(folder.hits(&["mug", "--mode", "keyword"]), ["mug"]);
    }
}

fn write_parquet(path: &std::path::Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = fs_err::File::create(path).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn a_title_of_a_hundred_megabytes_costs_its_row_in_every_format() {
    let folder = Folder::new();
    let title = "red mug ".repeat(100_000_000 / 8);
    folder.write(
        "items.jsonl",
        format!("{{\"id\": \"a\", \"title\": \"{title}\"}}\n{{\"id\": \"b\", \"title\": \"mug\"}}"),
    );
    folder.write("items.csv", format!("id,title\na,{title}\nb,mug\n"));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(StringArray::from(vec!["a", "b"]))),
        ("title", Arc::new(StringArray::from(vec![&title, "mug"]))),
    ];
    write_parquet(&folder.path("items.parquet"), columns);
    for (name, line, bound) in
        [("items.jsonl", 1, REFUSED_PEAK), ("items.csv", 2, REFUSED_PEAK), ("items.parquet", 1, 900)]
    {
        folder.config(name, &format!("description = ''\nimage = ''\n{OPEN_GATE}"));
        let (output, peak) = folder.run_and_peak();
        let report = output.expect_code(0).json();
        let kinds: Vec<(u64, String)> = rejects(&report).into_iter().map(|(line, _, kind)| (line, kind)).collect();
        assert_eq!(kinds, malformed(&[line]), "{name}");
        assert_eq!(report["items"], 1, "{name}");
        assert!(peak < bound, "{name}: {peak} MiB");
    }
}

#[test]
fn a_parquet_dictionary_does_not_unfold_in_memory() {
    let folder = Folder::new();
    // 300 rows share one text of 9 MiB: 2.6 GiB if each had its own.
    let text = "x".repeat(9 << 20);
    let keys: DictionaryArray<Int32Type> =
        std::iter::repeat_n(Some(text.as_str()), 300).chain([Some("tea mug")]).collect();
    let columns: Vec<(&str, ArrayRef)> =
        vec![("id", Arc::new(Int64Array::from_iter_values(0..301))), ("title", Arc::new(keys))];
    write_parquet(&folder.path("items.parquet"), columns);
    assert!(fs_err::metadata(folder.path("items.parquet")).unwrap().len() < 20 << 20);
    folder.config("items.parquet", &format!("description = ''\nimage = ''\n{OPEN_GATE}"));
    let (output, peak) = folder.run_and_peak();
    let report = output.expect_code(0).json();
    assert_eq!((&report["rows"], &report["items"]), (&json!(301), &json!(1)));
    assert!(peak < REFUSED_PEAK, "{peak} MiB");
}

#[test]
fn rows_of_megabytes_are_indexed_in_bounded_memory() {
    let folder = Folder::new();
    // 30 texts of 4 MiB: what a run holds at once must not be all of them.
    let text = "soft wool blanket ".repeat((4 << 20) / 18);
    let lines: Vec<String> = (0..30)
        .map(|row| json!({"id": row, "title": "blanket", "description": format!("{text} zanzibar{row}")}).to_string())
        .collect();
    folder.write("items.jsonl", lines.join("\n"));
    folder.config("items.jsonl", &crate::harness::fixture_encoders());
    let (output, peak) = folder.run_and_peak();
    assert_eq!(output.expect_code(0).json()["items"], 30);
    assert_eq!(folder.hits(&["zanzibar29", "--mode", "keyword"]), ["29"]);
    assert!(peak < 900, "{peak} MiB");
}

#[test]
fn a_million_columns_are_passed_over_or_refused_in_few_words() {
    let folder = Folder::new();
    let keys: Vec<String> = (0..1_000_000).map(|number| format!("\"column{number}\": {number}")).collect();
    folder.write("items.jsonl", format!("{{{}, \"id\": \"a\", \"title\": \"tea mug\"}}", keys.join(", ")));
    let (report, _, peak) = publish(&folder, "items.jsonl");
    assert_eq!(report["items"], 1);
    assert!(peak < REFUSED_PEAK, "{peak} MiB");

    let names: Vec<String> = (0..1_000_000).map(|number| format!("column{number}")).collect();
    folder.write("items.csv", format!("id,title,{}\na,mug\n", names.join(",")));
    folder.config("items.csv", "");
    let (output, peak) = folder.run_and_peak();
    let output = output.expect_code(2).expect_stderr(&["items.csv", "the header line is too long"]);
    assert!(output.stderr.len() < 2_000 && peak < REFUSED_PEAK, "{peak} MiB\n{output}");
    // As many as are read, and none of them the right one: the message lists a few.
    folder.write("items.csv", names[..60_000].join(","));
    let output = folder.run().expect_code(2).expect_stderr(&["has no column `id`", "and 59980 more"]);
    assert!(output.stderr.len() < 2_000, "{output}");
}

#[test]
fn deep_json_is_passed_over_where_it_is_not_read_and_a_wrong_type_where_it_is() {
    let folder = Folder::new();
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    let lines = [
        format!("{{\"id\": \"a\", \"title\": \"tea mug\", \"other\": {deep}}}"),
        format!("{{\"id\": \"b\", \"title\": {deep}}}"),
        format!("{{\"id\": {deep}, \"title\": \"tea mug\"}}"),
        deep,
    ];
    folder.write("items.jsonl", lines.join("\n"));
    let (report, kinds, _) = publish(&folder, "items.jsonl");
    assert_eq!(report["items"], 1);
    let expected = [(2, "wrong_type"), (3, "wrong_type"), (4, "malformed")];
    assert_eq!(kinds, expected.map(|(line, kind)| (line, kind.to_owned())));
}

#[test]
fn of_a_repeated_key_the_last_counts_and_strange_characters_are_kept() {
    let folder = Folder::new();
    let title = "tea\u{0}mug \u{202e}gum\u{202c} \u{7f}\u{9b}31m";
    let id = "a/../b\nc";
    let lines = [
        json!({"id": id, "title": title}).to_string(),
        r#"{"id": "first", "id": "last", "title": "one", "title": "two mug"}"#.to_owned(),
    ];
    folder.write("items.jsonl", lines.join("\n"));
    publish(&folder, "items.jsonl");
    let found = folder.search(&["mug", "--mode", "keyword", "--json"]).expect_code(0).json();
    let mut hits: Vec<(&str, &str)> = found["hits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hit| (hit["id"].as_str().unwrap(), hit["title"].as_str().unwrap()))
        .collect();
    hits.sort_unstable();
    assert_eq!(hits, [(id, title), ("last", "two mug")]);
    // An id with a line feed is found again, and cannot break a run file into lines of its own.
    let filter = "id = \"a/../b\nc\"";
    let found = folder.search(&["mug", "--mode", "keyword", "--filter", filter, "--json"]).expect_code(0).json();
    assert_eq!(found["hits"][0]["id"], id);
    let (queries, qrels) = (folder.write("queries.tsv", "q1\tmug\n"), folder.write("qrels.tsv", "q1 0 last 1\n"));
    let output = searcher(["eval", "--mode", "keyword", "--store"]).arg(folder.path("store"));
    let output =
        output.arg("--queries").arg(queries).arg("--qrels").arg(qrels).arg("--run").arg(folder.path("run.txt"));
    output.output().expect_code(2).expect_stderr(&["has white space, which a run cannot hold"]);
}

#[test]
fn ids_without_bounds_are_refused() {
    let folder = Folder::new();
    let lines = [
        json!({"id": "x".repeat(1025), "title": "mug"}).to_string(),
        json!({"id": "x".repeat(1024), "title": "tea mug"}).to_string(),
    ];
    folder.write("items.jsonl", lines.join("\n"));
    let (report, kinds, _) = publish(&folder, "items.jsonl");
    assert_eq!((&report["items"], kinds), (&json!(1), vec![(1, "wrong_type".to_owned())]));
    assert_eq!(folder.hits(&["mug", "--mode", "keyword"]), ["x".repeat(1024)]);
}

#[test]
fn an_open_quote_costs_its_line_and_not_what_follows() {
    let folder = Folder::new();
    let mut csv = "id,title,description\n".to_owned();
    for row in 0..2000 {
        let quote = if row == 500 { "\"" } else { "" };
        csv.push_str(&format!("p{row},{quote}mug {row},plain\n"));
    }
    folder.write("items.csv", csv);
    folder.config("items.csv", "image = ''\n");
    let report = folder.publish();
    assert_eq!((&report["rows"], &report["items"]), (&json!(2000), &json!(1999)));
    assert_eq!(rejects(&report), [(502, None, "malformed".to_owned())]);
}

#[test]
fn wrong_statistics_in_parquet_change_nothing() {
    let folder = Folder::new();
    let titles: Vec<String> = (0..500).map(|row| format!("kettle {row:03}")).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..500))),
        ("title", Arc::new(StringArray::from_iter_values(&titles))),
    ];
    let path = folder.path("items.parquet");
    write_parquet(&path, columns);
    let mut bytes = fs_err::read(&path).unwrap();
    // Least and greatest title, wherever the footer has them, become a least one that is greater than all.
    let footer = bytes.len() - 8 - u32::from_le_bytes(*bytes[..bytes.len() - 4].last_chunk().unwrap()) as usize;
    let mut changed = 0;
    for place in footer..bytes.len() - 10 {
        if bytes[place..].starts_with(b"kettle 000") || bytes[place..].starts_with(b"kettle 499") {
            bytes[place..place + 6].copy_from_slice(b"zzzzzz");
            changed += 1;
        }
    }
    assert!(changed >= 2, "{changed}");
    folder.write("items.parquet", bytes);
    folder.config("items.parquet", "description = ''\nimage = ''\n");
    assert_eq!(folder.publish()["items"], 500);
    assert_eq!(folder.hits(&["007", "--mode", "keyword"]), ["7"]);
}

#[test]
fn a_catalog_that_is_a_pipe_or_a_device_is_refused_at_once() {
    let folder = Folder::new();
    folder.write("shop/a.jsonl", json!({"id": "a", "title": "tea mug"}).to_string());
    let pipe = folder.path("shop/b.jsonl");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for catalog in ["shop/b.jsonl", "shop", "shop/*.jsonl"] {
        folder.config(catalog, "");
        folder.run().expect_code(2).expect_stderr(&["b.jsonl", "is no regular file"]);
    }
    folder.config("shop", "format = 'json_lines'\n");
    indexer(["run", "--catalog", "/dev/zero", "--config"])
        .arg(folder.path("catalens.toml"))
        .output()
        .expect_code(2)
        .expect_stderr(&["/dev/zero", "is no regular file"]);
    // A link to nothing would silently be a missing part of the catalog.
    fs_err::remove_file(&pipe).unwrap();
    std::os::unix::fs::symlink("nowhere", &pipe).unwrap();
    folder.run().expect_code(2).expect_stderr(&["b.jsonl", "a link to nothing"]);
    fs_err::remove_file(&pipe).unwrap();
    assert_eq!(folder.publish()["items"], 1);
}

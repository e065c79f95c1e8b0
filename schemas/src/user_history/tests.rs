use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::Schema;
use proptest::prelude::*;

use super::*;
use crate::parquet_file::ParquetFileWriter;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// The events of a file, and what was said about the other rows.
fn read_all(path: &Path) -> Result<(Vec<HistoryEvent>, Vec<String>), SchemaError> {
    let (mut events, mut rejected) = (Vec::new(), Vec::new());
    for row in read(path)? {
        match row? {
            Ok(event) => events.push(event),
            Err(rejection) => rejected.push(rejection.to_string().replace(&path.display().to_string(), "FILE")),
        }
    }
    Ok((events, rejected))
}

fn event(user: Option<&str>, id: &str, time: f64, weight: f32) -> HistoryEvent {
    HistoryEvent { user: user.map(str::to_owned), id: id.to_owned(), time, weight }
}

#[test]
fn json_lines_may_name_users_by_number_and_times_by_text() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("history.jsonl");
    let lines = [
        r#"{"user": "ana", "id": "p1", "time": "1970-01-02T00:00:00+01:00", "weight": 5, "shop": ["x"]}"#,
        "",
        r#"{"user": 7, "id": 12, "time": 90.5}"#,
        r#"{"user": " ", "id": "p2", "time": -1, "weight": -0.5}"#,
    ];
    fs_err::write(&path, lines.join("\r\n"))?;
    let expected =
        [event(Some("ana"), "p1", 82_800.0, 5.0), event(Some("7"), "12", 90.5, 1.0), event(None, "p2", -1.0, -0.5)];
    assert_eq!(read_all(&path)?, (expected.to_vec(), Vec::new()));

    let packed = folder.path().join("history.jsonl.zst");
    fs_err::write(&packed, zstd::encode_all(lines.join("\n").as_bytes(), 1)?)?;
    assert_eq!(read_all(&packed)?.0, expected);
    Ok(())
}

#[test]
fn a_row_that_is_no_event_is_rejected_with_its_line() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("history.json");
    let lines = [
        r#"{"id": "p1", "time": 1}"#,
        r#"{"id": "p1""#,
        r#"{"time": 1}"#,
        r#"{"id": "p1"}"#,
        r#"{"id": "p1", "time": "yesterday"}"#,
        r#"{"id": "p1", "time": 1700000000000}"#,
        r#"{"id": 1.5, "time": 1}"#,
        r#"{"id": "p1", "time": 1, "weight": "much"}"#,
        r#"{"id": "p1", "time": 1, "weight": 1e300}"#,
        r#"{"id": "p1", "time": 1, "user": [1]}"#,
        r#"{"id": "p9", "time": 2}"#,
    ];
    fs_err::write(&path, lines.join("\n"))?;
    let (events, rejected) = read_all(&path)?;
    assert_eq!(events, [event(None, "p1", 1.0, 1.0), event(None, "p9", 2.0, 1.0)]);
    let time = "expected a time such as 2026-11-20T18:00:00Z or Unix seconds, got";
    let expected = [
        "`FILE` line 2: it is malformed: EOF while parsing an object at column 11".to_owned(),
        "`FILE` line 3: it has no id".to_owned(),
        format!("`FILE` line 4, item `p1`: column `time`: {time} nothing"),
        format!("`FILE` line 5, item `p1`: column `time`: {time} the string \"yesterday\""),
        "`FILE` line 6, item `p1`: column `time`: expected Unix seconds, got 1700000000000, which looks like milliseconds"
            .to_owned(),
        "`FILE` line 7: column `id`: expected string or integer, got the number 1.5".to_owned(),
        "`FILE` line 8, item `p1`: column `weight`: expected number, got the string \"much\"".to_owned(),
        format!("`FILE` line 9, item `p1`: column `weight`: expected a finite number, got the number 1{}", "0".repeat(300)),
    ];
    assert_eq!(rejected[..8], expected);
    assert!(rejected[8].starts_with("`FILE` line 10, item `p1`: column `user`"), "{}", rejected[8]);
    assert_eq!(rejected.len(), 9);
    Ok(())
}

fn write_parquet(path: &Path, columns: Vec<(&str, ArrayRef)>) -> Outcome {
    let batch = RecordBatch::try_from_iter(columns)?;
    let schema: Schema = batch.schema_ref().as_ref().clone();
    let mut writer = ParquetFileWriter::create(path, schema, Vec::new(), |common| common)?;
    writer.write(&batch)?;
    writer.finish()?;
    Ok(())
}

#[test]
fn parquet_has_the_same_columns() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("history.parquet");
    let ids: ArrayRef = Arc::new(StringArray::from(vec![Some("p1"), None, Some("p2")]));
    let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1500, 0, 2000]).with_timezone("UTC"));
    let users: ArrayRef = Arc::new(Int64Array::from(vec![Some(4), Some(4), None]));
    let weights: ArrayRef = Arc::new(Float64Array::from(vec![None, None, Some(2.5)]));
    write_parquet(
        &path,
        vec![("time", times), ("other", Arc::clone(&ids)), ("id", ids), ("user", users), ("weight", weights)],
    )?;
    let (events, rejected) = read_all(&path)?;
    assert_eq!(events, [event(Some("4"), "p1", 1.5, 1.0), event(None, "p2", 2.0, 2.5)]);
    assert_eq!(rejected, ["`FILE` line 2: it has no id"]);
    Ok(())
}

#[test]
fn a_file_that_is_no_history_is_an_error() -> Outcome {
    let folder = tempfile::tempdir()?;
    let message = |name: &str| read(&folder.path().join(name)).map(|_| ()).map_err(|error| error.to_string());
    assert!(message("history.csv").is_err_and(|text| text.contains("a history ends in .jsonl")));
    assert!(message("history").is_err_and(|text| text.contains("a history ends in .jsonl")));
    assert!(message("missing.jsonl").is_err_and(|text| text.contains("missing.jsonl")));
    let ids: ArrayRef = Arc::new(StringArray::from(vec!["p1"]));
    write_parquet(&folder.path().join("a.parquet"), vec![("id", Arc::clone(&ids))])?;
    assert!(message("a.parquet").is_err_and(|text| text.contains("it has no column `time`")));
    let truths: ArrayRef = Arc::new(arrow::array::BooleanArray::from(vec![true]));
    write_parquet(&folder.path().join("b.parquet"), vec![("id", ids), ("time", truths)])?;
    assert!(message("b.parquet").is_err_and(|text| text.contains("the column `time` has the type Boolean")));
    fs_err::write(folder.path().join("c.parquet"), b"PAR1 not really PAR1")?;
    assert!(message("c.parquet").is_err());
    Ok(())
}

#[test]
fn a_time_is_rfc_3339_or_seconds() {
    assert_eq!(parse_time("1970-01-01T00:01:00Z"), Ok(60.0));
    assert_eq!(parse_time("1.5"), Ok(1.5));
    assert!(parse_time("noon").is_err_and(|text| text.starts_with("expected a time such as")));
    assert!(parse_time("1e12").is_err());
}

proptest! {
    #[test]
    fn no_bytes_crash_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let folder = tempfile::tempdir()?;
        for name in ["a.jsonl", "a.parquet", "a.jsonl.gz", "a.jsonl.zst"] {
            let path = folder.path().join(name);
            fs_err::write(&path, &bytes)?;
            // Only that it ends matters.
            drop(read_all(&path));
        }
    }
}

//! What users did, in both formats. Invariant: every row comes out once, with its line, as an event within its bounds or as a
//! rejection with a short reason; nothing follows an error.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray, UInt32Array,
};
use parquet::arrow::ArrowWriter;
use schemas::catalog::MAX_ID_BYTES;
use schemas::user_history;
use tempfile::TempDir;

use crate::catalogs::MAX_REASON_BYTES;

thread_local! {
    /// Folder of the history that is read.
    static FOLDER: TempDir = crate::folder_in_memory();
}

/// Lines of the rejected rows of a history with these bytes, and how many are events; `None` when it cannot be opened, or
/// its reading ended with an error.
fn rejected_lines(name: &str, data: &[u8]) -> Option<(Vec<u64>, u64)> {
    FOLDER.with(|folder| {
        let path = folder.path().join(name);
        fs_err::write(&path, data).unwrap();
        let rows = match user_history::read(&path) {
            Ok(rows) => rows,
            Err(error) => {
                assert!(error.to_string().len() <= MAX_REASON_BYTES, "{error}");
                return None;
            }
        };
        let (mut lines, mut events, mut ended) = (Vec::new(), 0, false);
        for row in rows {
            assert!(!ended, "a row after an error");
            match row {
                Ok(Ok(event)) => {
                    assert!(!event.id.trim().is_empty() && event.id.len() <= MAX_ID_BYTES, "{event:?}");
                    let user = event.user.as_ref();
                    assert!(user.is_none_or(|user| !user.trim().is_empty() && user.len() <= MAX_ID_BYTES), "{event:?}");
                    assert!(event.time.is_finite() && event.weight.is_finite(), "{event:?}");
                    events += 1;
                }
                Ok(Err(rejection)) => {
                    assert!(rejection.to_string().len() <= MAX_REASON_BYTES, "{rejection}");
                    lines.push(rejection.location.line);
                }
                Err(error) => {
                    assert!(error.to_string().len() <= MAX_REASON_BYTES, "{error}");
                    ended = true;
                }
            }
        }
        assert!(lines.windows(2).all(|pair| pair[0] < pair[1]), "{lines:?}");
        (!ended).then_some((lines, events))
    })
}

/// Rows are exactly the lines that are not blank.
pub(crate) fn json_lines(data: &[u8]) {
    let (rejected, events) = rejected_lines("history.jsonl", data).unwrap();
    let data = data.strip_prefix("\u{feff}".as_bytes()).unwrap_or(data);
    let lines = (1..).zip(data.split(|byte| *byte == b'\n'));
    let filled: Vec<u64> = lines.filter(|(_, line)| !line.trim_ascii().is_empty()).map(|(number, _)| number).collect();
    assert_eq!(rejected.len() as u64 + events, filled.len() as u64);
    assert!(rejected.iter().all(|line| filled.binary_search(line).is_ok()), "{rejected:?}");
}

pub(crate) fn json_lines_seeds() -> Vec<Vec<u8>> {
    let lines = [
        r#"{"user": "ana", "id": "p1", "time": "2026-11-20T18:00:00.5+01:00", "weight": 5, "shop": {"deep": ["x"]}}"#,
        r#"{"user": 7, "id": 18446744073709551615, "time": -90.5, "weight": -1e-3}"#,
        r#"{"id": "a", "id": "b", "time": 1700000000000}"#,
        r#"{"id": " ", "time": 1}"#,
        r#"{"id": "\u0000\ud83d\ude00", "time": "9999-12-31T23:59:60Z", "weight": 1e39, "user": [1]}"#,
        r#"{"id": 1.5, "time": null, "weight": "much"}"#,
        "[1]\n\n \r\n{} {}",
    ];
    let mut seeds: Vec<Vec<u8>> = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
    seeds.push(lines.join("\r\n").into_bytes());
    seeds
}

/// Rejected rows stand among the rows of the file; a broken file is an error.
pub(crate) fn parquet(data: &[u8]) {
    if let Some((rejected, events)) = rejected_lines("history.parquet", data) {
        let rows = rejected.len() as u64 + events;
        assert!(rejected.iter().all(|line| (1..=rows).contains(line)), "{rejected:?} of {rows} rows");
    }
}

pub(crate) fn parquet_seeds() -> Vec<Vec<u8>> {
    let file = |columns: Vec<(&str, ArrayRef)>| {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut file = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        file
    };
    let times = TimestampMillisecondArray::from(vec![Some(1_700_000_000_000), None, Some(-1)]).with_timezone("UTC");
    vec![
        file(vec![
            ("user", Arc::new(StringArray::from(vec![Some("ana"), None, Some(" ")]))),
            ("id", Arc::new(StringArray::from(vec!["p1", "p2", ""]))),
            ("time", Arc::new(times)),
            ("weight", Arc::new(Float64Array::from(vec![Some(2.5), Some(f64::NAN), None]))),
        ]),
        file(vec![
            ("id", Arc::new(UInt32Array::from(vec![7, u32::MAX]))),
            ("time", Arc::new(Int64Array::from(vec![90, i64::MAX]))),
            ("other", Arc::new(Int64Array::from(vec![1, 2]))),
        ]),
    ]
}

//! Events in JSON Lines: an object a line, empty lines passed over.

use std::path::Path;

use super::{HistoryRow, Record, Rows};
use crate::catalog::{Compression, Line, LineReader, MAX_LINE_BYTES, describe_json, open_text};
use crate::error::SchemaError;
use crate::item::Location;
use crate::rejects::{RejectReason, Rejection};

pub(super) fn rows(path: &Path, compression: Compression) -> Result<Rows<'_>, SchemaError> {
    let mut lines = LineReader::new(open_text(path, compression)?, MAX_LINE_BYTES);
    let mut failed = false;
    let next = move || -> Option<HistoryRow> {
        while !failed {
            let (number, line) = match lines.next() {
                Ok(numbered) => numbered?,
                Err(source) => {
                    failed = true;
                    return Some(Err(SchemaError::Io { path: path.to_owned(), source }));
                }
            };
            match line {
                Line::Bytes(bytes) if bytes.trim_ascii().is_empty() => {}
                Line::Bytes(bytes) => {
                    let record = serde_json::from_slice::<Record>(bytes).map_err(|error| describe_json(&error));
                    return Some(match record {
                        Ok(record) => record.row(path, number),
                        Err(detail) => malformed(path, number, detail),
                    });
                }
                Line::TooLong => {
                    let detail = format!("the line is longer than {MAX_LINE_BYTES} bytes");
                    return Some(malformed(path, number, detail));
                }
            }
        }
        None
    };
    Ok(Box::new(std::iter::from_fn(next)))
}

fn malformed(path: &Path, line: u64, detail: String) -> HistoryRow {
    let location = Location { file: path.to_owned(), line };
    Ok(Err(Rejection { location, id: None, reason: RejectReason::Malformed { detail } }))
}

//! JSON Lines: an object a line. Owns reading the configured columns of a line without building the rest of it.

use std::path::Path;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};

use super::columns::{Columns, Texts, cut, malformed};
use super::files::{FileKind, open_text};
use super::lines::{Line, LineReader};
use super::{RowResult, Rows};
use crate::error::SchemaError;
use crate::field::Cell;

/// Bytes of a line at most. A longer line is rejected, not read into memory; reading goes on after it. Much more than the
/// texts of a row may have, because a line may hold columns that are not read.
pub const MAX_LINE_BYTES: usize = 64 << 20;

pub(super) fn rows<'a>(path: &'a Path, kind: FileKind, columns: &'a Columns) -> Result<Rows<'a>, SchemaError> {
    let mut lines = LineReader::new(open_text(path, kind.compression)?, MAX_LINE_BYTES);
    let next = move || -> Option<RowResult> {
        loop {
            let (number, line) = match lines.next() {
                Ok(Some(numbered)) => numbered,
                Ok(None) => return None,
                Err(source) => return Some(Err(SchemaError::Io { path: path.to_owned(), source })),
            };
            match line {
                Line::Bytes(bytes) if bytes.trim_ascii().is_empty() => {}
                Line::Bytes(bytes) => return Some(parse(bytes, columns, path, number)),
                Line::TooLong => {
                    let detail = format!("the line is longer than {MAX_LINE_BYTES} bytes");
                    return Some(malformed(path, number, detail));
                }
            }
        }
    };
    Ok(Box::new(std::iter::from_fn(next)))
}

fn parse(line: &[u8], columns: &Columns, path: &Path, number: u64) -> RowResult {
    let text = match std::str::from_utf8(line) {
        Ok(text) => text,
        Err(error) => return malformed(path, number, error.to_string()),
    };
    let mut cells = vec![Cell::Absent; columns.names().len()];
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed = deserializer.deserialize_map(RowVisitor { columns, cells: &mut cells });
    if let Err(error) = parsed.and_then(|()| deserializer.end()) {
        return malformed(path, number, describe(&error));
    }
    columns.item(cells, Texts::Typed, path, number)
}

/// The parser's words without its line number, which is always 1 and not the catalog's; cut, because they quote values.
pub(crate) fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((words, _)) => format!("{} at column {}", cut(words), error.column()),
        None => cut(&text),
    }
}

/// Puts the values of the configured columns into their cells; of a repeated key the last counts.
struct RowVisitor<'a> {
    columns: &'a Columns,
    cells: &'a mut [Cell],
}

impl<'de> Visitor<'de> for RowVisitor<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a JSON object a line")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(column) = map.next_key_seed(ColumnOfKey(self.columns))? {
            match column {
                Some(column) => self.cells[column] = map.next_value()?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// Finds a key's column without keeping the key.
struct ColumnOfKey<'a>(&'a Columns);

impl<'de> DeserializeSeed<'de> for ColumnOfKey<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for ColumnOfKey<'_> {
    type Value = Option<usize>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Option<usize>, E> {
        Ok(self.0.position(key))
    }
}

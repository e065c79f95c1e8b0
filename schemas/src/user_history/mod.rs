//! What users did with items: views, purchases, dislikes. JSON Lines or Parquet, `.gz` and `.zst` too. Owns reading events
//! and checking them; not whether an item is known, nor what follows from an event. Invariants: every row comes out
//! exactly once, as an event or as a rejection with file, line and reason, in the file's order; memory does not grow with
//! the file.
//!
//! Columns: `id` (string or integer) and `time` (RFC 3339, Unix seconds, or a Parquet timestamp) must be there; `user`
//! (string or integer) and `weight` (number, [`DEFAULT_EVENT_WEIGHT`]) may be. Others are passed over.

mod json_lines;
mod parquet;

use std::path::Path;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::catalog::{CatalogFormat, Compression, MAX_ID_BYTES, kind_of};
use crate::error::SchemaError;
use crate::field::{Cell, WrongType};
use crate::item::Location;
use crate::rejects::{RejectReason, Rejection};

/// Weight of an event that is given without one.
pub const DEFAULT_EVENT_WEIGHT: f32 = 1.0;
/// Unix seconds from which on a number is no time: the year 5138. Milliseconds of any time since 1973 are above it.
const TOO_LATE: f64 = 1e11;

/// Something that a user did with an item.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryEvent {
    /// Who; `None` where the file does not say, as in the history of one user.
    pub user: Option<String>,
    /// The item's id; never empty.
    pub id: String,
    /// When, in seconds since 1970-01-01T00:00:00Z; finite.
    pub time: f64,
    /// How much it says for the item, such as 1 for a view and 5 for a purchase; negative: against it. Finite.
    pub weight: f32,
}

/// What comes out for a row: an event or a rejection; the outer error ends the reading.
pub type HistoryRow = Result<Result<HistoryEvent, Rejection>, SchemaError>;

/// Rows of a file.
type Rows<'a> = Box<dyn Iterator<Item = HistoryRow> + Send + 'a>;

/// Reads a history. Its format is told by the ending: `.jsonl`, `.ndjson`, `.json` or `.parquet`, before `.gz` or `.zst`.
///
/// # Errors
/// When the file cannot be opened, has another ending, or is Parquet that lacks a column or has one of another type.
pub fn read(path: &Path) -> Result<Rows<'_>, SchemaError> {
    match kind_of(path).map(|kind| (kind.format, kind.compression)) {
        Some((CatalogFormat::JsonLines, compression)) => json_lines::rows(path, compression),
        Some((CatalogFormat::Parquet, Compression::None)) => parquet::rows(path),
        Some((CatalogFormat::Parquet, Compression::Gzip | Compression::Zstd) | (CatalogFormat::Csv, _)) | None => {
            let reason = "a history ends in .jsonl, .ndjson or .json (also before .gz or .zst), or in .parquet";
            Err(SchemaError::invalid(path, reason))
        }
    }
}

/// A time as an RFC 3339 text or a number of Unix seconds.
///
/// # Errors
/// Says what was expected instead.
pub fn parse_time(text: &str) -> Result<f64, String> {
    let cell = text.parse().map_or_else(|_| Cell::Text(text.to_owned()), Cell::Float);
    time(&cell).map_err(|WrongType { expected, got }| format!("expected {expected}, got {got}"))
}

/// The cells of a row as they stand there.
#[derive(Debug, Default, serde::Deserialize)]
struct Record {
    #[serde(default)]
    user: Cell,
    #[serde(default)]
    id: Cell,
    #[serde(default)]
    time: Cell,
    #[serde(default)]
    weight: Cell,
}

impl Record {
    /// The event, or why it is none.
    fn row(self, file: &Path, line: u64) -> HistoryRow {
        let location = Location { file: file.to_owned(), line };
        let wrong_type = |column: &str, WrongType { expected, got }| {
            let column = column.to_owned();
            RejectReason::WrongType { column, expected, got }
        };
        let id = match name(&self.id) {
            Ok(Some(id)) => id,
            Ok(None) => return Ok(Err(Rejection { location, id: None, reason: RejectReason::MissingId })),
            Err(wrong) => return Ok(Err(Rejection { location, id: None, reason: wrong_type("id", wrong) })),
        };
        let parts = name(&self.user).map_err(|wrong| wrong_type("user", wrong)).and_then(|user| {
            let time = time(&self.time).map_err(|wrong| wrong_type("time", wrong))?;
            let weight = weight(&self.weight).map_err(|wrong| wrong_type("weight", wrong))?;
            Ok((user, time, weight))
        });
        Ok(match parts {
            Ok((user, time, weight)) => Ok(HistoryEvent { user, id, time, weight }),
            Err(reason) => Err(Rejection { location, id: Some(id), reason }),
        })
    }
}

/// An item's or a user's name; `None` where there is none or only white space.
fn name(cell: &Cell) -> Result<Option<String>, WrongType> {
    match cell {
        Cell::Absent => Ok(None),
        Cell::Text(text) if text.trim().is_empty() => Ok(None),
        Cell::Text(text) if text.len() > MAX_ID_BYTES => {
            let (expected, got) = (format!("at most {MAX_ID_BYTES} bytes"), format!("{} bytes", text.len()));
            Err(WrongType { expected, got })
        }
        Cell::Text(text) => Ok(Some(text.clone())),
        // As in catalogs: the number's digits are the id.
        Cell::Integer(number) => Ok(Some(number.to_string())),
        Cell::Unsigned(number) => Ok(Some(number.to_string())),
        other @ (Cell::Texts(_) | Cell::Float(_) | Cell::Boolean(_) | Cell::Bytes(_) | Cell::Other(_)) => {
            Err(other.wrong("string or integer"))
        }
    }
}

/// Unix seconds.
fn time(cell: &Cell) -> Result<f64, WrongType> {
    const EXPECTED: &str = "a time such as 2026-11-20T18:00:00Z or Unix seconds";
    let seconds = match cell {
        Cell::Integer(number) => *number as f64,
        Cell::Float(number) => *number,
        Cell::Text(text) => match OffsetDateTime::parse(text.trim(), &Rfc3339) {
            Ok(time) => time.unix_timestamp_nanos() as f64 / 1e9,
            Err(_) => return Err(cell.wrong(EXPECTED)),
        },
        Cell::Absent => return Err(WrongType { expected: EXPECTED.to_owned(), got: "nothing".to_owned() }),
        Cell::Texts(_) | Cell::Unsigned(_) | Cell::Boolean(_) | Cell::Bytes(_) | Cell::Other(_) => {
            return Err(cell.wrong(EXPECTED));
        }
    };
    if seconds.is_finite() && seconds.abs() < TOO_LATE {
        return Ok(seconds);
    }
    let got = format!("{seconds}, which looks like milliseconds");
    Err(WrongType { expected: "Unix seconds".to_owned(), got })
}

fn weight(cell: &Cell) -> Result<f32, WrongType> {
    let weight = match cell {
        Cell::Absent => return Ok(DEFAULT_EVENT_WEIGHT),
        Cell::Integer(number) => *number as f32,
        Cell::Float(number) => *number as f32,
        Cell::Text(_) | Cell::Texts(_) | Cell::Unsigned(_) | Cell::Boolean(_) | Cell::Bytes(_) | Cell::Other(_) => {
            return Err(cell.wrong("number"));
        }
    };
    if weight.is_finite() { Ok(weight) } else { Err(cell.wrong("a finite number")) }
}

#[cfg(test)]
mod tests;

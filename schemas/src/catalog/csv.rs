//! CSV and TSV: a header line, then a row a record. Owns the header and the number of cells; values are `columns`'.

use std::io::BufRead;
use std::path::Path;

use super::columns::{Columns, Texts, malformed, missing_column};
use super::csv_records::{Record, RecordReader};
use super::files::{FileKind, open_text};
use super::{RowResult, Rows};
use crate::error::SchemaError;
use crate::field::Cell;

/// Bytes of a record at most. A longer one is rejected, not read into memory; reading goes on at the next line. Lower
/// than for JSON Lines, because a stray quote makes a record of everything after it, which is then read once more.
pub const MAX_CSV_RECORD_BYTES: usize = 16 << 20;
/// Cells of a record at most.
pub const MAX_CSV_CELLS: usize = 1 << 16;

pub(super) fn rows<'a>(path: &'a Path, kind: FileKind, columns: &'a Columns) -> Result<Rows<'a>, SchemaError> {
    let delimiter = if kind.tabs { b'\t' } else { b',' };
    let input = open_text(path, kind.compression)?;
    let mut records = RecordReader::new(input, delimiter, MAX_CSV_RECORD_BYTES, MAX_CSV_CELLS);
    let Some((_, header)) = records.next().map_err(SchemaError::io(path))? else {
        // A file without even a header has no rows.
        return Ok(Box::new(std::iter::empty()));
    };
    let (places, width) = read_header(&records, &header, columns, path)?;
    let next = move || -> Option<RowResult> {
        match records.next() {
            Ok(Some((line, record))) => Some(parse(&records, &record, &places, width, columns, path, line)),
            Ok(None) => None,
            Err(source) => Some(Err(SchemaError::Io { path: path.to_owned(), source })),
        }
    };
    Ok(Box::new(std::iter::from_fn(next)))
}

/// The cell number of each configured column, and the number of cells.
fn read_header<R: BufRead>(
    records: &RecordReader<R>,
    header: &Record,
    columns: &Columns,
    path: &Path,
) -> Result<(Vec<usize>, usize), SchemaError> {
    let invalid = |reason: &str| SchemaError::catalog(path, reason);
    let Record::Cells(width) = *header else {
        return Err(invalid("the header line is too long or has a quote that is never closed"));
    };
    let mut names = Vec::with_capacity(width);
    for number in 0..width {
        let name = std::str::from_utf8(records.cell(number)).map_err(|_| invalid("the header line is not UTF-8"))?;
        names.push(name.trim().to_owned());
    }
    let mut places = Vec::with_capacity(columns.names().len());
    for column in columns.names() {
        let mut found = names.iter().enumerate().filter(|(_, name)| *name == column).map(|(number, _)| number);
        let place = found.next().ok_or_else(|| invalid(&missing_column(path, column, &names)))?;
        if found.next().is_some() {
            return Err(invalid(&format!("the header line has the column `{column}` twice")));
        }
        places.push(place);
    }
    Ok((places, width))
}

fn parse<R: BufRead>(
    records: &RecordReader<R>,
    record: &Record,
    places: &[usize],
    width: usize,
    columns: &Columns,
    path: &Path,
    line: u64,
) -> RowResult {
    let reject = |detail: String| malformed(path, line, detail);
    let count = match record {
        Record::Cells(count) => *count,
        Record::TooLong => {
            return reject(format!("the record is longer than {MAX_CSV_RECORD_BYTES} bytes or {MAX_CSV_CELLS} cells"));
        }
        Record::UnclosedQuote => {
            return reject("a quote is not closed; the lines after it are read one by one".to_owned());
        }
    };
    for number in 0..count {
        if let Err(error) = std::str::from_utf8(records.cell(number)) {
            return reject(format!("cell {}: {error}", number + 1));
        }
    }
    if count != width {
        return reject(format!("{count} cells, the header has {width}"));
    }
    let cells = places.iter().map(|place| match String::from_utf8_lossy(records.cell(*place)) {
        text if text.trim().is_empty() => Cell::Absent,
        text => Cell::Text(text.into_owned()),
    });
    columns.item(cells.collect(), Texts::WrittenOut, path, line)
}

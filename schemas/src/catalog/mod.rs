//! The catalog that a shop hands in: JSON Lines, CSV or Parquet; a file, a folder or a glob; `.gz` and `.zst` too.
//! Owns finding the files, reading rows and checking them against the declared columns; not duplicate ids across
//! rows (the nightly flow partitions first) and not the pictures. Invariant: every row comes out exactly once, as an
//! item or as a rejection with file, line and reason, in the order of the sorted files; memory does not grow with
//! the catalog.

mod columns;
mod csv;
mod csv_records;
mod files;
mod json_lines;
mod lines;
mod parquet;

use std::path::{Path, PathBuf};

use crate::error::SchemaError;
use crate::field::FieldSpec;
use crate::item::Item;
use crate::rejects::Rejection;

use columns::Columns;
use files::{FileKind, FoundFiles};

pub(crate) use files::{Compression, kind_of, open_text};
pub(crate) use json_lines::describe as describe_json;
pub(crate) use lines::{Line, LineReader};

pub use columns::{MAX_ID_BYTES, MAX_ROW_TEXT_BYTES};
pub use csv::{MAX_CSV_CELLS, MAX_CSV_RECORD_BYTES};
pub use json_lines::MAX_LINE_BYTES;
pub use parquet::{DEFAULT_PARQUET_BATCH_BYTES, DEFAULT_PARQUET_ROWS, DEFAULT_PARQUET_ROWS_WITH_PICTURES};

/// Where the catalog is and how its columns are called.
#[derive(Clone, Debug, PartialEq)]
pub struct CatalogConfig {
    /// A file, a folder (all its files with a known ending) or a glob.
    pub path: PathBuf,
    /// Format; `None`: by each file's ending (`.jsonl`, `.ndjson`, `.json`, `.csv`, `.tsv`, `.parquet`, before `.gz`/`.zst`).
    pub format: Option<CatalogFormat>,
    /// Column of the id.
    pub id_column: String,
    /// Column of the title.
    pub title_column: String,
    /// Column of the description, if there is one.
    pub description_column: Option<String>,
    /// Column of the picture's path or bytes, if there is one.
    pub image_column: Option<String>,
    /// Declared fields with the catalog column of each.
    pub fields: Vec<CatalogField>,
    /// Separator of list values inside one CSV cell.
    pub list_separator: char,
}

/// A declared field and the column it is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogField {
    /// Column in the catalog.
    pub column: String,
    /// The field.
    pub spec: FieldSpec,
}

/// Format of a catalog file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatalogFormat {
    /// A JSON object a line.
    JsonLines,
    /// Comma-separated values with a header line (tabs for `.tsv`).
    Csv,
    /// Apache Parquet.
    Parquet,
}

impl std::fmt::Display for CatalogFormat {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            CatalogFormat::JsonLines => "json_lines",
            CatalogFormat::Csv => "csv",
            CatalogFormat::Parquet => "parquet",
        })
    }
}

/// A catalog whose files have been found, not yet read.
#[derive(Debug)]
pub struct Catalog {
    found: FoundFiles,
    columns: Columns,
}

/// What comes out for a row: an item or a rejection; the outer error ends the reading.
pub type RowResult = Result<Result<Item, Rejection>, SchemaError>;

/// Rows of one file.
type Rows<'a> = Box<dyn Iterator<Item = RowResult> + Send + 'a>;

impl Catalog {
    /// Finds the catalog's files (sorted by path). In a folder, hidden files, subfolders and files of other formats
    /// are passed over; two files are never read as one.
    ///
    /// # Errors
    /// When nothing is found, a pattern is malformed, a file's format is unknown, what has a catalog's name is no regular
    /// file (a pipe, a device, a link to nothing), or declared fields collide.
    pub fn open(config: &CatalogConfig) -> Result<Catalog, SchemaError> {
        let columns = Columns::new(config).map_err(|reason| SchemaError::catalog(&config.path, reason))?;
        Ok(Catalog { found: files::find(&config.path, config.format)?, columns })
    }

    /// The files, in reading order.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.found.paths
    }

    /// The folder that image paths are relative to and may not leave: the catalog file's or the catalog folder; for a
    /// glob the longest folder without a wildcard.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.found.folder
    }

    /// Reads all rows. The outer error ends the reading (a file that cannot be opened, a missing column, a broken
    /// Parquet page, a cut-off `.gz`); a rejected row does not. Empty lines are no rows. May be called again.
    pub fn rows(&self) -> Box<dyn Iterator<Item = RowResult> + Send + '_> {
        let rows = self.found.paths.iter().zip(&self.found.kinds).flat_map(|(path, kind)| self.file_rows(path, *kind));
        let mut ended = false;
        Box::new(rows.map_while(move |row| {
            if ended {
                return None;
            }
            ended = row.is_err();
            Some(row)
        }))
    }

    fn file_rows<'a>(&'a self, path: &'a Path, kind: FileKind) -> Rows<'a> {
        let rows = match kind.format {
            CatalogFormat::JsonLines => json_lines::rows(path, kind, &self.columns),
            CatalogFormat::Csv => csv::rows(path, kind, &self.columns),
            CatalogFormat::Parquet => parquet::rows(path, &self.columns),
        };
        rows.unwrap_or_else(|error| Box::new(std::iter::once(Err(error))))
    }
}

#[cfg(test)]
mod tests;

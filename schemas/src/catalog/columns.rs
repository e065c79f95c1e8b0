//! From cells to an item. Owns which column means what and which rows are rejected; not where cells come from.
//! Invariant: a row becomes an item with values of the declared types, or a rejection that says why not.

use std::path::Path;

use super::{CatalogConfig, RowResult};
use crate::field::{Cell, FieldSpec, FieldValue, WrongType, check_fields};
use crate::item::{ImageSource, Item, Location};
use crate::rejects::{RejectReason, Rejection};

/// Bytes of text that a row may have in the columns that are read, pictures' bytes aside. A row with more is rejected: a
/// whole night holds several rows at once, many times over while they are analysed.
pub const MAX_ROW_TEXT_BYTES: usize = 8 << 20;
/// Bytes of an id at most.
pub const MAX_ID_BYTES: usize = 1024;
/// Characters that a message takes from a catalog.
const QUOTED_CHARACTERS: usize = 160;
/// Columns that a message lists.
const LISTED_COLUMNS: usize = 20;

/// The columns that are read, each once, and what they are for.
#[derive(Debug)]
pub(super) struct Columns {
    names: Vec<String>,
    id: usize,
    title: usize,
    description: Option<usize>,
    image: Option<usize>,
    fields: Vec<(usize, FieldSpec)>,
    list_separator: char,
}

/// Whether a text is a value of a type by itself (JSON, Parquet) or a number, a list or anything else written out (CSV).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Texts {
    Typed,
    WrittenOut,
}

impl Columns {
    /// The columns of a configuration, or what is wrong with it.
    pub(super) fn new(config: &CatalogConfig) -> Result<Columns, String> {
        let specs: Vec<FieldSpec> = config.fields.iter().map(|field| field.spec.clone()).collect();
        check_fields(&specs)?;
        let mut names: Vec<String> = Vec::new();
        let mut number = |name: &str| {
            names.iter().position(|known| known == name).unwrap_or_else(|| {
                names.push(name.to_owned());
                names.len() - 1
            })
        };
        let id = number(&config.id_column);
        let title = number(&config.title_column);
        let description = config.description_column.as_deref().map(&mut number);
        let image = config.image_column.as_deref().map(&mut number);
        let fields = config.fields.iter().map(|field| (number(&field.column), field.spec.clone())).collect();
        Ok(Columns { names, id, title, description, image, fields, list_separator: config.list_separator })
    }

    /// Names in the catalog, each once.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// The number of the column of that name, if it is read.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    /// What each column is used for.
    pub(super) fn image(&self) -> Option<usize> {
        self.image
    }

    pub(super) fn id(&self) -> usize {
        self.id
    }

    /// The declared fields that are read from a column.
    pub(super) fn fields_of(&self, column: usize) -> impl Iterator<Item = &FieldSpec> {
        self.fields.iter().filter(move |(number, _)| *number == column).map(|(_, spec)| spec)
    }

    /// Whether a column is read as title or description.
    pub(super) fn is_text(&self, column: usize) -> bool {
        self.title == column || self.description == Some(column)
    }

    /// Makes an item of a row; `cells` runs parallel to [`Columns::names`].
    pub(super) fn item(&self, mut cells: Vec<Cell>, texts: Texts, file: &Path, line: u64) -> RowResult {
        let location = Location { file: file.to_owned(), line };
        let (id, parts) = match self.row_id(&cells[self.id]) {
            Ok(id) => (Some(id), within_bytes(&cells).and_then(|()| self.parts(&mut cells, texts))),
            Err(reason) => (None, Err(reason)),
        };
        Ok(match (id, parts) {
            (Some(id), Ok(Parts { title, description, image, fields })) => {
                Ok(Item { id, title, description, image, fields, location })
            }
            (id, Err(reason)) => Err(Rejection { location, id, reason }),
            (None, Ok(_)) => Err(Rejection { location, id: None, reason: RejectReason::MissingId }),
        })
    }

    fn row_id(&self, cell: &Cell) -> Result<String, RejectReason> {
        match cell {
            Cell::Absent => Err(RejectReason::MissingId),
            Cell::Text(text) if text.trim().is_empty() => Err(RejectReason::MissingId),
            Cell::Text(text) if text.len() > MAX_ID_BYTES => {
                let (expected, got) =
                    (format!("an id of at most {MAX_ID_BYTES} bytes"), format!("{} bytes", text.len()));
                Err(self.reject(self.id, WrongType { expected, got }))
            }
            Cell::Text(text) => Ok(text.clone()),
            // Shops number their products; the number's digits are the id.
            Cell::Integer(number) => Ok(number.to_string()),
            Cell::Unsigned(number) => Ok(number.to_string()),
            other @ (Cell::Texts(_) | Cell::Float(_) | Cell::Boolean(_) | Cell::Bytes(_) | Cell::Other(_)) => {
                Err(self.reject(self.id, other.wrong("string or integer")))
            }
        }
    }

    fn parts(&self, cells: &mut [Cell], texts: Texts) -> Result<Parts, RejectReason> {
        let title = self.text(cells, Some(self.title))?;
        let description = self.text(cells, self.description)?;
        let mut fields = Vec::with_capacity(self.fields.len());
        for (column, spec) in &self.fields {
            let value = match (texts, &cells[*column]) {
                (Texts::WrittenOut, Cell::Text(text)) => spec.parse_text(text, self.list_separator),
                (_, cell) => spec.parse_cell(cell.clone()),
            };
            fields.push(value.map_err(|wrong| self.reject(*column, wrong))?);
        }
        // Last, because it takes the cell: a picture's bytes are not worth a copy.
        let image = self.picture(cells)?;
        if title.is_none() && description.is_none() && image == ImageSource::Absent {
            return Err(RejectReason::Empty);
        }
        Ok(Parts { title, description, image, fields })
    }

    fn text(&self, cells: &[Cell], column: Option<usize>) -> Result<Option<String>, RejectReason> {
        let Some(column) = column else { return Ok(None) };
        match &cells[column] {
            Cell::Absent => Ok(None),
            Cell::Text(text) if text.trim().is_empty() => Ok(None),
            Cell::Text(text) => Ok(Some(text.clone())),
            other @ (Cell::Texts(_)
            | Cell::Integer(_)
            | Cell::Unsigned(_)
            | Cell::Float(_)
            | Cell::Boolean(_)
            | Cell::Bytes(_)
            | Cell::Other(_)) => Err(self.reject(column, other.wrong("string"))),
        }
    }

    fn picture(&self, cells: &mut [Cell]) -> Result<ImageSource, RejectReason> {
        let Some(column) = self.image else { return Ok(ImageSource::Absent) };
        match std::mem::replace(&mut cells[column], Cell::Absent) {
            Cell::Absent => Ok(ImageSource::Absent),
            Cell::Text(path) if path.trim().is_empty() => Ok(ImageSource::Absent),
            Cell::Text(path) => Ok(ImageSource::Path(path)),
            Cell::Bytes(bytes) if bytes.is_empty() => Ok(ImageSource::Absent),
            Cell::Bytes(bytes) => Ok(ImageSource::Bytes(bytes)),
            other @ (Cell::Texts(_)
            | Cell::Integer(_)
            | Cell::Unsigned(_)
            | Cell::Float(_)
            | Cell::Boolean(_)
            | Cell::Other(_)) => Err(self.reject(column, other.wrong("path or bytes"))),
        }
    }

    fn reject(&self, column: usize, wrong: WrongType) -> RejectReason {
        let WrongType { expected, got } = wrong;
        RejectReason::WrongType { column: self.names[column].clone(), expected, got }
    }
}

struct Parts {
    title: Option<String>,
    description: Option<String>,
    image: ImageSource,
    fields: Vec<Option<FieldValue>>,
}

/// A row whose cells could not be read.
pub(super) fn malformed(file: &Path, line: u64, detail: impl Into<String>) -> RowResult {
    let location = Location { file: file.to_owned(), line };
    Ok(Err(Rejection { location, id: None, reason: RejectReason::Malformed { detail: detail.into() } }))
}

/// Refuses rows with more text than [`MAX_ROW_TEXT_BYTES`].
fn within_bytes(cells: &[Cell]) -> Result<(), RejectReason> {
    let bytes: usize = cells.iter().map(Cell::text_bytes).sum();
    if bytes <= MAX_ROW_TEXT_BYTES { Ok(()) } else { Err(RejectReason::Malformed { detail: too_much_text(bytes) }) }
}

/// What is said about a row with so many bytes of text.
pub(super) fn too_much_text(bytes: usize) -> String {
    format!("its texts have {bytes} bytes, the limit is {MAX_ROW_TEXT_BYTES}")
}

/// The message for a configured column that a file does not have.
pub(super) fn missing_column(file: &Path, missing: &str, existing: &[String]) -> String {
    let listed: Vec<String> = existing.iter().take(LISTED_COLUMNS).map(|name| format!("`{}`", cut(name))).collect();
    let more = match existing.len().saturating_sub(LISTED_COLUMNS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("`{}` has no column `{missing}`; it has {}{more}", file.display(), listed.join(", "))
}

/// The start of a text that a message can hold.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

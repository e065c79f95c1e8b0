//! One product as the catalog gives it. Owns the record between reader and nightly flow; not its validation.
//! Invariant: `fields` runs parallel to the declared [`crate::FieldSpec`]s.

use std::path::PathBuf;

use crate::field::FieldValue;

/// Where an item's picture is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageSource {
    /// The item has none.
    Absent,
    /// A path relative to the catalog's folder, as written in the catalog, not yet checked.
    Path(String),
    /// The picture's file bytes, from a binary column.
    Bytes(Vec<u8>),
}

/// Where in the catalog something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The catalog file.
    pub file: PathBuf,
    /// Line of a text file, or row of a Parquet file; from 1.
    pub line: u64,
}

/// One product.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Unique in the catalog, never empty.
    pub id: String,
    /// Title; `None` when absent or only white space.
    pub title: Option<String>,
    /// Description; `None` when absent or only white space.
    pub description: Option<String>,
    /// Picture.
    pub image: ImageSource,
    /// Values of the declared fields, in their order.
    pub fields: Vec<Option<FieldValue>>,
    /// Where the item stands.
    pub location: Location,
}

impl Item {
    /// Bytes of its texts and of its picture where that stands in the catalog: about what it takes in memory.
    #[must_use]
    pub fn content_bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let image = match &self.image {
            ImageSource::Absent => 0,
            ImageSource::Path(path) => path.len(),
            ImageSource::Bytes(bytes) => bytes.len(),
        };
        let field = |value: &FieldValue| match value {
            FieldValue::Boolean(_) | FieldValue::Integer(_) | FieldValue::Float(_) => 0,
            FieldValue::String(text) => text.len(),
            FieldValue::Strings(texts) => texts.iter().map(String::len).sum(),
        };
        let fields: usize = self.fields.iter().flatten().map(field).sum();
        self.id.len() + text(&self.title) + text(&self.description) + image + fields
    }
}

//! `items.arrow`: what a hit shows and what filters, facets and sorting read. Arrow IPC file format, uncompressed,
//! mapped zero-copy. Owns columns, reader and writer; not the expressions over them. Invariant: the row number in the
//! file is the item's row number everywhere in the snapshot.
//!
//! Columns: `id` (string), `title`, `description`, `image` (nullable strings; `image` is the path as in the catalog),
//! then the declared fields by name: String and Category as string, Strings as list of string, Integer as i64, Float
//! as f64, Boolean as bool, all nullable.
//!
//! A column of a batch is decoded and checked when it is first asked for, so that a filter on a price does not read
//! descriptions.

mod read;
mod write;

use arrow::datatypes::{DataType, Field, Schema};

use crate::field::{FieldSpec, FieldType, FieldValue};

pub use read::ItemsReader;
pub use write::ItemsWriter;

/// File name in a snapshot.
pub const ITEMS_FILE: &str = "items.arrow";
/// Rows of a record batch at most: small, so that the first hit in a batch does not read much more than itself.
pub const DEFAULT_BATCH_ROWS: usize = 8_192;
/// Bytes of text in a record batch at most, but for one item that is longer by itself.
pub const DEFAULT_BATCH_BYTES: usize = 8 << 20;
/// Bytes of text in one item at most; Arrow's string columns cannot hold more than 2 GiB in a batch.
pub const MAX_ITEM_BYTES: usize = 1 << 30;

/// Number of the `id` column.
pub const ID_COLUMN: usize = 0;
/// Number of the `title` column.
pub const TITLE_COLUMN: usize = 1;
/// Number of the `description` column.
pub const DESCRIPTION_COLUMN: usize = 2;
/// Number of the `image` column.
pub const IMAGE_COLUMN: usize = 3;
/// Number of the first declared field's column.
pub const FIRST_FIELD_COLUMN: usize = 4;

/// The stored side of an item.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredItem {
    /// Id.
    pub id: String,
    /// Title.
    pub title: Option<String>,
    /// Description.
    pub description: Option<String>,
    /// Picture's path, as in the catalog.
    pub image: Option<String>,
    /// Values of the declared fields, in their order.
    pub fields: Vec<Option<FieldValue>>,
}

/// The columns of a file with these declared fields.
#[must_use]
pub fn items_schema(fields: &[FieldSpec]) -> Schema {
    let id = Field::new("id", DataType::Utf8, false);
    let texts = ["title", "description", "image"].map(|name| Field::new(name, DataType::Utf8, true));
    let declared = fields.iter().map(|field| Field::new(&field.name, data_type(field.r#type), true));
    Schema::new(std::iter::once(id).chain(texts).chain(declared).collect::<Vec<Field>>())
}

fn data_type(field_type: FieldType) -> DataType {
    match field_type {
        FieldType::String | FieldType::Category => DataType::Utf8,
        FieldType::Strings => DataType::new_list(DataType::Utf8, true),
        FieldType::Integer => DataType::Int64,
        FieldType::Float => DataType::Float64,
        FieldType::Boolean => DataType::Boolean,
    }
}

#[cfg(test)]
mod tests;

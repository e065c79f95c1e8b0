//! Writing `items.arrow`. Owns the column builders and the bounds of a record batch.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, ListBuilder, RecordBatch, StringBuilder};

use super::{DEFAULT_BATCH_BYTES, DEFAULT_BATCH_ROWS, MAX_ITEM_BYTES, StoredItem, items_schema};
use crate::arrow_file::ArrowFileWriter;
use crate::error::SchemaError;
use crate::field::{FieldSpec, FieldType, FieldValue, check_fields};

/// Writes the file in row order, in record batches bounded in rows ([`DEFAULT_BATCH_ROWS`]) and bytes
/// ([`DEFAULT_BATCH_BYTES`]), so that memory does not grow with the file.
#[derive(Debug)]
pub struct ItemsWriter {
    file: ArrowFileWriter,
    fields: Vec<FieldSpec>,
    ids: StringBuilder,
    titles: StringBuilder,
    descriptions: StringBuilder,
    images: StringBuilder,
    columns: Vec<ColumnBuilder>,
    rows: usize,
    bytes: usize,
}

impl ItemsWriter {
    /// Starts the file.
    ///
    /// # Errors
    /// When it cannot be created, or two fields have one name.
    pub fn create(path: &Path, fields: &[FieldSpec]) -> Result<ItemsWriter, SchemaError> {
        check_fields(fields).map_err(|reason| SchemaError::invalid(path, reason))?;
        Ok(ItemsWriter {
            file: ArrowFileWriter::create(path, items_schema(fields))?,
            fields: fields.to_vec(),
            ids: StringBuilder::new(),
            titles: StringBuilder::new(),
            descriptions: StringBuilder::new(),
            images: StringBuilder::new(),
            columns: fields.iter().map(|field| ColumnBuilder::new(field.r#type)).collect(),
            rows: 0,
            bytes: 0,
        })
    }

    /// Appends the next row.
    ///
    /// # Errors
    /// When writing fails, a value does not have its field's declared type, or the item is longer than
    /// [`MAX_ITEM_BYTES`]; nothing of the item is then written.
    pub fn write(&mut self, item: &StoredItem) -> Result<(), SchemaError> {
        self.check(item)?;
        let bytes = text_bytes(item);
        if bytes > MAX_ITEM_BYTES {
            let reason = format!("item `{}` has {bytes} bytes of text, the limit is {MAX_ITEM_BYTES}", item.id);
            return Err(SchemaError::invalid(self.file.path(), reason));
        }
        if self.rows == DEFAULT_BATCH_ROWS || (self.rows > 0 && self.bytes + bytes > DEFAULT_BATCH_BYTES) {
            self.write_batch()?;
        }
        self.ids.append_value(&item.id);
        self.titles.append_option(item.title.as_deref());
        self.descriptions.append_option(item.description.as_deref());
        self.images.append_option(item.image.as_deref());
        for (column, value) in self.columns.iter_mut().zip(&item.fields) {
            column.append(value.as_ref());
        }
        self.rows += 1;
        self.bytes += bytes;
        Ok(())
    }

    /// Writes what is left and the footer; does not sync. Returns the number of rows.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(mut self) -> Result<u64, SchemaError> {
        self.write_batch()?;
        self.file.finish()
    }

    fn write_batch(&mut self) -> Result<(), SchemaError> {
        let texts = [&mut self.ids, &mut self.titles, &mut self.descriptions, &mut self.images];
        let texts = texts.map(|builder| Arc::new(builder.finish()) as ArrayRef);
        let arrays = texts.into_iter().chain(self.columns.iter_mut().map(ColumnBuilder::finish)).collect();
        let batch = RecordBatch::try_new(Arc::clone(self.file.schema()), arrays);
        let batch = batch.map_err(SchemaError::arrow(self.file.path()))?;
        (self.rows, self.bytes) = (0, 0);
        self.file.write(&batch)
    }

    fn check(&self, item: &StoredItem) -> Result<(), SchemaError> {
        let invalid = |reason: String| Err(SchemaError::invalid(self.file.path(), reason));
        if item.fields.len() != self.fields.len() {
            let (got, expected) = (item.fields.len(), self.fields.len());
            return invalid(format!("item `{}` has {got} field values, {expected} fields are declared", item.id));
        }
        for (spec, value) in self.fields.iter().zip(&item.fields) {
            if let Some(value) = value
                && !value.fits(spec.r#type)
            {
                return invalid(format!("item `{}`: `{value}` is no {} for `{}`", item.id, spec.r#type, spec.name));
            }
        }
        Ok(())
    }
}

fn text_bytes(item: &StoredItem) -> usize {
    let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let fields: usize = item.fields.iter().flatten().map(value_bytes).sum();
    item.id.len() + optional(&item.title) + optional(&item.description) + optional(&item.image) + fields
}

fn value_bytes(value: &FieldValue) -> usize {
    match value {
        FieldValue::String(text) => text.len(),
        FieldValue::Strings(texts) => texts.iter().map(|text| text.len() + size_of::<i32>()).sum(),
        FieldValue::Boolean(_) | FieldValue::Integer(_) | FieldValue::Float(_) => size_of::<i64>(),
    }
}

#[derive(Debug)]
enum ColumnBuilder {
    String(StringBuilder),
    Strings(ListBuilder<StringBuilder>),
    Integer(Int64Builder),
    Float(Float64Builder),
    Boolean(BooleanBuilder),
}

impl ColumnBuilder {
    fn new(field_type: FieldType) -> ColumnBuilder {
        match field_type {
            FieldType::String | FieldType::Category => ColumnBuilder::String(StringBuilder::new()),
            FieldType::Strings => ColumnBuilder::Strings(ListBuilder::new(StringBuilder::new())),
            FieldType::Integer => ColumnBuilder::Integer(Int64Builder::new()),
            FieldType::Float => ColumnBuilder::Float(Float64Builder::new()),
            FieldType::Boolean => ColumnBuilder::Boolean(BooleanBuilder::new()),
        }
    }

    /// Appends a value that was checked to be of the column's type; of another type it counts as absent.
    fn append(&mut self, value: Option<&FieldValue>) {
        match (self, value) {
            (ColumnBuilder::String(builder), Some(FieldValue::String(text))) => builder.append_value(text),
            (ColumnBuilder::String(builder), _) => builder.append_null(),
            (ColumnBuilder::Strings(builder), Some(FieldValue::Strings(texts))) => {
                texts.iter().for_each(|text| builder.values().append_value(text));
                builder.append(true);
            }
            (ColumnBuilder::Strings(builder), _) => builder.append(false),
            (ColumnBuilder::Integer(builder), Some(FieldValue::Integer(number))) => builder.append_value(*number),
            (ColumnBuilder::Integer(builder), _) => builder.append_null(),
            (ColumnBuilder::Float(builder), Some(FieldValue::Float(number))) => builder.append_value(*number),
            (ColumnBuilder::Float(builder), _) => builder.append_null(),
            (ColumnBuilder::Boolean(builder), Some(FieldValue::Boolean(truth))) => builder.append_value(*truth),
            (ColumnBuilder::Boolean(builder), _) => builder.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            ColumnBuilder::String(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Strings(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Integer(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Float(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Boolean(builder) => Arc::new(builder.finish()),
        }
    }
}

//! Parquet catalogs, batch by batch. Owns which Parquet types can be read as what; values are `columns`'.

use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;

use super::Rows;
use super::columns::{Columns, MAX_ROW_TEXT_BYTES, Texts, cut, malformed, missing_column, too_much_text};
use crate::error::SchemaError;
use crate::field::{Cell, FieldType, MAX_LIST_STRINGS};
use crate::parquet_file::{Batches, Builder, open_with_views};

/// Rows that are decoded at once, at most.
pub const DEFAULT_PARQUET_ROWS: usize = 1_024;
/// Bytes that are decoded at once, as far as the file says truly how large its columns are; at least one row is.
pub const DEFAULT_PARQUET_BATCH_BYTES: u64 = 32 << 20;
/// Rows that are decoded at once when their pictures are bytes in a column: a picture can be megabytes.
pub const DEFAULT_PARQUET_ROWS_WITH_PICTURES: usize = 16;

pub(super) fn rows<'a>(path: &'a Path, columns: &'a Columns) -> Result<Rows<'a>, SchemaError> {
    let builder = open_with_views(path)?;
    let existing: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
    let mut places = Vec::with_capacity(columns.names().len());
    let mut batch_rows = DEFAULT_PARQUET_ROWS;
    for (number, name) in columns.names().iter().enumerate() {
        let place = existing.iter().position(|existing| existing == name);
        let place = place.ok_or_else(|| SchemaError::catalog(path, missing_column(path, name, &existing)))?;
        let data_type = builder.schema().field(place).data_type();
        let kind = Kind::of(data_type);
        check_use(columns, number, kind).map_err(|expected| {
            SchemaError::catalog(
                path,
                format!(
                    "the column `{name}` has the Parquet type {}, which is no {expected}",
                    cut(&data_type.to_string())
                ),
            )
        })?;
        if kind == Some(Kind::Bytes) && columns.image() == Some(number) {
            batch_rows = DEFAULT_PARQUET_ROWS_WITH_PICTURES;
        }
        places.push(place);
    }

    // The batches have the chosen columns in the file's order.
    let mut chosen = places.clone();
    chosen.sort_unstable();
    let batch_rows = batch_rows.min(rows_of_a_batch(&builder, &chosen));
    let mask = ProjectionMask::roots(builder.parquet_schema(), chosen.iter().copied());
    let order: Vec<usize> = places.iter().map(|place| chosen.partition_point(|earlier| earlier < place)).collect();
    let batches = Batches::new(path, builder.with_projection(mask).with_batch_size(batch_rows))?;

    let mut first_row = 1;
    let rows = batches.flat_map(move |batch| -> Rows<'a> {
        let arrays = batch.and_then(|batch| {
            let arrays = readable_columns(&batch, &order).map_err(SchemaError::arrow(path))?;
            Ok((batch.num_rows(), arrays))
        });
        let (count, arrays) = match arrays {
            Ok(arrays) => arrays,
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        let start = first_row;
        first_row += count as u64;
        Box::new((0..count).map(move |row| {
            // Before anything is copied.
            let text_bytes: usize = (0..arrays.len())
                .filter(|number| columns.image() != Some(*number))
                .map(|number| text_bytes(&arrays[number], row))
                .sum();
            if text_bytes > MAX_ROW_TEXT_BYTES {
                return malformed(path, start + row as u64, too_much_text(text_bytes));
            }
            let cells = arrays.iter().enumerate().map(|(number, array)| {
                let is_picture = columns.image() == Some(number);
                cell(array, row, is_picture)
            });
            columns.item(cells.collect(), Texts::Typed, path, start + row as u64)
        }))
    });
    Ok(Box::new(rows))
}

/// Rows of the chosen columns that have [`DEFAULT_PARQUET_BATCH_BYTES`] in the row group with the largest ones.
fn rows_of_a_batch(builder: &Builder, chosen: &[usize]) -> usize {
    let schema = builder.parquet_schema();
    let groups = builder.metadata().row_groups().iter().map(|group| {
        let columns = group.columns().iter().enumerate();
        let read = columns.filter(|(leaf, _)| chosen.contains(&schema.get_column_root_idx(*leaf)));
        // Sizes and counts are whatever the file says.
        let bytes =
            read.map(|(_, column)| u64::try_from(column.uncompressed_size()).unwrap_or(0)).fold(0, u64::saturating_add);
        let rows = u64::try_from(group.num_rows()).unwrap_or(0);
        DEFAULT_PARQUET_BATCH_BYTES.saturating_mul(rows) / bytes.max(1)
    });
    usize::try_from(groups.min().unwrap_or(1)).unwrap_or(usize::MAX).max(1)
}

/// Bytes of text in a cell.
fn text_bytes(array: &ArrayRef, row: usize) -> usize {
    if array.is_null(row) {
        return 0;
    }
    if let Some(texts) = array.as_string_view_opt() {
        return texts.value(row).len();
    }
    if let Some(bytes) = array.as_binary_view_opt() {
        return bytes.value(row).len();
    }
    match array.as_list_opt::<i32>().map(|lists| lists.value(row)) {
        Some(list) => {
            list.as_string_view_opt().map_or(0, |texts| texts.iter().flatten().map(|text| text.len() + 1).sum())
        }
        None => 0,
    }
}

/// What a Parquet column can be read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Texts,
    Integer,
    Float,
    Boolean,
    Bytes,
    /// Of nulls only, as writers make of an empty column.
    Nothing,
}

impl Kind {
    fn of(data_type: &DataType) -> Option<Kind> {
        if data_type.is_integer() {
            return Some(Kind::Integer);
        }
        // A decimal becomes the float nearest to it, the same as if it were written out in a CSV cell.
        if data_type.is_floating() || data_type.is_decimal() {
            return Some(Kind::Float);
        }
        if data_type.is_string() {
            return Some(Kind::Text);
        }
        if data_type.is_binary() {
            return Some(Kind::Bytes);
        }
        if let DataType::List(child) | DataType::LargeList(child) = data_type {
            return (Kind::of(child.data_type()) == Some(Kind::Text)).then_some(Kind::Texts);
        }
        if let DataType::Dictionary(_, value) = data_type {
            return Kind::of(value);
        }
        if data_type.is_null() {
            return Some(Kind::Nothing);
        }
        (data_type == &DataType::Boolean).then_some(Kind::Boolean)
    }
}

/// Checks that every use of a column can read it; otherwise every row would be rejected for the same reason. The error
/// says what is expected.
fn check_use(columns: &Columns, column: usize, kind: Option<Kind>) -> Result<(), &'static str> {
    let Some(kind) = kind else { return Err("string, number, boolean, list of strings or bytes") };
    let one_of =
        |kinds: &[Kind], expected| if kind == Kind::Nothing || kinds.contains(&kind) { Ok(()) } else { Err(expected) };
    if columns.id() == column {
        one_of(&[Kind::Text, Kind::Bytes, Kind::Integer], "string or integer")?;
    }
    if columns.is_text(column) {
        one_of(&[Kind::Text, Kind::Bytes], "string")?;
    }
    if columns.image() == Some(column) {
        one_of(&[Kind::Text, Kind::Bytes], "path or bytes")?;
    }
    for spec in columns.fields_of(column) {
        match spec.r#type {
            FieldType::String | FieldType::Category => one_of(&[Kind::Text, Kind::Bytes], "string")?,
            FieldType::Strings => one_of(&[Kind::Texts, Kind::Text, Kind::Bytes], "list of strings")?,
            // Writers turn integers with nulls into floats; each value is looked at.
            FieldType::Integer => one_of(&[Kind::Integer, Kind::Float], "integer")?,
            FieldType::Float => one_of(&[Kind::Integer, Kind::Float], "number")?,
            FieldType::Boolean => one_of(&[Kind::Boolean], "boolean")?,
        }
    }
    Ok(())
}

/// The configured columns in their order, of one type per kind.
fn readable_columns(batch: &RecordBatch, order: &[usize]) -> Result<Vec<ArrayRef>, ArrowError> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let readable = |place: &usize| {
        let array = batch.column(*place);
        let target = match Kind::of(array.data_type()) {
            Some(Kind::Text) => DataType::Utf8View,
            Some(Kind::Texts) => DataType::new_list(DataType::Utf8View, true),
            Some(Kind::Integer) if array.data_type() == &DataType::UInt64 => DataType::UInt64,
            Some(Kind::Integer) => DataType::Int64,
            Some(Kind::Float) => DataType::Float64,
            Some(Kind::Bytes) => DataType::BinaryView,
            Some(Kind::Boolean | Kind::Nothing) | None => array.data_type().clone(),
        };
        cast_with_options(array, &target, &options)
    };
    order.iter().map(readable).collect()
}

fn cell(array: &ArrayRef, row: usize, is_picture: bool) -> Cell {
    if array.is_null(row) {
        return Cell::Absent;
    }
    if let Some(texts) = array.as_string_view_opt() {
        return Cell::Text(texts.value(row).to_owned());
    }
    if let Some(numbers) = array.as_primitive_opt::<Int64Type>() {
        return Cell::Integer(numbers.value(row));
    }
    if let Some(numbers) = array.as_primitive_opt::<UInt64Type>() {
        let number = numbers.value(row);
        return i64::try_from(number).map_or(Cell::Unsigned(number), Cell::Integer);
    }
    if let Some(numbers) = array.as_primitive_opt::<Float64Type>() {
        return Cell::Float(numbers.value(row));
    }
    if let Some(truths) = array.as_boolean_opt() {
        return Cell::Boolean(truths.value(row));
    }
    if let Some(bytes) = array.as_binary_view_opt() {
        let bytes = bytes.value(row).to_vec();
        return if is_picture { Cell::Bytes(bytes) } else { text_of(bytes) };
    }
    if let Some(lists) = array.as_list_opt::<i32>() {
        let list = lists.value(row);
        if let Some(texts) = list.as_string_view_opt() {
            if texts.len() > MAX_LIST_STRINGS {
                return Cell::too_long_list();
            }
            return Cell::Texts(texts.iter().flatten().map(str::to_owned).collect());
        }
    }
    Cell::Other(format!("a value of the type {}", array.data_type()))
}

/// Text that a writer did not mark as such, which old versions of Spark and Impala do.
fn text_of(bytes: Vec<u8>) -> Cell {
    match String::from_utf8(bytes) {
        Ok(text) => Cell::Text(text),
        Err(error) => Cell::Other(format!("bytes that are not UTF-8: {error}")),
    }
}

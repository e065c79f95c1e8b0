//! Events in Parquet, batch by batch. Owns which column types are read as what.

use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;

use super::{Record, Rows};
use crate::error::SchemaError;
use crate::field::Cell;
use crate::parquet_file::{Batches, open};

/// Rows that are decoded at once.
const BATCH_ROWS: usize = 1_024;
/// The columns that are read, and whether they must be there.
const COLUMNS: [(&str, bool); 4] = [("user", false), ("id", true), ("time", true), ("weight", false)];

pub(super) fn rows(path: &Path) -> Result<Rows<'_>, SchemaError> {
    let builder = open(path)?;
    let mut chosen = Vec::new();
    for (place, field) in builder.schema().fields().iter().enumerate() {
        if COLUMNS.iter().any(|(name, _)| field.name() == name) {
            if target(field.data_type()).is_none() {
                let (name, data_type) = (field.name(), field.data_type());
                return Err(SchemaError::invalid(path, format!("the column `{name}` has the type {data_type}")));
            }
            chosen.push(place);
        }
    }
    for (name, _) in COLUMNS.iter().filter(|(_, required)| *required) {
        if chosen.iter().all(|place| builder.schema().field(*place).name() != name) {
            let reason =
                format!("it has no column `{name}`; a history has `id`, `time`, and perhaps `user` and `weight`");
            return Err(SchemaError::invalid(path, reason));
        }
    }
    let mask = ProjectionMask::roots(builder.parquet_schema(), chosen);
    let batches = Batches::new(path, builder.with_projection(mask).with_batch_size(BATCH_ROWS))?;
    let mut first_line = 1;
    Ok(Box::new(batches.flat_map(move |batch| -> Rows<'_> {
        let columns = batch.and_then(|batch| {
            let columns = readable_columns(&batch).map_err(SchemaError::arrow(path))?;
            Ok((batch.num_rows(), columns))
        });
        match columns {
            Err(error) => Box::new(std::iter::once(Err(error))),
            Ok((count, [user, id, time, weight])) => {
                let start = first_line;
                first_line += count as u64;
                Box::new((0..count).map(move |row| {
                    let [user, id, time, weight] = [&user, &id, &time, &weight].map(|array| cell(array.as_ref(), row));
                    Record { user, id, time, weight }.row(path, start + row as u64)
                }))
            }
        }
    })))
}

/// The one type that a column's type is read as; `None` for types that hold no part of an event.
fn target(data_type: &DataType) -> Option<DataType> {
    if data_type.is_string() {
        return Some(DataType::Utf8View);
    }
    if data_type.is_integer() {
        return Some(DataType::Int64);
    }
    if data_type.is_floating() || data_type.is_decimal() {
        return Some(DataType::Float64);
    }
    if data_type.is_null() {
        return Some(DataType::Null);
    }
    if let DataType::Dictionary(_, value) = data_type {
        return target(value);
    }
    if let DataType::Timestamp(_, zone) = data_type {
        return Some(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()));
    }
    None
}

/// The columns in the order of [`COLUMNS`].
fn readable_columns(batch: &RecordBatch) -> Result<[Option<ArrayRef>; 4], ArrowError> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let mut columns = [const { None }; 4];
    for ((name, _), column) in COLUMNS.iter().zip(&mut columns) {
        let Some(array) = batch.column_by_name(name) else { continue };
        *column = target(array.data_type()).map(|target| cast_with_options(array, &target, &options)).transpose()?;
    }
    Ok(columns)
}

fn cell(array: Option<&ArrayRef>, row: usize) -> Cell {
    let Some(array) = array.filter(|array| !array.is_null(row)) else { return Cell::Absent };
    if let Some(texts) = array.as_string_view_opt() {
        return Cell::Text(texts.value(row).to_owned());
    }
    if let Some(numbers) = array.as_primitive_opt::<Int64Type>() {
        return Cell::Integer(numbers.value(row));
    }
    if let Some(numbers) = array.as_primitive_opt::<Float64Type>() {
        return Cell::Float(numbers.value(row));
    }
    if let Some(times) = array.as_primitive_opt::<TimestampMicrosecondType>() {
        return Cell::Float(times.value(row) as f64 / 1e6);
    }
    Cell::Absent
}

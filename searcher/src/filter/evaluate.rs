//! Filter expression × items → rows. Owns three-valued logic over whole sets of rows and reading the columns; not the
//! expression. Invariant: no row is both matched and refused; a row that is neither has no value for what decides.

use std::path::PathBuf;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Float64Type, Int64Type};
use schemas::items::{ITEMS_FILE, ItemsReader};
use schemas::{Row, SchemaError};

use super::condition::{Expression, Number, Test};
use crate::error::SearchError;
use crate::row_set::RowSet;

/// The rows of `items` for which the expression is true.
pub(super) fn evaluate(expression: &Expression, items: &ItemsReader) -> Result<RowSet, SearchError> {
    Ok(truth(expression, items)?.matched)
}

/// Where an expression is true and where it is false; elsewhere a value is absent (Kleene's logic, as in SQL).
struct Truth {
    matched: RowSet,
    refused: RowSet,
}

impl Truth {
    fn nowhere(row_count: u64) -> Truth {
        Truth { matched: RowSet::empty(row_count), refused: RowSet::empty(row_count) }
    }

    fn decide(&mut self, row: Row, matches: bool) {
        if matches { self.matched.insert(row) } else { self.refused.insert(row) }
    }

    fn negated(self) -> Truth {
        Truth { matched: self.refused, refused: self.matched }
    }

    fn and(mut self, other: &Truth) -> Truth {
        self.matched.intersect(&other.matched);
        self.refused.union(&other.refused);
        self
    }

    fn or(mut self, other: &Truth) -> Truth {
        self.matched.union(&other.matched);
        self.refused.intersect(&other.refused);
        self
    }
}

fn truth(expression: &Expression, items: &ItemsReader) -> Result<Truth, SearchError> {
    match expression {
        Expression::And(sides) => joined(sides, items, Truth::and),
        Expression::Or(sides) => joined(sides, items, Truth::or),
        Expression::Not(side) => Ok(truth(side, items)?.negated()),
        Expression::Exists(column) => each_batch(*column, items, |truth, rows, values| {
            rows.zip(0..values.len()).for_each(|(row, place)| truth.decide(row, values.is_valid(place)));
            true
        }),
        Expression::Condition { column, test } => {
            each_batch(*column, items, |truth, rows, values| decide_values(truth, rows, values, test).is_some())
        }
    }
}

fn joined(sides: &[Expression], items: &ItemsReader, join: fn(Truth, &Truth) -> Truth) -> Result<Truth, SearchError> {
    let mut joined: Option<Truth> = None;
    for side in sides {
        let side = truth(side, items)?;
        joined = Some(match joined {
            Some(others) => join(others, &side),
            None => side,
        });
    }
    // The parser never makes an empty list.
    Ok(joined.unwrap_or_else(|| Truth::nowhere(items.row_count())))
}

/// Calls `decide` with a column's values of each batch and their rows; `decide` says whether it knows their type.
fn each_batch(
    column: usize,
    items: &ItemsReader,
    decide: impl Fn(&mut Truth, std::ops::RangeFrom<Row>, &ArrayRef) -> bool,
) -> Result<Truth, SearchError> {
    let mut truth = Truth::nowhere(items.row_count());
    for batch in 0..items.batch_count() {
        let (first_row, values) = items.column(batch, column)?;
        if !decide(&mut truth, first_row.., values) {
            let reason = format!("column {column} is {}, which no field can be", values.data_type());
            return Err(SchemaError::Invalid { path: PathBuf::from(ITEMS_FILE), reason }.into());
        }
    }
    Ok(truth)
}

/// Decides the rows that have a value; `None` when the column is of a type that no field has.
fn decide_values(truth: &mut Truth, rows: std::ops::RangeFrom<Row>, values: &ArrayRef, test: &Test) -> Option<()> {
    let mut decide = |row: Row, matches: Option<bool>| {
        if let Some(matches) = matches {
            truth.decide(row, matches);
        }
    };
    if let Some(values) = values.as_string_opt::<i32>() {
        rows.zip(values).for_each(|(row, value)| decide(row, value.map(|value| test.matches_string(value))));
    } else if let Some(lists) = values.as_list_opt::<i32>() {
        let strings = lists.values().as_string_opt::<i32>()?;
        for (row, place) in rows.zip(0..lists.len()) {
            let bounds = &lists.value_offsets()[place..=place + 1];
            let elements = (bounds[0]..bounds[1]).filter_map(|element| usize::try_from(element).ok());
            let values = elements.filter(|element| strings.is_valid(*element)).map(|element| strings.value(element));
            let contains = test.matches_strings(values);
            decide(row, lists.is_valid(place).then_some(contains));
        }
    } else if let Some(values) = values.as_primitive_opt::<Int64Type>() {
        let matches = |value| test.matches_number(Number::Integer(value));
        rows.zip(values).for_each(|(row, value)| decide(row, value.map(matches)));
    } else if let Some(values) = values.as_primitive_opt::<Float64Type>() {
        let matches = |value| test.matches_number(Number::Float(value));
        rows.zip(values).for_each(|(row, value)| decide(row, value.map(matches)));
    } else {
        let values = values.as_boolean_opt()?;
        rows.zip(values).for_each(|(row, value)| decide(row, value.map(|value| test.matches_boolean(value))));
    }
    Some(())
}

//! A field's values in a snapshot. Owns reading them, and numbering the different ones; not what is proposed. Invariant: a
//! number stands for one value, in the order of the values' texts.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{FieldType, FieldValue, Row};
use searcher::{RowSet, Searcher};

use crate::error::IndexError;

/// The values of a field, by row.
pub(super) struct FieldValues {
    field: String,
    names: Vec<String>,
    /// Number of each row's value.
    rows: Vec<Option<usize>>,
}

impl FieldValues {
    /// Reads a field of strings or categories.
    pub(super) fn read(searcher: &Searcher, field: &str) -> Result<FieldValues, IndexError> {
        let refuse = |reason: String| Err(IndexError::Label { reason });
        let fields = &searcher.manifest().fields;
        let Some(column) = fields.iter().position(|spec| spec.name == field) else {
            let names: Vec<&str> = fields.iter().map(|spec| spec.name.as_str()).collect();
            return refuse(format!("the snapshot has no field `{field}`; it has {}", names.join(", ")));
        };
        match fields[column].r#type {
            FieldType::String | FieldType::Category => {}
            other @ (FieldType::Strings | FieldType::Integer | FieldType::Float | FieldType::Boolean) => {
                return refuse(format!("the field `{field}` is {other}; only string and category can be labelled"));
            }
        }
        let mut texts: Vec<Option<String>> = Vec::new();
        for row in 0..Row::try_from(searcher.items().row_count()).unwrap_or(Row::MAX) {
            let value = searcher.items().item(row)?.fields.swap_remove(column);
            texts.push(match value {
                Some(FieldValue::String(text)) if !text.trim().is_empty() => Some(text),
                Some(
                    FieldValue::String(_)
                    | FieldValue::Strings(_)
                    | FieldValue::Integer(_)
                    | FieldValue::Float(_)
                    | FieldValue::Boolean(_),
                )
                | None => None,
            });
        }
        let names: BTreeSet<&String> = texts.iter().flatten().collect();
        let numbers: BTreeMap<&String, usize> = names.into_iter().zip(0..).collect();
        let rows = texts.iter().map(|text| text.as_ref().and_then(|text| numbers.get(text).copied())).collect();
        let names: Vec<String> = numbers.into_keys().cloned().collect();
        if names.is_empty() {
            return refuse(format!("no item has a value of `{field}` to learn from"));
        }
        Ok(FieldValues { field: field.to_owned(), names, rows })
    }

    pub(super) fn field(&self) -> &str {
        &self.field
    }

    /// The different values.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// The value of a number.
    pub(super) fn name(&self, number: usize) -> &str {
        &self.names[number]
    }

    /// The number of a row's value.
    pub(super) fn of(&self, row: Row) -> Option<usize> {
        self.rows.get(row as usize).copied().flatten()
    }

    /// The rows that have a value.
    pub(super) fn labelled_rows(&self) -> RowSet {
        let mut rows = RowSet::empty(self.rows.len() as u64);
        (0..).zip(&self.rows).filter(|(_, value)| value.is_some()).for_each(|(row, _)| rows.insert(row));
        rows
    }

    /// The rows that lack one, in ascending order.
    pub(super) fn missing_rows(&self) -> impl Iterator<Item = Row> {
        (0..).zip(&self.rows).filter(|(_, value)| value.is_none()).map(|(row, _)| row)
    }
}

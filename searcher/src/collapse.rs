//! One hit per value of a field: per product family, brand or shop. Owns which of equal ones stays and how many others
//! there were; not the ranking. Invariant: the best ranked of each value stays, in the order there was; items without a
//! value all stay.

use std::collections::HashMap;

use schemas::items::ItemsReader;
use schemas::{FieldSpec, FieldType, Row};

use crate::error::SearchError;
use crate::field_column::{FieldColumn, KnownField, StoredValue, shown_type};
use crate::rank_fusion::RankedRow;

/// A field to collapse by, of a type that it can be done with.
#[derive(Debug)]
pub(crate) struct Collapse {
    field: KnownField,
}

/// A value that several items can share.
#[derive(PartialEq, Eq, Hash)]
enum Family<'a> {
    Text(&'a str),
    Integer(i64),
}

impl Collapse {
    /// Fails when the field is unknown or not a string, a category or an integer.
    pub(crate) fn new(name: &str, fields: &[FieldSpec]) -> Result<Collapse, SearchError> {
        let refuse = |reason: String| SearchError::Query { reason: format!("collapse: {reason}") };
        let field = KnownField::named(name, fields).map_err(refuse)?;
        match field.r#type {
            FieldType::String | FieldType::Category | FieldType::Integer => Ok(Collapse { field }),
            FieldType::Strings | FieldType::Float | FieldType::Boolean => Err(refuse(format!(
                "`{name}` is {}; one hit per value needs a string, a category or an integer",
                shown_type(field.r#type)
            ))),
        }
    }

    /// The best ranked row of each value, and how many others each one stands for. O(rows).
    pub(crate) fn apply(
        &self,
        items: &ItemsReader,
        ranked: Vec<RankedRow>,
    ) -> Result<(Vec<RankedRow>, HashMap<Row, usize>), SearchError> {
        let column = FieldColumn::new(items, &self.field);
        let mut first_of: HashMap<Family<'_>, Row> = HashMap::new();
        let mut others: HashMap<Row, usize> = HashMap::new();
        let mut kept = Vec::with_capacity(ranked.len());
        for place in ranked {
            let family = match column.value(place.row)? {
                Some(StoredValue::Text(text)) => Some(Family::Text(text)),
                Some(StoredValue::Integer(number)) => Some(Family::Integer(number)),
                // Not of a field that `new` let pass.
                Some(StoredValue::Texts(_) | StoredValue::Float(_) | StoredValue::Boolean(_)) | None => None,
            };
            let first = family.map_or(place.row, |family| *first_of.entry(family).or_insert(place.row));
            if first == place.row {
                others.insert(first, 0);
                kept.push(place);
            } else if let Some(others) = others.get_mut(&first) {
                *others += 1;
            }
        }
        Ok((kept, others))
    }
}

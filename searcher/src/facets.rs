//! Counts of values over a result set. Owns what is counted for each type and in which order it stands; not which items are
//! in the set. Invariant: the counts describe the whole list that is paged, so they are the same on every page.

use std::collections::{BTreeMap, HashMap};

use schemas::items::ItemsReader;
use schemas::{FieldSpec, FieldType, FieldValue};
use serde::Serialize;

use crate::error::SearchError;
use crate::field_column::{FieldColumn, KnownField, StoredValue};
use crate::rank_fusion::RankedRow;

/// Values of a facet that are shown when no number is asked for.
pub const DEFAULT_FACET_VALUES: usize = 10;

/// What a result set has in one field.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FacetCounts {
    /// The field.
    #[serde(skip)]
    pub field: String,
    /// The values.
    #[serde(flatten)]
    pub summary: FacetSummary,
    /// Items of the set without a value.
    pub absent: usize,
}

/// The values of a facet.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum FacetSummary {
    /// Of strings, lists, categories and Booleans.
    Values {
        /// The most frequent values, most frequent first, equal counts by value. A list counts once for each different
        /// element; a category for itself and for every category above it, which stands before it.
        values: Vec<FacetValue>,
        /// Number of further values, which are not shown.
        further: usize,
    },
    /// Of integers and other numbers.
    Range {
        /// Items with a value.
        count: usize,
        /// Smallest value; `None` where no item has one.
        #[serde(skip_serializing_if = "Option::is_none")]
        min: Option<FieldValue>,
        /// Largest value.
        #[serde(skip_serializing_if = "Option::is_none")]
        max: Option<FieldValue>,
    },
}

/// A value and the items that have it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FacetValue {
    /// The value.
    pub value: FieldValue,
    /// Items of the set that have it.
    pub count: usize,
}

/// Fields to count, each once.
#[derive(Debug)]
pub(crate) struct Facets {
    fields: Vec<KnownField>,
    /// Values shown of each.
    limit: usize,
}

impl Facets {
    /// Fails when a field is unknown.
    pub(crate) fn new(names: &[String], limit: usize, fields: &[FieldSpec]) -> Result<Facets, SearchError> {
        let refuse = |reason: String| SearchError::Query { reason: format!("facet: {reason}") };
        let known = names.iter().map(|name| KnownField::named(name, fields).map_err(refuse));
        Ok(Facets { fields: known.collect::<Result<_, _>>()?, limit })
    }

    /// Counts every field over the whole list. O(rows · fields).
    pub(crate) fn count(&self, items: &ItemsReader, ranked: &[RankedRow]) -> Result<Vec<FacetCounts>, SearchError> {
        self.fields.iter().map(|field| self.count_field(field, items, ranked)).collect()
    }

    fn count_field(
        &self,
        field: &KnownField,
        items: &ItemsReader,
        ranked: &[RankedRow],
    ) -> Result<FacetCounts, SearchError> {
        let column = FieldColumn::new(items, field);
        let mut counts = Counts::default();
        for place in ranked {
            match column.value(place.row)? {
                Some(value) => counts.add(&value, field.r#type),
                None => counts.absent += 1,
            }
        }
        let absent = counts.absent;
        Ok(FacetCounts { field: field.name.clone(), summary: counts.summary(field.r#type, self.limit), absent })
    }
}

/// Counts in the making; a field uses those of its type.
#[derive(Default)]
struct Counts<'a> {
    absent: usize,
    texts: HashMap<&'a str, usize>,
    booleans: BTreeMap<bool, usize>,
    numbers: usize,
    integers: Option<(i64, i64)>,
    floats: Option<(f64, f64)>,
}

impl<'a> Counts<'a> {
    fn add(&mut self, value: &StoredValue<'a>, r#type: FieldType) {
        match value {
            StoredValue::Text(text) if r#type == FieldType::Category => {
                let above = text.match_indices(" > ").map(|(end, _)| &text[..end]);
                above.chain([*text]).for_each(|path| self.add_text(path));
            }
            StoredValue::Text(text) => self.add_text(text),
            StoredValue::Texts(texts) => {
                let mut texts = texts.clone();
                texts.sort_unstable();
                texts.dedup();
                texts.into_iter().for_each(|text| self.add_text(text));
            }
            StoredValue::Boolean(truth) => *self.booleans.entry(*truth).or_default() += 1,
            StoredValue::Integer(number) => {
                let (min, max) = self.integers.unwrap_or((*number, *number));
                self.integers = Some((min.min(*number), max.max(*number)));
                self.numbers += 1;
            }
            StoredValue::Float(number) => {
                let (min, max) = self.floats.unwrap_or((*number, *number));
                self.floats = Some((min.min(*number), max.max(*number)));
                self.numbers += 1;
            }
        }
    }

    fn add_text(&mut self, text: &'a str) {
        *self.texts.entry(text).or_default() += 1;
    }

    fn summary(self, r#type: FieldType, limit: usize) -> FacetSummary {
        let count = self.numbers;
        match r#type {
            FieldType::Integer => {
                let (min, max) =
                    self.integers.map(|(min, max)| (FieldValue::Integer(min), FieldValue::Integer(max))).unzip();
                FacetSummary::Range { count, min, max }
            }
            FieldType::Float => {
                let (min, max) = self.floats.map(|(min, max)| (FieldValue::Float(min), FieldValue::Float(max))).unzip();
                FacetSummary::Range { count, min, max }
            }
            FieldType::Boolean => most_first(self.booleans.into_iter().collect(), limit, FieldValue::Boolean),
            FieldType::String | FieldType::Strings | FieldType::Category => {
                most_first(self.texts.into_iter().collect(), limit, |text| FieldValue::String(text.to_owned()))
            }
        }
    }
}

/// The most frequent values. A category stands after the ones above it: they have at least its count, and are shorter.
fn most_first<V: Ord>(mut counts: Vec<(V, usize)>, limit: usize, shown: impl Fn(V) -> FieldValue) -> FacetSummary {
    counts.sort_unstable_by(|(left, left_count), (right, right_count)| {
        right_count.cmp(left_count).then_with(|| left.cmp(right))
    });
    let further = counts.len().saturating_sub(limit);
    counts.truncate(limit);
    let values = counts.into_iter().map(|(value, count)| FacetValue { value: shown(value), count });
    FacetSummary::Values { values: values.collect(), further }
}

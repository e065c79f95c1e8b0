//! Order by stored values in place of the ranking. Owns sort keys, how they are written and the order they make; not what
//! is sorted. Invariants: a stable order, so that equal values keep the ranked order; an item without a value comes after
//! all that have one, whatever the direction.

use std::cmp::Ordering;
use std::str::FromStr;

use schemas::items::ItemsReader;
use schemas::{FieldSpec, FieldType};

use crate::error::SearchError;
use crate::field_column::{FieldColumn, KnownField, StoredValue, shown_type};
use crate::rank_fusion::RankedRow;

/// What stands for the final score in a sort key.
const SCORE: &str = "score";

/// What hits are sorted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SortBy {
    /// The final score.
    Score,
    /// A field of that name; not a list of strings.
    Field(String),
}

/// Which values come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortDirection {
    /// Small numbers, strings by code point, `false` before `true`.
    Ascending,
    /// The other way round.
    Descending,
}

/// One key of an order; a later key decides where the ones before it are equal.
///
/// Written `FIELD`, `FIELD:asc` or `FIELD:desc`; `score` is the final score, also where a field has that name. Without a
/// direction the score falls and everything else rises. A name with a colon in it is written with a direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortKey {
    /// The value.
    pub by: SortBy,
    /// The direction.
    pub direction: SortDirection,
}

impl FromStr for SortKey {
    type Err = String;

    fn from_str(text: &str) -> Result<SortKey, String> {
        let (name, direction) = match text.rsplit_once(':') {
            Some((name, "asc")) => (name, Some(SortDirection::Ascending)),
            Some((name, "desc")) => (name, Some(SortDirection::Descending)),
            Some((_, direction)) => {
                return Err(format!("`{direction}` is no direction; write `asc` or `desc` after the colon"));
            }
            None => (text, None),
        };
        if name.is_empty() {
            return Err("the field is missing; write `FIELD`, `FIELD:asc` or `FIELD:desc`".to_owned());
        }
        let (by, default) = if name == SCORE {
            (SortBy::Score, SortDirection::Descending)
        } else {
            (SortBy::Field(name.to_owned()), SortDirection::Ascending)
        };
        Ok(SortKey { by, direction: direction.unwrap_or(default) })
    }
}

impl std::fmt::Display for SortKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match &self.by {
            SortBy::Score => SCORE,
            SortBy::Field(name) => name,
        };
        let direction = match self.direction {
            SortDirection::Ascending => "asc",
            SortDirection::Descending => "desc",
        };
        write!(formatter, "{name}:{direction}")
    }
}

/// Sort keys that fit the fields of a snapshot.
#[derive(Debug)]
pub(crate) struct Sort {
    /// The field, or `None` for the score.
    keys: Vec<(Option<KnownField>, SortDirection)>,
}

impl Sort {
    /// Fails when a field is unknown or is a list.
    pub(crate) fn new(keys: &[SortKey], fields: &[FieldSpec]) -> Result<Sort, SearchError> {
        let refuse = |reason: String| SearchError::Query { reason: format!("sort: {reason}") };
        let known = |key: &SortKey| {
            let SortBy::Field(name) = &key.by else { return Ok((None, key.direction)) };
            let field = KnownField::named(name, fields).map_err(refuse)?;
            if field.r#type == FieldType::Strings {
                let reason = format!(
                    "`{name}` is {}, which has no order; sort by a field with one value, or filter and count it with a facet",
                    shown_type(field.r#type)
                );
                return Err(refuse(reason));
            }
            Ok((Some(field), key.direction))
        };
        Ok(Sort { keys: keys.iter().map(known).collect::<Result<_, _>>()? })
    }

    /// The list in this order; as it is where there is no key. O(rows · (keys + log rows)).
    pub(crate) fn apply(&self, items: &ItemsReader, ranked: Vec<RankedRow>) -> Result<Vec<RankedRow>, SearchError> {
        if self.keys.is_empty() {
            return Ok(ranked);
        }
        let mut keyed = Vec::with_capacity(ranked.len());
        for place in ranked {
            let mut values = Vec::with_capacity(self.keys.len());
            for (field, direction) in &self.keys {
                let value = match field {
                    Some(field) => FieldColumn::new(items, field).value(place.row)?,
                    None => Some(StoredValue::Float(f64::from(place.score))),
                };
                values.push((value, *direction));
            }
            keyed.push((values, place));
        }
        keyed.sort_by(|(left, _), (right, _)| {
            let orders = left.iter().zip(right).map(|((left, direction), (right, _))| compare(left, right, *direction));
            orders.fold(Ordering::Equal, Ordering::then)
        });
        Ok(keyed.into_iter().map(|(_, place)| place).collect())
    }
}

fn compare(left: &Option<StoredValue<'_>>, right: &Option<StoredValue<'_>>, direction: SortDirection) -> Ordering {
    let (left, right) = match (left, right) {
        (Some(left), Some(right)) => (left, right),
        (Some(_), None) => return Ordering::Less,
        (None, Some(_)) => return Ordering::Greater,
        (None, None) => return Ordering::Equal,
    };
    let ascending = match (left, right) {
        (StoredValue::Text(left), StoredValue::Text(right)) => left.cmp(right), // UTF-8 has the order of code points
        (StoredValue::Integer(left), StoredValue::Integer(right)) => left.cmp(right),
        // Adding zero turns -0 into 0, which `total_cmp` would tell apart.
        (StoredValue::Float(left), StoredValue::Float(right)) => (left + 0.0).total_cmp(&(right + 0.0)),
        (StoredValue::Boolean(left), StoredValue::Boolean(right)) => left.cmp(right),
        // Values of one column have one type, and no lists come here.
        (
            StoredValue::Text(_)
            | StoredValue::Texts(_)
            | StoredValue::Integer(_)
            | StoredValue::Float(_)
            | StoredValue::Boolean(_),
            _,
        ) => Ordering::Equal,
    };
    match direction {
        SortDirection::Ascending => ascending,
        SortDirection::Descending => ascending.reverse(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_with_or_without_a_direction() {
        let key = |text: &str| text.parse::<SortKey>().map(|key| key.to_string());
        assert_eq!(key("price").as_deref(), Ok("price:asc"));
        assert_eq!(key("price:desc").as_deref(), Ok("price:desc"));
        assert_eq!(key("score").as_deref(), Ok("score:desc"));
        assert_eq!(key("score:asc").as_deref(), Ok("score:asc"));
        assert_eq!(key("g:price:asc").as_deref(), Ok("g:price:asc"));
        assert!(key("price:down").unwrap_err().contains("`down` is no direction"));
        assert!(key("").unwrap_err().contains("missing"));
        assert!(key(":desc").unwrap_err().contains("missing"));
    }

    #[test]
    fn absent_values_come_last_in_both_directions() {
        let (small, large) = (Some(StoredValue::Float(-0.0)), Some(StoredValue::Float(1.0)));
        let zero = Some(StoredValue::Float(0.0));
        let [up, down] = [SortDirection::Ascending, SortDirection::Descending];
        assert_eq!((compare(&small, &large, up), compare(&small, &large, down)), (Ordering::Less, Ordering::Greater));
        assert_eq!((compare(&small, &None, up), compare(&small, &None, down)), (Ordering::Less, Ordering::Less));
        assert_eq!(compare(&small, &zero, up), Ordering::Equal);
        assert_eq!(compare(&None, &None, down), Ordering::Equal);
    }
}

//! What a search gives back. Owns the records and their JSON form; not how they are shown. Invariant: the JSON field
//! names are part of the command line's contract and only grow.

use std::time::Duration;

use schemas::{FieldValue, Row};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::explain::Explanation;
use crate::facets::FacetCounts;

/// One page of the ranked list.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Results {
    /// The hits of the page, best first.
    pub hits: Vec<Hit>,
    /// Candidates in all, on every page: at most twice the query's depth, or, of a query that only filters or sorts, every
    /// item that matches; less what was collapsed.
    pub total: usize,
    /// Counts over all of them, in the order asked for.
    pub facets: Vec<FacetCounts>,
    /// Time from question to answer, encoding included.
    pub took: Duration,
}

/// A candidate with its stored fields and, where asked for, its explanation.
///
/// In JSON it is one flat object: `rank`, `id`, `score`, `title`, `description`, `image`, then the declared fields by
/// name, then `others`, `duplicate_of` and `explain`. What the item does not have is not there, but for the title, which is then null. A declared
/// field with the name of a key of the hit itself is written as `field.<name>`.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Place in the whole list, from 1.
    pub rank: usize,
    /// Row number in this snapshot; not the same in the next one.
    pub row: Row,
    /// The item's id.
    pub id: String,
    /// Final score.
    pub score: f32,
    /// Title.
    pub title: Option<String>,
    /// Description.
    pub description: Option<String>,
    /// Picture's path, as in the catalog.
    pub image: Option<String>,
    /// Declared fields that the item has, in the snapshot's order.
    pub fields: Vec<(String, FieldValue)>,
    /// Candidates with the same value of the collapsed field that this one stands for; only where asked for.
    pub others: Option<usize>,
    /// Id of an earlier hit of the list with nearly the same picture; see [`crate::near_duplicates`].
    pub duplicate_of: Option<String>,
    /// Where the score comes from; only where asked for.
    pub explain: Option<Explanation>,
}

/// Keys of a hit that a declared field may have too; the others are reserved in the catalog.
const OWN_KEYS: [&str; 5] = ["rank", "score", "others", "duplicate_of", "explain"];

impl Serialize for Hit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Hit { rank, row: _, id, score, title, description, image, fields, others, duplicate_of, explain } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("rank", rank)?;
        map.serialize_entry("id", id)?;
        map.serialize_entry("score", score)?;
        map.serialize_entry("title", title)?;
        for (key, text) in [("description", description), ("image", image)] {
            if let Some(text) = text {
                map.serialize_entry(key, text)?;
            }
        }
        for (name, value) in fields {
            if OWN_KEYS.contains(&name.as_str()) {
                map.serialize_entry(&format!("field.{name}"), value)?;
            } else {
                map.serialize_entry(name, value)?;
            }
        }
        if let Some(others) = others {
            map.serialize_entry("others", others)?;
        }
        if let Some(duplicate_of) = duplicate_of {
            map.serialize_entry("duplicate_of", duplicate_of)?;
        }
        if let Some(explain) = explain {
            map.serialize_entry("explain", explain)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_is_one_flat_object() {
        let fields = vec![
            ("price".to_owned(), FieldValue::Float(12.5)),
            ("score".to_owned(), FieldValue::Integer(4)),
            ("tags".to_owned(), FieldValue::Strings(vec!["new".to_owned()])),
        ];
        let hit = Hit {
            rank: 1,
            row: 7,
            id: "p1".to_owned(),
            score: 0.5,
            title: None,
            description: None,
            image: Some("a.jpg".to_owned()),
            fields,
            others: Some(2),
            duplicate_of: Some("p0".to_owned()),
            explain: None,
        };
        let json = r#"{"rank":1,"id":"p1","score":0.5,"title":null,"image":"a.jpg","price":12.5,"field.score":4,"tags":["new"],"others":2,"duplicate_of":"p0"}"#;
        assert_eq!(serde_json::to_string(&hit).unwrap(), json);
    }
}

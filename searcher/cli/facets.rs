//! Facets as tables and as JSON. Owns both layouts; the counts are the library's.

use schemas::FieldValue;
use searcher::FacetCounts;
use searcher::facets::{FacetSummary, FacetValue};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::output::shown;
use crate::table;

/// Facets by the name of their field, in the order asked for.
pub(crate) struct ByField<'a>(pub(crate) &'a [FacetCounts]);

impl Serialize for ByField<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for facet in self.0 {
            map.serialize_entry(&facet.field, facet)?;
        }
        map.end()
    }
}

/// A table for each facet, each after an empty line.
pub(crate) fn tables(facets: &[FacetCounts]) -> String {
    facets.iter().map(|facet| format!("\n{}", facet_table(facet))).collect()
}

fn facet_table(facet: &FacetCounts) -> String {
    let FacetCounts { field, summary, absent } = facet;
    let value = |value: &FieldValue| shown(&value.to_string());
    let mut rows: Vec<Vec<String>> = match summary {
        FacetSummary::Values { values, further } => {
            let row = |found: &FacetValue| vec![value(&found.value), found.count.to_string()];
            let more = (*further > 0).then(|| vec![format!("({further} more)"), String::new()]);
            values.iter().map(row).chain(more).collect()
        }
        FacetSummary::Range { count, min, max } => match (min, max) {
            (Some(min), Some(max)) => vec![vec![format!("{} to {}", value(min), value(max)), count.to_string()]],
            (_, None) | (None, _) => Vec::new(),
        },
    };
    if *absent > 0 {
        rows.push(vec!["(none)".to_owned(), absent.to_string()]);
    }
    table::figures(vec![shown(field), "items".to_owned()], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_facet_is_a_table_and_an_object() {
        let red = FacetValue { value: FieldValue::String("red\u{1b}".to_owned()), count: 12 };
        let colour = FacetSummary::Values { values: vec![red], further: 3 };
        let price =
            FacetSummary::Range { count: 9, min: Some(FieldValue::Float(1.5)), max: Some(FieldValue::Float(20.0)) };
        let facets = [
            FacetCounts { field: "colour".to_owned(), summary: colour, absent: 1 },
            FacetCounts { field: "price".to_owned(), summary: price, absent: 0 },
        ];
        let lines = "\n colour     items\n red\\u{1b}     12\n (3 more)\n (none)         1\n\n price      items\n 1.5 to 20      9\n";
        assert_eq!(tables(&facets), lines);
        assert_eq!(
            serde_json::to_string(&ByField(&facets)).unwrap(),
            r#"{"colour":{"values":[{"value":"red\u001b","count":12}],"further":3,"absent":1},"price":{"count":9,"min":1.5,"max":20.0,"absent":0}}"#
        );
    }
}

//! Facets and collapsing beside a count over the items.

use std::collections::{BTreeMap, BTreeSet};

use schemas::FieldValue;
use searcher::facets::FacetSummary;
use searcher::{Hit, Mode, Query};

use super::{browse, field, ids, many, message, opened};

#[test]
fn facets_count_what_total_counts() {
    let (_folder, searcher) = opened(&many());
    let facets = ["brand", "price", "stock", "new", "category", "tags"].map(str::to_owned).to_vec();
    let query = Query { facets: facets.clone(), facet_values: 3, limit: 1, ..browse() };
    let results = searcher.search(&query).unwrap();
    assert_eq!(results.facets.iter().map(|facet| facet.field.clone()).collect::<Vec<_>>(), facets);
    for (place, facet) in results.facets.iter().enumerate() {
        let values: Vec<Option<FieldValue>> = many().into_iter().map(|item| item.item.fields[place].clone()).collect();
        assert_eq!(facet.absent, values.iter().filter(|value| value.is_none()).count(), "{}", facet.field);
        let present = values.len() - facet.absent;
        match &facet.summary {
            FacetSummary::Range { count, min, max } => {
                assert_eq!(*count, present);
                let [least, most] = if facet.field == "price" {
                    [FieldValue::Float(0.0), FieldValue::Float(120.0)]
                } else {
                    [FieldValue::Integer(-1), FieldValue::Integer(i64::MAX)]
                };
                assert_eq!((min.clone(), max.clone()), (Some(least), Some(most)));
            }
            FacetSummary::Values { values: shown, further } => {
                let mut counts: BTreeMap<String, usize> = BTreeMap::new();
                for value in values.into_iter().flatten() {
                    let own: BTreeSet<String> = match value {
                        FieldValue::Strings(texts) => texts.into_iter().collect(),
                        FieldValue::String(path) if facet.field == "category" => {
                            let levels: Vec<&str> = path.split(" > ").collect();
                            (1..=levels.len()).map(|end| levels[..end].join(" > ")).collect()
                        }
                        one @ (FieldValue::String(_)
                        | FieldValue::Boolean(_)
                        | FieldValue::Integer(_)
                        | FieldValue::Float(_)) => [one.to_string()].into(),
                    };
                    own.into_iter().for_each(|value| *counts.entry(value).or_default() += 1);
                }
                let mut expected: Vec<(String, usize)> = counts.into_iter().collect();
                expected.sort_by_key(|(value, count)| (std::cmp::Reverse(*count), value.clone()));
                assert_eq!(*further, expected.len().saturating_sub(3));
                expected.truncate(3);
                let shown: Vec<(String, usize)> =
                    shown.iter().map(|found| (found.value.to_string(), found.count)).collect();
                assert_eq!(shown, expected, "{}", facet.field);
            }
        }
    }
    let collapsed = searcher.search(&Query { collapse: Some("brand".to_owned()), ..query.clone() }).unwrap();
    let FacetSummary::Values { values, .. } = &collapsed.facets[0].summary else { panic!("brand has values") };
    assert!(values.iter().all(|found| found.count == 1), "counted after collapsing");
    assert_eq!(collapsed.facets[0].absent + 4, collapsed.total);
    let empty = searcher.search(&Query { filter: Some("price > 1000".to_owned()), ..query }).unwrap();
    assert_eq!(serde_json::to_string(&empty.facets[1]).unwrap(), r#"{"count":0,"absent":0}"#);
    assert!(
        message(&searcher, &Query { facets: vec!["barnd".to_owned()], ..browse() }).contains("did you mean `brand`?")
    );
    assert!(message(&searcher, &Query { facets: vec!["brand".to_owned(); 2], ..browse() }).contains("asked for twice"));
}

#[test]
fn collapsing_leaves_the_best_of_each_value() {
    let (_folder, searcher) = opened(&many());
    let whole = Query { mode: Mode::Keyword, limit: 100, ..Query::text("mug") };
    let ranked = searcher.search(&whole).unwrap();
    for name in ["brand", "stock", "category", "title"] {
        let query = Query { collapse: Some(name.to_owned()), ..whole.clone() };
        let collapsed = searcher.search(&query).unwrap();
        let value =
            |hit: &Hit| if name == "title" { hit.title.clone() } else { field(hit, name).map(ToString::to_string) };
        let mut seen = BTreeSet::new();
        let expected: Vec<&Hit> =
            ranked.hits.iter().filter(|hit| value(hit).is_none_or(|value| seen.insert(value))).collect();
        assert_eq!(ids(&collapsed), expected.iter().map(|hit| hit.id.as_str()).collect::<Vec<_>>(), "{name}");
        assert_eq!(collapsed.total, expected.len());
        for hit in &collapsed.hits {
            let same = ranked.hits.iter().filter(|other| value(other).is_some() && value(other) == value(hit)).count();
            assert_eq!(hit.others, Some(same.saturating_sub(1)), "{name} {}", hit.id);
        }
    }
    assert!(ranked.hits.iter().all(|hit| hit.others.is_none()));
    for name in ["price", "new", "tags"] {
        let refused = message(&searcher, &Query { collapse: Some(name.to_owned()), ..whole.clone() });
        assert!(refused.contains("needs a string, a category or an integer"), "{refused}");
    }
}

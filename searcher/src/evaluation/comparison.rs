//! Two systems on the same queries: means, difference, test, and the queries that changed. Owns how values are paired; not
//! the test (`paired.rs`) nor how values come about. Invariants: only queries that both sides measured count; changes are
//! listed largest first, equal ones by query.

use serde::Serialize;

use super::measure::{Measure, sum};
use super::paired::{PairedTest, randomisation_test};

/// Differences below this are none: two sums in another order may differ by as much.
const EQUAL_WITHIN: f64 = 1e-9;

/// One query's value under both systems.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedQuery {
    /// Id of the query.
    pub query: String,
    /// The measure before.
    pub before: f64,
    /// The measure after.
    pub after: f64,
    /// After less before.
    pub difference: f64,
}

/// What a change did to one measure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The measure.
    pub measure: Measure,
    /// Queries that both sides measured.
    pub queries: usize,
    /// Mean before.
    pub before: f64,
    /// Mean after.
    pub after: f64,
    /// Mean of the differences.
    pub difference: f64,
    /// The test that the difference is chance.
    #[serde(flatten)]
    pub test: PairedTest,
    /// Queries with a higher value after.
    pub better: usize,
    /// Queries with a lower value after.
    pub worse: usize,
    /// Queries with the same value.
    pub equal: usize,
    /// The queries that changed, largest change first.
    pub changed: Vec<ComparedQuery>,
}

/// Compares the values of one measure by query; each query stands once on either side.
#[must_use]
pub fn compare(measure: Measure, before: &[(String, f64)], after: &[(String, f64)], seed: u64) -> Comparison {
    let paired = before.iter().filter_map(|(query, before)| {
        let (_, after) = after.iter().find(|(other, _)| other == query)?;
        let difference = after - before;
        let difference = if difference.abs() < EQUAL_WITHIN { 0.0 } else { difference };
        Some(ComparedQuery { query: query.clone(), before: *before, after: *after, difference })
    });
    let paired: Vec<ComparedQuery> = paired.collect();
    let mean = |value: fn(&ComparedQuery) -> f64| sum(paired.iter().map(value)) / paired.len().max(1) as f64;
    let differences: Vec<f64> = paired.iter().map(|query| query.difference).collect();
    let count = |matches: fn(f64) -> bool| differences.iter().filter(|difference| matches(**difference)).count();
    let mut comparison = Comparison {
        measure,
        queries: paired.len(),
        before: mean(|query| query.before),
        after: mean(|query| query.after),
        difference: mean(|query| query.difference),
        test: randomisation_test(&differences, seed),
        better: count(|difference| difference > 0.0),
        worse: count(|difference| difference < 0.0),
        equal: count(|difference| difference == 0.0),
        changed: Vec::new(),
    };
    comparison.changed = paired.into_iter().filter(|query| query.difference != 0.0).collect();
    comparison.changed.sort_by(|left, right| {
        right.difference.abs().total_cmp(&left.difference.abs()).then_with(|| left.query.cmp(&right.query))
    });
    comparison
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(values: &[(&str, f64)]) -> Vec<(String, f64)> {
        values.iter().map(|(query, value)| ((*query).to_owned(), *value)).collect()
    }

    #[test]
    fn queries_are_paired_by_id() {
        let before = values(&[("a", 0.5), ("b", 0.2), ("c", 0.9), ("d", 0.1), ("only here", 1.0)]);
        let after = values(&[("d", 0.1 + 1e-12), ("c", 0.8), ("b", 0.6), ("a", 0.6), ("only there", 0.0)]);
        let found = compare(Measure::Ndcg(10), &before, &after, 1);
        assert_eq!((found.queries, found.better, found.worse, found.equal), (4, 2, 1, 1));
        assert!((found.before - 0.425).abs() < 1e-12 && (found.after - 0.525).abs() < 1e-9);
        assert!((found.difference - 0.1).abs() < 1e-9);
        let changed: Vec<&str> = found.changed.iter().map(|query| query.query.as_str()).collect();
        assert_eq!(changed, ["b", "a", "c"]);
        // Of the eight choices of signs of 0.1, 0.4, 0.1 the sum 0.4 and above: 0.6, 0.4, 0.4 and their opposites.
        assert_eq!(found.test, PairedTest { p_value: 0.75, exact: true });
    }

    #[test]
    fn nothing_in_common_is_no_difference() {
        let found = compare(Measure::AveragePrecision, &values(&[("a", 1.0)]), &values(&[("b", 0.0)]), 1);
        assert_eq!((found.queries, found.difference, found.test.p_value), (0, 0.0, 1.0));
    }
}

//! What two settings reach on the judged queries, side by side. Owns putting the values of tuning into comparisons; not the
//! tests (`evaluation`). Invariant: the objective of a query is the mean of its measures.

use super::trial::mean;
use crate::evaluation::paired::randomisation_test;
use crate::evaluation::{Comparison, Measure, compare};

/// The queries and measures that are compared.
pub(super) struct Comparing<'a> {
    /// Ids of the queries, in the order of all values.
    pub(super) ids: &'a [&'a str],
    /// The measures of each query, in the order of its values.
    pub(super) measures: &'a [Measure],
    /// Seed of the test.
    pub(super) seed: u64,
}

/// Two settings, compared.
pub(super) struct Compared {
    /// The objective before.
    pub(super) before: f64,
    /// The objective after.
    pub(super) after: f64,
    /// What the objective of each query gained.
    pub(super) gains: Vec<f64>,
    /// Their mean.
    pub(super) gain: f64,
    /// Two-sided p-value of the gain, by the paired randomisation test.
    pub(super) p_value: f64,
    /// Each measure.
    pub(super) measures: Vec<Comparison>,
}

impl Comparing<'_> {
    /// Compares the values of each measure for each query.
    pub(super) fn compare(&self, before: &[Vec<f64>], after: &[Vec<f64>]) -> Compared {
        let named = |values: &[Vec<f64>], number: usize| -> Vec<(String, f64)> {
            self.ids.iter().zip(values).map(|(id, values)| ((*id).to_owned(), values[number])).collect()
        };
        let measures = self
            .measures
            .iter()
            .enumerate()
            .map(|(number, measure)| compare(*measure, &named(before, number), &named(after, number), self.seed));
        let measures = measures.collect();
        let (before, after) = (objectives(before), objectives(after));
        let gains: Vec<f64> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
        Compared {
            before: mean(before.iter().copied()),
            after: mean(after.iter().copied()),
            gain: mean(gains.iter().copied()),
            p_value: randomisation_test(&gains, self.seed).p_value,
            gains,
            measures,
        }
    }
}

/// The objective of each query.
pub(super) fn objectives(values: &[Vec<f64>]) -> Vec<f64> {
    values.iter().map(|values| mean(values.iter().copied())).collect()
}

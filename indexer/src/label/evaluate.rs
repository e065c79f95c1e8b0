//! How good proposals would be: values that items have are hidden and proposed. Owns the halves and the figures. Invariant:
//! nothing of a hidden item's value is seen before it is compared.

use rayon::prelude::*;
use schemas::Row;
use schemas::labels::LabelMethod;
use searcher::{RowSet, Searcher};
use serde::Serialize;

use super::LabelSettings;
use super::labeller::{Labeller, Prediction};
use super::values::FieldValues;
use crate::error::IndexError;

/// Seed of the halves.
pub const DEFAULT_SEED: u64 = 1;
/// Hidden items that are asked for at most: each costs a search, and 2,000 give an accuracy to within about 0.02 (95%).
pub const DEFAULT_SAMPLE: usize = 2_000;
/// Bins of the calibration error.
const BINS: usize = 10;

/// Which values are hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvaluationSettings {
    /// Decides which half is hidden. Default: [`DEFAULT_SEED`].
    pub seed: u64,
    /// Hidden items that are asked for at most, at least 1. Default: [`DEFAULT_SAMPLE`].
    pub sample: usize,
}

impl Default for EvaluationSettings {
    fn default() -> Self {
        EvaluationSettings { seed: DEFAULT_SEED, sample: DEFAULT_SAMPLE }
    }
}

/// What came of hiding the values of half of the items.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldEvaluation {
    /// The field.
    pub field: String,
    /// Different values.
    pub values: usize,
    /// Items whose value was left to learn from.
    pub known: usize,
    /// Items whose value was hidden and asked for.
    pub hidden: usize,
    /// Hidden items whose value no known item has, so that nothing can propose it.
    pub impossible: usize,
    /// Share of the hidden items that have the known items' commonest value: what always proposing it would reach.
    pub majority_accuracy: f64,
    /// Figures of each method; those that use names only where the settings' method does.
    pub methods: Vec<MethodEvaluation>,
}

/// How often a method was right about hidden values.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MethodEvaluation {
    /// The method.
    pub method: LabelMethod,
    /// Share of the hidden items whose likeliest value is theirs; an item of which nothing is said counts as wrong.
    pub accuracy: f64,
    /// Share of the hidden items for which a value was sure enough to be proposed.
    pub coverage: f64,
    /// Share of these proposals that are right; `None` without proposals.
    pub proposed_accuracy: Option<f64>,
    /// Expected calibration error (Guo et al. 2017): the mean distance between confidence and accuracy over ten bins of
    /// confidence, weighted by their items.
    pub calibration_error: f64,
}

/// Hides the values of half of the items that have one, drawn by the seed, and proposes them, or a sample of them, from the
/// other half.
///
/// # Errors
/// As [`super::propose`], and when fewer than two items have a value or the sample is 0.
pub fn evaluate(
    searcher: &Searcher,
    field: &str,
    settings: &LabelSettings,
    drawing: &EvaluationSettings,
) -> Result<FieldEvaluation, IndexError> {
    settings.check()?;
    let values = FieldValues::read(searcher, field)?;
    let (known, mut hidden) = halves(searcher, &values, drawing.seed)?;
    hidden.truncate(drawing.sample);
    if known.is_empty() || hidden.is_empty() {
        let reason = format!(
            "of `{field}` nothing can be hidden: fewer than two items have a value, or none is to be asked for"
        );
        return Err(IndexError::Label { reason });
    }
    let labeller = Labeller::fit(searcher, &values, &known, settings)?;
    let predictions = hidden.par_iter().map(|row| labeller.predict(*row));
    let predictions = predictions.collect::<Result<Vec<Option<Prediction>>, IndexError>>()?;
    let truths: Vec<Option<usize>> = hidden.iter().map(|row| values.of(*row)).collect();
    let mut counts = vec![0_usize; values.names().len()];
    known.iter().filter_map(|row| values.of(row)).for_each(|value| counts[value] += 1);
    // The first of the commonest values.
    let majority = (1..counts.len()).fold(0, |best, value| if counts[value] > counts[best] { value } else { best });
    let share = |count: usize| count as f64 / hidden.len() as f64;
    let methods: &[LabelMethod] = match settings.method {
        LabelMethod::Neighbours => &[LabelMethod::Neighbours],
        LabelMethod::ZeroShot | LabelMethod::Both => &LabelMethod::ALL,
    };
    Ok(FieldEvaluation {
        field: field.to_owned(),
        values: values.names().len(),
        known: usize::try_from(known.len()).unwrap_or(usize::MAX),
        hidden: hidden.len(),
        impossible: truths.iter().flatten().filter(|value| counts[**value] == 0).count(),
        majority_accuracy: share(truths.iter().filter(|truth| **truth == Some(majority)).count()),
        methods: (methods.iter())
            .map(|method| {
                let proposals: Vec<(bool, Option<f32>)> = (predictions.iter().zip(&truths))
                    .map(|(prediction, truth)| {
                        let best = prediction.as_ref().and_then(|prediction| prediction.best(*method));
                        (best.is_some_and(|(value, _)| Some(value) == *truth), best.map(|(_, confidence)| confidence))
                    })
                    .collect();
                figures(*method, &proposals, settings.min_confidence)
            })
            .collect(),
    })
}

/// The figures of proposals: whether each is right, and its confidence, `None` where there is no proposal.
fn figures(method: LabelMethod, proposals: &[(bool, Option<f32>)], min_confidence: f32) -> MethodEvaluation {
    let share = |count: usize, of: usize| count as f64 / of.max(1) as f64;
    let right = proposals.iter().filter(|(right, _)| *right).count();
    let sure: Vec<bool> = (proposals.iter())
        .filter(|(_, confidence)| confidence.is_some_and(|confidence| confidence >= min_confidence))
        .map(|(right, _)| *right)
        .collect();
    let mut bins = [(0_usize, 0_usize, 0.0_f64); BINS];
    for (right, confidence) in proposals.iter().filter_map(|(right, confidence)| Some((*right, (*confidence)?))) {
        let (count, right_ones, sum) = &mut bins[((confidence * BINS as f32) as usize).min(BINS - 1)];
        *count += 1;
        *right_ones += usize::from(right);
        *sum += f64::from(confidence);
    }
    let said: usize = bins.iter().map(|(count, _, _)| count).sum();
    let distances = bins.iter().map(|(_, right, sum)| (sum - *right as f64).abs());
    MethodEvaluation {
        method,
        accuracy: share(right, proposals.len()),
        coverage: share(sure.len(), proposals.len()),
        proposed_accuracy: (!sure.is_empty()).then(|| share(sure.iter().filter(|right| **right).count(), sure.len())),
        calibration_error: distances.sum::<f64>() / said.max(1) as f64,
    }
}

/// The rows that have a value, in two halves by a hash of seed and id, so that they do not depend on the rows' order; the hidden
/// one in the order of the hashes, so that its start is a sample of it.
fn halves(searcher: &Searcher, values: &FieldValues, seed: u64) -> Result<(RowSet, Vec<Row>), IndexError> {
    let labelled = values.labelled_rows();
    let mut drawn: Vec<([u8; 32], Row)> = Vec::new();
    for row in labelled.iter() {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes());
        hasher.update(searcher.items().id(row)?.as_bytes());
        drawn.push((*hasher.finalize().as_bytes(), row));
    }
    drawn.sort_unstable();
    let mut known = RowSet::empty(labelled.row_count());
    let (hidden, left) = drawn.split_at(drawn.len() / 2);
    left.iter().for_each(|(_, row)| known.insert(*row));
    Ok((known, hidden.iter().map(|(_, row)| *row).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_count_what_was_right_and_sure() {
        let proposals = [(true, Some(0.9)), (false, Some(0.9)), (true, Some(0.4)), (false, None)];
        let found = figures(LabelMethod::Both, &proposals, 0.5);
        assert_eq!((found.accuracy, found.coverage, found.proposed_accuracy), (0.5, 0.5, Some(0.5)));
        // |1.8 − 1| in one bin, |0.4 − 1| in another, over three proposals.
        assert!((found.calibration_error - (0.8 + 0.6) / 3.0).abs() < 1e-6);
        let none = figures(LabelMethod::ZeroShot, &[(false, None)], 0.5);
        assert_eq!((none.accuracy, none.proposed_accuracy, none.calibration_error), (0.0, None, 0.0));
    }
}

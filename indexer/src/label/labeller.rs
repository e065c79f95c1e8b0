//! What a field's value may be, learned from the items that have one. Owns finding neighbours, encoding the values' names and
//! calibrating; the formulas are `probabilities`'. Invariant: only the values of the rows it was fitted on are ever looked at.

use std::collections::BTreeSet;

use rayon::prelude::*;
use schemas::Row;
use schemas::labels::LabelMethod;
use searcher::vector::QueryEmbeddings;
use searcher::{Mode, Query, RowSet, Searcher};

use super::LabelSettings;
use super::probabilities::{
    Calibration, Evidence, SCALES, SHARPNESS, best, calibrate, joined, softmax, vote, with_prior,
};
use super::values::FieldValues;
use crate::error::IndexError;

/// Different values whose names are encoded at most. With more, only neighbours vote: there are then brands or model numbers,
/// whose names say little to an encoder.
pub const MAX_LABEL_NAMES: usize = 2_000;
/// Items with a value that the calibration looks at.
const CALIBRATION_ITEMS: usize = 500;

/// A field's values, ready to be proposed.
pub(super) struct Labeller<'a> {
    searcher: &'a Searcher,
    values: &'a FieldValues,
    known: &'a RowSet,
    neighbours: usize,
    /// The values that known rows have, and their names' embeddings; none where the method does not use names.
    names: Vec<(usize, QueryEmbeddings)>,
    /// How frequent each value is among the known rows.
    prior: Vec<f32>,
    /// How likely an item's value is one that no known row has, by the share of known rows whose value no other has (Good 1953,
    /// "The population frequencies of species and the estimation of population parameters").
    unseen: f32,
    calibration: Calibration,
}

/// What is thought of one item.
pub(super) struct Prediction {
    /// Probability of each value by the vote, by name, and by both.
    by_vote: Option<Vec<f32>>,
    by_name: Option<Vec<f32>>,
    by_both: Option<Vec<f32>>,
    /// How likely it is another value than all these.
    unseen: f32,
    /// The neighbours that voted with their values, nearest first.
    pub(super) neighbours: Vec<(Row, usize)>,
}

impl Prediction {
    /// The value that a method proposes, with its probability.
    pub(super) fn best(&self, method: LabelMethod) -> Option<(usize, f32)> {
        let side = match method {
            LabelMethod::Neighbours => &self.by_vote,
            LabelMethod::ZeroShot => &self.by_name,
            LabelMethod::Both => &self.by_both,
        };
        let (value, probability) = side.as_deref().and_then(best)?;
        Some((value, probability * (1.0 - self.unseen)))
    }

    /// Which methods propose this value by themselves; both also where neither does.
    pub(super) fn named_by(&self, value: usize) -> LabelMethod {
        let names = |side: &Option<Vec<f32>>| side.as_deref().and_then(best).is_some_and(|(best, _)| best == value);
        match (names(&self.by_vote), names(&self.by_name)) {
            (true, false) => LabelMethod::Neighbours,
            (false, true) => LabelMethod::ZeroShot,
            (true, true) | (false, false) => LabelMethod::Both,
        }
    }
}

impl<'a> Labeller<'a> {
    /// Learns from the values of the `known` rows.
    pub(super) fn fit(
        searcher: &'a Searcher,
        values: &'a FieldValues,
        known: &'a RowSet,
        settings: &LabelSettings,
    ) -> Result<Labeller<'a>, IndexError> {
        let names = match settings.method {
            LabelMethod::Neighbours => Vec::new(),
            LabelMethod::ZeroShot | LabelMethod::Both => encode_names(searcher, values, known)?,
        };
        let count = known.len();
        let mut counts = vec![0_u64; values.names().len()];
        known.iter().filter_map(|row| values.of(row)).for_each(|value| counts[value] += 1);
        let prior = counts.iter().map(|of_value| *of_value as f32 / count as f32).collect();
        let single = counts.iter().filter(|of_value| **of_value == 1).count();
        let unseen = single as f32 / count.max(1) as f32;
        let calibration = Calibration::default();
        let neighbours = settings.neighbours;
        let mut labeller = Labeller { searcher, values, known, neighbours, names, prior, unseen, calibration };
        // Spread evenly over the rows, which are in no order of the values.
        let step = usize::try_from(count).unwrap_or(usize::MAX).div_ceil(CALIBRATION_ITEMS).max(1);
        // A value that only one item has cannot be found from the others: it says how often that happens (below), not which
        // numbers find values that can be found.
        let is_shared = |row: &Row| values.of(*row).is_some_and(|value| counts[value] > 1);
        let sample: Vec<Row> = known.iter().filter(is_shared).step_by(step).collect();
        let evidence = sample.into_par_iter().map(|row| labeller.evidence(row));
        labeller.calibration = calibrate(&evidence.collect::<Result<Vec<Evidence>, IndexError>>()?);
        Ok(labeller)
    }

    /// What is thought of an item; its own value, where it has one, is not looked at. `None` where nothing can be said.
    pub(super) fn predict(&self, row: Row) -> Result<Option<Prediction>, IndexError> {
        let Calibration { sharpness, vote_prior, scale, name_prior, share } = self.calibration;
        let count = self.values.names().len();
        let found = self.voters(row)?;
        let voters: Vec<(usize, f32)> = found.iter().map(|(_, value, cosine)| (*value, *cosine)).collect();
        let by_vote = vote(&voters, sharpness, count).map(|votes| with_prior(&votes, &self.prior, vote_prior));
        let by_name = self.cosines(row)?.and_then(|cosines| softmax(&cosines, scale)).map(|shares| {
            let mut by_name = vec![0.0; count];
            self.names.iter().zip(shares).for_each(|((value, _), share)| by_name[*value] = share);
            with_prior(&by_name, &self.prior, name_prior)
        });
        let Some(by_both) = joined(by_vote.as_deref(), by_name.as_deref(), share) else { return Ok(None) };
        let neighbours = found.into_iter().map(|(row, value, _)| (row, value)).collect();
        Ok(Some(Prediction { by_vote, by_name, by_both: Some(by_both), unseen: self.unseen, neighbours }))
    }

    /// The probabilities of a known row's value without it.
    fn evidence(&self, row: Row) -> Result<Evidence, IndexError> {
        let count = self.values.names().len();
        let Some(own) = self.values.of(row) else {
            return Ok(Evidence { prior: 0.0, neighbours: None, zero_shot: None });
        };
        let known = self.known.len() as f32;
        let prior = (self.prior[own] * known - 1.0).max(0.0) / (known - 1.0).max(1.0);
        let voters: Vec<(usize, f32)> =
            self.voters(row)?.into_iter().map(|(_, value, cosine)| (value, cosine)).collect();
        let by_vote = |sharpness| vote(&voters, sharpness, count).map_or(0.0, |votes| votes[own]);
        let neighbours = (!voters.is_empty()).then(|| SHARPNESS.map(by_vote));
        let place = self.names.iter().position(|(value, _)| *value == own);
        let zero_shot = self
            .cosines(row)?
            .zip(place)
            .map(|(cosines, place)| SCALES.map(|scale| softmax(&cosines, scale).map_or(0.0, |shares| shares[place])));
        Ok(Evidence { prior, neighbours, zero_shot })
    }

    /// The nearest known rows but the row itself, with their values and cosines, nearest first.
    fn voters(&self, row: Row) -> Result<Vec<(Row, usize, f32)>, IndexError> {
        let found = self.searcher.neighbours(row, self.known, self.neighbours + 1)?;
        let others = found.into_iter().filter(|candidate| candidate.row != row).take(self.neighbours);
        Ok(others
            .filter_map(|candidate| Some((candidate.row, self.values.of(candidate.row)?, candidate.score)))
            .collect())
    }

    /// Cosines with the names; `None` where there are none, or the item has no embedding to compare with one.
    fn cosines(&self, row: Row) -> Result<Option<Vec<f32>>, IndexError> {
        if self.names.is_empty() {
            return Ok(None);
        }
        let cosines = self.names.iter().map(|(_, name)| self.searcher.likeness(row, name));
        Ok(cosines.collect::<Result<Option<Vec<f32>>, _>>()?)
    }
}

/// The embeddings of the names of the values that known rows have; none where they are too many.
fn encode_names(
    searcher: &Searcher,
    values: &FieldValues,
    known: &RowSet,
) -> Result<Vec<(usize, QueryEmbeddings)>, IndexError> {
    let used: BTreeSet<usize> = known.iter().filter_map(|row| values.of(row)).collect();
    if used.len() > MAX_LABEL_NAMES {
        let (field, names) = (values.field(), used.len());
        tracing::warn!(field, names, limit = MAX_LABEL_NAMES, "too many values for zero-shot; neighbours alone vote");
        return Ok(Vec::new());
    }
    let encode = |value: usize| {
        let query = Query { mode: Mode::Vector, ..Query::text(spoken(values.name(value))) };
        Ok((value, searcher.weighted(searcher.encode(&query)?)?))
    };
    used.into_iter().map(encode).collect()
}

/// A value's name as a text: of a path in a category tree all steps. On the fixture, grocery and eshop the last step alone, or
/// the last two, names values a little worse on two of three.
fn spoken(name: &str) -> String {
    name.replace(" > ", " ")
}

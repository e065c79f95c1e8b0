//! The step after the search: does an alpha that depends on the query win over the constant one? Owns which formulas are
//! tried, the choice among them and the rule by which the choice is kept; not measuring them, nor the folds. Invariants: a
//! formula is chosen by the judgments of the queries that its fold sees; what the features of the other queries are may be
//! known, their judgments not; nothing is kept that did not gain on queries it was not chosen on.
//!
//! A formula moves alpha by one feature, some hundredths or tenths per standard deviation of the feature over the queries,
//! around its mean, so that the constant alpha stays the alpha of the usual query. One feature, because some dozens of
//! queries carry one more decision, not seven.
//!
//! A fold chooses its best formula by the rule of one standard error (Breiman, Friedman, Olshen, Stone 1984): the constant
//! alpha stays unless the formula is better by more than the standard error of the mean difference on the queries seen. In
//! the end a formula is kept only if the cross-validated difference is a gain and more than chance ([`KEPT_BELOW_P`]). One
//! standard error is too little there: on chorus (58 queries) it kept a formula with three of six seeds of the folds, whose
//! mean gain over all six was below 0.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use schemas::RankingSettings;
use schemas::manifest::RankFusionMethod;
use schemas::ranking::{FeatureWeight, QueryAlpha, QueryFeature, RankFusionSettings};
use serde::Serialize;

use super::compared::{Compared, Comparing, objectives};
use super::space::{Point, Space};
use super::trial::{Trials, mean};
use crate::error::SearchError;
use crate::evaluation::Comparison;
use crate::rank_fusion::query_alpha::QueryFeatures;

/// A formula is kept if the p-value of its cross-validated gain is below this.
pub const KEPT_BELOW_P: f64 = 0.05;

/// What alpha gains by one standard deviation of a feature.
const SLOPES: [f32; 6] = [-0.4, -0.2, -0.1, 0.1, 0.2, 0.4];
/// Below this standard deviation a feature does not tell the queries apart.
const LEAST_DEVIATION: f32 = 0.01;
/// Differences below this are none.
const LEAST_GAIN: f64 = 1e-9;

/// What an alpha that depends on the query is worth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QueryAlphaReport {
    /// The cross-validated objective with a constant alpha.
    pub constant: f64,
    /// The cross-validated objective where each fold chose a formula, or none.
    pub query_dependent: f64,
    /// Mean over queries of their difference.
    pub gain: f64,
    /// Two-sided p-value of `gain`, by the paired randomisation test.
    pub p_value: f64,
    /// Each measure, constant against query-dependent.
    pub measures: Vec<Comparison>,
    /// What each fold chose; no feature where it stayed with the constant alpha.
    pub chosen_by_fold: Vec<QueryAlpha>,
    /// What all queries choose.
    pub chosen: QueryAlpha,
    /// Whether the returned settings have it: `gain` is above 0, `p_value` below [`KEPT_BELOW_P`], and all queries choose a
    /// formula.
    pub kept: bool,
}

/// What one fold's search chose, and by which queries; the last fold sees all of them.
pub(super) struct Fold {
    /// Numbers of the queries whose judgments it saw.
    pub(super) seen: Vec<usize>,
    /// Numbers of the others.
    pub(super) held_out: Vec<usize>,
    /// What it chose, with a constant alpha.
    pub(super) point: Point,
}

/// The formulas at a point, measured.
struct Tried {
    formulas: Vec<QueryAlpha>,
    /// For each formula and query the value of each measure.
    values: Vec<Vec<Vec<f64>>>,
    /// The objective of each query with the constant alpha.
    constant: Vec<f64>,
}

/// Chooses a formula in every fold, and says what that is worth. `constant` are the cross-validated values of each measure
/// for each query with a constant alpha. Cost: for each point that a fold chose a trial for each formula, in which only rank
/// fusion is done again.
pub(super) fn step(
    trials: &mut Trials<'_>,
    (space, base): (&Space, &RankingSettings),
    folds: &[Fold],
    constant: &[Vec<f64>],
    comparing: &Comparing<'_>,
) -> Result<QueryAlphaReport, SearchError> {
    let mut tried: HashMap<&Point, Tried> = HashMap::new();
    let mut query_dependent = constant.to_vec();
    let mut chosen_by_fold = Vec::with_capacity(folds.len());
    for Fold { seen, held_out, point } in folds {
        let at_point = match tried.entry(point) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Tried::at(point, trials, &space.settings(point, base))?),
        };
        let objectives_of: Vec<Vec<f64>> = at_point.values.iter().map(|values| objectives(values)).collect();
        let chosen = choose(&at_point.constant, &objectives_of, seen);
        if let Some(number) = chosen {
            for query in held_out {
                query_dependent[*query].clone_from(&at_point.values[number][*query]);
            }
        }
        chosen_by_fold.push(chosen.map(|number| at_point.formulas[number].clone()).unwrap_or_default());
    }
    let chosen = chosen_by_fold.pop().unwrap_or_default();
    let Compared { before, after, gain, p_value, measures, gains: _ } = comparing.compare(constant, &query_dependent);
    Ok(QueryAlphaReport {
        constant: before,
        query_dependent: after,
        gain,
        p_value,
        measures,
        chosen_by_fold,
        kept: gain > LEAST_GAIN && p_value < KEPT_BELOW_P && !chosen.is_constant(),
        chosen,
    })
}

impl Tried {
    fn at(point: &Point, trials: &mut Trials<'_>, settings: &RankingSettings) -> Result<Tried, SearchError> {
        let constant = objectives(trials.values(point)?);
        let with = |query_alpha: &QueryAlpha| {
            let rank_fusion =
                RankFusionSettings { query_alpha: Some(query_alpha.clone()), ..settings.rank_fusion.clone() };
            RankingSettings { rank_fusion, ..settings.clone() }
        };
        // Where ranks are joined alpha plays no part.
        let moves = settings.rank_fusion.method != Some(RankFusionMethod::ReciprocalRank);
        let formulas = if moves { formulas(&trials.features(settings)?) } else { Vec::new() };
        let mut values = Vec::with_capacity(formulas.len());
        for formula in &formulas {
            values.push(trials.measure(&with(formula))?);
        }
        Ok(Tried { formulas, values, constant })
    }
}

/// The formulas that are tried: each feature that tells the queries apart, with each slope. Queries whose alpha features do
/// not move have none.
pub(super) fn formulas(features: &[Option<QueryFeatures>]) -> Vec<QueryAlpha> {
    let mut formulas = Vec::new();
    for feature in QueryFeature::ALL {
        let values: Vec<f32> = features.iter().flatten().map(|features| features.value(feature)).collect();
        let count = values.len().max(1) as f32;
        let middle = values.iter().sum::<f32>() / count;
        let deviation = (values.iter().map(|value| (value - middle).powi(2)).sum::<f32>() / count).sqrt();
        if deviation < LEAST_DEVIATION {
            continue;
        }
        formulas.extend(SLOPES.map(|slope| {
            let weight = FeatureWeight { weight: rounded(slope / deviation), middle: rounded(middle) };
            QueryAlpha { features: [(feature, weight)].into() }
        }));
    }
    formulas
}

/// Two decimals, for people to read.
fn rounded(number: f32) -> f32 {
    (number * 100.0).round() / 100.0
}

/// The formula chosen for some queries: the one of the highest mean, of equal ones the first, if it passes against the
/// constant alpha; `None`: the constant alpha. Values are those of each query.
pub(super) fn choose(constant: &[f64], tried: &[Vec<f64>], queries: &[usize]) -> Option<usize> {
    let gains = |values: &[f64]| queries.iter().map(|query| values[*query] - constant[*query]).collect::<Vec<f64>>();
    let mut best: Option<(f64, usize)> = None;
    for (number, values) in tried.iter().enumerate() {
        let gain = mean(gains(values).into_iter());
        if best.is_none_or(|(highest, _)| gain > highest + LEAST_GAIN) {
            best = Some((gain, number));
        }
    }
    best.map(|(_, number)| number).filter(|number| passes(&gains(&tried[*number])))
}

/// Whether the mean is above 0 by more than its standard error.
pub(super) fn passes(gains: &[f64]) -> bool {
    let gain = mean(gains.iter().copied());
    gain > LEAST_GAIN && gain > standard_error(gains)
}

/// Standard error of the mean: the sample's standard deviation divided by the root of its size. 0 for fewer than two.
pub(super) fn standard_error(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    if count < 2.0 {
        return 0.0;
    }
    let middle = mean(values.iter().copied());
    let variance = values.iter().map(|value| (value - middle).powi(2)).sum::<f64>() / (count - 1.0);
    (variance / count).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyword::WordStatistics;

    #[test]
    fn formulas_turn_around_the_mean_of_a_feature_that_tells_queries_apart() {
        let features = |digits| {
            let words = WordStatistics { count: 2, digits, ..WordStatistics::default() };
            Some(QueryFeatures::of(words, &[]))
        };
        let found = formulas(&[features(0.0), None, features(1.0), features(0.0), features(1.0)]);
        assert_eq!(found.len(), SLOPES.len(), "only the digits differ: {found:?}");
        let of = |number: usize| found[number].features[&QueryFeature::Digits];
        // Mean and standard deviation of 0, 1, 0, 1 are ½.
        assert_eq!(of(0), FeatureWeight { weight: -0.8, middle: 0.5 });
        assert_eq!(of(5), FeatureWeight { weight: 0.8, middle: 0.5 });
        found.iter().for_each(|formula| formula.check("query_alpha").unwrap());
        assert!(formulas(&[None, None]).is_empty() && formulas(&[]).is_empty());
    }

    #[test]
    fn the_best_formula_is_chosen_where_it_gains_more_than_its_standard_error() {
        let constant = [0.5, 0.5, 0.5, 0.5];
        let steady = vec![0.6, 0.6, 0.6, 0.7];
        let lucky = vec![0.5, 0.5, 0.4, 0.9];
        let all = [0, 1, 2, 3];
        assert_eq!(choose(&constant, &[steady.clone(), lucky.clone()], &all), Some(0));
        // Its mean gain 0.075 is below its standard error, 0.111.
        assert_eq!(choose(&constant, std::slice::from_ref(&lucky), &all), None);
        assert_eq!(choose(&constant, &[constant.to_vec()], &all), None, "a gain of 0 is none");
        assert_eq!(choose(&constant, &[lucky, steady], &[0, 1, 2]), Some(1), "only the queries seen count");
        assert_eq!(choose(&constant, &[], &all), None);
    }

    #[test]
    fn the_standard_error_is_that_of_a_hand_calculation() {
        // Mean 2, squares of the differences 1 + 1, sample variance 1, over 3.
        assert!((standard_error(&[1.0, 2.0, 3.0]) - (1.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!((standard_error(&[4.0]), standard_error(&[])), (0.0, 0.0));
        assert!(passes(&[0.1, 0.1]) && !passes(&[0.0, 0.0]) && !passes(&[0.3, -0.3]) && !passes(&[-0.1, -0.1]));
    }
}

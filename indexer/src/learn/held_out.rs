//! What learned embedding fusion is worth on queries that the training has not seen, beside weighted blocks. Owns the folds,
//! the rivals and the figures; not the training. Invariant: every query is measured once, by models and weights that were
//! chosen without it.
//!
//! The rivals are weighted blocks at the snapshot's weights, and weighted blocks at the weights that are best on the very
//! queries that the model is trained on: the fair comparison, since tuning costs no training. All are ranked by exact scores
//! in vector mode.

use std::collections::BTreeMap;

use rayon::prelude::*;
use schemas::Row;
use schemas::learned_fusion::LearnedFusion;
use searcher::embedding_fusion::LearnedEmbeddingFusion;
use searcher::evaluation::metrics::Metrics;
use searcher::evaluation::paired::randomisation_test;
use searcher::random::SeededRandom;
use searcher::vector::dot;
use serde::Serialize;

use super::LearnSettings;
use super::data::{QueryKind, TrainingData, TrainingQuery};
use super::train::train;
use crate::error::IndexError;

/// Length of the ranked lists that are measured; judged measures look beyond the first ten.
const LIST_LENGTH: usize = 1000;
/// Length of those that weights are chosen by, for nDCG@10.
const TUNING_LENGTH: usize = 10;
/// Seed of the randomisation test.
const TEST_SEED: u64 = 1;
/// Steps of a modality's weight from 0 to 1 when weighted blocks are tuned.
const WEIGHT_STEPS: usize = 10;

/// The figures of one formula on one or several queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// nDCG@10.
    #[serde(rename = "ndcg@10")]
    pub ndcg_at_10: f64,
    /// nDCG@10 over judged items only.
    #[serde(rename = "judged_ndcg@10")]
    pub judged_ndcg_at_10: f64,
}

/// The formulas side by side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Compared {
    /// Weighted blocks at the snapshot's weights.
    pub weighted_blocks: Figures,
    /// Weighted blocks at the weights that are best on the training queries.
    pub weighted_blocks_tuned: Figures,
    /// Learned embedding fusion.
    pub learned: Figures,
}

/// One held-out query.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeldOutQuery {
    /// Id.
    pub id: String,
    /// What it is made of.
    pub kind: QueryKind,
    /// The fold it was held out in, from 0.
    pub fold: usize,
    /// Its figures.
    #[serde(flatten)]
    pub compared: Compared,
}

/// Means over the queries of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct HeldOutMeans {
    /// Queries.
    pub queries: usize,
    /// Their means.
    #[serde(flatten)]
    pub compared: Compared,
    /// The chance that the learned formula's nDCG@10 is as far from that of weighted blocks at the snapshot's weights if there
    /// is no difference: the paired randomisation test's p-value.
    pub p_value: f64,
    /// The same against tuned weights.
    pub p_value_tuned: f64,
}

/// The cross-validation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeldOut {
    /// Folds.
    pub folds: usize,
    /// Means by kind of query, and of `all`.
    pub means: BTreeMap<&'static str, HeldOutMeans>,
    /// Every query, for tests of significance.
    pub queries: Vec<HeldOutQuery>,
}

impl HeldOut {
    /// nDCG@10 of all queries, by formula.
    pub(super) fn means(&self) -> BTreeMap<String, f64> {
        let Compared { weighted_blocks, weighted_blocks_tuned, learned } = mean(self.queries.iter()).compared;
        let named = [
            ("weighted_blocks", weighted_blocks),
            ("weighted_blocks_tuned", weighted_blocks_tuned),
            ("learned", learned),
        ];
        named.map(|(name, figures)| (name.to_owned(), figures.ndcg_at_10)).into()
    }
}

/// Trains a model per fold without the fold's queries, and measures it on them.
pub(super) fn cross_validate(
    data: &TrainingData,
    settings: &LearnSettings,
    folds: usize,
) -> Result<HeldOut, IndexError> {
    if data.queries.len() < folds {
        let reason = format!("{} queries cannot be shared out over {folds} folds", data.queries.len());
        return Err(IndexError::Learn { reason });
    }
    let fold_of = folds_of(data, settings.seed, folds);
    let grid = weight_grid(data.modalities.len());
    let tuned = grid_ndcg(data, &grid)?;
    let mut queries = Vec::new();
    for fold in 0..folds {
        let (held_out, training): (Vec<usize>, Vec<usize>) =
            (0..data.queries.len()).partition(|query| fold_of[*query] == fold);
        let best = best_weights(&tuned, &training);
        let (model, _) = train(data, &training, settings)?;
        let learned = LearnedCatalog::new(model, data)?;
        for number in held_out {
            let query = &data.queries[number];
            let weighted = |weights: &[f32]| data.weighted_ranking(&query.embeddings, weights, LIST_LENGTH);
            let compared = Compared {
                weighted_blocks: figures(data, query, &weighted(&data.weights())?),
                weighted_blocks_tuned: figures(data, query, &weighted(&grid[best])?),
                learned: figures(data, query, &learned.ranking(query, data)?),
            };
            queries.push(HeldOutQuery { id: query.id.clone(), kind: query.kind, fold, compared });
        }
        tracing::info!(fold, folds, tuned_weights = ?grid[best], "cross-validated");
    }
    queries.sort_by(|left, right| left.id.cmp(&right.id));
    let mut means = BTreeMap::from([("all", mean(queries.iter()))]);
    for kind in [QueryKind::Text, QueryKind::Image, QueryKind::ImageAndText] {
        let own = mean(queries.iter().filter(|query| query.kind == kind));
        if own.queries > 0 {
            means.insert(kind.name(), own);
        }
    }
    Ok(HeldOut { folds, means, queries })
}

/// The fold of each query: shuffled within each kind, so that every fold has its share of all.
fn folds_of(data: &TrainingData, seed: u64, folds: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..data.queries.len()).collect();
    SeededRandom::new(seed).shuffle(&mut order);
    order.sort_by_key(|query| data.queries[*query].kind);
    let mut fold_of = vec![0; order.len()];
    for (place, query) in order.into_iter().enumerate() {
        fold_of[query] = place % folds;
    }
    fold_of
}

/// All weights in steps that sum to 1.
fn weight_grid(modalities: usize) -> Vec<Vec<f32>> {
    let mut grid: Vec<(Vec<usize>, usize)> = vec![(Vec::new(), WEIGHT_STEPS)];
    for modality in 0..modalities {
        let is_last = modality + 1 == modalities;
        let longer = |(steps, left): (Vec<usize>, usize)| {
            let choices = if is_last { left..=left } else { 0..=left };
            choices.map(move |step| ([steps.as_slice(), &[step]].concat(), left - step))
        };
        grid = grid.into_iter().flat_map(longer).collect();
    }
    grid.into_iter()
        .map(|(steps, _)| steps.into_iter().map(|step| step as f32 / WEIGHT_STEPS as f32).collect())
        .collect()
}

/// nDCG@10 by query and weights.
fn grid_ndcg(data: &TrainingData, grid: &[Vec<f32>]) -> Result<Vec<Vec<f64>>, IndexError> {
    let of_query = |query: &TrainingQuery| {
        let of_weights = |weights: &Vec<f32>| {
            let ranked = data.weighted_ranking(&query.embeddings, weights, TUNING_LENGTH)?;
            Ok(figures(data, query, &ranked).ndcg_at_10)
        };
        grid.iter().map(of_weights).collect()
    };
    data.queries.par_iter().map(of_query).collect()
}

/// The number of the weights with the best mean nDCG@10 on some queries; among equal ones the first.
fn best_weights(tuned: &[Vec<f64>], queries: &[usize]) -> usize {
    let points = 0..tuned.first().map_or(0, Vec::len);
    let sum = |point: usize| queries.iter().map(|query| tuned[*query][point]).sum::<f64>();
    // `max_by` gives the last of equal ones, and so the first of the reversed.
    points.rev().max_by(|left, right| sum(*left).total_cmp(&sum(*right))).unwrap_or(0)
}

fn figures(data: &TrainingData, query: &TrainingQuery, ranked: &[Row]) -> Figures {
    let ids: Vec<&str> = ranked.iter().map(|row| data.ids[*row as usize].as_str()).collect();
    let metrics = Metrics::of(&ids, &query.judgments);
    Figures { ndcg_at_10: metrics.ndcg_at_10, judged_ndcg_at_10: metrics.judged_ndcg_at_10 }
}

fn mean<'a>(queries: impl Iterator<Item = &'a HeldOutQuery>) -> HeldOutMeans {
    let (mut count, mut sum) = (0, Compared::default());
    let (mut gains, mut gains_tuned) = (Vec::new(), Vec::new());
    let add = |sum: &mut Figures, one: Figures| {
        sum.ndcg_at_10 += one.ndcg_at_10;
        sum.judged_ndcg_at_10 += one.judged_ndcg_at_10;
    };
    for HeldOutQuery { compared, .. } in queries {
        count += 1;
        add(&mut sum.weighted_blocks, compared.weighted_blocks);
        add(&mut sum.weighted_blocks_tuned, compared.weighted_blocks_tuned);
        add(&mut sum.learned, compared.learned);
        gains.push(compared.learned.ndcg_at_10 - compared.weighted_blocks.ndcg_at_10);
        gains_tuned.push(compared.learned.ndcg_at_10 - compared.weighted_blocks_tuned.ndcg_at_10);
    }
    let divided = |figures: Figures| Figures {
        ndcg_at_10: figures.ndcg_at_10 / f64::from(count.max(1)),
        judged_ndcg_at_10: figures.judged_ndcg_at_10 / f64::from(count.max(1)),
    };
    let compared = Compared {
        weighted_blocks: divided(sum.weighted_blocks),
        weighted_blocks_tuned: divided(sum.weighted_blocks_tuned),
        learned: divided(sum.learned),
    };
    let [p_value, p_value_tuned] = [gains, gains_tuned].map(|gains| randomisation_test(&gains, TEST_SEED).p_value);
    HeldOutMeans { queries: count as usize, compared, p_value, p_value_tuned }
}

/// A model with what each modality weighs in each item, in memory: a snapshot's `vector/item_weights.arrow`.
struct LearnedCatalog {
    fusion: LearnedEmbeddingFusion,
    weights: Vec<Option<Vec<f32>>>,
}

impl LearnedCatalog {
    fn new(model: LearnedFusion, data: &TrainingData) -> Result<LearnedCatalog, IndexError> {
        let fusion = LearnedEmbeddingFusion::new(model, &data.modalities)
            .map_err(|reason| IndexError::Inconsistent { reason })?;
        let weights = |row: Row| -> Result<Option<Vec<f32>>, IndexError> {
            Ok(fusion.item(&data.item(row)?).map(|item| item.weights))
        };
        let weights = (0..data.row_count()).into_par_iter().map(weights).collect::<Result<_, _>>()?;
        Ok(LearnedCatalog { fusion, weights })
    }

    /// The best rows by the learned score, as a snapshot with the model would rank them.
    fn ranking(&self, query: &TrainingQuery, data: &TrainingData) -> Result<Vec<Row>, IndexError> {
        let query = self.fusion.query_embeddings(&query.embeddings);
        let query = query.map_err(|reason| IndexError::Inconsistent { reason })?;
        let score = |(row, weights): (Row, &Option<Vec<f32>>)| -> Result<Option<(Row, f32)>, IndexError> {
            let Some(weights) = weights else { return Ok(None) };
            let mut score = 0.0;
            for ((stored, side), weight) in data.item(row)?.into_iter().zip(&query.embeddings).zip(weights) {
                if let Some((stored, side)) = stored.zip(side.as_deref()) {
                    score += weight * dot(stored, side);
                }
            }
            Ok(Some((row, score)))
        };
        let scored = (0..).zip(&self.weights).map(score).collect::<Result<Vec<_>, _>>()?;
        let mut scored: Vec<(Row, f32)> = scored.into_iter().flatten().collect();
        scored.sort_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
        Ok(scored.into_iter().take(LIST_LENGTH).map(|(row, _)| row).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_has_all_weights_that_sum_to_one() {
        assert_eq!(weight_grid(1), [[1.0]]);
        assert_eq!(weight_grid(2).len(), WEIGHT_STEPS + 1);
        let grid = weight_grid(3);
        assert_eq!(grid.len(), 66);
        assert!(grid.iter().all(|weights| (weights.iter().sum::<f32>() - 1.0).abs() < 1e-6));
    }

    #[test]
    fn the_best_weights_are_chosen_on_the_given_queries() {
        let tuned = [vec![0.1, 0.9], vec![0.8, 0.2]];
        assert_eq!(best_weights(&tuned, &[0]), 1);
        assert_eq!(best_weights(&tuned, &[1]), 0);
        assert_eq!(best_weights(&tuned, &[]), 0);
    }
}

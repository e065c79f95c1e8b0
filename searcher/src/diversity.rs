//! Hits that are not all alike: maximal marginal relevance (Carbonell and Goldstein 1998). Owns the greedy choice and why a
//! hit stands where it does; not likeness. Invariants: the order depends on the ranked list alone, never on page size; hits
//! keep their scores; beyond the pool nothing moves.
//!
//! The hits are chosen one after the other, each time the one with the largest
//! `(1 − λ)·relevance − λ·(largest similarity to a hit chosen before)`, ties by the ranked order. The relevance is the score
//! between the pool's least (0) and best (1), so that it compares with a cosine in every mode; an item without embeddings is
//! similar to nothing. The λ here is 1 − λ of the paper, so that 0 changes nothing.

use std::collections::HashMap;

use schemas::Row;
use serde::Serialize;

use crate::error::SearchError;
use crate::item_similarity::ItemSimilarity;
use crate::query::Query;
use crate::rank_fusion::RankedRow;
use crate::snapshot::Searcher;

/// Hits from the start of the list that may change places: ten pages of ten. Choosing among them compares 4,950 pairs of
/// items, by as many inner products as there are modalities with a weight: 1.7 ms for two of 384 dimensions.
pub const DIVERSITY_POOL: usize = 100;

/// Why a hit stands where diversity has put it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DiversityExplanation {
    /// Place in the list before, from 1.
    pub rank_before: usize,
    /// Largest similarity to a hit chosen before; `None` for the first, and where no such hit has a modality in common.
    pub similarity: Option<f32>,
    /// Id of that hit.
    pub similar_to: Option<String>,
}

/// How a row was chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Choice {
    /// Place in the list before, from 1.
    pub(crate) rank_before: usize,
    /// The chosen row that it is most similar to.
    pub(crate) nearest: Option<(f32, Row)>,
}

/// Diversity of a query, with what it compares items by.
#[derive(Debug)]
pub(crate) struct Diversity<'a> {
    lambda: f32,
    similarity: ItemSimilarity<'a>,
}

impl<'a> Diversity<'a> {
    /// `None` where the query wants none. Fails when the snapshot has no embeddings to compare items by.
    pub(crate) fn of(query: &Query, searcher: &'a Searcher) -> Result<Option<Diversity<'a>>, SearchError> {
        if query.diversity == 0.0 {
            return Ok(None);
        }
        let weights = searcher.modality_weights(query)?;
        let refuse = |reason: &str| Err(SearchError::Query { reason: format!("diversity: {reason}") });
        let Some(vector) = &searcher.vector else {
            return refuse("the snapshot has no embeddings to compare items by; leave it out, or encode a modality");
        };
        if weights.iter().all(|weight| *weight <= 0.0) {
            return refuse("every modality has weight 0; give one a weight to compare items by");
        }
        Ok(Some(Diversity { lambda: query.diversity, similarity: ItemSimilarity::new(vector, weights) }))
    }

    /// The list in the new order, and how each row of the pool was chosen.
    pub(crate) fn apply(
        &self,
        mut ranked: Vec<RankedRow>,
    ) -> Result<(Vec<RankedRow>, HashMap<Row, Choice>), SearchError> {
        let rest = ranked.split_off(ranked.len().min(DIVERSITY_POOL));
        let pool = ranked;
        let relevance = relevance(&pool);
        let mut left: Vec<Choice> = (1..=pool.len()).map(|rank_before| Choice { rank_before, nearest: None }).collect();
        let mut order = Vec::with_capacity(pool.len() + rest.len());
        let mut choices = HashMap::with_capacity(pool.len());
        while !left.is_empty() {
            let marginal = |choice: &Choice| {
                let nearest = choice.nearest.map_or(0.0, |(similarity, _)| similarity);
                (1.0 - self.lambda) * relevance[choice.rank_before - 1] - self.lambda * nearest
            };
            let best = (1..left.len())
                .fold(0, |best, place| if marginal(&left[place]) > marginal(&left[best]) { place } else { best });
            let chosen = left.remove(best);
            let place = pool[chosen.rank_before - 1];
            let item = self.similarity.item(place.row)?;
            for other in &mut left {
                let similarity = item.similarity(pool[other.rank_before - 1].row)?;
                if let Some(similarity) = similarity
                    && other.nearest.is_none_or(|(nearest, _)| similarity > nearest)
                {
                    other.nearest = Some((similarity, place.row));
                }
            }
            choices.insert(place.row, chosen);
            order.push(place);
        }
        order.extend(rest);
        Ok((order, choices))
    }
}

/// Scores between the least (0) and the best (1) of the pool; 1 where all are equal.
fn relevance(pool: &[RankedRow]) -> Vec<f32> {
    let scores = || pool.iter().map(|place| place.score);
    let (least, best) = (scores().fold(f32::INFINITY, f32::min), scores().fold(f32::NEG_INFINITY, f32::max));
    scores().map(|score| if best > least { (score - least) / (best - least) } else { 1.0 }).collect()
}

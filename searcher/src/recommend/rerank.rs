//! Re-ranking a query's candidates by a user's profile: the stage after rank fusion. Owns that formula; not the profile, nor
//! the scores it starts from. Invariants: the list depends on the candidates alone, never on the page; a candidate's score is
//! the sum of its keyword, vector and profile parts; a weight of 0 changes nothing.
//!
//! With weight w, the score s of rank fusion (or of the one retriever there is), and c, the weighted mean of the cosines of
//! profile and item:
//!
//! ```text
//! score = (1 − w) · s + w · (low + (c + 1) / (highest c + 1) · (high − low))
//! ```
//!
//! The cosine is scaled as convex rank fusion scales the vector side, with its theoretical minimum −1 and the candidates'
//! maximum, and then mapped to the range of s: `high` is the best s of the candidates, `low` the least that s can be: 0 for
//! BM25F, `convex`, `min_max` and `reciprocal_rank`, −1 for cosines, for `z_score`, which has none, the candidates' lowest.
//! An item that has no modality in common with the profile gets what the worst possible item would get.

use schemas::manifest::RankFusionMethod;
use serde::Serialize;

use crate::error::SearchError;
use crate::query::Query;
use crate::rank_fusion::{RankFusion, RankedRow, RetrieverPart, Retrievers};
use crate::snapshot::{Searcher, VectorFiles};
use crate::vector::{ModalityExplanation, QueryEmbeddings, VectorScorer};

/// The least a cosine, and so a weighted mean of cosines, can be.
const COSINE_MINIMUM: f64 = -1.0;

/// A profile that re-ranks a query's candidates.
pub(crate) struct Reranking<'a> {
    files: &'a VectorFiles,
    embeddings: QueryEmbeddings,
    weight: f32,
}

/// The profile's side of a score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProfileExplanation {
    /// Share of the profile in the final score; the keyword and vector parts share the rest.
    pub weight: f32,
    /// Weighted mean of the cosines of profile and item; `None` where they have no modality in common.
    pub score: Option<f32>,
    /// The score in the range of rank fusion's scores; `weight` times this is the profile's part.
    pub normalised: f32,
    /// Place among the candidates by this score, from 1; `None` where there is none.
    pub rank: Option<u32>,
    /// The modalities; their scores add up to `score`.
    pub modalities: Vec<ModalityExplanation>,
}

impl Searcher {
    /// How a query's profile re-ranks its candidates; `None` where it does not: there is no profile, or an empty one, or it
    /// is itself what is looked for, or its weight is 0.
    pub(crate) fn reranking(&self, query: &Query) -> Result<Option<Reranking<'_>>, SearchError> {
        let Some(part) = query.profile.as_ref().filter(|_| query.sought_profile().is_none()) else { return Ok(None) };
        if part.weight == 0.0 || part.profile.is_empty() {
            return Ok(None);
        }
        let Some(files) = &self.vector else { return Ok(None) };
        let weights = self.modality_weights(query)?;
        let embeddings = files.embedding_fusion.query_embeddings(&part.profile.embeddings, weights)?;
        Ok(Some(Reranking { files, embeddings, weight: part.weight }))
    }
}

impl Reranking<'_> {
    /// Mixes the profile into every candidate's score, and puts the candidates into their new order, ties by row number.
    pub(crate) fn apply(
        &self,
        settings: &RankFusion,
        retrievers: Retrievers,
        mut ranked: Vec<RankedRow>,
    ) -> Result<Vec<RankedRow>, SearchError> {
        let scorer = self.scorer();
        let cosines = ranked.iter().map(|ranked| scorer.score(ranked.row));
        let cosines = cosines.collect::<Result<Vec<Option<f32>>, SearchError>>()?;
        // The list is ordered by score: the first is the highest, the last the lowest.
        let (Some(high), Some(lowest)) = (ranked.first(), ranked.last()) else { return Ok(ranked) };
        let low = least_score(settings.method, retrievers).unwrap_or(f64::from(lowest.score));
        let spread = f64::from(high.score) - low;
        let highest_cosine = cosines.iter().flatten().copied().fold(COSINE_MINIMUM as f32, f32::max);
        let ranks = ranks(&ranked, &cosines);
        let weight = f64::from(self.weight);
        for ((ranked, cosine), rank) in ranked.iter_mut().zip(cosines).zip(ranks) {
            let share = cosine.map_or(0.0, |cosine| unit(f64::from(cosine), f64::from(highest_cosine)));
            let normalised = low + share * spread;
            let part = RetrieverPart {
                score: cosine,
                rank,
                normalised: normalised as f32,
                part: (weight * normalised) as f32,
                lift: 0.0,
            };
            for side in [&mut ranked.keyword, &mut ranked.vector].into_iter().flatten() {
                side.part = ((1.0 - weight) * f64::from(side.part)) as f32;
                side.lift = ((1.0 - weight) * f64::from(side.lift)) as f32;
            }
            let parts = [ranked.keyword, ranked.vector, Some(part)];
            // Adding zero turns -0 into 0, which `total_cmp` would tell apart.
            ranked.score = parts.iter().flatten().map(|part| f64::from(part.part)).sum::<f64>() as f32 + 0.0;
            ranked.profile = Some(part);
        }
        ranked.sort_unstable_by(|left, right| right.score.total_cmp(&left.score).then(left.row.cmp(&right.row)));
        Ok(ranked)
    }

    /// The profile's side of a candidate's score.
    pub(crate) fn explain(&self, ranked: &RankedRow) -> Result<Option<ProfileExplanation>, SearchError> {
        let Some(RetrieverPart { score, rank, normalised, part: _, lift: _ }) = ranked.profile else { return Ok(None) };
        let modalities = self.scorer().explain(ranked.row)?;
        Ok(Some(ProfileExplanation { weight: self.weight, score, normalised, rank, modalities }))
    }

    fn scorer(&self) -> VectorScorer<'_> {
        self.files.scorer(&self.embeddings)
    }
}

/// `(cosine − minimum) / (highest − minimum)`; 0 for all when they are all at the minimum.
fn unit(cosine: f64, highest: f64) -> f64 {
    let spread = highest - COSINE_MINIMUM;
    if spread > 0.0 { (cosine - COSINE_MINIMUM) / spread } else { 0.0 }
}

/// The least that a final score can be; `None` where there is no such bound.
fn least_score(method: RankFusionMethod, retrievers: Retrievers) -> Option<f64> {
    match (retrievers, method) {
        (Retrievers::Keyword, _) => Some(0.0),
        (Retrievers::Vector, _) => Some(COSINE_MINIMUM),
        (Retrievers::Both, RankFusionMethod::Convex | RankFusionMethod::MinMax | RankFusionMethod::ReciprocalRank) => {
            Some(0.0)
        }
        (Retrievers::Both, RankFusionMethod::ZScore) => None,
    }
}

/// Place of each candidate among those that have a cosine, from 1; ties by row number.
fn ranks(ranked: &[RankedRow], cosines: &[Option<f32>]) -> Vec<Option<u32>> {
    let mut order: Vec<(usize, f32)> =
        cosines.iter().enumerate().filter_map(|(place, cosine)| Some((place, (*cosine)?))).collect();
    order.sort_unstable_by(|(left, left_cosine), (right, right_cosine)| {
        right_cosine.total_cmp(left_cosine).then(ranked[*left].row.cmp(&ranked[*right].row))
    });
    let mut ranks = vec![None; cosines.len()];
    for ((place, _), rank) in order.into_iter().zip(1..) {
        ranks[place] = Some(rank);
    }
    ranks
}

//! Rank fusion: candidates of the keyword and the vector retriever → one ranked list. A pure function of scores.
//! Owns normalisation, combination, ranks and order; not where the scores come from. Invariants: the list depends on
//! the set of candidates alone, not on their order; it is ordered by score with ties by row number; a candidate's
//! score is the sum of its two parts; no score is NaN.
//!
//! Both scores of every candidate are known, so nothing is guessed for a row that only one retriever found. "In a
//! retriever's list" therefore means: among the candidates, a keyword score above 0, or any vector score. A vector
//! score is missing only where query and item have no modality in common; such a row gets what the retriever's worst
//! possible row would get.
//!
//! Methods: `convex` is TM2C2 (Bruch, Gai, Ingber 2023, "An analysis of fusion functions for hybrid retrieval"): each
//! score is mapped to 0..1 with its theoretical minimum (BM25 0, cosine −1) and the query's maximum, then
//! `α·vector + (1−α)·keyword`. `min_max` takes the query's minimum instead, `z_score` the distance to the mean in
//! standard deviations (both as in Bruch et al.). `reciprocal_rank` is `Σ 1/(k + rank)` (Cormack, Clarke, Büttcher
//! 2009); alpha plays no part in it, and a row outside a list gets 0 from it.
//!
//! `keyword_first` puts the keyword retriever's best rows before all others. Features of the query can move alpha
//! (`query_alpha`).
//!
//! When only one retriever takes part nothing is combined: the score is that retriever's own.

use schemas::Row;
use schemas::manifest::{RankFusionManifest, RankFusionMethod};

mod keyword_first;
mod order;
pub mod query_alpha;

/// Share of the vector score in the convex combination: both sides count the same. Quality changes slowly around the
/// middle (README, "Relevance"); a shop with judgments should tune it.
pub const DEFAULT_ALPHA: f32 = 0.5;
/// The constant of reciprocal rank fusion, as in Cormack et al.
pub const DEFAULT_RECIPROCAL_RANK_CONSTANT: f32 = 60.0;
/// Candidates from each retriever, as in Bruch et al.
pub const DEFAULT_DEPTH: usize = 1000;
/// None of the keyword retriever's best stand before the others: what that is worth depends on the catalog.
pub const DEFAULT_KEYWORD_FIRST: usize = 0;

/// Smallest spread of scores that is divided by; below it a retriever does not tell the candidates apart.
const SMALLEST_SPREAD: f64 = 1e-9;
/// The least a cosine, and so a weighted mean of cosines, can be.
const COSINE_MINIMUM: f64 = -1.0;

/// Which retrievers take part in a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retrievers {
    /// Keyword only: the score is BM25F.
    Keyword,
    /// Vector only: the score is the weighted mean of cosines.
    Vector,
    /// Both: the score is rank fusion's.
    Both,
}

/// Method and constants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankFusion {
    /// Method.
    pub method: RankFusionMethod,
    /// Share of the vector score, 0 to 1; of this query, where it depends on the query ([`query_alpha`]). Default:
    /// [`DEFAULT_ALPHA`].
    pub alpha: f32,
    /// Constant of reciprocal rank fusion. Default: [`DEFAULT_RECIPROCAL_RANK_CONSTANT`].
    pub reciprocal_rank_constant: f32,
    /// So many of the keyword retriever's best stand before all others. Default: [`DEFAULT_KEYWORD_FIRST`].
    pub keyword_first: usize,
}

impl Default for RankFusion {
    fn default() -> Self {
        RankFusion {
            method: RankFusionMethod::default(),
            alpha: DEFAULT_ALPHA,
            reciprocal_rank_constant: DEFAULT_RECIPROCAL_RANK_CONSTANT,
            keyword_first: DEFAULT_KEYWORD_FIRST,
        }
    }
}

impl From<&RankFusionManifest> for RankFusion {
    fn from(manifest: &RankFusionManifest) -> Self {
        let RankFusionManifest { method, alpha, reciprocal_rank_constant, depth: _, keyword_first, query_alpha: _ } =
            *manifest;
        RankFusion { method, alpha, reciprocal_rank_constant, keyword_first }
    }
}

/// A candidate of the union with both scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoredRow {
    /// Row number; each once.
    pub row: Row,
    /// BM25F; 0 where no term matches.
    pub keyword: f32,
    /// Weighted mean of cosines; `None` where query and item have no modality in common.
    pub vector: Option<f32>,
}

/// A place in the one list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankedRow {
    /// Row number.
    pub row: Row,
    /// Final score: the sum of the parts.
    pub score: f32,
    /// What the keyword retriever gave; `None` when it takes no part in the query.
    pub keyword: Option<RetrieverPart>,
    /// What the vector retriever gave; `None` when it takes no part in the query.
    pub vector: Option<RetrieverPart>,
    /// What a user's profile gave; `None` where none re-ranks.
    pub profile: Option<RetrieverPart>,
}

/// What one retriever, or a profile, gave to a candidate's final score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetrieverPart {
    /// The retriever's score; `None` where it has none for this row.
    pub score: Option<f32>,
    /// Place in the retriever's list, from 1; `None` where the row is not in it.
    pub rank: Option<u32>,
    /// The score after normalisation (for `reciprocal_rank`: the reciprocal).
    pub normalised: f32,
    /// The part of the final score, with the lift.
    pub part: f32,
    /// How much of the part the row has for being among the keyword retriever's first.
    pub lift: f32,
}

/// Joins the candidates into one list, best first.
#[must_use]
pub fn fuse(settings: &RankFusion, retrievers: Retrievers, candidates: &[ScoredRow]) -> Vec<RankedRow> {
    let mut candidates = candidates.to_vec();
    candidates.sort_unstable_by_key(|candidate| candidate.row);
    let keyword =
        || -> Vec<Option<f64>> { candidates.iter().map(|candidate| Some(finite_or(candidate.keyword, 0.0))).collect() };
    let finite = |candidate: &ScoredRow| candidate.vector.filter(|score| score.is_finite()).map(f64::from);
    let vector = || -> Vec<Option<f64>> { candidates.iter().map(finite).collect() };
    let alpha = f64::from(finite_or(settings.alpha, f64::from(DEFAULT_ALPHA)) as f32);
    let (keyword_share, vector_share) = match (retrievers, settings.method) {
        (Retrievers::Keyword | Retrievers::Vector, _) | (Retrievers::Both, RankFusionMethod::ReciprocalRank) => {
            (1.0, 1.0)
        }
        (Retrievers::Both, RankFusionMethod::Convex | RankFusionMethod::MinMax | RankFusionMethod::ZScore) => {
            (1.0 - alpha, alpha)
        }
    };
    let side = |scores: &[Option<f64>], minimum: f64, listed: &dyn Fn(f64) -> bool, share: f64| {
        let ranks = order::ranks(scores, listed);
        let normalised = match (retrievers, settings.method) {
            (Retrievers::Keyword | Retrievers::Vector, _) => {
                scores.iter().map(|score| score.unwrap_or(minimum)).collect::<Vec<f64>>()
            }
            (Retrievers::Both, RankFusionMethod::Convex) => to_unit_range(scores, minimum),
            (Retrievers::Both, RankFusionMethod::MinMax) => to_unit_range(scores, lowest(scores).unwrap_or(minimum)),
            (Retrievers::Both, RankFusionMethod::ZScore) => to_z_scores(scores),
            (Retrievers::Both, RankFusionMethod::ReciprocalRank) => {
                reciprocals(&ranks, f64::from(settings.reciprocal_rank_constant))
            }
        };
        let parts = scores.iter().zip(ranks).zip(normalised).map(move |((score, rank), normalised)| {
            let score = score.map(|score| score as f32);
            RetrieverPart { score, rank, normalised: normalised as f32, part: (share * normalised) as f32, lift: 0.0 }
        });
        parts.collect::<Vec<RetrieverPart>>()
    };
    let mut keyword_parts = match retrievers {
        Retrievers::Keyword | Retrievers::Both => Some(side(&keyword(), 0.0, &|score| score > 0.0, keyword_share)),
        Retrievers::Vector => None,
    };
    let vector_parts = match retrievers {
        Retrievers::Vector | Retrievers::Both => Some(side(&vector(), COSINE_MINIMUM, &|_| true, vector_share)),
        Retrievers::Keyword => None,
    };
    let part = |parts: &Option<Vec<RetrieverPart>>, place: usize| parts.as_ref().map(|parts| parts[place]);
    let sum = |place: usize| {
        let parts = [part(&keyword_parts, place), part(&vector_parts, place)];
        parts.iter().flatten().fold(0.0, |sum, part| sum + f64::from(part.part)) as f32
    };
    let mut scores: Vec<f32> = (0..candidates.len()).map(sum).collect();
    if let (Some(keyword_parts), Some(_)) = (&mut keyword_parts, &vector_parts) {
        keyword_first::lift(&mut scores, keyword_parts, settings.keyword_first);
    }
    let ranked = order::best_first(&scores).map(|place| RankedRow {
        row: candidates[place].row,
        score: scores[place],
        keyword: part(&keyword_parts, place),
        vector: part(&vector_parts, place),
        profile: None,
    });
    ranked.collect()
}

fn finite_or(score: f32, otherwise: f64) -> f64 {
    if score.is_finite() { f64::from(score) } else { otherwise }
}

fn lowest(scores: &[Option<f64>]) -> Option<f64> {
    scores.iter().flatten().copied().reduce(f64::min)
}

/// `(score − minimum) / (highest − minimum)`, 0 where there is no score, and 0 for all when they are all at the minimum.
fn to_unit_range(scores: &[Option<f64>], minimum: f64) -> Vec<f64> {
    let highest = scores.iter().flatten().copied().reduce(f64::max).unwrap_or(minimum);
    let spread = highest - minimum;
    let unit = |score: &Option<f64>| match score {
        Some(score) if spread > SMALLEST_SPREAD => ((score - minimum) / spread).clamp(0.0, 1.0),
        Some(_) | None => 0.0,
    };
    scores.iter().map(unit).collect()
}

/// `(score − mean) / deviation` over the scores there are; the lowest of these where there is none; 0 for all when the
/// scores do not differ.
fn to_z_scores(scores: &[Option<f64>]) -> Vec<f64> {
    let present: Vec<f64> = scores.iter().flatten().copied().collect();
    let count = present.len().max(1) as f64;
    let mean = present.iter().sum::<f64>() / count;
    let deviation = (present.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / count).sqrt();
    if deviation <= SMALLEST_SPREAD {
        return vec![0.0; scores.len()];
    }
    let worst = lowest(scores).unwrap_or(mean);
    scores.iter().map(|score| (score.unwrap_or(worst) - mean) / deviation).collect()
}

fn reciprocals(ranks: &[Option<u32>], constant: f64) -> Vec<f64> {
    // A constant of −1 or less would divide by zero or turn the order round.
    let constant = if constant.is_finite() { constant.max(0.0) } else { f64::from(DEFAULT_RECIPROCAL_RANK_CONSTANT) };
    ranks.iter().map(|rank| rank.map_or(0.0, |rank| 1.0 / (constant + f64::from(rank)))).collect()
}

#[cfg(test)]
mod tests;

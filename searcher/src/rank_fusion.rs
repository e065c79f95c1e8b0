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
//! `keyword_first` puts the keyword retriever's best rows before all others.
//!
//! When only one retriever takes part nothing is combined: the score is that retriever's own.

use schemas::Row;
use schemas::manifest::{RankFusionManifest, RankFusionMethod};

mod keyword_first;
mod order;

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
    /// Share of the vector score, 0 to 1. Default: [`DEFAULT_ALPHA`].
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
        let RankFusionManifest { method, alpha, reciprocal_rank_constant, depth: _, keyword_first } = *manifest;
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const METHODS: [RankFusionMethod; 4] = [
        RankFusionMethod::Convex,
        RankFusionMethod::MinMax,
        RankFusionMethod::ZScore,
        RankFusionMethod::ReciprocalRank,
    ];

    fn row(row: Row, keyword: f32, vector: f32) -> ScoredRow {
        ScoredRow { row, keyword, vector: Some(vector) }
    }

    fn with(method: RankFusionMethod, alpha: f32) -> RankFusion {
        RankFusion { method, alpha, ..RankFusion::default() }
    }

    fn rows(ranked: &[RankedRow]) -> Vec<Row> {
        ranked.iter().map(|ranked| ranked.row).collect()
    }

    #[test]
    fn convex_takes_theoretical_minima_and_the_querys_maximum() {
        let candidates = [row(0, 10.0, 0.0), row(1, 5.0, 0.6), row(2, 0.0, 0.2)];
        let ranked = fuse(&with(RankFusionMethod::Convex, 0.6), Retrievers::Both, &candidates);
        assert_eq!(rows(&ranked), [1, 0, 2]);
        let [first, second, third] = [ranked[0].score, ranked[1].score, ranked[2].score];
        assert!((first - (0.4 * 0.5 + 0.6)).abs() < 1e-6);
        assert!((second - (0.4 + 0.6 * (1.0 / 1.6))).abs() < 1e-6);
        assert!((third - 0.6 * (1.2 / 1.6)).abs() < 1e-6);
    }

    #[test]
    fn a_missing_vector_score_counts_as_the_least_there_can_be() {
        let candidates = [ScoredRow { row: 0, keyword: 1.0, vector: None }, row(1, 1.0, -0.9)];
        for method in METHODS {
            let ranked = fuse(&with(method, 0.5), Retrievers::Both, &candidates);
            let missing = ranked.iter().find(|ranked| ranked.row == 0).unwrap().vector.unwrap();
            assert_eq!((missing.score, missing.rank), (None, None));
            let other = ranked.iter().find(|ranked| ranked.row == 1).unwrap().vector.unwrap();
            assert!(missing.normalised <= other.normalised, "{method:?}");
        }
    }

    #[test]
    fn reciprocal_ranks_ignore_rows_without_a_term() {
        let candidates = [row(0, 3.0, 0.1), row(1, 0.0, 0.5)];
        let ranked = fuse(&with(RankFusionMethod::ReciprocalRank, 0.9), Retrievers::Both, &candidates);
        assert_eq!(rows(&ranked), [0, 1]);
        assert!((ranked[0].score - (1.0 / 61.0 + 1.0 / 62.0)).abs() < 1e-7);
        assert!((ranked[1].score - 1.0 / 61.0).abs() < 1e-7);
        assert_eq!(ranked[1].keyword.unwrap().rank, None);
    }

    #[test]
    fn one_retriever_keeps_its_own_score() {
        let candidates = [row(0, 2.0, 0.9), row(1, 7.5, 0.1)];
        for method in METHODS {
            let keyword = fuse(&with(method, 0.9), Retrievers::Keyword, &candidates);
            assert_eq!((rows(&keyword), keyword[0].score, keyword[0].vector), (vec![1, 0], 7.5, None));
            let vector = fuse(&with(method, 0.1), Retrievers::Vector, &candidates);
            assert_eq!((rows(&vector), vector[0].score, vector[0].keyword), (vec![0, 1], 0.9, None));
        }
    }

    #[test]
    fn equal_scores_come_in_row_order() {
        let candidates = [row(9, 1.0, 0.5), row(3, 1.0, 0.5), row(5, 1.0, 0.5)];
        for method in METHODS.into_iter().filter(|method| *method != RankFusionMethod::ReciprocalRank) {
            assert_eq!(rows(&fuse(&with(method, 0.5), Retrievers::Both, &candidates)), [3, 5, 9], "{method:?}");
        }
    }

    #[test]
    fn odd_numbers_never_become_nan() {
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0];
        let candidates: Vec<ScoredRow> =
            odd.iter().zip(0..).map(|(score, number)| row(number, *score, *score)).collect();
        for method in METHODS {
            for retrievers in [Retrievers::Keyword, Retrievers::Vector, Retrievers::Both] {
                let settings =
                    RankFusion { method, alpha: f32::NAN, reciprocal_rank_constant: f32::NAN, keyword_first: 2 };
                assert!(fuse(&settings, retrievers, &candidates).iter().all(|ranked| ranked.score.is_finite()));
            }
        }
    }

    /// Rows with scores from a coarse grid, so that ties are common.
    fn candidates() -> impl Strategy<Value = Vec<ScoredRow>> {
        let scores = (0u8..6, prop::option::weighted(0.8, -4i8..=4));
        prop::collection::vec(scores, 0..30).prop_map(|scores| {
            let scored = scores.into_iter().zip(0..).map(|((keyword, vector), row)| ScoredRow {
                row,
                keyword: f32::from(keyword) * 1.7,
                vector: vector.map(|vector| f32::from(vector) / 4.0),
            });
            scored.collect()
        })
    }

    fn settings() -> impl Strategy<Value = RankFusion> {
        (prop::sample::select(&METHODS[..]), 0.0f32..=1.0).prop_map(|(method, alpha)| with(method, alpha))
    }

    proptest! {
        #[test]
        fn the_order_of_candidates_does_not_matter(
            candidates in candidates(), settings in settings(), seed in any::<prop::sample::Index>(),
        ) {
            let mut turned = candidates.clone();
            turned.reverse();
            turned.rotate_left(if candidates.is_empty() { 0 } else { seed.index(candidates.len()) });
            prop_assert_eq!(
                fuse(&settings, Retrievers::Both, &candidates),
                fuse(&settings, Retrievers::Both, &turned)
            );
        }

        #[test]
        fn parts_add_up_and_the_list_is_ordered(candidates in candidates(), settings in settings()) {
            let ranked = fuse(&settings, Retrievers::Both, &candidates);
            prop_assert_eq!(ranked.len(), candidates.len());
            for ranked in &ranked {
                let sum = ranked.keyword.unwrap().part + ranked.vector.unwrap().part;
                prop_assert!((sum - ranked.score).abs() <= 1e-5);
            }
            for pair in ranked.windows(2) {
                prop_assert!(pair[0].score > pair[1].score
                    || (pair[0].score == pair[1].score && pair[0].row < pair[1].row));
            }
        }

        #[test]
        fn convex_stays_between_0_and_1(candidates in candidates(), alpha in 0.0f32..=1.0) {
            for ranked in fuse(&with(RankFusionMethod::Convex, alpha), Retrievers::Both, &candidates) {
                prop_assert!((0.0..=1.0 + 1e-6).contains(&ranked.score));
            }
        }

        #[test]
        fn a_row_that_is_better_on_both_sides_stands_higher(candidates in candidates(), settings in settings()) {
            let ranked = fuse(&settings, Retrievers::Both, &candidates);
            let scored = |row: Row| candidates[row as usize];
            for (place, higher) in ranked.iter().enumerate() {
                for lower in &ranked[place + 1..] {
                    let (higher, lower) = (scored(higher.row), scored(lower.row));
                    prop_assert!(!(lower.keyword > higher.keyword && lower.vector > higher.vector)
                        || settings.alpha == 0.0 || settings.alpha == 1.0);
                }
            }
        }
    }
}

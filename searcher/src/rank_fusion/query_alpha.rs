//! The alpha of one query: measures the features that move it. Owns how a feature is measured; not the formula
//! ([`schemas::ranking::QueryAlpha`]), nor for which queries it holds (the query flow). Invariants: a feature depends on the
//! query's words and its candidates alone, not on their order nor on the page; every feature is from 0 to 1.
//!
//! These are predictors of a query's performance: the rarity of its words before anything is retrieved (Cronen-Townsend,
//! Zhou, Croft 2002; He, Ounis 2004), and how the scores fall off after (Shtok et al. 2012, normalized query commitment).

use schemas::ranking::{QueryAlphaPart, QueryFeature};
use serde::Serialize;

use super::{RankFusion, SMALLEST_SPREAD, ScoredRow};
use crate::keyword::WordStatistics;

/// Candidates over which the fall of a score is looked at: the first page.
pub const SPREAD_CANDIDATES: usize = 10;

/// The features of a query, each from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueryFeatures {
    words: WordStatistics,
    keyword_spread: f32,
    vector_spread: f32,
}

/// Why a query has its alpha: the base and the parts add up to it, unless that would leave 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QueryAlphaExplanation {
    /// The alpha of a query with all features in their middles.
    pub base: f32,
    /// What each feature adds.
    pub parts: Vec<QueryAlphaPart>,
}

/// Rank fusion's settings for one query.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct QueryRankFusion {
    /// The settings, with the query's alpha.
    pub(crate) settings: RankFusion,
    /// What moved alpha; `None` where nothing does.
    pub(crate) query_alpha: Option<QueryAlphaExplanation>,
}

impl QueryFeatures {
    /// Measures the features. Cost: O(candidates).
    #[must_use]
    pub fn of(words: WordStatistics, candidates: &[ScoredRow]) -> QueryFeatures {
        QueryFeatures {
            words,
            keyword_spread: spread(candidates.iter().map(|candidate| candidate.keyword)),
            vector_spread: spread(candidates.iter().filter_map(|candidate| candidate.vector)),
        }
    }

    /// The value of a feature.
    #[must_use]
    pub fn value(&self, feature: QueryFeature) -> f32 {
        match feature {
            QueryFeature::Words => 1.0 - 1.0 / self.words.count.max(1) as f32,
            QueryFeature::Digits => self.words.digits,
            QueryFeature::UnknownWords => self.words.unknown,
            QueryFeature::MeanRarity => self.words.mean_rarity,
            QueryFeature::LeastRarity => self.words.least_rarity,
            QueryFeature::KeywordSpread => self.keyword_spread,
            QueryFeature::VectorSpread => self.vector_spread,
        }
    }
}

/// `(highest − tenth) / (highest − lowest)`; 0 where they do not differ.
fn spread(scores: impl Iterator<Item = f32>) -> f32 {
    let mut scores: Vec<f32> = scores.filter(|score| score.is_finite()).collect();
    let Some(last) = scores.len().checked_sub(1) else { return 0.0 };
    let highest = scores.iter().copied().fold(f32::MIN, f32::max);
    let lowest = scores.iter().copied().fold(f32::MAX, f32::min);
    let place = last.min(SPREAD_CANDIDATES - 1);
    let (_, tenth, _) = scores.select_nth_unstable_by(place, |left, right| right.total_cmp(left));
    let (fall, range) = (f64::from(highest) - f64::from(*tenth), f64::from(highest) - f64::from(lowest));
    if range > SMALLEST_SPREAD { (fall / range) as f32 } else { 0.0 }
}

#[cfg(test)]
mod tests;

//! Why a hit has its score and stands where it does. Owns the record and how it is put together; not the formulas, which
//! are the retrievers', rank fusion's, the profile's and diversity's own. Invariant (to 1e-5, relative to the size of the
//! score): terms and close pairs add up to the keyword score, modalities to the vector score and to the profile's, and
//! the parts to the final score.

use schemas::manifest::RankFusionMethod;
use serde::Serialize;

use crate::diversity::DiversityExplanation;
use crate::error::SearchError;
use crate::keyword::{KeywordIndex, KeywordParts, ProximityExplanation, TermExplanation};
use crate::rank_fusion::query_alpha::{QueryAlphaExplanation, QueryRankFusion};
use crate::rank_fusion::{RankedRow, RetrieverPart, Retrievers};
use crate::recommend::ProfileExplanation;
use crate::search::Question;
use crate::vector::ModalityExplanation;

/// Where a hit's score comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The final score: the keyword part plus the vector part of `rank_fusion`, plus the profile part where there is one.
    pub score: f32,
    /// How the parts were joined; `fusion` in JSON.
    #[serde(rename = "fusion")]
    pub rank_fusion: RankFusionExplanation,
    /// The keyword retriever's side; `None` when it takes no part in the query.
    pub keyword: Option<KeywordExplanation>,
    /// The vector retriever's side; `None` when it takes no part in the query.
    pub vector: Option<VectorExplanation>,
    /// Why the hit stands where it does when that is not by its score; `None` where diversity was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diversity: Option<DiversityExplanation>,
    /// The profile's side; `None`, and not there in JSON, where no profile re-ranks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileExplanation>,
}

/// How a keyword and a vector score became one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RankFusionExplanation {
    /// Method; `None` when only one retriever takes part, whose score is then the final one.
    pub method: Option<RankFusionMethod>,
    /// Share of the vector score; `None` where it plays no part.
    pub alpha: Option<f32>,
    /// Why the query has this alpha; not there where nothing moves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_alpha: Option<QueryAlphaExplanation>,
    /// Part of the final score that comes from the keyword side; `keyword` in JSON.
    #[serde(rename = "keyword")]
    pub keyword_part: f32,
    /// Part of the final score that comes from the vector side; `vector` in JSON.
    #[serde(rename = "vector")]
    pub vector_part: f32,
    /// Part of the final score that comes from a user's profile; `profile` in JSON, and not there where none re-ranks.
    #[serde(rename = "profile", skip_serializing_if = "Option::is_none")]
    pub profile_part: Option<f32>,
    /// How much of the keyword part the item has for being among the keyword retriever's first (`keyword_first`); not
    /// there where it is none of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lift: Option<f32>,
}

/// The keyword side of a score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KeywordExplanation {
    /// BM25F score; 0 where no term matches.
    pub score: f32,
    /// The score as rank fusion weighs it.
    pub normalised: f32,
    /// Place among the candidates by this score, from 1; `None` where no term matches.
    pub rank: Option<u32>,
    /// The words that match; with the pairs' their scores add up to `score`.
    pub terms: Vec<TermExplanation>,
    /// The pairs of words that stand close together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub proximity: Vec<ProximityExplanation>,
}

/// The vector side of a score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VectorExplanation {
    /// Weighted mean of the cosines, or with learned embedding fusion that of the two vectors; `None` where query and item have no modality in common.
    pub score: Option<f32>,
    /// The score as rank fusion weighs it.
    pub normalised: f32,
    /// Place among the candidates by this score, from 1; `None` where there is none.
    pub rank: Option<u32>,
    /// The modalities; their scores add up to `score`.
    pub modalities: Vec<ModalityExplanation>,
}

impl Explanation {
    /// Explains the score of one place of the list.
    pub(crate) fn of(
        index: &KeywordIndex,
        question: &Question<'_>,
        QueryRankFusion { settings, query_alpha }: &QueryRankFusion,
        ranked: &RankedRow,
    ) -> Result<Explanation, SearchError> {
        let keyword = match (&ranked.keyword, &question.keyword) {
            (Some(part), Some(query)) => {
                let RetrieverPart { score, rank, normalised, part: _, lift: _ } = *part;
                let KeywordParts { terms, proximity } = index.explain(query, ranked.row)?;
                Some(KeywordExplanation { score: score.unwrap_or(0.0), normalised, rank, terms, proximity })
            }
            (Some(_), None) | (None, _) => None,
        };
        let vector = match (&ranked.vector, question.vector_scorer()) {
            (Some(part), Some(scorer)) => {
                let RetrieverPart { score, rank, normalised, part: _, lift: _ } = *part;
                Some(VectorExplanation { score, normalised, rank, modalities: scorer.explain(ranked.row)? })
            }
            (Some(_), None) | (None, _) => None,
        };
        let profile = match &question.reranking {
            Some(reranking) => reranking.explain(ranked)?,
            None => None,
        };
        let combined = question.retrievers() == Retrievers::Both;
        let method = combined.then_some(settings.method);
        let part = |side: Option<RetrieverPart>| side.map_or(0.0, |side| side.part);
        Ok(Explanation {
            score: ranked.score,
            rank_fusion: RankFusionExplanation {
                method,
                alpha: method.filter(|method| *method != RankFusionMethod::ReciprocalRank).map(|_| settings.alpha),
                query_alpha: query_alpha.clone(),
                keyword_part: part(ranked.keyword),
                vector_part: part(ranked.vector),
                profile_part: ranked.profile.map(|side| side.part),
                lift: ranked.keyword.map(|side| side.lift).filter(|lift| *lift > 0.0),
            },
            keyword,
            vector,
            diversity: None,
            profile,
        })
    }
}

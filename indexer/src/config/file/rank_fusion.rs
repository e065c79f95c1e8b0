//! The section `[rank_fusion]`. Owns its keys and their ranges; what they mean is the searcher's. Invariant: what was resolved
//! holds only finite numbers in their ranges.

use schemas::manifest::{RankFusionManifest, RankFusionMethod};
use schemas::ranking::QueryAlpha;
use searcher::rank_fusion;

use super::{at_least, value};
use crate::error::IndexError;

/// The keys; each has a default.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RankFusionSection {
    pub(super) method: Option<RankFusionMethod>,
    pub(super) alpha: Option<f32>,
    pub(super) reciprocal_rank_constant: Option<f32>,
    pub(super) depth: Option<usize>,
    pub(super) keyword_first: Option<usize>,
    pub(super) query_alpha: Option<QueryAlpha>,
}

impl RankFusionSection {
    /// The snapshot's defaults for rank fusion.
    pub(super) fn resolve(&self) -> Result<RankFusionManifest, IndexError> {
        let alpha = self.alpha.unwrap_or(rank_fusion::DEFAULT_ALPHA);
        if !(0.0..=1.0).contains(&alpha) {
            return Err(value("rank_fusion.alpha", "must be between 0 (keyword only) and 1 (vector only)"));
        }
        let constant = self.reciprocal_rank_constant.unwrap_or(rank_fusion::DEFAULT_RECIPROCAL_RANK_CONSTANT);
        if !(constant.is_finite() && constant >= 0.0) {
            return Err(value("rank_fusion.reciprocal_rank_constant", "must not be negative"));
        }
        let query_alpha = self.query_alpha.clone().unwrap_or_default();
        if let Err(reason) = query_alpha.check("rank_fusion.query_alpha") {
            return Err(value("rank_fusion.query_alpha", &reason));
        }
        Ok(RankFusionManifest {
            method: self.method.unwrap_or_default(),
            alpha,
            reciprocal_rank_constant: constant,
            depth: at_least("rank_fusion.depth", self.depth.unwrap_or(rank_fusion::DEFAULT_DEPTH), 1)?,
            keyword_first: self.keyword_first.unwrap_or(rank_fusion::DEFAULT_KEYWORD_FIRST),
            query_alpha,
        })
    }
}

//! The keys of `[gates]`. Owns their defaults and checks; not the measuring (`gates.rs`). Invariant: a gate and its key
//! have the same name, every bound is finite, and every one can be set so that it never refuses.

use std::path::Path;

use super::file::value;
use super::relevance::{RelevanceGate, RelevanceSection};
use crate::error::IndexError;

/// Share of rejected rows above which nothing is published.
pub const DEFAULT_MAX_REJECTED_SHARE: f64 = 0.05;
/// Items below which nothing is published: an empty catalog is a broken feed.
pub const DEFAULT_MIN_ITEMS: u64 = 1;
/// Share of the current snapshot's items that may be gone: half a feed is a broken one.
pub const DEFAULT_MAX_ITEM_DROP: f64 = 0.2;
/// New items for each item of the current snapshot: more than twice as many items are another feed, or ids that changed.
pub const DEFAULT_MAX_ITEM_GROWTH: f64 = 1.0;
/// Share of the pictures named in the catalog that may be unusable.
pub const DEFAULT_MAX_MISSING_IMAGES: f64 = 0.2;
/// How far the share of items without a usable picture may rise above the current snapshot's.
pub const DEFAULT_MAX_MISSING_IMAGES_RISE: f64 = 0.1;
/// Recall@10 of the graph against exact search below which nothing is published.
pub const DEFAULT_MIN_ANN_RECALL: f64 = 0.95;
/// Item vectors that the recall gate samples.
pub const DEFAULT_RECALL_SAMPLE: usize = 100;

/// What must hold before a snapshot is published.
#[derive(Clone, Debug, PartialEq)]
pub struct GatesConfig {
    /// 0 to 1. Default: [`DEFAULT_MAX_REJECTED_SHARE`].
    pub max_rejected_share: f64,
    /// Default: [`DEFAULT_MIN_ITEMS`].
    pub min_items: u64,
    /// 0 to 1; 1 never refuses. Default: [`DEFAULT_MAX_ITEM_DROP`].
    pub max_item_drop: f64,
    /// 0 or more; 1 is twice as many items. Default: [`DEFAULT_MAX_ITEM_GROWTH`].
    pub max_item_growth: f64,
    /// 0 to 1; 1 never refuses. Default: [`DEFAULT_MAX_MISSING_IMAGES`].
    pub max_missing_images: f64,
    /// 0 to 1; 1 never refuses. Default: [`DEFAULT_MAX_MISSING_IMAGES_RISE`].
    pub max_missing_images_rise: f64,
    /// 0 to 1. Default: [`DEFAULT_MIN_ANN_RECALL`].
    pub min_ann_recall: f64,
    /// Default: [`DEFAULT_RECALL_SAMPLE`].
    pub recall_sample: usize,
    /// Queries that must find certain items.
    pub golden_queries: Vec<GoldenQuery>,
    /// Judged queries that must not be answered worse.
    pub relevance: Option<RelevanceGate>,
}

/// A query that must find an item.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenQuery {
    /// The query's text.
    pub text: String,
    /// Id of the item that must be among the first `within` hits.
    pub expect: String,
    /// Default: 10.
    #[serde(default = "GoldenQuery::default_within")]
    pub within: usize,
}

impl GoldenQuery {
    fn default_within() -> usize {
        searcher::query::DEFAULT_LIMIT
    }
}

/// The section as it is written in TOML.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GatesSection {
    max_rejected_share: Option<f64>,
    min_items: Option<u64>,
    max_item_drop: Option<f64>,
    max_item_growth: Option<f64>,
    max_missing_images: Option<f64>,
    max_missing_images_rise: Option<f64>,
    min_ann_recall: Option<f64>,
    recall_sample: Option<usize>,
    #[serde(default)]
    golden_queries: Vec<GoldenQuery>,
    relevance: Option<RelevanceSection>,
}

impl GatesSection {
    pub(super) fn resolve(self, folder: &Path) -> Result<GatesConfig, IndexError> {
        let growth = self.max_item_growth.unwrap_or(DEFAULT_MAX_ITEM_GROWTH);
        if !(growth.is_finite() && growth >= 0.0) {
            return Err(value(
                "gates.max_item_growth",
                "must be a finite number and not negative; 1 is twice the items",
            ));
        }
        Ok(GatesConfig {
            max_rejected_share: share("max_rejected_share", self.max_rejected_share, DEFAULT_MAX_REJECTED_SHARE)?,
            min_items: self.min_items.unwrap_or(DEFAULT_MIN_ITEMS),
            max_item_drop: share("max_item_drop", self.max_item_drop, DEFAULT_MAX_ITEM_DROP)?,
            max_item_growth: growth,
            max_missing_images: share("max_missing_images", self.max_missing_images, DEFAULT_MAX_MISSING_IMAGES)?,
            max_missing_images_rise: share(
                "max_missing_images_rise",
                self.max_missing_images_rise,
                DEFAULT_MAX_MISSING_IMAGES_RISE,
            )?,
            min_ann_recall: share("min_ann_recall", self.min_ann_recall, DEFAULT_MIN_ANN_RECALL)?,
            recall_sample: self.recall_sample.unwrap_or(DEFAULT_RECALL_SAMPLE),
            golden_queries: self.golden_queries,
            relevance: self.relevance.map(|section| section.resolve(folder)).transpose()?,
        })
    }
}

fn share(key: &str, given: Option<f64>, default: f64) -> Result<f64, IndexError> {
    let share = given.unwrap_or(default);
    if (0.0..=1.0).contains(&share) {
        Ok(share)
    } else {
        Err(value(&format!("gates.{key}"), "must be between 0 and 1"))
    }
}

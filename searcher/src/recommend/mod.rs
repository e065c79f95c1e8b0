//! Users and what they did: profiles, re-ranking by a profile, and recommendations. Owns what a history says about a user,
//! in the embeddings of one snapshot; not the files of histories (`schemas`), and not retrieval: a recommendation is a
//! query, and goes through the same flow. Invariants: a profile depends on the user's own events and the snapshot alone;
//! whoever is asked about alone or in a batch gets the same answer.
//!
//! A profile is content-based (Lops, de Gemmis, Semeraro 2011, "Content-based recommender systems"): per modality, the sum of
//! the items' embeddings by `weight · 2^(−age / half-life)`, brought to unit length. Nothing is learned from other users.

mod batch;
mod histories;
mod profile;
mod rerank;

pub use batch::{BATCH_USERS, UserRecommendations};
pub use histories::{Histories, HistoryCounts, HistorySettings};
pub use profile::{DEFAULT_HALF_LIFE_DAYS, Profile, ProfileEvent};
pub use rerank::ProfileExplanation;
pub(crate) use rerank::Reranking;

use crate::error::SearchError;
use crate::query::{Mode, Query};

/// Share of the profile in the final score of a query that it re-ranks: the most that costs nothing of what was asked for. On
/// the fixture (a kind is asked for, the history has five things of one colour, 60 users, hybrid) items of kind and colour had 25 of
/// 100 places they could have with 0, 60 with 0.3, 76 with 0.5, while nDCG@10 of the kind itself was 1.000, 1.000 and 0.982;
/// from 0.7 on other kinds come first.
pub const DEFAULT_HISTORY_WEIGHT: f32 = 0.3;

/// A user's profile in a query. Beside texts, pictures or items it re-ranks what they find; alone it is itself what is looked
/// for: a recommendation.
#[derive(Clone, Debug, PartialEq)]
pub struct ProfilePart {
    /// The profile; of the snapshot that is searched.
    pub profile: Profile,
    /// Share of the profile in the final score where it re-ranks, 0 to 1: 0 leaves the ranking as it is, 1 orders the
    /// candidates by the profile alone. Plays no part in a recommendation. Default: [`DEFAULT_HISTORY_WEIGHT`].
    pub weight: f32,
    /// What becomes of the items of the history.
    pub seen_items: SeenItems,
}

/// Whether items of the history can be hits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SeenItems {
    /// They are hits like others.
    Shown,
    /// They are left out, whatever the user thought of them.
    #[default]
    LeftOut,
}

impl Query {
    /// The query that looks for what fits a profile, in place of its texts, pictures and items: a recommendation, by vector
    /// retrieval. Filter, ranking and page stay as they are.
    #[must_use]
    pub fn for_profile(self, profile: Profile, seen_items: SeenItems) -> Query {
        let part = ProfilePart { profile, weight: DEFAULT_HISTORY_WEIGHT, seen_items };
        let (texts, images, like) = (Vec::new(), Vec::new(), Vec::new());
        Query { texts, images, like, mode: Mode::Vector, profile: Some(part), ..self }
    }

    /// The profile where it is all that is asked for, so that it is looked for and does not re-rank.
    pub(crate) fn sought_profile(&self) -> Option<&Profile> {
        let is_alone = self.part_weights().all(|weight| weight == 0.0);
        self.profile.as_ref().filter(|_| is_alone).map(|part| &part.profile)
    }
}

impl ProfilePart {
    /// Checks what can be checked without a snapshot.
    pub(crate) fn check(&self) -> Result<(), SearchError> {
        if (0.0..=1.0).contains(&self.weight) {
            return Ok(());
        }
        let reason = format!("the history's weight is {}, it must be between 0 and 1", self.weight);
        Err(SearchError::Query { reason })
    }
}

#[cfg(test)]
mod tests;

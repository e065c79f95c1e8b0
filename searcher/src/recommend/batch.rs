//! Recommendations for all users of a history. Owns asking many at once in a fixed order; not the ranking. Invariant: a
//! user's list is the one that the user alone would get.

use rayon::prelude::*;
use schemas::recommendations::Recommendation;

use super::SeenItems;
use super::histories::Histories;
use crate::error::SearchError;
use crate::query::Query;
use crate::snapshot::Searcher;

/// Users that are asked about at once; as many profiles and lists are in memory.
pub const BATCH_USERS: usize = 256;

/// What one user is recommended.
#[derive(Clone, Debug, PartialEq)]
pub enum UserRecommendations {
    /// Items, best first; none where all are seen or filtered out.
    Items(Vec<Recommendation>),
    /// Nothing is known of the user that could rank items.
    ColdUser,
}

impl Histories {
    /// What each user is recommended, in the order of the users' names, [`BATCH_USERS`] at a time. `query` says how many,
    /// with which filter and ranking; its texts, pictures and items are not looked at. In parallel on rayon's threads.
    ///
    /// An item of the iterator is an error when the query does not fit the snapshot, or the snapshot cannot be read.
    pub fn recommend<'a>(
        &'a self,
        searcher: &'a Searcher,
        query: &'a Query,
        seen_items: SeenItems,
    ) -> impl Iterator<Item = Result<Vec<UserRecommendations>, SearchError>> + 'a {
        let users: Vec<Option<&str>> = self.users().collect();
        let batches: Vec<Vec<Option<&str>>> = users.chunks(BATCH_USERS).map(<[Option<&str>]>::to_vec).collect();
        batches.into_iter().map(move |users| {
            users.into_par_iter().map(|user| self.recommend_to(searcher, user, query, seen_items)).collect()
        })
    }

    fn recommend_to(
        &self,
        searcher: &Searcher,
        user: Option<&str>,
        query: &Query,
        seen_items: SeenItems,
    ) -> Result<UserRecommendations, SearchError> {
        let profile = self.profile(searcher, user)?;
        if profile.is_empty() {
            return Ok(UserRecommendations::ColdUser);
        }
        let hits = searcher.search(&query.clone().for_profile(profile, seen_items))?.hits;
        let rows = hits.into_iter().zip(1..).map(|(hit, rank)| Recommendation {
            user: user.map(str::to_owned),
            rank,
            id: hit.id,
            score: hit.score,
        });
        Ok(UserRecommendations::Items(rows.collect()))
    }
}

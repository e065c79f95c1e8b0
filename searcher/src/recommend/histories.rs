//! The events of users, by user. Owns reading a history file against a snapshot and counting what could not be used; not
//! the file's format. Invariant: a user's events stand in the file's order, so that one sum gives one profile.
//!
//! In memory: 16 bytes an event and the name of each user; where one user is asked for, only this user's events.

use std::collections::BTreeMap;
use std::path::Path;

use schemas::rejects::Rejection;
use schemas::user_history;

use super::profile::{DEFAULT_HALF_LIFE_DAYS, Profile, ProfileEvent};
use crate::error::SearchError;
use crate::snapshot::Searcher;

/// Rejected rows that are kept to be shown.
const SHOWN_REJECTIONS: usize = 5;

/// How a history is read.
#[derive(Clone, Debug, PartialEq)]
pub struct HistorySettings {
    /// Only this user's events; `None`: all.
    pub user: Option<String>,
    /// Events after this time, in Unix seconds, are left out, as for asking what would have been recommended then. `None`:
    /// none is. A time after all events changes nothing: with time a user's events lose weight by one factor.
    pub now: Option<f64>,
    /// Days after which an event counts half. Default: [`DEFAULT_HALF_LIFE_DAYS`].
    pub half_life_days: f64,
}

impl Default for HistorySettings {
    fn default() -> Self {
        HistorySettings { user: None, now: None, half_life_days: DEFAULT_HALF_LIFE_DAYS }
    }
}

/// What became of a history's rows.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct HistoryCounts {
    /// Events that profiles are made of.
    pub events: u64,
    /// Events of items that the snapshot does not have: sold out, or of another shop.
    pub unknown_items: u64,
    /// Events after [`HistorySettings::now`].
    pub later: u64,
    /// Rows that are no events.
    pub rejected: u64,
    /// The first of these.
    pub first_rejections: Vec<Rejection>,
}

/// The histories of users, ready for their profiles in one snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct Histories {
    users: BTreeMap<Option<String>, Vec<ProfileEvent>>,
    counts: HistoryCounts,
    half_life_days: f64,
}

impl Histories {
    /// Reads a history file. A row that is no event, and an event of an unknown item, is counted and passed over.
    ///
    /// # Errors
    /// When the file cannot be read or is no history, or the snapshot cannot be read.
    pub fn read(searcher: &Searcher, path: &Path, settings: &HistorySettings) -> Result<Histories, SearchError> {
        let mut users: BTreeMap<Option<String>, Vec<ProfileEvent>> = BTreeMap::new();
        let mut counts = HistoryCounts::default();
        for row in user_history::read(path).map_err(SearchError::History)? {
            let event = match row.map_err(SearchError::History)? {
                Ok(event) => event,
                Err(rejection) => {
                    counts.rejected += 1;
                    if counts.first_rejections.len() < SHOWN_REJECTIONS {
                        counts.first_rejections.push(rejection);
                    }
                    continue;
                }
            };
            if settings.user.is_some() && settings.user != event.user {
                continue;
            }
            // A user of whom nothing can be used is there too, as one of whom nothing is known.
            let events = users.entry(event.user).or_default();
            if settings.now.is_some_and(|now| event.time > now) {
                counts.later += 1;
            } else if let Some(row) = searcher.find_row(&event.id)? {
                counts.events += 1;
                events.push(ProfileEvent { row, time: event.time, weight: event.weight });
            } else {
                counts.unknown_items += 1;
            }
        }
        Ok(Histories { users, counts, half_life_days: settings.half_life_days })
    }

    /// What became of the rows.
    #[must_use]
    pub fn counts(&self) -> &HistoryCounts {
        &self.counts
    }

    /// The users, in the order of their names; `None` for events that name no user.
    pub fn users(&self) -> impl ExactSizeIterator<Item = Option<&str>> {
        self.users.keys().map(Option::as_deref)
    }

    /// A user's profile, empty for an unknown user.
    ///
    /// # Errors
    /// As [`Searcher::profile`].
    pub fn profile(&self, searcher: &Searcher, user: Option<&str>) -> Result<Profile, SearchError> {
        let events = self.users.get(&user.map(str::to_owned)).map_or(&[][..], Vec::as_slice);
        searcher.profile(events, self.half_life_days)
    }
}

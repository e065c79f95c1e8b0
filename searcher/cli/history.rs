//! A history on the command line. Owns reading it, what is said about its rows, and which user is meant; the profile is the
//! library's.

use std::path::Path;

use anyhow::bail;
use searcher::recommend::{Histories, HistorySettings};
use searcher::{Profile, ProfilePart, Query, Searcher, SeenItems};

use crate::history_arguments::{HistoryArguments, ProfileArguments};
use crate::output;

/// Users that a message names.
const NAMED_USERS: usize = 5;

/// Reads a history, and says what of it could not be used.
pub(crate) fn read(
    quiet: bool,
    searcher: &Searcher,
    path: &Path,
    arguments: &ProfileArguments,
) -> anyhow::Result<Histories> {
    let settings =
        HistorySettings { user: arguments.user.clone(), now: arguments.now, half_life_days: arguments.half_life };
    let histories = Histories::read(searcher, path, &settings)?;
    let counts = histories.counts();
    for rejection in &counts.first_rejections {
        output::say(quiet, &rejection.to_string());
    }
    let notes = [
        (counts.rejected, "rows are no events and were passed over"),
        (counts.unknown_items, "events are about items that the snapshot does not have"),
        (counts.later, "events are later than `--now`"),
    ];
    for (count, note) in notes.iter().filter(|(count, _)| *count > 0) {
        output::say(quiet, &format!("{count} {note}"));
    }
    Ok(histories)
}

/// The profile of the user that is meant: the one named, or the only one there is. An unknown user's is empty.
pub(crate) fn profile(
    histories: &Histories,
    searcher: &Searcher,
    arguments: &ProfileArguments,
) -> anyhow::Result<Profile> {
    let user = match &arguments.user {
        Some(user) => Some(user.as_str()),
        None if histories.users().len() > 1 => {
            let names: Vec<&str> = histories.users().flatten().take(NAMED_USERS).collect();
            let (count, names) = (histories.users().len(), names.join(", "));
            bail!("the history has {count} users ({names} …); name one with `--user`")
        }
        None => histories.users().next().flatten(),
    };
    Ok(histories.profile(searcher, user)?)
}

/// What is said of a user without a profile.
pub(crate) fn nothing_known(arguments: &ProfileArguments) -> String {
    match &arguments.user {
        Some(user) => format!("nothing is known of the user `{user}` that could rank items"),
        None => "the history has nothing that could rank items".to_owned(),
    }
}

/// The query with the profile that its flags name.
pub(crate) fn with_profile(
    quiet: bool,
    searcher: &Searcher,
    query: Query,
    arguments: &HistoryArguments,
) -> anyhow::Result<Query> {
    Ok(Query { profile: profile_part(quiet, searcher, arguments)?, ..query })
}

/// The profile that re-ranks, and its share; `None` without a history.
pub(crate) fn profile_part(
    quiet: bool,
    searcher: &Searcher,
    arguments: &HistoryArguments,
) -> anyhow::Result<Option<ProfilePart>> {
    let Some(path) = &arguments.history else { return Ok(None) };
    let histories = read(quiet, searcher, path, &arguments.profile)?;
    let profile = profile(&histories, searcher, &arguments.profile)?;
    if profile.is_empty() {
        output::say(quiet, &format!("{}; hits are ranked without it", nothing_known(&arguments.profile)));
    }
    Ok(Some(ProfilePart { profile, weight: arguments.history_weight, seen_items: SeenItems::Shown }))
}

//! `searcher recommend`. Owns turning flags into recommendations, for one user as hits and for many as a file.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use indicatif::ProgressBar;
use schemas::recommendations::{Recommendation, RecommendationsWriter};
use searcher::recommend::{Histories, UserRecommendations};
use searcher::{Query, Results, Searcher, SeenItems};
use serde::Serialize;

use crate::arguments::SnapshotArguments;
use crate::history::{nothing_known, profile, read};
use crate::history_arguments::{PageArguments, RecommendArguments};
use crate::opened::{Opened, open};
use crate::output;
use crate::search::{Ranking, print_answer};

/// Recommends items to the users of a history. Exit code 1 when there is nothing to recommend.
pub(crate) fn recommend(snapshot: &SnapshotArguments, arguments: &RecommendArguments) -> anyhow::Result<ExitCode> {
    let PageArguments { limit, offset, explain, json } = arguments.page;
    let query = Query { limit, offset, explain, ..Query::default() };
    let query = Ranking::read(&arguments.ranking)?.apply(query);
    let seen_items = if arguments.include_seen { SeenItems::Shown } else { SeenItems::LeftOut };
    let Opened { searcher, .. } = open(snapshot)?;
    let histories = read(snapshot.quiet, &searcher, &arguments.history, &arguments.profile)?;
    if let Some(path) = &arguments.output {
        let counts = recommend_to_all(snapshot.quiet, &searcher, &histories, &query, seen_items, path)?;
        if json {
            output::print_json(&counts)?;
        } else {
            output::print(&counts.to_string())?;
        }
        return Ok(ExitCode::from(u8::from(counts.recommendations == 0)));
    }
    let profile = profile(&histories, &searcher, &arguments.profile)?;
    let is_cold = profile.is_empty();
    if is_cold {
        output::say(snapshot.quiet, &nothing_known(&arguments.profile));
    }
    let query = query.for_profile(profile, seen_items);
    let results = if is_cold { Results::default() } else { searcher.search(&query)? };
    print_answer(snapshot, &searcher, &query, &results, json)
}

/// What became of the users of a batch.
#[derive(Debug, Default, Serialize)]
struct BatchCounts {
    users: usize,
    /// Nothing is known of them that could rank items.
    cold_users: usize,
    /// Everything that fits them is seen or filtered out.
    users_without_items: usize,
    recommendations: usize,
}

impl std::fmt::Display for BatchCounts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let BatchCounts { users, cold_users, users_without_items, recommendations } = self;
        write!(formatter, "{recommendations} recommendations to {users} users; of {cold_users} nothing is known, ")?;
        writeln!(formatter, "for {users_without_items} nothing is left")
    }
}

fn recommend_to_all(
    quiet: bool,
    searcher: &Searcher,
    histories: &Histories,
    query: &Query,
    seen_items: SeenItems,
    path: &Path,
) -> anyhow::Result<BatchCounts> {
    let mut counts = BatchCounts { users: histories.users().len(), ..BatchCounts::default() };
    let draws = !quiet && std::io::stderr().is_terminal();
    let bar = if draws { ProgressBar::new(counts.users as u64) } else { ProgressBar::hidden() };
    let mut writer = RecommendationsWriter::create(path)?;
    for batch in histories.recommend(searcher, query, seen_items) {
        let batch = batch?;
        bar.inc(batch.len() as u64);
        let mut rows: Vec<Recommendation> = Vec::new();
        for user in batch {
            match user {
                UserRecommendations::ColdUser => counts.cold_users += 1,
                UserRecommendations::Items(items) if items.is_empty() => counts.users_without_items += 1,
                UserRecommendations::Items(items) => rows.extend(items),
            }
        }
        counts.recommendations += rows.len();
        writer.write(&rows)?;
    }
    writer.finish()?;
    bar.finish_and_clear();
    Ok(counts)
}

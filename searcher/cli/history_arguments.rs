//! The flags of commands about likeness and users: `similar`, `recommend`, and a history beside a search. Owns names, help
//! and syntax; nothing is opened or checked here.

use std::path::PathBuf;

use clap::Args;
use schemas::user_history;
use searcher::query::DEFAULT_LIMIT;
use searcher::recommend::{DEFAULT_HALF_LIFE_DAYS, DEFAULT_HISTORY_WEIGHT};

use crate::arguments::RankingArguments;
use crate::weighted::Weighted;

#[derive(Debug, Args)]
pub(crate) struct SimilarArguments {
    /// Id of an item, with a weight (1 by default, negative: unlike it); repeatable
    #[arg(long = "id", value_name = "ID[^W]", value_parser = Weighted::parse, allow_hyphen_values = true, required = true)]
    pub(crate) ids: Vec<Weighted>,
    #[command(flatten)]
    pub(crate) page: PageArguments,
    #[command(flatten)]
    pub(crate) ranking: RankingArguments,
}

#[derive(Debug, Args)]
pub(crate) struct RecommendArguments {
    /// What users did: JSON Lines or Parquet with `id`, `time`, and perhaps `user` and `weight`
    #[arg(long, value_name = "FILE")]
    pub(crate) history: PathBuf,
    /// Also show items of the history
    #[arg(long)]
    pub(crate) include_seen: bool,
    /// Recommend to all users of the history, and write `user`, `rank`, `id`, `score` to this Parquet file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["user", "explain", "offset"])]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) page: PageArguments,
    #[command(flatten)]
    pub(crate) profile: ProfileArguments,
    #[command(flatten)]
    pub(crate) ranking: RankingArguments,
}

/// A history that re-ranks a search.
#[derive(Debug, Args)]
#[command(next_help_heading = "History")]
pub(crate) struct HistoryArguments {
    /// Re-rank by what a user did: JSON Lines or Parquet with `id`, `time`, and perhaps `user` and `weight`
    #[arg(long, value_name = "FILE")]
    pub(crate) history: Option<PathBuf>,
    /// Share of the history in the final score, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = DEFAULT_HISTORY_WEIGHT, requires = "history")]
    pub(crate) history_weight: f32,
    #[command(flatten)]
    pub(crate) profile: ProfileArguments,
}

/// Whose profile, and how events count.
#[derive(Debug, Args)]
#[command(next_help_heading = "History")]
pub(crate) struct ProfileArguments {
    /// The user, where the history has several
    #[arg(long, value_name = "USER", requires = "history")]
    pub(crate) user: Option<String>,
    /// Days after which an event counts half; `inf`: never
    #[arg(long, value_name = "DAYS", default_value_t = DEFAULT_HALF_LIFE_DAYS, requires = "history")]
    pub(crate) half_life: f64,
    /// Leave out events after this time (RFC 3339 or Unix seconds), as if it were now
    ///
    /// A later time changes nothing: as time goes by, all of a user's events lose weight by the same factor.
    #[arg(long, value_name = "TIME", value_parser = user_history::parse_time, requires = "history", allow_hyphen_values = true)]
    pub(crate) now: Option<f64>,
}

/// Which hits are shown, and how.
#[derive(Debug, Args)]
pub(crate) struct PageArguments {
    /// Hits to show
    #[arg(short = 'k', long = "limit", value_name = "N", default_value_t = DEFAULT_LIMIT)]
    pub(crate) limit: usize,
    /// Hits to skip
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) offset: usize,
    /// Show where each score comes from
    #[arg(long)]
    pub(crate) explain: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

//! The flags of `searcher eval` and `searcher tune`. Owns names, help and syntax.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use searcher::evaluation::Measure;
use searcher::tuning;

use super::{ModeArgument, RankingArguments};
use crate::history_arguments::HistoryArguments;

/// Seed of the tests' random numbers where none is given.
const DEFAULT_SEED: u64 = 20_261_121;

/// Judged queries.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("questions").required(true))]
pub(crate) struct JudgedArguments {
    /// Queries, `qid<TAB>text`
    #[arg(long, value_name = "FILE", group = "questions")]
    pub(crate) queries: Option<PathBuf>,
    /// Picture queries, `qid<TAB>path` or `qid<TAB>path<TAB>text`; paths are relative to the file
    #[arg(long, value_name = "FILE", group = "questions")]
    pub(crate) image_queries: Option<PathBuf>,
    /// Judgments, `qid 0 docid grade`
    #[arg(long, value_name = "FILE")]
    pub(crate) qrels: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct EvalArguments {
    #[command(flatten)]
    pub(crate) judged: JudgedArguments,
    /// Modes to measure, separated by commas [default: all that the snapshot has]
    #[arg(long = "mode", value_enum, value_delimiter = ',')]
    pub(crate) modes: Vec<ModeArgument>,
    /// More measures, separated by commas: ndcg@K, ndcg_exponential@K, judged_ndcg@K, judged_ndcg_exponential@K,
    /// precision@K, judged@K, recall@K, mrr@K, map
    #[arg(long = "measure", value_name = "NAME@K", value_delimiter = ',')]
    pub(crate) measures: Vec<Measure>,
    /// Show the measures of each query
    #[arg(long)]
    pub(crate) per_query: bool,
    /// Also write the measures of each query and mode as tab-separated values
    #[arg(long, value_name = "FILE")]
    pub(crate) per_query_tsv: Option<PathBuf>,
    /// Also write a report as one HTML file: figures, and the first hits of the worst queries
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Folder that the catalog's picture paths are relative to, for the report's pictures
    #[arg(long, value_name = "DIR", requires = "report")]
    pub(crate) pictures: Option<PathBuf>,
    /// Also write a TREC run; with several modes one file each, the mode's name before the extension
    #[arg(long, value_name = "FILE")]
    pub(crate) run: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) comparison: ComparisonArguments,
    #[command(flatten)]
    pub(crate) ranking: RankingArguments,
    /// Measure lists with one hit for each value of a string, category or integer field, as `search --collapse` shows them
    #[arg(long, value_name = "FIELD", help_heading = "Ranking")]
    pub(crate) collapse: Option<String>,
    #[command(flatten)]
    pub(crate) history: HistoryArguments,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TuneArguments {
    #[command(flatten)]
    pub(crate) judged: JudgedArguments,
    /// Retrievers to tune
    #[arg(long, value_enum, default_value_t = ModeArgument::Hybrid)]
    pub(crate) mode: ModeArgument,
    /// Measures whose mean is made large, separated by commas
    #[arg(
        long,
        value_name = "NAME@K",
        value_delimiter = ',',
        default_values_t = [Measure::Ndcg(10), Measure::JudgedNdcg(10)]
    )]
    pub(crate) objective: Vec<Measure>,
    /// Folds of the cross-validation
    #[arg(long, value_name = "N", default_value_t = tuning::DEFAULT_FOLDS)]
    pub(crate) folds: usize,
    /// Which settings are tried
    #[arg(long, value_enum, default_value_t = SearchArgument::Coarse)]
    pub(crate) search: SearchArgument,
    /// Settings that a random search tries
    #[arg(long, value_name = "N", default_value_t = tuning::DEFAULT_TRIALS)]
    pub(crate) trials: usize,
    /// Seed of trials, folds, test and interval
    #[arg(long, value_name = "N", default_value_t = tuning::DEFAULT_SEED)]
    pub(crate) seed: u64,
    /// Settings to start from and to compare with [default: the snapshot's]
    #[arg(long, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
    /// Filter that every query gets
    #[arg(long, value_name = "EXPR")]
    pub(crate) filter: Option<String>,
    /// Write the settings tuned on all queries; also when the cross-validated gain is not above 0
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SearchArgument {
    /// All combinations of few values of the title's weight and b, alpha, method and keyword_first
    Coarse,
    /// Random values of every parameter; for hundreds of judged queries
    Random,
}

/// What the figures are compared with. Without any of these hybrid is compared with keyword.
#[derive(Debug, Args)]
#[command(next_help_heading = "Comparison")]
pub(crate) struct ComparisonArguments {
    /// Ranking settings to compare with: a file, or `defaults` for the snapshot's own
    #[arg(long, value_name = "FILE")]
    pub(crate) against: Option<PathBuf>,
    /// Snapshot folder to compare with, opened with the same flags
    #[arg(long, value_name = "DIR")]
    pub(crate) against_snapshot: Option<PathBuf>,
    /// Measures to compare, separated by commas
    #[arg(
        long = "compare",
        value_name = "NAME@K",
        value_delimiter = ',',
        default_values_t = [Measure::Ndcg(10), Measure::JudgedNdcg(10)]
    )]
    pub(crate) compared: Vec<Measure>,
    /// Seed of the randomisation test
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SEED)]
    pub(crate) seed: u64,
}

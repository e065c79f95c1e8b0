//! The flags of `searcher`. Owns names, help and syntax; nothing is opened or checked here.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use schemas::Modality;
use schemas::manifest::RankFusionMethod;
use schemas::ranking::Matching;
use searcher::Mode;
use searcher::query::DEFAULT_LIMIT;

use crate::history_arguments::{HistoryArguments, RecommendArguments, SimilarArguments};
use crate::list_arguments::ListArguments;
use crate::weighted::Weighted;

mod measuring;

pub(crate) use measuring::{ComparisonArguments, EvalArguments, JudgedArguments, SearchArgument, TuneArguments};

/// Answers queries from a published snapshot: keyword, vector and hybrid search over a product catalog.
#[derive(Debug, Parser)]
#[command(name = "searcher", version, about, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) snapshot: SnapshotArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is searched, and how the program behaves.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "What is opened")]
pub(crate) struct SnapshotArguments {
    /// Store whose published snapshot is opened
    #[arg(long, value_name = "DIR", env = "CATALENS_STORE", global = true)]
    pub(crate) store: Option<PathBuf>,
    /// Snapshot folder to open, in place of the store's published one
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) snapshot: Option<PathBuf>,
    /// Folder of the query encoders, in place of the store's `encoders`
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) encoders: Option<PathBuf>,
    /// Device for query encoders: auto, cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto", global = true)]
    pub(crate) device: encoders::DeviceChoice,
    /// Compare the checksum of every file before opening; reads all of the snapshot
    #[arg(long, global = true)]
    pub(crate) check: bool,
    /// Read all of the snapshot into the page cache before the first query, for measuring
    #[arg(long, global = true)]
    pub(crate) prefault: bool,
    /// Only errors on standard error
    #[arg(long, short, global = true, help_heading = "Options")]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Find items by text, picture, or likeness to items
    ///
    /// Exit code 0: hits. 1: none. 2: error.
    Search(SearchArguments),
    /// Find the items that are most like given ones
    ///
    /// By the weighted mean of the cosines of their embeddings; the given items are left out. Loads no model.
    /// Exit code 0: hits. 1: none. 2: error.
    Similar(SimilarArguments),
    /// Recommend items to users by what they did
    ///
    /// A user's profile is the sum of the embeddings of the items of the history, each by its weight (a purchase may count 5, a view 1,
    /// a dislike less than 0), halved every `--half-life` days; what is most like it is recommended, and what the user knows
    /// is left out. Shows one user's hits, or writes all users' to a Parquet file. Loads no model.
    /// Exit code 0: something to recommend. 1: nothing. 2: error.
    Recommend(RecommendArguments),
    /// Measure keyword, vector and hybrid search on judged queries
    ///
    /// Prints nDCG@10, nDCG@10 over judged items only, the judged share of the first ten, both nDCGs with exponential
    /// gain, P@10, recall@100, MRR@10 and MAP as trec_eval computes them, over the queries with at least one relevant
    /// item; and whether a difference (of hybrid to keyword, of two settings or of two snapshots) is more than chance.
    Eval(EvalArguments),
    /// Find ranking settings that win on judged queries, and what they are worth on others
    ///
    /// Tries settings on the queries, cross-validates the gain, and writes the settings as a file for `--settings` and
    /// for the indexer's key `ranking`. The cross-validated figures are what to expect of new queries.
    Tune(TuneArguments),
    /// Say what the snapshot holds
    Info(InfoArguments),
}

#[derive(Debug, Args)]
pub(crate) struct SearchArguments {
    /// Text to search for; `"a phrase"`, `-word` and `field:value` set conditions
    ///
    /// Only where they look like it: quotes before a word and closed before a space, a minus before a letter, the name of a
    /// field. Anything else is text.
    #[arg(value_name = "TEXT")]
    pub(crate) text: Option<String>,
    /// Another text, with a weight (1 by default); repeatable
    #[arg(long = "text", value_name = "TEXT[^W]", value_parser = Weighted::parse, allow_hyphen_values = true)]
    pub(crate) texts: Vec<Weighted>,
    /// Picture to search for, with a weight; repeatable
    #[arg(long = "image", value_name = "FILE[^W]", value_parser = Weighted::parse)]
    pub(crate) images: Vec<Weighted>,
    /// Id of an item that hits should be like, with a weight; repeatable
    #[arg(long = "like", value_name = "ID[^W]", value_parser = Weighted::parse, allow_hyphen_values = true)]
    pub(crate) like: Vec<Weighted>,
    /// Id of an item that hits should not be like, with a weight (0.25 by default); repeatable
    #[arg(long = "unlike", value_name = "ID[^W]", value_parser = Weighted::parse_negative_item, allow_hyphen_values = true)]
    pub(crate) unlike: Vec<Weighted>,
    /// Text that hits should not be like, with a weight (0.5 by default); for vectors alone; repeatable
    #[arg(long = "not", value_name = "TEXT[^W]", value_parser = Weighted::parse_negative_text, allow_hyphen_values = true)]
    pub(crate) not: Vec<Weighted>,
    /// Retrievers to ask
    #[arg(long, value_enum, default_value_t = ModeArgument::Hybrid)]
    pub(crate) mode: ModeArgument,
    /// Hits to show
    #[arg(short = 'k', long = "limit", value_name = "N", default_value_t = DEFAULT_LIMIT)]
    pub(crate) limit: usize,
    /// Hits to skip
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) offset: usize,
    #[command(flatten)]
    pub(crate) list: ListArguments,
    #[command(flatten)]
    pub(crate) ranking: RankingArguments,
    #[command(flatten)]
    pub(crate) history: HistoryArguments,
    /// Show where each score comes from
    #[arg(long, help_heading = "Options")]
    pub(crate) explain: bool,
    /// Print one JSON object
    #[arg(long, help_heading = "Options")]
    pub(crate) json: bool,
}

/// What decides the ranking, for searching and measuring alike.
#[derive(Debug, Args)]
#[command(next_help_heading = "Ranking")]
pub(crate) struct RankingArguments {
    /// Filter such as `brand = "Daybird" and price < 50 and category in ["Footwear", "Bags"]`
    ///
    /// `=`, `!=`, `<`, `<=`, `>`, `>=`, `in [...]`, `prefix "..."`, `all [...]` for lists, `under "A > B"` for
    /// categories, `exists(field)`, `not`, `and`, `or` and parentheses. Without a text, picture or item, all items that
    /// match are listed. An item without a value matches no comparison with it.
    #[arg(long, value_name = "EXPR")]
    pub(crate) filter: Option<String>,
    /// Ranking settings, as `searcher tune` writes them; what other flags say comes first
    #[arg(long, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
    /// Synonyms for the texts' words, in keyword search: lines such as `sofa, couch` or `telly => tv`
    #[arg(long, value_name = "FILE", env = "CATALENS_SYNONYMS")]
    pub(crate) synonyms: Option<PathBuf>,
    /// How many words of a text an item must have: any, all or a share such as 75% [default: the snapshot's]
    #[arg(long, value_name = "HOW")]
    pub(crate) matching: Option<Matching>,
    /// How keyword and vector scores become one [default: the snapshot's]
    #[arg(long, value_enum)]
    pub(crate) method: Option<MethodArgument>,
    /// Share of the vector score, 0 to 1 [default: the snapshot's; more of it beside pictures and items]
    #[arg(long, value_name = "SHARE")]
    pub(crate) alpha: Option<f32>,
    /// Weight of a modality in the vector score, such as `title=0.5`; repeatable [default: the snapshot's]
    #[arg(long = "weight", value_name = "MODALITY=W", value_parser = parse_modality_weight)]
    pub(crate) modality_weights: Vec<(Modality, f32)>,
    /// Candidates from each retriever [default: the snapshot's]
    #[arg(long, value_name = "N")]
    pub(crate) depth: Option<usize>,
    /// Weight of being unlike the hits before against the score, 0 (off) to 1; for the first 100 hits
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub(crate) diversity: f32,
}

#[derive(Debug, Args)]
pub(crate) struct InfoArguments {
    /// Print the snapshot's id and its manifest as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeArgument {
    /// BM25 over the searched fields; loads no model
    Keyword,
    /// Cosines of embeddings
    Vector,
    /// Both
    Hybrid,
}

impl From<ModeArgument> for Mode {
    fn from(mode: ModeArgument) -> Mode {
        match mode {
            ModeArgument::Keyword => Mode::Keyword,
            ModeArgument::Vector => Mode::Vector,
            ModeArgument::Hybrid => Mode::Hybrid,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum MethodArgument {
    /// Convex combination with theoretical minima and the query's maximum
    Convex,
    /// Convex combination with the query's minimum and maximum
    #[value(alias = "min-max")]
    MinMax,
    /// Convex combination of z-scores
    #[value(alias = "z-score")]
    ZScore,
    /// Reciprocal rank fusion
    #[value(alias = "reciprocal-rank", alias = "rrf")]
    ReciprocalRank,
}

impl From<MethodArgument> for RankFusionMethod {
    fn from(method: MethodArgument) -> RankFusionMethod {
        match method {
            MethodArgument::Convex => RankFusionMethod::Convex,
            MethodArgument::MinMax => RankFusionMethod::MinMax,
            MethodArgument::ZScore => RankFusionMethod::ZScore,
            MethodArgument::ReciprocalRank => RankFusionMethod::ReciprocalRank,
        }
    }
}

fn parse_modality_weight(text: &str) -> Result<(Modality, f32), String> {
    let names = || Modality::ALL.map(Modality::name).join(", ");
    let (name, weight) = text.split_once('=').ok_or_else(|| "expected MODALITY=W, such as `title=0.5`".to_owned())?;
    let modality =
        Modality::from_name(name).ok_or_else(|| format!("`{name}` is no modality; there are {}", names()))?;
    let weight = weight.parse().ok().filter(|weight: &f32| weight.is_finite() && *weight >= 0.0);
    Ok((modality, weight.ok_or_else(|| "the weight is not a number of at least 0".to_owned())?))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn modality_weights() {
        assert_eq!(parse_modality_weight("title=0.5"), Ok((Modality::Title, 0.5)));
        assert!(parse_modality_weight("colour=1").unwrap_err().contains("title, description, image"));
        for wrong in ["title", "title=", "title=-1", "title=nan"] {
            parse_modality_weight(wrong).unwrap_err();
        }
    }
}

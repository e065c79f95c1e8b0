//! The flags of `indexer`. Owns names, help and syntax; nothing is opened or checked here.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use indexer::learn;

use crate::label::LabelArguments;
use crate::logging::LogFormat;

/// Builds a search snapshot from a product catalog, and looks after the store it is published in.
#[derive(Debug, Parser)]
#[command(name = "indexer", version, about, max_term_width = 100)]
pub(crate) struct Arguments {
    /// Only errors on standard error: no progress, no log lines
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Format of log lines on standard error
    #[arg(long, value_name = "FORMAT", global = true, value_enum, default_value_t, env = "CATALENS_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Encode what changed, build, verify and publish a snapshot
    ///
    /// Exit code 0: published, planned or encoded. 1: a gate refused, the old snapshot still serves. 2: error, likewise.
    Run(RunArguments),
    /// Train a model of learned embedding fusion on judged queries, and say what it is worth on queries it has not seen
    ///
    /// Reads the published snapshot and writes the model's file, nothing else. `embedding_fusion.kind = "learned"` with
    /// `embedding_fusion.model` makes `run` use it.
    Learn(LearnArguments),
    /// Say what is published, how fresh it is, how the last run ended, and what takes space
    ///
    /// Exit code 0: done. 1: with `--max-age`, nothing is published or it is older than that. 2: error.
    Status(StatusArguments),
    /// List the store's runs: outcome, counts and seconds of each
    History(HistoryArguments),
    /// Propose values for items that lack a field, from items like them and from the values' names
    ///
    /// Writes a Parquet file; neither the catalog nor a snapshot is changed, and an item that has a value gets none.
    Label(LabelArguments),
    /// Check every byte of a snapshot against its manifest, and open it
    Verify(VerifyArguments),
    /// Publish an earlier snapshot again
    Rollback(RollbackArguments),
    /// Remove old snapshots, encoders that none of the remaining needs, and old reports
    Prune(PruneArguments),
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Store, in place of `store.path`
    #[arg(long, value_name = "DIR", env = "CATALENS_STORE")]
    pub(crate) store: Option<PathBuf>,
    /// Catalog file, folder or glob, in place of `catalog.path`
    #[arg(long, value_name = "PATH")]
    pub(crate) catalog: Option<PathBuf>,
    /// Any other key of the configuration, such as `gates.min_ann_recall=0.9`; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_key_value)]
    pub(crate) set: Vec<(String, String)>,
    /// Device to encode on: auto, cpu, cuda or cuda:N; short for `--set encode.device=…`
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<String>,
    /// Only say what would be encoded, why, and how long it takes; writes nothing to the store
    #[arg(long)]
    pub(crate) plan: bool,
    /// Only encode one share of the partitions, such as 2/3, and publish nothing; the shares may run at the same time, and
    /// `indexer run` then publishes what they encoded
    #[arg(long, value_name = "I/N", conflicts_with = "plan")]
    pub(crate) partition: Option<indexer::PartitionShare>,
    /// Build and publish even if the current snapshot was made from just the same
    #[arg(long, conflicts_with_all = ["plan", "partition"])]
    pub(crate) rebuild: bool,
    /// Publish even if gates refuse; who did it, when and why is recorded in manifest and report. Damage is never overruled
    #[arg(long, value_name = "REASON", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["plan", "partition"])]
    pub(crate) force: Option<String>,
    /// Also write the JSON report to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Write metrics for Prometheus' textfile collector to this file, in place of `metrics.path`, however the run ends
    #[arg(long, value_name = "FILE", conflicts_with_all = ["plan", "partition"])]
    pub(crate) metrics: Option<PathBuf>,
    /// Print the JSON report instead of a summary
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StoreArguments {
    /// Store
    #[arg(long, value_name = "DIR", env = "CATALENS_STORE")]
    pub(crate) store: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("asked").required(true).multiple(true).args(["queries", "image_queries"])))]
pub(crate) struct LearnArguments {
    #[command(flatten)]
    pub(crate) store: StoreArguments,
    /// Queries, `qid<TAB>text`; repeatable
    #[arg(long, value_name = "FILE")]
    pub(crate) queries: Vec<PathBuf>,
    /// Queries, `qid<TAB>picture[<TAB>text]`, pictures relative to the file; repeatable
    #[arg(long, value_name = "FILE")]
    pub(crate) image_queries: Vec<PathBuf>,
    /// Judgments, `qid 0 docid grade`; repeatable
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) qrels: Vec<PathBuf>,
    /// Where the model is written
    #[arg(long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Parts of the queries for cross-validation; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = learn::DEFAULT_FOLDS)]
    pub(crate) folds: usize,
    /// Seed of every random choice
    #[arg(long, value_name = "N", default_value_t = learn::DEFAULT_SEED)]
    pub(crate) seed: u64,
    /// Passes over the queries
    #[arg(long, value_name = "N", default_value_t = learn::DEFAULT_EPOCHS)]
    pub(crate) epochs: usize,
    /// Step size
    #[arg(long, value_name = "X", default_value_t = learn::DEFAULT_LEARNING_RATE)]
    pub(crate) learning_rate: f64,
    /// Pull towards the untrained model, weighted blocks
    #[arg(long, value_name = "X", default_value_t = learn::DEFAULT_WEIGHT_DECAY)]
    pub(crate) weight_decay: f64,
    /// Divides cosines before the softmax of the loss
    #[arg(long, value_name = "X", default_value_t = learn::DEFAULT_TEMPERATURE)]
    pub(crate) temperature: f64,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    #[command(flatten)]
    pub(crate) store: StoreArguments,
    /// Exit with 1 when the catalog was last known to be what is published longer ago than this, such as 26h, 90m or 2d
    #[arg(long, value_name = "AGE", value_parser = parse_duration)]
    pub(crate) max_age: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArguments {
    #[command(flatten)]
    pub(crate) store: StoreArguments,
    /// Newest runs to show
    #[arg(short = 'n', long, value_name = "N", default_value_t = indexer::history::DEFAULT_RUNS)]
    pub(crate) runs: usize,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    #[command(flatten)]
    pub(crate) store: StoreArguments,
    /// Snapshot; the published one if none is given
    #[arg(long, value_name = "ID")]
    pub(crate) snapshot: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArguments {
    #[command(flatten)]
    pub(crate) store: StoreArguments,
    /// Snapshot to publish; the newest one older than the current if none is given
    #[arg(long, value_name = "ID")]
    pub(crate) to: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PruneArguments {
    #[command(flatten)]
    pub(crate) store: StoreArguments,
    /// Newest snapshots to keep; the published one is kept in any case
    #[arg(long, value_name = "N", default_value_t = indexer::upkeep::DEFAULT_KEEP)]
    pub(crate) keep: usize,
    /// Newest runs whose report and list of rejects are kept
    #[arg(long, value_name = "N", default_value_t = indexer::reports::DEFAULT_KEEP_REPORTS)]
    pub(crate) keep_reports: usize,
}

/// A number and its unit: `90s`, `90m`, `26h`, `2d`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|one: char| !one.is_ascii_digit()).unwrap_or(text.len()));
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => 0,
    };
    let whole = number.parse::<u64>().ok().filter(|_| seconds > 0).and_then(|number| number.checked_mul(seconds));
    whole.map(Duration::from_secs).ok_or_else(|| "expected a number and s, m, h or d, such as `26h`".to_owned())
}

fn parse_key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        Some(_) | None => Err("expected KEY=VALUE, such as `encode.device=cpu`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_need_a_number_and_a_unit() {
        let hours = |hours: u64| Ok(Duration::from_secs(hours * 3600));
        assert_eq!(
            [parse_duration("26h"), parse_duration("2d"), parse_duration("60m")],
            [hours(26), hours(48), hours(1)]
        );
        for wrong in ["", "h", "26", "26 h", "-1h", "1.5h", "26H", "99999999999999999999h", "9999999999999999999h"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}

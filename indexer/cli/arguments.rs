//! The flags of `indexer`. Owns names, help and syntax; nothing is opened or checked here.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Builds a search snapshot from a product catalog, and looks after the store it is published in.
#[derive(Debug, Parser)]
#[command(name = "indexer", version, about, max_term_width = 100)]
pub(crate) struct Arguments {
    /// Only errors on standard error: no progress, no log lines
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Encode what changed, build, verify and publish a snapshot
    ///
    /// Exit code 0: published, planned or encoded. 1: a gate refused, the old snapshot still serves. 2: error, likewise.
    Run(RunArguments),
    /// List the store's snapshots
    Status(StatusArguments),
    /// Check every byte of a snapshot against its manifest, and open it
    Verify(VerifyArguments),
    /// Publish an earlier snapshot again
    Rollback(RollbackArguments),
    /// Remove old snapshots, and encoders that none of the remaining needs
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
    /// Also write the JSON report to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
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
pub(crate) struct StatusArguments {
    #[command(flatten)]
    pub(crate) store: StoreArguments,
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
}

fn parse_key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        Some(_) | None => Err("expected KEY=VALUE, such as `encode.device=cpu`".to_owned()),
    }
}

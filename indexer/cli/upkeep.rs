//! `indexer verify`, `rollback` and `prune`. Owns what they print.

use std::process::ExitCode;

use anyhow::{Context, anyhow};
use indexer::{reports, upkeep};
use schemas::{SnapshotId, Store};

use crate::arguments::{PruneArguments, RollbackArguments, VerifyArguments};
use crate::{print, print_json};

/// Checks a snapshot.
pub(crate) fn verify(arguments: &VerifyArguments) -> anyhow::Result<ExitCode> {
    let store = Store::open(&arguments.store.store)?;
    let snapshot = match &arguments.snapshot {
        Some(name) => parse(name)?,
        None => current(&store)?,
    };
    let manifest = upkeep::verify(&store, &snapshot)?;
    if arguments.store.json {
        let result = serde_json::json!({ "snapshot": snapshot.as_str(), "items": manifest.item_count, "files": manifest.files.len() });
        print_json(&result.to_string())?;
    } else {
        print(&format!(
            "{snapshot}: {} files and {} items are as the manifest says\n",
            manifest.files.len(),
            manifest.item_count
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Publishes an earlier snapshot.
pub(crate) fn rollback(arguments: &RollbackArguments) -> anyhow::Result<ExitCode> {
    let store = Store::open(&arguments.store.store)?;
    let wanted = arguments.to.as_deref().map(parse).transpose()?;
    let snapshot = upkeep::rollback(&store, wanted.as_ref())?;
    if arguments.store.json {
        print_json(&serde_json::json!({ "current": snapshot.as_str() }).to_string())?;
    } else {
        print(&format!("published again: {snapshot}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Removes old snapshots and reports.
pub(crate) fn prune(arguments: &PruneArguments) -> anyhow::Result<ExitCode> {
    let store = Store::open(&arguments.store.store)?;
    let pruned = upkeep::prune(&store, arguments.keep)?;
    let reports = reports::prune(&store, arguments.keep_reports)?;
    if arguments.store.json {
        let mut result = serde_json::to_value(&pruned)?;
        result["reports"] = reports.reports.into();
        print_json(&serde_json::to_string_pretty(&result)?)?;
    } else {
        let (snapshots, encoders, reports) = (pruned.snapshots.len(), pruned.encoders.len(), reports.reports);
        let held = match pruned.held.as_slice() {
            [] => String::new(),
            held => format!("; {} held by readers stay: {}", held.len(), held.join(", ")),
        };
        print(&format!("removed {snapshots} snapshots, {encoders} encoders and {reports} reports{held}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn parse(name: &str) -> anyhow::Result<SnapshotId> {
    SnapshotId::parse(name).ok_or_else(|| anyhow!("`{name}` is no snapshot's name; `indexer status` lists them"))
}

fn current(store: &Store) -> anyhow::Result<SnapshotId> {
    store.current()?.context("nothing is published in this store; run `indexer run` first")
}

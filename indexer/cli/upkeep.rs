//! `indexer status`, `verify`, `rollback` and `prune`. Owns what they print.

use std::process::ExitCode;

use anyhow::{Context, anyhow};
use comfy_table::{Table, presets};
use indexer::upkeep;
use schemas::terminal::line;
use schemas::{SnapshotId, Store};

use crate::arguments::{PruneArguments, RollbackArguments, StatusArguments, VerifyArguments};
use crate::{print, print_json};

/// Lists the store's snapshots.
pub(crate) fn status(arguments: &StatusArguments) -> anyhow::Result<ExitCode> {
    let status = upkeep::status(&Store::open(&arguments.store.store)?)?;
    if arguments.store.json {
        print_json(&serde_json::to_string_pretty(&status)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(["", "snapshot", "started", "items", "MB", "encoders"]);
    for snapshot in &status.snapshots {
        let encoders: Vec<_> = snapshot.encoders.iter().map(|(modality, name)| format!("{modality}: {name}")).collect();
        table.add_row([
            if snapshot.current { "*" } else { "" }.to_owned(),
            snapshot.snapshot.clone(),
            line(&snapshot.created),
            snapshot.items.to_string(),
            format!("{:.1}", snapshot.bytes as f64 / 1e6),
            line(snapshot.error.as_ref().unwrap_or(&encoders.join(", "))),
        ]);
    }
    print(&format!("{table}\n"))?;
    Ok(ExitCode::SUCCESS)
}

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

/// Removes old snapshots.
pub(crate) fn prune(arguments: &PruneArguments) -> anyhow::Result<ExitCode> {
    let pruned = upkeep::prune(&Store::open(&arguments.store.store)?, arguments.keep)?;
    if arguments.store.json {
        print_json(&serde_json::to_string_pretty(&pruned)?)?;
    } else {
        let (snapshots, encoders) = (pruned.snapshots.len(), pruned.encoders.len());
        print(&format!("removed {snapshots} snapshots and {encoders} encoders\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn parse(name: &str) -> anyhow::Result<SnapshotId> {
    SnapshotId::parse(name).ok_or_else(|| anyhow!("`{name}` is no snapshot's name; `indexer status` lists them"))
}

fn current(store: &Store) -> anyhow::Result<SnapshotId> {
    store.current()?.context("nothing is published in this store; run `indexer run` first")
}

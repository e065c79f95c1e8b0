//! Upkeep of a store beside the nightly run: verification, rollback, pruning. Owns what each may change; not the
//! formats, nor looking without changing (`status.rs`). Invariant: none of them touches a snapshot's files, and the
//! published snapshot is never removed.

use std::collections::BTreeSet;
use std::path::PathBuf;

use encoders::Checkpoint;
use schemas::manifest::ModalityManifest;
use schemas::store::SnapshotRemoval;
use schemas::{Manifest, SnapshotId, Store};
use searcher::{OpenOptions, Searcher};

use crate::error::IndexError;
use crate::run::remove_folder;
use crate::verify::{check_files, check_items};

/// Snapshots that `prune` leaves when no number is given.
pub const DEFAULT_KEEP: usize = 3;

/// Checks every byte of a snapshot and of the query encoders it names, and opens it as a reader would. Returns its manifest.
///
/// # Errors
/// Names the first file that is missing, foreign or damaged.
pub fn verify(store: &Store, snapshot: &SnapshotId) -> Result<Manifest, IndexError> {
    let folder = store.snapshot_folder(snapshot);
    let manifest = Manifest::read(&folder)?;
    check_files(&folder, &manifest)?;
    check_items(&folder, &manifest)?;
    let mut checked = BTreeSet::new();
    for ModalityManifest { modality, encoder, .. } in &manifest.modalities {
        if checked.insert(&encoder.checkpoint) {
            Checkpoint::open_verified(&store.encoders_folder().join(&encoder.checkpoint))
                .map_err(|source| IndexError::Encoder { modality: *modality, source })?;
        }
    }
    Searcher::open(&folder, &OpenOptions { encoders_folder: Some(store.encoders_folder()), ..OpenOptions::default() })?;
    Ok(manifest)
}

/// Publishes an earlier snapshot again: the one asked for, or the newest one older than the current. It is checked
/// first.
///
/// # Errors
/// When there is none, it is damaged, or another run holds the store.
pub fn rollback(store: &Store, to: Option<&SnapshotId>) -> Result<SnapshotId, IndexError> {
    let lock = store.lock()?;
    store.recover(&lock)?;
    let current = store.current()?;
    let snapshots = store.snapshots()?;
    let target = match to {
        Some(wanted) => snapshots.into_iter().find(|id| id == wanted),
        None => snapshots.into_iter().rfind(|id| current.as_ref().is_some_and(|current| id < current)),
    };
    let target = target.ok_or_else(|| schemas::SchemaError::UnknownSnapshot {
        path: store.folder().to_owned(),
        snapshot: to.map_or_else(|| "older than the current one".to_owned(), ToString::to_string),
    })?;
    verify(store, &target)?;
    store.set_current(&target, &lock)?;
    Ok(target)
}

/// What `prune` removed.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Pruned {
    /// Snapshots.
    pub snapshots: Vec<String>,
    /// Snapshots that stay because a reader holds them; prune again later.
    pub held: Vec<String>,
    /// Folders of encoders that no remaining snapshot names.
    pub encoders: Vec<String>,
}

/// Removes all but the newest `keep` snapshots, never the published one nor one that a reader holds, then encoders that no
/// remaining snapshot names.
///
/// # Errors
/// When another run holds the store or something cannot be removed.
pub fn prune(store: &Store, keep: usize) -> Result<Pruned, IndexError> {
    let lock = store.lock()?;
    store.recover(&lock)?;
    let current = store.current()?;
    let snapshots = store.snapshots()?;
    let mut pruned = Pruned::default();
    let (old, kept) = snapshots.split_at(snapshots.len().saturating_sub(keep));
    let mut removable = Vec::new();
    let mut remaining: Vec<&SnapshotId> = kept.iter().collect();
    for id in old {
        if current.as_ref() == Some(id) {
            remaining.push(id);
        } else if let Some(right) = SnapshotRemoval::take(&store.snapshot_folder(id))? {
            removable.push((id, right));
        } else {
            pruned.held.push(id.to_string());
            remaining.push(id);
        }
    }
    let mut named_encoders = BTreeSet::new();
    let mut all_readable = true;
    for id in remaining {
        match Manifest::read(&store.snapshot_folder(id)) {
            Ok(manifest) => named_encoders.extend(manifest.modalities.into_iter().map(|one| one.encoder.checkpoint)),
            Err(error) => {
                tracing::warn!(snapshot = %id, error = %error, "manifest cannot be read; no encoder is removed");
                all_readable = false;
            }
        }
    }
    for (id, _right) in removable {
        store.remove_snapshot(id, &lock)?;
        pruned.snapshots.push(id.to_string());
    }
    if all_readable {
        for folder in subfolders(&store.encoders_folder())? {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !named_encoders.contains(&name) {
                remove_folder(&folder)?;
                pruned.encoders.push(name);
            }
        }
    }
    Ok(pruned)
}

fn subfolders(folder: &std::path::Path) -> Result<Vec<PathBuf>, IndexError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut folders = Vec::new();
    for entry in fs_err::read_dir(folder).map_err(IndexError::io(folder))? {
        let path = entry.map_err(IndexError::io(folder))?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

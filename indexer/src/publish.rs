//! Last stage: the verified snapshot becomes the published one. Owns the commit point; nothing else moves `CURRENT`.
//! Invariant: everything the new `CURRENT` leads to is on disk before it moves; a crash at any point leaves the
//! old snapshot or the new one published, whole.

use std::path::Path;

use schemas::durable::{list_files, sync_file, sync_folder};
use schemas::store::StoreLock;
use schemas::{SnapshotId, Store};

use crate::error::IndexError;
use crate::verify::VerifiedSnapshot;

/// Moves the snapshot into place and publishes it: files, folders, announcement, rename, folder, `CURRENT`.
///
/// # Errors
/// When a step fails; the old snapshot is then still published, but for [`IndexError::AfterPublish`].
pub fn publish(
    verified: VerifiedSnapshot,
    store: &Store,
    lock: &StoreLock,
    time: &str,
) -> Result<SnapshotId, IndexError> {
    let VerifiedSnapshot { folder, manifest } = verified;
    for path in list_files(&folder)? {
        sync_file(&folder.join(&path))?;
    }
    sync_folders(&folder)?;
    let digest = &blake3::hash(&manifest.to_bytes()).to_hex()[..12];
    let snapshot = SnapshotId::new(time, digest)
        .ok_or_else(|| IndexError::Inconsistent { reason: format!("`{time}-{digest}` is no snapshot id") })?;
    if let Err(error) = make_current(&folder, &snapshot, store, lock) {
        if store.current().is_ok_and(|current| current.as_ref() == Some(&snapshot)) {
            return Err(IndexError::AfterPublish { snapshot, source: Box::new(error) });
        }
        // Best effort: the next writer does it again.
        drop(store.recover(lock));
        return Err(error);
    }
    if let Err(error) = store.end_announcement(lock) {
        tracing::warn!(error = &error as &dyn std::error::Error, "left for the next run to remove");
    }
    Ok(snapshot)
}

/// Takes the snapshot from `folder` to its place, and moves `CURRENT`.
fn make_current(folder: &Path, snapshot: &SnapshotId, store: &Store, lock: &StoreLock) -> Result<(), IndexError> {
    store.announce(snapshot, lock)?;
    let target = store.snapshot_folder(snapshot);
    fs_err::rename(folder, &target).map_err(IndexError::io(&target))?;
    sync_folder(&store.snapshots_folder())?;
    Ok(store.set_current(snapshot, lock)?)
}

/// Syncs a folder and the folders in it.
fn sync_folders(folder: &Path) -> Result<(), IndexError> {
    for entry in fs_err::read_dir(folder).map_err(IndexError::io(folder))? {
        let path = entry.map_err(IndexError::io(folder))?.path();
        if path.is_dir() {
            sync_folders(&path)?;
        }
    }
    Ok(sync_folder(folder)?)
}

//! Last stage: the verified snapshot becomes the published one. Owns the commit point; nothing else moves `CURRENT`.
//! Invariant: everything the new `CURRENT` leads to is on disk before it moves; a crash at any point leaves the
//! old snapshot or the new one published, whole.

use schemas::durable::{list_files, sync_file, sync_folder};
use schemas::store::StoreLock;
use schemas::{SnapshotId, Store};

use crate::error::IndexError;
use crate::verify::VerifiedSnapshot;

/// Moves the snapshot into place and publishes it: files, folders, rename, folder, `CURRENT`.
///
/// # Errors
/// When a step fails; the old snapshot is then still published.
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
    let target = store.snapshot_folder(&snapshot);
    fs_err::rename(&folder, &target).map_err(IndexError::io(&target))?;
    if let Some(parent) = target.parent() {
        sync_folder(parent)?;
    }
    store.set_current(&snapshot, lock)?;
    Ok(snapshot)
}

/// Syncs a folder and the folders in it.
fn sync_folders(folder: &std::path::Path) -> Result<(), IndexError> {
    for entry in fs_err::read_dir(folder).map_err(IndexError::io(folder))? {
        let path = entry.map_err(IndexError::io(folder))?.path();
        if path.is_dir() {
            sync_folders(&path)?;
        }
    }
    Ok(sync_folder(folder)?)
}

//! A reader's hold on a snapshot, and the right to remove one. Owns the advisory lock on `manifest.json` and the question
//! whether the snapshot is still there; not which snapshots may go. Invariant: while a [`SnapshotHold`] lives and the file
//! system has locks, nobody has a [`SnapshotRemoval`] of the same snapshot.
//!
//! A reader shares the lock, opened read-only: that works in a read-only folder and for users who do not own the file.
//! Who removes a snapshot takes the lock alone, without waiting. A lock ends with its holder, however that ends. Where
//! the file system has no locks readers hold nothing, and a snapshot is removed under them: local file systems keep what
//! is mapped, network ones need not.

use std::fs::TryLockError;
use std::io::Read;
use std::path::{Path, PathBuf};

use fs_err::{File, OpenOptions};

use crate::error::SchemaError;
use crate::manifest::{MANIFEST_FILE, MAX_MANIFEST_BYTES, Manifest};
use crate::map::open_regular;

/// A reader's hold on a snapshot; ends when dropped, or with the process.
#[derive(Debug)]
pub struct SnapshotHold {
    path: PathBuf,
    /// Holds the advisory lock, where there are locks, until it is closed.
    file: File,
}

/// The right to remove a snapshot: no reader holds it, and none gets hold of it any more.
#[derive(Debug)]
pub struct SnapshotRemoval {
    /// Holds the advisory lock until it is closed; `None` where there is no manifest, so no reader either.
    _file: Option<File>,
}

impl SnapshotHold {
    /// Takes hold of the snapshot in `folder` without waiting. Costs a few system calls and one open file.
    ///
    /// # Errors
    /// When there is no manifest, or the snapshot is being removed: [`SchemaError::BeingRemoved`].
    pub fn take(folder: &Path) -> Result<SnapshotHold, SchemaError> {
        let path = folder.join(MANIFEST_FILE);
        let file = open_regular(&path)?;
        match file.file().try_lock_shared() {
            // An error that is no refusal: the file system has no locks.
            Ok(()) | Err(TryLockError::Error(_)) => {}
            Err(TryLockError::WouldBlock) => return Err(SchemaError::BeingRemoved { path: folder.to_owned() }),
        }
        // Between opening and locking the snapshot may have gone.
        if !is_at(&file, &path) {
            return Err(SchemaError::BeingRemoved { path: folder.to_owned() });
        }
        Ok(SnapshotHold { path, file })
    }

    /// Reads the manifest of the snapshot that is held.
    ///
    /// # Errors
    /// As [`Manifest::read`].
    pub fn read_manifest(&self) -> Result<Manifest, SchemaError> {
        let mut bytes = Vec::new();
        let read = self.file.file().take(MAX_MANIFEST_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(SchemaError::io(&self.path))?;
        Manifest::from_snapshot_bytes(&self.path, &bytes)
    }
}

impl SnapshotRemoval {
    /// Takes the right to remove the snapshot in `folder`, which is the store's writer's to ask for; `None` when a reader
    /// holds it. Where the file system has no locks the right is given, because nobody can tell.
    ///
    /// # Errors
    /// When the manifest is there but cannot be opened.
    pub fn take(folder: &Path) -> Result<Option<SnapshotRemoval>, SchemaError> {
        let path = folder.join(MANIFEST_FILE);
        // Network file systems lock alone only what is opened for writing; a read-only manifest is opened as it is.
        let file = OpenOptions::new().read(true).write(true).open(&path).or_else(|_| File::open(&path));
        let file = match file {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Some(SnapshotRemoval { _file: None }));
            }
            Err(source) => return Err(SchemaError::Io { path, source }),
        };
        match file.file().try_lock() {
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Some(SnapshotRemoval { _file: Some(file) })),
            Err(TryLockError::WouldBlock) => Ok(None),
        }
    }
}

/// Whether the open file is the one at `path`.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs_err::symlink_metadata(path)) {
        (Ok(open), Ok(found)) => (open.dev(), open.ino()) == (found.dev(), found.ino()),
        (Ok(_) | Err(_), _) => false,
    }
}

/// Whether there is a file at `path`; an open one cannot be removed.
#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    fn snapshot() -> Result<tempfile::TempDir, std::io::Error> {
        let folder = tempfile::tempdir()?;
        fs_err::write(folder.path().join(MANIFEST_FILE), "{}")?;
        Ok(folder)
    }

    #[test]
    fn a_held_snapshot_is_not_removed_and_one_being_removed_not_held() -> Outcome {
        let snapshot = snapshot()?;
        let (first, second) = (SnapshotHold::take(snapshot.path())?, SnapshotHold::take(snapshot.path())?);
        assert!(SnapshotRemoval::take(snapshot.path())?.is_none());
        drop(first);
        assert!(SnapshotRemoval::take(snapshot.path())?.is_none());
        drop(second);
        let removal = SnapshotRemoval::take(snapshot.path())?;
        assert!(removal.is_some());
        assert!(matches!(SnapshotHold::take(snapshot.path()), Err(SchemaError::BeingRemoved { .. })));
        drop(removal);
        SnapshotHold::take(snapshot.path())?;
        Ok(())
    }

    #[test]
    fn a_manifest_that_went_while_it_was_opened_is_noticed() -> Outcome {
        let snapshot = snapshot()?;
        let path = snapshot.path().join(MANIFEST_FILE);
        let file = File::open(&path)?;
        assert!(is_at(&file, &path));
        fs_err::rename(&path, snapshot.path().join("moved"))?;
        assert!(!is_at(&file, &path));
        fs_err::write(&path, "{}")?;
        #[cfg(unix)]
        assert!(!is_at(&file, &path));
        Ok(())
    }

    #[test]
    fn a_folder_without_manifest_may_go_and_cannot_be_held() -> Outcome {
        let folder = tempfile::tempdir()?;
        assert!(SnapshotRemoval::take(folder.path())?.is_some());
        assert!(matches!(SnapshotHold::take(folder.path()), Err(SchemaError::Io { .. })));
        fs_err::create_dir(folder.path().join(MANIFEST_FILE))?;
        assert!(matches!(SnapshotHold::take(folder.path()), Err(SchemaError::Invalid { .. })));
        Ok(())
    }
}

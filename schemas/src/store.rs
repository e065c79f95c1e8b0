//! The store folder: where everything is, which snapshot is published. Owns paths and `CURRENT`; not the locks
//! (`locks.rs`), nor who reads what (`hold.rs`), nor what a killed writer left (`recovery.rs`), nor the files inside a
//! snapshot. Invariant: `CURRENT` names a whole snapshot or does not exist, and changes only by an atomic rename after
//! everything it points to is on disk.
//!
//! ```text
//! store/
//!   CURRENT                       the published snapshot's id and a newline
//!   lock                          one writer at a time, or several of different partitions
//!   publishing                    while a snapshot is published: its id
//!   locks/partition=00000         held by the writer of that partition
//!   embeddings/partition=00000/part-00000.parquet
//!   encoders/<checkpoint>/        checkpoint folders the snapshots' queries need
//!   snapshots/<utc time>-<digest>/
//!   staging/                      what a run has not finished; removed by the next one
//!   reports/<utc time>.json       a report per run, and <utc time>.rejects.parquet
//! ```

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::durable::{create_folder, write_durably};
use crate::error::SchemaError;
use crate::map::open_regular;
pub use crate::snapshot_id::SnapshotId;

mod hold;
mod locks;
mod recovery;

pub use hold::{SnapshotHold, SnapshotRemoval};
pub use locks::{LOCKS_FOLDER, LayoutLock, PartitionsLock, StoreLock, host_name};
pub use recovery::{PUBLISHING_FILE, Recovered};

/// Name of the file that names the published snapshot.
pub const CURRENT_FILE: &str = "CURRENT";
/// Name of the lock file.
pub const LOCK_FILE: &str = "lock";
/// Bytes that are read of `CURRENT`, which is far shorter unless something is wrong.
const SMALL_FILE_BYTES: u64 = 1024;

/// A store folder.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// Opens an existing store.
    ///
    /// # Errors
    /// When the folder does not exist.
    pub fn open(folder: &Path) -> Result<Store, SchemaError> {
        let metadata = fs_err::metadata(folder).map_err(SchemaError::io(folder))?;
        if !metadata.is_dir() {
            return Err(SchemaError::invalid(folder, "a store is a folder"));
        }
        Ok(Store { folder: folder.to_owned() })
    }

    /// Opens a store, creating its folders, durably, when they are not there.
    ///
    /// # Errors
    /// When a folder cannot be created.
    pub fn open_or_create(folder: &Path) -> Result<Store, SchemaError> {
        let store = Store { folder: folder.to_owned() };
        let embeddings = folder.join("embeddings");
        let parts = [
            embeddings,
            store.encoders_folder(),
            store.snapshots_folder(),
            store.staging_folder(),
            store.reports_folder(),
        ];
        for part in parts {
            create_folder(&part)?;
        }
        Ok(store)
    }

    /// The store's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// `embeddings/partition=NNNNN`.
    #[must_use]
    pub fn embeddings_folder(&self, partition: u32) -> PathBuf {
        self.folder.join("embeddings").join(format!("partition={partition:05}"))
    }

    /// `encoders/`.
    #[must_use]
    pub fn encoders_folder(&self) -> PathBuf {
        self.folder.join("encoders")
    }

    /// `snapshots/`.
    #[must_use]
    pub fn snapshots_folder(&self) -> PathBuf {
        self.folder.join("snapshots")
    }

    /// `snapshots/<id>`.
    #[must_use]
    pub fn snapshot_folder(&self, snapshot: &SnapshotId) -> PathBuf {
        self.snapshots_folder().join(snapshot.as_str())
    }

    /// `staging/`.
    #[must_use]
    pub fn staging_folder(&self) -> PathBuf {
        self.folder.join("staging")
    }

    /// `reports/`.
    #[must_use]
    pub fn reports_folder(&self) -> PathBuf {
        self.folder.join("reports")
    }

    /// The published snapshot; `None` before the first publish. Costs one small read.
    ///
    /// # Errors
    /// When `CURRENT` cannot be read, is no snapshot id, or names a folder that is not there.
    pub fn current(&self) -> Result<Option<SnapshotId>, SchemaError> {
        let mut named = self.named_current()?;
        loop {
            let Some(snapshot) = named else { return Ok(None) };
            let Err(missing) = self.check_exists(&snapshot) else { return Ok(Some(snapshot)) };
            // It may have been replaced, and then removed, since `CURRENT` was read.
            named = self.named_current()?;
            if named.as_ref() == Some(&snapshot) {
                return Err(missing);
            }
        }
    }

    /// What `CURRENT` says.
    fn named_current(&self) -> Result<Option<SnapshotId>, SchemaError> {
        let path = self.folder.join(CURRENT_FILE);
        let text = match read_small(&path) {
            // On a network file system a file that was replaced while it was open may be lost.
            Err(SchemaError::Io { source, .. }) if source.kind() == ErrorKind::StaleNetworkFileHandle => {
                read_small(&path)
            }
            read => read,
        };
        let text = match text {
            Ok(text) => text,
            Err(SchemaError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(snapshot) = SnapshotId::parse(text.strip_suffix('\n').unwrap_or(&text)) else {
            let reason = "it does not hold a snapshot id; if a newer version wrote it, update Catalens";
            return Err(SchemaError::invalid(&path, reason));
        };
        Ok(Some(snapshot))
    }

    /// Makes `snapshot` the published one: writes a temporary file, syncs it, renames it over `CURRENT`, syncs the folder.
    ///
    /// # Errors
    /// When the lock is another store's, the snapshot's folder is not there or writing fails. `CURRENT` is then
    /// unchanged, unless it was only syncing the folder that failed: a power cut may then bring the old one back.
    pub fn set_current(&self, snapshot: &SnapshotId, lock: &StoreLock) -> Result<(), SchemaError> {
        self.check_lock(lock)?;
        self.check_exists(snapshot)?;
        write_durably(&self.folder.join(CURRENT_FILE), format!("{snapshot}\n").as_bytes())
    }

    /// All snapshots, oldest first; anything else in the folder is passed over.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn snapshots(&self) -> Result<Vec<SnapshotId>, SchemaError> {
        let folder = self.snapshots_folder();
        let mut snapshots = Vec::new();
        let entries = match fs_err::read_dir(&folder) {
            Ok(entries) => entries,
            Err(source) if source.kind() == ErrorKind::NotFound => return Ok(snapshots),
            Err(source) => return Err(SchemaError::Io { path: folder, source }),
        };
        for entry in entries {
            let entry = entry.map_err(SchemaError::io(&folder))?;
            if let Some(snapshot) = entry.file_name().to_str().and_then(SnapshotId::parse)
                && entry.path().is_dir()
            {
                snapshots.push(snapshot);
            }
        }
        snapshots.sort_unstable();
        Ok(snapshots)
    }

    fn check_lock(&self, lock: &StoreLock) -> Result<(), SchemaError> {
        if lock.folder == self.folder {
            return Ok(());
        }
        Err(SchemaError::invalid(&self.folder, format!("the lock is that of `{}`", lock.folder.display())))
    }

    fn check_exists(&self, snapshot: &SnapshotId) -> Result<(), SchemaError> {
        if self.snapshot_folder(snapshot).is_dir() {
            return Ok(());
        }
        Err(SchemaError::UnknownSnapshot { path: self.folder.clone(), snapshot: snapshot.to_string() })
    }
}

fn read_small(path: &Path) -> Result<String, SchemaError> {
    let mut text = String::new();
    open_regular(path)?.take(SMALL_FILE_BYTES).read_to_string(&mut text).map_err(SchemaError::io(path))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    fn store_with(snapshots: &[&str]) -> Result<(tempfile::TempDir, Store, Vec<SnapshotId>), SchemaError> {
        let folder = tempfile::tempdir().map_err(SchemaError::io(Path::new("temporary folder")))?;
        let store = Store::open_or_create(folder.path())?;
        let snapshots: Vec<SnapshotId> = snapshots.iter().filter_map(|name| SnapshotId::parse(name)).collect();
        for snapshot in &snapshots {
            fs_err::create_dir(store.snapshot_folder(snapshot)).map_err(SchemaError::io(store.folder()))?;
        }
        Ok((folder, store, snapshots))
    }

    #[test]
    fn current_follows_set_current() -> Outcome {
        let (_folder, store, snapshots) =
            store_with(&["20261121T031500Z-1a2b3c4d5e6f", "20261120T031500Z-1a2b3c4d5e6f"])?;
        assert_eq!(store.current()?, None);
        let lock = store.lock()?;
        for snapshot in &snapshots {
            store.set_current(snapshot, &lock)?;
            assert_eq!(store.current()?.as_ref(), Some(snapshot));
        }
        assert_eq!(fs_err::read_to_string(store.folder().join("CURRENT"))?, "20261120T031500Z-1a2b3c4d5e6f\n");
        Ok(())
    }

    #[test]
    fn a_snapshot_that_is_not_there_cannot_be_published() -> Outcome {
        let (_folder, store, snapshots) = store_with(&["20261120T031500Z-1a2b3c4d5e6f"])?;
        let lock = store.lock()?;
        store.set_current(&snapshots[0], &lock)?;
        let other = SnapshotId::parse("20261122T031500Z-1a2b3c4d5e6f").ok_or("form")?;
        assert!(matches!(store.set_current(&other, &lock), Err(SchemaError::UnknownSnapshot { .. })));
        assert_eq!(store.current()?.as_ref(), Some(&snapshots[0]));
        let (_other_folder, other_store, _) = store_with(&[])?;
        assert!(matches!(store.set_current(&snapshots[0], &other_store.lock()?), Err(SchemaError::Invalid { .. })));
        Ok(())
    }

    #[test]
    fn a_damaged_current_is_an_error() -> Outcome {
        let (_folder, store, _) = store_with(&["20261120T031500Z-1a2b3c4d5e6f"])?;
        for text in ["", "\n", "20261120T031500Z-1a2b3c4d5e6f\n\n", "../../etc", "20261120T031500Z-1a2b3c4d5e6f extra"]
        {
            fs_err::write(store.folder().join("CURRENT"), text)?;
            assert!(matches!(store.current(), Err(SchemaError::Invalid { .. })), "{text:?}");
        }
        fs_err::write(store.folder().join("CURRENT"), [0xff, 0xfe])?;
        assert!(matches!(store.current(), Err(SchemaError::Io { .. })));
        fs_err::write(store.folder().join("CURRENT"), "20261121T031500Z-1a2b3c4d5e6f\n")?;
        assert!(matches!(store.current(), Err(SchemaError::UnknownSnapshot { .. })));
        Ok(())
    }

    #[test]
    fn snapshots_are_listed_by_time_without_foreign_names() -> Outcome {
        let (_folder, store, mut snapshots) =
            store_with(&["20261121T031500Z-1a2b3c4d5e6f", "20261120T031500Z-1a2b3c4d5e6f"])?;
        fs_err::create_dir(store.snapshots_folder().join("backup"))?;
        fs_err::write(store.snapshots_folder().join("20261119T031500Z-1a2b3c4d5e6f"), "a file")?;
        snapshots.reverse();
        assert_eq!(store.snapshots()?, snapshots);
        Ok(())
    }

    #[test]
    fn a_missing_store_is_an_error_and_is_not_created() -> Outcome {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("store");
        assert!(matches!(Store::open(&path), Err(SchemaError::Io { .. })));
        assert!(!path.exists());
        Ok(())
    }
}

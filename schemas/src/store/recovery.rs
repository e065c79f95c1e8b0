//! What a writer leaves that was killed, and how the next one clears it away. Owns the announcement of a publish, the
//! removal of snapshots, and what counts as left over; not when a run publishes. Invariant: a snapshot that was
//! announced and never became current is removed by the next writer; one that was current once is removed only when asked
//! for.
//!
//! A snapshot's folder must stand in `snapshots/` before `CURRENT` can name it. Between the two it looks like one that was
//! published and rolled back from. The file `publishing` tells them apart: it names the snapshot before the folder gets
//! its place, and goes after `CURRENT` has moved.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{SnapshotId, Store, StoreLock, read_small};
use crate::durable::{sync_folder, write_durably};
use crate::error::SchemaError;

/// Name of the file that names a snapshot while it is published.
pub const PUBLISHING_FILE: &str = "publishing";
/// End of the name of a run's rejects; its report's name has `.json` there.
const REJECTS_ENDING: &str = ".rejects.parquet";

/// What was cleared away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// A snapshot that never became current.
    pub snapshot: Option<SnapshotId>,
    /// Files and folders under temporary names, and rejects without a report.
    pub leftovers: Vec<PathBuf>,
}

impl Store {
    /// Notes durably that `snapshot` is about to be moved into `snapshots/` and to become current.
    ///
    /// # Errors
    /// When the lock is another store's or writing fails.
    pub fn announce(&self, snapshot: &SnapshotId, lock: &StoreLock) -> Result<(), SchemaError> {
        self.check_lock(lock)?;
        write_durably(&self.folder.join(PUBLISHING_FILE), format!("{snapshot}\n").as_bytes())
    }

    /// Takes the announcement back, when the snapshot is current or removed. It need not be durable: one that comes back
    /// after a power cut names the current snapshot, or one that is not there.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn end_announcement(&self, lock: &StoreLock) -> Result<(), SchemaError> {
        self.check_lock(lock)?;
        remove(&self.folder.join(PUBLISHING_FILE))
    }

    /// Removes a snapshot as a whole: it first loses its name, so that what is left of a removal that was killed is no
    /// snapshot.
    ///
    /// # Errors
    /// When the lock is another store's, the snapshot is current, or it cannot be renamed or removed.
    pub fn remove_snapshot(&self, snapshot: &SnapshotId, lock: &StoreLock) -> Result<(), SchemaError> {
        self.check_lock(lock)?;
        if self.current()?.as_ref() == Some(snapshot) {
            return Err(SchemaError::invalid(&self.snapshot_folder(snapshot), "the current snapshot is not removed"));
        }
        let folder = self.snapshot_folder(snapshot);
        let nameless = self.snapshots_folder().join(format!(".{snapshot}.tmp"));
        remove(&nameless)?;
        fs_err::rename(&folder, &nameless).map_err(SchemaError::io(&folder))?;
        sync_folder(&self.snapshots_folder())?;
        remove(&nameless)
    }

    /// Clears away what killed writers left: the snapshot that was announced and never became current, everything under
    /// a temporary name, and rejects without their run's report. For whoever has just taken the writer's lock. Costs a
    /// listing of the store's folders, not of what is in snapshots.
    ///
    /// # Errors
    /// When the lock is another store's, or something cannot be read or removed.
    pub fn recover(&self, lock: &StoreLock) -> Result<Recovered, SchemaError> {
        self.check_lock(lock)?;
        let mut recovered = Recovered::default();
        if let Some(announced) = self.announced()? {
            if self.current()?.as_ref() != Some(&announced) && self.snapshot_folder(&announced).is_dir() {
                self.remove_snapshot(&announced, lock)?;
                recovered.snapshot = Some(announced);
            }
            self.end_announcement(lock)?;
        }
        let embeddings = self.folder.join("embeddings");
        let mut folders = vec![self.folder.clone(), self.encoders_folder(), self.snapshots_folder()];
        folders.extend([self.reports_folder(), embeddings.clone()]);
        folders.extend(entries(&embeddings)?.into_iter().map(|(_, path)| path).filter(|path| path.is_dir()));
        for folder in folders {
            for (name, path) in entries(&folder)? {
                if is_temporary(&name) {
                    remove(&path)?;
                    recovered.leftovers.push(path);
                }
            }
        }
        for (name, path) in entries(&self.reports_folder())? {
            let report = name.strip_suffix(REJECTS_ENDING).map(|run| path.with_file_name(format!("{run}.json")));
            if report.is_some_and(|report| !report.exists()) {
                remove(&path)?;
                recovered.leftovers.push(path);
            }
        }
        Ok(recovered)
    }

    /// The snapshot that is announced; a file that does not name one announces nothing.
    fn announced(&self) -> Result<Option<SnapshotId>, SchemaError> {
        let path = self.folder.join(PUBLISHING_FILE);
        match read_small(&path) {
            Ok(text) => Ok(SnapshotId::parse(text.trim_end())),
            Err(SchemaError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// `.<name>.tmp`.
fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".tmp")
}

/// Names and paths in a folder; none where it is not there. Names that are not UTF-8 are not ours.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, SchemaError> {
    let listing = match fs_err::read_dir(folder) {
        Ok(listing) => listing,
        Err(source) if source.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(SchemaError::Io { path: folder.to_owned(), source }),
    };
    let mut entries = Vec::new();
    for entry in listing {
        let entry = entry.map_err(SchemaError::io(folder))?;
        if let Ok(name) = entry.file_name().into_string() {
            entries.push((name, entry.path()));
        }
    }
    Ok(entries)
}

/// Removes a file, or a folder with all that is in it; none is none.
fn remove(path: &Path) -> Result<(), SchemaError> {
    let is_folder = fs_err::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let removed = if is_folder { fs_err::remove_dir_all(path) } else { fs_err::remove_file(path) };
    match removed {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(SchemaError::Io { path: path.to_owned(), source }),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    type Opened = (tempfile::TempDir, Store, StoreLock, [SnapshotId; 2]);

    const OLD: &str = "20261120T031500Z-1a2b3c4d5e6f";
    const NEW: &str = "20261121T031500Z-1a2b3c4d5e6f";

    /// A store with two snapshots, the first of them current.
    fn store() -> Result<Opened, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let store = Store::open_or_create(folder.path())?;
        let lock = store.lock()?;
        let snapshots = [OLD, NEW].map(SnapshotId::parse);
        let [Some(old), Some(new)] = snapshots else { return Err("form".into()) };
        for snapshot in [&old, &new] {
            fs_err::create_dir(store.snapshot_folder(snapshot))?;
            fs_err::write(store.snapshot_folder(snapshot).join("manifest.json"), "{}")?;
        }
        store.set_current(&old, &lock)?;
        Ok((folder, store, lock, [old, new]))
    }

    #[test]
    fn an_announced_snapshot_goes_unless_it_became_current() -> Outcome {
        let (_folder, store, lock, [old, new]) = store()?;
        store.announce(&new, &lock)?;
        assert_eq!(store.recover(&lock)?.snapshot, Some(new.clone()));
        assert_eq!(store.snapshots()?, std::slice::from_ref(&old));
        assert_eq!(store.recover(&lock)?, Recovered::default(), "once");

        fs_err::create_dir(store.snapshot_folder(&new))?;
        store.announce(&new, &lock)?;
        store.set_current(&new, &lock)?;
        assert_eq!(store.recover(&lock)?, Recovered::default());
        // Announced, current, rolled back from: nothing announces it any more.
        store.set_current(&old, &lock)?;
        assert_eq!(store.recover(&lock)?, Recovered::default());
        assert_eq!(store.snapshots()?, [old, new]);
        assert!(!store.folder().join(PUBLISHING_FILE).exists());
        Ok(())
    }

    #[test]
    fn an_announcement_of_nothing_is_taken_away() -> Outcome {
        let (_folder, store, lock, [old, new]) = store()?;
        for text in ["", "../../etc\n", "20261122T031500Z-1a2b3c4d5e6f\n"] {
            fs_err::write(store.folder().join(PUBLISHING_FILE), text)?;
            assert_eq!(store.recover(&lock)?, Recovered::default(), "{text:?}");
        }
        assert_eq!(store.snapshots()?, [old, new]);
        Ok(())
    }

    #[test]
    fn a_snapshot_is_removed_but_not_the_current_one() -> Outcome {
        let (_folder, store, lock, [old, new]) = store()?;
        assert!(matches!(store.remove_snapshot(&old, &lock), Err(SchemaError::Invalid { .. })));
        store.remove_snapshot(&new, &lock)?;
        assert_eq!(store.snapshots()?, [old]);
        assert_eq!(fs_err::read_dir(store.snapshots_folder())?.count(), 1);
        Ok(())
    }

    #[test]
    fn temporary_names_and_rejects_of_unfinished_runs_go_and_nothing_else() -> Outcome {
        let (_folder, store, lock, [old, new]) = store()?;
        let partition = store.embeddings_folder(3);
        let left = [
            store.folder().join(".CURRENT.tmp"),
            store.folder().join("embeddings/.layout.json.tmp"),
            partition.join(".part-00001.parquet.tmp"),
            store.encoders_folder().join(".0123456789abcdef-77.tmp/model.safetensors"),
            store.snapshots_folder().join(format!(".{OLD}.tmp/manifest.json")),
            store.reports_folder().join(".20261120T031500Z.json.tmp"),
            store.reports_folder().join("20261119T031500Z.rejects.parquet"),
        ];
        let kept = [
            partition.join("part-00000.parquet"),
            partition.join(".part-00002.parquet.damaged"),
            store.encoders_folder().join("0123456789abcdef/model.safetensors"),
            store.reports_folder().join("20261118T031500Z.rejects.parquet"),
            store.reports_folder().join("20261118T031500Z.json"),
            store.reports_folder().join("20261118T031500Z.partition-1-of-2.json"),
            store.reports_folder().join("20261118T031500Z.partition-1-of-2.rejects.parquet"),
        ];
        for path in left.iter().chain(&kept) {
            fs_err::create_dir_all(path.parent().unwrap_or(path))?;
            fs_err::write(path, "x")?;
        }
        assert_eq!(store.recover(&lock)?.leftovers.len(), left.len());
        assert!(left.iter().all(|path| !path.exists()));
        assert!(kept.iter().all(|path| path.exists()));
        assert_eq!(store.snapshots()?, [old, new]);
        Ok(())
    }
}

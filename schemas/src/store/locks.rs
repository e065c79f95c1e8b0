//! Who may write to a store. Owns the lock files and what they say of their holders; not what is written. Invariant: a
//! run of everything is alone; runs of some partitions share the store, each partition with one of them.
//!
//! `lock` is held exclusively by a run of everything and by upkeep, and shared by runs of partitions; each of those
//! also holds `locks/partition=NNNNN` for its partitions. All are the operating system's advisory locks: they end with
//! their holder, and the files that stay mean nothing by themselves.

use std::fs::TryLockError;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err::{File, OpenOptions};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{LOCK_FILE, Store};
use crate::error::SchemaError;

/// Name of the folder with a lock file for each partition.
pub const LOCKS_FOLDER: &str = "locks";
/// How often a lock is tried that may be looked at by others, and the pause between.
const LOOKS: u32 = 5;
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// Bytes that are read of a lock file; what a holder writes is far shorter.
const SMALL_FILE_BYTES: u64 = 1024;

/// The right to write to a store; given back when dropped, or by the operating system when the holder dies.
#[derive(Debug)]
pub struct StoreLock {
    pub(super) folder: PathBuf,
    /// Holds the advisory lock until it is closed.
    _file: File,
}

/// The right to write the embeddings of some partitions; given back as [`StoreLock`] is.
#[derive(Debug)]
pub struct PartitionsLock {
    /// Hold the advisory locks until they are closed: the store's, then one for each partition.
    _files: Vec<File>,
}

/// The right to decide on the number of partitions; held for an instant.
#[derive(Debug)]
pub struct LayoutLock {
    _file: File,
}

impl Store {
    /// Takes the writer's lock without waiting.
    ///
    /// # Errors
    /// [`SchemaError::Locked`] when another process, or another lock of this one, holds it or any partition.
    pub fn lock(&self) -> Result<StoreLock, SchemaError> {
        let path = self.folder.join(LOCK_FILE);
        let file = open(&path)?;
        if !is_free_soon(&path, || file.try_lock())? {
            let holder = match holder(&path) {
                holder if holder.is_empty() => self.partition_holders()?,
                holder => holder,
            };
            return Err(self.locked(&holder));
        }
        Ok(StoreLock { folder: self.folder.clone(), _file: write_holder(file) })
    }

    /// Takes the locks of some partitions without waiting. Others can be taken by other processes at the same time.
    ///
    /// # Errors
    /// [`SchemaError::Locked`] when a run of everything holds the store, [`SchemaError::PartitionLocked`] when another
    /// one holds one of the partitions.
    pub fn lock_partitions(&self, partitions: &[u32]) -> Result<PartitionsLock, SchemaError> {
        let path = self.folder.join(LOCK_FILE);
        let file = open(&path)?;
        if !is_free(&path, file.try_lock_shared())? {
            return Err(self.locked(&holder(&path)));
        }
        // Nobody has it alone now: what is there is of a holder of the past.
        file.set_len(0).map_err(SchemaError::io(&path))?;
        let mut files = vec![file];
        for &partition in partitions {
            let path = self.partition_lock(partition)?;
            let file = open(&path)?;
            if !is_free_soon(&path, || file.try_lock())? {
                let holder = known(&holder(&path)).to_owned();
                return Err(SchemaError::PartitionLocked { path: self.folder.clone(), partition, holder });
            }
            files.push(write_holder(file));
        }
        Ok(PartitionsLock { _files: files })
    }

    /// Who writes to the store at this moment, as their lock files say: nobody, a run of everything or upkeep, or runs of
    /// partitions. Looks at each lock by taking it for an instant, which those who want it wait out.
    ///
    /// # Errors
    /// When a lock file is there and cannot be opened.
    pub fn writers(&self) -> Result<Vec<String>, SchemaError> {
        let mut paths = vec![self.folder.join(LOCK_FILE)];
        if let Ok(entries) = fs_err::read_dir(self.folder.join(LOCKS_FOLDER)) {
            let names = entries.filter_map(Result::ok).map(|entry| entry.path());
            paths.extend(names.filter(|path| path.to_string_lossy().contains("partition=")));
        }
        let mut writers = Vec::new();
        for path in paths {
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(source) if source.kind() == std::io::ErrorKind::NotFound => continue,
                Err(source) => return Err(SchemaError::Io { path, source }),
            };
            if !is_free(&path, file.try_lock_shared())? {
                writers.push(known(&holder(&path)).to_owned());
            }
        }
        writers.sort();
        writers.dedup();
        Ok(writers)
    }

    /// Waits for the right to decide on the number of partitions, for runs of partitions that start together.
    ///
    /// # Errors
    /// When the lock file cannot be opened.
    pub fn lock_layout(&self) -> Result<LayoutLock, SchemaError> {
        let path = self.locks_folder()?.join("layout");
        let file = open(&path)?;
        file.lock().map_err(SchemaError::io(&path))?;
        Ok(LayoutLock { _file: file })
    }

    fn locks_folder(&self) -> Result<PathBuf, SchemaError> {
        let folder = self.folder.join(LOCKS_FOLDER);
        fs_err::create_dir_all(&folder).map_err(SchemaError::io(&folder))?;
        Ok(folder)
    }

    fn partition_lock(&self, partition: u32) -> Result<PathBuf, SchemaError> {
        Ok(self.locks_folder()?.join(format!("partition={partition:05}")))
    }

    fn locked(&self, holder: &str) -> SchemaError {
        SchemaError::Locked { path: self.folder.clone(), holder: known(holder).to_owned() }
    }

    /// The holders of partitions, each once.
    fn partition_holders(&self) -> Result<String, SchemaError> {
        let folder = self.locks_folder()?;
        let mut holders = Vec::new();
        for entry in fs_err::read_dir(&folder).map_err(SchemaError::io(&folder))? {
            let path = entry.map_err(SchemaError::io(&folder))?.path();
            let file = File::open(&path).map_err(SchemaError::io(&path))?;
            if !is_free(&path, file.try_lock_shared())? {
                holders.push(holder(&path));
            }
        }
        holders.sort();
        holders.dedup();
        let runs = if holders.len() == 1 { "a run of partitions" } else { "runs of partitions" };
        Ok(if holders.is_empty() { String::new() } else { format!("{runs}: {}", holders.join(", ")) })
    }
}

/// Not truncated: until the lock is taken the content is the holder's.
fn open(path: &Path) -> Result<File, SchemaError> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(SchemaError::io(path))
}

fn is_free(path: &Path, locked: Result<(), TryLockError>) -> Result<bool, SchemaError> {
    match locked {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(SchemaError::Io { path: path.to_owned(), source }),
    }
}

/// As [`is_free`], but waits out those who only look ([`Store::writers`]).
fn is_free_soon(path: &Path, try_lock: impl Fn() -> Result<(), TryLockError>) -> Result<bool, SchemaError> {
    for _ in 1..LOOKS {
        if is_free(path, try_lock())? {
            return Ok(true);
        }
        std::thread::sleep(LOOK_PAUSE);
    }
    is_free(path, try_lock())
}

fn known(holder: &str) -> &str {
    if holder.is_empty() { "holder unknown" } else { holder }
}

/// What a lock file says; nothing when it cannot be read.
fn holder(path: &Path) -> String {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(SMALL_FILE_BYTES).read_to_string(&mut text));
    if read.is_ok() { text.trim().to_owned() } else { String::new() }
}

/// Writes what the lock file says of this process: `pid 123 on host since 2026-11-20T03:15:00Z`. The lock holds without
/// it: a full disk must not keep `prune` from making room.
fn write_holder(mut file: File) -> File {
    let now = OffsetDateTime::now_utc();
    let start = now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_else(|_| "unknown time".to_owned());
    let text = format!("pid {} on {} since {start}\n", std::process::id(), host_name());
    drop(file.set_len(0).and_then(|()| file.write_all(text.as_bytes())).and_then(|()| file.flush()));
    file
}

/// Name of this machine, as lock files and reports say it.
#[must_use]
pub fn host_name() -> String {
    let kernel = fs_err::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = kernel.or_else(|| std::env::var("HOSTNAME").ok()).or_else(|| std::env::var("COMPUTERNAME").ok());
    name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown host".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    fn store() -> Result<(tempfile::TempDir, Store), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let store = Store::open_or_create(folder.path())?;
        Ok((folder, store))
    }

    fn holder_of<T: std::fmt::Debug>(result: Result<T, SchemaError>) -> Result<String, String> {
        match result {
            Err(SchemaError::Locked { holder, .. } | SchemaError::PartitionLocked { holder, .. }) => Ok(holder),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn the_second_writer_is_told_who_holds_the_lock() -> Outcome {
        let (_folder, store) = store()?;
        let lock = store.lock()?;
        let holder = holder_of(store.lock())?;
        assert!(holder.starts_with(&format!("pid {} on ", std::process::id())), "{holder}");
        assert!(holder.ends_with('Z'), "{holder}");
        assert_eq!(holder_of(store.lock_partitions(&[0]))?, holder);
        drop(lock);
        store.lock()?;
        Ok(())
    }

    #[test]
    fn writers_are_seen_and_looking_keeps_nobody_out() -> Outcome {
        let (_folder, store) = store()?;
        assert_eq!(store.writers()?, Vec::<String>::new());
        assert!(!store.folder().join(LOCKS_FOLDER).exists(), "looking creates nothing");
        let own = format!("pid {} on {} since ", std::process::id(), host_name());
        let lock = store.lock()?;
        assert_eq!(store.writers()?.len(), 1);
        assert!(store.writers()?[0].starts_with(&own));
        drop(lock);
        assert_eq!(store.writers()?, Vec::<String>::new(), "what the file still says means nothing");
        let shares = (store.lock_partitions(&[0])?, store.lock_partitions(&[1])?);
        assert_eq!(store.writers()?.len(), 1, "one process");
        drop(shares);
        // Others look all the time; a writer still gets the lock every time.
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let looking = scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    store.writers()?;
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok::<(), SchemaError>(())
            });
            let taken = (0..50).map(|_| store.lock().map(drop)).collect::<Result<Vec<()>, SchemaError>>();
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(taken.map(|taken| taken.len()).map_err(|error| error.to_string()), Ok(50));
            assert!(looking.join().is_ok_and(|looked| looked.is_ok()));
        });
        Ok(())
    }

    #[test]
    fn partitions_are_shared_out_and_keep_a_run_of_everything_out() -> Outcome {
        let (_folder, store) = store()?;
        drop(store.lock()?);
        let even = store.lock_partitions(&[0, 2])?;
        let odd = store.lock_partitions(&[1, 3])?;
        assert!(matches!(store.lock_partitions(&[4, 3]), Err(SchemaError::PartitionLocked { partition: 3, .. })));
        let own = format!("pid {} on ", std::process::id());
        assert!(holder_of(store.lock_partitions(&[0]))?.starts_with(&own));
        let holder = holder_of(store.lock())?;
        assert!(holder.contains("of partitions: ") && holder.contains(&own), "{holder}");
        drop(even);
        assert!(store.lock().is_err());
        store.lock_partitions(&[2])?;
        drop(odd);
        store.lock()?;
        drop(store.lock_layout()?);
        Ok(())
    }
}

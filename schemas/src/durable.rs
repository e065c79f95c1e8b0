//! Writing that survives a crash. Owns the one recipe of the workspace: temporary name, sync of the file, rename, sync
//! of the folder. Not what is written, nor in which order files appear. Invariant: a final name holds the whole old
//! file or the whole new one, after a power cut too.

use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fs_err::File;

use crate::error::SchemaError;
use crate::manifest::{FileEntry, TAIL_BYTES};

/// Bytes that are buffered before they go to the operating system.
pub const DEFAULT_BUFFER_BYTES: usize = 1 << 20;

/// A file under a temporary name beside its final one, `.<name>.tmp`: hidden, so that pyarrow, Spark and our own
/// listings pass over it. It gets its final name in [`DurableFile::commit`]; dropped before that, it is removed.
#[derive(Debug)]
pub struct DurableFile {
    target: PathBuf,
    temporary: PathBuf,
    /// `None` only after `commit` took it.
    writer: Option<BufWriter<File>>,
}

impl DurableFile {
    /// Starts the file; what an interrupted run left under the temporary name is overwritten.
    ///
    /// # Errors
    /// When `target` has no file name or the file cannot be created.
    pub fn create(target: &Path) -> Result<DurableFile, SchemaError> {
        let Some(name) = target.file_name() else {
            return Err(SchemaError::invalid(target, "it has no file name"));
        };
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(".tmp");
        let temporary = target.with_file_name(hidden);
        let file = File::create(&temporary).map_err(SchemaError::io(&temporary))?;
        let writer = Some(BufWriter::with_capacity(DEFAULT_BUFFER_BYTES, file));
        Ok(DurableFile { target: target.to_owned(), temporary, writer })
    }

    /// The final name.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Syncs the file, renames it to its final name and syncs the folder.
    ///
    /// # Errors
    /// When any of it fails; the final name then does not exist or is the old file, or the new one when only syncing
    /// the folder failed.
    pub fn commit(mut self) -> Result<(), SchemaError> {
        if let Some(writer) = self.writer.take() {
            let written = writer.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| file.sync_all());
            // Without the writer `drop` no longer cleans up, so it is done here.
            let renamed = written.and_then(|()| fs_err::rename(&self.temporary, &self.target));
            if let Err(source) = renamed {
                remove_quietly(&self.temporary);
                return Err(SchemaError::Io { path: self.target.clone(), source });
            }
        }
        sync_folder(parent(&self.target))
    }
}

impl Write for DurableFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.writer {
            Some(writer) => writer.write(bytes),
            None => Err(io::Error::other("the file is already committed")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for DurableFile {
    fn drop(&mut self) {
        if self.writer.take().is_some() {
            remove_quietly(&self.temporary);
        }
    }
}

/// Replaces or creates `path` with `bytes`, durably.
///
/// # Errors
/// When writing, syncing or renaming fails; `path` is then unchanged, unless only syncing the folder failed.
pub fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), SchemaError> {
    let mut file = DurableFile::create(path)?;
    file.write_all(bytes).map_err(SchemaError::io(path))?;
    file.commit()
}

/// Creates a folder and those it stands in, each durably: the folder that a new name stands in is synced.
///
/// # Errors
/// When a folder cannot be created or synced.
pub fn create_folder(path: &Path) -> Result<(), SchemaError> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = parent(path);
    create_folder(parent)?;
    match fs_err::create_dir(path) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists || !path.is_dir() => {
            Err(SchemaError::Io { path: path.to_owned(), source })
        }
        // Another process may have been faster, but need not have synced it yet.
        Ok(()) | Err(_) => sync_folder(parent),
    }
}

/// Makes the names in a folder durable: what was created, renamed or removed in it.
///
/// # Errors
/// When the folder cannot be opened or synced.
pub fn sync_folder(path: &Path) -> Result<(), SchemaError> {
    // Only Unix can open a folder as a file; elsewhere a rename is as durable as it gets.
    if cfg!(unix) {
        File::open(path).and_then(|folder| folder.sync_all()).map_err(SchemaError::io(path))?;
    }
    Ok(())
}

/// Syncs a file that was written without [`DurableFile`], such as another library's.
///
/// # Errors
/// When the file cannot be opened or synced.
pub fn sync_file(path: &Path) -> Result<(), SchemaError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(SchemaError::io(path))
}

/// Size and BLAKE3 of a file and of its end, read as a stream.
///
/// # Errors
/// When the file cannot be read.
pub fn checksum_file(path: &Path) -> Result<FileEntry, SchemaError> {
    let mut hasher = blake3::Hasher::new();
    let file = File::open(path).map_err(SchemaError::io(path))?;
    hasher.update_reader(file).map_err(SchemaError::io(path))?;
    let bytes = hasher.count();
    Ok(FileEntry { bytes, blake3: hasher.finalize().to_hex().to_string(), tail: Some(tail_checksum(path, bytes)?) })
}

/// BLAKE3 of the last [`TAIL_BYTES`] of a file of `bytes`, 64 hexadecimal digits; reads nothing else.
///
/// # Errors
/// When the file cannot be read.
pub fn tail_checksum(path: &Path, bytes: u64) -> Result<String, SchemaError> {
    let io = SchemaError::io(path);
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(bytes.saturating_sub(TAIL_BYTES)))?;
        let mut tail = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut tail)?;
        Ok(blake3::hash(&tail).to_hex().to_string())
    };
    read().map_err(io)
}

/// Every regular file below `folder`, relative to it, with `/` between the parts, sorted by bytes.
///
/// # Errors
/// When a folder cannot be read, a name is not UTF-8, or something is neither file nor folder (a link, a socket): a
/// snapshot has none of those, and following a link could leave it.
pub fn list_files(folder: &Path) -> Result<Vec<String>, SchemaError> {
    let mut files = Vec::new();
    let mut folders = vec![(folder.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        for entry in fs_err::read_dir(&folder).map_err(SchemaError::io(&folder))? {
            let entry = entry.map_err(SchemaError::io(&folder))?;
            let path = entry.path();
            let Ok(name) = entry.file_name().into_string() else {
                return Err(SchemaError::invalid(&path, "the name is not UTF-8"));
            };
            let relative = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            let kind = entry.file_type().map_err(SchemaError::io(&path))?;
            if kind.is_dir() {
                folders.push((path, relative));
            } else if kind.is_file() {
                files.push(relative);
            } else {
                return Err(SchemaError::invalid(&path, "neither a regular file nor a folder"));
            }
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// The folder a path stands in; `.` for a bare name, which `Path::parent` gives as the empty path.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

fn remove_quietly(path: &Path) {
    // Nothing is lost when this fails: the next run overwrites the temporary name.
    drop(fs_err::remove_file(path));
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn an_uncommitted_file_leaves_the_old_one_and_no_trace() -> Outcome {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("CURRENT");
        write_durably(&path, b"old")?;
        let mut file = DurableFile::create(&path)?;
        file.write_all(b"new")?;
        file.flush()?;
        assert_eq!(fs_err::read(folder.path().join(".CURRENT.tmp"))?, b"new");
        drop(file);
        assert_eq!(fs_err::read(&path)?, b"old");
        assert_eq!(list_files(folder.path())?, ["CURRENT"]);
        Ok(())
    }

    #[test]
    fn writing_replaces_the_file() -> Outcome {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("file");
        fs_err::write(folder.path().join(".file.tmp"), "left by a crash, and longer than what comes now")?;
        write_durably(&path, b"old")?;
        write_durably(&path, b"new")?;
        assert_eq!(fs_err::read(&path)?, b"new");
        assert_eq!(list_files(folder.path())?, ["file"]);
        Ok(())
    }

    #[test]
    fn a_failed_rename_leaves_no_temporary_file() -> Outcome {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("taken");
        fs_err::create_dir_all(path.join("by a folder"))?;
        assert!(matches!(write_durably(&path, b"x"), Err(SchemaError::Io { .. })));
        assert!(list_files(folder.path())?.is_empty());
        Ok(())
    }

    #[test]
    fn a_folder_is_created_with_those_above_it_and_not_over_a_file() -> Outcome {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a/b/c");
        create_folder(&path)?;
        create_folder(&path)?;
        assert!(path.is_dir());
        fs_err::write(path.join("file"), "")?;
        assert!(matches!(create_folder(&path.join("file")), Err(SchemaError::Io { .. })));
        Ok(())
    }

    #[test]
    fn listing_is_sorted_relative_and_refuses_links() -> Outcome {
        let folder = tempfile::tempdir()?;
        fs_err::create_dir_all(folder.path().join("b/c"))?;
        for name in ["z", "b/c/x", "b/a", "a"] {
            fs_err::write(folder.path().join(name), name)?;
        }
        assert_eq!(list_files(folder.path())?, ["a", "b/a", "b/c/x", "z"]);
        #[cfg(unix)]
        {
            fs_err::os::unix::fs::symlink("/etc/passwd", folder.path().join("link"))?;
            assert!(matches!(list_files(folder.path()), Err(SchemaError::Invalid { .. })));
        }
        Ok(())
    }

    #[test]
    fn checksum_is_blake3_of_the_whole_file() -> Outcome {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("file");
        let content = vec![7_u8; 300_000];
        fs_err::write(&path, &content)?;
        let entry = checksum_file(&path)?;
        let blake3 = blake3::hash(&content).to_hex().to_string();
        let tail = blake3::hash(&content[300_000 - 4096..]).to_hex().to_string();
        assert_eq!(entry, FileEntry { bytes: 300_000, blake3, tail: Some(tail) });
        // The hash of nothing, from the BLAKE3 paper's test vectors.
        fs_err::write(&path, "")?;
        assert!(checksum_file(&path)?.blake3.starts_with("af1349b9f5f9a1a6"));
        Ok(())
    }
}

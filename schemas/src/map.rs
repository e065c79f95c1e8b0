//! Memory maps of snapshot files. Owns the only `unsafe` mapping of the workspace and its contract; not what the bytes
//! mean. Invariant: the bytes of a map never change while it lives, because published files are never rewritten.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::error::SchemaError;

/// A read-only memory map of a whole file, shared by cloning.
#[derive(Clone, Debug)]
pub struct MappedFile {
    path: PathBuf,
    bytes: Bytes,
}

impl MappedFile {
    /// Maps `path`. Costs the same for every size; pages are read when touched. An empty file maps to no bytes.
    ///
    /// # Errors
    /// When the file is missing, is not a regular file, or cannot be mapped.
    #[expect(unsafe_code, reason = "mapping a file is unsafe in every crate that offers it; see the contract below")]
    pub fn open(path: &Path) -> Result<MappedFile, SchemaError> {
        let io = |source| SchemaError::Io { path: path.to_owned(), source };
        let file = fs_err::File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        if !metadata.is_file() {
            return Err(SchemaError::Invalid { path: path.to_owned(), reason: "not a regular file".to_owned() });
        }
        if metadata.len() == 0 {
            return Ok(MappedFile { path: path.to_owned(), bytes: Bytes::new() });
        }
        // SAFETY: the map must not be changed or truncated by anyone while it lives. The store's contract says so:
        // a snapshot's files are written once, before publishing, under a name that no reader opens, and afterwards
        // only removed as a whole, which leaves the pages of existing maps valid.
        let map = unsafe { memmap2::Mmap::map(file.file()) }.map_err(io)?;
        Ok(MappedFile { path: path.to_owned(), bytes: Bytes::from_owner(map) })
    }

    /// A file that is already in memory, for tests; `path` is for messages.
    #[must_use]
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> MappedFile {
        MappedFile { path: path.to_owned(), bytes: Bytes::from(bytes) }
    }

    /// The file's path, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's bytes; clones share the map.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_shows_the_file_and_clones_share_it() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("file");
        fs_err::write(&path, "content")?;
        let file = MappedFile::open(&path)?;
        assert_eq!((file.bytes().as_ref(), file.path()), (b"content".as_slice(), path.as_path()));
        assert_eq!(file.clone().bytes().as_ptr(), file.bytes().as_ptr());
        // A snapshot that is removed stays readable for those who have it open.
        fs_err::remove_file(&path)?;
        assert_eq!(file.bytes().as_ref(), b"content");
        Ok(())
    }

    #[test]
    fn an_empty_file_is_no_bytes_and_what_is_no_file_is_an_error() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("file");
        assert!(matches!(MappedFile::open(&path), Err(SchemaError::Io { .. })));
        fs_err::write(&path, "")?;
        assert!(MappedFile::open(&path)?.bytes().is_empty());
        assert!(matches!(MappedFile::open(folder.path()), Err(SchemaError::Invalid { .. })));
        Ok(())
    }
}

//! Memory maps of snapshot files. Owns the only `unsafe` mapping of the workspace and its contract; not what the bytes
//! mean. Invariant: the bytes of a map never change while it lives, because published files are never rewritten.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use memmap2::{Mmap, MmapOptions};
use stable_deref_trait::StableDeref;

use crate::error::SchemaError;

/// When the pages of a map come into memory. What each costs is measured by `benches/open.rs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Residency {
    /// When they are first touched: opening costs the same for every size, and the first queries wait for the disk.
    #[default]
    OnDemand,
    /// Before opening returns, as far as there is memory (`MAP_POPULATE`; on Linux, elsewhere as [`Residency::OnDemand`]):
    /// opening reads the whole file, unless it is in the page cache. The system may drop the pages again.
    Prefault,
    /// Before opening returns, and kept in memory until the map is dropped (`mlock`, on Unix). Counts against the
    /// process's limit of locked memory (`ulimit -l`, systemd's `LimitMEMLOCK=`); opening fails beyond it.
    Locked,
}

/// How a map is read, as advice to the system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessPattern {
    /// The system's own read-ahead.
    #[default]
    Normal,
    /// Here and there (`MADV_RANDOM`, on Unix): a fault reads one page and not its neighbours. Saves memory and disk
    /// where a file is larger than the memory left for it; costs more faults where it is not.
    Random,
}

/// How a file is mapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MapOptions {
    /// When its pages come into memory.
    pub residency: Residency,
    /// How it is read.
    pub access: AccessPattern,
}

/// A read-only memory map of a whole file, shared by cloning.
#[derive(Clone, Debug)]
pub struct MappedFile {
    path: PathBuf,
    bytes: Bytes,
    /// The map that the bytes are, where they are one.
    map: Option<Arc<Mmap>>,
}

/// A map as the owner of its bytes.
struct SharedMap(Arc<Mmap>);

impl AsRef<[u8]> for SharedMap {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The bytes of a [`MappedFile`] by themselves, which keep the map alive: for libraries that keep a reference beside its
/// owner and need to be told that the bytes stay where they are when the owner is moved.
#[derive(Clone, Debug)]
pub struct MappedBytes(Bytes);

impl Deref for MappedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

// SAFETY: `Bytes` is a pointer, a length and a shared handle on what it points to, which is a map or a heap allocation and
// never inside the `Bytes` itself; so moving it does not move the bytes. Advancing or truncating one would need `&mut` or
// ownership of the private field, which nobody gets.
#[expect(unsafe_code, reason = "the trait is a promise that the compiler cannot check; see above")]
unsafe impl StableDeref for MappedBytes {}

impl MappedFile {
    /// Maps `path` with the default options. Costs the same for every size; pages are read when touched. An empty file
    /// maps to no bytes.
    ///
    /// # Errors
    /// When the file is missing, is not a regular file (a link is none, wherever it leads), or cannot be mapped.
    pub fn open(path: &Path) -> Result<MappedFile, SchemaError> {
        MappedFile::open_with(path, MapOptions::default())
    }

    /// Maps `path`; `options` say what is read at once.
    ///
    /// # Errors
    /// As [`MappedFile::open`], and when it cannot be locked in memory.
    #[expect(unsafe_code, reason = "mapping a file is unsafe in every crate that offers it; see the contract below")]
    pub fn open_with(path: &Path, options: MapOptions) -> Result<MappedFile, SchemaError> {
        let file = open_regular(path)?;
        let io = |source| SchemaError::Io { path: path.to_owned(), source };
        if file.metadata().map_err(io)?.len() == 0 {
            return Ok(MappedFile { path: path.to_owned(), bytes: Bytes::new(), map: None });
        }
        let mut map_options = MmapOptions::new();
        if options.residency == Residency::Prefault {
            map_options.populate();
        }
        // SAFETY: the map must not be changed or truncated by anyone while it lives. The store's contract says so:
        // a snapshot's files are written once, before publishing, under a name that no reader opens, and afterwards
        // only removed as a whole, which leaves the pages of existing maps valid.
        let map = unsafe { map_options.map(file.file()) }.map_err(io)?;
        advise(&map, options).map_err(io)?;
        let map = Arc::new(map);
        let bytes = Bytes::from_owner(SharedMap(map.clone()));
        Ok(MappedFile { path: path.to_owned(), bytes, map: Some(map) })
    }

    /// A file that is already in memory, for tests; `path` is for messages.
    #[must_use]
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> MappedFile {
        MappedFile { path: path.to_owned(), bytes: Bytes::from(bytes), map: None }
    }

    /// Takes the map's pages out of this process's memory, for a pass over a file that is larger than what it should take.
    /// Who reads them again gets them from the page cache, or from the disk. Has no effect on locked pages and outside Unix.
    #[cfg_attr(unix, expect(unsafe_code, reason = "dropping pages is unsafe for maps that may be written to"))]
    pub fn release_pages(&self) {
        #[cfg(unix)]
        if let Some(map) = &self.map {
            // SAFETY: what is dropped is read again from the file, and that is as it was: the map is shared and read-only, and
            // the contract above says that the file does not change.
            let released = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
            // Only pages that are locked are refused, and those are to stay.
            drop(released);
        }
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

    /// The file's bytes as an owner whose bytes stay where they are.
    #[must_use]
    pub fn into_mapped_bytes(self) -> MappedBytes {
        MappedBytes(self.bytes)
    }
}

/// Opens a file of a snapshot for reading. What stands there must be a file itself: a pipe would be waited for, a device
/// may have no end, and where a link leads to nobody promises that the bytes stay as they are.
///
/// # Errors
/// When it is missing, cannot be opened, or is not a regular file.
pub(crate) fn open_regular(path: &Path) -> Result<fs_err::File, SchemaError> {
    let metadata = fs_err::symlink_metadata(path).map_err(SchemaError::io(path))?;
    if !metadata.is_file() {
        let found = if metadata.is_symlink() { "a link" } else { "no regular file" };
        return Err(SchemaError::invalid(path, format!("it is {found}; restore the file itself")));
    }
    fs_err::File::open(path).map_err(SchemaError::io(path))
}

#[cfg(unix)]
fn advise(map: &Mmap, options: MapOptions) -> std::io::Result<()> {
    if options.access == AccessPattern::Random {
        map.advise(memmap2::Advice::Random)?;
    }
    if options.residency == Residency::Locked {
        map.lock().map_err(|source| {
            let advice = "cannot lock it in memory; raise the limit of locked memory (`ulimit -l`, `LimitMEMLOCK=`)";
            std::io::Error::new(source.kind(), format!("{advice}: {source}"))
        })?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn advise(_: &Mmap, _: MapOptions) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn a_map_shows_the_file_and_clones_share_it() -> Outcome {
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
    fn every_option_shows_the_same_bytes() -> Outcome {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("file");
        let content = vec![7; 10_000];
        fs_err::write(&path, &content)?;
        for residency in [Residency::OnDemand, Residency::Prefault, Residency::Locked] {
            for access in [AccessPattern::Normal, AccessPattern::Random] {
                let file = MappedFile::open_with(&path, MapOptions { residency, access })?;
                assert!(*file.bytes() == content, "{residency:?} {access:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn released_pages_are_read_again() -> Outcome {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("file");
        fs_err::write(&path, vec![7; 1 << 15])?;
        for residency in [Residency::OnDemand, Residency::Locked] {
            let file = MappedFile::open_with(&path, MapOptions { residency, ..MapOptions::default() })?;
            for _ in 0..2 {
                assert!(file.bytes().iter().all(|byte| *byte == 7));
                file.release_pages();
            }
        }
        MappedFile::from_bytes(&path, vec![7]).release_pages();
        Ok(())
    }

    #[test]
    fn mapped_bytes_stay_where_they_are() -> Outcome {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("file");
        fs_err::write(&path, "content")?;
        for file in [MappedFile::open(&path)?, MappedFile::from_bytes(&path, b"content".to_vec())] {
            let bytes = file.into_mapped_bytes();
            let place = bytes.as_ptr();
            let moved = Box::new(bytes);
            assert_eq!((moved.as_ptr(), &moved[..]), (place, b"content".as_slice()));
        }
        Ok(())
    }

    #[test]
    fn an_empty_file_is_no_bytes_and_what_is_no_file_is_an_error() -> Outcome {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("file");
        assert!(matches!(MappedFile::open(&path), Err(SchemaError::Io { .. })));
        fs_err::write(&path, "")?;
        assert!(MappedFile::open(&path)?.bytes().is_empty());
        assert!(matches!(MappedFile::open(folder.path()), Err(SchemaError::Invalid { .. })));
        #[cfg(unix)]
        {
            let link = folder.path().join("link");
            fs_err::os::unix::fs::symlink(&path, &link)?;
            assert!(matches!(MappedFile::open(&link), Err(SchemaError::Invalid { .. })));
        }
        Ok(())
    }
}

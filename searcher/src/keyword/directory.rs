//! A tantivy directory that never writes: the files of a folder through maps of our own. Owns the refusal to write, and
//! handing maps to tantivy without copying; not what is in them. Invariant: nothing in the folder is created, changed or
//! locked, so a snapshot opens in a read-only folder, by users who do not own it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemas::map::MapOptions;
use schemas::{MappedFile, SchemaError};
use tantivy::Directory;
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{DirectoryLock, FileHandle, Lock, OwnedBytes, WatchCallback, WatchHandle, WritePtr};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct ReadOnlyDirectory {
    folder: PathBuf,
    maps: MapOptions,
}

impl ReadOnlyDirectory {
    /// The directory over a folder; its files are mapped as tantivy asks for them.
    pub(super) fn new(folder: &Path, maps: MapOptions) -> ReadOnlyDirectory {
        ReadOnlyDirectory { folder: folder.to_owned(), maps }
    }

    fn map(&self, path: &Path) -> Result<OwnedBytes, OpenReadError> {
        let full_path = self.folder.join(path);
        match MappedFile::open_with(&full_path, self.maps) {
            Ok(file) => Ok(OwnedBytes::new(file.into_mapped_bytes())),
            Err(SchemaError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Err(OpenReadError::FileDoesNotExist(full_path))
            }
            Err(SchemaError::Io { source, .. }) => Err(OpenReadError::wrap_io_error(source, full_path)),
            Err(error) => Err(OpenReadError::wrap_io_error(io::Error::other(error), full_path)),
        }
    }
}

fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "a snapshot is never written to")
}

impl Directory for ReadOnlyDirectory {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        Ok(Arc::new(self.map(path)?))
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        let full_path = self.folder.join(path);
        full_path.try_exists().map_err(|error| OpenReadError::wrap_io_error(error, full_path))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        Ok(self.map(path)?.to_vec())
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        Err(DeleteError::IoError { io_error: Arc::new(refused()), filepath: path.to_owned() })
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        Err(OpenWriteError::wrap_io_error(refused(), path.to_owned()))
    }

    fn atomic_write(&self, _: &Path, _: &[u8]) -> io::Result<()> {
        Err(refused())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    /// A lock that locks nothing: locks guard against writers, and there are none.
    fn acquire_lock(&self, _: &Lock) -> Result<DirectoryLock, LockError> {
        Ok(DirectoryLock::from(Box::new(PathBuf::new())))
    }

    fn watch(&self, _: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}

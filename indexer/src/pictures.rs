//! Getting a picture's bytes. Owns path safety, limits on the file and the reasons why a picture is left out; decoding
//! is `encoders`' work. Invariant: nothing outside the catalog's folder is ever opened, and nothing that is no
//! regular file is ever read.

use std::io::Read;
use std::path::{Component, Path, PathBuf};

use encoders::ImageLimits;
use schemas::ImageSource;
use schemas::rejects::RejectReason;

use crate::error::IndexError;

/// Reads pictures below one folder.
#[derive(Debug)]
pub struct PictureReader {
    folder: PathBuf,
    limits: ImageLimits,
}

impl PictureReader {
    /// Reads pictures below the catalog's folder.
    ///
    /// # Errors
    /// When the folder is not there.
    pub fn new(folder: &Path, limits: ImageLimits) -> Result<PictureReader, IndexError> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let folder = fs_err::canonicalize(folder).map_err(IndexError::io(folder))?;
        Ok(PictureReader { folder, limits })
    }

    /// The limits pictures are held to.
    #[must_use]
    pub fn limits(&self) -> &ImageLimits {
        &self.limits
    }

    /// The picture's file bytes; `None` when the item has no picture.
    ///
    /// # Errors
    /// The reason why the modality stays absent.
    pub fn read(&self, source: &ImageSource) -> Result<Option<Vec<u8>>, RejectReason> {
        match source {
            ImageSource::Absent => Ok(None),
            ImageSource::Bytes(bytes) => {
                self.check_size(bytes.len() as u64)?;
                Ok(Some(bytes.clone()))
            }
            ImageSource::Path(path) => self.read_file(Path::new(path)).map(Some),
        }
    }

    fn read_file(&self, relative: &Path) -> Result<Vec<u8>, RejectReason> {
        let stays_inside = relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !stays_inside {
            return Err(RejectReason::ImageOutsideCatalog);
        }
        // A link may still lead out: the place where it ends counts.
        let path = fs_err::canonicalize(self.folder.join(relative)).map_err(|error| unreadable(&error))?;
        if !path.starts_with(&self.folder) {
            return Err(RejectReason::ImageOutsideCatalog);
        }
        let metadata = fs_err::metadata(&path).map_err(|error| unreadable(&error))?;
        if !metadata.is_file() {
            return Err(RejectReason::ImageBroken { detail: "not a regular file".to_owned() });
        }
        self.check_size(metadata.len())?;
        let mut bytes = Vec::new();
        // The file may grow while it is read: the limit holds for what is read, too.
        fs_err::File::open(&path)
            .and_then(|file| file.take(self.limits.max_bytes + 1).read_to_end(&mut bytes))
            .map_err(|error| unreadable(&error))?;
        self.check_size(bytes.len() as u64)?;
        Ok(bytes)
    }

    fn check_size(&self, bytes: u64) -> Result<(), RejectReason> {
        if bytes > self.limits.max_bytes {
            let detail = format!("{bytes} bytes, the limit is {}", self.limits.max_bytes);
            return Err(RejectReason::ImageTooLarge { detail });
        }
        Ok(())
    }
}

fn unreadable(error: &std::io::Error) -> RejectReason {
    if error.kind() == std::io::ErrorKind::NotFound {
        RejectReason::ImageMissing
    } else {
        RejectReason::ImageBroken { detail: error.kind().to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(folder: &Path, path: &str) -> Result<Option<Vec<u8>>, RejectReason> {
        let limits = ImageLimits { max_bytes: 10, ..ImageLimits::default() };
        let Ok(reader) = PictureReader::new(folder, limits) else { panic!("folder exists") };
        reader.read(&ImageSource::Path(path.to_owned()))
    }

    #[test]
    fn only_small_regular_files_inside_the_folder_are_read() -> std::io::Result<()> {
        let outer = tempfile::tempdir()?;
        let folder = outer.path().join("catalog");
        fs_err::create_dir_all(folder.join("images"))?;
        fs_err::write(outer.path().join("secret"), b"secret")?;
        fs_err::write(folder.join("images/a.jpg"), b"picture")?;
        fs_err::write(folder.join("images/large.jpg"), b"more than ten bytes")?;
        std::os::unix::fs::symlink(outer.path().join("secret"), folder.join("out"))?;
        std::os::unix::fs::symlink("images/a.jpg", folder.join("in"))?;

        assert_eq!(read(&folder, "images/a.jpg"), Ok(Some(b"picture".to_vec())));
        assert_eq!(read(&folder, "./in"), Ok(Some(b"picture".to_vec())));
        let outside = Err(RejectReason::ImageOutsideCatalog);
        assert_eq!(read(&folder, "../secret"), outside);
        assert_eq!(read(&folder, "images/../../secret"), outside);
        assert_eq!(read(&folder, "out"), outside);
        assert_eq!(read(&folder, "/etc/passwd"), outside);
        assert_eq!(read(&folder, "images/none.jpg"), Err(RejectReason::ImageMissing));
        assert!(matches!(read(&folder, "images/large.jpg"), Err(RejectReason::ImageTooLarge { .. })));
        assert!(matches!(read(&folder, "images"), Err(RejectReason::ImageBroken { .. })));
        Ok(())
    }
}

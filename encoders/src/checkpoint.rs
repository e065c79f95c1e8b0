//! A checkpoint folder in the published Hugging Face layout: finding it (local folder or hub), fingerprinting it,
//! copying what is needed of it. Owns the list of files that matter; not their meaning. Invariant: equal folders have
//! equal fingerprints wherever they are, and a copy made by [`Checkpoint::copy_to`] loads the same encoders.

pub(crate) mod files;
mod hub;
pub(crate) mod weights;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::EncoderError;
use files::CheckpointFile;

/// Describes a stored copy, so that opening it need not read the weights: name, and size and hash of every file.
const RECORD_FILE: &str = "checkpoint.json";
/// Digits of a fingerprint.
const FINGERPRINT_LENGTH: usize = 16;

/// Where a checkpoint comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckpointSource {
    /// A local folder.
    Folder(PathBuf),
    /// A model of the hub.
    Hub {
        /// Such as `sentence-transformers/all-MiniLM-L6-v2`.
        id: String,
        /// Branch, tag or commit; a commit makes a night reproducible.
        revision: String,
    },
}

/// A checkpoint on the local disk.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    folder: PathBuf,
    name: String,
    fingerprint: String,
    files: Vec<CheckpointFile>,
}

/// What [`RECORD_FILE`] says.
#[derive(Serialize, Deserialize)]
struct Record {
    name: String,
    files: Vec<CheckpointFile>,
}

impl Record {
    /// The record of a stored copy, if it has one.
    fn read(folder: &Path) -> Result<Option<Record>, EncoderError> {
        let path = folder.join(RECORD_FILE);
        if !path.is_file() {
            return Ok(None);
        }
        let bytes = fs_err::read(&path).map_err(EncoderError::io(&path))?;
        let record = serde_json::from_slice(&bytes);
        record.map(Some).map_err(|error| EncoderError::config(&path, format!("not a checkpoint record: {error}")))
    }
}

impl Checkpoint {
    /// Finds the folder, downloading it into the hub's cache where it comes from there, and hashes its files (reads
    /// the weights once).
    ///
    /// # Errors
    /// When the folder or a needed file is missing, only unsafe weight formats are there, or the hub does not answer.
    pub fn open(source: &CheckpointSource) -> Result<Checkpoint, EncoderError> {
        match source {
            CheckpointSource::Folder(folder) => Checkpoint::hash_folder(folder, last_component(folder)),
            CheckpointSource::Hub { id, revision } => Checkpoint::hash_folder(&hub::folder(id, revision)?, id.clone()),
        }
    }

    /// Opens a folder `encoders/<fingerprint>` of a store, trusting its name instead of hashing the weights again.
    ///
    /// # Errors
    /// When the folder or a needed file is missing, or a file has another size than when it was stored.
    pub fn open_stored(folder: &Path) -> Result<Checkpoint, EncoderError> {
        let Some(record) = Record::read(folder)? else {
            // Only a copy made by hand lacks the record.
            return Checkpoint::hash_folder(folder, last_component(folder));
        };
        for file in &record.files {
            let path = folder.join(&file.name);
            let size = fs_err::metadata(&path)
                .map_err(|_| EncoderError::MissingFile { folder: folder.to_path_buf(), file: file.name.clone() })?
                .len();
            if size != file.size {
                return Err(EncoderError::config(&path, format!("has {size} bytes, stored were {}", file.size)));
            }
        }
        let fingerprint = last_component(folder);
        Ok(Checkpoint { folder: folder.to_path_buf(), name: record.name, fingerprint, files: record.files })
    }

    /// As [`Checkpoint::open_stored`], and proves that every file is the one that was stored: reads the weights once, about
    /// a second for 2 GB that are in the page cache. Loading an encoder reads them as well.
    ///
    /// # Errors
    /// As [`Checkpoint::open_stored`], and names the file that was changed since.
    pub fn open_verified(folder: &Path) -> Result<Checkpoint, EncoderError> {
        // The record first: names and hashes of a damaged one would be blamed on the files.
        let record = Record::read(folder)?;
        let fingerprint = last_component(folder);
        if let Some(record) = &record
            && !files::digest(&record.files, |_| true).starts_with(&fingerprint)
        {
            let reason = "does not list the files that the folder is named after; restore it or index again";
            return Err(EncoderError::config(&folder.join(RECORD_FILE), reason));
        }
        let checkpoint = Checkpoint::open_stored(folder)?;
        let names = checkpoint.files.iter().map(|file| file.name.clone()).collect();
        for (stored, found) in checkpoint.files.iter().zip(files::hash(folder, names)?) {
            if *stored != found {
                let reason = "was changed since it was stored; restore it or index again";
                return Err(EncoderError::config(&folder.join(&stored.name), reason));
            }
        }
        // A copy made by hand has no record; its files were hashed just now.
        if record.is_none() && !files::digest(&checkpoint.files, |_| true).starts_with(&fingerprint) {
            let reason = "does not hold the files that it is named after; restore it or index again";
            return Err(EncoderError::config(folder, reason));
        }
        Ok(checkpoint)
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Hub id or the folder's last component.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// 16 hexadecimal digits over names and contents of all files that matter.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Copies the files that matter into `<parent>/<fingerprint>` unless it is there: into a temporary folder first,
    /// synced, then renamed. Returns the folder.
    ///
    /// # Errors
    /// When copying fails.
    pub fn copy_to(&self, parent: &Path) -> Result<PathBuf, EncoderError> {
        let target = parent.join(&self.fingerprint);
        if !target.is_dir() {
            self.copy_to_new(parent, &target)?;
        }
        // A run that was killed may have renamed it and not come to this.
        sync(parent)?;
        Ok(target)
    }

    fn copy_to_new(&self, parent: &Path, target: &Path) -> Result<(), EncoderError> {
        // The form of the store's temporary names, which its next writer removes.
        let partial = parent.join(format!(".{}-{}.tmp", self.fingerprint, std::process::id()));
        if partial.exists() {
            fs_err::remove_dir_all(&partial).map_err(EncoderError::io(&partial))?;
        }
        fs_err::create_dir_all(&partial).map_err(EncoderError::io(&partial))?;
        let copied =
            self.copy_files(&partial).and_then(|()| fs_err::rename(&partial, target).map_err(EncoderError::io(target)));
        if let Err(error) = copied {
            // Best effort: the first error is the one to report.
            drop(fs_err::remove_dir_all(&partial));
            // Another process may have finished the same copy first: names are by content, so it is the same.
            return if target.is_dir() { Ok(()) } else { Err(error) };
        }
        Ok(())
    }

    fn copy_files(&self, into: &Path) -> Result<(), EncoderError> {
        let mut folders = vec![into.to_path_buf()];
        for file in &self.files {
            let target = into.join(&file.name);
            if let Some(folder) = target.parent().filter(|folder| !folders.iter().any(|known| known == folder)) {
                fs_err::create_dir_all(folder).map_err(EncoderError::io(folder))?;
                folders.push(folder.to_path_buf());
            }
            let source = self.folder.join(&file.name);
            fs_err::copy(&source, &target).map_err(EncoderError::io(&target))?;
            // The copy takes over the source's mode; a read-only file could not be removed on every system.
            sync(&target)?;
        }
        let record = Record { name: self.name.clone(), files: self.files.clone() };
        let path = into.join(RECORD_FILE);
        let json =
            serde_json::to_vec_pretty(&record).map_err(|error| EncoderError::config(&path, error.to_string()))?;
        fs_err::write(&path, json).map_err(EncoderError::io(&path))?;
        sync(&path)?;
        folders.iter().try_for_each(|folder| sync(folder))
    }

    /// BLAKE3 of the weights, 64 hexadecimal digits: of the file, or over the files where there are several.
    pub(crate) fn weights_hash(&self) -> String {
        let mut weights = self.files.iter().filter(|file| file.is_weights());
        match (weights.next(), weights.next()) {
            (Some(only), None) => only.hash.clone(),
            (None, _) | (Some(_), Some(_)) => files::digest(&self.files, CheckpointFile::is_weights),
        }
    }

    /// BLAKE3 over the files that decide tokenising, prompts and pooling, 64 hexadecimal digits.
    pub(crate) fn text_preprocessing_hash(&self) -> String {
        files::digest(&self.files, CheckpointFile::is_text_preprocessing)
    }

    /// BLAKE3 over the files that decide image preprocessing and, from version 2 on, the version of our own part in it
    /// ([`PREPROCESSING_VERSION`](crate::picture::PREPROCESSING_VERSION)); 64 hexadecimal digits.
    pub(crate) fn image_preprocessing_hash(&self, version: u32) -> String {
        let files = files::digest(&self.files, CheckpointFile::is_image_preprocessing);
        match version {
            1 => files,
            _ => blake3::hash(format!("{files}\n{version}\n").as_bytes()).to_hex().to_string(),
        }
    }

    fn hash_folder(folder: &Path, name: String) -> Result<Checkpoint, EncoderError> {
        if !folder.is_dir() {
            let source = std::io::Error::new(std::io::ErrorKind::NotFound, "no such checkpoint folder");
            return Err(EncoderError::Io { path: folder.to_path_buf(), source });
        }
        let names = files::names(folder)?;
        files::require(folder, &names)?;
        let files = files::hash(folder, names)?;
        let fingerprint = files::digest(&files, |_| true)[..FINGERPRINT_LENGTH].to_owned();
        Ok(Checkpoint { folder: folder.to_path_buf(), name, fingerprint, files })
    }
}

/// The last component of a path, of its target where it is a relative one such as `.`.
fn last_component(folder: &Path) -> String {
    let named = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let canonical = || fs_err::canonicalize(folder).ok().as_deref().and_then(named);
    named(folder).or_else(canonical).unwrap_or_else(|| folder.display().to_string())
}

fn sync(path: &Path) -> Result<(), EncoderError> {
    fs_err::File::open(path).and_then(|file| file.sync_all()).map_err(EncoderError::io(path))
}

//! The `embeddings/` folder of a store: which parts are there, what new ones are called, what may go. Owns part numbers
//! and the change of the number of partitions; not the parts' content. Invariant: a part is removed only when a
//! snapshot is published whose items all have their embeddings in parts that stay.
//!
//! `embeddings/layout.json` names the number of partitions of the last published run. While another number is
//! configured, every partition looks into all parts.

use std::path::{Path, PathBuf};

use schemas::Store;
use schemas::embeddings::{list_parts, part_name};

use crate::error::IndexError;

/// File that names the number of partitions.
const LAYOUT_FILE: &str = "layout.json";

#[derive(serde::Deserialize)]
struct LayoutFile {
    partitions: u32,
}

/// The folder at the start of a run.
#[derive(Debug)]
pub(super) struct EmbeddingsLayout {
    store: Store,
    partitions: u32,
    earlier_partitions: Option<u32>,
}

impl EmbeddingsLayout {
    pub(super) fn open(store: &Store, partitions: u32) -> Result<EmbeddingsLayout, IndexError> {
        let path = layout_file(store);
        let earlier_partitions = match fs_err::read(&path) {
            // A layout file that says nothing sensible means that nothing is known: look everywhere.
            Ok(text) => Some(serde_json::from_slice::<LayoutFile>(&text).map_or(0, |layout| layout.partitions)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(source) => return Err(IndexError::Io { path, source }),
        };
        Ok(EmbeddingsLayout { store: store.clone(), partitions, earlier_partitions })
    }

    /// Whether the parts on disk may belong to another number of partitions.
    pub(super) fn is_repartitioned(&self) -> bool {
        self.earlier_partitions != Some(self.partitions)
    }

    /// Parts that may hold rows of the partition, in the order of their numbers.
    pub(super) fn earlier_parts(&self, partition: u32) -> Result<Vec<PathBuf>, IndexError> {
        if !self.is_repartitioned() {
            let parts = list_parts(&self.store.embeddings_folder(partition))?;
            return Ok(parts.into_iter().map(|(_, path)| path).collect());
        }
        let mut parts = Vec::new();
        for folder in self.partition_folders()? {
            parts.extend(list_parts(&folder)?.into_iter().map(|(_, path)| path));
        }
        Ok(parts)
    }

    /// Names for new parts of the partition: numbers above those that are there.
    pub(super) fn new_names(&self, partition: u32) -> Result<impl Iterator<Item = PathBuf> + use<>, IndexError> {
        let folder = self.store.embeddings_folder(partition);
        let next = list_parts(&folder)?.last().map_or(0, |(last, _)| last + 1);
        Ok((next..=u32::MAX).map(move |number| folder.join(part_name(number))))
    }

    /// Removes every file that is not among the partitions' `parts`, then names the number of partitions.
    pub(super) fn settle(&self, parts: &[Vec<PathBuf>]) -> Result<(), IndexError> {
        for folder in self.partition_folders()? {
            for path in entries(&folder, |_| true)? {
                if !parts.iter().any(|parts| parts.contains(&path)) {
                    fs_err::remove_file(&path).map_err(IndexError::io(&path))?;
                }
            }
            if entries(&folder, |_| true)?.is_empty() {
                fs_err::remove_dir(&folder).map_err(IndexError::io(&folder))?;
            }
        }
        let path = layout_file(&self.store);
        super::create_parent(&path)?;
        let text = format!("{{\"partitions\":{}}}\n", self.partitions);
        Ok(schemas::durable::write_durably(&path, text.as_bytes())?)
    }

    fn partition_folders(&self) -> Result<Vec<PathBuf>, IndexError> {
        let folder = self.store.folder().join("embeddings");
        entries(&folder, |name| name.starts_with("partition="))
    }
}

fn layout_file(store: &Store) -> PathBuf {
    store.folder().join("embeddings").join(LAYOUT_FILE)
}

/// Entries of a folder by name, sorted; none where the folder is not there.
fn entries(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, IndexError> {
    let listing = match fs_err::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(IndexError::Io { path: folder.to_owned(), source }),
    };
    let mut paths = Vec::new();
    for entry in listing {
        let path = entry.map_err(IndexError::io(folder))?.path();
        if path.file_name().and_then(|name| name.to_str()).is_some_and(&wanted) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

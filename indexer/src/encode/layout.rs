//! The `embeddings/` folder of a store: which parts are there, what new ones are called, what may go. Owns part numbers
//! and the change of the number of partitions; not the parts' content. Invariant: a part is removed only when
//! every item of the catalog has its embeddings in a part that stays.
//!
//! `embeddings/layout.json` names the number of partitions of the last finished run. While another number is
//! configured, every partition looks into all parts, and the old ones go only when all partitions are done.

use std::path::{Path, PathBuf};

use schemas::Store;

use crate::error::IndexError;

/// File that names the number of partitions.
const LAYOUT_FILE: &str = "layout.json";

#[derive(serde::Serialize, serde::Deserialize)]
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
            return parts_in(&self.store.embeddings_folder(partition));
        }
        let mut parts = Vec::new();
        for folder in self.partition_folders()? {
            parts.extend(parts_in(&folder)?);
        }
        Ok(parts)
    }

    /// Names for new parts of the partition: numbers above those that are there.
    pub(super) fn new_names(&self, partition: u32) -> Result<impl Iterator<Item = PathBuf> + use<>, IndexError> {
        let folder = self.store.embeddings_folder(partition);
        let next = parts_in(&folder)?.iter().filter_map(|path| part_number(path)).max().map_or(0, |last| last + 1);
        Ok((next..=u32::MAX).map(move |number| folder.join(format!("part-{number:05}.parquet"))))
    }

    /// Removes the parts of a partition that are not among `parts`.
    pub(super) fn remove_others(&self, partition: u32, parts: &[PathBuf]) -> Result<(), IndexError> {
        for path in parts_in(&self.store.embeddings_folder(partition))? {
            if !parts.contains(&path) {
                fs_err::remove_file(&path).map_err(IndexError::io(&path))?;
            }
        }
        Ok(())
    }

    /// Names the number of partitions and removes what other numbers left.
    pub(super) fn finish(&self, parts: &[Vec<PathBuf>]) -> Result<(), IndexError> {
        if !self.is_repartitioned() {
            return Ok(());
        }
        let path = layout_file(&self.store);
        let layout = LayoutFile { partitions: self.partitions };
        let text = serde_json::to_vec(&layout)
            .map_err(|source| IndexError::Io { path: path.clone(), source: source.into() })?;
        super::create_parent(&path)?;
        for (partition, parts) in (0..).zip(parts) {
            self.remove_others(partition, parts)?;
        }
        for folder in self.partition_folders()? {
            if !(0..self.partitions).any(|partition| self.store.embeddings_folder(partition) == folder) {
                fs_err::remove_dir_all(&folder).map_err(IndexError::io(&folder))?;
            }
        }
        Ok(schemas::durable::write_durably(&path, &text)?)
    }

    fn partition_folders(&self) -> Result<Vec<PathBuf>, IndexError> {
        let folder = self.store.folder().join("embeddings");
        entries(&folder, |name| name.starts_with("partition="))
    }
}

fn layout_file(store: &Store) -> PathBuf {
    store.folder().join("embeddings").join(LAYOUT_FILE)
}

fn parts_in(folder: &Path) -> Result<Vec<PathBuf>, IndexError> {
    let mut parts = entries(folder, |name| name.starts_with("part-") && name.ends_with(".parquet"))?;
    parts.sort_by_key(|path| part_number(path));
    Ok(parts)
}

fn part_number(path: &Path) -> Option<u32> {
    path.file_stem()?.to_str()?.strip_prefix("part-")?.parse().ok()
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

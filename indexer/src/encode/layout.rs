//! The `embeddings/` folder of a store: which parts are there, what new ones are called, what may go. Owns part numbers
//! and the change of the number of partitions; not the parts' content. Invariant: a part is removed only when a
//! snapshot is published whose items all have their embeddings in parts that stay.
//!
//! `embeddings/layout.json` names the number of partitions of the last published run, or of the first one while there is
//! nothing else. While another number is configured, every partition looks into all parts.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use schemas::durable::{create_folder, sync_folder};
use schemas::embeddings::{list_parts, part_name};
use schemas::{SchemaError, Store};

use crate::error::IndexError;

/// File that names the number of partitions.
const LAYOUT_FILE: &str = "layout.json";

/// Version of the layout that this code reads and writes. Written files do not name it, which means 1.
const LAYOUT_VERSION: u32 = 1;

#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct LayoutFile {
    format_version: Option<u32>,
    partitions: u32,
}

/// The folder at the start of a run.
#[derive(Debug)]
pub(super) struct EmbeddingsLayout {
    store: Store,
    partitions: u32,
    earlier: EarlierParts,
}

/// Where the parts of earlier runs are.
#[derive(Debug)]
pub(crate) struct EarlierParts {
    store: Store,
    /// Whether the parts on disk are laid out by the number of partitions that is configured.
    same_layout: bool,
}

impl EarlierParts {
    /// Looks which number of partitions the parts on disk are laid out by.
    pub(crate) fn look(store: &Store, partitions: u32) -> Result<EarlierParts, IndexError> {
        Ok(EarlierParts { store: store.clone(), same_layout: layout_partitions(store)? == Some(partitions) })
    }

    /// Parts that may hold rows of a partition, in the order of their numbers: those of its folder, or all parts while
    /// the layout has another number of partitions.
    pub(crate) fn of(&self, partition: u32) -> Result<Vec<PathBuf>, IndexError> {
        let folders = match self.same_layout {
            true => vec![self.store.embeddings_folder(partition)],
            false => partition_folders(&self.store)?,
        };
        let mut parts = Vec::new();
        for folder in folders {
            parts.extend(list_parts(&folder)?.into_iter().map(|(_, path)| path));
        }
        Ok(parts)
    }
}

/// Names for new parts of a partition: numbers above those that are there.
#[derive(Debug)]
pub(super) struct PartNames {
    folder: PathBuf,
    next: Option<u32>,
}

impl PartNames {
    /// The partition's folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Iterator for PartNames {
    type Item = PathBuf;

    fn next(&mut self) -> Option<PathBuf> {
        let number = self.next?;
        self.next = number.checked_add(1);
        Some(self.folder.join(part_name(number)))
    }
}

impl EmbeddingsLayout {
    /// Looks at the folder. In one without any partition the number is written down at once, so that what a stopped
    /// first run finished need not be looked for everywhere.
    pub(super) fn open(store: &Store, partitions: u32) -> Result<EmbeddingsLayout, IndexError> {
        // Runs of partitions may start together.
        let _lock = store.lock_layout()?;
        if layout_partitions(store)?.is_none() && partition_folders(store)?.is_empty() {
            write_layout(store, partitions)?;
        }
        let earlier = EarlierParts::look(store, partitions)?;
        Ok(EmbeddingsLayout { store: store.clone(), partitions, earlier })
    }

    pub(super) fn earlier_parts(&self, partition: u32) -> Result<Vec<PathBuf>, IndexError> {
        self.earlier.of(partition)
    }

    pub(super) fn new_names(&self, partition: u32) -> Result<PartNames, IndexError> {
        let folder = self.store.embeddings_folder(partition);
        let next = list_parts(&folder)?.last().map_or(Some(0), |(last, _)| last.checked_add(1));
        Ok(PartNames { folder, next })
    }

    /// Removes every file that is not among the partitions' `parts`, then names the number of partitions. What stays is
    /// made durable before anything goes: a run that was killed may have renamed a part and not synced its folder.
    pub(super) fn settle(&self, parts: &[Vec<PathBuf>]) -> Result<(), IndexError> {
        let kept: HashSet<&PathBuf> = parts.iter().flatten().collect();
        let folders = partition_folders(&self.store)?;
        for folder in &folders {
            sync_folder(folder)?;
        }
        sync_folder(&self.store.folder().join("embeddings"))?;
        for folder in folders {
            for path in entries(&folder, |_| true)? {
                if !kept.contains(&path) {
                    fs_err::remove_file(&path).map_err(IndexError::io(&path))?;
                }
            }
            if entries(&folder, |_| true)?.is_empty() {
                fs_err::remove_dir(&folder).map_err(IndexError::io(&folder))?;
            }
        }
        write_layout(&self.store, self.partitions)
    }
}

/// The number of partitions that the parts on disk are laid out by; `Some(0)` for a file that says nothing sensible, so
/// that it equals no configured number.
fn layout_partitions(store: &Store) -> Result<Option<u32>, IndexError> {
    let path = layout_file(store);
    let text = match fs_err::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(IndexError::Io { path, source }),
    };
    let layout: LayoutFile = serde_json::from_slice(&text).unwrap_or_default();
    match layout.format_version.filter(|version| *version > LAYOUT_VERSION) {
        Some(got) => Err(SchemaError::NewerFormat { path, expected: LAYOUT_VERSION, got }.into()),
        None => Ok(Some(layout.partitions)),
    }
}

pub(super) fn create_parent(path: &Path) -> Result<(), IndexError> {
    match path.parent() {
        Some(parent) => Ok(create_folder(parent)?),
        None => Ok(()),
    }
}

fn write_layout(store: &Store, partitions: u32) -> Result<(), IndexError> {
    let path = layout_file(store);
    create_parent(&path)?;
    Ok(schemas::durable::write_durably(&path, format!("{{\"partitions\":{partitions}}}\n").as_bytes())?)
}

fn partition_folders(store: &Store) -> Result<Vec<PathBuf>, IndexError> {
    entries(&store.folder().join("embeddings"), |name| name.starts_with("partition="))
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

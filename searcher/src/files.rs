//! The files of a snapshot against its manifest, as a reader looks at them. Owns the checks before opening, and finding
//! out which of several files that are read together is damaged; `indexer verify` owns the check of everything. Invariant: what passes
//! is a regular file in a folder of the snapshot itself, with the manifest's size and end.

use std::path::{Path, PathBuf};

use schemas::durable::{checksum_file, tail_checksum};
use schemas::item_weights::ITEM_WEIGHTS_FILE;
use schemas::items::ITEMS_FILE;
use schemas::learned_fusion::LEARNED_FUSION_FILE;
use schemas::manifest::{EmbeddingFusionKind, TAIL_BYTES};
use schemas::modalities::MODALITIES_FILE;
use schemas::{Manifest, SchemaError};

use crate::error::SearchError;
use crate::keyword::KEYWORD_FOLDER;
use crate::snapshot::invalid_manifest;
use crate::vector::{GRAPH_FILE, NODE_TABLE_FILE};

/// What is compared with the manifest when a snapshot is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileCheck {
    /// That every file is there with its size and its last 4 KiB, which tell apart files of different snapshots; small
    /// files and the row numbers of the keyword index whole. Reads nothing else, and so costs the same for every size. A
    /// byte that was changed elsewhere since the publish is found when it makes the file senseless where it is read, and
    /// else not: a changed term frequency or embedding gives other scores, a changed id is one that nothing has.
    #[default]
    Ends,
    /// Also the checksum of every file: reads all of the snapshot, about a second a gigabyte where it is in the page cache.
    /// For services that open seldom and trust their disks little.
    Checksums,
}

/// The keyword index's file of row numbers: about 20 bytes for a thousand rows, because numbers in order pack well. Always
/// compared whole: tantivy takes memory by lengths that stand in it, and a wild one would end the process.
const ROW_NUMBERS_ENDING: &str = ".fast";

/// Compares the files with the manifest, as far as `check` says.
pub(crate) fn check(folder: &Path, manifest: &Manifest, check: FileCheck) -> Result<(), SearchError> {
    for needed in needed_files(manifest) {
        if !manifest.files.contains_key(needed) {
            return Err(invalid_manifest(folder, format!("it does not list `{needed}`")));
        }
    }
    let mut last_parent = folder.to_owned();
    for (name, entry) in &manifest.files {
        let path = folder.join(name);
        if let Some(parent) = path.parent().filter(|parent| *parent != last_parent) {
            if !kind(parent)?.is_dir() {
                return Err(foreign(parent, "it is no folder; a snapshot has no links"));
            }
            last_parent = parent.to_owned();
        }
        let metadata = kind(&path)?;
        if !metadata.is_file() {
            return Err(foreign(
                &path,
                "it is no regular file; a snapshot has no links, and only files in its folders",
            ));
        }
        if metadata.len() != entry.bytes {
            let (expected, got) = (format!("{} bytes", entry.bytes), format!("{} bytes", metadata.len()));
            return Err(SearchError::Mismatch { path, expected, got });
        }
        let whole = check == FileCheck::Checksums || entry.bytes <= TAIL_BYTES || name.ends_with(ROW_NUMBERS_ENDING);
        let (expected, got) = match &entry.tail {
            _ if whole => (&entry.blake3, checksum_file(&path)?.blake3),
            Some(tail) => (tail, tail_checksum(&path, entry.bytes)?),
            None => continue,
        };
        if got != *expected {
            let (expected, got) = (format!("checksum {expected}"), format!("checksum {got}"));
            return Err(SearchError::Mismatch { path, expected, got });
        }
    }
    Ok(())
}

/// The files that are opened by name, so that the manifest must list them.
fn needed_files(manifest: &Manifest) -> Vec<&'static str> {
    let mut needed = vec![ITEMS_FILE];
    let Some(vector) = &manifest.vector else { return needed };
    needed.extend([MODALITIES_FILE, GRAPH_FILE]);
    match vector.embedding_fusion {
        EmbeddingFusionKind::Learned => needed.extend([LEARNED_FUSION_FILE, ITEM_WEIGHTS_FILE]),
        EmbeddingFusionKind::WeightedBlocks | EmbeddingFusionKind::WeightedMean => {}
    }
    needed
}

/// `encoders/` of the store that the snapshot lies in. Resolved now, because a path through the snapshot's folder would
/// lead nowhere once that is gone.
pub(crate) fn encoders_folder(snapshot: &Path) -> Result<PathBuf, SearchError> {
    let io = |source| SchemaError::Io { path: snapshot.to_owned(), source };
    let resolved = fs_err::canonicalize(snapshot).map_err(io)?;
    Ok(resolved.parent().and_then(Path::parent).unwrap_or(&resolved).join("encoders"))
}

/// Files that are read together, so that damage of one may show in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileGroup {
    Keyword,
    Graph,
}

impl FileGroup {
    fn has(self, name: &str) -> bool {
        match self {
            FileGroup::Keyword => Path::new(name).starts_with(KEYWORD_FOLDER),
            FileGroup::Graph => [GRAPH_FILE, NODE_TABLE_FILE].contains(&name),
        }
    }
}

/// The first file of a group that is not what the manifest says; reads all of them. `None` where they all are.
pub(crate) fn damaged_file(folder: &Path, manifest: &Manifest, group: FileGroup) -> Option<PathBuf> {
    let files = manifest.files.iter().filter(|(name, _)| group.has(name));
    files.map(|(name, entry)| (folder.join(name), entry)).find_map(|(path, entry)| {
        let is_whole = checksum_file(&path).is_ok_and(|got| entry.same_content(&got));
        (!is_whole).then_some(path)
    })
}

/// An error of a group of files with the path that `find` gives, which is only asked for one.
pub(crate) fn name_file(error: SearchError, find: impl FnOnce(FileGroup) -> Option<PathBuf>) -> SearchError {
    if let SearchError::Keyword { path, source } = error {
        return SearchError::Keyword { path: find(FileGroup::Keyword).unwrap_or(path), source };
    }
    if let SearchError::Vector { path, reason } = error {
        return SearchError::Vector { path: find(FileGroup::Graph).unwrap_or(path), reason };
    }
    error
}

fn kind(path: &Path) -> Result<std::fs::Metadata, SearchError> {
    Ok(fs_err::symlink_metadata(path).map_err(|source| SchemaError::Io { path: path.to_owned(), source })?)
}

fn foreign(path: &Path, reason: &str) -> SearchError {
    SchemaError::Invalid { path: path.to_owned(), reason: reason.to_owned() }.into()
}

//! Where a store's bytes are, and what of them nobody needs. Owns the parts of a store and what counts as an orphan; not
//! removing anything. Invariant: what a run under way writes is no orphan.

use std::collections::BTreeSet;
use std::path::Path;

use schemas::durable::list_files;
use schemas::{Manifest, SnapshotId, Store};

use super::folder_bytes;
use crate::error::IndexError;

/// Bytes by part of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct DiskUse {
    /// `snapshots/`.
    pub snapshots: u64,
    /// `embeddings/`.
    pub embeddings: u64,
    /// `encoders/`.
    pub encoders: u64,
    /// `reports/`.
    pub reports: u64,
    /// `staging/`.
    pub staging: u64,
    /// The whole store.
    pub total: u64,
}

/// Something in a store that no snapshot and no run needs.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Orphan {
    /// Path below the store, with `/`.
    pub path: String,
    /// What it is, and what removes it.
    pub reason: &'static str,
    /// Its size.
    pub bytes: u64,
}

/// Adds up a store and looks for orphans.
pub(super) fn survey(
    store: &Store,
    current: Option<&SnapshotId>,
    manifests: &[(SnapshotId, Result<Manifest, String>)],
    is_written: bool,
) -> Result<(DiskUse, Vec<Orphan>), IndexError> {
    let root = store.folder();
    let disk = DiskUse {
        snapshots: folder_bytes(&store.snapshots_folder()),
        embeddings: folder_bytes(&root.join("embeddings")),
        encoders: folder_bytes(&store.encoders_folder()),
        reports: folder_bytes(&store.reports_folder()),
        staging: folder_bytes(&store.staging_folder()),
        total: folder_bytes(root),
    };
    let mut orphans = Vec::new();
    let mut found = |path: String, reason: &'static str| {
        let place = root.join(&path);
        let bytes = fs_err::symlink_metadata(&place)
            .map_or(0, |metadata| if metadata.is_dir() { folder_bytes(&place) } else { metadata.len() });
        orphans.push(Orphan { path, reason, bytes });
    };
    for (id, manifest) in manifests {
        let path = format!("snapshots/{id}");
        match manifest {
            Err(_) => {
                found(path, "a snapshot that cannot be read; `indexer prune` removes it when newer ones are kept")
            }
            Ok(_) if current.is_none_or(|current| id > current) => {
                found(path, "a snapshot newer than the published one: rolled back from, or never published");
            }
            Ok(_) => {}
        }
    }
    for name in entries(&store.snapshots_folder())? {
        if SnapshotId::parse(&name).is_none() {
            found(format!("snapshots/{name}"), "no snapshot: a foreign file or folder");
        }
    }
    let all_readable = manifests.iter().all(|(_, manifest)| manifest.is_ok());
    if all_readable && !is_written {
        let manifests = manifests.iter().filter_map(|(_, manifest)| manifest.as_ref().ok());
        let named: BTreeSet<&str> =
            manifests.flat_map(|manifest| &manifest.modalities).map(|one| one.encoder.checkpoint.as_str()).collect();
        for name in entries(&store.encoders_folder())? {
            if !named.contains(name.as_str()) {
                found(format!("encoders/{name}"), "an encoder that no snapshot names; `indexer prune` removes it");
            }
        }
    }
    if !is_written {
        for name in entries(&store.staging_folder())? {
            found(format!("staging/{name}"), "left by a run that did not end; the next run removes it");
        }
        for folder in ["embeddings", "reports"] {
            // A link in there is no file of ours, and makes the listing fail.
            for name in list_files(&root.join(folder)).unwrap_or_default() {
                let last = name.rsplit('/').next().unwrap_or_default();
                if last.starts_with('.') && last.ends_with(".tmp") {
                    found(format!("{folder}/{name}"), "a file that a run did not finish");
                } else if last.starts_with('.') && last.ends_with(".damaged") {
                    found(format!("{folder}/{name}"), "embeddings that were damaged and set aside");
                }
            }
        }
    }
    Ok((disk, orphans))
}

/// Names in a folder, sorted; hidden ones are left out, none for a folder that is not there.
fn entries(folder: &Path) -> Result<Vec<String>, IndexError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs_err::read_dir(folder).map_err(IndexError::io(folder))? {
        let name = entry.map_err(IndexError::io(folder))?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn litter_is_found_and_what_is_needed_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(folder.path()).unwrap();
        for (path, bytes) in [
            ("snapshots/backup/manifest.json", 5),
            ("encoders/0123456789abcdef/config.json", 7),
            ("staging/spool/0", 11),
            ("embeddings/partition=00000/part-00000.parquet", 13),
            ("embeddings/partition=00000/.part-00001.parquet.tmp", 17),
            ("embeddings/partition=00000/.part-00002.parquet.damaged", 19),
            ("reports/.20261120T031500Z.rejects.parquet.tmp", 23),
            ("reports/20261120T031500Z.json", 29),
        ] {
            let path = folder.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, vec![b' '; bytes]).unwrap();
        }
        let (disk, orphans) = survey(&store, None, &[], false).unwrap();
        let found: Vec<(&str, u64)> = orphans.iter().map(|orphan| (orphan.path.as_str(), orphan.bytes)).collect();
        assert_eq!(
            found,
            [
                ("snapshots/backup", 5),
                ("encoders/0123456789abcdef", 7),
                ("staging/spool", 11),
                ("embeddings/partition=00000/.part-00001.parquet.tmp", 17),
                ("embeddings/partition=00000/.part-00002.parquet.damaged", 19),
                ("reports/.20261120T031500Z.rejects.parquet.tmp", 23),
            ]
        );
        let expected = DiskUse { snapshots: 5, embeddings: 49, encoders: 7, reports: 52, staging: 11, total: 124 };
        assert_eq!(disk, expected);
        let (_, while_written) = survey(&store, None, &[], true).unwrap();
        assert_eq!(while_written.len(), 1, "a run under way leaves no orphans");
    }
}

//! Opening what the flags name. Owns which of `--store` and `--snapshot` counts.

use anyhow::bail;
use schemas::map::{MapOptions, Residency};
use searcher::{FileCheck, OpenOptions, Searcher, SnapshotMaps};

use crate::arguments::SnapshotArguments;

/// An opened snapshot and its name.
pub(crate) struct Opened {
    /// The snapshot's id, or its folder's name.
    pub(crate) snapshot: String,
    pub(crate) searcher: Searcher,
}

/// Opens the snapshot folder where one is given, else the store's published snapshot.
pub(crate) fn open(arguments: &SnapshotArguments) -> anyhow::Result<Opened> {
    let residency = match arguments.prefault {
        true => Residency::Prefault,
        false => Residency::OnDemand,
    };
    let options = OpenOptions {
        encoders_folder: arguments.encoders.clone(),
        device: arguments.device,
        check: if arguments.check { FileCheck::Checksums } else { FileCheck::Ends },
        maps: SnapshotMaps::all(MapOptions { residency, ..MapOptions::default() }),
    };
    match (&arguments.snapshot, &arguments.store) {
        (Some(folder), _) => {
            let searcher = Searcher::open(folder, &options)?;
            let folder = fs_err::canonicalize(folder)?;
            let snapshot = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
            Ok(Opened { snapshot, searcher })
        }
        (None, Some(store)) => {
            let (snapshot, searcher) = Searcher::open_current(store, &options)?;
            Ok(Opened { snapshot: snapshot.to_string(), searcher })
        }
        (None, None) => bail!("nothing to search in; give `--store DIR`, set CATALENS_STORE, or give `--snapshot DIR`"),
    }
}

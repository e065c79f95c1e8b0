//! Fourth stage: is the staged snapshot whole and good enough? Owns the checks and their order; the gates' measurements
//! are in `gates.rs`. Invariant: a [`VerifiedSnapshot`] has passed every check, and every gate or its manifest says who
//! overruled it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemas::durable::{checksum_file, list_files};
use schemas::items::{ITEMS_FILE, ItemsReader};
use schemas::manifest::{GateResult, MANIFEST_FILE};
use schemas::{Manifest, MappedFile};
use searcher::{OpenOptions, Searcher};

use crate::build::{StagedSnapshot, write_manifest};
use crate::error::IndexError;
use crate::gates::{self, Force, GateInputs};

/// A snapshot that may be published.
#[derive(Debug)]
pub struct VerifiedSnapshot {
    pub(crate) folder: PathBuf,
    pub(crate) manifest: Manifest,
}

impl VerifiedSnapshot {
    /// Its manifest, with the gates' results.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}

/// What verification found.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one in a run")]
pub enum Verdict {
    /// Everything holds.
    Verified(VerifiedSnapshot),
    /// At least one gate refused; its result says why.
    Refused(BTreeMap<String, GateResult>),
}

/// Checks a staged snapshot with the code that will serve it, and writes the gates' results into its manifest. With `force`
/// gates that refuse are overruled, and the manifest says by whom; nothing overrules the checks.
///
/// # Errors
/// When it is damaged or inconsistent; a refused gate is no error.
pub fn verify(
    staged: StagedSnapshot,
    encoders_folder: &Path,
    inputs: GateInputs<'_>,
    force: Option<&Force>,
) -> Result<Verdict, IndexError> {
    let StagedSnapshot { folder, mut manifest } = staged;
    check_files(&folder, &manifest)?;
    let options = OpenOptions { encoders_folder: Some(encoders_folder.to_owned()), ..OpenOptions::default() };
    let searcher = Searcher::open(&folder, &options)?;
    check_items(&folder, &manifest)?;
    let gates = gates::measure(&folder, &manifest, &searcher, inputs)?;
    let overruled = force.and_then(|force| force.overrule(&gates));
    for (name, gate) in &gates {
        let GateResult { value, bound, passed, message } = gate;
        match (passed, &overruled) {
            (true, _) => tracing::info!(gate = name, value, bound, "passed: {message}"),
            (false, Some(_)) => tracing::warn!(gate = name, value, bound, "overruled: {message}"),
            (false, None) => tracing::error!(gate = name, value, bound, "refused: {message}"),
        }
    }
    match &overruled {
        Some(overruled) => tracing::warn!(
            by = overruled.by,
            reason = overruled.reason,
            gates = overruled.gates.join(", "),
            "publishing although gates refused"
        ),
        None => {
            if let Some(advice) = gates::advice(&gates) {
                tracing::error!("nothing is published: {advice}");
                return Ok(Verdict::Refused(gates));
            }
        }
    }
    manifest.gates = gates;
    manifest.overruled = overruled;
    write_manifest(&folder, &manifest)?;
    Ok(Verdict::Verified(VerifiedSnapshot { folder, manifest }))
}

/// Compares every file of a snapshot with its manifest: none missing, none more, sizes and checksums equal.
///
/// # Errors
/// Names the first file that differs.
pub fn check_files(folder: &Path, manifest: &Manifest) -> Result<(), IndexError> {
    let damaged = |path: &str, reason: &str| {
        IndexError::Schema(schemas::SchemaError::Invalid { path: folder.join(path), reason: reason.to_owned() })
    };
    let found = list_files(folder)?;
    if let Some(path) = manifest.files.keys().find(|path| !found.contains(path)) {
        return Err(damaged(path, "missing, but the manifest names it"));
    }
    for path in found.iter().filter(|path| *path != MANIFEST_FILE) {
        let Some(expected) = manifest.files.get(path) else {
            return Err(damaged(path, "the manifest does not name it"));
        };
        let got = checksum_file(&folder.join(path))?;
        if !expected.same_content(&got) {
            let reason = format!(
                "{} bytes with checksum {}, the manifest says {} bytes with {}",
                got.bytes, got.blake3, expected.bytes, expected.blake3
            );
            return Err(damaged(path, &reason));
        }
    }
    Ok(())
}

/// Reads every stored item once, so that a batch that cannot be decoded is found now and not by a reader.
///
/// # Errors
/// When a record batch is damaged or the number of rows is wrong.
pub fn check_items(folder: &Path, manifest: &Manifest) -> Result<(), IndexError> {
    let items = ItemsReader::open(MappedFile::open(&folder.join(ITEMS_FILE))?, &manifest.fields)?;
    let mut rows = 0;
    for number in 0..items.batch_count() {
        rows += items.batch(number)?.1.num_rows() as u64;
    }
    if rows != manifest.item_count {
        let reason = format!("{ITEMS_FILE} has {rows} rows, the manifest says {}", manifest.item_count);
        return Err(IndexError::Inconsistent { reason });
    }
    Ok(())
}

//! Whether a night would build the snapshot that is current already. Owns what a snapshot is made from, as one digest that
//! its manifest keeps; not the comparison of single embeddings (`reuse.rs`). Invariant: equal digests mean the same rows in
//! the same order, the same contents and encoders, the same settings and the same version of the program, so that building
//! again would give the same snapshot.

use schemas::manifest::FORMAT_VERSION;
use schemas::{Manifest, SchemaError, SnapshotId, Store};

use crate::config::IndexConfig;
use crate::encode::EncodedCatalog;
use crate::encoder_set::EncoderSet;
use crate::error::IndexError;
use crate::fusion_model::FusionModel;
use crate::report::{ModalityCounts, RunCounts};
use crate::upkeep;

/// The digest of all that a snapshot is made from: 64 hexadecimal digits.
#[must_use]
pub fn digest(
    config: &IndexConfig,
    encoders: &EncoderSet,
    fusion_model: Option<&FusionModel>,
    encoded: &EncodedCatalog,
    counts: &RunCounts,
) -> String {
    let IndexConfig { catalog, embedding_fusion, keyword, graph, rank_fusion, gates, .. } = config;
    let fields = &catalog.fields;
    let modalities: Vec<_> =
        encoders.modalities().iter().map(|one| (one.modality, one.weight.to_bits(), one.spec.fingerprint())).collect();
    let rejected = (counts.rows, counts.items, counts.rejected, &counts.reasons);
    // Written out by Debug: every field of every setting is in it, also those that are added one day.
    let settings = format!(
        "{FORMAT_VERSION} {} {fields:?} {embedding_fusion:?} {keyword:?} {graph:?} {rank_fusion:?} {gates:?} \
         {modalities:?} {rejected:?}",
        env!("CARGO_PKG_VERSION")
    );
    let mut hasher = blake3::Hasher::new();
    hasher.update(settings.as_bytes());
    if let Some(model) = fusion_model {
        hasher.update(model.digest().as_bytes());
    }
    hasher.update(encoded.spool.digest().as_bytes());
    hasher.update(encoded.contents.as_bytes());
    hasher.finalize().to_hex().to_string()
}

/// Refuses to build on a snapshot that a newer version published: what follows it would lack what that version wrote.
///
/// # Errors
/// When the current snapshot's manifest has a newer format; rolling back to an older snapshot makes way.
pub fn refuse_newer(store: &Store, current: Option<&SnapshotId>) -> Result<(), IndexError> {
    match current.map(|current| Manifest::read(&store.snapshot_folder(current))) {
        Some(Err(error @ SchemaError::NewerFormat { .. })) => Err(error.into()),
        // Other damage is no reason not to build: the new snapshot replaces it.
        Some(Ok(_) | Err(_)) | None => Ok(()),
    }
}

/// Whether nothing was encoded and the current snapshot's manifest says that it was made from just this; gives it.
#[must_use]
pub fn made_from_this(store: &Store, current: &SnapshotId, digest: &str, counts: &RunCounts) -> Option<Manifest> {
    let encoded: u64 = counts.modalities.values().map(ModalityCounts::encoded).sum();
    let manifest = Manifest::read(&store.snapshot_folder(current)).ok()?;
    (encoded == 0 && manifest.inputs.as_deref() == Some(digest)).then_some(manifest)
}

/// Whether the current snapshot is whole: every byte is checked.
#[must_use]
pub fn is_whole(store: &Store, current: &SnapshotId) -> bool {
    match upkeep::verify(store, current) {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the current snapshot is damaged; building it again"
            );
            false
        }
    }
}

//! The trained model of learned embedding fusion, as a run takes it. Owns reading it, comparing it with the configured
//! encoders, and what a snapshot keeps of it; not the file's format (`schemas`) nor the formula (`searcher`). Invariant: a
//! [`FusionModel`] was trained for the encoders of this run, and its bytes are those that its digest and the snapshot have.

use schemas::learned_fusion::{self, LearnedFusion};
use schemas::manifest::ModalityManifest;
use searcher::embedding_fusion::EmbeddingFusion;

use crate::config::IndexConfig;
use crate::encoder_set::EncoderSet;
use crate::error::IndexError;

/// A model that fits the run's encoders.
#[derive(Clone, Debug)]
pub struct FusionModel {
    /// The file, as the snapshot keeps it.
    pub bytes: Vec<u8>,
    /// The formula.
    pub fusion: EmbeddingFusion,
}

impl FusionModel {
    /// Reads the configured model; `None` when the embedding fusion has none.
    ///
    /// # Errors
    /// When the file is missing or damaged, or was trained for other modalities or encoders.
    pub fn load(config: &IndexConfig, encoders: &EncoderSet) -> Result<Option<FusionModel>, IndexError> {
        let Some(path) = &config.embedding_fusion_model else { return Ok(None) };
        let bytes = learned_fusion::read_bytes(path)?;
        let model = LearnedFusion::from_bytes(path, &bytes)?;
        let fusion = EmbeddingFusion::with_model(model, &modalities(encoders)).map_err(|reason| {
            let reason = format!("`{}`: {reason}", path.display());
            IndexError::ConfigValue { key: "embedding_fusion.model".to_owned(), reason }
        })?;
        Ok(Some(FusionModel { bytes, fusion }))
    }

    /// BLAKE3 of the file, 64 hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> String {
        blake3::hash(&self.bytes).to_hex().to_string()
    }
}

/// The configured modalities, without counts.
fn modalities(encoders: &EncoderSet) -> Vec<ModalityManifest> {
    let manifest = |one: &crate::encoder_set::EncodedModality| ModalityManifest {
        modality: one.modality,
        encoder: one.spec.clone(),
        weight: one.weight,
        present: 0,
    };
    encoders.modalities().iter().map(manifest).collect()
}

//! The configured encoders, loaded. Owns sharing: one checkpoint is hashed once and each of its towers loaded once,
//! whatever number of modalities use it. Invariant: in the order of the configured modalities.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use encoders::{Checkpoint, CheckpointSource, DeviceChoice, ImageEncoder, TextEncoder};
use schemas::embeddings::EmbeddingsSchema;
use schemas::{Dtype, EncoderSpec, Modality};

use crate::config::EncoderConfig;
use crate::error::IndexError;

/// The encoder of one modality.
#[derive(Clone, Debug)]
pub enum ModalityEncoder {
    /// For titles and descriptions.
    Text(Arc<TextEncoder>),
    /// For pictures.
    Image(Arc<ImageEncoder>),
}

impl ModalityEncoder {
    /// What identifies it.
    #[must_use]
    pub fn spec(&self) -> &EncoderSpec {
        match self {
            ModalityEncoder::Text(encoder) => encoder.spec(),
            ModalityEncoder::Image(encoder) => encoder.spec(),
        }
    }
}

/// A configured modality with its loaded encoder.
#[derive(Clone, Debug)]
pub struct EncodedModality {
    /// Modality.
    pub modality: Modality,
    /// Weight; all weights sum to 1.
    pub weight: f32,
    /// Its checkpoint.
    pub checkpoint: Checkpoint,
    /// Its encoder.
    pub encoder: ModalityEncoder,
}

/// All configured modalities.
#[derive(Clone, Debug, Default)]
pub struct EncoderSet {
    modalities: Vec<EncodedModality>,
}

impl EncoderSet {
    /// Opens checkpoints (from the hub where configured) and loads their towers.
    ///
    /// # Errors
    /// When a checkpoint cannot be found or loaded, or the device cannot be used.
    pub fn load(configs: &[EncoderConfig], device: DeviceChoice) -> Result<EncoderSet, IndexError> {
        let mut loader = Loader { device, ..Loader::default() };
        let mut modalities = Vec::new();
        for config in configs {
            let failed = |source| IndexError::Encoder { modality: config.modality, source };
            modalities.push(loader.load(config).map_err(failed)?);
        }
        Ok(EncoderSet { modalities })
    }

    /// The modalities in their order.
    #[must_use]
    pub fn modalities(&self) -> &[EncodedModality] {
        &self.modalities
    }

    /// The columns of the embeddings files.
    #[must_use]
    pub fn embeddings_schema(&self) -> EmbeddingsSchema {
        let columns = self.modalities.iter().map(|one| (one.modality, one.encoder.spec().clone()));
        EmbeddingsSchema { modalities: columns.collect() }
    }

    /// Copies the checkpoints into a store's `encoders/`, so that queries need no hub. Returns that folder's new
    /// subfolders.
    ///
    /// # Errors
    /// When copying fails.
    pub fn copy_to(&self, folder: &std::path::Path) -> Result<Vec<PathBuf>, IndexError> {
        let copy = |one: &EncodedModality| {
            let failed = |source| IndexError::Encoder { modality: one.modality, source };
            one.checkpoint.copy_to(folder).map_err(failed)
        };
        self.modalities.iter().map(copy).collect()
    }
}

#[derive(Default)]
struct Loader {
    device: DeviceChoice,
    checkpoints: Vec<(CheckpointSource, Checkpoint)>,
    text: HashMap<(String, Dtype), Arc<TextEncoder>>,
    image: HashMap<(String, Dtype), Arc<ImageEncoder>>,
}

impl Loader {
    fn load(&mut self, config: &EncoderConfig) -> Result<EncodedModality, encoders::EncoderError> {
        let known = self.checkpoints.iter().find(|(source, _)| *source == config.source);
        let checkpoint = match known {
            Some((_, checkpoint)) => checkpoint.clone(),
            None => {
                let checkpoint = Checkpoint::open(&config.source)?;
                self.checkpoints.push((config.source.clone(), checkpoint.clone()));
                checkpoint
            }
        };
        let key = (checkpoint.fingerprint().to_owned(), config.dtype);
        let encoder = if config.modality.is_text() {
            if !self.text.contains_key(&key) {
                let encoder = TextEncoder::load(&checkpoint, self.device, config.dtype)?;
                self.text.insert(key.clone(), Arc::new(encoder));
            }
            ModalityEncoder::Text(Arc::clone(&self.text[&key]))
        } else {
            if !self.image.contains_key(&key) {
                let encoder = ImageEncoder::load(&checkpoint, self.device, config.dtype)?;
                self.image.insert(key.clone(), Arc::new(encoder));
            }
            ModalityEncoder::Image(Arc::clone(&self.image[&key]))
        };
        Ok(EncodedModality { modality: config.modality, weight: config.weight, checkpoint, encoder })
    }
}

//! The configured encoders, loaded. Owns sharing: one checkpoint is hashed once and each of its towers loaded once for
//! each device, whatever number of modalities use it. Invariant: in the order of the configured modalities; every
//! device has the same encoders under the same numbers.

use std::path::PathBuf;

use encoders::{Checkpoint, CheckpointSource, DeviceChoice, EncoderError, ImageEncoder, TextEncoder};
use schemas::embeddings::EmbeddingsSchema;
use schemas::{EncoderSpec, Modality};

use crate::config::EncoderConfig;
use crate::error::IndexError;

/// A loaded tower.
#[derive(Debug)]
pub enum LoadedEncoder {
    /// For titles and descriptions.
    Text(Box<TextEncoder>),
    /// For pictures.
    Image(Box<ImageEncoder>),
}

impl LoadedEncoder {
    /// What identifies it.
    #[must_use]
    pub fn spec(&self) -> &EncoderSpec {
        match self {
            LoadedEncoder::Text(encoder) => encoder.spec(),
            LoadedEncoder::Image(encoder) => encoder.spec(),
        }
    }
}

/// A configured modality and its encoder.
#[derive(Clone, Debug)]
pub struct EncodedModality {
    /// Modality.
    pub modality: Modality,
    /// Weight; all weights sum to 1.
    pub weight: f32,
    /// Its checkpoint.
    pub checkpoint: Checkpoint,
    /// What identifies its encoder.
    pub spec: EncoderSpec,
    /// Number of its encoder among a device's [`DeviceEncoders::encoders`].
    pub encoder: usize,
}

/// The encoders on one device.
#[derive(Debug)]
pub struct DeviceEncoders {
    /// The device.
    pub device: DeviceChoice,
    /// The different encoders; the same in number and order on each device.
    pub encoders: Vec<LoadedEncoder>,
}

/// All configured modalities.
#[derive(Debug, Default)]
pub struct EncoderSet {
    modalities: Vec<EncodedModality>,
    devices: Vec<DeviceEncoders>,
}

impl EncoderSet {
    /// Opens checkpoints (from the hub where configured) and loads their towers, on every device.
    ///
    /// # Errors
    /// When a checkpoint cannot be found or loaded, or a device cannot be used.
    pub fn load(configs: &[EncoderConfig], devices: &[DeviceChoice]) -> Result<EncoderSet, IndexError> {
        let mut checkpoints = Vec::new();
        // The first modality that uses an encoder stands for it.
        let mut towers: Vec<(&EncoderConfig, Checkpoint)> = Vec::new();
        let mut users = Vec::new();
        for config in configs {
            let failed = |source| IndexError::Encoder { modality: config.modality, source };
            let checkpoint = open(&config.source, &mut checkpoints).map_err(failed)?;
            let same = |(other, loaded): &(&EncoderConfig, Checkpoint)| {
                loaded.fingerprint() == checkpoint.fingerprint()
                    && other.dtype == config.dtype
                    && other.modality.is_text() == config.modality.is_text()
            };
            let encoder = towers.iter().position(same).unwrap_or(towers.len());
            if encoder == towers.len() {
                towers.push((config, checkpoint.clone()));
            }
            users.push((config, checkpoint, encoder));
        }
        let mut loaded = Vec::new();
        for &device in devices {
            let encoders = towers.iter().map(|(config, checkpoint)| load_tower(config, checkpoint, device));
            loaded.push(DeviceEncoders { device, encoders: encoders.collect::<Result<_, _>>()? });
        }
        let Some(first) = loaded.first() else {
            return Err(IndexError::Inconsistent { reason: "no device to encode on".to_owned() });
        };
        let modality = |(config, checkpoint, encoder): (&EncoderConfig, Checkpoint, usize)| EncodedModality {
            modality: config.modality,
            weight: config.weight,
            checkpoint,
            spec: first.encoders[encoder].spec().clone(),
            encoder,
        };
        Ok(EncoderSet { modalities: users.into_iter().map(modality).collect(), devices: loaded })
    }

    /// The modalities in their order.
    #[must_use]
    pub fn modalities(&self) -> &[EncodedModality] {
        &self.modalities
    }

    /// The devices; at least one, but for the default set.
    #[must_use]
    pub fn devices(&self) -> &[DeviceEncoders] {
        &self.devices
    }

    /// The columns of the embeddings files.
    #[must_use]
    pub fn embeddings_schema(&self) -> EmbeddingsSchema {
        EmbeddingsSchema { modalities: self.modalities.iter().map(|one| (one.modality, one.spec.clone())).collect() }
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

/// The devices that a choice means, each by its own name.
///
/// # Errors
/// When a device that was asked for by number is not there.
pub fn devices(choice: DeviceChoice) -> Result<Vec<DeviceChoice>, IndexError> {
    choice.resolve_all().map_err(|source| IndexError::Device { source })
}

/// The checkpoint of a source, opened once.
fn open(
    source: &CheckpointSource,
    opened: &mut Vec<(CheckpointSource, Checkpoint)>,
) -> Result<Checkpoint, EncoderError> {
    if let Some((_, checkpoint)) = opened.iter().find(|(known, _)| known == source) {
        return Ok(checkpoint.clone());
    }
    let checkpoint = Checkpoint::open(source)?;
    opened.push((source.clone(), checkpoint.clone()));
    Ok(checkpoint)
}

fn load_tower(
    config: &EncoderConfig,
    checkpoint: &Checkpoint,
    device: DeviceChoice,
) -> Result<LoadedEncoder, IndexError> {
    let loaded = if config.modality.is_text() {
        TextEncoder::load(checkpoint, device, config.dtype).map(Box::new).map(LoadedEncoder::Text)
    } else {
        ImageEncoder::load(checkpoint, device, config.dtype).map(Box::new).map(LoadedEncoder::Image)
    };
    loaded.map_err(|source| IndexError::Encoder { modality: config.modality, source })
}

//! Image encoders: the public face over preprocessing and image tower. Owns limits, loading and batching; decoding is
//! `picture`'s, the forward pass is in its own file. Invariant: the embedding of a picture does not depend on the
//! pictures beside it.

use candle_core::Device;
use rayon::prelude::*;
use schemas::{Architecture, Dtype, EncoderSpec};

use crate::checkpoint::Checkpoint;
use crate::checkpoint::weights::Weights;
use crate::device::{DeviceChoice, tensor_dtype};
use crate::embedding::Embeddings;
use crate::error::EncoderError;
use crate::json::Section;
use crate::model_folder::{Family, ModelFolder};
use crate::picture::PREPROCESSING_VERSION;
use crate::picture::decode::decode;
use crate::picture::settings::{PictureSettings, Size};
use crate::picture::transform::transform;
use crate::text_loading::DEFAULT_PROJECTION;
use crate::tower::image::{CHANNELS, ImageTower, PatchGrid};
use crate::tower::settings::{CLIP_VISION_DEFAULTS, Products, SIGLIP_DEFAULTS, TowerSettings, Workload, tower_section};

/// Largest picture file that is decoded, in bytes.
pub const DEFAULT_MAX_IMAGE_BYTES: u64 = 20 << 20;
/// Largest picture that is decoded, in pixels.
pub const DEFAULT_MAX_IMAGE_PIXELS: u64 = 50_000_000;
/// Pictures that one CPU thread computes at once.
pub const DEFAULT_CPU_BATCH_PICTURES: usize = 8;
/// Pictures that are computed at once on a CUDA device.
pub const DEFAULT_CUDA_BATCH_PICTURES: usize = 128;

/// `patch_size` of `CLIPVisionConfig` where a config has none.
const CLIP_DEFAULT_PATCH: usize = 32;
/// `patch_size` of `SiglipVisionConfig` where a config has none.
const SIGLIP_DEFAULT_PATCH: usize = 16;
/// `image_size` where a config has none.
const DEFAULT_PICTURE_SIZE: usize = 224;

/// Bounds checked before a picture is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageLimits {
    /// Largest file, in bytes. Default: [`DEFAULT_MAX_IMAGE_BYTES`].
    pub max_bytes: u64,
    /// Largest picture, in pixels, from the file's header. Default: [`DEFAULT_MAX_IMAGE_PIXELS`].
    pub max_pixels: u64,
}

impl Default for ImageLimits {
    fn default() -> Self {
        ImageLimits { max_bytes: DEFAULT_MAX_IMAGE_BYTES, max_pixels: DEFAULT_MAX_IMAGE_PIXELS }
    }
}

/// A picture ready for the encoder: `3 × height × width` values, normalised with the model's mean and deviation.
#[derive(Clone, Debug, PartialEq)]
pub struct Pixels(pub Vec<f32>);

/// A loaded image tower. `Send + Sync`.
#[derive(Debug)]
pub struct ImageEncoder {
    spec: EncoderSpec,
    earlier_fingerprints: Vec<String>,
    device: Device,
    settings: PictureSettings,
    tower: ImageTower,
}

impl ImageEncoder {
    /// Loads the image tower of a checkpoint for a catalog, as [`crate::TextEncoder::load`] does; reads nothing of its text tower.
    ///
    /// # Errors
    /// When the checkpoint has none, files are missing or malformed, or the device cannot be used.
    pub fn load(checkpoint: &Checkpoint, device: DeviceChoice, dtype: Dtype) -> Result<ImageEncoder, EncoderError> {
        ImageEncoder::load_for(Workload::Catalog, checkpoint, device, dtype)
    }

    /// The same for a query now and then. Embeddings differ by no more than rounding in the number type does.
    ///
    /// # Errors
    /// As [`ImageEncoder::load`].
    pub fn load_for_queries(
        checkpoint: &Checkpoint,
        device: DeviceChoice,
        dtype: Dtype,
    ) -> Result<ImageEncoder, EncoderError> {
        ImageEncoder::load_for(Workload::Queries, checkpoint, device, dtype)
    }

    fn load_for(
        workload: Workload,
        checkpoint: &Checkpoint,
        device: DeviceChoice,
        dtype: Dtype,
    ) -> Result<ImageEncoder, EncoderError> {
        let model = ModelFolder::read(checkpoint.folder())?;
        let (architecture, defaults, patch) = match model.family {
            Family::Clip => (Architecture::ClipImage, CLIP_VISION_DEFAULTS, CLIP_DEFAULT_PATCH),
            Family::ChineseClip => (Architecture::ChineseClipImage, CLIP_VISION_DEFAULTS, CLIP_DEFAULT_PATCH),
            Family::Siglip => (Architecture::SiglipImage, SIGLIP_DEFAULTS, SIGLIP_DEFAULT_PATCH),
            Family::Bert | Family::Roberta => {
                return Err(EncoderError::NoSuchTower { name: checkpoint.name().to_owned(), tower: "image" });
            }
        };
        let device = device.resolve()?;
        let products = Products::of(dtype, &device, workload);
        let vision = tower_section(&model.config, "vision_config")?;
        let sizes = TowerSettings::read(&vision, defaults, products)?;
        let grid = grid(&vision, patch)?;
        let settings = PictureSettings::read(&model.folder, model.family)?;
        let expected = Size { width: grid.picture, height: grid.picture };
        if settings.output_size() != Some(expected) {
            let got = settings.output_size().map_or("pictures of any size".to_owned(), |size| format!("{size:?}"));
            return Err(vision.error(format!("the preprocessor makes {got}, the tower takes {expected:?}")));
        }

        let failed = EncoderError::tensor(checkpoint.name());
        let weights = Weights::open(&model.folder)?.builder(tensor_dtype(dtype, &device), &device);
        let tower = if model.family == Family::Siglip {
            if !vision.flag("vision_use_head")?.unwrap_or(true) {
                return Err(vision.error("an image tower without its pooling head gives no embedding"));
            }
            ImageTower::siglip(&sizes, grid, &weights)
        } else {
            let projection = model.config.count("projection_dim")?.unwrap_or(DEFAULT_PROJECTION);
            ImageTower::clip(&sizes, grid, projection, &weights)
        };
        let tower = tower.map_err(&failed)?;
        let spec = EncoderSpec {
            name: checkpoint.name().to_owned(),
            architecture,
            checkpoint: checkpoint.fingerprint().to_owned(),
            weights: checkpoint.weights_hash(),
            preprocessing: checkpoint.image_preprocessing_hash(PREPROCESSING_VERSION),
            pooling: tower.pooling(),
            dimension: tower.dimension().map_err(&failed)?,
            dtype,
        };
        let earlier_spec = |version| {
            EncoderSpec { preprocessing: checkpoint.image_preprocessing_hash(version), ..spec.clone() }.fingerprint()
        };
        let earlier_fingerprints = (1..PREPROCESSING_VERSION).map(earlier_spec).collect();
        Ok(ImageEncoder { spec, earlier_fingerprints, device, settings, tower })
    }

    /// What identifies it.
    #[must_use]
    pub fn spec(&self) -> &EncoderSpec {
        &self.spec
    }

    /// What its spec's fingerprint was while the same pictures got other values from us, in earlier versions of the
    /// preprocessing. Embeddings of that time are not kept when a catalog is encoded, but can be compared with a query's:
    /// their cosine to the present ones is at least 0.995 (`tests/reduced_pictures.rs`).
    #[must_use]
    pub fn earlier_fingerprints(&self) -> &[String] {
        &self.earlier_fingerprints
    }

    /// Decodes a picture file and preprocesses it as the model's own files say; CPU work, safe to call from many threads.
    ///
    /// # Errors
    /// [`EncoderError::ImageTooLarge`] or [`EncoderError::ImageBroken`]; the caller leaves the modality absent.
    pub fn preprocess(&self, file: &[u8], limits: &ImageLimits) -> Result<Pixels, EncoderError> {
        transform(decode(file, limits, self.settings.resize)?, &self.settings).map(Pixels)
    }

    /// Encodes any number of pictures; row i belongs to `pictures[i]`. Computed in batches of
    /// [`DEFAULT_CPU_BATCH_PICTURES`] or [`DEFAULT_CUDA_BATCH_PICTURES`]; on the CPU, batches are computed on all threads
    /// of the current rayon pool.
    ///
    /// # Errors
    /// When the device fails or pixels are not this model's.
    pub fn encode_pixels(&self, pictures: &[Pixels]) -> Result<Embeddings, EncoderError> {
        let expected = self.tower.grid().values();
        if let Some(Pixels(other)) = pictures.iter().find(|Pixels(values)| values.len() != expected) {
            let detail = format!("{} values, the model takes {expected}", other.len());
            return Err(EncoderError::ImageBroken { detail });
        }
        let encode = |batch: &[Pixels]| {
            let batch: Vec<&[f32]> = batch.iter().map(|Pixels(values)| values.as_slice()).collect();
            self.tower.forward(&batch, &self.device).map_err(EncoderError::tensor(&self.spec.name))
        };
        let computed: Vec<Vec<f32>> = if self.device.is_cpu() {
            let fair_share = pictures.len().div_ceil(rayon::current_num_threads());
            let batch = fair_share.clamp(1, DEFAULT_CPU_BATCH_PICTURES);
            pictures.par_chunks(batch).map(encode).collect::<Result<_, _>>()?
        } else {
            pictures.chunks(DEFAULT_CUDA_BATCH_PICTURES).map(encode).collect::<Result<_, _>>()?
        };
        Embeddings::normalized(&self.spec.name, self.spec.dimension, computed.concat())
    }
}

fn grid(vision: &Section, default_patch: usize) -> Result<PatchGrid, EncoderError> {
    let picture = vision.count("image_size")?.unwrap_or(DEFAULT_PICTURE_SIZE);
    let patch = vision.count("patch_size")?.unwrap_or(default_patch);
    if patch == 0 || picture < patch {
        return Err(vision.error(format!("pictures of {picture} pixels cannot be cut into patches of {patch}")));
    }
    let channels = vision.count("num_channels")?.unwrap_or(CHANNELS);
    if channels != CHANNELS {
        return Err(vision.error(format!("{channels} colours are not supported, only {CHANNELS}")));
    }
    Ok(PatchGrid { picture, patch })
}

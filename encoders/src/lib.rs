//! Text and image encoders on candle, loaded from published Hugging Face checkpoint folders.
//!
//! Owns loading, tokenising, image preprocessing, batching, devices and the forward passes. Not: which items are
//! encoded and where embeddings go (`indexer`), nor how they are compared (`searcher`). Invariant: an embedding has
//! unit length and does not depend on what else is in the batch; everything model-specific (token limit, padding,
//! prompts, picture size, resampling, crop, mean, deviation) comes from the checkpoint's own files.

#![cfg_attr(test, expect(clippy::unwrap_used, reason = "tests fail by panicking"))]

pub mod checkpoint;
pub mod device;
pub mod embedding;
pub mod error;
pub mod image_encoder;
pub mod text_encoder;

mod json;
mod model_folder;
mod picture;
mod text_loading;
mod tokenizer;
mod tower;

// candle multiplies matrices with this crate; naming it switches on its AVX-512 kernels (see the workspace's features).
use gemm as _;

pub use checkpoint::{Checkpoint, CheckpointSource};
pub use device::DeviceChoice;
pub use embedding::Embeddings;
pub use error::EncoderError;
pub use image_encoder::{ImageEncoder, ImageLimits, Pixels};
pub use text_encoder::{TextEncoder, TextRole, Tokens};

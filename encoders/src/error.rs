//! Errors of this crate: one enum, one layer of message, the cause in `source`.

use std::path::{Path, PathBuf};

/// What can go wrong when loading or using an encoder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncoderError {
    /// A file of the checkpoint cannot be read or written.
    #[error("cannot read or write `{path}`")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file of the checkpoint is missing.
    #[error("checkpoint `{folder}` has no `{file}`; download the whole model folder (safetensors weights)")]
    MissingFile {
        /// The checkpoint's folder.
        folder: PathBuf,
        /// The missing file.
        file: String,
    },
    /// The checkpoint only has weights in a format that can run code when it is read.
    #[error(
        "checkpoint `{folder}` has only `{file}`, a pickle file that could run code; convert it to `model.safetensors` \
         (transformers: `save_pretrained` of the loaded model), or take a revision that has safetensors weights"
    )]
    UnsafeWeights {
        /// The checkpoint's folder.
        folder: PathBuf,
        /// The weights file.
        file: String,
    },
    /// A file of the checkpoint does not say what is needed.
    #[error("`{path}`: {reason}")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The architecture is not one of those that can be loaded.
    #[error(
        "checkpoint `{folder}` is of type `{model_type}`, which is not supported; supported: bert, xlm-roberta, roberta, \
         camembert, clip, siglip, chinese_clip"
    )]
    UnsupportedArchitecture {
        /// The checkpoint's folder.
        folder: PathBuf,
        /// `model_type` of its config.
        model_type: String,
    },
    /// The checkpoint has no such tower.
    #[error("checkpoint `{name}` has no {tower} encoder")]
    NoSuchTower {
        /// Checkpoint.
        name: String,
        /// `text` or `image`.
        tower: &'static str,
    },
    /// The tokenizer cannot be loaded or fails on a text.
    #[error("tokenizer of `{name}`")]
    Tokenizer {
        /// Checkpoint.
        name: String,
        /// The cause.
        source: tokenizers::Error,
    },
    /// Token ids that this model cannot have produced.
    #[error("tokens do not fit `{name}`: {reason}")]
    TokensDoNotFit {
        /// Checkpoint.
        name: String,
        /// What does not fit.
        reason: String,
    },
    /// An embedding is not a number: the values overflowed, which half precision does with some models.
    #[error("`{name}` gave an embedding with NaN or infinite values (row {row} of the batch); compute with dtype f32")]
    NotFinite {
        /// Checkpoint.
        name: String,
        /// Row in the batch.
        row: usize,
    },
    /// A tensor operation failed.
    #[error("computing with `{name}`")]
    Tensor {
        /// Checkpoint.
        name: String,
        /// The cause.
        source: candle_core::Error,
    },
    /// The device asked for cannot be used.
    #[error("device {device}: {reason}")]
    Device {
        /// Device asked for.
        device: String,
        /// Why not.
        reason: String,
    },
    /// The hub did not give the model.
    #[error("cannot get `{id}` revision `{revision}` from the hub; check the id, the network, or use a local folder")]
    Hub {
        /// Model.
        id: String,
        /// Revision.
        revision: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The picture is over a limit.
    #[error("picture too large: {detail}")]
    ImageTooLarge {
        /// What was measured against which limit.
        detail: String,
    },
    /// The picture cannot be decoded.
    #[error("picture cannot be decoded: {detail}")]
    ImageBroken {
        /// The decoder's words.
        detail: String,
    },
}

impl EncoderError {
    /// For `map_err` on file operations.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> EncoderError + '_ {
        |source| EncoderError::Io { path: path.to_path_buf(), source }
    }

    /// For `map_err` on tensor operations.
    pub(crate) fn tensor(name: &str) -> impl Fn(candle_core::Error) -> EncoderError + '_ {
        |source| EncoderError::Tensor { name: name.to_owned(), source }
    }

    /// A file that does not say what is needed.
    pub(crate) fn config(path: &Path, reason: impl Into<String>) -> EncoderError {
        EncoderError::Config { path: path.to_path_buf(), reason: reason.into() }
    }
}

//! Training a model of learned embedding fusion from judged queries. Owns the order of the steps and what is reported; the
//! data is read in `data.rs`, the model is in `model.rs`, its training in `train.rs`, and what it is worth on queries it has not
//! seen in `held_out.rs`. Invariant: the same snapshot, queries, judgments and settings give the same file, byte for byte,
//! on one machine; nothing is written to the store.

use std::path::{Path, PathBuf};

use schemas::durable::write_durably;
use schemas::learned_fusion::{LearnedFusion, TrainingSummary};
use searcher::{OpenOptions, Searcher};
use serde::Serialize;

use crate::error::IndexError;

pub mod data;
pub mod held_out;
mod model;
mod train;

pub use data::QueryFiles;
pub use held_out::HeldOut;

use data::TrainingData;

/// Seed of every random choice.
pub const DEFAULT_SEED: u64 = 1;
/// Passes over the queries.
pub const DEFAULT_EPOCHS: usize = 20;
/// Step size of AdamW.
pub const DEFAULT_LEARNING_RATE: f64 = 3e-4;
/// AdamW's decay of the difference to the untrained model, which is weighted blocks at unit length.
pub const DEFAULT_WEIGHT_DECAY: f64 = 30.0;
/// Divides cosines before the softmax.
pub const DEFAULT_TEMPERATURE: f64 = 0.1;
/// Parts of the queries for cross-validation.
pub const DEFAULT_FOLDS: usize = 5;

/// How a model is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct LearnSettings {
    /// Default: [`DEFAULT_SEED`].
    pub seed: u64,
    /// Default: [`DEFAULT_EPOCHS`]; 0 gives the untrained model.
    pub epochs: usize,
    /// Above 0. Default: [`DEFAULT_LEARNING_RATE`].
    pub learning_rate: f64,
    /// At least 0. Default: [`DEFAULT_WEIGHT_DECAY`].
    pub weight_decay: f64,
    /// Above 0. Default: [`DEFAULT_TEMPERATURE`].
    pub temperature: f64,
    /// Parts for cross-validation; 0 leaves it out, 1 is an error. Default: [`DEFAULT_FOLDS`].
    pub folds: usize,
}

impl Default for LearnSettings {
    fn default() -> Self {
        LearnSettings {
            seed: DEFAULT_SEED,
            epochs: DEFAULT_EPOCHS,
            learning_rate: DEFAULT_LEARNING_RATE,
            weight_decay: DEFAULT_WEIGHT_DECAY,
            temperature: DEFAULT_TEMPERATURE,
            folds: DEFAULT_FOLDS,
        }
    }
}

impl LearnSettings {
    fn check(&self) -> Result<(), IndexError> {
        let refuse = |reason: String| Err(IndexError::Learn { reason });
        for (name, value) in [("learning rate", self.learning_rate), ("temperature", self.temperature)] {
            if !(value.is_finite() && value > 0.0) {
                return refuse(format!("the {name} is {value}, it must be above 0"));
            }
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return refuse(format!("the weight decay is {}, it must be at least 0", self.weight_decay));
        }
        if self.folds == 1 {
            return refuse(
                "one fold leaves nothing to train on; give at least 2, or 0 for no cross-validation".to_owned(),
            );
        }
        Ok(())
    }
}

/// What is trained on, and where the model goes.
#[derive(Clone, Debug, PartialEq)]
pub struct LearnRequest {
    /// The store whose published snapshot has the items.
    pub store: PathBuf,
    /// The queries and their judgments.
    pub files: QueryFiles,
    /// The model's file.
    pub output: PathBuf,
    /// How it is trained.
    pub settings: LearnSettings,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LearnReport {
    /// The snapshot that was trained on.
    pub snapshot: String,
    /// The model's file.
    pub output: PathBuf,
    /// BLAKE3 of the file, 64 hexadecimal digits.
    pub blake3: String,
    /// Queries that were left out: without a relevant item in the snapshot, or that no encoder takes.
    pub skipped_queries: usize,
    /// The training of the written model, which has seen all queries.
    pub training: TrainingSummary,
    /// Cross-validation: what models that had not seen a query made of it. `None` without folds.
    pub held_out: Option<HeldOut>,
}

/// Trains a model on the store's published snapshot and writes it. Works on the CPU; memory does not grow with the catalog
/// beyond its ids. Cross-validation trains one more model per fold, and scans the catalog for every query with each of some
/// dozen weights.
///
/// # Errors
/// When nothing is published, the snapshot has no embeddings, a file cannot be read, no query has a relevant item, there are
/// fewer queries than folds, or the output cannot be written.
pub fn learn(request: &LearnRequest) -> Result<LearnReport, IndexError> {
    let settings = &request.settings;
    settings.check()?;
    let (snapshot, searcher) = Searcher::open_current(&request.store, &OpenOptions::default())?;
    let data = TrainingData::read(&searcher, &request.files)?;
    tracing::info!(queries = data.queries.len(), skipped = data.skipped, "training data is read");
    let held_out = match settings.folds {
        0 => None,
        folds => Some(held_out::cross_validate(&data, settings, folds)?),
    };
    let everything: Vec<usize> = (0..data.queries.len()).collect();
    let (model, loss) = train::train(&data, &everything, settings)?;
    let training = TrainingSummary {
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        seed: settings.seed,
        epochs: settings.epochs,
        learning_rate: settings.learning_rate,
        weight_decay: settings.weight_decay,
        temperature: settings.temperature,
        queries: data.queries.len(),
        relevant: data.queries.iter().map(|query| query.relevant.len()).sum(),
        loss,
        held_out_ndcg_at_10: held_out.as_ref().map(HeldOut::means).unwrap_or_default(),
    };
    let model = LearnedFusion { training, ..model };
    let bytes = model.to_bytes().map_err(|reason| IndexError::Inconsistent { reason })?;
    write_durably(&absolute(&request.output)?, &bytes)?;
    Ok(LearnReport {
        snapshot: snapshot.to_string(),
        output: request.output.clone(),
        blake3: blake3::hash(&bytes).to_hex().to_string(),
        skipped_queries: data.skipped,
        training: model.training,
        held_out,
    })
}

/// A path with a folder, which a durable write syncs.
fn absolute(path: &Path) -> Result<PathBuf, IndexError> {
    std::path::absolute(path).map_err(IndexError::io(path))
}

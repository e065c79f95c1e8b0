//! The configuration file. Owns its keys, defaults and checks; not what they lead to. Invariant: an [`IndexConfig`]
//! has passed every check that needs no other file, and its paths do not depend on the working folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use encoders::{CheckpointSource, DeviceChoice, ImageLimits};
use schemas::catalog::{CatalogConfig, CatalogField, CatalogFormat};
use schemas::manifest::{
    AnalysisVersion, AnalyzerKind, EmbeddingFusionKind, KeywordFieldManifest, KeywordManifest, RankFusionManifest,
};
use schemas::ranking::Matching;
use schemas::{Dtype, FieldSpec, FieldType, Modality};
use searcher::keyword;

use crate::error::IndexError;

mod file;
mod gates;
mod languages;
mod relevance;
mod vector;

pub use gates::*;
pub use relevance::{DEFAULT_MAX_RELEVANCE_DROP, DEFAULT_RELEVANCE_METRIC, RelevanceGate};
pub use vector::*;

/// Partitions of the embeddings: the unit of reuse, of memory and of sharing out work.
pub const DEFAULT_PARTITIONS: u32 = 8;
/// Rows in one embeddings part; a killed run loses the few parts that were under way.
pub const DEFAULT_PART_ROWS: usize = 8_192;
/// Pictures in one encoder batch.
pub const DEFAULT_IMAGE_BATCH: usize = 32;
/// Separator of list values in one CSV cell.
pub const DEFAULT_LIST_SEPARATOR: char = '|';
/// Revision of a hub model.
pub const DEFAULT_REVISION: &str = "main";

/// Everything a run needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexConfig {
    /// The store's folder.
    pub store: PathBuf,
    /// The catalog.
    pub catalog: CatalogConfig,
    /// Encoded modalities, in the order of [`Modality::ALL`].
    pub encoders: Vec<EncoderConfig>,
    /// Encoding.
    pub encode: EncodeConfig,
    /// Embedding fusion.
    pub embedding_fusion: EmbeddingFusionKind,
    /// The trained model of learned embedding fusion; there with that kind alone.
    pub embedding_fusion_model: Option<PathBuf>,
    /// Keyword index.
    pub keyword: KeywordManifest,
    /// Vector index.
    pub graph: GraphConfig,
    /// Defaults for rank fusion.
    pub rank_fusion: RankFusionManifest,
    /// Gates.
    pub gates: GatesConfig,
    /// Where metrics for Prometheus are written after each run.
    pub metrics: Option<PathBuf>,
}

/// One modality's encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    /// Modality.
    pub modality: Modality,
    /// Where the checkpoint comes from.
    pub source: CheckpointSource,
    /// Number type of the computation.
    pub dtype: Dtype,
    /// Weight in embedding fusion and scoring; the weights of all modalities sum to 1.
    pub weight: f32,
}

/// How encoding is done.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodeConfig {
    /// Device.
    pub device: DeviceChoice,
    /// Partitions. Default: [`DEFAULT_PARTITIONS`].
    pub partitions: u32,
    /// Rows in a part. Default: [`DEFAULT_PART_ROWS`].
    pub part_rows: usize,
    /// Pictures in a batch. Default: [`DEFAULT_IMAGE_BATCH`].
    pub image_batch: usize,
    /// Limits for pictures.
    pub image_limits: ImageLimits,
}

/// Flags of the command line that take the place of keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// Takes the place of `store.path`; relative to the working folder.
    pub store: Option<PathBuf>,
    /// Takes the place of `catalog.path`; relative to the working folder.
    pub catalog: Option<PathBuf>,
    /// Takes the place of `metrics.path`; relative to the working folder.
    pub metrics: Option<PathBuf>,
    /// `section.key=value` pairs, values in TOML's syntax or bare strings.
    pub set: Vec<(String, String)>,
}

impl IndexConfig {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// When the file is missing, is not TOML, has an unknown key or a value that does not fit; the message names the key.
    pub fn read(path: &Path, overrides: &Overrides) -> Result<IndexConfig, IndexError> {
        let text =
            fs_err::read_to_string(path).map_err(|source| IndexError::ConfigFile { path: path.to_owned(), source })?;
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            Some(_) | None => PathBuf::from("."),
        };
        IndexConfig::parse(path, &folder, &text, overrides)
    }

    /// Checks the text of a configuration file; relative paths in it are below `folder`.
    ///
    /// # Errors
    /// As [`IndexConfig::read`].
    pub fn parse(path: &Path, folder: &Path, text: &str, overrides: &Overrides) -> Result<IndexConfig, IndexError> {
        let syntax = |source| IndexError::ConfigSyntax { path: path.to_owned(), source: Box::new(source) };
        let file: file::ConfigFile = if overrides.set.is_empty() {
            toml::from_str(text).map_err(syntax)?
        } else {
            let mut table: toml::Table = toml::from_str(text).map_err(syntax)?;
            for (key, value) in &overrides.set {
                file::set_key(&mut table, key, value)?;
            }
            table.try_into().map_err(syntax)?
        };
        file.resolve(folder, overrides)
    }
}

#[cfg(test)]
mod tests;

//! `manifest.json`, the file that makes a directory a snapshot. Owns its record, version check, reading and writing.
//! Not its truth: checksums are taken and compared by the nightly flow. Invariant: written last, read first; a
//! manifest of a newer format is refused with advice, never half understood.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use crate::durable::write_durably;
use crate::encoder_spec::EncoderSpec;
use crate::error::SchemaError;
use crate::field::FieldSpec;
use crate::format_version;
use crate::map::open_regular;
use crate::modality::Modality;
use crate::ranking::{Matching, QueryAlpha};
use crate::snapshot_id::SnapshotId;

mod analysis;
mod gates;
mod scalar;

pub use analysis::{AnalysisVersion, AnalyzerKind, KeywordLanguages};
pub use gates::{GateResult, Overruled};
pub use scalar::{Scalar, ScalarKind};

/// Version of the snapshot format that this code writes.
pub const FORMAT_VERSION: u32 = 1;
/// File name of the manifest in a snapshot.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Bytes at the end of a file that [`FileEntry::tail`] is of.
pub const TAIL_BYTES: u64 = 4096;
/// Bytes of a manifest at most; a real one has a few thousand.
pub const MAX_MANIFEST_BYTES: u64 = 16 << 20;

/// What a snapshot holds and how it was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the format; see [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Version of Catalens that wrote it.
    pub tool_version: String,
    /// Time of the run's start, RFC 3339, UTC.
    pub created: String,
    /// Snapshot that was current when this one was built.
    pub parent: Option<String>,
    /// Digest of all that it was made from; a run that would make it again leaves it as it is. Snapshots of earlier
    /// versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<String>,
    /// Number of rows in every file.
    pub item_count: u64,
    /// Encoded modalities, in the order of [`Modality::ALL`].
    pub modalities: Vec<ModalityManifest>,
    /// Declared fields, in the order of the columns of `items.arrow`.
    pub fields: Vec<FieldSpec>,
    /// The keyword index.
    pub keyword: KeywordManifest,
    /// How embeddings became item vectors; `None` when no modality is encoded.
    pub vector: Option<VectorManifest>,
    /// Defaults for rank fusion at query time.
    pub rank_fusion: RankFusionManifest,
    /// Results of the gates, by gate name.
    pub gates: BTreeMap<String, GateResult>,
    /// Gates that refused and were overruled; not there when all passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overruled: Option<Overruled>,
    /// Every other file of the snapshot, by path relative to it with `/`.
    pub files: BTreeMap<String, FileEntry>,
}

/// One encoded modality.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModalityManifest {
    /// Which.
    pub modality: Modality,
    /// What encoded it.
    pub encoder: EncoderSpec,
    /// Default weight in embedding fusion and scoring; all weights sum to 1.
    pub weight: f32,
    /// Number of items that have it.
    pub present: u64,
}

/// Settings of the keyword index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeywordManifest {
    /// Saturation of a term's frequency.
    pub k1: f32,
    /// How many words of a query an item must have; snapshots of earlier versions: any.
    #[serde(default)]
    pub matching: Matching,
    /// Weight of words that stand close together; snapshots of earlier versions: none.
    #[serde(default)]
    pub proximity: f32,
    /// By which rules text became terms; snapshots of earlier versions: by the first ones.
    #[serde(default = "AnalysisVersion::first")]
    pub analysis: AnalysisVersion,
    /// Analyzers by the language of an item; not there where all items have the fields' own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub languages: Option<KeywordLanguages>,
    /// Searched fields: `title`, `description` and the declared fields with `searched`.
    pub fields: Vec<KeywordFieldManifest>,
}

/// Settings of one searched field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeywordFieldManifest {
    /// Name of the field.
    pub name: String,
    /// Analyzer of its text.
    pub analyzer: AnalyzerKind,
    /// Weight inside BM25F's saturation.
    pub weight: f32,
    /// Length normalisation, 0 (none) to 1 (full).
    pub b: f32,
}

/// Settings of the vector index and of embedding fusion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VectorManifest {
    /// How embeddings become the item vector.
    pub embedding_fusion: EmbeddingFusionKind,
    /// Length of an item vector.
    pub dimension: usize,
    /// How the graph keeps the values of item vectors; snapshots of earlier versions: as halves.
    #[serde(default)]
    pub scalar: Scalar,
    /// Neighbours per node (HNSW's M).
    pub connectivity: usize,
    /// Width of the beam when building (HNSW's efConstruction).
    pub expansion_add: usize,
    /// Default width of the beam when searching (HNSW's ef).
    pub expansion_search: usize,
    /// Number of item vectors: items with at least one modality.
    pub vector_count: u64,
}

/// How an item's embeddings become its item vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmbeddingFusionKind {
    /// Concatenation of √w · embedding, so that modalities may live in different spaces.
    #[default]
    WeightedBlocks,
    /// Normalised weighted mean; all modalities in one space.
    WeightedMean,
    /// Trained projections into a common space, weighed by trained gates; see [`crate::learned_fusion`].
    Learned,
}

/// How two ranked lists become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RankFusionMethod {
    /// `α·vector + (1−α)·keyword` with fixed theoretical minima and the query's maximum
    /// (Bruch, Gai, Ingber 2023, "An analysis of fusion functions for hybrid retrieval", TM2C2).
    #[default]
    Convex,
    /// The same combination with minimum and maximum of the query's candidates.
    MinMax,
    /// The same combination of z-scores.
    ZScore,
    /// Reciprocal rank fusion (Cormack, Clarke, Büttcher 2009).
    ReciprocalRank,
}

/// Defaults for rank fusion at query time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RankFusionManifest {
    /// Method.
    pub method: RankFusionMethod,
    /// Share of the vector score, 0 to 1.
    pub alpha: f32,
    /// The constant of reciprocal rank fusion.
    pub reciprocal_rank_constant: f32,
    /// Candidates taken from each retriever.
    pub depth: usize,
    /// So many of the keyword retriever's best stand before all others; 0, as in snapshots of earlier versions: none.
    #[serde(default)]
    pub keyword_first: usize,
    /// What moves alpha from query to query; not there, as in snapshots of earlier versions, where nothing does.
    #[serde(default, skip_serializing_if = "QueryAlpha::is_constant")]
    pub query_alpha: QueryAlpha,
}

/// Size and checksum of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Size in bytes.
    pub bytes: u64,
    /// BLAKE3, 64 hexadecimal digits.
    pub blake3: String,
    /// BLAKE3 of the last [`TAIL_BYTES`] bytes, or of all where there are fewer: what opening compares. Snapshots of earlier
    /// versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<String>,
}

impl FileEntry {
    /// Whether size and checksum are the same.
    #[must_use]
    pub fn same_content(&self, other: &FileEntry) -> bool {
        (self.bytes, &self.blake3) == (other.bytes, &other.blake3)
    }
}

impl Manifest {
    /// Reads the manifest of the snapshot in `folder`. Where the folder's name is a snapshot id, its digest must be that of
    /// the file: every change of it is found.
    ///
    /// # Errors
    /// When the file is missing, is no manifest, has a format version that this code does not know, or was changed.
    pub fn read(folder: &Path) -> Result<Manifest, SchemaError> {
        let path = folder.join(MANIFEST_FILE);
        let mut bytes = Vec::new();
        open_regular(&path)?
            .take(MAX_MANIFEST_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| SchemaError::Io { path: path.clone(), source })?;
        Manifest::from_snapshot_bytes(&path, &bytes)
    }

    /// Parses the manifest at `path`, compared with the snapshot's name.
    pub(crate) fn from_snapshot_bytes(path: &Path, bytes: &[u8]) -> Result<Manifest, SchemaError> {
        if bytes.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(SchemaError::invalid(path, format!("it has more than {MAX_MANIFEST_BYTES} bytes")));
        }
        let manifest = Manifest::from_bytes(path, bytes);
        // Advice to update comes first: a newer version may name its snapshots otherwise.
        if matches!(manifest, Err(SchemaError::NewerFormat { .. })) {
            return manifest;
        }
        let name = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        if let Some(snapshot) = name.and_then(SnapshotId::parse)
            && !blake3::hash(bytes).to_hex().starts_with(snapshot.digest())
        {
            let reason = "its checksum is not the one in the snapshot's name; restore it or roll back";
            return Err(SchemaError::invalid(path, reason));
        }
        manifest
    }

    /// Parses a manifest; `path` is for messages.
    ///
    /// # Errors
    /// As [`Manifest::read`].
    pub fn from_bytes(path: &Path, text: &[u8]) -> Result<Manifest, SchemaError> {
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
        }
        let json = |source| SchemaError::Json { path: path.to_owned(), source };
        let Version { format_version } = serde_json::from_slice(text).map_err(json)?;
        format_version::check(path, FORMAT_VERSION, format_version)?;
        let manifest: Manifest = serde_json::from_slice(text).map_err(json)?;
        // A number too large for 32 bits is read as an infinity, which no score survives.
        if !manifest.numbers().all(f32::is_finite) {
            return Err(SchemaError::invalid(path, "one of its numbers is not finite"));
        }
        if manifest.quantisation_step().is_some_and(|step| step <= 0.0) {
            return Err(SchemaError::invalid(path, "the quantisation step of item vectors is not above 0"));
        }
        match manifest.files.keys().find(|name| !stays_inside(name)) {
            Some(name) => Err(SchemaError::invalid(path, format!("the file name `{name}` leaves the snapshot"))),
            None => Ok(manifest),
        }
    }

    /// The numbers that scores are computed with.
    fn numbers(&self) -> impl Iterator<Item = f32> {
        let weights = self.modalities.iter().map(|modality| modality.weight);
        let fields = self.keyword.fields.iter().flat_map(|field| [field.weight, field.b]);
        let others = [
            self.keyword.k1,
            self.keyword.proximity,
            self.rank_fusion.alpha,
            self.rank_fusion.reciprocal_rank_constant,
        ];
        let of_the_query = self.rank_fusion.query_alpha.numbers();
        weights.chain(fields).chain(others).chain(of_the_query).chain(self.quantisation_step())
    }

    fn quantisation_step(&self) -> Option<f32> {
        match self.vector.as_ref()?.scalar {
            Scalar::F16 => None,
            Scalar::I8 { step } => Some(step),
        }
    }

    /// Writes the manifest of the snapshot in `folder`, durably. It is written last: with it the folder is a snapshot.
    ///
    /// # Errors
    /// When writing fails, or a number of it is not finite, which JSON cannot hold; nothing is then written.
    pub fn write(&self, folder: &Path) -> Result<(), SchemaError> {
        let path = folder.join(MANIFEST_FILE);
        let bytes = self.to_bytes();
        // What cannot be read back must not be published.
        Manifest::from_bytes(&path, &bytes)?;
        write_durably(&path, &bytes)
    }

    /// The manifest as the bytes of `manifest.json`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Serialising fails only for maps with non-string keys and for writers that fail; this record has neither.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

/// Whether a file name of the manifest is relative and stays below the snapshot's folder.
fn stays_inside(name: &str) -> bool {
    !name.is_empty()
        && !name.contains('\\')
        && Path::new(name).components().all(|component| matches!(component, Component::Normal(_)))
}

#[cfg(test)]
mod tests;

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
use crate::snapshot_id::SnapshotId;

mod gates;

pub use gates::{GateResult, Overruled};

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

/// How text becomes terms. Every analyzer folds case and normalises with NFKC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnalyzerKind {
    /// Words as they are.
    Simple,
    /// Words with English stemming; runs of Chinese are segmented by dictionary.
    #[default]
    English,
    /// Runs of Chinese are segmented by dictionary; other words as they are.
    Chinese,
}

/// Settings of the vector index and of embedding fusion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VectorManifest {
    /// How embeddings become the item vector.
    pub embedding_fusion: EmbeddingFusionKind,
    /// Length of an item vector.
    pub dimension: usize,
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
        match manifest.files.keys().find(|name| !stays_inside(name)) {
            Some(name) => Err(SchemaError::invalid(path, format!("the file name `{name}` leaves the snapshot"))),
            None => Ok(manifest),
        }
    }

    /// The numbers that scores are computed with.
    fn numbers(&self) -> impl Iterator<Item = f32> {
        let weights = self.modalities.iter().map(|modality| modality.weight);
        let fields = self.keyword.fields.iter().flat_map(|field| [field.weight, field.b]);
        let others = [self.keyword.k1, self.rank_fusion.alpha, self.rank_fusion.reciprocal_rank_constant];
        weights.chain(fields).chain(others)
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
mod tests {
    use super::*;
    use crate::encoder_spec::{Architecture, Dtype, Pooling};
    use crate::field::FieldType;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    fn manifest() -> Manifest {
        let encoder = EncoderSpec {
            name: "all-MiniLM-L6-v2".to_owned(),
            architecture: Architecture::Bert,
            checkpoint: "0123456789abcdef".to_owned(),
            weights: "a".repeat(64),
            preprocessing: "b".repeat(64),
            pooling: Pooling::Mean,
            dimension: 384,
            dtype: Dtype::F32,
        };
        let keyword_field =
            KeywordFieldManifest { name: "title".to_owned(), analyzer: AnalyzerKind::English, weight: 2.0, b: 0.3 };
        let gate = GateResult { value: 0.99, bound: 0.95, passed: true, message: "recall@10 of the graph".to_owned() };
        Manifest {
            format_version: FORMAT_VERSION,
            tool_version: "0.1.0".to_owned(),
            created: "2026-11-20T03:15:00Z".to_owned(),
            parent: Some("20261119T031500Z-1a2b3c4d5e6f".to_owned()),
            inputs: None,
            item_count: 101,
            modalities: vec![ModalityManifest { modality: Modality::Title, encoder, weight: 1.0, present: 101 }],
            fields: vec![FieldSpec { name: "brand".to_owned(), r#type: FieldType::String, searched: true }],
            keyword: KeywordManifest { k1: 1.2, fields: vec![keyword_field] },
            vector: Some(VectorManifest {
                embedding_fusion: EmbeddingFusionKind::WeightedBlocks,
                dimension: 384,
                connectivity: 16,
                expansion_add: 128,
                expansion_search: 64,
                vector_count: 101,
            }),
            rank_fusion: RankFusionManifest {
                method: RankFusionMethod::Convex,
                alpha: 0.6,
                reciprocal_rank_constant: 60.0,
                depth: 1000,
            },
            gates: BTreeMap::from([("ann_recall".to_owned(), gate)]),
            overruled: None,
            files: BTreeMap::from([(
                "items.arrow".to_owned(),
                FileEntry { bytes: 3, blake3: "c".repeat(64), tail: Some("d".repeat(64)) },
            )]),
        }
    }

    #[test]
    fn a_manifest_is_read_back_equal() -> Outcome {
        let folder = tempfile::tempdir()?;
        manifest().write(folder.path())?;
        assert_eq!(Manifest::read(folder.path())?, manifest());
        assert_eq!(fs_err::read(folder.path().join(MANIFEST_FILE))?, manifest().to_bytes());
        Ok(())
    }

    #[test]
    fn overruled_gates_are_read_back_and_absent_where_all_passed() -> Outcome {
        assert!(!String::from_utf8(manifest().to_bytes())?.contains("overruled"));
        let overruled = Overruled {
            gates: vec!["ann_recall".to_owned()],
            by: "ana@indexer-7".to_owned(),
            at: "2026-11-20T03:20:00Z".to_owned(),
            reason: None,
        };
        let forced = Manifest { overruled: Some(overruled), ..manifest() };
        assert_eq!(Manifest::from_bytes(Path::new(MANIFEST_FILE), &forced.to_bytes())?, forced);
        Ok(())
    }

    #[test]
    fn names_in_the_file_are_those_of_the_format_book() -> Outcome {
        let value: serde_json::Value = serde_json::from_slice(&manifest().to_bytes())?;
        assert_eq!(value["modalities"][0]["modality"], "title");
        assert_eq!(value["modalities"][0]["encoder"]["architecture"], "bert");
        assert_eq!(value["modalities"][0]["encoder"]["pooling"], "mean");
        assert_eq!(value["modalities"][0]["encoder"]["dtype"], "f32");
        assert_eq!(value["fields"][0]["type"], "string");
        assert_eq!(value["keyword"]["fields"][0]["analyzer"], "english");
        assert_eq!(value["vector"]["embedding_fusion"], "weighted_blocks");
        assert_eq!(value["rank_fusion"]["method"], "convex");
        Ok(())
    }

    #[test]
    fn the_example_of_the_format_book_is_whole() -> Outcome {
        let book = include_str!("../README.md");
        let example = book.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).ok_or("no example")?;
        let read = Manifest::from_bytes(Path::new("README.md"), example.as_bytes())?;
        let written: serde_json::Value = serde_json::from_slice(&read.to_bytes())?;
        assert_eq!(written, serde_json::from_str::<serde_json::Value>(example)?);
        Ok(())
    }

    /// The manifest with one value replaced.
    fn with(pointer: &str, new: serde_json::Value) -> Result<Manifest, SchemaError> {
        let mut value = serde_json::to_value(manifest()).unwrap_or_default();
        if let Some(place) = value.pointer_mut(pointer) {
            *place = new;
        }
        Manifest::from_bytes(Path::new(MANIFEST_FILE), value.to_string().as_bytes())
    }

    #[test]
    fn newer_and_unknown_versions_are_refused_before_anything_else() {
        assert_eq!(with("/item_count", 7.into()).map(|manifest| manifest.item_count).ok(), Some(7));
        let newer = b"{\"format_version\": 2, \"modalities\": \"of another shape\"}";
        let newer = Manifest::from_bytes(Path::new(MANIFEST_FILE), newer);
        assert!(matches!(newer, Err(SchemaError::NewerFormat { expected: 1, got: 2, .. })));
        assert!(matches!(with("/format_version", 0.into()), Err(SchemaError::Invalid { .. })));
        assert!(matches!(with("/format_version", "1".into()), Err(SchemaError::Json { .. })));
        assert!(matches!(with("/vector/dimension", (-1).into()), Err(SchemaError::Json { .. })));
        assert!(matches!(with("/rank_fusion/method", "magic".into()), Err(SchemaError::Json { .. })));
    }

    #[test]
    fn file_names_stay_inside_the_snapshot() {
        for name in ["../items.arrow", "/etc/passwd", "a/../../b", "", "..", "a\\b"] {
            let files = serde_json::json!({ name: { "bytes": 1, "blake3": "" } });
            assert!(matches!(with("/files", files), Err(SchemaError::Invalid { .. })), "{name}");
        }
        let files = serde_json::json!({ "vector/fused.usearch": { "bytes": 1, "blake3": "" } });
        assert!(with("/files", files).is_ok());
    }

    #[test]
    fn in_a_folder_named_by_its_digest_every_change_is_found() -> Outcome {
        let parent = tempfile::tempdir()?;
        let bytes = manifest().to_bytes();
        let digest = blake3::hash(&bytes).to_hex();
        let id = SnapshotId::new("20261120T031500Z", &digest).ok_or("form")?;
        let folder = parent.path().join(id.as_str());
        fs_err::create_dir(&folder)?;
        let path = folder.join(MANIFEST_FILE);
        fs_err::write(&path, &bytes)?;
        assert_eq!(Manifest::read(&folder)?, manifest());
        for place in (0..bytes.len()).step_by(7) {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            fs_err::write(&path, &changed)?;
            // A version that became a newer one is refused as such.
            assert!(Manifest::read(&folder).is_err(), "byte {place}");
        }
        fs_err::write(&path, [bytes.as_slice(), b"\n"].concat())?;
        assert!(matches!(Manifest::read(&folder), Err(SchemaError::Invalid { .. })));
        fs_err::remove_file(&path)?;
        fs_err::create_dir(&path)?;
        assert!(matches!(Manifest::read(&folder), Err(SchemaError::Invalid { .. })));
        Ok(())
    }

    #[test]
    fn cut_off_manifests_are_errors() {
        let bytes = manifest().to_bytes();
        for length in 0..bytes.len() - 2 {
            assert!(Manifest::from_bytes(Path::new(MANIFEST_FILE), &bytes[..length]).is_err());
        }
    }

    #[test]
    fn a_number_that_json_cannot_hold_is_not_written() -> Outcome {
        let folder = tempfile::tempdir()?;
        let mut manifest = manifest();
        manifest.rank_fusion.alpha = f32::NAN;
        assert!(manifest.write(folder.path()).is_err());
        assert!(!folder.path().join(MANIFEST_FILE).exists());
        Ok(())
    }
}

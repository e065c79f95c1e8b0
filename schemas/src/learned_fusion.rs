//! `fusion.safetensors`, the trained model of learned embedding fusion, and its copy `vector/learned.safetensors` in a
//! snapshot. Owns the record, the file's layout, reader and writer; not the formula (`searcher`) nor the training
//! (`indexer`). Invariant: a model that was read has tensors of the lengths that its header says, and finite numbers only.
//!
//! A safetensors file with one metadata key, [`METADATA_KEY`], whose value is JSON: format version, dimension, modalities
//! with their encoders, and how the model was trained. Tensors are little-endian F32, five for each modality.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::error::SchemaError;
use crate::format_version;
use crate::map::open_regular;
use crate::modality::Modality;

/// File name in a snapshot.
pub const LEARNED_FUSION_FILE: &str = "vector/learned.safetensors";
/// Version of the file's format.
pub const LEARNED_FUSION_VERSION: u32 = 1;
/// Key of the JSON in the safetensors metadata.
pub const METADATA_KEY: &str = "catalens.learned_fusion";
/// Bytes of a file at most: three projections from 2,048 to 6,144 dimensions have 150 MB.
pub const MAX_FILE_BYTES: u64 = 512 << 20;
/// Length of an item vector or embedding at most.
pub const MAX_DIMENSION: usize = 65_536;

/// A trained model: per modality a projection into one common space, and the gates that weigh the modalities there.
#[derive(Clone, Debug, PartialEq)]
pub struct LearnedFusion {
    /// Length of an item vector, which is that of the common space.
    pub dimension: usize,
    /// The modalities, in the order of [`Modality::ALL`].
    pub modalities: Vec<LearnedModality>,
    /// How it was trained.
    pub training: TrainingSummary,
}

/// One modality's side of the model.
#[derive(Clone, Debug, PartialEq)]
pub struct LearnedModality {
    /// Modality.
    pub modality: Modality,
    /// Fingerprint of the encoder spec whose embeddings it was trained on.
    pub encoder: String,
    /// Length of those embeddings.
    pub encoder_dimension: usize,
    /// `dimension × encoder_dimension` values, row by row: an embedding times this is its projection.
    pub projection: Vec<f32>,
    /// Weighs the modality in an item.
    pub item_gate: Gate,
    /// Weighs the modality in a query.
    pub query_gate: Gate,
}

/// A gate: its logit for a projected embedding p is `bias + direction · p`.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// The logit's constant part.
    pub bias: f32,
    /// `dimension` values.
    pub direction: Vec<f32>,
}

/// How a model was trained: what one needs to train it again, and what it was worth on queries it had not seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingSummary {
    /// Version of Catalens.
    pub tool_version: String,
    /// Seed of every random choice.
    pub seed: u64,
    /// Passes over the queries.
    pub epochs: usize,
    /// Step size of AdamW.
    pub learning_rate: f64,
    /// Decay of the difference to the untrained model.
    pub weight_decay: f64,
    /// Divides scores before the softmax.
    pub temperature: f64,
    /// Queries with a relevant item.
    pub queries: usize,
    /// Their judgments with a grade of at least 1.
    pub relevant: usize,
    /// Mean loss of the last pass.
    pub loss: f64,
    /// Cross-validated nDCG@10 of vector search on held-out queries, by `learned`, `weighted_blocks` and
    /// `weighted_blocks_tuned`; empty when it was not measured.
    pub held_out_ndcg_at_10: std::collections::BTreeMap<String, f64>,
}

/// The JSON of the metadata.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format_version: u32,
    dimension: usize,
    modalities: Vec<HeaderModality>,
    training: TrainingSummary,
}

#[derive(Debug, Serialize, Deserialize)]
struct HeaderModality {
    modality: Modality,
    encoder: String,
    dimension: usize,
}

/// The part of the header that every version has.
#[derive(Debug, Deserialize)]
struct HeaderVersion {
    format_version: u32,
}

impl LearnedFusion {
    /// Reads a model's file.
    ///
    /// # Errors
    /// When it is missing, is no regular file, is damaged, foreign or of a newer version.
    pub fn read(path: &Path) -> Result<LearnedFusion, SchemaError> {
        LearnedFusion::from_bytes(path, &read_bytes(path)?)
    }

    /// Parses a model's file; `path` is for messages.
    ///
    /// # Errors
    /// As [`LearnedFusion::read`].
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<LearnedFusion, SchemaError> {
        let invalid = |reason: String| SchemaError::invalid(path, reason);
        let foreign = |error: safetensors::SafeTensorError| invalid(format!("it is no safetensors file: {error}"));
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(foreign)?;
        let json = metadata.metadata().as_ref().and_then(|metadata| metadata.get(METADATA_KEY));
        let Some(json) = json else {
            let reason = format!("its metadata has no `{METADATA_KEY}`; `indexer learn` writes such files");
            return Err(invalid(reason));
        };
        let malformed = |source| SchemaError::Json { path: path.to_owned(), source };
        let HeaderVersion { format_version } = serde_json::from_str(json).map_err(malformed)?;
        format_version::check(path, LEARNED_FUSION_VERSION, format_version)?;
        let header: Header = serde_json::from_str(json).map_err(malformed)?;
        if header.modalities.is_empty() || !header.modalities.is_sorted_by(|left, right| left.modality < right.modality)
        {
            return Err(invalid("its modalities are not in order, one is there twice, or there is none".to_owned()));
        }
        let mut dimensions = header.modalities.iter().map(|one| one.dimension).chain([header.dimension]);
        if let Some(wrong) = dimensions.find(|dimension| !(1..=MAX_DIMENSION).contains(dimension)) {
            return Err(invalid(format!("it has the dimension {wrong}; 1 to {MAX_DIMENSION} are possible")));
        }
        let tensors = SafeTensors::deserialize(bytes).map_err(foreign)?;
        let modalities = header.modalities.into_iter().map(|one| read_modality(&tensors, one, header.dimension));
        let modalities = modalities.collect::<Result<_, _>>().map_err(invalid)?;
        Ok(LearnedFusion { dimension: header.dimension, modalities, training: header.training })
    }

    /// The model as the bytes of its file; the same for the same model.
    ///
    /// # Errors
    /// A text that says which tensor does not have the length that the dimensions ask for.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let modalities = self.modalities.iter().map(|one| HeaderModality {
            modality: one.modality,
            encoder: one.encoder.clone(),
            dimension: one.encoder_dimension,
        });
        let header = Header {
            format_version: LEARNED_FUSION_VERSION,
            dimension: self.dimension,
            modalities: modalities.collect(),
            training: self.training.clone(),
        };
        let json = serde_json::to_string(&header).map_err(|error| error.to_string())?;
        let mut values: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
        for one in &self.modalities {
            let names = TensorNames::of(one.modality);
            let little_endian =
                |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
            let shape = vec![self.dimension, one.encoder_dimension];
            values.push((names.projection, shape, little_endian(&one.projection)));
            for (bias, direction, gate) in [
                (names.item_gate_bias, names.item_gate, &one.item_gate),
                (names.query_gate_bias, names.query_gate, &one.query_gate),
            ] {
                values.push((bias, vec![1], little_endian(&[gate.bias])));
                values.push((direction, vec![self.dimension], little_endian(&gate.direction)));
            }
        }
        let mut views: Vec<(&str, TensorView<'_>)> = Vec::new();
        for (name, shape, bytes) in &values {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
            views.push((name, view.map_err(|error| format!("tensor `{name}`: {error}"))?));
        }
        let metadata = HashMap::from([(METADATA_KEY.to_owned(), json)]);
        safetensors::serialize(views, Some(metadata)).map_err(|error| error.to_string())
    }
}

/// The bytes of a model's file, bounded by [`MAX_FILE_BYTES`].
///
/// # Errors
/// When it is missing, is no regular file, or is larger.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, SchemaError> {
    let mut bytes = Vec::new();
    open_regular(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(SchemaError::io(path))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(SchemaError::invalid(path, format!("it has more than {MAX_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}

/// Names of a modality's tensors.
struct TensorNames {
    projection: String,
    item_gate: String,
    item_gate_bias: String,
    query_gate: String,
    query_gate_bias: String,
}

impl TensorNames {
    fn of(modality: Modality) -> TensorNames {
        TensorNames {
            projection: format!("{modality}.projection"),
            item_gate: format!("{modality}.item_gate"),
            item_gate_bias: format!("{modality}.item_gate_bias"),
            query_gate: format!("{modality}.query_gate"),
            query_gate_bias: format!("{modality}.query_gate_bias"),
        }
    }
}

fn read_modality(
    tensors: &SafeTensors<'_>,
    header: HeaderModality,
    dimension: usize,
) -> Result<LearnedModality, String> {
    let HeaderModality { modality, encoder, dimension: encoder_dimension } = header;
    let names = TensorNames::of(modality);
    let read = |name: &str, shape: &[usize]| read_tensor(tensors, name, shape);
    let gate = |bias: &str, direction: &str| -> Result<Gate, String> {
        // One value: its shape was compared.
        Ok(Gate { bias: read(bias, &[1])?[0], direction: read(direction, &[dimension])? })
    };
    Ok(LearnedModality {
        modality,
        encoder,
        encoder_dimension,
        projection: read(&names.projection, &[dimension, encoder_dimension])?,
        item_gate: gate(&names.item_gate_bias, &names.item_gate)?,
        query_gate: gate(&names.query_gate_bias, &names.query_gate)?,
    })
}

fn read_tensor(tensors: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
    let tensor = tensors.tensor(name).map_err(|error| format!("tensor `{name}`: {error}"))?;
    if tensor.dtype() != Dtype::F32 || tensor.shape() != shape {
        let (dtype, got) = (tensor.dtype(), tensor.shape());
        return Err(format!("tensor `{name}` is {dtype:?} of shape {got:?}, expected F32 of shape {shape:?}"));
    }
    let (chunks, _) = tensor.data().as_chunks();
    let values: Vec<f32> = chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(values),
        false => Err(format!("tensor `{name}` has a value that is not a finite number")),
    }
}

#[cfg(test)]
mod tests;

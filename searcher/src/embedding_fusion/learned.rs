//! Learned embedding fusion: per modality a trained projection P into one common space, and gates that weigh the
//! modalities there. Owns the formula as it is served, in plain Rust; the training, on candle, is `indexer`'s, and a test
//! there holds that both compute the same. Invariant: item and query vectors have unit length, so that their inner
//! product, the vector score, is a cosine.
//!
//! For the embeddings e of the modalities m that an item has: p = P·e, gates g = softmax over m of (bias + direction·p), item
//! vector v = Σ g·p / ‖Σ g·p‖. A query's embeddings make its vector q in the same way, with the same projections and gates
//! of its own. The softmax is over what is there, so that a missing modality leaves its share to the others. It is the
//! gated multimodal unit of Arevalo, Solorio, Montes-y-Gómez and González 2017 ("Gated multimodal units for information
//! fusion") with linear projections, which make scores explainable:
//!
//! ```text
//! v·q = Σ weight · (e · Pᵀq)     with the item's weight = g / ‖Σ g·p‖ of each modality
//! ```
//!
//! The weights depend on the item alone and are stored (`vector/item_weights.arrow`); Pᵀq depends on the query alone. So the
//! exact score of a row costs what a weighted one costs, and falls into parts by modality.

use half::f16;
use half::slice::HalfFloatSliceExt;
use schemas::learned_fusion::{Gate, LearnedFusion, LearnedModality};
use schemas::manifest::ModalityManifest;

use crate::vector::QueryEmbeddings;

/// Length below which a gated sum has no direction left.
const SMALLEST_LENGTH: f32 = 1e-6;
/// Sums kept apart in an inner product, so that it can be vectorised and has one order everywhere.
const LANES: usize = 16;

/// The formula with its trained model.
#[derive(Clone, Debug, PartialEq)]
pub struct LearnedEmbeddingFusion {
    model: LearnedFusion,
}

/// An item in the common space.
#[derive(Clone, Debug, PartialEq)]
pub struct FusedItem {
    /// The item vector, at unit length.
    pub vector: Vec<f32>,
    /// What each modality's projection weighs in it; 0 where the item lacks the modality.
    pub weights: Vec<f32>,
}

impl FusedItem {
    /// The item vector as it is stored.
    #[must_use]
    pub fn halves(&self) -> Vec<f16> {
        self.vector.iter().copied().map(f16::from_f32).collect()
    }
}

impl LearnedEmbeddingFusion {
    /// The formula over the encoded modalities, in their order.
    ///
    /// # Errors
    /// When the model was trained for other modalities or encoders; the text says which.
    pub fn new(model: LearnedFusion, modalities: &[ModalityManifest]) -> Result<LearnedEmbeddingFusion, String> {
        let advice = "train a model for these encoders with `indexer learn`";
        let trained: Vec<&str> = model.modalities.iter().map(|one| one.modality.name()).collect();
        let encoded: Vec<&str> = modalities.iter().map(|one| one.modality.name()).collect();
        if trained != encoded {
            let (trained, encoded) = (trained.join(", "), encoded.join(", "));
            return Err(format!("the model was trained for {trained}, encoded are {encoded}; {advice}"));
        }
        for (trained, encoded) in model.modalities.iter().zip(modalities) {
            let (fingerprint, dimension) = (encoded.encoder.fingerprint(), encoded.encoder.dimension);
            if trained.encoder != fingerprint || trained.encoder_dimension != dimension {
                return Err(format!(
                    "the model was trained on {} embeddings of encoder {} ({} dimensions), but `{}` is encoder \
                     {fingerprint} ({dimension} dimensions); {advice}",
                    trained.modality, trained.encoder, trained.encoder_dimension, encoded.encoder.name
                ));
            }
        }
        Ok(LearnedEmbeddingFusion { model })
    }

    /// Length of an item vector.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.model.dimension
    }

    /// An item's vector and weights; `None` when it has no embedding, or its projections cancel each other out. Costs
    /// `dimension × encoder dimension` multiplications per modality.
    ///
    /// # Panics
    /// When an embedding does not have its modality's dimension.
    #[must_use]
    pub fn item(&self, embeddings: &[Option<&[f16]>]) -> Option<FusedItem> {
        let widened: Vec<Option<Vec<f32>>> =
            embeddings.iter().map(|embedding| embedding.map(|values| values.to_f32_vec())).collect();
        let (vector, weights) = self.fuse(&widened, |modality| &modality.item_gate)?;
        Some(FusedItem { vector, weights })
    }

    /// A query's vector; `None` when it has no embedding, or its projections cancel each other out.
    ///
    /// # Panics
    /// As [`LearnedEmbeddingFusion::item`].
    #[must_use]
    pub fn query_vector(&self, embeddings: &[Option<Vec<f32>>]) -> Option<Vec<f32>> {
        self.fuse(embeddings, |modality| &modality.query_gate).map(|(vector, _)| vector)
    }

    /// A query's side of the exact score: its vector, and for each modality Pᵀq, to compare embeddings with. All absent
    /// when the query has no vector.
    ///
    /// # Errors
    /// When an embedding does not have its modality's dimension, as those of another snapshot may; the text says which.
    pub fn query_embeddings(&self, embeddings: &[Option<Vec<f32>>]) -> Result<QueryEmbeddings, String> {
        for (modality, embedding) in self.model.modalities.iter().zip(embeddings) {
            let LearnedModality { modality, encoder_dimension, .. } = modality;
            if let Some(wrong) = embedding.as_ref().map(Vec::len).filter(|length| length != encoder_dimension) {
                return Err(format!(
                    "the query's {modality} embedding has {wrong} values, items have {encoder_dimension}"
                ));
            }
        }
        let vector = self.query_vector(embeddings);
        let back = |modality: &LearnedModality| {
            let mut sum = vec![0.0f32; modality.encoder_dimension];
            let rows = modality.projection.chunks_exact(modality.encoder_dimension);
            for (row, factor) in rows.zip(vector.as_ref()?) {
                sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += factor * value);
            }
            Some(sum)
        };
        let embeddings = self.model.modalities.iter().map(back).collect();
        Ok(QueryEmbeddings { embeddings, weights: vec![1.0; self.model.modalities.len()], vector })
    }

    /// Length of an embedding's projection, for the modality of that number.
    ///
    /// # Panics
    /// When there is no such modality, or the embedding does not have its dimension.
    #[must_use]
    pub fn projected_length(&self, modality: usize, embedding: &[f16]) -> f32 {
        length(&project(&self.model.modalities[modality], &embedding.to_f32_vec()))
    }

    /// The gated sum at unit length, and each modality's weight in it.
    fn fuse(
        &self,
        embeddings: &[Option<Vec<f32>>],
        gate: impl Fn(&LearnedModality) -> &Gate,
    ) -> Option<(Vec<f32>, Vec<f32>)> {
        let modalities = self.model.modalities.iter();
        let projected: Vec<Option<Vec<f32>>> = modalities
            .zip(embeddings)
            .map(|(modality, embedding)| embedding.as_deref().map(|embedding| project(modality, embedding)))
            .collect();
        let logit = |(modality, projected): (&LearnedModality, &Option<Vec<f32>>)| {
            let gate = gate(modality);
            projected.as_deref().map(|projected| gate.bias + inner(&gate.direction, projected))
        };
        let logits: Vec<Option<f32>> = self.model.modalities.iter().zip(&projected).map(logit).collect();
        // Without the largest taken away, large logits would overflow.
        let largest = logits.iter().flatten().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut weights: Vec<f32> =
            logits.iter().map(|logit| logit.map_or(0.0, |logit| (logit - largest).exp())).collect();
        let sum: f32 = weights.iter().sum();
        let mut vector = vec![0.0f32; self.model.dimension];
        for (weight, projected) in weights.iter_mut().zip(&projected) {
            *weight /= sum;
            let Some(projected) = projected else { continue };
            vector.iter_mut().zip(projected).for_each(|(slot, value)| *slot += *weight * value);
        }
        let length = length(&vector);
        if !(length.is_finite() && length > SMALLEST_LENGTH) {
            return None;
        }
        vector.iter_mut().for_each(|value| *value /= length);
        weights.iter_mut().zip(&projected).for_each(|(weight, projected)| match projected {
            Some(_) => *weight /= length,
            None => *weight = 0.0,
        });
        Some((vector, weights))
    }
}

fn project(modality: &LearnedModality, embedding: &[f32]) -> Vec<f32> {
    assert_eq!(embedding.len(), modality.encoder_dimension, "length of an embedding of `{}`", modality.modality);
    modality.projection.chunks_exact(modality.encoder_dimension).map(|row| inner(row, embedding)).collect()
}

fn length(vector: &[f32]) -> f32 {
    inner(vector, vector).sqrt()
}

/// Σ left · right, summed in one order on every machine.
fn inner(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (left, left_rest) = left.as_chunks::<LANES>();
    let (right, right_rest) = right.as_chunks::<LANES>();
    for (left, right) in left.iter().zip(right) {
        for lane in 0..LANES {
            sums[lane] += left[lane] * right[lane];
        }
    }
    let rest: f32 = left_rest.iter().zip(right_rest).map(|(left, right)| left * right).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod graph_tests;
#[cfg(test)]
mod tests;

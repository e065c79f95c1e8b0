//! Embedding fusion: an item's embeddings → one item vector, and a query's embeddings → the vector whose inner product
//! with item vectors orders them. Owns which formula a snapshot has; the formulas are in `weighted.rs` and `learned.rs`,
//! the graph over the vectors in [`crate::vector`]. Invariant: for a query that has what item vectors have, the inner product
//! equals [`crate::vector::VectorScorer`]'s score, to `f16`'s precision.

use std::path::Path;

use half::f16;
use schemas::learned_fusion::{LEARNED_FUSION_FILE, LearnedFusion};
use schemas::manifest::{EmbeddingFusionKind, ModalityManifest, VectorManifest};

use crate::error::SearchError;
use crate::snapshot::invalid_manifest;
use crate::vector::QueryEmbeddings;

mod learned;
mod weighted;

pub use learned::{FusedItem, LearnedEmbeddingFusion};
use weighted::WeightedEmbeddingFusion;

/// The formula with its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddingFusion(Formula);

#[derive(Clone, Debug, PartialEq)]
enum Formula {
    Weighted(WeightedEmbeddingFusion),
    Learned(LearnedEmbeddingFusion),
}

impl EmbeddingFusion {
    /// The formula over the encoded modalities, in their order. Weights need not sum to 1: they are divided by their
    /// sum. A modality of weight 0 takes part neither in item nor in query vectors.
    ///
    /// # Errors
    /// When there is no modality, a weight is negative or none is positive, or `weighted_mean` is asked for over more
    /// than one space or dimension; the text says which. Also for `learned`, which needs its model:
    /// [`EmbeddingFusion::with_model`].
    pub fn new(kind: EmbeddingFusionKind, modalities: &[ModalityManifest]) -> Result<EmbeddingFusion, String> {
        WeightedEmbeddingFusion::new(kind, modalities).map(|weighted| EmbeddingFusion(Formula::Weighted(weighted)))
    }

    /// Learned embedding fusion with its trained model.
    ///
    /// # Errors
    /// When the model was trained for other modalities or encoders; the text says which.
    pub fn with_model(model: LearnedFusion, modalities: &[ModalityManifest]) -> Result<EmbeddingFusion, String> {
        LearnedEmbeddingFusion::new(model, modalities).map(|learned| EmbeddingFusion(Formula::Learned(learned)))
    }

    /// The formula of the snapshot in `folder`; of learned embedding fusion the model is read, a few megabytes.
    ///
    /// # Errors
    /// As [`EmbeddingFusion::new`] and [`EmbeddingFusion::with_model`], or when the model is missing or damaged.
    pub fn open(
        folder: &Path,
        vector: &VectorManifest,
        modalities: &[ModalityManifest],
    ) -> Result<EmbeddingFusion, SearchError> {
        let fusion = match vector.embedding_fusion {
            EmbeddingFusionKind::WeightedBlocks | EmbeddingFusionKind::WeightedMean => {
                EmbeddingFusion::new(vector.embedding_fusion, modalities)
            }
            EmbeddingFusionKind::Learned => {
                let model = LearnedFusion::read(&folder.join(LEARNED_FUSION_FILE))?;
                EmbeddingFusion::with_model(model, modalities)
            }
        };
        fusion.map_err(|reason| invalid_manifest(folder, reason))
    }

    /// Length of an item vector.
    #[must_use]
    pub fn dimension(&self) -> usize {
        match &self.0 {
            Formula::Weighted(weighted) => weighted.dimension(),
            Formula::Learned(learned) => learned.dimension(),
        }
    }

    /// The item vector; `None` when the item has no embedding at all (it is then not in the vector index).
    ///
    /// # Panics
    /// When an embedding does not have its modality's dimension.
    #[must_use]
    pub fn item_vector(&self, embeddings: &[Option<&[f16]>]) -> Option<Vec<f16>> {
        match &self.0 {
            Formula::Weighted(weighted) => weighted.item_vector(embeddings),
            Formula::Learned(learned) => learned.item(embeddings).map(|item| item.halves()),
        }
    }

    /// The query vector with the given modality weights (parallel to the modalities; retrieval still uses the built
    /// graph); zero where the query has no embedding. Learned embedding fusion takes no notice of the weights.
    ///
    /// # Panics
    /// When an embedding does not have its modality's dimension.
    #[must_use]
    pub fn query_vector(&self, embeddings: &[Option<Vec<f32>>], weights: &[f32]) -> Vec<f32> {
        match &self.0 {
            Formula::Weighted(weighted) => weighted.query_vector(embeddings, weights),
            Formula::Learned(learned) => {
                learned.query_vector(embeddings).unwrap_or_else(|| vec![0.0; learned.dimension()])
            }
        }
    }

    /// A query's side of the exact vector score: its embeddings as they are, with the given weights, or what learned
    /// embedding fusion makes of them.
    ///
    /// # Errors
    /// [`SearchError::Query`] when learned embedding fusion is given an embedding of another length than its modality's.
    pub fn query_embeddings(
        &self,
        embeddings: &[Option<Vec<f32>>],
        weights: Vec<f32>,
    ) -> Result<QueryEmbeddings, SearchError> {
        match &self.0 {
            Formula::Weighted(_) => Ok(QueryEmbeddings { embeddings: embeddings.to_vec(), weights, vector: None }),
            Formula::Learned(learned) => {
                learned.query_embeddings(embeddings).map_err(|reason| SearchError::Query { reason })
            }
        }
    }

    /// Whether the inner product with item vectors orders items as the exact score with these weights does (but for
    /// f16's precision): the query has every modality that item vectors have, weighed as they are. Always so for learned
    /// embedding fusion.
    #[must_use]
    pub fn is_exact_for(&self, embeddings: &[Option<Vec<f32>>], weights: &[f32]) -> bool {
        match &self.0 {
            Formula::Weighted(weighted) => weighted.is_exact_for(embeddings, weights),
            Formula::Learned(_) => true,
        }
    }

    /// The learned formula, where it is that one.
    #[must_use]
    pub fn learned(&self) -> Option<&LearnedEmbeddingFusion> {
        match &self.0 {
            Formula::Weighted(_) => None,
            Formula::Learned(learned) => Some(learned),
        }
    }
}

#[cfg(test)]
mod tests;

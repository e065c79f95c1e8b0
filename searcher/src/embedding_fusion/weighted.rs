//! The two weighted formulas of embedding fusion. Owns both sides of them.
//!
//! `weighted_blocks`: with weights w (sum 1 over the encoded modalities) and W = Σ w over the modalities the item has,
//! the item vector is the concatenation of √w·e / W, absent blocks zero; the query vector is the concatenation of √w·q.
//! Their inner product is Σ w·cos / W, the weighted mean of the cosines that exist. Invariant: for a query that has
//! all blocks it equals [`crate::vector::VectorScorer`]'s score (to f16's precision). A query that weighs modalities
//! otherwise, with w', has the blocks w'/√w·q.
//!
//! `weighted_mean`: the item vector is Σ w·e over the modalities the item has, at unit length, the query vector
//! Σ w·q likewise; the inner product is the cosine of the two means. One space only.

use half::f16;
use half::slice::HalfFloatSliceExt;
use schemas::manifest::{EmbeddingFusionKind, ModalityManifest};

/// A weighted formula with its weights.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WeightedEmbeddingFusion {
    layout: Layout,
    dimensions: Vec<usize>,
    weights: Vec<f32>,
}

/// Where a modality's embedding goes in the vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// In a block of its own.
    Blocks,
    /// On top of the others.
    Mean,
}

impl WeightedEmbeddingFusion {
    /// The formula over the encoded modalities, in their order. Weights need not sum to 1: they are divided by their
    /// sum. A modality of weight 0 takes part neither in item nor in query vectors.
    ///
    /// # Errors
    /// When there is no modality, a weight is negative or none is positive, or `weighted_mean` is asked for over more
    /// than one space or dimension; the text says which.
    pub(super) fn new(
        kind: EmbeddingFusionKind,
        modalities: &[ModalityManifest],
    ) -> Result<WeightedEmbeddingFusion, String> {
        let layout = match kind {
            EmbeddingFusionKind::WeightedBlocks => Layout::Blocks,
            EmbeddingFusionKind::WeightedMean => Layout::Mean,
            EmbeddingFusionKind::Learned => return Err("`learned` needs its trained model".to_owned()),
        };
        let Some(first) = modalities.first() else {
            return Err("embedding fusion needs at least one encoded modality".to_owned());
        };
        if let Some(wrong) = modalities.iter().find(|modality| !modality.weight.is_finite() || modality.weight < 0.0) {
            return Err(format!("weight {} of modality `{}` is not a number from 0 up", wrong.weight, wrong.modality));
        }
        let sum: f32 = modalities.iter().map(|modality| modality.weight).sum();
        if sum <= 0.0 || !sum.is_finite() {
            return Err("the weights of all modalities are 0; give at least one a weight".to_owned());
        }
        if layout == Layout::Mean {
            let foreign = modalities.iter().find(|modality| {
                modality.encoder.space() != first.encoder.space()
                    || modality.encoder.dimension != first.encoder.dimension
            });
            if let Some(foreign) = foreign {
                return Err(format!(
                    "`weighted_mean` needs all modalities in one space, but `{}` is in `{}` ({} dimensions) and `{}` in `{}` \
                     ({} dimensions); use `weighted_blocks`",
                    first.modality,
                    first.encoder.space(),
                    first.encoder.dimension,
                    foreign.modality,
                    foreign.encoder.space(),
                    foreign.encoder.dimension,
                ));
            }
        }
        let dimensions = modalities.iter().map(|modality| modality.encoder.dimension).collect();
        let weights = modalities.iter().map(|modality| modality.weight / sum).collect();
        Ok(WeightedEmbeddingFusion { layout, dimensions, weights })
    }

    /// Length of an item vector.
    #[must_use]
    pub(super) fn dimension(&self) -> usize {
        match self.layout {
            Layout::Blocks => self.dimensions.iter().sum(),
            Layout::Mean => self.dimensions[0],
        }
    }

    /// The item vector; `None` when the item has no embedding at all (it is then not in the vector index).
    ///
    /// # Panics
    /// When an embedding does not have its modality's dimension.
    #[must_use]
    pub(super) fn item_vector(&self, embeddings: &[Option<&[f16]>]) -> Option<Vec<f16>> {
        let present =
            |modality: usize| embeddings.get(modality).copied().flatten().filter(|_| self.weights[modality] > 0.0);
        let total: f32 = (0..self.weights.len()).filter(|m| present(*m).is_some()).map(|m| self.weights[m]).sum();
        if total <= 0.0 {
            return None;
        }
        let vector = self.combine(present, |modality| match self.layout {
            Layout::Blocks => self.weights[modality].sqrt() / total,
            Layout::Mean => self.weights[modality],
        });
        Some(vector.into_iter().map(f16::from_f32).collect())
    }

    /// The query vector with the given modality weights (parallel to the modalities; retrieval still uses the built
    /// graph); zero blocks where the query has no embedding.
    ///
    /// # Panics
    /// When an embedding does not have its modality's dimension.
    #[must_use]
    pub(super) fn query_vector(&self, embeddings: &[Option<Vec<f32>>], weights: &[f32]) -> Vec<f32> {
        let weight = |modality: usize| weights.get(modality).copied().unwrap_or(0.0);
        let present = |modality: usize| {
            let takes_part = self.weights[modality] > 0.0 && weight(modality) > 0.0;
            embeddings.get(modality).and_then(Option::as_deref).filter(|_| takes_part)
        };
        self.combine(present, |modality| match self.layout {
            Layout::Blocks => weight(modality) / self.weights[modality].sqrt(),
            Layout::Mean => weight(modality),
        })
    }

    /// Whether the inner product with item vectors orders items as the exact score with these weights does (but for
    /// f16's precision): the query has every modality that item vectors have, weighed as they are.
    #[must_use]
    pub(super) fn is_exact_for(&self, embeddings: &[Option<Vec<f32>>], weights: &[f32]) -> bool {
        let sum: f32 = weights.iter().sum();
        let as_built = |modality: usize| {
            let given = weights.get(modality).copied().unwrap_or(0.0) / sum;
            let present = embeddings.get(modality).is_some_and(Option::is_some);
            (given - self.weights[modality]).abs() < 1e-4 && (present || self.weights[modality] == 0.0)
        };
        self.layout == Layout::Blocks && (0..self.weights.len()).all(as_built)
    }

    /// Σ factor·embedding, block by block or all in one; the mean at unit length.
    fn combine<'a, T: Element + 'a>(
        &self,
        present: impl Fn(usize) -> Option<&'a [T]>,
        factor: impl Fn(usize) -> f32,
    ) -> Vec<f32> {
        let mut vector = vec![0.0f32; self.dimension()];
        let mut start = 0;
        for (modality, dimension) in self.dimensions.iter().enumerate() {
            let block = match self.layout {
                Layout::Blocks => start..start + dimension,
                Layout::Mean => 0..*dimension,
            };
            start += dimension;
            let Some(embedding) = present(modality) else { continue };
            assert_eq!(embedding.len(), *dimension, "length of the embedding of modality number {modality}");
            let factor = factor(modality);
            for (slot, value) in vector[block].iter_mut().zip(T::widen(embedding)) {
                *slot += factor * value;
            }
        }
        if self.layout == Layout::Mean {
            let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
            if length > 0.0 {
                vector.iter_mut().for_each(|value| *value /= length);
            }
        }
        vector
    }
}

/// A stored or computed embedding's number.
trait Element: Copy {
    fn widen(values: &[Self]) -> Vec<f32>;
}

impl Element for f16 {
    fn widen(values: &[f16]) -> Vec<f32> {
        values.to_f32_vec()
    }
}

impl Element for f32 {
    fn widen(values: &[f32]) -> Vec<f32> {
        values.to_vec()
    }
}

//! How alike two items are: the weighted mean of the cosines of the modalities that both have, which is the vector score
//! with an item in the query's place. Owns giving an item that place; not what is done with the likeness.

use half::f16;
use schemas::{Modality, Row};

use crate::error::SearchError;
use crate::snapshot::VectorFiles;
use crate::vector::{QueryEmbeddings, VectorScorer};

/// Compares items by their exact embeddings.
#[derive(Clone, Debug)]
pub(crate) struct ItemSimilarity<'a> {
    files: &'a VectorFiles,
    /// Weight per modality of the snapshot.
    weights: Vec<f32>,
    /// Whether one modality alone is compared, by its cosine, whatever the embedding fusion.
    is_single: bool,
}

/// One item, ready to be compared with others.
#[derive(Debug)]
pub(crate) struct ComparedItem<'a> {
    files: &'a VectorFiles,
    embeddings: QueryEmbeddings,
    is_single: bool,
}

impl<'a> ItemSimilarity<'a> {
    /// As the snapshot's embedding fusion compares, by modalities of these weights, in the snapshot's order.
    pub(crate) fn new(files: &'a VectorFiles, weights: Vec<f32>) -> ItemSimilarity<'a> {
        ItemSimilarity { files, weights, is_single: false }
    }

    /// By one modality alone; `None` where the snapshot has none of it.
    pub(crate) fn of_modality(files: &'a VectorFiles, modality: Modality) -> Option<ItemSimilarity<'a>> {
        let is_it = |column: &schemas::modalities::ModalityColumn| column.modality == modality;
        let columns = files.modalities.columns().iter();
        let weights: Vec<f32> = columns.map(|column| if is_it(column) { 1.0 } else { 0.0 }).collect();
        weights.contains(&1.0).then_some(ItemSimilarity { files, weights, is_single: true })
    }

    /// An item to compare others with. O(dimensions).
    pub(crate) fn item(&self, row: Row) -> Result<ComparedItem<'a>, SearchError> {
        let ItemSimilarity { files, weights, is_single } = self;
        let mut embeddings = Vec::with_capacity(weights.len());
        for (column, weight) in weights.iter().enumerate() {
            let stored = if *weight > 0.0 { files.modalities.embedding(column, row)? } else { None };
            embeddings.push(stored.map(|embedding| embedding.iter().copied().map(f16::to_f32).collect()));
        }
        let embeddings = if *is_single {
            QueryEmbeddings { embeddings, weights: weights.clone(), vector: None }
        } else {
            files.embedding_fusion.query_embeddings(&embeddings, weights.clone())?
        };
        Ok(ComparedItem { files, embeddings, is_single: *is_single })
    }
}

impl ComparedItem<'_> {
    /// How alike it and another item are, −1 to 1; `None` where they have no modality in common. O(dimensions).
    pub(crate) fn similarity(&self, other: Row) -> Result<Option<f32>, SearchError> {
        let scorer = if self.is_single {
            VectorScorer { modalities: &self.files.modalities, query: &self.embeddings, learned: None }
        } else {
            self.files.scorer(&self.embeddings)
        };
        scorer.score(other)
    }
}

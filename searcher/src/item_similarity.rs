//! How alike two items are: the weighted mean of the cosines of the modalities that both have, which is the vector score
//! with an item in the query's place. Owns giving an item that place; not what is done with the likeness.

use half::f16;
use schemas::modalities::ModalitiesReader;
use schemas::{Modality, Row};

use crate::error::SearchError;
use crate::vector::{QueryEmbeddings, VectorScorer};

/// Compares items by their exact embeddings.
#[derive(Clone, Debug)]
pub(crate) struct ItemSimilarity<'a> {
    modalities: &'a ModalitiesReader,
    /// Weight per modality of the snapshot.
    weights: Vec<f32>,
}

/// One item, ready to be compared with others.
#[derive(Debug)]
pub(crate) struct ComparedItem<'a> {
    modalities: &'a ModalitiesReader,
    embeddings: QueryEmbeddings,
}

impl<'a> ItemSimilarity<'a> {
    /// By modalities of these weights, in the snapshot's order.
    pub(crate) fn new(modalities: &'a ModalitiesReader, weights: Vec<f32>) -> ItemSimilarity<'a> {
        ItemSimilarity { modalities, weights }
    }

    /// By one modality alone; `None` where the snapshot has none of it.
    pub(crate) fn of_modality(modalities: &'a ModalitiesReader, modality: Modality) -> Option<ItemSimilarity<'a>> {
        let is_it = |column: &schemas::modalities::ModalityColumn| column.modality == modality;
        let weights: Vec<f32> =
            modalities.columns().iter().map(|column| if is_it(column) { 1.0 } else { 0.0 }).collect();
        weights.contains(&1.0).then_some(ItemSimilarity { modalities, weights })
    }

    /// An item to compare others with. O(dimensions).
    pub(crate) fn item(&self, row: Row) -> Result<ComparedItem<'a>, SearchError> {
        let mut embeddings = Vec::with_capacity(self.weights.len());
        for (column, weight) in self.weights.iter().enumerate() {
            let stored = if *weight > 0.0 { self.modalities.embedding(column, row)? } else { None };
            embeddings.push(stored.map(|embedding| embedding.iter().copied().map(f16::to_f32).collect()));
        }
        let embeddings = QueryEmbeddings { embeddings, weights: self.weights.clone() };
        Ok(ComparedItem { modalities: self.modalities, embeddings })
    }
}

impl ComparedItem<'_> {
    /// How alike it and another item are, −1 to 1; `None` where they have no modality in common. O(dimensions).
    pub(crate) fn similarity(&self, other: Row) -> Result<Option<f32>, SearchError> {
        VectorScorer { modalities: self.modalities, query: &self.embeddings }.score(other)
    }
}

//! The exact vector score. Owns the weighted mean of cosines, its explanation, and scans; not which rows are worth
//! looking at. Invariant: a row has one score, whoever asks: retrieval, scan and explanation compute it here.

use std::ops::Range;

use rayon::prelude::*;
use schemas::Row;
use schemas::item_weights::ItemWeightsReader;
use schemas::modalities::{ModalitiesReader, ModalityColumn};

use super::dot::{dot, dots};
use crate::candidate::{Candidate, TopRows};
use crate::embedding_fusion::LearnedEmbeddingFusion;
use crate::error::SearchError;
use crate::row_set::RowSet;

/// Rows of a scan that one task looks at.
const SCAN_ROWS: usize = 4096;

/// A query's side of the vector score: an embedding per encoded modality (where the query has one) and a weight each.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryEmbeddings {
    /// Unit-length embedding per modality of the snapshot, in its order.
    pub embeddings: Vec<Option<Vec<f32>>>,
    /// Weight per modality; need not sum to 1. A modality that does not have a positive weight takes no part.
    pub weights: Vec<f32>,
    /// The query vector of learned embedding fusion, whose `embeddings` are this vector seen from each modality; `None` for
    /// the weighted formulas.
    pub vector: Option<Vec<f32>>,
}

/// Computes exact vector scores.
#[derive(Clone, Copy, Debug)]
pub struct VectorScorer<'a> {
    /// The exact embeddings.
    pub modalities: &'a ModalitiesReader,
    /// The query's side.
    pub query: &'a QueryEmbeddings,
    /// The items' side of learned embedding fusion; `None` for the weighted formulas.
    pub learned: Option<LearnedItems<'a>>,
}

/// The items' side of learned embedding fusion: the score is then Σ weight · (embedding · the query's side).
#[derive(Clone, Copy, Debug)]
pub struct LearnedItems<'a> {
    /// The formula.
    pub fusion: &'a LearnedEmbeddingFusion,
    /// What each modality weighs in each item's vector.
    pub weights: &'a ItemWeightsReader,
}

/// One modality's part of a vector score.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ModalityExplanation {
    /// Modality.
    pub modality: schemas::Modality,
    /// Cosine of query and item; `None` where either side lacks it. With learned embedding fusion that of the query vector
    /// and the projected embedding.
    pub cosine: Option<f32>,
    /// The weight asked for. With learned embedding fusion the length of the modality's share of the item vector.
    pub weight: f32,
    /// The modality's part of the score: weight · cosine, for the weighted formulas over the weights of the cosines that
    /// exist.
    pub score: f32,
}

/// A weighted mean in the making; the one place where cosines become a score.
#[derive(Clone, Copy, Debug, Default)]
struct WeightedMean {
    sum: f32,
    weights: f32,
}

impl WeightedMean {
    fn add(&mut self, weight: f32, cosine: f32) {
        self.sum += weight * cosine;
        self.weights += weight;
    }

    /// A modality's share of an item vector of unit length times its inner product with the query: no mean is left to take.
    fn add_share(&mut self, share: f32, product: f32) {
        if share > 0.0 {
            self.sum += share * product;
            self.weights = 1.0;
        }
    }

    fn value(self) -> Option<f32> {
        (self.weights > 0.0).then(|| self.sum / self.weights)
    }
}

/// The inner product of unit-length embeddings as their cosine: kept from leaving −1..1 by rounding.
fn cosine(product: f32) -> f32 {
    product.clamp(-1.0, 1.0)
}

impl<'a> VectorScorer<'a> {
    /// The weighted mean of the cosines that exist; `None` when there is none.
    ///
    /// # Errors
    /// When the row's embeddings cannot be read, or the query's have another length.
    pub fn score(&self, row: Row) -> Result<Option<f32>, SearchError> {
        let shares = self.shares(row)?;
        let mut mean = WeightedMean::default();
        for side in self.sides() {
            let side = side?;
            if let Some(stored) = self.modalities.embedding(side.column, row)? {
                side.add_to(&mut mean, shares, dot(stored, side.query));
            }
        }
        Ok(mean.value())
    }

    /// The parts of that score.
    ///
    /// # Errors
    /// As [`VectorScorer::score`].
    pub fn explain(&self, row: Row) -> Result<Vec<ModalityExplanation>, SearchError> {
        if let Some(learned) = self.learned {
            return self.explain_learned(learned, row);
        }
        let mut parts = Vec::with_capacity(self.modalities.columns().len());
        let mut weights = 0.0;
        for (number, column) in self.modalities.columns().iter().enumerate() {
            let weight = self.weight(number);
            let stored = self.modalities.embedding(number, row)?;
            let cosine = self.embedding(number)?.zip(stored).map(|(query, stored)| cosine(dot(stored, query)));
            if cosine.is_some() && weight > 0.0 {
                weights += weight;
            }
            parts.push(ModalityExplanation { modality: column.modality, cosine, weight, score: 0.0 });
        }
        for part in parts.iter_mut().filter(|part| part.weight > 0.0) {
            part.score = part.cosine.map_or(0.0, |cosine| part.weight * cosine / weights);
        }
        Ok(parts)
    }

    fn explain_learned(&self, learned: LearnedItems<'_>, row: Row) -> Result<Vec<ModalityExplanation>, SearchError> {
        let shares = learned.weights.row(row)?;
        let mut parts = Vec::with_capacity(shares.len());
        for ((number, column), share) in self.modalities.columns().iter().enumerate().zip(shares) {
            let mut part = ModalityExplanation { modality: column.modality, cosine: None, weight: 0.0, score: 0.0 };
            if let Some((query, stored)) = self.embedding(number)?.zip(self.modalities.embedding(number, row)?) {
                let product = dot(stored, query);
                let length = learned.fusion.projected_length(number, stored);
                part.cosine = Some(if length > 0.0 { (product / length).clamp(-1.0, 1.0) } else { 0.0 });
                (part.weight, part.score) = (share * length, share * product);
            }
            parts.push(part);
        }
        Ok(parts)
    }

    /// What each modality weighs in the row's item vector; `None` for the weighted formulas.
    fn shares(&self, row: Row) -> Result<Option<&'a [f32]>, SearchError> {
        Ok(self.learned.map(|learned| learned.weights.row(row)).transpose()?)
    }

    /// The best `depth` rows of `rows` (of all rows where `None`) by exact score. In parallel on rayon's threads where
    /// there are many.
    ///
    /// # Errors
    /// As [`VectorScorer::score`].
    pub fn scan(&self, rows: Option<&RowSet>, depth: usize) -> Result<Vec<Candidate>, SearchError> {
        let sides = self.sides().collect::<Result<Vec<_>, _>>()?;
        let Some(first) = sides.first() else { return Ok(Vec::new()) };
        let mut parts = Vec::new();
        for batch in 0..self.modalities.batch_count() {
            let slice = self.modalities.slice(first.column, batch)?;
            parts.extend(
                (0..slice.rows).step_by(SCAN_ROWS).map(|place| (batch, place..slice.rows.min(place + SCAN_ROWS))),
            );
        }
        let found = parts.into_par_iter().map(|(batch, places)| self.scan_part(&sides, batch, places, rows, depth));
        Ok(found.try_reduce(|| TopRows::new(depth), |left, right| Ok(left.merge(right)))?.into_candidates())
    }

    /// Scans some places of a record batch: column by column all inner products, then the scores.
    fn scan_part(
        &self,
        sides: &[QuerySide<'a>],
        batch: usize,
        places: Range<usize>,
        rows: Option<&RowSet>,
        depth: usize,
    ) -> Result<TopRows, SearchError> {
        let slices = sides.iter().map(|side| Ok((side, self.modalities.slice(side.column, batch)?)));
        let slices = slices.collect::<Result<Vec<_>, SearchError>>()?;
        let mut top = TopRows::new(depth);
        let Some(first_row) = slices.first().map(|(_, slice)| slice.first_row) else { return Ok(top) };
        // Places of a batch, added to its first row, are row numbers and so fit `Row`.
        let range = first_row + places.start as Row..first_row + places.end as Row;
        let kept: Vec<Row> = match rows {
            None => range.collect(),
            Some(rows) => rows.iter_range(range).collect(),
        };
        let place = |row: &Row| (row - first_row) as usize;
        let products: Vec<Vec<f32>> = (slices.iter())
            .map(|(side, slice)| {
                let mut products = vec![0.0; kept.len()];
                dots(slice.values, slice.dimension, kept.iter().map(place), side.query, &mut products);
                products
            })
            .collect();
        for (number, row) in kept.iter().enumerate() {
            let shares = self.shares(*row)?;
            let mut mean = WeightedMean::default();
            for ((side, slice), products) in slices.iter().zip(&products) {
                if slice.is_present(place(row)) {
                    side.add_to(&mut mean, shares, products[number]);
                }
            }
            if let Some(score) = mean.value() {
                top.offer(*row, score);
            }
        }
        Ok(top)
    }

    /// The modalities that take part: where the query has an embedding and a positive weight.
    fn sides(&self) -> impl Iterator<Item = Result<QuerySide<'a>, SearchError>> + use<'a> {
        let scorer = *self;
        (0..scorer.modalities.columns().len()).filter(move |column| scorer.weight(*column) > 0.0).filter_map(
            move |column| {
                let side = |query| QuerySide { column, weight: scorer.weight(column), query };
                scorer.embedding(column).map(|query| query.map(side)).transpose()
            },
        )
    }

    /// The query's embedding in a column.
    fn embedding(&self, column: usize) -> Result<Option<&'a [f32]>, SearchError> {
        let Some(query) = self.query.embeddings.get(column).and_then(Option::as_deref) else { return Ok(None) };
        let ModalityColumn { modality, dimension } = self.modalities.columns()[column];
        if query.len() != dimension {
            let reason = format!("the query's {modality} embedding has {} values, items have {dimension}", query.len());
            return Err(SearchError::Query { reason });
        }
        Ok(Some(query))
    }

    fn weight(&self, column: usize) -> f32 {
        self.query.weights.get(column).copied().unwrap_or(0.0)
    }
}

/// One modality of the query.
#[derive(Clone, Copy, Debug)]
struct QuerySide<'a> {
    column: usize,
    weight: f32,
    query: &'a [f32],
}

impl QuerySide<'_> {
    /// Adds the inner product with the modality of an item that has it to its score.
    fn add_to(&self, mean: &mut WeightedMean, shares: Option<&[f32]>, product: f32) {
        match shares {
            None => mean.add(self.weight, cosine(product)),
            Some(shares) => mean.add_share(shares[self.column], product),
        }
    }
}

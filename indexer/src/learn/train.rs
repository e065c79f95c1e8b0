//! The training. Owns batches, loss and optimiser; not the model. Invariant: the same data and settings give the same model,
//! whatever the number of threads.
//!
//! A batch has some queries and, as candidates for all of them, their relevant items, hard negatives (items that the
//! untrained ranking shows and nobody judged relevant) and random items. The loss is the cross-entropy between the softmax of
//! a query's cosines over the candidates, divided by the temperature, and its grades over their sum: ListNet (Cao, Qin, Liu, Tsai,
//! Li 2007) with the in-batch negatives of contrastive training (InfoNCE; van den Oord, Li, Vinyals 2018). An item that is
//! relevant to several queries of a batch is no negative for any of them.

use std::collections::BTreeSet;

use candle_core::{D, Device, Tensor};
use candle_nn::optim::{AdamW, Optimizer, ParamsAdamW};
use half::slice::HalfFloatSliceExt;
use schemas::Row;
use schemas::learned_fusion::LearnedFusion;
use searcher::random::SeededRandom;

use super::LearnSettings;
use super::data::{TrainingData, TrainingQuery};
use super::model::{Embeddings, Side, TrainedModel};
use crate::error::IndexError;

/// Queries of a batch.
const BATCH_QUERIES: usize = 32;
/// Relevant items of each query in a batch, at most.
const BATCH_RELEVANT: usize = 32;
/// Hard negatives of each query in a batch, at most.
const BATCH_HARD: usize = 16;
/// Random items of a batch.
const BATCH_RANDOM: usize = 256;

/// Trains a model on the queries of those numbers; also the mean loss of the last epoch.
pub(super) fn train(
    data: &TrainingData,
    queries: &[usize],
    settings: &LearnSettings,
) -> Result<(LearnedFusion, f64), IndexError> {
    let dimensions: Vec<usize> = data.modalities.iter().map(|one| one.encoder.dimension).collect();
    let model = TrainedModel::new(&data.modalities)?;
    let parameters =
        ParamsAdamW { lr: settings.learning_rate, weight_decay: settings.weight_decay, ..ParamsAdamW::default() };
    let mut optimizer = AdamW::new(model.variables(), parameters)?;
    let mut random = SeededRandom::new(settings.seed);
    let mut loss = 0.0;
    for _ in 0..settings.epochs {
        let mut order = queries.to_vec();
        random.shuffle(&mut order);
        let mut losses = 0.0;
        for batch in order.chunks(BATCH_QUERIES) {
            let batch: Vec<&TrainingQuery> = batch.iter().map(|number| &data.queries[*number]).collect();
            let candidates = candidates(&batch, data.row_count(), &mut random);
            let queries: Vec<_> = batch.iter().map(|query| query.embeddings.clone()).collect();
            let items = candidates.iter().map(|row| item(data, *row)).collect::<Result<Vec<_>, _>>()?;
            let queries = model.forward(&Embeddings::new(&queries, &dimensions)?, Side::Query)?;
            let items = model.forward(&Embeddings::new(&items, &dimensions)?, Side::Item)?;
            let logits = (queries.matmul(&items.t()?)? / settings.temperature)?;
            let shares = (&targets(&batch, &candidates)? * candle_nn::ops::log_softmax(&logits, D::Minus1)?)?;
            let batch_loss = (shares.sum_all()?.neg()? / batch.len() as f64)?;
            optimizer.backward_step(&batch_loss)?;
            losses += f64::from(batch_loss.to_scalar::<f32>()?) * batch.len() as f64;
        }
        loss = losses / queries.len().max(1) as f64;
    }
    tracing::info!(queries = queries.len(), epochs = settings.epochs, loss, "trained");
    Ok((model.export()?, loss))
}

/// An item's embeddings, widened.
fn item(data: &TrainingData, row: Row) -> Result<Vec<Option<Vec<f32>>>, IndexError> {
    Ok(data.item(row)?.into_iter().map(|embedding| embedding.map(|values| values.to_f32_vec())).collect())
}

/// The items of a batch, in ascending order.
fn candidates(batch: &[&TrainingQuery], rows: Row, random: &mut SeededRandom) -> Vec<Row> {
    let mut candidates = BTreeSet::new();
    for query in batch {
        let relevant: Vec<Row> = query.relevant.keys().copied().collect();
        candidates.extend(random.some(&relevant, BATCH_RELEVANT));
        candidates.extend(random.some(&query.hard, BATCH_HARD));
    }
    // Rows fit a `usize`, and what is below them a `Row`.
    candidates.extend((0..BATCH_RANDOM).map(|_| random.below(rows as usize) as Row));
    candidates.into_iter().collect()
}

/// Each query's grades over the candidates, divided by their sum.
fn targets(batch: &[&TrainingQuery], candidates: &[Row]) -> candle_core::Result<Tensor> {
    let mut targets = Vec::with_capacity(batch.len() * candidates.len());
    for query in batch {
        let grade = |row: &Row| query.relevant.get(row).map_or(0.0, |grade| *grade as f32);
        // At least one relevant item of each query is a candidate.
        let sum: f32 = candidates.iter().map(grade).sum();
        targets.extend(candidates.iter().map(|row| grade(row) / sum));
    }
    Tensor::from_vec(targets, (batch.len(), candidates.len()), &Device::Cpu)
}

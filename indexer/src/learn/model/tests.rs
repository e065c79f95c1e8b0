//! The model in training and the model that is served compute the same.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use half::f16;
use schemas::{Architecture, Dtype, EncoderSpec, Modality, Pooling};
use searcher::embedding_fusion::{EmbeddingFusion, LearnedEmbeddingFusion};

use super::*;
use searcher::random::SeededRandom;

/// Title and description share a space.
const ENCODERS: [(Modality, &str, usize, f32); 3] =
    [(Modality::Title, "a", 6, 0.5), (Modality::Description, "a", 6, 0.2), (Modality::Image, "b", 4, 0.3)];
const DIMENSIONS: [usize; 3] = [6, 6, 4];

fn manifests() -> Vec<ModalityManifest> {
    let manifest = |(modality, space, dimension, weight): (Modality, &str, usize, f32)| {
        let encoder = EncoderSpec {
            name: "test".to_owned(),
            architecture: Architecture::Bert,
            checkpoint: space.to_owned(),
            weights: String::new(),
            preprocessing: String::new(),
            pooling: Pooling::Mean,
            dimension,
            dtype: Dtype::F32,
        };
        ModalityManifest { modality, encoder, weight, present: 0 }
    };
    ENCODERS.into_iter().map(manifest).collect()
}

fn number(random: &mut SeededRandom) -> f32 {
    random.below(2_001) as f32 / 1_000.0 - 1.0
}

/// Rows of unit-length embeddings that `f16` holds exactly enough, with every combination of absent modalities but none.
fn rows() -> Vec<Vec<Option<Vec<f32>>>> {
    let mut random = SeededRandom::new(11);
    let mut row = |present: usize| {
        let one = |modality: usize| {
            let values: Vec<f32> = (0..DIMENSIONS[modality]).map(|_| number(&mut random)).collect();
            let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
            let unit = values.iter().map(|value| f16::from_f32(value / length).to_f32()).collect();
            (present & (1 << modality) != 0).then_some(unit)
        };
        [0, 1, 2].map(one).to_vec()
    };
    (1..8).chain(1..8).map(&mut row).collect()
}

/// A model whose variables are not zero.
fn moved() -> TrainedModel {
    let model = TrainedModel::new(&manifests()).unwrap();
    let mut random = SeededRandom::new(5);
    for variable in model.variables() {
        let values: Vec<f32> = (0..variable.elem_count()).map(|_| number(&mut random) / 2.0).collect();
        variable.set(&Tensor::from_vec(values, variable.shape(), &Device::Cpu).unwrap()).unwrap();
    }
    model
}

fn served(model: &TrainedModel) -> LearnedEmbeddingFusion {
    LearnedEmbeddingFusion::new(model.export().unwrap(), &manifests()).unwrap()
}

fn stored(row: &[Option<Vec<f32>>]) -> Vec<Option<Vec<f16>>> {
    let halves = |values: &Vec<f32>| values.iter().copied().map(f16::from_f32).collect();
    row.iter().map(|values| values.as_ref().map(halves)).collect()
}

#[test]
fn training_and_serving_compute_the_same_vectors() {
    let (model, rows) = (moved(), rows());
    let served = served(&model);
    let embeddings = Embeddings::new(&rows, &DIMENSIONS).unwrap();
    let [items, queries] =
        [Side::Item, Side::Query].map(|side| model.forward(&embeddings, side).unwrap().to_vec2::<f32>().unwrap());
    assert_ne!(items, queries, "the gates of both sides differ");
    for ((row, item), query) in rows.iter().zip(items).zip(queries) {
        let stored = stored(row);
        let stored: Vec<Option<&[f16]>> = stored.iter().map(Option::as_deref).collect();
        let pairs = [(served.item(&stored).unwrap().vector, item), (served.query_vector(row).unwrap(), query)];
        for (served, trained) in pairs {
            for (served, trained) in served.iter().zip(&trained) {
                assert!((served - trained).abs() < 1e-5, "{served} is not {trained}");
            }
        }
    }
}

#[test]
fn the_untrained_model_is_weighted_blocks_at_unit_length() {
    let served = served(&TrainedModel::new(&manifests()).unwrap());
    assert_eq!(served.dimension(), 10, "one block per space");
    let blocks = EmbeddingFusion::new(Default::default(), &manifests()).unwrap();
    let weights: Vec<f32> = ENCODERS.map(|(.., weight)| weight).to_vec();
    // Texts look alike in both text modalities of one space, as they do for a real query.
    let mut query = rows()[6].clone();
    query[1] = query[0].clone();
    let side = served.query_vector(&query).unwrap();
    let block_side = blocks.query_vector(&query, &weights);
    let inner = |left: &[f32], right: &[f32]| left.iter().zip(right).map(|(left, right)| left * right).sum::<f32>();
    let mut ratios = Vec::new();
    for row in rows().iter().filter(|row| row.iter().all(Option::is_some)) {
        let stored = stored(row);
        let stored: Vec<Option<&[f16]>> = stored.iter().map(Option::as_deref).collect();
        let item = served.item(&stored).unwrap();
        let length = item.weights[2] / (0.3 / 0.3f32.sqrt());
        let block: Vec<f32> = blocks.item_vector(&stored).unwrap().iter().map(|value| value.to_f32()).collect();
        ratios.push(inner(&item.vector, &side) / length / inner(&block, &block_side));
    }
    // The same score but for the item's length and a constant of the query.
    assert!(ratios.windows(2).all(|pair| (pair[0] / pair[1] - 1.0).abs() < 0.01), "{ratios:?}");
}

#[test]
fn every_variable_has_a_gradient() {
    let (model, rows) = (moved(), rows());
    let embeddings = Embeddings::new(&rows, &DIMENSIONS).unwrap();
    let [items, queries] = [Side::Item, Side::Query].map(|side| model.forward(&embeddings, side).unwrap());
    let loss = |items: &Tensor, queries: &Tensor| {
        queries.matmul(&items.t().unwrap()).unwrap().sqr().unwrap().sum_all().unwrap()
    };
    let gradients = loss(&items, &queries).backward().unwrap();
    for (number, variable) in model.variables().iter().enumerate() {
        let gradient = gradients.get(variable).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(gradient.iter().any(|value| *value != 0.0), "variable {number} has no gradient");
        // By differences, for the first value.
        let value = variable.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let at = |step: f32| {
            let mut moved = value.clone();
            moved[0] += step;
            variable.set(&Tensor::from_vec(moved, variable.shape(), &Device::Cpu).unwrap()).unwrap();
            let [items, queries] = [Side::Item, Side::Query].map(|side| model.forward(&embeddings, side).unwrap());
            loss(&items, &queries).to_scalar::<f32>().unwrap()
        };
        let difference = (at(0.01) - at(-0.01)) / 0.02;
        at(0.0);
        assert!(
            (difference - gradient[0]).abs() < 0.02 + 0.05 * gradient[0].abs(),
            "{number}: {difference}, {}",
            gradient[0]
        );
    }
}

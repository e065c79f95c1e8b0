//! The weighted formulas' invariants over generated embeddings.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use proptest::prelude::*;
use schemas::manifest::ModalityManifest;
use schemas::{Architecture, Dtype, EncoderSpec, Modality, Pooling};

use super::*;

fn modality(modality: Modality, space: &str, dimension: usize, weight: f32) -> ModalityManifest {
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
}

fn modalities(dimensions: [usize; 3], weights: [f32; 3], space: &str) -> Vec<ModalityManifest> {
    let all = Modality::ALL.into_iter().zip(dimensions).zip(weights);
    all.map(|((name, dimension), weight)| modality(name, space, dimension, weight)).collect()
}

fn unit(values: &[f32]) -> Vec<f32> {
    let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    values.iter().map(|value| value / length).collect()
}

fn halves(values: &[f32]) -> Vec<f16> {
    values.iter().copied().map(f16::from_f32).collect()
}

fn inner(left: &[f16], right: &[f32]) -> f32 {
    left.iter().zip(right).map(|(left, right)| left.to_f32() * right).sum()
}

/// An embedding that may be absent.
fn embedding(dimension: usize) -> impl Strategy<Value = Option<Vec<f32>>> {
    let values = prop::collection::vec(-1.0f32..1.0, dimension)
        .prop_filter("not zero", |values| values.iter().map(|value| value * value).sum::<f32>() > 0.01);
    prop::option::weighted(0.7, values.prop_map(|values| unit(&values)))
}

#[test]
fn an_item_without_embeddings_has_no_vector() {
    for kind in [EmbeddingFusionKind::WeightedBlocks, EmbeddingFusionKind::WeightedMean] {
        let fusion = EmbeddingFusion::new(kind, &modalities([4; 3], [0.5, 0.3, 0.2], "a")).unwrap();
        assert_eq!(fusion.item_vector(&[None, None, None]), None);
    }
}

#[test]
fn dimensions_are_those_of_the_formula() {
    let [blocks, mean] = [EmbeddingFusionKind::WeightedBlocks, EmbeddingFusionKind::WeightedMean]
        .map(|kind| EmbeddingFusion::new(kind, &modalities([4; 3], [0.5, 0.3, 0.2], "a")).unwrap().dimension());
    assert_eq!((blocks, mean), (12, 4));
}

#[test]
fn a_mean_over_two_spaces_is_refused() {
    let mixed = [modality(Modality::Title, "minilm", 4, 0.5), modality(Modality::Image, "clip", 4, 0.5)];
    let reason = EmbeddingFusion::new(EmbeddingFusionKind::WeightedMean, &mixed).unwrap_err();
    assert!(reason.contains("`title` is in `minilm`") && reason.contains("`image` in `clip`"), "{reason}");
    assert!(EmbeddingFusion::new(EmbeddingFusionKind::WeightedBlocks, &mixed).is_ok());
}

#[test]
fn senseless_weights_are_refused() {
    for weights in [[0.0; 3], [-0.1, 0.5, 0.6], [f32::NAN, 0.5, 0.5]] {
        assert!(EmbeddingFusion::new(EmbeddingFusionKind::default(), &modalities([4; 3], weights, "a")).is_err());
    }
    assert!(EmbeddingFusion::new(EmbeddingFusionKind::default(), &[]).is_err());
}

#[test]
fn exactness_is_told() {
    let fusion =
        EmbeddingFusion::new(EmbeddingFusionKind::default(), &modalities([2; 3], [0.5, 0.5, 0.0], "a")).unwrap();
    let (some, none) = (Some(vec![1.0, 0.0]), None);
    assert!(fusion.is_exact_for(&[some.clone(), some.clone(), none.clone()], &[2.0, 2.0, 0.0]));
    assert!(!fusion.is_exact_for(&[some.clone(), some.clone(), none.clone()], &[1.0, 2.0, 0.0]));
    assert!(!fusion.is_exact_for(&[some, none.clone(), none], &[0.5, 0.5, 0.0]));
}

proptest! {
    #[test]
    fn blocks_give_the_weighted_mean_of_the_cosines_that_exist(
        item in (embedding(6), embedding(5), embedding(4)),
        query in (embedding(6), embedding(5), embedding(4)),
        weights in prop::array::uniform3(0.05f32..1.0),
        asked in prop::array::uniform3(0.05f32..1.0),
    ) {
        let fusion = EmbeddingFusion::new(EmbeddingFusionKind::WeightedBlocks, &modalities([6, 5, 4], weights, "a")).unwrap();
        let item = [item.0, item.1, item.2];
        let query = [query.0, query.1, query.2];
        let stored: Vec<Option<Vec<f16>>> = item.iter().map(|values| values.as_deref().map(halves)).collect();
        let stored: Vec<Option<&[f16]>> = stored.iter().map(Option::as_deref).collect();
        let Some(vector) = fusion.item_vector(&stored) else {
            prop_assert!(item.iter().all(Option::is_none));
            return Ok(());
        };
        prop_assert_eq!(vector.len(), fusion.dimension());
        let total: f32 = weights.iter().sum();
        for asked in [weights, asked] {
            let got = inner(&vector, &fusion.query_vector(&query, &asked));
            let mut expected = 0.0;
            let mut present = 0.0;
            for modality in 0..3 {
                if let Some(stored) = stored[modality] {
                    present += weights[modality] / total;
                    if let Some(query) = &query[modality] {
                        expected += asked[modality] * inner(stored, query);
                    }
                }
            }
            prop_assert!((got - expected / present).abs() < 0.01, "{got} is not {expected} / {present}");
        }
    }

    #[test]
    fn a_mean_has_unit_length_and_lies_between(
        item in (embedding(6), embedding(6), embedding(6)), weights in prop::array::uniform3(0.05f32..1.0),
    ) {
        let fusion = EmbeddingFusion::new(EmbeddingFusionKind::WeightedMean, &modalities([6; 3], weights, "a")).unwrap();
        let item = [item.0, item.1, item.2];
        let stored: Vec<Option<Vec<f16>>> = item.iter().map(|values| values.as_deref().map(halves)).collect();
        let stored: Vec<Option<&[f16]>> = stored.iter().map(Option::as_deref).collect();
        let query = fusion.query_vector(&item, &weights);
        if let Some(vector) = fusion.item_vector(&stored) {
            prop_assert!((inner(&vector, &query) - 1.0).abs() < 0.02, "an item is nearest to itself");
            let only: Vec<_> = item.iter().flatten().collect();
            if let [only] = only.as_slice() {
                prop_assert!((inner(&vector, only) - 1.0).abs() < 0.01, "one embedding is its own mean");
            }
        }
    }
}

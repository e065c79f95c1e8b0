//! The learned formula's invariants over generated models and embeddings.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use proptest::prelude::*;
use schemas::item_weights::{ItemWeightsReader, ItemWeightsWriter};
use schemas::learned_fusion::TrainingSummary;
use schemas::modalities::{ModalitiesReader, ModalitiesWriter, ModalityColumn};
use schemas::{Architecture, Dtype, EncoderSpec, MappedFile, Modality, Pooling};

use super::*;
use crate::embedding_fusion::EmbeddingFusion;
use crate::vector::{LearnedItems, VectorScorer};

const DIMENSION: usize = 7;
const ENCODER_DIMENSIONS: [usize; 3] = [5, 5, 4];

fn manifests() -> Vec<ModalityManifest> {
    let manifest = |(modality, dimension): (Modality, usize)| {
        let encoder = EncoderSpec {
            name: "test".to_owned(),
            architecture: Architecture::Bert,
            checkpoint: dimension.to_string(),
            weights: String::new(),
            preprocessing: String::new(),
            pooling: Pooling::Mean,
            dimension,
            dtype: Dtype::F32,
        };
        ModalityManifest { modality, encoder, weight: 1.0 / 3.0, present: 0 }
    };
    Modality::ALL.into_iter().zip(ENCODER_DIMENSIONS).map(manifest).collect()
}

fn values(count: usize) -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(-1.0f32..1.0, count)
}

fn gate() -> impl Strategy<Value = Gate> {
    (-1.0f32..1.0, values(DIMENSION)).prop_map(|(bias, direction)| Gate { bias, direction })
}

fn model() -> impl Strategy<Value = LearnedFusion> {
    let modality = |number: usize| {
        let dimension = ENCODER_DIMENSIONS[number];
        (values(DIMENSION * dimension), gate(), gate()).prop_map(move |(projection, item_gate, query_gate)| {
            LearnedModality {
                modality: Modality::ALL[number],
                encoder: manifests()[number].encoder.fingerprint(),
                encoder_dimension: dimension,
                projection,
                item_gate,
                query_gate,
            }
        })
    };
    (modality(0), modality(1), modality(2)).prop_map(|(title, description, image)| LearnedFusion {
        dimension: DIMENSION,
        modalities: vec![title, description, image],
        training: TrainingSummary::default(),
    })
}

/// Embeddings of which each may be absent.
fn embeddings() -> impl Strategy<Value = Vec<Option<Vec<f32>>>> {
    let one = |number: usize| {
        let unit = values(ENCODER_DIMENSIONS[number]).prop_filter_map("not zero", |values| {
            let length = length(&values);
            (length > 0.1).then(|| values.into_iter().map(|value| value / length).collect::<Vec<f32>>())
        });
        prop::option::weighted(0.7, unit)
    };
    (one(0), one(1), one(2)).prop_map(|(title, description, image)| vec![title, description, image])
}

/// Projections of unit matrices: everything stays where it is.
fn plain(model: &mut LearnedFusion) {
    for one in &mut model.modalities {
        let width = one.encoder_dimension;
        one.projection = (0..DIMENSION * width).map(|place| f32::from(place / width == place % width)).collect();
        one.item_gate = Gate { bias: 0.0, direction: vec![0.0; DIMENSION] };
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_exact_score_is_the_inner_product_and_its_parts_add_up(
        model in model(), items in prop::collection::vec(embeddings(), 1..4), query in embeddings(),
    ) {
        let fusion = EmbeddingFusion::with_model(model, &manifests()).unwrap();
        let learned = fusion.learned().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let [exact, weights] = ["exact", "weights"].map(|name| folder.path().join(name));
        let columns: Vec<ModalityColumn> = Modality::ALL.into_iter().zip(ENCODER_DIMENSIONS)
            .map(|(modality, dimension)| ModalityColumn { modality, dimension }).collect();
        let mut exact_writer = ModalitiesWriter::create(&exact, &columns).unwrap();
        let mut weights_writer = ItemWeightsWriter::create(&weights, 3).unwrap();
        let mut fused = Vec::new();
        for item in &items {
            let halves: Vec<Option<Vec<f16>>> = item.iter()
                .map(|values| values.as_ref().map(|values| values.iter().copied().map(f16::from_f32).collect())).collect();
            let halves: Vec<Option<&[f16]>> = halves.iter().map(Option::as_deref).collect();
            let item = learned.item(&halves);
            exact_writer.write(&halves).unwrap();
            weights_writer.write(item.as_ref().map_or(&[0.0; 3], |item| &item.weights)).unwrap();
            fused.push(item);
        }
        exact_writer.finish().unwrap();
        weights_writer.finish().unwrap();
        let modalities = ModalitiesReader::open(MappedFile::open(&exact).unwrap(), &columns).unwrap();
        let weights = ItemWeightsReader::open(MappedFile::open(&weights).unwrap(), 3).unwrap();
        let query_side = fusion.query_embeddings(&query, vec![1.0; 3]).unwrap();
        let items = Some(LearnedItems { fusion: learned, weights: &weights });
        let scorer = VectorScorer { modalities: &modalities, query: &query_side, learned: items };
        let found = scorer.scan(None, 10).unwrap();
        for (row, item) in (0..).zip(&fused) {
            let expected = item.as_ref().zip(query_side.vector.as_ref())
                .map(|(item, query)| inner(&item.vector, query));
            let score = scorer.score(row).unwrap();
            prop_assert_eq!(score.is_some(), expected.is_some());
            let (Some(score), Some(expected)) = (score, expected) else { continue };
            prop_assert!((score - expected).abs() < 1e-5, "{} is not {}", score, expected);
            prop_assert!(score.abs() <= 1.0 + 1e-5, "{} is no cosine", score);
            prop_assert!(found.iter().any(|hit| hit.row == row && hit.score == score));
            let parts = scorer.explain(row).unwrap();
            let sum: f32 = parts.iter().map(|part| part.score).sum();
            prop_assert!((sum - score).abs() < 1e-5, "the parts {:?} do not add up to {}", parts, score);
            for part in &parts {
                prop_assert!((part.score - part.weight * part.cosine.unwrap_or(0.0)).abs() < 1e-4, "{:?}", part);
            }
        }
    }

    #[test]
    fn vectors_have_unit_length_and_absent_modalities_no_weight(model in model(), item in embeddings()) {
        let learned = LearnedEmbeddingFusion::new(model, &manifests()).unwrap();
        let halves: Vec<Option<Vec<f16>>> = item.iter()
            .map(|values| values.as_ref().map(|values| values.iter().copied().map(f16::from_f32).collect())).collect();
        let halves: Vec<Option<&[f16]>> = halves.iter().map(Option::as_deref).collect();
        let Some(fused) = learned.item(&halves) else { return Ok(()) };
        prop_assert!((length(&fused.vector) - 1.0).abs() < 1e-5);
        for (weight, embedding) in fused.weights.iter().zip(&item) {
            prop_assert_eq!(*weight > 0.0, embedding.is_some());
        }
    }

    #[test]
    fn the_untrained_gates_leave_the_mean(model in model(), item in embeddings()) {
        let mut model = model;
        plain(&mut model);
        let learned = LearnedEmbeddingFusion::new(model, &manifests()).unwrap();
        let mut sum = [0.0f32; DIMENSION];
        for embedding in item.iter().flatten() {
            sum.iter_mut().zip(embedding).for_each(|(sum, value)| *sum += value);
        }
        if length(&sum) > 0.1 {
            let (vector, _) = learned.fuse(&item, |modality| &modality.item_gate).unwrap();
            prop_assert!((inner(&vector, &sum) - length(&sum)).abs() < 1e-4);
        }
    }
}

fn some_model() -> LearnedFusion {
    let gate = || Gate { bias: 0.0, direction: vec![0.0; DIMENSION] };
    let modality = |manifest: &ModalityManifest| LearnedModality {
        modality: manifest.modality,
        encoder: manifest.encoder.fingerprint(),
        encoder_dimension: manifest.encoder.dimension,
        projection: vec![0.5; DIMENSION * manifest.encoder.dimension],
        item_gate: gate(),
        query_gate: gate(),
    };
    LearnedFusion {
        dimension: DIMENSION,
        modalities: manifests().iter().map(modality).collect(),
        training: TrainingSummary::default(),
    }
}

#[test]
fn models_of_other_encoders_are_refused() {
    let mut encoders = manifests();
    assert!(LearnedEmbeddingFusion::new(some_model(), &encoders).is_ok());
    encoders[1].encoder.checkpoint = "another".to_owned();
    let reason = LearnedEmbeddingFusion::new(some_model(), &encoders).unwrap_err();
    assert!(reason.contains("description embeddings of encoder") && reason.contains("`indexer learn`"), "{reason}");
    let reason = LearnedEmbeddingFusion::new(some_model(), &encoders[..1]).unwrap_err();
    assert!(reason.contains("trained for title, description, image, encoded are title;"), "{reason}");
}

#[test]
fn nothing_to_fuse_has_no_vector() {
    let learned = LearnedEmbeddingFusion::new(some_model(), &manifests()).unwrap();
    assert_eq!(learned.item(&[None, None, None]), None);
    let query = learned.query_embeddings(&[None, None, None]).unwrap();
    assert_eq!((query.vector, query.embeddings), (None, vec![None, None, None]));
    // Its projections are zero: every row of the matrix is the same, and its values cancel each other out.
    let cancels = vec![Some(vec![1.0, -1.0, 0.0, 0.0, 0.0]), None, None];
    assert_eq!(learned.query_vector(&cancels), None);
}

#[test]
fn embeddings_of_another_snapshot_are_an_error() {
    let learned = LearnedEmbeddingFusion::new(some_model(), &manifests()).unwrap();
    let reason = learned.query_embeddings(&[None, Some(vec![1.0]), None]).unwrap_err();
    assert_eq!(reason, "the query's description embedding has 1 values, items have 5");
}

#[test]
fn large_logits_do_not_overflow() {
    let mut model = some_model();
    model.modalities[0].item_gate.bias = 1e4;
    let learned = LearnedEmbeddingFusion::new(model, &manifests()).unwrap();
    let (title, image) = ([f16::ONE; 5], [f16::ONE; 4]);
    let fused = learned.item(&[Some(&title), None, Some(&image)]).unwrap();
    assert!(fused.weights[0] > 0.0 && fused.weights[2] == 0.0);
}

//! The two files of learned embedding fusion. Invariant: damaged bytes give an error or other finite numbers; a model that
//! is read makes unit vectors or none.

use std::path::Path;
use std::sync::OnceLock;

use half::f16;
use schemas::item_weights::{ITEM_WEIGHTS_FILE, ItemWeightsReader, ItemWeightsWriter};
use schemas::learned_fusion::{Gate, LEARNED_FUSION_FILE, LearnedFusion, LearnedModality, TrainingSummary};
use schemas::manifest::{MANIFEST_FILE, ModalityManifest};
use schemas::{Manifest, MappedFile, Row};
use searcher::embedding_fusion::LearnedEmbeddingFusion;

/// Length of the common space.
const DIMENSION: usize = 3;
/// Rows of the seed.
const WEIGHT_ROWS: Row = 20;
/// Rows that are looked at: a damaged count may promise four billion.
const READ_ROWS: u64 = 1000;
/// Furthest that a unit vector's length may be from 1.
const LENGTH_TOLERANCE: f32 = 1e-3;

fn modalities() -> &'static [ModalityManifest] {
    static MODALITIES: OnceLock<Vec<ModalityManifest>> = OnceLock::new();
    MODALITIES.get_or_init(|| {
        let bytes = crate::files::example_file(MANIFEST_FILE);
        Manifest::from_bytes(Path::new(MANIFEST_FILE), &bytes).unwrap().modalities
    })
}

/// What is read is written and read back equal; items and queries get unit vectors with finite weights, or none.
pub(crate) fn fusion(data: &[u8]) {
    let path = Path::new(LEARNED_FUSION_FILE);
    let model = match LearnedFusion::from_bytes(path, data) {
        Ok(model) => model,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert_eq!(LearnedFusion::from_bytes(path, &model.to_bytes().unwrap()).unwrap(), model);
    let Ok(learned) = LearnedEmbeddingFusion::new(model, modalities()) else { return };
    let is_unit = |vector: &[f32]| {
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        vector.len() == learned.dimension() && (length - 1.0).abs() < LENGTH_TOLERANCE
    };
    for absent in 0..=modalities().len() {
        let halves: Vec<Option<Vec<f16>>> = (modalities().iter().enumerate())
            .map(|(number, one)| (number != absent).then(|| unit(one.encoder.dimension, number)))
            .collect();
        let halves: Vec<Option<&[f16]>> = halves.iter().map(Option::as_deref).collect();
        if let Some(item) = learned.item(&halves) {
            assert!(is_unit(&item.vector), "{item:?}");
            assert!(item.weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0), "{item:?}");
        }
        let embedding = |half: &Option<&[f16]>| half.map(|values| values.iter().map(|value| value.to_f32()).collect());
        let query: Vec<Option<Vec<f32>>> = halves.iter().map(embedding).collect();
        if let Some(vector) = learned.query_vector(&query) {
            assert!(is_unit(&vector), "{vector:?}");
        }
    }
}

/// An embedding along one axis.
fn unit(dimension: usize, axis: usize) -> Vec<f16> {
    (0..dimension).map(|place| if place == axis % dimension { f16::ONE } else { f16::ZERO }).collect()
}

pub(crate) fn fusion_seeds() -> Vec<Vec<u8>> {
    let value = |place: usize| (place * 7 % 11) as f32 / 11.0 - 0.4;
    let gate = |bias| Gate { bias, direction: (0..DIMENSION).map(value).collect() };
    let modality = |one: &ModalityManifest| LearnedModality {
        modality: one.modality,
        encoder: one.encoder.fingerprint(),
        encoder_dimension: one.encoder.dimension,
        projection: (0..DIMENSION * one.encoder.dimension).map(value).collect(),
        item_gate: gate(0.5),
        query_gate: gate(-0.25),
    };
    let model = LearnedFusion {
        dimension: DIMENSION,
        modalities: modalities().iter().map(modality).collect(),
        training: TrainingSummary::default(),
    };
    let mut large = model.clone();
    large.modalities[0].projection.fill(f32::MAX);
    vec![model.to_bytes().unwrap(), large.to_bytes().unwrap()]
}

/// Every row has a finite weight for each modality, or is an error.
pub(crate) fn item_weights(data: &[u8]) {
    let map = MappedFile::from_bytes(Path::new(ITEM_WEIGHTS_FILE), data.to_vec());
    let Ok(reader) = ItemWeightsReader::open(map, modalities().len()) else { return };
    for row in 0..reader.row_count().min(READ_ROWS) as Row {
        if let Ok(weights) = reader.row(row) {
            assert!(weights.len() == modalities().len() && weights.iter().all(|weight| weight.is_finite()));
        }
    }
    assert!(reader.row(Row::MAX).is_err() || reader.row_count() > u64::from(Row::MAX));
}

pub(crate) fn item_weights_seeds() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    let mut writer = ItemWeightsWriter::create(&path, modalities().len()).unwrap();
    for row in 0..WEIGHT_ROWS {
        writer.write(&vec![row as f32 / 8.0; modalities().len()]).unwrap();
    }
    writer.finish().unwrap();
    vec![fs_err::read(path).unwrap()]
}

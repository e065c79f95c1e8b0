//! A model is read back equal, and damage is an error.

use proptest::prelude::*;

use super::*;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn model() -> LearnedFusion {
    let values = |count: usize, from: f32| (0..count).map(|value| from + value as f32 / 8.0).collect::<Vec<f32>>();
    let modality = |modality, encoder_dimension| LearnedModality {
        modality,
        encoder: "0123456789abcdef".to_owned(),
        encoder_dimension,
        projection: values(3 * encoder_dimension, -1.0),
        item_gate: Gate { bias: -0.5, direction: values(3, 0.0) },
        query_gate: Gate { bias: 0.5, direction: values(3, 1.0) },
    };
    LearnedFusion {
        dimension: 3,
        modalities: vec![modality(Modality::Title, 2), modality(Modality::Image, 4)],
        training: TrainingSummary { seed: 7, epochs: 3, loss: 0.25, ..TrainingSummary::default() },
    }
}

fn parse(bytes: &[u8]) -> Result<LearnedFusion, SchemaError> {
    LearnedFusion::from_bytes(Path::new("fusion.safetensors"), bytes)
}

fn refusal(model: &LearnedFusion) -> String {
    let read = model.to_bytes().map(|bytes| parse(&bytes));
    match read {
        Ok(Err(error)) => error.to_string(),
        Ok(Ok(_)) => "no error".to_owned(),
        Err(reason) => reason,
    }
}

/// The same bytes with a text of the same length in place of another.
fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let place = bytes.windows(from.len()).position(|window| window == from.as_bytes());
    let place = place.unwrap_or_else(|| panic!("`{from}` is not in the file"));
    let mut bytes = bytes.to_vec();
    bytes[place..place + to.len()].copy_from_slice(to.as_bytes());
    bytes
}

#[test]
fn a_model_is_read_back_equal_and_always_written_alike() -> Outcome {
    let bytes = model().to_bytes()?;
    assert_eq!(parse(&bytes)?, model());
    assert_eq!(model().to_bytes()?, bytes);
    Ok(())
}

#[test]
fn a_model_of_a_newer_version_says_what_to_do() -> Outcome {
    let bytes = replaced(&model().to_bytes()?, r#"format_version\":1"#, r#"format_version\":9"#);
    assert!(matches!(parse(&bytes), Err(SchemaError::NewerFormat { expected: 1, got: 9, .. })));
    Ok(())
}

#[test]
fn senseless_models_are_refused() -> Outcome {
    let refused = |change: fn(&mut LearnedFusion)| {
        let mut changed = model();
        change(&mut changed);
        refusal(&changed)
    };
    assert!(refused(|model| model.modalities.swap(0, 1)).contains("not in order"));
    assert!(refused(|model| model.modalities.clear()).contains("or there is none"));
    assert!(refused(|model| model.modalities[0].projection[1] = f32::NAN).contains("`title.projection` has a value"));
    assert!(refused(|model| model.modalities[1].query_gate.bias = f32::INFINITY).contains("`image.query_gate_bias`"));
    assert!(refused(|model| model.modalities[0].projection.truncate(5)).contains("`title.projection`"));
    let bytes = model().to_bytes()?;
    let text = |bytes: &[u8]| parse(bytes).map(|_| ()).map_err(|error| error.to_string());
    let short = text(&replaced(&bytes, r#"{\"dimension\":3"#.trim_start_matches('{'), r#"\"dimension\":2"#));
    assert!(short.is_err_and(|reason| reason.contains("expected F32 of shape [2")), "another dimension");
    let foreign = text(&replaced(&bytes, METADATA_KEY, "catalens.learned_fusioN"));
    assert!(foreign.is_err_and(|reason| reason.contains("`indexer learn` writes such files")));
    assert!(text(b"PK").is_err_and(|reason| reason.contains("no safetensors file")));
    Ok(())
}

proptest! {
    #[test]
    fn damaged_files_are_errors_or_models(place in 0usize..2_000, byte: u8, cut in 0usize..2_000) {
        let mut bytes = model().to_bytes().map_err(TestCaseError::fail)?;
        let (place, cut) = (place % bytes.len(), cut % (bytes.len() + 1));
        bytes[place] = byte;
        // Whatever is read has the lengths that the formula relies on.
        for bytes in [&bytes[..], &bytes[..cut]] {
            if let Ok(model) = parse(bytes) {
                for one in &model.modalities {
                    prop_assert_eq!(one.projection.len(), model.dimension * one.encoder_dimension);
                    prop_assert_eq!(one.item_gate.direction.len(), model.dimension);
                    prop_assert_eq!(one.query_gate.direction.len(), model.dimension);
                }
            }
        }
    }
}

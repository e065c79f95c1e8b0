//! The manifest, written, read, and damaged.

use super::*;
use crate::encoder_spec::{Architecture, Dtype, Pooling};
use crate::field::FieldType;
use crate::ranking::{FeatureWeight, Matching, QueryAlpha, QueryFeature};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn manifest() -> Manifest {
    let encoder = EncoderSpec {
        name: "all-MiniLM-L6-v2".to_owned(),
        architecture: Architecture::Bert,
        checkpoint: "0123456789abcdef".to_owned(),
        weights: "a".repeat(64),
        preprocessing: "b".repeat(64),
        pooling: Pooling::Mean,
        dimension: 384,
        dtype: Dtype::F32,
    };
    let keyword_field =
        KeywordFieldManifest { name: "title".to_owned(), analyzer: AnalyzerKind::English, weight: 2.0, b: 0.3 };
    let gate = GateResult { value: 0.99, bound: 0.95, passed: true, message: "recall@10 of the graph".to_owned() };
    Manifest {
        format_version: FORMAT_VERSION,
        tool_version: "0.1.0".to_owned(),
        created: "2026-11-20T03:15:00Z".to_owned(),
        parent: Some("20261119T031500Z-1a2b3c4d5e6f".to_owned()),
        inputs: None,
        item_count: 101,
        modalities: vec![ModalityManifest { modality: Modality::Title, encoder, weight: 1.0, present: 101 }],
        fields: vec![FieldSpec { name: "brand".to_owned(), r#type: FieldType::String, searched: true }],
        keyword: KeywordManifest {
            k1: 1.2,
            matching: Matching::Any,
            proximity: 0.0,
            analysis: AnalysisVersion::V2,
            languages: None,
            fields: vec![keyword_field],
        },
        vector: Some(VectorManifest {
            embedding_fusion: EmbeddingFusionKind::WeightedBlocks,
            dimension: 384,
            scalar: Scalar::I8 { step: 0.0017 },
            connectivity: 16,
            expansion_add: 128,
            expansion_search: 64,
            vector_count: 101,
        }),
        rank_fusion: RankFusionManifest {
            keyword_first: 0,
            query_alpha: QueryAlpha::default(),
            method: RankFusionMethod::Convex,
            alpha: 0.6,
            reciprocal_rank_constant: 60.0,
            depth: 1000,
        },
        gates: BTreeMap::from([("ann_recall".to_owned(), gate)]),
        overruled: None,
        files: BTreeMap::from([(
            "items.arrow".to_owned(),
            FileEntry { bytes: 3, blake3: "c".repeat(64), tail: Some("d".repeat(64)) },
        )]),
    }
}

#[test]
fn a_manifest_is_read_back_equal() -> Outcome {
    let folder = tempfile::tempdir()?;
    manifest().write(folder.path())?;
    assert_eq!(Manifest::read(folder.path())?, manifest());
    assert_eq!(fs_err::read(folder.path().join(MANIFEST_FILE))?, manifest().to_bytes());
    Ok(())
}

#[test]
fn overruled_gates_are_read_back_and_absent_where_all_passed() -> Outcome {
    assert!(!String::from_utf8(manifest().to_bytes())?.contains("overruled"));
    let overruled = Overruled {
        gates: vec!["ann_recall".to_owned()],
        by: "ana@indexer-7".to_owned(),
        at: "2026-11-20T03:20:00Z".to_owned(),
        reason: None,
    };
    let forced = Manifest { overruled: Some(overruled), ..manifest() };
    assert_eq!(Manifest::from_bytes(Path::new(MANIFEST_FILE), &forced.to_bytes())?, forced);
    Ok(())
}

#[test]
fn names_in_the_file_are_those_of_the_format_book() -> Outcome {
    let value: serde_json::Value = serde_json::from_slice(&manifest().to_bytes())?;
    assert_eq!(value["modalities"][0]["modality"], "title");
    assert_eq!(value["modalities"][0]["encoder"]["architecture"], "bert");
    assert_eq!(value["modalities"][0]["encoder"]["pooling"], "mean");
    assert_eq!(value["modalities"][0]["encoder"]["dtype"], "f32");
    assert_eq!(value["fields"][0]["type"], "string");
    assert_eq!(value["keyword"]["fields"][0]["analyzer"], "english");
    assert_eq!(value["vector"]["embedding_fusion"], "weighted_blocks");
    assert_eq!(value["vector"]["scalar"]["kind"], "i8");
    assert_eq!(value["rank_fusion"]["method"], "convex");
    Ok(())
}

#[test]
fn snapshots_that_name_no_scalar_kind_have_halves() -> Outcome {
    let mut value = serde_json::to_value(manifest())?;
    let vector = value.pointer_mut("/vector").and_then(serde_json::Value::as_object_mut).ok_or("no vector")?;
    vector.remove("scalar");
    let older = Manifest::from_bytes(Path::new(MANIFEST_FILE), value.to_string().as_bytes())?;
    assert_eq!(older.vector.map(|vector| vector.scalar), Some(Scalar::F16));
    Ok(())
}

#[test]
fn a_quantisation_step_is_a_finite_number_above_zero() {
    let step = |step: serde_json::Value| with("/vector/scalar/step", step);
    assert!(step(0.5.into()).is_ok());
    for wrong in [0.0, -0.5, 1e300] {
        assert!(matches!(step(wrong.into()), Err(SchemaError::Invalid { .. })), "{wrong}");
    }
    assert!(matches!(step(serde_json::Value::Null), Err(SchemaError::Json { .. })));
    assert!(matches!(with("/vector/scalar/kind", "i4".into()), Err(SchemaError::Json { .. })));
}

#[test]
fn the_example_of_the_format_book_is_whole() -> Outcome {
    let book = include_str!("../../README.md");
    let example = book.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).ok_or("no example")?;
    let read = Manifest::from_bytes(Path::new("README.md"), example.as_bytes())?;
    let written: serde_json::Value = serde_json::from_slice(&read.to_bytes())?;
    assert_eq!(written, serde_json::from_str::<serde_json::Value>(example)?);
    Ok(())
}

/// The manifest with one value replaced.
fn with(pointer: &str, new: serde_json::Value) -> Result<Manifest, SchemaError> {
    let mut value = serde_json::to_value(manifest()).unwrap_or_default();
    if let Some(place) = value.pointer_mut(pointer) {
        *place = new;
    }
    Manifest::from_bytes(Path::new(MANIFEST_FILE), value.to_string().as_bytes())
}

#[test]
fn newer_and_unknown_versions_are_refused_before_anything_else() {
    assert_eq!(with("/item_count", 7.into()).map(|manifest| manifest.item_count).ok(), Some(7));
    let newer = b"{\"format_version\": 2, \"modalities\": \"of another shape\"}";
    let newer = Manifest::from_bytes(Path::new(MANIFEST_FILE), newer);
    assert!(matches!(newer, Err(SchemaError::NewerFormat { expected: 1, got: 2, .. })));
    assert!(matches!(with("/format_version", 0.into()), Err(SchemaError::Invalid { .. })));
    assert!(matches!(with("/format_version", "1".into()), Err(SchemaError::Json { .. })));
    assert!(matches!(with("/vector/dimension", (-1).into()), Err(SchemaError::Json { .. })));
    assert!(matches!(with("/rank_fusion/method", "magic".into()), Err(SchemaError::Json { .. })));
}

#[test]
fn file_names_stay_inside_the_snapshot() {
    for name in ["../items.arrow", "/etc/passwd", "a/../../b", "", "..", "a\\b"] {
        let files = serde_json::json!({ name: { "bytes": 1, "blake3": "" } });
        assert!(matches!(with("/files", files), Err(SchemaError::Invalid { .. })), "{name}");
    }
    let files = serde_json::json!({ "vector/fused.usearch": { "bytes": 1, "blake3": "" } });
    assert!(with("/files", files).is_ok());
}

#[test]
fn in_a_folder_named_by_its_digest_every_change_is_found() -> Outcome {
    let parent = tempfile::tempdir()?;
    let bytes = manifest().to_bytes();
    let digest = blake3::hash(&bytes).to_hex();
    let id = SnapshotId::new("20261120T031500Z", &digest).ok_or("form")?;
    let folder = parent.path().join(id.as_str());
    fs_err::create_dir(&folder)?;
    let path = folder.join(MANIFEST_FILE);
    fs_err::write(&path, &bytes)?;
    assert_eq!(Manifest::read(&folder)?, manifest());
    for place in (0..bytes.len()).step_by(7) {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        fs_err::write(&path, &changed)?;
        // A version that became a newer one is refused as such.
        assert!(Manifest::read(&folder).is_err(), "byte {place}");
    }
    fs_err::write(&path, [bytes.as_slice(), b"\n"].concat())?;
    assert!(matches!(Manifest::read(&folder), Err(SchemaError::Invalid { .. })));
    fs_err::remove_file(&path)?;
    fs_err::create_dir(&path)?;
    assert!(matches!(Manifest::read(&folder), Err(SchemaError::Invalid { .. })));
    Ok(())
}

#[test]
fn cut_off_manifests_are_errors() {
    let bytes = manifest().to_bytes();
    for length in 0..bytes.len() - 2 {
        assert!(Manifest::from_bytes(Path::new(MANIFEST_FILE), &bytes[..length]).is_err());
    }
}

#[test]
fn an_alpha_that_depends_on_the_query_is_read_back_and_absent_where_it_is_constant() -> Outcome {
    assert!(!String::from_utf8(manifest().to_bytes())?.contains("query_alpha"));
    let mut moving = manifest();
    let words = FeatureWeight { weight: 0.5, middle: 0.25 };
    moving.rank_fusion.query_alpha = QueryAlpha { features: [(QueryFeature::Words, words)].into() };
    let folder = tempfile::tempdir()?;
    moving.write(folder.path())?;
    assert_eq!(Manifest::read(folder.path())?, moving);
    Ok(())
}

#[test]
fn a_number_that_json_cannot_hold_is_not_written() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut constant = manifest();
    constant.rank_fusion.alpha = f32::NAN;
    let mut moving = manifest();
    let words = FeatureWeight { weight: f32::INFINITY, middle: 0.25 };
    moving.rank_fusion.query_alpha = QueryAlpha { features: [(QueryFeature::Words, words)].into() };
    for manifest in [constant, moving] {
        assert!(manifest.write(folder.path()).is_err());
        assert!(!folder.path().join(MANIFEST_FILE).exists());
    }
    Ok(())
}

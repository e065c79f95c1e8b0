//! Text encoders against transformers (PyTorch, f32), for every architecture: the same token ids, the same embeddings,
//! alone or in a batch, in every number type.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and print what they measured")]

mod common;

use std::path::Path;

use common::{Reference, assert_unit_length, cosine, lowest_cosine};
use encoders::{Checkpoint, CheckpointSource, DeviceChoice, TextEncoder, TextRole};
use schemas::Dtype;

const REFERENCES: [&str; 7] = [
    "all-MiniLM-L6-v2",
    "bert-cls-tiny",
    "xlm-roberta-tiny",
    "clip-tiny",
    "clip-gelu-tiny",
    "siglip-tiny",
    "chinese-clip-tiny",
];

/// Runs a check on each reference, without prompts.
fn for_each(check: impl Fn(&Reference, &dyn Fn(Dtype) -> TextEncoder)) {
    let Some(shared) = common::shared() else { return common::skip() };
    for name in REFERENCES {
        let reference = Reference::load(&shared, name);
        let (_folder, checkpoint) = reference.open_without_prompts();
        check(&reference, &|dtype| TextEncoder::load(&checkpoint, DeviceChoice::Cpu, dtype).unwrap());
    }
}

#[test]
fn token_ids_equal_the_reference() {
    for_each(|reference, load| {
        let tokens = load(Dtype::F32).tokenize(&reference.texts(), TextRole::Document).unwrap();
        for ((tokens, expected), text) in tokens.iter().zip(reference.token_ids()).zip(&reference.texts) {
            assert_eq!(tokens.0, expected, "{}: {text:?}", reference.name);
        }
    });
}

#[test]
fn embeddings_equal_the_reference() {
    for_each(|reference, load| {
        let encoder = load(Dtype::F32);
        let got = encoder.encode(&reference.texts(), TextRole::Document).unwrap();
        assert_unit_length(&reference.name, &got);
        assert_eq!(got.dimension(), encoder.spec().dimension);
        let lowest = lowest_cosine(&reference.name, &got, &reference.text_rows(), 0.9999);
        println!("{}: lowest cosine to the reference {lowest:.9}", reference.name);
    });
}

#[test]
fn a_text_alone_and_in_a_batch_is_the_same() {
    for_each(|reference, load| {
        let encoder = load(Dtype::F32);
        let texts = reference.texts();
        let together = encoder.encode(&texts, TextRole::Document).unwrap();
        for (row, text) in texts.iter().enumerate() {
            let alone = encoder.encode(&[text], TextRole::Document).unwrap();
            let cosine = cosine(alone.row(0), together.row(row));
            assert!(cosine > 0.99999, "{}: {text:?}: {cosine}", reference.name);
        }
    });
}

#[test]
fn an_encoder_for_queries_gives_the_embeddings_of_the_catalogs() {
    for_each(|reference, load| {
        let texts = reference.texts();
        let catalog = load(Dtype::F32).encode(&texts, TextRole::Query).unwrap();
        let (_folder, checkpoint) = reference.open_without_prompts();
        let queries = TextEncoder::load_for_queries(&checkpoint, DeviceChoice::Cpu, Dtype::F32).unwrap();
        let expected: Vec<Vec<f32>> = catalog.rows().map(<[f32]>::to_vec).collect();
        let got = queries.encode(&texts, TextRole::Query).unwrap();
        lowest_cosine(&reference.name, &got, &expected, 0.999_999);
    });
}

#[test]
fn half_precision_stays_close() {
    for_each(|reference, load| {
        let full = load(Dtype::F32).encode(&reference.texts(), TextRole::Document).unwrap();
        let full: Vec<Vec<f32>> = full.rows().map(<[f32]>::to_vec).collect();
        for dtype in [Dtype::F16, Dtype::Bf16] {
            let half = load(dtype).encode(&reference.texts(), TextRole::Document).unwrap();
            let what = format!("{} {dtype:?}", reference.name);
            // Random weights of a tiny model cancel out less of the rounding than a trained one.
            let floor = if reference.name == "all-MiniLM-L6-v2" { 0.9999 } else { 0.999 };
            let lowest = lowest_cosine(&what, &half, &full, floor);
            println!("{what}: lowest cosine to f32 {lowest:.6}");
        }
    });
}

#[test]
fn on_the_cpu_a_text_is_the_same_to_the_bit_in_any_batch_in_bf16() {
    for_each(|reference, load| {
        // The projections of dual encoders are products of candle in f32, whose order of sums depends on the batch.
        if !["all-MiniLM-L6-v2", "bert-cls-tiny", "xlm-roberta-tiny"].contains(&reference.name.as_str()) {
            return;
        }
        let encoder = load(Dtype::Bf16);
        let texts = reference.texts();
        let together = encoder.encode(&texts, TextRole::Document).unwrap();
        let mut backwards = texts.clone();
        backwards.reverse();
        let backwards = encoder.encode(&backwards[..texts.len() / 2], TextRole::Document).unwrap();
        for (row, reversed) in backwards.rows().enumerate() {
            assert_eq!(
                reversed,
                together.row(texts.len() - 1 - row),
                "{}: {:?}",
                reference.name,
                texts[texts.len() - 1 - row]
            );
        }
    });
}

#[test]
fn prompts_are_prefixes_by_role() {
    let Some(shared) = common::shared() else { return common::skip() };
    let reference = Reference::load(&shared, "xlm-roberta-tiny");
    let load = |checkpoint: &Checkpoint| TextEncoder::load(checkpoint, DeviceChoice::Cpu, Dtype::F32).unwrap();
    let prompted = load(&reference.open());
    let (_folder, plain) = reference.open_without_prompts();
    let plain = load(&plain);
    for (role, prefix) in [(TextRole::Query, "query: "), (TextRole::Document, "passage: ")] {
        let got = prompted.tokenize(&["red dress"], role).unwrap();
        let expected = plain.tokenize(&[&format!("{prefix}red dress")], role).unwrap();
        assert_eq!(got, expected, "{role:?}");
    }
    assert_ne!(prompted.spec().preprocessing, plain.spec().preprocessing, "prompts belong to the preprocessing");
}

/// A reference checkpoint with one file changed, loaded.
fn load_changed(shared: &Path, name: &str, file: &str, change: impl Fn(&mut serde_json::Value)) -> TextEncoder {
    let (folder, _) = Reference::load(shared, name).open_without_prompts();
    let path = folder.path().join(file);
    let mut json: serde_json::Value = serde_json::from_slice(&fs_err::read(&path).unwrap()).unwrap();
    change(&mut json);
    fs_err::write(&path, json.to_string()).unwrap();
    let checkpoint = Checkpoint::open(&CheckpointSource::Folder(folder.path().to_path_buf())).unwrap();
    TextEncoder::load(&checkpoint, DeviceChoice::Cpu, Dtype::F32).unwrap()
}

#[test]
fn siglip_sees_padding_when_its_tokenizer_gives_no_mask() {
    // As the published SigLIP models are; the reference checkpoint's tokenizer gives one.
    let Some(shared) = common::shared() else { return common::skip() };
    let encoder = load_changed(&shared, "siglip-tiny", "tokenizer_config.json", |config| {
        config["model_input_names"] = serde_json::json!(["input_ids"]);
    });
    let got = encoder.encode(&["red dress", "USB-C to HDMI adapter 4K@60Hz"], TextRole::Query).unwrap();
    // transformers 5.23, `get_text_features(input_ids=…)`, first values.
    let expected = [
        [-0.026878, 0.118137, 0.16454, 0.090611, -0.025456, -0.140227, 0.000433, 0.13895],
        [-0.142727, 0.017935, 0.227157, 0.051543, -0.032884, -0.114047, -0.007693, 0.103054],
    ];
    for (got, expected) in got.rows().zip(expected) {
        assert!(got.iter().zip(expected).all(|(got, expected)| (got - expected).abs() < 2e-5), "{:?}", &got[..8]);
    }
}

#[test]
fn a_clip_config_with_the_legacy_end_token_takes_the_highest_id() {
    let Some(shared) = common::shared() else { return common::skip() };
    let reference = Reference::load(&shared, "clip-tiny");
    let encoder = load_changed(&shared, "clip-tiny", "config.json", |config| {
        config["text_config"]["eos_token_id"] = serde_json::json!(2);
    });
    let got = encoder.encode(&reference.texts(), TextRole::Query).unwrap();
    lowest_cosine("legacy end token", &got, &reference.text_rows(), 0.9999);
}

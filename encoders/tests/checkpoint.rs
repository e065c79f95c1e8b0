//! Checkpoint folders: what is found, what is missing, what a copy is worth, and the hub.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and print what they measured")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::Reference;
use encoders::{Checkpoint, CheckpointSource, DeviceChoice, EncoderError, ImageEncoder, TextEncoder, TextRole};
use schemas::Dtype;

fn open(folder: &Path) -> Result<Checkpoint, EncoderError> {
    Checkpoint::open(&CheckpointSource::Folder(folder.to_path_buf()))
}

fn load(checkpoint: &Checkpoint) -> Result<TextEncoder, EncoderError> {
    TextEncoder::load(checkpoint, DeviceChoice::Cpu, Dtype::F32)
}

/// A writable copy of a reference checkpoint.
fn copy(name: &str) -> Option<tempfile::TempDir> {
    let shared = common::shared()?;
    let folder = tempfile::tempdir().unwrap();
    common::copy_folder(&Reference::load(&shared, name).checkpoint, folder.path());
    Some(folder)
}

#[test]
fn a_copy_has_the_same_fingerprint_and_loads_the_same_encoders() {
    let Some(folder) = copy("clip-tiny") else { return common::skip() };
    fs_err::write(folder.path().join("README.md"), "does not matter").unwrap();
    let original = open(folder.path()).unwrap();
    let store = tempfile::tempdir().unwrap();
    let copied = original.copy_to(store.path()).unwrap();
    assert_eq!(copied, store.path().join(original.fingerprint()));
    assert!(!copied.join("README.md").exists());
    assert_eq!(original.copy_to(store.path()).unwrap(), copied, "a second copy is the first");
    assert_eq!(fs_err::read_dir(store.path()).unwrap().count(), 1, "nothing temporary is left");

    let stored = Checkpoint::open_stored(&copied).unwrap();
    assert_eq!((stored.fingerprint(), stored.name()), (original.fingerprint(), original.name()));
    assert_eq!(open(&copied).unwrap().fingerprint(), original.fingerprint(), "hashing the copy gives the same");
    let (from_original, from_copy) = (load(&original).unwrap(), load(&stored).unwrap());
    assert_eq!(from_original.spec(), from_copy.spec());
    let encode = |encoder: &TextEncoder| encoder.encode(&["red dress"], TextRole::Query).unwrap();
    assert_eq!(encode(&from_original), encode(&from_copy));
    let image = ImageEncoder::load(&stored, DeviceChoice::Cpu, Dtype::F32).unwrap();
    assert_eq!(image.spec().space(), from_copy.spec().space(), "towers of one checkpoint share a space");
    assert_ne!(image.spec().fingerprint(), from_copy.spec().fingerprint());
}

#[test]
fn a_stored_copy_that_lost_bytes_is_refused() {
    let Some(folder) = copy("bert-cls-tiny") else { return common::skip() };
    let store = tempfile::tempdir().unwrap();
    let copied = open(folder.path()).unwrap().copy_to(store.path()).unwrap();
    fs_err::write(copied.join("tokenizer.json"), "{}").unwrap();
    assert!(matches!(Checkpoint::open_stored(&copied), Err(EncoderError::Config { .. })));
    fs_err::remove_file(copied.join("tokenizer.json")).unwrap();
    assert!(matches!(Checkpoint::open_stored(&copied), Err(EncoderError::MissingFile { .. })));
}

#[test]
fn every_file_that_matters_changes_the_fingerprint() {
    let Some(folder) = copy("bert-cls-tiny") else { return common::skip() };
    let before = open(folder.path()).unwrap().fingerprint().to_owned();
    for name in ["tokenizer.json", "1_Pooling/config.json", "sentence_bert_config.json", "model.safetensors"] {
        let path = folder.path().join(name);
        let content = fs_err::read(&path).unwrap();
        fs_err::write(&path, [content.as_slice(), b" "].concat()).unwrap();
        assert_ne!(open(folder.path()).unwrap().fingerprint(), before, "{name}");
        fs_err::write(&path, content).unwrap();
    }
    assert_eq!(open(folder.path()).unwrap().fingerprint(), before);
}

#[test]
fn missing_files_are_named() {
    let missing = open(Path::new("/no/such/folder")).unwrap_err();
    assert!(matches!(missing, EncoderError::Io { .. }), "{missing}");
    let Some(folder) = copy("bert-cls-tiny") else { return common::skip() };
    for name in ["tokenizer.json", "1_Pooling/config.json", "config.json", "model.safetensors"] {
        let folder = copy("bert-cls-tiny").unwrap();
        fs_err::remove_file(folder.path().join(name)).unwrap();
        let error = open(folder.path()).and_then(|checkpoint| load(&checkpoint)).unwrap_err();
        let file = name.rsplit('/').next().unwrap();
        assert!(
            matches!(&error, EncoderError::MissingFile { file: missing, .. } if missing == file),
            "{name}: {error}"
        );
    }
    fs_err::rename(folder.path().join("model.safetensors"), folder.path().join("pytorch_model.bin")).unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(matches!(error, EncoderError::UnsafeWeights { .. }));
    assert!(error.to_string().contains("convert it to `model.safetensors`"), "{error}");
}

#[test]
fn a_folder_without_modules_takes_the_mean() {
    let Some(folder) = copy("bert-cls-tiny") else { return common::skip() };
    fs_err::remove_file(folder.path().join("modules.json")).unwrap();
    let encoder = load(&open(folder.path()).unwrap()).unwrap();
    assert_eq!(encoder.spec().pooling, schemas::Pooling::Mean);
}

#[test]
fn damaged_weights_are_errors() {
    let Some(folder) = copy("bert-cls-tiny") else { return common::skip() };
    let path = folder.path().join("model.safetensors");
    let weights = fs_err::read(&path).unwrap();
    for damaged in [&weights[..weights.len() / 2], &weights[..4], b""] {
        fs_err::write(&path, damaged).unwrap();
        let error = load(&open(folder.path()).unwrap()).unwrap_err();
        assert!(matches!(error, EncoderError::Config { .. }), "{error}");
    }
    fs_err::write(&path, &weights).unwrap();
    let config = fs_err::read_to_string(folder.path().join("config.json")).unwrap();
    let config = config.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
    fs_err::write(folder.path().join("config.json"), config).unwrap();
    let error = load(&open(folder.path()).unwrap()).unwrap_err();
    assert!(matches!(error, EncoderError::Tensor { .. }), "a layer that is not in the weights: {error}");
}

#[test]
fn weights_in_shards_are_the_same_weights() {
    let Some(folder) = copy("bert-cls-tiny") else { return common::skip() };
    let whole = load(&open(folder.path()).unwrap()).unwrap().encode(&["red dress"], TextRole::Document).unwrap();
    let path = folder.path().join("model.safetensors");
    let tensors = candle_core::safetensors::load(&path, &candle_core::Device::Cpu).unwrap();
    let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let mut shards = [std::collections::HashMap::new(), std::collections::HashMap::new()];
    let mut map = serde_json::Map::new();
    for (index, (name, tensor)) in tensors.into_iter().enumerate() {
        map.insert(name.clone(), names[index % 2].into());
        shards[index % 2].insert(name, tensor);
    }
    for (shard, name) in shards.iter().zip(names) {
        candle_core::safetensors::save(shard, folder.path().join(name)).unwrap();
    }
    let index = serde_json::json!({"metadata": {}, "weight_map": map}).to_string();
    fs_err::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
    fs_err::remove_file(path).unwrap();
    let sharded = open(folder.path()).unwrap();
    assert_eq!(load(&sharded).unwrap().encode(&["red dress"], TextRole::Document).unwrap(), whole);
}

#[test]
fn a_model_in_a_module_folder_is_found() {
    let Some(folder) = copy("bert-cls-tiny") else { return common::skip() };
    let flat = load(&open(folder.path()).unwrap()).unwrap().encode(&["red dress"], TextRole::Document).unwrap();
    let module = folder.path().join("0_Transformer");
    fs_err::create_dir(&module).unwrap();
    let files =
        ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "sentence_bert_config.json"];
    for name in files {
        fs_err::rename(folder.path().join(name), module.join(name)).unwrap();
    }
    let modules = fs_err::read_to_string(folder.path().join("modules.json")).unwrap();
    let modules = modules.replacen("\"path\": \"\"", "\"path\": \"0_Transformer\"", 1);
    fs_err::write(folder.path().join("modules.json"), modules).unwrap();
    let checkpoint = open(folder.path()).unwrap();
    assert_eq!(load(&checkpoint).unwrap().encode(&["red dress"], TextRole::Document).unwrap(), flat);
    let store = tempfile::tempdir().unwrap();
    let stored = Checkpoint::open_stored(&checkpoint.copy_to(store.path()).unwrap()).unwrap();
    assert_eq!(load(&stored).unwrap().encode(&["red dress"], TextRole::Document).unwrap(), flat);
}

#[test]
fn a_dense_module_is_applied_after_pooling() {
    let Some(folder) = copy("bert-cls-tiny") else { return common::skip() };
    let plain = load(&open(folder.path()).unwrap()).unwrap().encode(&["red dress"], TextRole::Document).unwrap();
    let dense = folder.path().join("2_Dense");
    fs_err::create_dir(&dense).unwrap();
    // The first three values, turned around.
    let mut weight = vec![0.0f32; 3 * 48];
    (0..3).for_each(|row| weight[row * 48 + (2 - row)] = 1.0);
    let device = &candle_core::Device::Cpu;
    let tensors = [
        ("linear.weight".to_owned(), candle_core::Tensor::from_vec(weight, (3, 48), device).unwrap()),
        ("linear.bias".to_owned(), candle_core::Tensor::zeros(3, candle_core::DType::F32, device).unwrap()),
    ];
    candle_core::safetensors::save(&tensors.into(), dense.join("model.safetensors")).unwrap();
    let activation = "torch.nn.modules.linear.Identity";
    let config =
        serde_json::json!({"in_features": 48, "out_features": 3, "bias": true, "activation_function": activation});
    fs_err::write(dense.join("config.json"), config.to_string()).unwrap();
    let modules = fs_err::read(folder.path().join("modules.json")).unwrap();
    let mut modules: serde_json::Value = serde_json::from_slice(&modules).unwrap();
    modules[2] = serde_json::json!({"idx": 2, "path": "2_Dense", "type": "sentence_transformers.models.Dense"});
    fs_err::write(folder.path().join("modules.json"), modules.to_string()).unwrap();
    let encoder = load(&open(folder.path()).unwrap()).unwrap();
    assert_eq!(encoder.spec().dimension, 3);
    let got = encoder.encode(&["red dress"], TextRole::Document).unwrap();
    let turned: Vec<f32> = plain.row(0)[..3].iter().rev().copied().collect();
    assert!(common::cosine(got.row(0), &turned) > 0.999_999);
}

#[test]
fn tokens_of_another_model_are_errors() {
    let Some(folder) = copy("bert-cls-tiny") else { return common::skip() };
    let encoder = load(&open(folder.path()).unwrap()).unwrap();
    for ids in [vec![], vec![800], vec![1; 129]] {
        let error = encoder.encode_tokens(&[encoders::Tokens(ids)]).unwrap_err();
        assert!(matches!(error, EncoderError::TokensDoNotFit { .. }), "{error}");
    }
    assert!(encoder.encode(&[], TextRole::Query).unwrap().is_empty());
}

/// Not a test of its own: `HF_HOME` and `HF_ENDPOINT` belong to a process, so tests of the hub run this in a child.
#[test]
fn hub_child() {
    let Ok(id) = std::env::var("CATALENS_TEST_HUB_ID") else { return };
    let revision = std::env::var("CATALENS_TEST_HUB_REVISION").unwrap();
    match Checkpoint::open(&CheckpointSource::Hub { id, revision }) {
        Ok(checkpoint) => {
            let encoder = load(&checkpoint).unwrap();
            println!("loaded {} {}", checkpoint.fingerprint(), encoder.spec().name);
        }
        Err(error) => println!("failed {error:?}"),
    }
}

fn run_hub_child(home: &Path, endpoint: &str, id: &str, revision: &str) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["hub_child", "--exact", "--nocapture"]).env("HF_HOME", home).env("HF_ENDPOINT", endpoint);
    child.env("CATALENS_TEST_HUB_ID", id).env("CATALENS_TEST_HUB_REVISION", revision);
    let output = child.output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_hub_that_does_not_answer_is_an_error_and_soon() {
    let home = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let begin = Instant::now();
    let output = run_hub_child(home.path(), &endpoint, "organisation/model", "main");
    assert!(output.contains("failed Hub { id: \"organisation/model\", revision: \"main\""), "{output}");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

#[test]
fn a_checkpoint_comes_from_the_hub_and_is_used_offline_afterwards() {
    let Some(folder) = copy("bert-cls-tiny") else { return common::skip() };
    fs_err::write(folder.path().join("pytorch_model.bin"), "must not be downloaded").unwrap();
    let expected = open(folder.path()).unwrap().fingerprint().to_owned();
    let home = tempfile::tempdir().unwrap();
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let endpoint = serve(folder.path(), commit);
    let loaded = format!("loaded {expected} organisation/model");
    for revision in ["main", commit] {
        let output = run_hub_child(home.path(), &endpoint, "organisation/model", revision);
        assert!(output.contains(&loaded), "{revision}: {output}");
        // Nobody listens on port 1.
        let output = run_hub_child(home.path(), "http://127.0.0.1:1", "organisation/model", revision);
        assert!(output.contains(&loaded), "offline {revision}: {output}");
    }
    let blobs = fs_err::read_dir(home.path().join("hub/models--organisation--model/blobs")).unwrap();
    let has_pickle = blobs.flatten().any(|blob| fs_err::read(blob.path()).unwrap().starts_with(b"must not"));
    assert!(!has_pickle);
}

/// Serves a folder as the hub does, as far as hf-hub asks: the list of files, and files by range.
fn serve(folder: &Path, commit: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let folder = folder.to_path_buf();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let Some(request) = lines.next() else { continue };
            let target = request.split(' ').nth(1).unwrap().to_owned();
            let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let range = headers
                .iter()
                .find_map(|header| header.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
            let response = respond(&folder, commit, &target, range.as_deref());
            drop(stream.write_all(&response));
        }
    });
    endpoint
}

fn respond(folder: &Path, commit: &str, target: &str, range: Option<&str>) -> Vec<u8> {
    let target = target.split('?').next().unwrap();
    if target.starts_with("/api/models/organisation/model/revision/") {
        let names =
            ["config.json", "modules.json", "1_Pooling/config.json", "sentence_bert_config.json", "tokenizer.json"];
        let more =
            ["tokenizer_config.json", "config_sentence_transformers.json", "model.safetensors", "pytorch_model.bin"];
        let siblings: Vec<_> = names.iter().chain(&more).map(|name| serde_json::json!({"rfilename": name})).collect();
        let body = serde_json::json!({"sha": commit, "siblings": siblings}).to_string();
        return [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len()), body]
            .concat()
            .into_bytes();
    }
    let name = target.strip_prefix(&format!("/organisation/model/resolve/{commit}/")).unwrap_or("none");
    let Ok(content) = fs_err::read(folder.join(name)) else {
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec();
    };
    let (begin, end) = range.unwrap_or("0-").split_once('-').unwrap();
    let begin: usize = begin.parse().unwrap();
    let end = end.parse().map_or(content.len(), |end: usize| (end + 1).min(content.len()));
    let etag = blake3::hash(name.as_bytes()).to_hex();
    let header = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {begin}-{}/{}\r\n\
         ETag: \"{etag}\"\r\nx-repo-commit: {commit}\r\nConnection: close\r\n\r\n",
        end - begin,
        end.saturating_sub(1),
        content.len(),
    );
    [header.as_bytes(), &content[begin..end]].concat()
}

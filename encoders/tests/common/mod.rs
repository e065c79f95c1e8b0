//! What the tests of this crate share: the reference checkpoints and what transformers (PyTorch) computed with them.
//! They lie outside the repository, see `reference/make_reference.py` there; a test without them says that it skips.

#![expect(dead_code, unreachable_pub, reason = "every test binary includes this module and uses a part of it")]

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use encoders::{Checkpoint, CheckpointSource, Embeddings};

/// Folder with reference checkpoints, models and data: `CATALENS_SHARED`, or `shared` beside the repository.
pub fn shared() -> Option<PathBuf> {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let folder = std::env::var_os("CATALENS_SHARED").map_or_else(default, PathBuf::from);
    folder.join("reference").is_dir().then_some(folder)
}

/// Says that a test does nothing.
#[expect(clippy::print_stderr, reason = "a test that skips must say so")]
pub fn skip() {
    eprintln!("skipped: no reference folder; set CATALENS_SHARED");
}

/// One reference checkpoint and what is expected of it.
pub struct Reference {
    pub name: String,
    pub checkpoint: PathBuf,
    pub texts: Vec<String>,
    pub images: Vec<PathBuf>,
    tensors: std::collections::HashMap<String, Tensor>,
}

impl Reference {
    pub fn load(shared: &Path, name: &str) -> Reference {
        let folder = shared.join("reference").join(name);
        let model = shared.join("models").join(name);
        let json = fs_err::read(folder.join("expected.json")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let strings = |key: &str| -> Vec<String> {
            json[key].as_array().unwrap().iter().map(|value| value.as_str().unwrap().to_owned()).collect()
        };
        Reference {
            name: name.to_owned(),
            texts: strings("texts"),
            images: strings("images").into_iter().map(|path| shared.join(path)).collect(),
            tensors: candle_core::safetensors::load(folder.join("expected.safetensors"), &Device::Cpu).unwrap(),
            checkpoint: if model.is_dir() { model } else { folder },
        }
    }

    pub fn open(&self) -> Checkpoint {
        Checkpoint::open(&CheckpointSource::Folder(self.checkpoint.clone())).unwrap()
    }

    /// A copy without prompts: the references were computed without.
    pub fn open_without_prompts(&self) -> (tempfile::TempDir, Checkpoint) {
        let folder = tempfile::tempdir().unwrap();
        copy_folder(&self.checkpoint, folder.path());
        let prompts = folder.path().join("config_sentence_transformers.json");
        if prompts.exists() {
            fs_err::remove_file(prompts).unwrap();
        }
        let checkpoint = Checkpoint::open(&CheckpointSource::Folder(folder.path().to_path_buf())).unwrap();
        (folder, checkpoint)
    }

    pub fn texts(&self) -> Vec<&str> {
        self.texts.iter().map(String::as_str).collect()
    }

    /// Rows of a tensor of two or more dimensions.
    pub fn rows(&self, name: &str) -> Vec<Vec<f32>> {
        let tensor = &self.tensors[name];
        tensor.to_dtype(DType::F32).unwrap().flatten_from(1).unwrap().to_vec2().unwrap()
    }

    pub fn text_rows(&self) -> Vec<Vec<f32>> {
        self.rows(if self.tensors.contains_key("embeddings") { "embeddings" } else { "text_embeddings" })
    }

    pub fn token_ids(&self) -> Vec<Vec<u32>> {
        let all: Vec<i64> = self.tensors["token_ids"].to_vec1().unwrap();
        let mut all = all.into_iter().map(|id| u32::try_from(id).unwrap());
        let lengths: Vec<i64> = self.tensors["lengths"].to_vec1().unwrap();
        lengths.iter().map(|length| all.by_ref().take(usize::try_from(*length).unwrap()).collect()).collect()
    }
}

/// Copies a folder's files and subfolders, writable.
pub fn copy_folder(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).unwrap();
    for entry in fs_err::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs_err::write(target, fs_err::read(entry.path()).unwrap()).unwrap();
        }
    }
}

pub fn cosine(left: &[f32], right: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()
}

/// The lowest cosine between rows; says which row where it is below a floor.
pub fn lowest_cosine(what: &str, got: &Embeddings, expected: &[Vec<f32>], floor: f64) -> f64 {
    assert_eq!(got.len(), expected.len(), "{what}");
    let cosines: Vec<f64> = got.rows().zip(expected).map(|(got, expected)| cosine(got, expected)).collect();
    let below: Vec<_> = cosines.iter().enumerate().filter(|(_, cosine)| cosine.is_nan() || **cosine < floor).collect();
    assert!(below.is_empty(), "{what}: cosines below {floor}: {below:?}");
    cosines.into_iter().fold(f64::INFINITY, f64::min)
}

pub fn assert_unit_length(what: &str, embeddings: &Embeddings) {
    for (row, vector) in embeddings.rows().enumerate() {
        let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        assert!((length - 1.0).abs() < 1e-6, "{what}: row {row} has length {length}");
    }
}

//! Which files of a checkpoint folder matter, and their hashes. Owns the list of names; not their meaning. Invariant:
//! the list depends on the folder's content only, is sorted, and no name leads out of the folder.

use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::EncoderError;

/// The list of modules that makes a folder a sentence-transformers checkpoint.
pub(crate) const MODULES_FILE: &str = "modules.json";
/// Weights in one file.
pub(crate) const WEIGHTS_FILE: &str = "model.safetensors";
/// The list of shards of weights in several files.
pub(crate) const WEIGHTS_INDEX_FILE: &str = "model.safetensors.index.json";

/// Files that decide what an encoder computes, besides weights; wherever a module's folder has them.
const CONFIG_FILES: [&str; 2] = ["config.json", MODULES_FILE];
/// Files that decide how a text becomes tokens.
const TEXT_FILES: [&str; 7] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
];
/// Files that decide how a picture becomes pixels.
const IMAGE_FILES: [&str; 2] = ["preprocessor_config.json", "processor_config.json"];
/// Weights in formats that can run code when they are read.
const PICKLE_FILES: [&str; 2] = ["pytorch_model.bin", "pytorch_model.bin.index.json"];

/// A file that matters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CheckpointFile {
    /// Path below the folder, with `/`.
    pub(crate) name: String,
    /// Size in bytes.
    pub(crate) size: u64,
    /// BLAKE3 of the content, 64 hexadecimal digits.
    pub(crate) hash: String,
}

impl CheckpointFile {
    fn base(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }

    /// Whether it holds weights.
    pub(crate) fn is_weights(&self) -> bool {
        is_shard(self.base()) || self.base() == WEIGHTS_INDEX_FILE
    }

    /// Whether it decides how a text becomes tokens and an embedding: also module lists and pooling configs.
    pub(crate) fn is_text_preprocessing(&self) -> bool {
        TEXT_FILES.contains(&self.base())
            || self.base() == MODULES_FILE
            || (self.base() == "config.json" && self.name.contains('/'))
    }

    /// Whether it decides how a picture becomes pixels.
    pub(crate) fn is_image_preprocessing(&self) -> bool {
        IMAGE_FILES.contains(&self.base())
    }
}

/// Whether a file of that path, as the hub lists it, can matter. A superset of [`names`], without reading anything.
pub(crate) fn can_matter(name: &str) -> bool {
    let mut parts = name.split('/');
    let base = parts.next_back().unwrap_or(name);
    let known = CONFIG_FILES.contains(&base) || TEXT_FILES.contains(&base) || IMAGE_FILES.contains(&base);
    // Module folders are one level deep and start with their number ("1_Pooling"); others ("onnx") are other exports.
    let folder_ok = match (parts.next(), parts.next()) {
        (None, None) => true,
        (Some(folder), None) => folder.starts_with(|first: char| first.is_ascii_digit()),
        (None, Some(_)) | (Some(_), Some(_)) => false,
    };
    is_plain(name) && folder_ok && (known || base == WEIGHTS_INDEX_FILE || is_shard(base))
}

/// The files that matter of a folder, sorted.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>, EncoderError> {
    let mut names = Vec::new();
    for module in module_folders(folder)? {
        let at = folder.join(&module);
        let prefix = if module.is_empty() { String::new() } else { format!("{module}/") };
        let known = CONFIG_FILES.iter().chain(&TEXT_FILES).chain(&IMAGE_FILES);
        names.extend(known.filter(|name| at.join(name).is_file()).map(|name| format!("{prefix}{name}")));
        names.extend(weight_names(&at)?.into_iter().map(|name| format!("{prefix}{name}")));
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// The weights of one module's folder: one file, or an index and its shards; none where there are none.
pub(crate) fn weight_names(folder: &Path) -> Result<Vec<String>, EncoderError> {
    if folder.join(WEIGHTS_FILE).is_file() {
        return Ok(vec![WEIGHTS_FILE.to_owned()]);
    }
    let index_path = folder.join(WEIGHTS_INDEX_FILE);
    if !index_path.is_file() {
        return Ok(Vec::new());
    }
    let bytes = fs_err::read(&index_path).map_err(EncoderError::io(&index_path))?;
    let index: Value = serde_json::from_slice(&bytes)
        .map_err(|error| EncoderError::config(&index_path, format!("not JSON: {error}")))?;
    let map = index
        .get("weight_map")
        .and_then(Value::as_object)
        .ok_or_else(|| EncoderError::config(&index_path, "no `weight_map`"))?;
    let mut shards: Vec<String> = map.values().filter_map(Value::as_str).map(str::to_owned).collect();
    shards.sort();
    shards.dedup();
    for shard in &shards {
        if !is_shard(shard) || !is_plain(shard) {
            return Err(EncoderError::config(&index_path, format!("`{shard}` is not a file name of a shard")));
        }
        if !folder.join(shard).is_file() {
            return Err(EncoderError::MissingFile { folder: folder.to_path_buf(), file: shard.clone() });
        }
    }
    shards.push(WEIGHTS_INDEX_FILE.to_owned());
    Ok(shards)
}

/// Fails when a folder lacks what every encoder needs, with the next step in the words.
pub(crate) fn require(folder: &Path, names: &[String]) -> Result<(), EncoderError> {
    let has = |base: &str| names.iter().any(|name| name == base || name.ends_with(&format!("/{base}")));
    if !names.iter().any(|name| name.ends_with(".safetensors")) {
        let pickle = module_folders(folder)?
            .iter()
            .find_map(|module| PICKLE_FILES.iter().find(|file| folder.join(module).join(file).is_file()));
        return Err(match pickle {
            Some(file) => EncoderError::UnsafeWeights { folder: folder.to_path_buf(), file: (*file).to_owned() },
            None => EncoderError::MissingFile { folder: folder.to_path_buf(), file: WEIGHTS_FILE.to_owned() },
        });
    }
    if !has("config.json") {
        return Err(EncoderError::MissingFile { folder: folder.to_path_buf(), file: "config.json".to_owned() });
    }
    Ok(())
}

/// Sizes and hashes of files.
pub(crate) fn hash(folder: &Path, names: Vec<String>) -> Result<Vec<CheckpointFile>, EncoderError> {
    let hash_one = |name: String| {
        let path = folder.join(&name);
        let mut hasher = blake3::Hasher::new();
        let mut file = fs_err::File::open(&path).map_err(EncoderError::io(&path))?;
        let size = std::io::copy(&mut file, &mut hasher).map_err(EncoderError::io(&path))?;
        Ok(CheckpointFile { name, size, hash: hasher.finalize().to_hex().to_string() })
    };
    names.into_iter().map(hash_one).collect()
}

/// BLAKE3 over names and contents of the files that a predicate keeps, 64 hexadecimal digits.
pub(crate) fn digest(files: &[CheckpointFile], keep: impl Fn(&CheckpointFile) -> bool) -> String {
    let mut hasher = blake3::Hasher::new();
    for file in files.iter().filter(|file| keep(file)) {
        // Neither a name nor a hash has a line break, so this is one to one.
        hasher.update(format!("{}\n{}\n", file.name, file.hash).as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// The folder itself and those of the modules in `modules.json`.
fn module_folders(folder: &Path) -> Result<Vec<String>, EncoderError> {
    let mut folders = vec![String::new()];
    let path = folder.join(MODULES_FILE);
    if path.is_file() {
        let bytes = fs_err::read(&path).map_err(EncoderError::io(&path))?;
        let modules: Vec<Value> = serde_json::from_slice(&bytes)
            .map_err(|error| EncoderError::config(&path, format!("not a JSON list: {error}")))?;
        for module in modules {
            let name = module.get("path").and_then(Value::as_str).unwrap_or_default();
            if !name.is_empty() && !is_plain(name) {
                return Err(EncoderError::config(&path, format!("module path `{name}` leads out of the folder")));
            }
            folders.push(name.trim_end_matches('/').to_owned());
        }
    }
    folders.sort();
    folders.dedup();
    Ok(folders)
}

fn is_shard(base: &str) -> bool {
    base == WEIGHTS_FILE || (base.starts_with("model-") && base.ends_with(".safetensors"))
}

/// Whether a relative path has only plain components.
fn is_plain(name: &str) -> bool {
    !name.contains('\\') && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hub_listing_is_filtered() {
        for name in ["config.json", "1_Pooling/config.json", "model.safetensors", "model-00001-of-00002.safetensors"] {
            assert!(can_matter(name), "{name}");
        }
        for name in
            ["onnx/config.json", "../config.json", "pytorch_model.bin", "README.md", "a/b/config.json", "/config.json"]
        {
            assert!(!can_matter(name), "{name}");
        }
    }

    #[test]
    fn a_module_path_may_not_leave_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join(MODULES_FILE), r#"[{"path": "../secrets"}]"#).unwrap();
        let error = names(folder.path()).unwrap_err().to_string();
        assert!(error.contains("leads out of the folder"), "{error}");
    }

    #[test]
    fn a_missing_shard_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let index = r#"{"weight_map": {"a": "model-00001-of-00001.safetensors"}}"#;
        fs_err::write(folder.path().join(WEIGHTS_INDEX_FILE), index).unwrap();
        let error = names(folder.path()).unwrap_err().to_string();
        assert!(error.contains("model-00001-of-00001.safetensors"), "{error}");
    }
}

//! What a checkpoint folder says about the model as a whole: its family, and what sentence-transformers adds (where the
//! transformer is, pooling, dense layers, prompts, lengths). Owns `modules.json`, `1_Pooling/config.json`,
//! `sentence_bert_config.json` and `config_sentence_transformers.json`; sizes of towers are `tower::settings`' work.
//! Invariant: a module or pooling that would be needed and is not known is an error, never passed over.

use std::path::{Path, PathBuf};

use schemas::Pooling;
use serde_json::Value;

use crate::checkpoint::files::MODULES_FILE;
use crate::error::EncoderError;
use crate::json::Section;
use crate::tokenizer::Prompts;
use crate::tower::settings::Activation;

/// Model families, by `model_type` in `config.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// BERT.
    Bert,
    /// RoBERTa and XLM-RoBERTa: BERT with other position numbers.
    Roberta,
    /// CLIP.
    Clip,
    /// SigLIP.
    Siglip,
    /// Chinese-CLIP.
    ChineseClip,
}

/// A dense layer after pooling.
#[derive(Clone, Debug)]
pub(crate) struct DenseModule {
    /// Its folder, with its own weights.
    pub(crate) folder: PathBuf,
    /// Inputs.
    pub(crate) inputs: usize,
    /// Outputs.
    pub(crate) outputs: usize,
    /// What comes after the linear map.
    pub(crate) activation: Activation,
}

/// What the folder says.
#[derive(Clone, Debug)]
pub(crate) struct ModelFolder {
    /// Where `config.json`, weights and tokenizer are: the folder, or that of its first module.
    pub(crate) folder: PathBuf,
    /// `config.json`.
    pub(crate) config: Section,
    /// Family.
    pub(crate) family: Family,
    /// Pooling over tokens, where a file says it.
    pub(crate) pooling: Option<Pooling>,
    /// Dense layers after pooling, in order.
    pub(crate) dense: Vec<DenseModule>,
    /// `max_seq_length`.
    pub(crate) max_sequence_length: Option<usize>,
    /// Whether texts are turned to lower case before the tokenizer sees them.
    pub(crate) lower_case: bool,
    /// Prompts by role.
    pub(crate) prompts: Prompts,
}

impl ModelFolder {
    /// Reads a checkpoint folder.
    pub(crate) fn read(root: &Path) -> Result<ModelFolder, EncoderError> {
        let mut model = Modules { folder: root.to_path_buf(), pooling: None, dense: Vec::new(), include_prompt: true };
        let modules_path = root.join(MODULES_FILE);
        if modules_path.is_file() {
            model.read(root, &modules_path)?;
        }
        let config_path = model.folder.join("config.json");
        if !config_path.is_file() {
            return Err(EncoderError::MissingFile { folder: model.folder, file: "config.json".to_owned() });
        }
        let config = Section::read(&config_path)?;
        let family = family(&config, root)?;
        let sentence = Section::read_optional(&model.folder.join("sentence_bert_config.json"))?;
        let sentence = sentence.unwrap_or_else(|| Section::empty(&model.folder.join("sentence_bert_config.json")));
        let prompts_path = root.join("config_sentence_transformers.json");
        let prompts = Section::read_optional(&prompts_path)?.map(|file| Prompts::read(&file)).transpose()?;
        let prompts = prompts.unwrap_or_default();
        if !model.include_prompt && !prompts.is_empty() {
            return Err(EncoderError::config(&modules_path, "pooling without the prompt's tokens is not supported"));
        }
        Ok(ModelFolder {
            max_sequence_length: sentence.count("max_seq_length")?,
            lower_case: sentence.flag("do_lower_case")?.unwrap_or(false),
            folder: model.folder,
            config,
            family,
            pooling: model.pooling,
            dense: model.dense,
            prompts,
        })
    }
}

fn family(config: &Section, root: &Path) -> Result<Family, EncoderError> {
    match config.text("model_type")?.unwrap_or("") {
        "bert" => Ok(Family::Bert),
        "roberta" | "xlm-roberta" | "camembert" => Ok(Family::Roberta),
        "clip" => Ok(Family::Clip),
        "siglip" => Ok(Family::Siglip),
        "chinese_clip" => Ok(Family::ChineseClip),
        other => Err(EncoderError::UnsupportedArchitecture {
            folder: root.to_path_buf(),
            model_type: if other.is_empty() { "unknown (config.json has no `model_type`)" } else { other }.to_owned(),
        }),
    }
}

/// What `modules.json` leads to.
struct Modules {
    folder: PathBuf,
    pooling: Option<Pooling>,
    dense: Vec<DenseModule>,
    include_prompt: bool,
}

impl Modules {
    fn read(&mut self, root: &Path, path: &Path) -> Result<(), EncoderError> {
        let bytes = fs_err::read(path).map_err(EncoderError::io(path))?;
        let modules: Vec<Value> = serde_json::from_slice(&bytes)
            .map_err(|error| EncoderError::config(path, format!("not a JSON list: {error}")))?;
        for module in &modules {
            let text = |key: &str| module.get(key).and_then(Value::as_str).unwrap_or_default();
            let folder = root.join(text("path"));
            // The module path of the Python class changed over the years, its last component did not.
            match text("type").rsplit('.').next().unwrap_or_default() {
                "Transformer" | "CLIPModel" => self.folder = folder,
                "Pooling" => self.read_pooling(&folder)?,
                "Dense" => self.dense.push(read_dense(folder)?),
                // Embeddings get unit length anyway, and dropout does nothing outside training.
                "Normalize" | "Dropout" => {}
                other => return Err(EncoderError::config(path, format!("module `{other}` is not supported"))),
            }
        }
        Ok(())
    }

    fn read_pooling(&mut self, folder: &Path) -> Result<(), EncoderError> {
        let path = folder.join("config.json");
        if !path.is_file() {
            let (folder, file) = (folder.to_path_buf(), "config.json".to_owned());
            return Err(EncoderError::MissingFile { folder, file });
        }
        let config = Section::read(&path)?;
        const FLAGS: [(&str, &str); 6] = [
            ("pooling_mode_cls_token", "cls"),
            ("pooling_mode_mean_tokens", "mean"),
            ("pooling_mode_max_tokens", "max"),
            ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"),
            ("pooling_mode_weightedmean_tokens", "weightedmean"),
            ("pooling_mode_lasttoken", "lasttoken"),
        ];
        // One name in newer files, one flag for each mode in older ones.
        let mut modes: Vec<&str> = config.text("pooling_mode")?.into_iter().collect();
        if modes.is_empty() {
            for (flag, mode) in FLAGS {
                if config.flag(flag)?.unwrap_or(false) {
                    modes.push(mode);
                }
            }
        }
        self.pooling = Some(match modes.as_slice() {
            ["mean"] => Pooling::Mean,
            ["cls"] => Pooling::Cls,
            other => {
                let modes = other.join("+");
                return Err(config.error(format!("pooling `{modes}` is not supported; supported: mean, cls")));
            }
        });
        self.include_prompt = config.flag("include_prompt")?.unwrap_or(true);
        Ok(())
    }
}

fn read_dense(folder: PathBuf) -> Result<DenseModule, EncoderError> {
    let config = Section::read(&folder.join("config.json"))?;
    let size = |key: &str| config.count(key)?.ok_or_else(|| config.error(format!("no `{key}`")));
    let activation = match config.text("activation_function")?.and_then(|name| name.rsplit('.').next()) {
        // The default of sentence-transformers' Dense module.
        None | Some("Tanh") => Activation::Tanh,
        Some("Identity") => Activation::Identity,
        Some("ReLU") => Activation::Relu,
        Some("GELU") => Activation::Gelu,
        Some(other) => return Err(config.error(format!("`activation_function` `{other}` is not supported"))),
    };
    Ok(DenseModule { inputs: size("in_features")?, outputs: size("out_features")?, activation, folder })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, content).unwrap();
        }
        folder
    }

    const MODULES: &str = r#"[{"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]"#;

    #[test]
    fn pooling_is_read_in_the_old_and_the_new_form() {
        for (config, expected) in [
            (r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#, Some(Pooling::Cls)),
            (r#"{"pooling_mode_mean_tokens": true}"#, Some(Pooling::Mean)),
            (r#"{"pooling_mode": "mean", "embedding_dimension": 8}"#, Some(Pooling::Mean)),
            (r#"{"pooling_mode_max_tokens": true}"#, None),
            (r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}"#, None),
        ] {
            let folder = folder(&[
                ("modules.json", MODULES),
                ("config.json", r#"{"model_type": "bert"}"#),
                ("1_Pooling/config.json", config),
            ]);
            let read = ModelFolder::read(folder.path());
            match expected {
                Some(pooling) => assert_eq!(read.unwrap().pooling, Some(pooling)),
                None => assert!(read.unwrap_err().to_string().contains("supported: mean, cls"), "{config}"),
            }
        }
    }

    #[test]
    fn an_unknown_module_and_an_unknown_type_are_errors() {
        let modules = r#"[{"path": "", "type": "sentence_transformers.models.WordWeights"}]"#;
        let unknown = folder(&[("modules.json", modules), ("config.json", r#"{"model_type": "bert"}"#)]);
        let error = ModelFolder::read(unknown.path()).unwrap_err().to_string();
        assert!(error.contains("module `WordWeights` is not supported"), "{error}");
        let mpnet = folder(&[("config.json", r#"{"model_type": "mpnet"}"#)]);
        let error = ModelFolder::read(mpnet.path()).unwrap_err();
        assert!(matches!(&error, EncoderError::UnsupportedArchitecture { model_type, .. } if model_type == "mpnet"));
    }
}

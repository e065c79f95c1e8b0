//! Texts to token ids. Owns `tokenizer.json` (or BERT's `vocab.txt`), `tokenizer_config.json`, prompts, cutting and the
//! padding of models that want their full length. Invariant: cutting and padding come from the model's length limits,
//! never from what happened to be saved inside `tokenizer.json`.

use std::path::Path;

use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::bert::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{NormalizerWrapper, Tokenizer, TruncationDirection, TruncationParams, TruncationStrategy};

use crate::error::EncoderError;
use crate::json::Section;
use crate::text_encoder::{TextRole, Tokens};

/// Prefixes that a model wants before its texts, by role; empty where it wants none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prompts {
    query: String,
    document: String,
}

impl Prompts {
    /// Reads `config_sentence_transformers.json`. Which names serve which role is that of sentence-transformers'
    /// `encode_query` and `encode_document`.
    pub(crate) fn read(file: &Section) -> Result<Prompts, EncoderError> {
        let prompts = file.section("prompts")?;
        let default = match file.text("default_prompt_name")? {
            None => None,
            Some(name) => {
                let missing = || file.error(format!("`default_prompt_name` is `{name}`, which is not in `prompts`"));
                Some(prompts.text(name)?.ok_or_else(missing)?)
            }
        };
        let first = |names: &[&str]| -> Result<String, EncoderError> {
            for name in names {
                if let Some(prompt) = prompts.text(name)? {
                    return Ok(prompt.to_owned());
                }
            }
            Ok(default.unwrap_or_default().to_owned())
        };
        Ok(Prompts { query: first(&["query"])?, document: first(&["document", "passage", "corpus"])? })
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.query.is_empty() && self.document.is_empty()
    }

    fn of(&self, role: TextRole) -> &str {
        match role {
            TextRole::Query => &self.query,
            TextRole::Document => &self.document,
        }
    }
}

/// `tokenizer_config.json` and the tokenizer.
pub(crate) struct TokenizerFiles {
    name: String,
    tokenizer: Tokenizer,
    config: Section,
}

impl TokenizerFiles {
    /// Reads the files of a model's folder.
    pub(crate) fn read(folder: &Path, name: &str) -> Result<TokenizerFiles, EncoderError> {
        let failed = |source| EncoderError::Tokenizer { name: name.to_owned(), source };
        let config_path = folder.join("tokenizer_config.json");
        let config = Section::read_optional(&config_path)?.unwrap_or_else(|| Section::empty(&config_path));
        let (json, vocabulary) = (folder.join("tokenizer.json"), folder.join("vocab.txt"));
        let mut tokenizer = if json.is_file() {
            let bytes = fs_err::read(&json).map_err(EncoderError::io(&json))?;
            Tokenizer::from_bytes(bytes).map_err(failed)?
        } else if vocabulary.is_file() {
            let bytes = fs_err::read(&vocabulary).map_err(EncoderError::io(&vocabulary))?;
            bert_tokenizer(&bytes).map_err(failed)?
        } else {
            return Err(EncoderError::MissingFile { folder: folder.to_path_buf(), file: "tokenizer.json".to_owned() });
        };
        // Both may have been saved in the middle of a training run; the callers set what the model says.
        tokenizer.with_padding(None).with_truncation(None).map_err(failed)?;
        apply_bert_settings(&mut tokenizer, &config).map_err(|error| match error {
            SettingsError::Config(error) => error,
            SettingsError::Tokenizer(source) => failed(source),
        })?;
        Ok(TokenizerFiles { name: name.to_owned(), tokenizer, config })
    }

    /// `model_max_length`, where it is said.
    pub(crate) fn model_max_length(&self) -> Result<Option<usize>, EncoderError> {
        self.config.count("model_max_length")
    }

    /// The id of a special token such as `pad_token`.
    pub(crate) fn special_token(&self, key: &str) -> Option<u32> {
        // Either the text itself, or an object with settings around it.
        let value = self.config.get(key)?;
        let text = value.as_str().or_else(|| value.get("content")?.as_str())?;
        self.tokenizer.token_to_id(text)
    }

    /// Whether the model is called with an attention mask, so that padding is not seen.
    pub(crate) fn masks_padding(&self) -> bool {
        // Transformers' tokenizers give a mask unless their config leaves it out of this list.
        let names = self.config.get("model_input_names").and_then(|names| names.as_array());
        names.is_none_or(|names| names.iter().any(|name| name.as_str() == Some("attention_mask")))
    }

    /// A tokenizer that cuts at a length and pads to it where a padding token is given.
    pub(crate) fn build(mut self, settings: TokenizerSettings) -> Result<TextTokenizer, EncoderError> {
        let direction = match self.config.text("truncation_side")? {
            Some("left") => TruncationDirection::Left,
            Some(_) | None => TruncationDirection::Right,
        };
        let strategy = TruncationStrategy::LongestFirst;
        let max_length = settings.max_length;
        let truncation = TruncationParams { direction, max_length, strategy, stride: 0 };
        let failed = |source| EncoderError::Tokenizer { name: self.name.clone(), source };
        self.tokenizer.with_truncation(Some(truncation)).map_err(failed)?;
        Ok(TextTokenizer { name: self.name, tokenizer: self.tokenizer, settings })
    }
}

/// How texts are tokenised.
#[derive(Clone, Debug)]
pub(crate) struct TokenizerSettings {
    /// Longest sequence, special tokens included.
    pub(crate) max_length: usize,
    /// The token that fills sequences up to the full length, for models that want that.
    pub(crate) padding: Option<u32>,
    /// Whether texts are turned to lower case first.
    pub(crate) lower_case: bool,
    /// Prefixes by role.
    pub(crate) prompts: Prompts,
}

/// Texts to token ids as one model wants them.
#[derive(Debug)]
pub(crate) struct TextTokenizer {
    name: String,
    tokenizer: Tokenizer,
    settings: TokenizerSettings,
}

impl TextTokenizer {
    /// Tokenises, on all threads.
    pub(crate) fn tokenize(&self, texts: &[&str], role: TextRole) -> Result<Vec<Tokens>, EncoderError> {
        let prompt = self.settings.prompts.of(role);
        let prepare = |text: &&str| {
            let text = format!("{prompt}{}", self.tokenized_part(text));
            if self.settings.lower_case { text.to_lowercase() } else { text }
        };
        let inputs: Vec<String> = texts.iter().map(prepare).collect();
        let encodings = self
            .tokenizer
            .encode_batch_fast(inputs, true)
            .map_err(|source| EncoderError::Tokenizer { name: self.name.clone(), source })?;
        let ids = |encoding: &tokenizers::Encoding| {
            let mut ids = encoding.get_ids().to_vec();
            if let Some(padding) = self.settings.padding {
                ids.resize(self.settings.max_length, padding);
            }
            Tokens(ids)
        };
        Ok(encodings.iter().map(ids).collect())
    }

    /// The part of a text that can have an effect: its start, or its end where texts are cut at their start.
    fn tokenized_part<'a>(&self, text: &'a str) -> &'a str {
        let bytes = self.settings.max_length.saturating_mul(MAX_BYTES_PER_TOKEN);
        let direction = self.tokenizer.get_truncation().map_or(TruncationDirection::Right, |cut| cut.direction);
        match direction {
            TruncationDirection::Right => {
                let end = (0..=bytes.min(text.len())).rfind(|end| text.is_char_boundary(*end));
                &text[..end.unwrap_or(0)]
            }
            TruncationDirection::Left => {
                let start = (text.len().saturating_sub(bytes)..=text.len()).find(|start| text.is_char_boundary(*start));
                &text[start.unwrap_or(0)..]
            }
        }
    }
}

/// Bytes of text that are tokenised for each token of a model's length. Longer than any token of a real text, so that what
/// is cut here would be cut after tokenising, which takes about a hundred times the memory of the text.
pub(crate) const MAX_BYTES_PER_TOKEN: usize = 512;

/// The tokenizer of a BERT checkpoint that only has the vocabulary (Chinese-CLIP as published, for one).
fn bert_tokenizer(vocabulary: &[u8]) -> tokenizers::Result<Tokenizer> {
    let model = WordPiece::builder().vocab(WordPiece::read_bytes(vocabulary)?).unk_token("[UNK]".to_owned()).build()?;
    let mut tokenizer = Tokenizer::new(model);
    let special = |token: &str| {
        let id = tokenizer.token_to_id(token).ok_or_else(|| format!("vocab.txt has no `{token}`"))?;
        Ok::<_, tokenizers::Error>((token.to_owned(), id))
    };
    let processing = BertProcessing::new(special("[SEP]")?, special("[CLS]")?);
    let tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(|token| tokenizers::AddedToken::from(token, true));
    tokenizer.with_normalizer(Some(BertNormalizer::default()))?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer)).with_post_processor(Some(processing));
    tokenizer.add_special_tokens(tokens)?;
    Ok(tokenizer)
}

enum SettingsError {
    Config(EncoderError),
    Tokenizer(tokenizers::Error),
}

/// Lets `tokenizer_config.json` decide on case, accents and Chinese characters, as transformers' BERT tokenizer does.
fn apply_bert_settings(tokenizer: &mut Tokenizer, config: &Section) -> Result<(), SettingsError> {
    let Some(NormalizerWrapper::BertNormalizer(normalizer)) = tokenizer.get_normalizer() else { return Ok(()) };
    let flag = |key: &str| config.flag(key).map_err(SettingsError::Config);
    let wanted = BertNormalizer::new(
        normalizer.clean_text,
        flag("tokenize_chinese_chars")?.unwrap_or(normalizer.handle_chinese_chars),
        flag("strip_accents")?.or(normalizer.strip_accents),
        flag("do_lower_case")?.unwrap_or(normalizer.lowercase),
    );
    tokenizer.with_normalizer(Some(wanted)).map_err(SettingsError::Tokenizer)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompts(json: &str) -> Result<Prompts, EncoderError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config_sentence_transformers.json");
        fs_err::write(&path, json).unwrap();
        Prompts::read(&Section::read(&path).unwrap())
    }

    #[test]
    fn prompts_are_chosen_as_sentence_transformers_does() {
        for (json, query, document) in [
            (r#"{"prompts": {"query": "q: ", "passage": "p: "}}"#, "q: ", "p: "),
            (r#"{"prompts": {"query": "q: ", "document": "d: ", "passage": "p: "}}"#, "q: ", "d: "),
            (r#"{"prompts": {"query": "q: ", "x": "x: "}, "default_prompt_name": "x"}"#, "q: ", "x: "),
            (r#"{"prompts": {"query": "q: "}, "default_prompt_name": null}"#, "q: ", ""),
            (r#"{"__version__": {}}"#, "", ""),
        ] {
            let prompts = prompts(json).unwrap();
            assert_eq!((prompts.of(TextRole::Query), prompts.of(TextRole::Document)), (query, document), "{json}");
        }
        let error = prompts(r#"{"prompts": {}, "default_prompt_name": "x"}"#).unwrap_err().to_string();
        assert!(error.contains("`default_prompt_name` is `x`, which is not in `prompts`"), "{error}");
    }

    #[test]
    fn case_and_length_come_from_the_configs_not_from_the_tokenizer_file() {
        let folder = tempfile::tempdir().unwrap();
        let vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "Red", "dress"].join("\n");
        fs_err::write(folder.path().join("vocab.txt"), vocabulary).unwrap();
        let tokenize = |config: &str, padding: Option<u32>| {
            fs_err::write(folder.path().join("tokenizer_config.json"), config).unwrap();
            let settings = TokenizerSettings { max_length: 4, padding, lower_case: false, prompts: Prompts::default() };
            let tokenizer = TokenizerFiles::read(folder.path(), "test").unwrap().build(settings).unwrap();
            tokenizer.tokenize(&["Red dress dress dress", ""], TextRole::Query).unwrap()
        };
        let lower = tokenize("{}", None);
        assert_eq!(lower, [Tokens(vec![2, 5, 7, 3]), Tokens(vec![2, 3])]);
        let cased = tokenize(r#"{"do_lower_case": false}"#, Some(0));
        assert_eq!(cased, [Tokens(vec![2, 6, 7, 3]), Tokens(vec![2, 3, 0, 0])]);
    }

    #[test]
    fn of_an_endless_text_the_end_that_counts_is_tokenised() {
        let folder = tempfile::tempdir().unwrap();
        let vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "green", "dress"].join("\n");
        fs_err::write(folder.path().join("vocab.txt"), vocabulary).unwrap();
        let text = format!("red red {} green green", "dress ".repeat(10_000));
        // Characters of three bytes, so that the cut falls inside one.
        let characters = "あ".repeat(10_000);
        for (side, kept, expected) in [("right", "red red dress", [2, 5, 5, 3]), ("left", " green green", [2, 6, 6, 3])]
        {
            fs_err::write(folder.path().join("tokenizer_config.json"), format!(r#"{{"truncation_side": "{side}"}}"#))
                .unwrap();
            let settings =
                TokenizerSettings { max_length: 4, padding: None, lower_case: false, prompts: Prompts::default() };
            let tokenizer = TokenizerFiles::read(folder.path(), "test").unwrap().build(settings).unwrap();
            assert_eq!(tokenizer.tokenize(&[&text], TextRole::Document).unwrap(), [Tokens(expected.to_vec())]);
            let part = tokenizer.tokenized_part(&text);
            assert!(part.len() == 4 * MAX_BYTES_PER_TOKEN && part.contains(kept), "{side}");
            assert_eq!(tokenizer.tokenized_part(&characters).len(), 2046);
        }
    }
}

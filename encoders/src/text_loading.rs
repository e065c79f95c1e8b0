//! From a checkpoint's files to a text tower and its tokenizer. Owns which family is built how, and the length limit;
//! weight names are the towers' knowledge. Invariant: the length limit is never longer than the position table.

use candle_core::Device;
use candle_nn::VarBuilder;
use schemas::{Architecture, Dtype, Pooling};

use crate::checkpoint::Checkpoint;
use crate::checkpoint::weights::Weights;
use crate::device::tensor_dtype;
use crate::error::EncoderError;
use crate::json::Section;
use crate::model_folder::{Family, ModelFolder};
use crate::tokenizer::{TextTokenizer, TokenizerFiles, TokenizerSettings};
use crate::tower::layers::Linear;
use crate::tower::settings::{
    BERT_DEFAULTS, CLIP_TEXT_DEFAULTS, Products, SIGLIP_DEFAULTS, TowerSettings, Workload, tower_section,
};
use crate::tower::text::{EndOfSequence, MaskedPadding, Positions, TextTower};
use crate::tower::text_families::{BertVariant, bert_prefix};

/// Tokens of a Chinese-CLIP text. Its files only say how many positions there are (512); this is what it was trained
/// with, the `context_length` of `cn_clip.clip.tokenize` (<https://github.com/OFA-Sys/Chinese-CLIP>).
pub(crate) const CHINESE_CLIP_TEXT_LENGTH: usize = 52;
/// `eos_token_id` of `CLIPTextConfig` where a config has none.
const CLIP_DEFAULT_END_OF_SEQUENCE: usize = 49_407;
/// The wrong end-of-sequence id that configs of the first CLIP models name.
const CLIP_LEGACY_END_OF_SEQUENCE: usize = 2;
/// Length of a dual encoder's embeddings where a config does not say it (`projection_dim`).
pub(crate) const DEFAULT_PROJECTION: usize = 512;

/// A text tower with its tokenizer.
pub(crate) struct LoadedText {
    pub(crate) architecture: Architecture,
    pub(crate) tokenizer: TextTokenizer,
    pub(crate) tower: TextTower,
}

/// Loads the text tower of a checkpoint.
pub(crate) fn load(
    checkpoint: &Checkpoint,
    device: &Device,
    dtype: Dtype,
    workload: Workload,
) -> Result<LoadedText, EncoderError> {
    let model = ModelFolder::read(checkpoint.folder())?;
    let files = TokenizerFiles::read(&model.folder, checkpoint.name())?;
    let weights = Weights::open(&model.folder)?;
    let prefix = bert_prefix(|name| weights.contains(name)).unwrap_or_default();
    let weights = weights.builder(tensor_dtype(dtype, device), device);
    let failed = EncoderError::tensor(checkpoint.name());
    let config = &model.config;
    let products = Products::of(dtype, device, workload);

    let (architecture, mut tower, padding, usual_length) = match model.family {
        Family::Bert | Family::Roberta => {
            let variant = bert_variant(checkpoint.name(), &model)?;
            let settings = TowerSettings::read(config, BERT_DEFAULTS, products)?;
            let tower = TextTower::bert(&settings, variant, &with_prefix(&weights, prefix)).map_err(&failed)?;
            let architecture = if model.family == Family::Bert { Architecture::Bert } else { Architecture::XlmRoberta };
            (architecture, tower, None, usize::MAX)
        }
        Family::Clip => {
            let text = tower_section(config, "text_config")?;
            let settings = TowerSettings::read(&text, CLIP_TEXT_DEFAULTS, products)?;
            let end = match text.count("eos_token_id")?.unwrap_or(CLIP_DEFAULT_END_OF_SEQUENCE) {
                CLIP_LEGACY_END_OF_SEQUENCE => EndOfSequence::HighestId,
                id => EndOfSequence::First(u32::try_from(id).unwrap_or(u32::MAX)),
            };
            let projection = config.count("projection_dim")?.unwrap_or(DEFAULT_PROJECTION);
            let tower = TextTower::clip(&settings, end, projection, &weights).map_err(&failed)?;
            (Architecture::ClipText, tower, None, usize::MAX)
        }
        Family::Siglip => {
            let text = tower_section(config, "text_config")?;
            let settings = TowerSettings::read(&text, SIGLIP_DEFAULTS, products)?;
            let padding = siglip_padding(&files, &text)?;
            let masked = files.masks_padding().then(|| MaskedPadding {
                padding,
                is_end_of_sequence: files.special_token("eos_token") == Some(padding),
            });
            let projection = text.count("projection_size")?.unwrap_or(settings.hidden);
            let tower = TextTower::siglip(&settings, masked, projection, &weights).map_err(&failed)?;
            (Architecture::SiglipText, tower, Some(padding), usize::MAX)
        }
        Family::ChineseClip => {
            let settings = TowerSettings::read(&tower_section(config, "text_config")?, BERT_DEFAULTS, products)?;
            let projection = config.count("projection_dim")?.unwrap_or(DEFAULT_PROJECTION);
            let tower = TextTower::chinese_clip(&settings, projection, &weights).map_err(&failed)?;
            (Architecture::ChineseClipText, tower, None, CHINESE_CLIP_TEXT_LENGTH)
        }
    };
    for dense in &model.dense {
        let weights = Weights::open(&dense.folder)?.builder(tensor_dtype(dtype, device), device);
        let linear = Linear::read_projection(dense.inputs, dense.outputs, &weights.pp("linear")).map_err(&failed)?;
        tower.push_projection(linear, dense.activation);
    }

    let said = model.max_sequence_length.or(files.model_max_length()?).unwrap_or(usize::MAX);
    let max_length = said.min(usual_length).min(tower.longest().map_err(&failed)?);
    let settings =
        TokenizerSettings { max_length, padding, lower_case: model.lower_case, prompts: model.prompts.clone() };
    Ok(LoadedText { architecture, tokenizer: files.build(settings)?, tower })
}

fn bert_variant(name: &str, model: &ModelFolder) -> Result<BertVariant, EncoderError> {
    let config = &model.config;
    // transformers 5 no longer writes the key; "absolute" is the only kind left there.
    let kind = config.text("position_embedding_type")?.unwrap_or("absolute");
    if kind != "absolute" {
        return Err(config.error(format!("`position_embedding_type` `{kind}` is not supported")));
    }
    if config.flag("is_decoder")?.unwrap_or(false) {
        return Err(config.error("a decoder is not a sentence encoder"));
    }
    let positions = match model.family {
        // The default of `XLMRobertaConfig` is 1.
        Family::Roberta => Positions::AfterPadding(token_id(config, "pad_token_id", 1)?),
        Family::Bert | Family::Clip | Family::Siglip | Family::ChineseClip => Positions::FromZero,
    };
    let pooling = model.pooling.unwrap_or_else(|| {
        tracing::warn!(
            name,
            "the checkpoint does not say how to pool (no modules.json); taking the mean of the tokens"
        );
        Pooling::Mean
    });
    Ok(BertVariant { positions, pooling })
}

/// The tokenizer's padding token; the config's where the tokenizer names none.
fn siglip_padding(files: &TokenizerFiles, text: &Section) -> Result<u32, EncoderError> {
    match files.special_token("pad_token") {
        Some(id) => Ok(id),
        // The default of `SiglipTextConfig` is 1.
        None => token_id(text, "pad_token_id", 1),
    }
}

fn token_id(config: &Section, key: &str, default: u32) -> Result<u32, EncoderError> {
    match config.count(key)? {
        None => Ok(default),
        Some(id) => u32::try_from(id).map_err(|_| config.error(format!("`{key}` {id} is not a token id"))),
    }
}

fn with_prefix<'a>(weights: &VarBuilder<'a>, prefix: &str) -> VarBuilder<'a> {
    match prefix.trim_end_matches('.') {
        "" => weights.clone(),
        prefix => weights.pp(prefix),
    }
}

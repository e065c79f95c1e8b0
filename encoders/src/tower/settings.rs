//! Sizes of a transformer from `config.json`. Owns the keys and transformers' defaults, which published configs leave
//! out. Invariant: sizes that cannot be computed with (zero, heads that do not divide) are errors, found before any
//! weight is read.

use candle_core::Device;
use schemas::Dtype;

use super::bf16;
#[cfg(target_arch = "x86_64")]
use super::f32_tiles;
pub(crate) use super::layers::Activation;
use crate::error::EncoderError;
use crate::json::Section;

/// Sizes of one tower.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TowerSettings {
    /// Width of the hidden states.
    pub(crate) hidden: usize,
    /// Width inside the feed-forward part.
    pub(crate) intermediate: usize,
    /// Blocks.
    pub(crate) layers: usize,
    /// Attention heads.
    pub(crate) heads: usize,
    /// Activation of the feed-forward part.
    pub(crate) activation: Activation,
    /// Added to the variance in layer norms.
    pub(crate) epsilon: f64,
    /// How the blocks multiply matrices.
    pub(crate) products: Products,
}

/// How rows are multiplied by the weights of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Products {
    /// By candle, in the number type of the tensors.
    InTensors,
    /// On the CPU, factors rounded to bfloat16 and sums in f32; everything else stays f32. Attention's products too, where
    /// the processor has AMX.
    Bf16OnCpu,
    /// On the CPU, in f32 by the tiles of AMX, where weights fill them; by candle, where they do not.
    #[cfg(target_arch = "x86_64")]
    F32InTiles,
}

impl Products {
    /// What a number type means on a device for some work. On the CPU, f16 means f32, and so does bf16 on processors that
    /// would only be slower with it.
    pub(crate) fn of(dtype: Dtype, device: &Device, workload: Workload) -> Products {
        match (dtype, workload) {
            (Dtype::F32 | Dtype::F16 | Dtype::Bf16, _) if !device.is_cpu() => Products::InTensors,
            (Dtype::Bf16, _) if bf16::is_available() => Products::Bf16OnCpu,
            #[cfg(target_arch = "x86_64")]
            (_, Workload::Catalog) if f32_tiles::is_available() => Products::F32InTiles,
            (Dtype::F32 | Dtype::F16 | Dtype::Bf16, Workload::Catalog | Workload::Queries) => Products::InTensors,
        }
    }
}

/// What an encoder is loaded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    /// Many inputs, for which it pays to pack weights when they are loaded.
    Catalog,
    /// One now and then, for which it does not.
    Queries,
}

/// What transformers assumes where a config says nothing (`BertConfig`, `XLMRobertaConfig`, `ChineseCLIPTextConfig`).
pub(crate) const BERT_DEFAULTS: TowerSettings = TowerSettings {
    hidden: 768,
    intermediate: 3072,
    layers: 12,
    heads: 12,
    activation: Activation::Gelu,
    epsilon: 1e-12,
    products: Products::InTensors,
};
/// The same of `CLIPTextConfig`.
pub(crate) const CLIP_TEXT_DEFAULTS: TowerSettings = TowerSettings {
    hidden: 512,
    intermediate: 2048,
    layers: 12,
    heads: 8,
    activation: Activation::QuickGelu,
    epsilon: 1e-5,
    products: Products::InTensors,
};
/// The same of `CLIPVisionConfig` and `ChineseCLIPVisionConfig`.
pub(crate) const CLIP_VISION_DEFAULTS: TowerSettings =
    TowerSettings { activation: Activation::QuickGelu, epsilon: 1e-5, ..BERT_DEFAULTS };
/// The same of `SiglipTextConfig` and `SiglipVisionConfig`.
pub(crate) const SIGLIP_DEFAULTS: TowerSettings =
    TowerSettings { activation: Activation::GeluTanh, epsilon: 1e-6, ..BERT_DEFAULTS };

impl TowerSettings {
    /// Reads a config, or the part of it that describes one tower.
    pub(crate) fn read(
        config: &Section,
        defaults: TowerSettings,
        products: Products,
    ) -> Result<TowerSettings, EncoderError> {
        let activation = match config.text("hidden_act")? {
            None => defaults.activation,
            Some(name) => Activation::from_name(name)
                .ok_or_else(|| config.error(format!("`hidden_act` is `{name}`, which is not supported")))?,
        };
        let settings = TowerSettings {
            hidden: config.count("hidden_size")?.unwrap_or(defaults.hidden),
            intermediate: config.count("intermediate_size")?.unwrap_or(defaults.intermediate),
            layers: config.count("num_hidden_layers")?.unwrap_or(defaults.layers),
            heads: config.count("num_attention_heads")?.unwrap_or(defaults.heads),
            activation,
            epsilon: config.number("layer_norm_eps")?.unwrap_or(defaults.epsilon),
            products,
        };
        if settings.heads == 0 || settings.hidden == 0 || !settings.hidden.is_multiple_of(settings.heads) {
            let TowerSettings { hidden, heads, .. } = settings;
            return Err(config.error(format!("hidden size {hidden} cannot be divided by {heads} attention heads")));
        }
        Ok(settings)
    }
}

/// The part of a dual encoder's config for one tower. Older configs carry a second copy of it with `_dict` behind its
/// name that wins where it is present, as in transformers.
pub(crate) fn tower_section(config: &Section, name: &str) -> Result<Section, EncoderError> {
    Ok(config.section(name)?.overlaid(&config.section(&format!("{name}_dict"))?))
}

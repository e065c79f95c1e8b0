//! The transformer block that all towers are made of: attention and feed-forward, each with a residual and a layer norm
//! before (CLIP, SigLIP) or after (BERT). Owns the names under which the two families publish its weights.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::attention::{Visibility, self_attention};
use super::layers::{FeedForward, LayerNorm, Linear};
use super::packed::Packed;
use super::settings::{Products, TowerSettings};

/// Where layer norms stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NormPlace {
    /// Before attention and feed-forward; the residual goes around both.
    Before,
    /// After the residual is added.
    After,
}

/// Names of a block's weights, and where its norms stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockFamily {
    queries: &'static str,
    keys: &'static str,
    values: &'static str,
    attention_output: &'static str,
    attention_norm: &'static str,
    widen: &'static str,
    narrow: &'static str,
    feed_forward_norm: &'static str,
    norm_place: NormPlace,
}

/// BERT, XLM-RoBERTa, Chinese-CLIP's text tower.
pub(crate) const BERT_BLOCKS: BlockFamily = BlockFamily {
    queries: "attention.self.query",
    keys: "attention.self.key",
    values: "attention.self.value",
    attention_output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    widen: "intermediate.dense",
    narrow: "output.dense",
    feed_forward_norm: "output.LayerNorm",
    norm_place: NormPlace::After,
};

/// CLIP, SigLIP, Chinese-CLIP's image tower.
pub(crate) const CLIP_BLOCKS: BlockFamily = BlockFamily {
    queries: "self_attn.q_proj",
    keys: "self_attn.k_proj",
    values: "self_attn.v_proj",
    attention_output: "self_attn.out_proj",
    attention_norm: "layer_norm1",
    widen: "mlp.fc1",
    narrow: "mlp.fc2",
    feed_forward_norm: "layer_norm2",
    norm_place: NormPlace::Before,
};

/// One block.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    heads: usize,
    products: Products,
    norm_place: NormPlace,
    /// Queries (divided by √head size), keys and values side by side: one matrix product instead of three.
    queries_keys_values: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    feed_forward: FeedForward,
    feed_forward_norm: LayerNorm,
}

impl Block {
    /// Reads all blocks of a tower, numbered below `weights`.
    pub(crate) fn read_all(
        settings: &TowerSettings,
        family: &BlockFamily,
        weights: &VarBuilder<'_>,
    ) -> Result<Vec<Block>> {
        (0..settings.layers).map(|layer| Block::read(settings, family, &weights.pp(layer))).collect()
    }

    fn read(settings: &TowerSettings, family: &BlockFamily, weights: &VarBuilder<'_>) -> Result<Block> {
        let hidden = settings.hidden;
        let square = |name: &str| Linear::read(hidden, hidden, &weights.pp(name));
        let norm = |name: &str| LayerNorm::read(hidden, settings.epsilon, &weights.pp(name));
        let queries = square(family.queries)?.scaled(query_scale(settings))?;
        let queries_keys_values = Linear::side_by_side(&[queries, square(family.keys)?, square(family.values)?])?;
        Ok(Block {
            heads: settings.heads,
            products: settings.products,
            norm_place: family.norm_place,
            queries_keys_values: queries_keys_values.with_products(settings.products)?,
            attention_output: square(family.attention_output)?.with_products(settings.products)?,
            attention_norm: norm(family.attention_norm)?,
            feed_forward: FeedForward::read(settings, &weights.pp(family.widen), &weights.pp(family.narrow))?,
            feed_forward_norm: norm(family.feed_forward_norm)?,
        })
    }

    /// Applies it to `[tokens, hidden]`.
    pub(crate) fn forward(&self, hidden: &Tensor, packed: &Packed, visibility: &Visibility) -> Result<Tensor> {
        let attend_onto = |residual: &Tensor, input: &Tensor| {
            let qkv = self.queries_keys_values.forward(input)?;
            let attended = self_attention(&qkv, packed, self.heads, visibility, self.products)?;
            self.attention_output.forward_onto(residual, &attended)
        };
        match self.norm_place {
            NormPlace::Before => {
                let hidden = attend_onto(hidden, &self.attention_norm.forward(hidden)?)?;
                self.feed_forward.forward_onto(&hidden, &self.feed_forward_norm.forward(&hidden)?)
            }
            NormPlace::After => {
                let hidden = self.attention_norm.forward(&attend_onto(hidden, hidden)?)?;
                self.feed_forward_norm.forward(&self.feed_forward.forward_onto(&hidden, &hidden)?)
            }
        }
    }
}

/// What queries are multiplied by: 1 / √head size.
pub(crate) fn query_scale(settings: &TowerSettings) -> f64 {
    ((settings.hidden / settings.heads) as f64).sqrt().recip()
}

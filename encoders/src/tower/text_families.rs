//! The text towers of each family. Owns weight names and config keys of BERT, (XLM-)RoBERTa, CLIP, SigLIP and
//! Chinese-CLIP; the forward pass they share is `text`. Invariant: missing or misshapen weights are found here, when the
//! tower is loaded.

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;
use schemas::Pooling;

use super::attention::Visibility;
use super::block::{BERT_BLOCKS, Block, CLIP_BLOCKS};
use super::layers::{Activation, LayerNorm, Linear};
use super::settings::TowerSettings;
use super::text::{EndOfSequence, MaskedPadding, Positions, TextTower};

/// What a BERT-like tower does after the last block, and how it numbers positions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BertVariant {
    /// Position numbers.
    pub(crate) positions: Positions,
    /// Pooling.
    pub(crate) pooling: Pooling,
}

impl TextTower {
    /// BERT, RoBERTa, and the text tower of Chinese-CLIP before its projection.
    pub(crate) fn bert(settings: &TowerSettings, variant: BertVariant, weights: &VarBuilder<'_>) -> Result<TextTower> {
        let embeddings = weights.pp("embeddings");
        let table = |name: &str| table(settings.hidden, &embeddings.pp(name));
        // Every text is one segment: the embedding of segment 0 is the same for all tokens.
        let segment = table("token_type_embeddings")?.narrow(0, 0, 1)?;
        Ok(TextTower {
            token_embedding: table("word_embeddings")?,
            position_embedding: table("position_embeddings")?.broadcast_add(&segment)?,
            embedding_norm: Some(LayerNorm::read(settings.hidden, settings.epsilon, &embeddings.pp("LayerNorm"))?),
            positions: variant.positions,
            visibility: Visibility::Full,
            masked_padding: None,
            blocks: Block::read_all(settings, &BERT_BLOCKS, &weights.pp("encoder.layer"))?,
            pooling: variant.pooling,
            end_of_sequence: EndOfSequence::HighestId,
            final_norm: None,
            projections: Vec::new(),
        })
    }

    /// CLIP.
    pub(crate) fn clip(
        settings: &TowerSettings,
        end_of_sequence: EndOfSequence,
        projection: usize,
        weights: &VarBuilder<'_>,
    ) -> Result<TextTower> {
        let tower = weights.pp("text_model");
        let position_embedding = table(settings.hidden, &tower.pp("embeddings.position_embedding"))?;
        let longest = position_embedding.dim(0)?;
        let projection = Linear::read_projection(settings.hidden, projection, &weights.pp("text_projection"))?;
        Ok(TextTower {
            token_embedding: table(settings.hidden, &tower.pp("embeddings.token_embedding"))?,
            visibility: Visibility::causal(longest, weights.dtype(), weights.device())?,
            position_embedding,
            embedding_norm: None,
            positions: Positions::FromZero,
            masked_padding: None,
            blocks: Block::read_all(settings, &CLIP_BLOCKS, &tower.pp("encoder.layers"))?,
            pooling: Pooling::EndOfSequence,
            end_of_sequence,
            final_norm: Some(LayerNorm::read(settings.hidden, settings.epsilon, &tower.pp("final_layer_norm"))?),
            projections: vec![(projection, Activation::Identity)],
        })
    }

    /// SigLIP.
    pub(crate) fn siglip(
        settings: &TowerSettings,
        masked_padding: Option<MaskedPadding>,
        projection: usize,
        weights: &VarBuilder<'_>,
    ) -> Result<TextTower> {
        let tower = weights.pp("text_model");
        let head = Linear::read(settings.hidden, projection, &tower.pp("head"))?;
        Ok(TextTower {
            token_embedding: table(settings.hidden, &tower.pp("embeddings.token_embedding"))?,
            position_embedding: table(settings.hidden, &tower.pp("embeddings.position_embedding"))?,
            embedding_norm: None,
            positions: Positions::FromZero,
            visibility: Visibility::Full,
            masked_padding,
            blocks: Block::read_all(settings, &CLIP_BLOCKS, &tower.pp("encoder.layers"))?,
            pooling: Pooling::Last,
            end_of_sequence: EndOfSequence::HighestId,
            final_norm: Some(LayerNorm::read(settings.hidden, settings.epsilon, &tower.pp("final_layer_norm"))?),
            projections: vec![(head, Activation::Identity)],
        })
    }

    /// Chinese-CLIP: BERT's first token and a projection.
    pub(crate) fn chinese_clip(
        settings: &TowerSettings,
        projection: usize,
        weights: &VarBuilder<'_>,
    ) -> Result<TextTower> {
        let variant = BertVariant { positions: Positions::FromZero, pooling: Pooling::Cls };
        let mut tower = TextTower::bert(settings, variant, &weights.pp("text_model"))?;
        let projection = Linear::read_projection(settings.hidden, projection, &weights.pp("text_projection"))?;
        tower.push_projection(projection, Activation::Identity);
        Ok(tower)
    }
}

/// The prefix under which a BERT-like encoder lies: models that were trained with a head on top carry one.
pub(crate) fn bert_prefix(contains: impl Fn(&str) -> bool) -> Option<&'static str> {
    let prefixes = ["", "bert.", "roberta.", "model.", "0.auto_model."];
    prefixes.into_iter().find(|prefix| contains(&format!("{prefix}embeddings.word_embeddings.weight")))
}

/// An embedding table of any number of rows.
fn table(width: usize, weights: &VarBuilder<'_>) -> Result<Tensor> {
    let table = weights.get_unchecked("weight")?;
    if table.dims().get(1) != Some(&width) || table.rank() != 2 {
        candle_core::bail!("`{}.weight` has shape {:?}, expected width {width}", weights.prefix(), table.shape());
    }
    debug_assert!(matches!(table.dtype(), DType::F32 | DType::F16 | DType::BF16));
    Ok(table)
}

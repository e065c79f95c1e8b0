//! The text tower: embeddings, blocks, pooling, projection. Owns one forward pass that serves all text families, which
//! differ in the parts they fill in (`text_families`). Invariant: what comes out for a sequence depends on its own
//! token ids only.

use candle_core::{DType, Result, Tensor};
use schemas::Pooling;

use super::attention::Visibility;
use super::block::Block;
use super::layers::{Activation, LayerNorm, Linear};
use super::packed::{Packed, SequenceShape};

/// Which row of the position table a token takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Positions {
    /// Counted from 0.
    FromZero,
    /// RoBERTa: counted from the padding token's id plus 1, padding tokens keep the padding id.
    AfterPadding(u32),
}

/// How the end-of-sequence token is found, for [`Pooling::EndOfSequence`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndOfSequence {
    /// The first token of that id; the first token where there is none.
    First(u32),
    /// The first token with the highest id: configs of the first CLIP models name a wrong id (2), see
    /// `CLIPTextTransformer.forward` in transformers.
    HighestId,
}

/// Padding that attention must not see, for models that are called with full-length sequences and a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MaskedPadding {
    /// The padding token.
    pub(crate) padding: u32,
    /// Whether it also ends the text, so that the first one at the end is not padding.
    pub(crate) is_end_of_sequence: bool,
}

/// A loaded text tower.
#[derive(Debug)]
pub(crate) struct TextTower {
    pub(super) token_embedding: Tensor,
    /// With the embedding of token type 0 added, where the family has one.
    pub(super) position_embedding: Tensor,
    pub(super) embedding_norm: Option<LayerNorm>,
    pub(super) positions: Positions,
    pub(super) visibility: Visibility,
    pub(super) masked_padding: Option<MaskedPadding>,
    pub(super) blocks: Vec<Block>,
    pub(super) pooling: Pooling,
    pub(super) end_of_sequence: EndOfSequence,
    pub(super) final_norm: Option<LayerNorm>,
    pub(super) projections: Vec<(Linear, Activation)>,
}

impl TextTower {
    /// How hidden states become an embedding.
    pub(crate) fn pooling(&self) -> Pooling {
        self.pooling
    }

    /// Length of an embedding.
    pub(crate) fn dimension(&self) -> Result<usize> {
        match self.projections.last() {
            Some((projection, _)) => projection.outputs(),
            None => self.token_embedding.dim(1),
        }
    }

    /// Number of token ids.
    pub(crate) fn vocabulary(&self) -> Result<usize> {
        self.token_embedding.dim(0)
    }

    /// Longest sequence.
    pub(crate) fn longest(&self) -> Result<usize> {
        let reserved = match self.positions {
            Positions::FromZero => 0,
            Positions::AfterPadding(padding) => padding as usize + 1,
        };
        Ok(self.position_embedding.dim(0)?.saturating_sub(reserved))
    }

    /// Adds a layer after the pooling.
    pub(crate) fn push_projection(&mut self, projection: Linear, activation: Activation) {
        self.projections.push((projection, activation));
    }

    /// Length and visible tokens of a sequence; sorting by it makes batches cheap.
    pub(crate) fn shape(&self, ids: &[u32]) -> SequenceShape {
        let keys = match self.masked_padding {
            None => ids.len(),
            Some(MaskedPadding { padding, is_end_of_sequence }) => {
                let trailing = ids.iter().rev().take_while(|id| **id == padding).count();
                let text = ids.len() - trailing + usize::from(is_end_of_sequence && trailing > 0);
                text.max(1)
            }
        };
        SequenceShape { length: ids.len(), keys }
    }

    /// Embeddings, not yet of unit length, row by row. Sequences are not empty, not longer than [`TextTower::longest`]
    /// and have ids below [`TextTower::vocabulary`].
    pub(crate) fn forward(&self, sequences: &[&[u32]]) -> Result<Vec<f32>> {
        let packed = Packed::new(sequences.iter().map(|ids| self.shape(ids)));
        let mut hidden = self.embed(sequences)?;
        for block in &self.blocks {
            hidden = block.forward(&hidden, &packed, &self.visibility)?;
        }
        let mut pooled = self.pool(&hidden, sequences, &packed)?;
        for (projection, activation) in &self.projections {
            pooled = projection.forward_activated(&pooled, *activation)?;
        }
        pooled.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
    }

    fn embed(&self, sequences: &[&[u32]]) -> Result<Tensor> {
        let device = self.token_embedding.device();
        let ids: Vec<u32> = sequences.iter().flat_map(|ids| ids.iter().copied()).collect();
        let positions: Vec<u32> = sequences.iter().flat_map(|ids| self.position_ids(ids)).collect();
        let count = ids.len();
        let tokens = self.token_embedding.index_select(&Tensor::from_vec(ids, count, device)?, 0)?;
        let positions = self.position_embedding.index_select(&Tensor::from_vec(positions, count, device)?, 0)?;
        let embedded = (tokens + positions)?;
        match &self.embedding_norm {
            Some(norm) => norm.forward(&embedded),
            None => Ok(embedded),
        }
    }

    fn position_ids(&self, ids: &[u32]) -> Vec<u32> {
        match self.positions {
            Positions::FromZero => (0..ids.len() as u32).collect(),
            Positions::AfterPadding(padding) => {
                let mut next = padding;
                let mut position = |id: &u32| {
                    if *id == padding {
                        return padding;
                    }
                    next += 1;
                    next
                };
                ids.iter().map(&mut position).collect()
            }
        }
    }

    fn pool(&self, hidden: &Tensor, sequences: &[&[u32]], packed: &Packed) -> Result<Tensor> {
        let rows: Vec<u32> = match self.pooling {
            Pooling::Mean => return self.mean(hidden, packed),
            Pooling::Cls => packed.starts().map(|start| start as u32).collect(),
            Pooling::Last => {
                packed.starts().zip(sequences).map(|(start, ids)| (start + ids.len() - 1) as u32).collect()
            }
            Pooling::EndOfSequence => {
                packed.starts().zip(sequences).map(|(start, ids)| (start + self.end_of_sequence(ids)) as u32).collect()
            }
            Pooling::Attention => candle_core::bail!("text towers do not pool by attention"),
        };
        let count = rows.len();
        let pooled = hidden.index_select(&Tensor::from_vec(rows, count, hidden.device())?, 0)?;
        // The final norm works row by row: norming the pooled rows is the same as pooling the normed ones.
        match &self.final_norm {
            Some(norm) => norm.forward(&pooled),
            None => Ok(pooled),
        }
    }

    /// The mean over each sequence's tokens, in f32, computed per run of equal lengths.
    fn mean(&self, hidden: &Tensor, packed: &Packed) -> Result<Tensor> {
        let width = hidden.dim(1)?;
        let mut parts = Vec::with_capacity(packed.runs().len());
        for run in packed.runs() {
            let tokens = hidden.narrow(0, run.start, run.tokens())?.to_dtype(DType::F32)?;
            parts.push(tokens.reshape((run.sequences, run.shape.length, width))?.mean(1)?);
        }
        let mean = Tensor::cat(&parts, 0)?;
        // Dense layers compute in the model's number type.
        if self.projections.is_empty() { Ok(mean) } else { mean.to_dtype(hidden.dtype()) }
    }

    fn end_of_sequence(&self, ids: &[u32]) -> usize {
        match self.end_of_sequence {
            EndOfSequence::First(end) => ids.iter().position(|id| *id == end).unwrap_or(0),
            EndOfSequence::HighestId => {
                let highest = ids.iter().max();
                ids.iter().position(|id| Some(id) == highest).unwrap_or(0)
            }
        }
    }
}

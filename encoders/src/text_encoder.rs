//! Text encoders: the public face over tokenizer and text tower. Owns tokenising, prompts, batching, pooling and
//! normalising; the towers' forward passes are in their own files. Invariant: the embedding of a text does not depend
//! on the texts beside it.

use candle_core::Device;
use rayon::prelude::*;
use schemas::{Dtype, EncoderSpec};

use crate::checkpoint::Checkpoint;
use crate::device::DeviceChoice;
use crate::embedding::Embeddings;
use crate::error::EncoderError;
use crate::text_loading;
use crate::tokenizer::TextTokenizer;
use crate::tower::settings::Workload;
use crate::tower::text::TextTower;

/// Tokens that are computed at once on the CPU: enough to keep the matrix products busy, few enough that the widest
/// intermediate result stays in the cache. One thread computes one such batch.
pub const DEFAULT_CPU_BATCH_TOKENS: usize = 1024;
/// Tokens that are computed at once on a CUDA device: large matrix products, and below 2 GiB of attention scores for
/// 16 heads and 512 tokens in f32.
pub const DEFAULT_CUDA_BATCH_TOKENS: usize = 32_768;

/// What a text is for; decides the prompt, where the model has prompts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextRole {
    /// A catalog's text.
    Document,
    /// A searcher's text.
    Query,
}

/// Token ids of one text, special tokens included, cut at the model's length, without padding (with it where the
/// model wants its full length).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens(pub Vec<u32>);

/// A loaded text tower. `Send + Sync`.
#[derive(Debug)]
pub struct TextEncoder {
    spec: EncoderSpec,
    device: Device,
    tokenizer: TextTokenizer,
    tower: TextTower,
    vocabulary: usize,
    longest: usize,
}

impl TextEncoder {
    /// Loads the text tower of a checkpoint for a catalog: where that makes many texts faster, weights are rearranged, which
    /// takes time and up to one and a half times the memory of f32.
    ///
    /// # Errors
    /// When files are missing or malformed, or the device cannot be used.
    pub fn load(checkpoint: &Checkpoint, device: DeviceChoice, dtype: Dtype) -> Result<TextEncoder, EncoderError> {
        TextEncoder::load_for(Workload::Catalog, checkpoint, device, dtype)
    }

    /// The same for a query now and then. Embeddings differ by no more than rounding in the number type does.
    ///
    /// # Errors
    /// As [`TextEncoder::load`].
    pub fn load_for_queries(
        checkpoint: &Checkpoint,
        device: DeviceChoice,
        dtype: Dtype,
    ) -> Result<TextEncoder, EncoderError> {
        TextEncoder::load_for(Workload::Queries, checkpoint, device, dtype)
    }

    fn load_for(
        workload: Workload,
        checkpoint: &Checkpoint,
        device: DeviceChoice,
        dtype: Dtype,
    ) -> Result<TextEncoder, EncoderError> {
        let device = device.resolve()?;
        let loaded = text_loading::load(checkpoint, &device, dtype, workload)?;
        let failed = EncoderError::tensor(checkpoint.name());
        let spec = EncoderSpec {
            name: checkpoint.name().to_owned(),
            architecture: loaded.architecture,
            checkpoint: checkpoint.fingerprint().to_owned(),
            weights: checkpoint.weights_hash(),
            preprocessing: checkpoint.text_preprocessing_hash(),
            pooling: loaded.tower.pooling(),
            dimension: loaded.tower.dimension().map_err(&failed)?,
            dtype,
        };
        let (vocabulary, longest) =
            (loaded.tower.vocabulary().map_err(&failed)?, loaded.tower.longest().map_err(&failed)?);
        Ok(TextEncoder { spec, device, tokenizer: loaded.tokenizer, tower: loaded.tower, vocabulary, longest })
    }

    /// What identifies it.
    #[must_use]
    pub fn spec(&self) -> &EncoderSpec {
        &self.spec
    }

    /// Tokenises; CPU work, safe to call from many threads.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub fn tokenize(&self, texts: &[&str], role: TextRole) -> Result<Vec<Tokens>, EncoderError> {
        self.tokenizer.tokenize(texts, role)
    }

    /// Encodes any number of tokenised texts; row i belongs to `tokens[i]`. Sorted by length inside and computed in
    /// batches of [`DEFAULT_CPU_BATCH_TOKENS`] or [`DEFAULT_CUDA_BATCH_TOKENS`] tokens; on the CPU, batches are computed
    /// on all threads of the current rayon pool.
    ///
    /// # Errors
    /// When the device fails or tokens are not this model's.
    pub fn encode_tokens(&self, tokens: &[Tokens]) -> Result<Embeddings, EncoderError> {
        for Tokens(ids) in tokens {
            self.check(ids)?;
        }
        let order = self.order(tokens);
        let encode = |batch: &&[usize]| {
            let sequences: Vec<&[u32]> = batch.iter().map(|&row| tokens[row].0.as_slice()).collect();
            self.tower.forward(&sequences).map_err(EncoderError::tensor(&self.spec.name))
        };
        let computed: Vec<Vec<f32>> = if self.device.is_cpu() {
            let batches = batches(&order, tokens, DEFAULT_CPU_BATCH_TOKENS);
            batches.par_iter().map(encode).collect::<Result<_, _>>()?
        } else {
            let batches = batches(&order, tokens, DEFAULT_CUDA_BATCH_TOKENS);
            batches.iter().map(encode).collect::<Result<_, _>>()?
        };
        let dimension = self.spec.dimension;
        let mut values = vec![0.0; tokens.len() * dimension];
        let rows = computed.iter().flat_map(|batch| batch.chunks_exact(dimension));
        for (&row, vector) in order.iter().zip(rows) {
            values[row * dimension..(row + 1) * dimension].copy_from_slice(vector);
        }
        Embeddings::normalized(&self.spec.name, dimension, values)
    }

    /// Tokenises and encodes any number of texts in batches by token budget, sorted by length inside; rows in the
    /// order of the texts.
    ///
    /// # Errors
    /// As the two above.
    pub fn encode(&self, texts: &[&str], role: TextRole) -> Result<Embeddings, EncoderError> {
        self.encode_tokens(&self.tokenize(texts, role)?)
    }

    /// Rows by falling length: the longest batches start first, so that no thread is left with one at the end.
    fn order(&self, tokens: &[Tokens]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..tokens.len()).collect();
        order.sort_by_cached_key(|&row| std::cmp::Reverse(self.tower.shape(&tokens[row].0)));
        order
    }

    fn check(&self, ids: &[u32]) -> Result<(), EncoderError> {
        let reason = match ids.iter().find(|id| **id as usize >= self.vocabulary) {
            Some(id) => format!("token {id} of a vocabulary of {}", self.vocabulary),
            None if ids.is_empty() => "no token at all".to_owned(),
            None if ids.len() > self.longest => {
                format!("{} tokens, the model has {} positions", ids.len(), self.longest)
            }
            None => return Ok(()),
        };
        Err(EncoderError::TokensDoNotFit { name: self.spec.name.clone(), reason })
    }
}

/// Cuts rows, in their order, into batches that do not exceed a number of tokens, but for a single longer row.
fn batches<'a>(order: &'a [usize], tokens: &[Tokens], budget: usize) -> Vec<&'a [usize]> {
    let mut batches = Vec::new();
    let (mut begin, mut used) = (0, 0);
    for (index, &row) in order.iter().enumerate() {
        let length = tokens[row].0.len();
        if index > begin && used + length > budget {
            batches.push(&order[begin..index]);
            (begin, used) = (index, 0);
        }
        used += length;
    }
    if begin < order.len() {
        batches.push(&order[begin..]);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_keep_order_and_budget() {
        let tokens: Vec<Tokens> = [9, 4, 4, 3, 1].iter().map(|&length| Tokens(vec![0; length])).collect();
        let order = [0, 1, 2, 3, 4];
        assert_eq!(batches(&order, &tokens, 8), [&[0][..], &[1, 2], &[3, 4]]);
        assert_eq!(batches(&order, &tokens, 100), [&order[..]]);
        assert!(batches(&[], &tokens, 8).is_empty());
    }

    #[test]
    fn encoders_can_be_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<TextEncoder>();
        shared::<crate::ImageEncoder>();
    }
}

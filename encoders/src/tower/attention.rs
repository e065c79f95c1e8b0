//! Multi-head attention over packed sequences (Vaswani et al. 2017). Owns grouping by length and the causal mask.
//! Invariant: a token sees only tokens of its own sequence; no padding is computed and, but for causal models, no mask.

use candle_core::{DType, Device, Result, Tensor};

use super::fused::{self, softmax};
use super::packed::{Packed, Run};
use super::settings::Products;
use crate::device::attend_packed;

/// What the causal mask adds to forbidden scores: e to this power is 0 in every number type, and unlike −∞ it is finite
/// in all of them.
const FORBIDDEN: f32 = -1e4;

/// Which tokens a token sees.
#[derive(Clone, Debug)]
pub(crate) enum Visibility {
    /// All of its sequence.
    Full,
    /// Itself and those before it; holds the mask of the longest sequence.
    Causal(Tensor),
}

impl Visibility {
    /// Causal, for sequences up to a length.
    pub(crate) fn causal(longest: usize, dtype: DType, device: &Device) -> Result<Visibility> {
        let row = |query: usize| (0..longest).map(move |key| if key <= query { 0.0 } else { FORBIDDEN });
        let mask: Vec<f32> = (0..longest).flat_map(row).collect();
        Ok(Visibility::Causal(Tensor::from_vec(mask, (longest, longest), device)?.to_dtype(dtype)?))
    }
}

/// Attention of every sequence to itself. `qkv` is `[tokens, 3 · hidden]` with queries already divided by √head size;
/// the result is `[tokens, hidden]`.
pub(crate) fn self_attention(
    qkv: &Tensor,
    packed: &Packed,
    heads: usize,
    visibility: &Visibility,
    products: Products,
) -> Result<Tensor> {
    let causal = matches!(visibility, Visibility::Causal(_));
    if fused::is_fused(qkv) {
        return fused::self_attention(qkv, packed, heads, causal, products);
    }
    if packed.runs().iter().all(|run| run.shape.keys == run.shape.length) {
        let lengths = packed.runs().iter().flat_map(|run| std::iter::repeat_n(run.shape.length, run.sequences));
        if let Some(context) = attend_packed(qkv, heads, lengths, causal)? {
            return Ok(context);
        }
    }
    let mut parts = Vec::with_capacity(packed.runs().len());
    for run in packed.runs() {
        parts.push(run_attention(qkv, run, heads, visibility)?);
    }
    match parts.as_slice() {
        [only] => Ok(only.clone()),
        several => Tensor::cat(several, 0),
    }
}

/// All sequences of one length at once, as batched matrix products over `sequences · heads`.
fn run_attention(qkv: &Tensor, run: &Run, heads: usize, visibility: &Visibility) -> Result<Tensor> {
    let hidden = qkv.dim(1)? / 3;
    let (length, head_size) = (run.shape.length, hidden / heads);
    let split = qkv
        .narrow(0, run.start, run.tokens())?
        .reshape((run.sequences, length, 3, heads, head_size))?
        .permute((2, 0, 3, 1, 4))?
        .contiguous()?
        .reshape((3, run.sequences * heads, length, head_size))?;
    let (queries, mut keys, mut values) = (split.get(0)?, split.get(1)?, split.get(2)?);
    if run.shape.keys < length {
        keys = keys.narrow(1, 0, run.shape.keys)?.contiguous()?;
        values = values.narrow(1, 0, run.shape.keys)?.contiguous()?;
    }
    let mut scores = queries.matmul(&keys.transpose(1, 2)?)?;
    if let Visibility::Causal(mask) = visibility {
        scores = scores.broadcast_add(&mask.narrow(0, 0, length)?.narrow(1, 0, length)?)?;
    }
    let context = softmax(scores)?.matmul(&values)?;
    context.reshape((run.sequences, heads, length, head_size))?.transpose(1, 2)?.reshape((run.tokens(), hidden))
}

/// Attention of one learned query per head to sequences of one length. `queries` is `[heads, 1, head size]` and already
/// divided by √head size, `keys_values` is `[sequences · length, 2 · hidden]`; the result is `[sequences, hidden]`.
pub(crate) fn pooling_attention(queries: &Tensor, keys_values: &Tensor, sequences: usize) -> Result<Tensor> {
    let (heads, _, head_size) = queries.dims3()?;
    let (tokens, double_hidden) = keys_values.dims2()?;
    let length = tokens / sequences;
    let split = keys_values
        .reshape((sequences, length, 2, heads, head_size))?
        .permute((2, 0, 3, 1, 4))?
        .contiguous()?
        .reshape((2, sequences * heads, length, head_size))?;
    let (keys, values) = (split.get(0)?, split.get(1)?);
    let queries = queries.broadcast_left(sequences)?.reshape((sequences * heads, 1, head_size))?;
    let scores = queries.matmul(&keys.transpose(1, 2)?)?;
    let context = softmax(scores)?.matmul(&values)?;
    context.reshape((sequences, double_hidden / 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tower::packed::SequenceShape;

    fn qkv(tokens: usize, hidden: usize) -> Tensor {
        let values: Vec<f32> = (0..tokens * 3 * hidden).map(|i| ((i * 37 % 101) as f32 / 50.0 - 1.0).sin()).collect();
        Tensor::from_vec(values, (tokens, 3 * hidden), &Device::Cpu).unwrap()
    }

    fn attend(qkv: &Tensor, shapes: &[(usize, usize)], visibility: &Visibility) -> Vec<Vec<f32>> {
        let packed = Packed::new(shapes.iter().map(|&(length, keys)| SequenceShape { length, keys }));
        self_attention(qkv, &packed, 2, visibility, Products::InTensors).unwrap().to_vec2().unwrap()
    }

    fn close(left: &[f32], right: &[f32]) -> bool {
        left.iter().zip(right).all(|(left, right)| (left - right).abs() < 1e-6)
    }

    #[test]
    fn a_sequence_does_not_see_its_neighbours() {
        let all = qkv(7, 8);
        let together = attend(&all, &[(2, 2), (5, 5)], &Visibility::Full);
        let alone = attend(&all.narrow(0, 2, 5).unwrap(), &[(5, 5)], &Visibility::Full);
        assert!(together[2..].iter().zip(&alone).all(|(together, alone)| close(together, alone)));
    }

    #[test]
    fn a_causal_token_sees_what_the_last_token_of_a_shorter_sequence_sees() {
        let all = qkv(5, 8);
        let causal = Visibility::causal(9, DType::F32, &Device::Cpu).unwrap();
        let causal = attend(&all, &[(5, 5)], &causal);
        for length in 1..=5 {
            let prefix = attend(&all.narrow(0, 0, length).unwrap(), &[(length, length)], &Visibility::Full);
            assert!(close(&causal[length - 1], &prefix[length - 1]));
        }
    }

    #[test]
    fn tokens_beyond_the_keys_are_not_seen() {
        let all = qkv(4, 8);
        let narrow = attend(&all, &[(4, 2)], &Visibility::Full);
        let prefix = attend(&all.narrow(0, 0, 2).unwrap(), &[(2, 2)], &Visibility::Full);
        assert!(close(&narrow[0], &prefix[0]) && close(&narrow[1], &prefix[1]));
    }
}

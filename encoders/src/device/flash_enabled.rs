//! Builds with the `flash-attn` feature. Owns the choice of what is computed with flash attention (Dao et al. 2022), which
//! never writes the scores to memory: half precision on CUDA devices. Invariant: the same result as the matrix products,
//! but for rounding.

use candle_core::{DType, Result, Tensor};

/// Largest head whose kernels fit the shared memory of every supported card.
const MAX_HEAD_SIZE: usize = 256;
/// Head sizes are a multiple of this: the kernels read 16 bytes at once.
const HEAD_SIZE_STEP: usize = 8;

/// Attention of every sequence of a batch to itself, in one kernel. `queries_keys_values` is `[tokens, 3 · hidden]`,
/// sequence after sequence, queries already divided by √head size; the result is `[tokens, hidden]`. Nothing where this
/// device, number type or head size is not supported.
pub(crate) fn attend_packed(
    queries_keys_values: &Tensor,
    heads: usize,
    lengths: impl Iterator<Item = usize>,
    causal: bool,
) -> Result<Option<Tensor>> {
    let (tokens, triple_hidden) = queries_keys_values.dims2()?;
    let hidden = triple_hidden / 3;
    let head_size = hidden / heads;
    let half = matches!(queries_keys_values.dtype(), DType::F16 | DType::BF16);
    let supported_size = head_size <= MAX_HEAD_SIZE && head_size.is_multiple_of(HEAD_SIZE_STEP);
    if !queries_keys_values.device().is_cuda() || !half || !supported_size {
        return Ok(None);
    }
    let mut ends = vec![0u32];
    let (mut end, mut longest) = (0, 0);
    for length in lengths {
        end += length;
        longest = longest.max(length);
        ends.push(u32::try_from(end).map_err(candle_core::Error::wrap)?);
    }
    let count = ends.len();
    let ends = Tensor::from_vec(ends, count, queries_keys_values.device())?;
    // Views of the one matrix: the kernels take a stride between tokens.
    let split = queries_keys_values.reshape((tokens, 3, heads, head_size))?;
    let part = |index: usize| split.narrow(1, index, 1)?.squeeze(1);
    let (queries, keys, values) = (part(0)?, part(1)?, part(2)?);
    let context =
        candle_flash_attn::flash_attn_varlen(&queries, &keys, &values, &ends, &ends, longest, longest, 1.0, causal)?;
    context.reshape((tokens, hidden)).map(Some)
}

//! Self-attention of packed sequences on the CPU, in one pass per sequence and head. Owns the loops and their scratch
//! memory; grouping sequences is `packed`'s. Invariant: a sequence's result depends on its own tokens only, and is the same
//! to the bit whatever stands beside it.
//!
//! Queries, keys and values are taken from where the matrix product put them; scores of a few queries at a time stay in
//! the first-level cache and are never written out.

use pulp::{Simd, WithSimd};

use super::cpu_kernels::exponentials;
use super::packed::Run;

/// Queries that share each load of a key or value, and vectors that share each component of a query and each weight: their
/// sums fit the registers of every instruction set.
const QUERIES: usize = 6;
const VECTORS: usize = 2;

/// What attention is computed over.
#[derive(Clone, Copy)]
pub(super) struct AttentionInput<'a> {
    /// `[tokens, 3 · hidden]`: queries (divided by √head size), keys, values.
    pub(super) qkv: &'a [f32],
    /// Sequences; together they cover all tokens.
    pub(super) runs: &'a [Run],
    /// Heads; they divide `hidden`.
    pub(super) heads: usize,
    /// Width of the hidden states.
    pub(super) hidden: usize,
    /// Whether a token sees only itself and those before it.
    pub(super) causal: bool,
}

/// Writes `[tokens, hidden]`.
pub(super) fn attend(input: AttentionInput<'_>, output: &mut [f32]) {
    pulp::Arch::new().dispatch(Attend { input, output });
}

struct Attend<'a> {
    input: AttentionInput<'a>,
    output: &'a mut [f32],
}

impl WithSimd for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Attend { input, output } = self;
        let mut head = Head::new(simd, input);
        for run in input.runs {
            for sequence in 0..run.sequences {
                let start = run.start + sequence * run.shape.length;
                for number in 0..input.heads {
                    head.load(start, run.shape.keys, number);
                    for first in (0..run.shape.length).step_by(QUERIES) {
                        let queries = QUERIES.min(run.shape.length - first);
                        head.scores(start + first, number);
                        head.softmax(first, queries);
                        head.context(start + first, queries, number, output);
                    }
                }
            }
        }
    }
}

/// Keys and values of one head of one sequence, and the scores of a few queries.
struct Head<'a, S: Simd> {
    simd: S,
    input: AttentionInput<'a>,
    size: usize,
    /// Number of keys.
    keys: usize,
    /// Vectors that hold a score for every key.
    key_vectors: usize,
    /// `[size, key_vectors]`: keys side by side, so that one vector has one component of several keys.
    keys_by_component: Vec<S::f32s>,
    /// `[keys, value_vectors]`.
    values: Vec<S::f32s>,
    value_vectors: usize,
    /// `[QUERIES, key_vectors]`.
    scores: Vec<S::f32s>,
    /// 1 / the sum of each query's exponentials.
    scales: [f32; QUERIES],
}

impl<'a, S: Simd> Head<'a, S> {
    #[inline(always)]
    fn new(simd: S, input: AttentionInput<'a>) -> Self {
        let size = input.hidden / input.heads;
        let longest = input.runs.iter().map(|run| run.shape.keys).max().unwrap_or(0);
        let (key_vectors, value_vectors) = (longest.div_ceil(S::F32_LANES), size.div_ceil(S::F32_LANES));
        let zero = simd.splat_f32s(0.0);
        Head {
            simd,
            input,
            size,
            keys: 0,
            key_vectors: 0,
            keys_by_component: vec![zero; size * key_vectors],
            values: vec![zero; longest * value_vectors],
            value_vectors,
            scores: vec![zero; QUERIES * key_vectors],
            scales: [0.0; QUERIES],
        }
    }

    /// A token's query (0), key (1) or value (2).
    #[inline(always)]
    fn part(&self, token: usize, part: usize, number: usize) -> &'a [f32] {
        let begin = (3 * token + part) * self.input.hidden + number * self.size;
        &self.input.qkv[begin..begin + self.size]
    }

    /// Takes the keys and values of one head of the sequence that starts at a token.
    #[inline(always)]
    fn load(&mut self, start: usize, keys: usize, number: usize) {
        self.keys = keys;
        self.key_vectors = keys.div_ceil(S::F32_LANES);
        let padded = self.key_vectors * S::F32_LANES;
        for key in 0..keys {
            let components = self.part(start + key, 1, number);
            let column = &mut floats::<S>(&mut self.keys_by_component)[key..];
            // A longer sequence before this one may have left its keys in the padding; softmax does not read there.
            for (slot, component) in column.iter_mut().step_by(padded).zip(components) {
                *slot = *component;
            }
            let value = self.part(start + key, 2, number);
            let width = self.value_vectors * S::F32_LANES;
            floats::<S>(&mut self.values)[key * width..][..value.len()].copy_from_slice(value);
        }
    }

    /// Scores of [`QUERIES`] queries from a token on. Beyond the sequence's end the last token of the batch stands in; nobody
    /// reads its scores.
    #[inline(always)]
    fn scores(&mut self, first: usize, number: usize) {
        let last = self.input.qkv.len() / (3 * self.input.hidden) - 1;
        let queries: [&[f32]; QUERIES] = std::array::from_fn(|offset| self.part((first + offset).min(last), 0, number));
        let whole = self.key_vectors / VECTORS * VECTORS;
        for vector in (0..whole).step_by(VECTORS) {
            self.scores_of::<VECTORS>(vector, queries);
        }
        for vector in whole..self.key_vectors {
            self.scores_of::<1>(vector, queries);
        }
    }

    /// Scores of the keys in some vectors.
    #[inline(always)]
    fn scores_of<const N: usize>(&mut self, vector: usize, queries: [&[f32]; QUERIES]) {
        let simd = self.simd;
        let mut sums = [[simd.splat_f32s(0.0); N]; QUERIES];
        for (component, keys) in self.keys_by_component.chunks_exact(self.key_vectors).enumerate().take(self.size) {
            let Some(keys) = keys[vector..].first_chunk::<N>() else { return };
            for (sums, query) in sums.iter_mut().zip(queries) {
                let component = simd.splat_f32s(query[component]);
                for (sum, key) in sums.iter_mut().zip(keys) {
                    *sum = simd.mul_add_e_f32s(component, *key, *sum);
                }
            }
        }
        for (scores, sums) in self.scores.chunks_exact_mut(self.key_vectors).zip(sums) {
            scores[vector..vector + N].copy_from_slice(&sums);
        }
    }

    /// Scores to exponentials; their sum is divided out at the end. `first` is the first query's place in its sequence.
    #[inline(always)]
    fn softmax(&mut self, first: usize, queries: usize) {
        let width = self.key_vectors * S::F32_LANES;
        for offset in 0..queries {
            let visible = if self.input.causal { self.keys.min(first + offset + 1) } else { self.keys };
            let row = &mut floats::<S>(&mut self.scores)[offset * width..][..width];
            row[visible..].fill(f32::NEG_INFINITY);
            self.scales[offset] = exponentials(self.simd, row).recip();
        }
    }

    /// The mean of the values, weighted with the exponentials.
    #[inline(always)]
    fn context(&mut self, first: usize, queries: usize, number: usize, output: &mut [f32]) {
        let whole = self.value_vectors / VECTORS * VECTORS;
        for vector in (0..whole).step_by(VECTORS) {
            self.context_of::<VECTORS>(vector, first, queries, number, output);
        }
        for vector in whole..self.value_vectors {
            self.context_of::<1>(vector, first, queries, number, output);
        }
    }

    /// The components in some vectors of it.
    #[inline(always)]
    fn context_of<const N: usize>(
        &self,
        vector: usize,
        first: usize,
        queries: usize,
        number: usize,
        output: &mut [f32],
    ) {
        let (simd, width) = (self.simd, self.value_vectors);
        let mut sums = [[simd.splat_f32s(0.0); N]; QUERIES];
        let values = self.values[..self.keys * width].chunks(S::F32_LANES * width);
        for (block, values) in values.enumerate() {
            // One vector of each query at a time: its length is known to the compiler, which need not check places in it.
            let weights: [S::f32s; QUERIES] =
                std::array::from_fn(|offset| self.scores[offset * self.key_vectors + block]);
            let weights: [&[f32]; QUERIES] =
                std::array::from_fn(|offset| pulp::bytemuck::cast_slice(std::slice::from_ref(&weights[offset])));
            for (lane, value) in (0..S::F32_LANES).zip(values.chunks_exact(width)) {
                let Some(value) = value[vector..].first_chunk::<N>() else { return };
                for (sums, weights) in sums.iter_mut().zip(weights) {
                    let weight = simd.splat_f32s(weights[lane]);
                    for (sum, value) in sums.iter_mut().zip(value) {
                        *sum = simd.mul_add_e_f32s(weight, *value, *sum);
                    }
                }
            }
        }
        let begin = vector * S::F32_LANES;
        let length = (N * S::F32_LANES).min(self.size - begin);
        for (offset, sums) in sums.into_iter().take(queries).enumerate() {
            let scaled = sums.map(|sum| simd.mul_f32s(sum, simd.splat_f32s(self.scales[offset])));
            let target = (first + offset) * self.input.hidden + number * self.size + begin;
            let scaled: &[f32] = pulp::bytemuck::cast_slice(&scaled);
            output[target..target + length].copy_from_slice(&scaled[..length]);
        }
    }
}

/// Vectors as the numbers in them.
#[inline(always)]
fn floats<S: Simd>(vectors: &mut [S::f32s]) -> &mut [f32] {
    pulp::bytemuck::cast_slice_mut(vectors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tower::packed::{Packed, SequenceShape};

    fn qkv(tokens: usize, hidden: usize) -> Vec<f32> {
        (0..tokens * 3 * hidden).map(|i| ((i * 37 % 101) as f32 / 50.0 - 1.0).sin() * 2.0).collect()
    }

    fn packed(shapes: &[(usize, usize)]) -> Packed {
        Packed::new(shapes.iter().map(|&(length, keys)| SequenceShape { length, keys }))
    }

    fn attended(qkv: &[f32], shapes: &[(usize, usize)], heads: usize, hidden: usize, causal: bool) -> Vec<f32> {
        let mut output = vec![f32::NAN; qkv.len() / 3];
        let packed = packed(shapes);
        attend(AttentionInput { qkv, runs: packed.runs(), heads, hidden, causal }, &mut output);
        output
    }

    /// The formula in f64, a token after the other.
    fn expected(qkv: &[f32], shapes: &[(usize, usize)], heads: usize, hidden: usize, causal: bool) -> Vec<f64> {
        let size = hidden / heads;
        let at = |token: usize, part: usize, head: usize, component: usize| {
            f64::from(qkv[(3 * token + part) * hidden + head * size + component])
        };
        let mut output = Vec::new();
        let mut start = 0;
        for &(length, keys) in shapes {
            for query in 0..length {
                let visible = if causal { keys.min(query + 1) } else { keys };
                for head in 0..heads {
                    let dot = |key| -> f64 {
                        (0..size).map(|c| at(start + query, 0, head, c) * at(start + key, 1, head, c)).sum()
                    };
                    let weights: Vec<f64> = (0..visible).map(|key| dot(key).exp()).collect();
                    let sum: f64 = weights.iter().sum();
                    for component in 0..size {
                        let mean = |(key, weight): (usize, &f64)| weight * at(start + key, 2, head, component);
                        output.push(weights.iter().enumerate().map(mean).sum::<f64>() / sum);
                    }
                }
            }
            start += length;
        }
        output
    }

    #[test]
    fn attention_follows_its_formula_for_any_shape() {
        for (heads, hidden) in [(2, 8), (3, 96), (1, 37), (2, 130)] {
            for shapes in [&[(1, 1)][..], &[(7, 7), (7, 7), (40, 40)], &[(33, 5), (2, 2), (16, 16)]] {
                for causal in [false, true] {
                    let qkv = qkv(shapes.iter().map(|shape| shape.0).sum(), hidden);
                    let got = attended(&qkv, shapes, heads, hidden, causal);
                    let expected = expected(&qkv, shapes, heads, hidden, causal);
                    for (got, expected) in got.iter().zip(&expected) {
                        let close = (f64::from(*got) - expected).abs() < 2e-5;
                        assert!(close, "{heads} heads, {hidden}, {shapes:?}, causal {causal}: {got} {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_sequence_is_the_same_to_the_bit_beside_any_other() {
        let (heads, hidden) = (2, 64);
        let qkv = qkv(60, hidden);
        let together = attended(&qkv, &[(31, 31), (9, 9), (20, 20)], heads, hidden, false);
        let alone = attended(&qkv[31 * 3 * hidden..40 * 3 * hidden], &[(9, 9)], heads, hidden, false);
        assert_eq!(together[31 * hidden..40 * hidden], alone);
    }
}

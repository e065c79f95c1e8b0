//! Self-attention of packed sequences in bfloat16 on processors with AMX. Owns the order in which queries, keys, values and
//! weights are rounded and packed for tiles; the products are `amx_kernel`'s, scores, softmax and sums stay f32. Invariant: a
//! sequence's result depends on its own tokens only, and is the same to the bit whatever stands beside it.

use pulp::bytemuck::cast_slice_mut;
use pulp::{Simd, WithSimd};

use super::aligned::Aligned;
use super::amx_kernel::{self, TILE_ROWS, Tiles};
use super::cpu_attention::AttentionInput;
use super::cpu_functions::Rounded;
use super::cpu_kernels::exponentials;

/// What head sizes and numbers of keys are padded to: the columns that one call multiplies, and twice the pairs in a tile's row.
const WHOLE: usize = 32;

/// Whether heads of this size are computed here: they fill tiles, and there are tiles.
pub(super) fn attends(head_size: usize) -> bool {
    head_size.is_multiple_of(WHOLE) && amx_kernel::multiplies(head_size / 2)
}

/// Writes `[tokens, hidden]`.
///
/// # Panics
/// Unless this file [`attends`] heads of that size.
pub(super) fn attend(input: AttentionInput<'_>, output: &mut [f32]) {
    assert!(attends(input.hidden / input.heads), "only called where there are tiles, and heads fill them");
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
        let tiles = Tiles::configure();
        let mut head = Head::new(input);
        for run in input.runs {
            head.resize(run.shape.length, run.shape.keys);
            for sequence in 0..run.sequences {
                let start = run.start + sequence * run.shape.length;
                for number in 0..input.heads {
                    head.load(start, number);
                    for first in (0..run.shape.length).step_by(TILE_ROWS) {
                        head.scores(&tiles, first);
                        head.softmax(simd, first);
                        head.context(&tiles, start, first, number, output);
                    }
                }
            }
        }
    }
}

/// One head of one sequence, rounded and packed, and the scores of a tile of queries.
struct Head<'a> {
    input: AttentionInput<'a>,
    size: usize,
    length: usize,
    /// Number of keys, and that padded to [`WHOLE`].
    keys: usize,
    padded_keys: usize,
    /// `[length, size / 2]`, padded to whole tiles: pairs of components.
    queries: Aligned<u32>,
    /// `[size / 2, padded_keys]`: pairs of components of all keys side by side.
    keys_by_pair: Aligned<u32>,
    /// `[padded_keys / 2, size]`: components of pairs of keys. Those of padding are 0, as their weights are.
    values: Aligned<u32>,
    /// `[TILE_ROWS, padded_keys]`.
    scores: Aligned<f32>,
    /// The same as pairs of exponentials.
    weights: Aligned<u32>,
    /// 1 / the sum of each query's exponentials.
    scales: [f32; TILE_ROWS],
    /// `[TILE_ROWS, size]`.
    context: Aligned<f32>,
}

impl<'a> Head<'a> {
    fn new(input: AttentionInput<'a>) -> Self {
        let size = input.hidden / input.heads;
        Head {
            input,
            size,
            length: 0,
            keys: 0,
            padded_keys: 0,
            queries: Aligned::default(),
            keys_by_pair: Aligned::default(),
            values: Aligned::default(),
            scores: Aligned::default(),
            weights: Aligned::default(),
            scales: [0.0; TILE_ROWS],
            context: Aligned::zeros(TILE_ROWS * size),
        }
    }

    /// Makes room for sequences of a shape.
    fn resize(&mut self, length: usize, keys: usize) {
        (self.length, self.keys, self.padded_keys) = (length, keys, keys.next_multiple_of(WHOLE));
        self.queries.resize(length.next_multiple_of(TILE_ROWS) * self.size / 2);
        self.keys_by_pair.resize(self.size / 2 * self.padded_keys);
        self.values.resize(self.padded_keys / 2 * self.size);
        self.values.fill(0);
        self.scores.resize(TILE_ROWS * self.padded_keys);
        self.weights.resize(TILE_ROWS * self.padded_keys / 2);
    }

    /// A token's query (0), key (1) or value (2).
    #[inline(always)]
    fn part(&self, token: usize, part: usize, number: usize) -> &'a [f32] {
        let begin = (3 * token + part) * self.input.hidden + number * self.size;
        &self.input.qkv[begin..begin + self.size]
    }

    /// Rounds and packs one head of the sequence that starts at a token.
    #[inline(always)]
    fn load(&mut self, start: usize, number: usize) {
        for token in 0..self.length {
            let query = self.part(start + token, 0, number);
            let rounded: &mut [u16] = cast_slice_mut(&mut self.queries);
            for (rounded, component) in rounded[token * self.size..][..self.size].iter_mut().zip(query) {
                *rounded = u16::round(*component);
            }
        }
        for key in 0..self.keys {
            // A longer sequence before this one may have left its keys in the padding; softmax does not read there.
            let (pairs, _) = self.part(start + key, 1, number).as_chunks::<2>();
            for (slot, pair) in self.keys_by_pair[key..].iter_mut().step_by(self.padded_keys).zip(pairs) {
                *slot = rounded_pair(pair[0], pair[1]);
            }
        }
        for key in (0..self.keys).step_by(2) {
            let even = self.part(start + key, 2, number);
            let odd = (key + 1 < self.keys).then(|| self.part(start + key + 1, 2, number));
            let slots = self.values[key / 2 * self.size..][..self.size].iter_mut().zip(even);
            match odd {
                Some(odd) => slots.zip(odd).for_each(|((slot, even), odd)| *slot = rounded_pair(*even, *odd)),
                None => slots.for_each(|(slot, even)| *slot = rounded_pair(*even, 0.0)),
            }
        }
    }

    /// Scores of a tile of queries from a place in the sequence on. What stands beyond its end is computed and not read.
    #[inline(always)]
    fn scores(&mut self, tiles: &Tiles, first: usize) {
        let pairs = self.size / 2;
        let queries = &self.queries[first * pairs..][..TILE_ROWS * pairs];
        amx_kernel::multiply_tile_of_rows(tiles, queries, &self.keys_by_pair, self.padded_keys, &mut self.scores);
    }

    /// Scores to exponentials; their sum is divided out at the end.
    #[inline(always)]
    fn softmax<S: Simd>(&mut self, simd: S, first: usize) {
        let weights: &mut [u16] = cast_slice_mut(&mut self.weights);
        let rows = self.scores.chunks_exact_mut(self.padded_keys).zip(weights.chunks_exact_mut(self.padded_keys));
        let places = first..self.length;
        for ((place, scale), (scores, weights)) in places.zip(&mut self.scales).zip(rows) {
            let visible = if self.input.causal { self.keys.min(place + 1) } else { self.keys };
            scores[visible..].fill(f32::NEG_INFINITY);
            *scale = exponentials(simd, scores).recip();
            for (weight, exponential) in weights.iter_mut().zip(scores) {
                *weight = u16::round(*exponential);
            }
        }
    }

    /// The mean of the values, weighted with the exponentials.
    #[inline(always)]
    fn context(&mut self, tiles: &Tiles, start: usize, first: usize, number: usize, output: &mut [f32]) {
        amx_kernel::multiply_tile_of_rows(tiles, &self.weights, &self.values, self.size, &mut self.context);
        let rows = self.context.chunks_exact(self.size).zip(self.scales);
        for (place, (row, scale)) in (first..self.length).zip(rows) {
            let begin = (start + place) * self.input.hidden + number * self.size;
            for (output, value) in output[begin..begin + self.size].iter_mut().zip(row) {
                *output = value * scale;
            }
        }
    }
}

/// Two numbers rounded to bfloat16, the first in the lower half, as in memory.
#[inline(always)]
fn rounded_pair(first: f32, second: f32) -> u32 {
    u32::from(u16::round(first)) | u32::from(u16::round(second)) << 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tower::cpu_attention;
    use crate::tower::packed::{Packed, SequenceShape};

    fn qkv(tokens: usize, hidden: usize) -> Vec<f32> {
        (0..tokens * 3 * hidden).map(|i| ((i * 37 % 101) as f32 / 50.0 - 1.0).sin()).collect()
    }

    fn packed(shapes: &[(usize, usize)]) -> Packed {
        Packed::new(shapes.iter().map(|&(length, keys)| SequenceShape { length, keys }))
    }

    /// Whether there is nothing to test on this processor.
    #[expect(clippy::print_stdout, reason = "a test that skips says so")]
    fn skips() -> bool {
        if !attends(WHOLE) {
            println!("skipped: this processor has no AMX");
        }
        !attends(WHOLE)
    }

    #[test]
    fn attention_is_that_in_f32_but_for_rounding() {
        if skips() {
            return;
        }
        for (heads, hidden) in [(2, 64), (3, 96), (2, 128)] {
            for shapes in [&[(1, 1)][..], &[(7, 7), (7, 7), (65, 65)], &[(33, 5), (2, 2), (16, 16)]] {
                for causal in [false, true] {
                    let qkv = qkv(shapes.iter().map(|shape| shape.0).sum(), hidden);
                    let packed = packed(shapes);
                    let input = AttentionInput { qkv: &qkv, runs: packed.runs(), heads, hidden, causal };
                    let (mut got, mut expected) = (vec![f32::NAN; qkv.len() / 3], vec![0.0; qkv.len() / 3]);
                    attend(input, &mut got);
                    cpu_attention::attend(input, &mut expected);
                    for (got, expected) in got.iter().zip(&expected) {
                        // Scores are below 20 and so off by less than 20 / 256 / 2.
                        let close = (got - expected).abs() < 0.05;
                        assert!(close, "{heads} heads, {hidden}, {shapes:?}, causal {causal}: {got} {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_sequence_is_the_same_to_the_bit_beside_any_other() {
        if skips() {
            return;
        }
        let (heads, hidden) = (2, 64);
        let mut qkv = qkv(60, hidden);
        // What stands in a neighbour reaches nobody.
        qkv[5 * hidden] = f32::NAN;
        let attended = |qkv: &[f32], shapes: &[(usize, usize)]| {
            let mut output = vec![f32::NAN; qkv.len() / 3];
            let packed = packed(shapes);
            attend(AttentionInput { qkv, runs: packed.runs(), heads, hidden, causal: false }, &mut output);
            output
        };
        let together = attended(&qkv, &[(31, 31), (9, 9), (20, 20)]);
        let alone = attended(&qkv[31 * 3 * hidden..40 * 3 * hidden], &[(9, 9)]);
        assert_eq!(together[31 * hidden..40 * hidden], alone);
        assert!(alone.iter().all(|value| value.is_finite()));
    }
}

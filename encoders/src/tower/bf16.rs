//! Linear maps in bfloat16 on the CPU: rows are rounded, multiplied by weights that were rounded and packed when the
//! model was loaded, and summed in f32. Owns joining rounded values to pairs and the blocks of rows that keep
//! intermediate results in the cache; the product is `bf16_kernel`'s, biases, activations and residuals are `cpu_kernels`'. Invariant: a row of the
//! result depends on the same row of the input only, and is the same to the bit in any batch.

use std::sync::Arc;

use candle_core::{Result, Tensor};
use pulp::bytemuck;

use super::aligned::Aligned;
use super::bf16_kernel::{self, Panels, pairs_of};
use super::cpu_kernels;
use super::layers::Activation;

/// Rows that are taken through a layer at once: their widest intermediate result stays in the second-level cache.
const ROWS_PER_BLOCK: usize = 128;

/// A weight `[out, in]`, rounded and packed.
#[derive(Clone, Debug)]
pub(crate) struct Bf16Matrix(Arc<Panels>);

/// A packed weight with its bias.
#[derive(Clone, Copy)]
pub(super) struct Bf16Linear<'a> {
    /// Weight.
    pub(super) weight: &'a Bf16Matrix,
    /// Bias, as long as the weight has outputs.
    pub(super) bias: &'a [f32],
}

/// Whether this processor multiplies bfloat16 faster than f32.
pub(super) fn is_available() -> bool {
    bf16_kernel::is_faster_than_f32()
}

impl Bf16Matrix {
    /// Rounds and packs a weight `[out, in]` in f32; only where [`is_available`].
    pub(crate) fn pack(weight: &Tensor) -> Result<Bf16Matrix> {
        let (outputs, inputs) = weight.dims2()?;
        let values: Vec<f32> = weight.flatten_all()?.to_vec1()?;
        let mut pairs = Aligned::empty();
        round(&values, inputs, &mut pairs);
        Ok(Bf16Matrix(Arc::new(Panels::pack(&pairs, inputs, outputs))))
    }

    /// Number of outputs.
    pub(crate) fn outputs(&self) -> usize {
        self.0.outputs()
    }

    fn inputs(&self) -> usize {
        self.0.inputs()
    }

    /// The product of rows of pairs with it.
    fn multiply(&self, pairs: &[u32], product: &mut Aligned<f32>) {
        product.resize(pairs.len() / pairs_of(self.inputs()) * self.outputs());
        bf16_kernel::multiply(pairs, &self.0, product);
    }
}

/// `activation(rows · weightᵀ + bias)`.
pub(super) fn linear(rows: &[f32], layer: Bf16Linear<'_>, activation: Activation, output: &mut [f32]) {
    let Bf16Linear { weight, bias } = layer;
    let mut product = Aligned::empty();
    for_each_block(rows, weight.inputs(), weight.outputs(), output, |pairs, output, _| {
        weight.multiply(pairs, &mut product);
        cpu_kernels::add_bias_activate_to(&product, bias, activation, output);
    });
}

/// `rows · weightᵀ + bias + residual`.
pub(super) fn linear_onto(rows: &[f32], layer: Bf16Linear<'_>, residual: &[f32], output: &mut [f32]) {
    let Bf16Linear { weight, bias } = layer;
    let mut product = Aligned::empty();
    for_each_block(rows, weight.inputs(), weight.outputs(), output, |pairs, output, at| {
        weight.multiply(pairs, &mut product);
        cpu_kernels::add_bias_and_rows_to(&product, bias, &residual[at..at + output.len()], output);
    });
}

/// `activation(rows · widenᵀ + bias) · narrowᵀ + bias + residual`: the wide rows never leave the cache.
pub(super) fn feed_forward(
    rows: &[f32],
    widen: Bf16Linear<'_>,
    activation: Activation,
    narrow: Bf16Linear<'_>,
    residual: &[f32],
    output: &mut [f32],
) {
    let (mut product, mut wide) = (Aligned::empty(), Aligned::empty());
    for_each_block(rows, widen.weight.inputs(), narrow.weight.outputs(), output, |pairs, output, at| {
        widen.weight.multiply(pairs, &mut product);
        activate_to_pairs(&product, widen.bias, activation, &mut wide);
        narrow.weight.multiply(&wide, &mut product);
        cpu_kernels::add_bias_and_rows_to(&product, narrow.bias, &residual[at..at + output.len()], output);
    });
}

/// Takes rows block by block; the step gets the rounded block, its part of the output and where that part begins.
fn for_each_block(
    rows: &[f32],
    inputs: usize,
    outputs: usize,
    output: &mut [f32],
    mut step: impl FnMut(&[u32], &mut [f32], usize),
) {
    let mut pairs = Aligned::empty();
    let blocks = rows.chunks(ROWS_PER_BLOCK * inputs).zip(output.chunks_mut(ROWS_PER_BLOCK * outputs));
    for (number, (rows, output)) in blocks.enumerate() {
        round(rows, inputs, &mut pairs);
        step(&pairs, output, number * ROWS_PER_BLOCK * outputs);
    }
}

/// Rounds rows of a width and joins neighbours to pairs; an odd last value gets 0 for a neighbour.
fn round(values: &[f32], width: usize, pairs: &mut Aligned<u32>) {
    to_pairs(values, width, pairs, cpu_kernels::round_to_bf16);
}

/// Adds biases to rows as wide as these, applies an activation, and rounds.
fn activate_to_pairs(values: &[f32], bias: &[f32], activation: Activation, pairs: &mut Aligned<u32>) {
    to_pairs(values, bias.len(), pairs, |values, rounded| {
        cpu_kernels::add_bias_activate_to(values, bias, activation, rounded);
    });
}

/// Pairs of what `step` makes of whole rows: of all at once, or, where an odd width leaves gaps, one by one.
fn to_pairs(values: &[f32], width: usize, pairs: &mut Aligned<u32>, step: impl Fn(&[f32], &mut [u16])) {
    pairs.resize(values.len() / width * pairs_of(width));
    let rounded: &mut [u16] = bytemuck::cast_slice_mut(pairs);
    if width.is_multiple_of(2) {
        return step(values, rounded);
    }
    for (row, rounded) in values.chunks_exact(width).zip(rounded.chunks_exact_mut(width + 1)) {
        step(row, &mut rounded[..width]);
        rounded[width] = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn values(count: usize, seed: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * seed).sin()).collect()
    }

    fn rounded(value: f32) -> f64 {
        f64::from(half::bf16::from_f32(value))
    }

    /// The product in f64 of rounded factors.
    fn expected(rows: &[f32], weight: &[f32], inputs: usize) -> Vec<f64> {
        let dot = |row: &[f32], weight: &[f32]| row.iter().zip(weight).map(|(a, b)| rounded(*a) * rounded(*b)).sum();
        let products = |row| weight.chunks(inputs).map(move |weight| dot(row, weight));
        rows.chunks(inputs).flat_map(products).collect()
    }

    fn matrix(weight: &[f32], outputs: usize) -> Bf16Matrix {
        let shape = (outputs, weight.len() / outputs);
        Bf16Matrix::pack(&Tensor::from_slice(weight, shape, &Device::Cpu).unwrap()).unwrap()
    }

    /// Whether there is nothing to test on this processor.
    #[expect(clippy::print_stdout, reason = "a test that skips says so")]
    fn skips() -> bool {
        if !is_available() {
            println!("skipped: products in bfloat16 are not used on this processor");
        }
        !is_available()
    }

    #[test]
    fn products_are_those_of_rounded_factors_for_any_shape() {
        if skips() {
            return;
        }
        // Inputs that are multiples of 32 are multiplied by AMX where there is AMX; 16 and 32 rows, 48 columns fill tiles.
        let tiles = [(1, 32, 3), (16, 64, 48), (32, 32, 96), (131, 96, 100), (161, 384, 144)];
        for (count, inputs, outputs) in [(1, 8, 3), (5, 33, 7), (131, 40, 48), (257, 97, 53)].into_iter().chain(tiles) {
            let (rows, weight) = (values(count * inputs, 0.37), values(inputs * outputs, 0.73));
            let (bias, residual) = (values(outputs, 0.11), values(count * outputs, 0.53));
            let packed = matrix(&weight, outputs);
            let layer = Bf16Linear { weight: &packed, bias: &bias };
            let (mut plain, mut onto) = (vec![0.0; count * outputs], vec![0.0; count * outputs]);
            linear(&rows, layer, Activation::Relu, &mut plain);
            linear_onto(&rows, layer, &residual, &mut onto);
            for (at, product) in expected(&rows, &weight, inputs).into_iter().enumerate() {
                let sum = product + f64::from(bias[at % outputs]);
                assert!((f64::from(plain[at]) - sum.max(0.0)).abs() < 1e-4, "{} {sum}", plain[at]);
                assert!((f64::from(onto[at]) - sum - f64::from(residual[at])).abs() < 1e-4, "{} {sum}", onto[at]);
            }
        }
    }

    #[test]
    fn the_feed_forward_part_is_two_layers_and_a_residual() {
        if skips() {
            return;
        }
        let (count, hidden, wide) = (150, 16, 40);
        let rows = values(count * hidden, 0.31);
        let (widen, narrow) = (matrix(&values(hidden * wide, 0.7), wide), matrix(&values(hidden * wide, 0.9), hidden));
        let (widen_bias, narrow_bias) = (values(wide, 0.2), values(hidden, 0.4));
        let widen = Bf16Linear { weight: &widen, bias: &widen_bias };
        let narrow = Bf16Linear { weight: &narrow, bias: &narrow_bias };
        let (mut together, mut between, mut apart) =
            (vec![0.0; count * hidden], vec![0.0; count * wide], vec![0.0; count * hidden]);
        feed_forward(&rows, widen, Activation::Gelu, narrow, &rows, &mut together);
        linear(&rows, widen, Activation::Gelu, &mut between);
        linear_onto(&between, narrow, &rows, &mut apart);
        assert_eq!(together, apart);
    }

    #[test]
    fn a_row_is_the_same_to_the_bit_in_any_batch() {
        if skips() {
            return;
        }
        for (count, inputs, outputs) in [(300, 64, 50), (300, 40, 96)] {
            let (rows, bias) = (values(count * inputs, 0.17), values(outputs, 0.3));
            let packed = matrix(&values(inputs * outputs, 0.41), outputs);
            let layer = Bf16Linear { weight: &packed, bias: &bias };
            let mut all = vec![0.0; count * outputs];
            linear(&rows, layer, Activation::Identity, &mut all);
            for (row, together) in rows.chunks(inputs).zip(all.chunks(outputs)) {
                let mut alone = vec![0.0; outputs];
                linear(row, layer, Activation::Identity, &mut alone);
                assert_eq!(alone, together);
            }
        }
    }

    #[test]
    fn values_that_are_not_finite_stay_so() {
        if skips() {
            return;
        }
        for inputs in [8, 32] {
            let packed = matrix(&vec![1.0; inputs], 1);
            let layer = Bf16Linear { weight: &packed, bias: &[0.0] };
            for bad in [f32::NAN, f32::INFINITY, f32::from_bits(0x7FFF_FFFF)] {
                let (mut row, mut output) = (vec![0.0; inputs], [0.0]);
                row[1] = bad;
                linear(&row, layer, Activation::Identity, &mut output);
                assert!(!output[0].is_finite(), "{bad}");
            }
        }
    }
}

//! Linear maps in bfloat16 on the CPU: rows are rounded, multiplied by weights that were rounded and packed when the
//! model was loaded, and summed in f32. Owns rounding to pairs and the blocks of rows that keep intermediate results in
//! the cache; the product is `bf16_kernel`'s, biases, activations and residuals are `cpu_kernels`'. Invariant: a row of the
//! result depends on the same row of the input only, and is the same to the bit in any batch.

use std::sync::Arc;

use candle_core::{Result, Tensor};
use pulp::bytemuck;

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
    bf16_kernel::is_available()
}

impl Bf16Matrix {
    /// Rounds and packs a weight `[out, in]` in f32; only where [`is_available`].
    pub(crate) fn pack(weight: &Tensor) -> Result<Bf16Matrix> {
        let (outputs, inputs) = weight.dims2()?;
        let values: Vec<f32> = weight.flatten_all()?.to_vec1()?;
        let mut pairs = Vec::new();
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
}

/// `activation(rows · weightᵀ + bias)`.
pub(super) fn linear(rows: &[f32], layer: Bf16Linear<'_>, activation: Activation, output: &mut [f32]) {
    for_each_block(rows, layer.weight, output, |pairs, output, _| {
        bf16_kernel::multiply(pairs, &layer.weight.0, output);
        cpu_kernels::add_bias_activate(output, layer.bias, activation);
    });
}

/// `rows · weightᵀ + bias + residual`.
pub(super) fn linear_onto(rows: &[f32], layer: Bf16Linear<'_>, residual: &[f32], output: &mut [f32]) {
    for_each_block(rows, layer.weight, output, |pairs, output, at| {
        bf16_kernel::multiply(pairs, &layer.weight.0, output);
        cpu_kernels::add_bias_and_rows(output, layer.bias, &residual[at..at + output.len()]);
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
    let (mut wide, mut wide_pairs) = (Vec::new(), Vec::new());
    let width = widen.weight.outputs();
    for_each_block_of(rows, widen.weight.inputs(), narrow.weight.outputs(), output, |pairs, output, at| {
        wide.resize(output.len() / narrow.weight.outputs() * width, 0.0);
        bf16_kernel::multiply(pairs, &widen.weight.0, &mut wide);
        cpu_kernels::add_bias_activate(&mut wide, widen.bias, activation);
        round(&wide, width, &mut wide_pairs);
        bf16_kernel::multiply(&wide_pairs, &narrow.weight.0, output);
        cpu_kernels::add_bias_and_rows(output, narrow.bias, &residual[at..at + output.len()]);
    });
}

fn for_each_block(rows: &[f32], weight: &Bf16Matrix, output: &mut [f32], step: impl FnMut(&[u32], &mut [f32], usize)) {
    for_each_block_of(rows, weight.inputs(), weight.outputs(), output, step);
}

/// Takes rows block by block; the step gets the rounded block, its part of the output and where that part begins.
fn for_each_block_of(
    rows: &[f32],
    inputs: usize,
    outputs: usize,
    output: &mut [f32],
    mut step: impl FnMut(&[u32], &mut [f32], usize),
) {
    let mut pairs = Vec::new();
    let blocks = rows.chunks(ROWS_PER_BLOCK * inputs).zip(output.chunks_mut(ROWS_PER_BLOCK * outputs));
    for (number, (rows, output)) in blocks.enumerate() {
        round(rows, inputs, &mut pairs);
        step(&pairs, output, number * ROWS_PER_BLOCK * outputs);
    }
}

/// Rounds rows of a width and joins neighbours to pairs; an odd last value gets 0 for a neighbour.
fn round(values: &[f32], width: usize, pairs: &mut Vec<u32>) {
    let count = values.len() / width;
    pairs.clear();
    pairs.resize(count * pairs_of(width), 0);
    let rounded: &mut [u16] = bytemuck::cast_slice_mut(pairs);
    if width.is_multiple_of(2) {
        return cpu_kernels::round_to_bf16(values, rounded);
    }
    for (row, rounded) in values.chunks_exact(width).zip(rounded.chunks_exact_mut(width + 1)) {
        cpu_kernels::round_to_bf16(row, &mut rounded[..width]);
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
            println!("skipped: this processor has no AVX512-BF16");
        }
        !is_available()
    }

    #[test]
    fn products_are_those_of_rounded_factors_for_any_shape() {
        if skips() {
            return;
        }
        for (count, inputs, outputs) in [(1, 8, 3), (5, 33, 7), (131, 40, 48), (257, 97, 53)] {
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
        let (count, inputs, outputs) = (300, 64, 50);
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

    #[test]
    fn values_that_are_not_finite_stay_so() {
        if skips() {
            return;
        }
        let packed = matrix(&[1.0; 8], 1);
        let layer = Bf16Linear { weight: &packed, bias: &[0.0] };
        for bad in [f32::NAN, f32::INFINITY, f32::from_bits(0x7FFF_FFFF)] {
            let mut output = [0.0];
            linear(&[1.0, bad, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], layer, Activation::Identity, &mut output);
            assert!(!output[0].is_finite(), "{bad}");
        }
    }
}

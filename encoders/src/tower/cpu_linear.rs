//! Linear maps on the CPU with weights that were packed when the model was loaded, block by block of rows, so that
//! intermediate results stay in the cache. Owns the blocks and what follows a product; how weights are packed and
//! multiplied is `bf16`'s and `f32_tiles`', biases, activations and residuals are `cpu_kernels`'. Invariant: a row of the result
//! depends on the same row of the input only.

use std::ops::Range;

use super::aligned::Aligned;
use super::cpu_kernels;
use super::layers::Activation;

/// What the rows of a block are a multiple of: those that share each load of weights in every kernel.
const GRANULE: usize = 32;

/// A weight `[out, in]`, packed for products on the CPU.
pub(super) trait CpuWeight: Sized + Send + Sync {
    /// Rows that are taken through a layer at once. The more, the less often weights are read; but intermediate results are to
    /// stay in the second-level cache.
    const ROWS_PER_BLOCK: usize;
    /// Columns that are computed at once, for the same reason.
    const COLUMNS_AT_ONCE: usize;

    /// Rows that are ready to be multiplied.
    type Factors: Default;

    /// Number of inputs.
    fn inputs(&self) -> usize;

    /// Number of outputs.
    fn outputs(&self) -> usize;

    /// Makes rows of a width ready to be multiplied.
    fn take(rows: &[f32], width: usize, factors: &mut Self::Factors);

    /// Some columns of the product of a number of rows with it: at least as many rows, of which those beyond are nothing.
    /// Columns begin at a multiple of [`CpuWeight::COLUMNS_AT_ONCE`].
    fn multiply(&self, factors: &Self::Factors, rows: usize, columns: Range<usize>, product: &mut Aligned<f32>);

    /// `activation(rows · widenᵀ + bias) · narrowᵀ + bias + residual`.
    fn feed_forward(
        rows: &[f32],
        widen: CpuLinear<'_, Self>,
        activation: Activation,
        narrow: CpuLinear<'_, Self>,
        residual: &[f32],
        output: &mut [f32],
    );
}

/// A packed weight with its bias.
#[derive(Debug)]
pub(super) struct CpuLinear<'a, W> {
    /// Weight.
    pub(super) weight: &'a W,
    /// Bias, as long as the weight has outputs.
    pub(super) bias: &'a [f32],
}

impl<W> Clone for CpuLinear<'_, W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W> Copy for CpuLinear<'_, W> {}

/// A block of rows.
pub(super) struct Block<'a> {
    /// Its rows.
    pub(super) rows: &'a [f32],
    /// Its part of the output.
    pub(super) output: &'a mut [f32],
    /// Where that part begins.
    pub(super) begin: usize,
}

impl Block<'_> {
    /// Adds biases to some columns of the block's product, and applies an activation.
    fn finish(&mut self, columns: Range<usize>, product: &[f32], bias: &[f32], activation: Activation) {
        let output = &mut self.output[columns.start..];
        cpu_kernels::add_bias_activate_to(product, &bias[columns], activation, output, bias.len());
    }

    /// Adds biases and the residual's rows to some columns of the block's product.
    pub(super) fn finish_onto(&mut self, columns: Range<usize>, product: &[f32], bias: &[f32], residual: &[f32]) {
        let (residual, output) = (&residual[self.begin + columns.start..], &mut self.output[columns.start..]);
        cpu_kernels::add_bias_and_rows_to(product, &bias[columns], residual, output, bias.len());
    }
}

/// Cuts columns into those that are computed at once.
pub(super) fn columns_at_once<W: CpuWeight>(columns: usize) -> impl Iterator<Item = Range<usize>> {
    (0..columns).step_by(W::COLUMNS_AT_ONCE).map(move |begin| begin..columns.min(begin + W::COLUMNS_AT_ONCE))
}

/// Cuts rows of so many inputs, and an output of so many outputs, into blocks of nearly the same size.
pub(super) fn blocks<'a, W: CpuWeight>(
    rows: &'a [f32],
    inputs: usize,
    output: &'a mut [f32],
    outputs: usize,
) -> impl Iterator<Item = Block<'a>> {
    let count = rows.len() / inputs;
    let rows_per_block = count.div_ceil(count.div_ceil(W::ROWS_PER_BLOCK).max(1)).max(1).next_multiple_of(GRANULE);
    let parts = rows.chunks(rows_per_block * inputs).zip(output.chunks_mut(rows_per_block * outputs));
    let begins = (0..).step_by(rows_per_block * outputs);
    parts.zip(begins).map(|((rows, output), begin)| Block { rows, output, begin })
}

/// `activation(rows · weightᵀ + bias)`.
pub(super) fn linear<W: CpuWeight>(rows: &[f32], layer: CpuLinear<'_, W>, activation: Activation, output: &mut [f32]) {
    each_product(rows, layer.weight, output, |block, columns, product| {
        block.finish(columns, product, layer.bias, activation);
    });
}

/// `rows · weightᵀ + bias + residual`.
pub(super) fn linear_onto<W: CpuWeight>(rows: &[f32], layer: CpuLinear<'_, W>, residual: &[f32], output: &mut [f32]) {
    each_product(rows, layer.weight, output, |block, columns, product| {
        block.finish_onto(columns, product, layer.bias, residual);
    });
}

/// Multiplies block by block and, in each, some columns at a time.
fn each_product<W: CpuWeight>(
    rows: &[f32],
    weight: &W,
    output: &mut [f32],
    mut finish: impl FnMut(&mut Block<'_>, Range<usize>, &[f32]),
) {
    let (mut factors, mut product) = (W::Factors::default(), Aligned::default());
    let (inputs, outputs) = (weight.inputs(), weight.outputs());
    for mut block in blocks::<W>(rows, inputs, output, outputs) {
        W::take(block.rows, inputs, &mut factors);
        for columns in columns_at_once::<W>(outputs) {
            weight.multiply(&factors, block.rows.len() / inputs, columns.clone(), &mut product);
            finish(&mut block, columns, &product);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tower::bf16::{self, Bf16Matrix};
    #[cfg(target_arch = "x86_64")]
    use crate::tower::f32_tiles::{self, SplitMatrix};
    use candle_core::{Device, Tensor};

    /// A packed weight under test.
    trait Tested: CpuWeight {
        const NAME: &str;
        /// Rows, inputs and outputs.
        const SHAPES: &[(usize, usize, usize)];

        fn is_available() -> bool;
        fn pack(weight: &Tensor) -> Self;
        /// A factor as it is multiplied.
        fn factor(value: f32) -> f64;
    }

    impl Tested for Bf16Matrix {
        const NAME: &str = "bfloat16";
        // Inputs that are multiples of 32 are multiplied by AMX where there is AMX; 16 and 32 rows, 48 columns fill tiles.
        const SHAPES: &[(usize, usize, usize)] = &[
            (1, 8, 3),
            (5, 33, 7),
            (131, 40, 48),
            (257, 97, 53),
            (1, 32, 3),
            (16, 64, 48),
            (32, 32, 96),
            (131, 96, 100),
            (161, 384, 144),
        ];

        fn is_available() -> bool {
            bf16::is_available()
        }

        fn pack(weight: &Tensor) -> Bf16Matrix {
            Bf16Matrix::pack(weight).unwrap()
        }

        fn factor(value: f32) -> f64 {
            f64::from(half::bf16::from_f32(value))
        }
    }

    #[cfg(target_arch = "x86_64")]
    impl Tested for SplitMatrix {
        const NAME: &str = "f32 by tiles";
        const SHAPES: &[(usize, usize, usize)] =
            &[(1, 32, 32), (16, 64, 96), (32, 32, 64), (131, 96, 32), (161, 384, 160), (257, 1600, 64)];

        fn is_available() -> bool {
            f32_tiles::is_available()
        }

        fn pack(weight: &Tensor) -> SplitMatrix {
            SplitMatrix::pack(weight).unwrap().expect("these shapes fill tiles")
        }

        fn factor(value: f32) -> f64 {
            f64::from(value)
        }
    }

    fn values(count: usize, seed: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * seed).sin()).collect()
    }

    fn pack<W: Tested>(weight: &[f32], outputs: usize) -> W {
        let shape = (outputs, weight.len() / outputs);
        W::pack(&Tensor::from_slice(weight, shape, &Device::Cpu).unwrap())
    }

    /// Whether there is nothing to test on this processor.
    #[expect(clippy::print_stdout, reason = "a test that skips says so")]
    fn skips<W: Tested>() -> bool {
        if !W::is_available() {
            println!("skipped: {} is not used on this processor", W::NAME);
        }
        !W::is_available()
    }

    /// The product in f64.
    fn expected<W: Tested>(rows: &[f32], weight: &[f32], inputs: usize) -> Vec<f64> {
        let dot =
            |row: &[f32], weight: &[f32]| row.iter().zip(weight).map(|(a, b)| W::factor(*a) * W::factor(*b)).sum();
        let products = |row| weight.chunks(inputs).map(move |weight| dot(row, weight));
        rows.chunks(inputs).flat_map(products).collect()
    }

    fn products_are_right_for_any_shape<W: Tested>() {
        if skips::<W>() {
            return;
        }
        for &(count, inputs, outputs) in W::SHAPES {
            let (rows, weight) = (values(count * inputs, 0.37), values(inputs * outputs, 0.73));
            let (bias, residual) = (values(outputs, 0.11), values(count * outputs, 0.53));
            let packed = pack::<W>(&weight, outputs);
            let layer = CpuLinear { weight: &packed, bias: &bias };
            let (mut plain, mut onto) = (vec![0.0; count * outputs], vec![0.0; count * outputs]);
            linear(&rows, layer, Activation::Relu, &mut plain);
            linear_onto(&rows, layer, &residual, &mut onto);
            for (at, product) in expected::<W>(&rows, &weight, inputs).into_iter().enumerate() {
                let sum = product + f64::from(bias[at % outputs]);
                assert!((f64::from(plain[at]) - sum.max(0.0)).abs() < 1e-4, "{} {sum}", plain[at]);
                assert!((f64::from(onto[at]) - sum - f64::from(residual[at])).abs() < 1e-4, "{} {sum}", onto[at]);
            }
        }
    }

    fn the_feed_forward_part_is_two_layers_and_a_residual<W: Tested>(hidden: usize, wide: usize) {
        if skips::<W>() {
            return;
        }
        let count = 150;
        let rows = values(count * hidden, 0.31);
        let widen = pack::<W>(&values(hidden * wide, 0.7), wide);
        let narrow = pack::<W>(&values(hidden * wide, 0.9), hidden);
        let (widen_bias, narrow_bias) = (values(wide, 0.2), values(hidden, 0.4));
        let widen = CpuLinear { weight: &widen, bias: &widen_bias };
        let narrow = CpuLinear { weight: &narrow, bias: &narrow_bias };
        let (mut together, mut between, mut apart) =
            (vec![0.0; count * hidden], vec![0.0; count * wide], vec![0.0; count * hidden]);
        W::feed_forward(&rows, widen, Activation::Gelu, narrow, &rows, &mut together);
        linear(&rows, widen, Activation::Gelu, &mut between);
        linear_onto(&between, narrow, &rows, &mut apart);
        assert_eq!(together, apart);
    }

    fn a_row_is_the_same_to_the_bit_in_any_batch<W: Tested>(shapes: &[(usize, usize)]) {
        if skips::<W>() {
            return;
        }
        let count = 300;
        for &(inputs, outputs) in shapes {
            let (rows, bias) = (values(count * inputs, 0.17), values(outputs, 0.3));
            let packed = pack::<W>(&values(inputs * outputs, 0.41), outputs);
            let layer = CpuLinear { weight: &packed, bias: &bias };
            let mut all = vec![0.0; count * outputs];
            linear(&rows, layer, Activation::Identity, &mut all);
            for (row, together) in rows.chunks(inputs).zip(all.chunks(outputs)) {
                let mut alone = vec![0.0; outputs];
                linear(row, layer, Activation::Identity, &mut alone);
                assert_eq!(alone, together);
            }
        }
    }

    fn values_that_are_not_finite_stay_so<W: Tested>(shapes: &[(usize, usize)]) {
        if skips::<W>() {
            return;
        }
        for &(inputs, outputs) in shapes {
            let packed = pack::<W>(&vec![1.0; inputs * outputs], outputs);
            let bias = vec![0.0; outputs];
            let layer = CpuLinear { weight: &packed, bias: &bias };
            for bad in [f32::NAN, f32::INFINITY, f32::from_bits(0x7FFF_FFFF), f32::from_bits(0x7F80_0001)] {
                let (mut row, mut output) = (vec![0.0; inputs], vec![0.0; outputs]);
                row[1] = bad;
                linear(&row, layer, Activation::Identity, &mut output);
                assert!(output.iter().all(|value| !value.is_finite()), "{bad}");
            }
        }
    }

    mod bfloat16 {
        use super::*;

        #[test]
        fn products_are_those_of_rounded_factors_for_any_shape() {
            products_are_right_for_any_shape::<Bf16Matrix>();
        }

        #[test]
        fn the_feed_forward_part_is_two_layers_and_a_residual() {
            super::the_feed_forward_part_is_two_layers_and_a_residual::<Bf16Matrix>(16, 40);
        }

        #[test]
        fn a_row_is_the_same_to_the_bit_in_any_batch() {
            super::a_row_is_the_same_to_the_bit_in_any_batch::<Bf16Matrix>(&[(64, 50), (40, 96)]);
        }

        #[test]
        fn values_that_are_not_finite_stay_so() {
            super::values_that_are_not_finite_stay_so::<Bf16Matrix>(&[(8, 1), (32, 1)]);
        }
    }

    #[cfg(target_arch = "x86_64")]
    mod f32_by_tiles {
        use super::*;

        #[test]
        fn products_are_right_for_any_shape_that_fills_tiles() {
            products_are_right_for_any_shape::<SplitMatrix>();
        }

        #[test]
        fn the_feed_forward_part_is_two_layers_and_a_residual() {
            // Fewer, as many and more wide columns than are computed at once.
            for wide in [96, 768, 1632] {
                super::the_feed_forward_part_is_two_layers_and_a_residual::<SplitMatrix>(64, wide);
            }
        }

        #[test]
        fn a_row_is_the_same_to_the_bit_in_any_batch() {
            super::a_row_is_the_same_to_the_bit_in_any_batch::<SplitMatrix>(&[(64, 96)]);
        }

        #[test]
        fn values_that_are_not_finite_stay_so() {
            super::values_that_are_not_finite_stay_so::<SplitMatrix>(&[(32, 64)]);
        }

        #[test]
        fn products_are_as_near_as_those_of_fused_multiply_add() {
            if skips::<SplitMatrix>() {
                return;
            }
            let (count, inputs, outputs) = (32, 768, 64);
            let (rows, weight) = (values(count * inputs, 0.37), values(inputs * outputs, 0.73));
            let packed = pack::<SplitMatrix>(&weight, outputs);
            let (bias, mut output) = (vec![0.0; outputs], vec![0.0; count * outputs]);
            linear(&rows, CpuLinear { weight: &packed, bias: &bias }, Activation::Identity, &mut output);
            let (mut tiles, mut fused) = (0.0, 0.0);
            for (at, expected) in expected::<SplitMatrix>(&rows, &weight, inputs).into_iter().enumerate() {
                let pairs = rows[at / outputs * inputs..].iter().zip(&weight[at % outputs * inputs..]).take(inputs);
                let sum = pairs.fold(0.0, |sum, (left, right)| left.mul_add(*right, sum));
                tiles += (f64::from(output[at]) - expected).powi(2);
                fused += (f64::from(sum) - expected).powi(2);
            }
            assert!(tiles < fused, "squared errors: {tiles} by tiles, {fused} by fused multiply-add");
        }
    }
}

//! Products in bfloat16 on the CPU: rows are rounded, multiplied by weights that were rounded and packed when the
//! model was loaded, and summed in f32. Owns joining rounded values to pairs; the product is `bf16_kernel`'s, blocks of
//! rows and what follows a product are `cpu_linear`'s. Invariant: a row of the product depends on the same row of the input
//! only, and is the same to the bit in any batch.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Result, Tensor};
use pulp::bytemuck;

use super::aligned::Aligned;
use super::bf16_kernel::{self, Panels, pairs_of};
use super::cpu_kernels;
use super::cpu_linear::{CpuLinear, CpuWeight, blocks};
use super::layers::Activation;

/// A weight `[out, in]`, rounded and packed.
#[derive(Clone, Debug)]
pub(crate) struct Bf16Matrix(Arc<Panels>);

/// Whether this processor multiplies bfloat16 faster than f32.
pub(super) fn is_available() -> bool {
    bf16_kernel::is_faster_than_f32()
}

impl Bf16Matrix {
    /// Rounds and packs a weight `[out, in]` in f32; only where [`is_available`].
    pub(crate) fn pack(weight: &Tensor) -> Result<Bf16Matrix> {
        let (outputs, inputs) = weight.dims2()?;
        let values: Vec<f32> = weight.flatten_all()?.to_vec1()?;
        let mut pairs = Aligned::default();
        round(&values, inputs, &mut pairs);
        Ok(Bf16Matrix(Arc::new(Panels::pack(&pairs, inputs, outputs))))
    }
}

impl CpuWeight for Bf16Matrix {
    const ROWS_PER_BLOCK: usize = 128;
    const COLUMNS_AT_ONCE: usize = 384;

    /// Pairs of rounded values.
    type Factors = Aligned<u32>;

    fn inputs(&self) -> usize {
        self.0.inputs()
    }

    fn outputs(&self) -> usize {
        self.0.outputs()
    }

    fn take(rows: &[f32], width: usize, pairs: &mut Aligned<u32>) {
        round(rows, width, pairs);
    }

    fn multiply(&self, pairs: &Aligned<u32>, rows: usize, columns: Range<usize>, product: &mut Aligned<f32>) {
        product.resize(rows * columns.len());
        bf16_kernel::multiply(pairs, &self.0, columns, product);
    }

    /// The wide rows never leave the cache.
    fn feed_forward(
        rows: &[f32],
        widen: CpuLinear<'_, Self>,
        activation: Activation,
        narrow: CpuLinear<'_, Self>,
        residual: &[f32],
        output: &mut [f32],
    ) {
        let (mut pairs, mut wide, mut product) = (Aligned::default(), Aligned::default(), Aligned::default());
        let (inputs, width, outputs) = (widen.weight.inputs(), widen.weight.outputs(), narrow.weight.outputs());
        for mut block in blocks::<Self>(rows, inputs, output, outputs) {
            let count = block.rows.len() / inputs;
            round(block.rows, inputs, &mut pairs);
            widen.weight.multiply(&pairs, count, 0..width, &mut product);
            activate_to_pairs(&product, widen.bias, activation, &mut wide);
            narrow.weight.multiply(&wide, count, 0..outputs, &mut product);
            block.finish_onto(0..outputs, &product, narrow.bias, residual);
        }
    }
}

/// Rounds rows of a width and joins neighbours to pairs; an odd last value gets 0 for a neighbour.
fn round(values: &[f32], width: usize, pairs: &mut Aligned<u32>) {
    to_pairs(values, width, pairs, cpu_kernels::round_to_bf16);
}

/// Adds biases to rows as wide as these, applies an activation, and rounds.
fn activate_to_pairs(values: &[f32], bias: &[f32], activation: Activation, pairs: &mut Aligned<u32>) {
    to_pairs(values, bias.len(), pairs, |values, rounded| {
        cpu_kernels::add_bias_activate_to(values, bias, activation, rounded, bias.len());
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

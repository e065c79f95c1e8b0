//! Products in f32 on the CPU by the tiles of AMX. Owns in which parts of a feed-forward layer these are computed; the product is
//! `amx_f32_kernel`'s, splitting rows `split`'s, blocks of rows and what follows a product `cpu_linear`'s. Invariant: a row
//! of the product depends on the same row of the input only, and is the same to the bit in any batch.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Result, Tensor};

use super::aligned::Aligned;
use super::amx_f32_kernel::{self, SplitWeight, Sum};
use super::amx_kernel;
use super::cpu_linear::{CpuLinear, CpuWeight, blocks, columns_at_once};
use super::layers::Activation;
use super::split::{ROWS, SplitRows};

/// A weight `[out, in]`, split and packed.
#[derive(Clone, Debug)]
pub(crate) struct SplitMatrix(Arc<SplitWeight>);

/// Whether this processor has tiles.
pub(super) fn is_available() -> bool {
    amx_kernel::is_available()
}

impl SplitMatrix {
    /// Splits and packs a weight `[out, in]` in f32; none where its sizes do not fill tiles. Only where [`is_available`].
    pub(crate) fn pack(weight: &Tensor) -> Result<Option<SplitMatrix>> {
        let (outputs, inputs) = weight.dims2()?;
        if !amx_f32_kernel::multiplies(inputs, outputs) {
            return Ok(None);
        }
        let values: Vec<f32> = weight.flatten_all()?.to_vec1()?;
        Ok(Some(SplitMatrix(Arc::new(SplitWeight::pack(&values, inputs, outputs)))))
    }
}

impl CpuWeight for SplitMatrix {
    const ROWS_PER_BLOCK: usize = 256;
    const COLUMNS_AT_ONCE: usize = 384;

    type Factors = SplitRows;

    fn inputs(&self) -> usize {
        self.0.inputs()
    }

    fn outputs(&self) -> usize {
        self.0.outputs()
    }

    fn take(rows: &[f32], width: usize, factors: &mut SplitRows) {
        factors.split(rows, width);
    }

    fn multiply(&self, factors: &SplitRows, rows: usize, columns: Range<usize>, product: &mut Aligned<f32>) {
        product.resize(rows.next_multiple_of(ROWS) * columns.len());
        amx_f32_kernel::multiply(factors, &self.0, 0..self.inputs(), columns, Sum::New, product);
    }

    fn feed_forward(
        rows: &[f32],
        widen: CpuLinear<'_, Self>,
        activation: Activation,
        narrow: CpuLinear<'_, Self>,
        residual: &[f32],
        output: &mut [f32],
    ) {
        let (mut factors, mut wide_factors) = (SplitRows::default(), SplitRows::default());
        let (mut wide, mut product) = (Aligned::default(), Aligned::default());
        let (inputs, width, outputs) = (widen.weight.inputs(), widen.weight.outputs(), narrow.weight.outputs());
        for mut block in blocks::<Self>(rows, inputs, output, outputs) {
            let count = block.rows.len() / inputs;
            factors.split(block.rows, inputs);
            product.resize(count.next_multiple_of(ROWS) * outputs);
            for columns in columns_at_once::<Self>(width) {
                let sum = if columns.start == 0 { Sum::New } else { Sum::Onto };
                widen.weight.multiply(&factors, count, columns.clone(), &mut wide);
                let computed = &wide[..count * columns.len()];
                wide_factors.split_activated(computed, &widen.bias[columns.clone()], activation);
                amx_f32_kernel::multiply(&wide_factors, &narrow.weight.0, columns, 0..outputs, sum, &mut product);
            }
            block.finish_onto(0..outputs, &product, narrow.bias, residual);
        }
    }
}

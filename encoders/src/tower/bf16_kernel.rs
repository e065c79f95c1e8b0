//! The matrix product of rows in bfloat16, by the dot-product instruction of AVX512-BF16 or by AMX where the processor has
//! it too. Owns the first instruction, the order in which weights are packed for both, and the choice; AMX is
//! `amx_kernel`'s, rounding `cpu_kernels`', blocks of rows and what follows a product are `bf16`'s. Invariant: an element of
//! the product is summed in the same order whatever the number of rows, so it is the same to the bit in any batch.
//!
//! Source: Intel 64 and IA-32 Architectures Software Developer's Manual, `VDPBF16PS`. A register tile of 8 rows and 48
//! columns (24 of the 32 registers hold sums) loads 3 vectors and broadcasts 8 pairs for every 24 multiplications.

use std::ops::Range;

use super::aligned::Aligned;
#[cfg(target_arch = "x86_64")]
use super::amx_kernel;

/// Columns whose weights lie side by side.
pub(super) const COLUMNS: usize = 48;
/// Rows that share each load of weights.
const ROWS: usize = 8;

/// A weight `[out, in]` in bfloat16: for each panel of [`COLUMNS`] outputs and each pair of inputs, the pairs of all
/// outputs side by side; missing outputs and a missing last input are 0.
#[derive(Debug)]
pub(super) struct Panels {
    pairs: Aligned<u32>,
    inputs: usize,
    outputs: usize,
}

impl Panels {
    /// Packs rows that have been rounded and joined to pairs: `outputs` rows of `pairs_of(inputs)`.
    pub(super) fn pack(rows: &[u32], inputs: usize, outputs: usize) -> Panels {
        let pairs_per_row = pairs_of(inputs);
        let mut pairs = Aligned::zeros(outputs.div_ceil(COLUMNS) * COLUMNS * pairs_per_row);
        for (output, row) in rows.chunks_exact(pairs_per_row).enumerate() {
            let panel = &mut pairs[output / COLUMNS * COLUMNS * pairs_per_row..];
            for (slot, pair) in panel.iter_mut().skip(output % COLUMNS).step_by(COLUMNS).zip(row) {
                *slot = *pair;
            }
        }
        Panels { pairs, inputs, outputs }
    }

    /// Inputs.
    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Outputs.
    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }
}

/// Pairs that hold a row of values.
pub(super) fn pairs_of(values: usize) -> usize {
    values.div_ceil(2)
}

/// Whether this processor multiplies bfloat16 here faster than `gemm` does f32. Intel's AVX512-BF16 is slower than its f32
/// (on a Xeon of two cores `benches/encode.rs` encoded 98 texts of chorus a second, in f32 158), AMD's faster, and AMX faster than all of them
/// (README, Speed).
pub(super) fn is_faster_than_f32() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        let vendor = raw_cpuid::CpuId::new().get_vendor_info();
        let is_intel = vendor.is_some_and(|vendor| vendor.as_str() == "GenuineIntel");
        has_instruction() && (amx_kernel::is_available() || !is_intel)
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

#[cfg(target_arch = "x86_64")]
fn has_instruction() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16")
}

/// `rows · weightᵀ`, of some outputs, which begin where a panel does: rows of [`pairs_of`] the weight's inputs, a product of
/// rows × those outputs.
///
/// # Panics
/// When the processor has no such instruction, which whoever packs a weight has asked.
pub(super) fn multiply(rows: &[u32], weight: &Panels, outputs: Range<usize>, product: &mut [f32]) {
    let width = pairs_of(weight.inputs);
    assert!(outputs.start.is_multiple_of(COLUMNS) && outputs.end <= weight.outputs, "panels are not cut");
    debug_assert_eq!(rows.len() / width * outputs.len(), product.len());
    let panels = &weight.pairs[outputs.start * width..][..outputs.len().next_multiple_of(COLUMNS) * width];
    #[cfg(target_arch = "x86_64")]
    {
        if amx_kernel::multiplies(width) {
            return amx_kernel::multiply(rows, width, panels, outputs.len(), product);
        }
        assert!(has_instruction(), "only packed where the processor has AVX512-BF16");
        #[expect(unsafe_code, reason = "calling a function for instructions that the processor was asked for")]
        // SAFETY: the function is safe but for the instructions it is compiled for, avx512f and avx512bf16; the line above
        // has found both on this processor. It reads and writes through slices only.
        unsafe {
            x86_64::multiply(rows, width, panels, outputs.len(), product);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    unreachable!("only packed where the processor has AVX512-BF16");
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::x86_64::{__m512, __m512bh, _mm512_dpbf16_ps, _mm512_set1_epi32, _mm512_setzero_ps};

    use pulp::bytemuck::{cast, cast_ref};

    use super::{COLUMNS, ROWS};

    /// Numbers in a vector.
    const LANES: usize = 16;
    /// Vectors in a row of the register tile.
    const VECTORS: usize = COLUMNS / LANES;

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) fn multiply(rows: &[u32], width: usize, panels: &[u32], outputs: usize, product: &mut [f32]) {
        let count = rows.len() / width;
        for (panel, first_column) in panels.chunks_exact(COLUMNS * width).zip((0..).step_by(COLUMNS)) {
            for first in (0..count).step_by(ROWS) {
                let mut tile = [&[][..]; ROWS];
                for (offset, row) in tile.iter_mut().enumerate() {
                    // The last row stands in for rows that are not there; its copies are not written.
                    let row_number = (first + offset).min(count - 1);
                    *row = &rows[row_number * width..][..width];
                }
                let sums = multiply_tile(panel, tile, width);
                for (offset, sums) in sums.iter().enumerate().take(count - first) {
                    let sums: &[f32; COLUMNS] = cast_ref(sums);
                    let row = &mut product[(first + offset) * outputs..][..outputs];
                    let target = &mut row[first_column..];
                    match target.first_chunk_mut::<COLUMNS>() {
                        // The length is known here, so that this is three stores and no call.
                        Some(target) => *target = *sums,
                        None => target.copy_from_slice(&sums[..target.len()]),
                    }
                }
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    #[inline]
    fn multiply_tile(panel: &[u32], rows: [&[u32]; ROWS], width: usize) -> [[__m512; VECTORS]; ROWS] {
        let mut sums = [[_mm512_setzero_ps(); VECTORS]; ROWS];
        let (weights, _) = panel.as_chunks::<COLUMNS>();
        for (pair, weights) in (0..width).zip(weights) {
            let weights: &[[u32; LANES]; VECTORS] = cast_ref(weights);
            let weights: [__m512bh; VECTORS] = weights.map(cast);
            for (sums, row) in sums.iter_mut().zip(&rows) {
                let values: __m512bh = cast(_mm512_set1_epi32(row[pair].cast_signed()));
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = _mm512_dpbf16_ps(*sum, values, weights);
                }
            }
        }
        sums
    }
}

//! The matrix product of rows in f32 by the tile instructions of AMX, which multiply bfloat16 only: a number of f32 is the
//! sum of three of bfloat16, and of their nine products the six that f32 would not round away are summed, in f32. Owns the
//! instructions and the order of a weight's parts in memory; `amx_kernel` owns the registers, `split` the parts of rows.
//! Invariant: an element of the product is as near to the true one as with fused multiply-add in f32, and is summed in
//! the same order whatever the number of rows, so it is the same to the bit in any batch.
//!
//! Source: Henry, Tang, Heinecke, "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision
//! Computations", ARITH 2019. Six instructions take the place of one, but one has sixteen times the multiplications of a
//! fused multiply-add on 512 bits. Of the eight tile registers four hold sums of 32 rows and 32 columns.

use std::arch::asm;
use std::ops::Range;

use super::aligned::Aligned;
use super::amx_kernel::{TILE_ROWS, Tiles};
use super::split::{PARTS, ROWS, STEP, SplitRows, parts};

/// Columns of a panel: two tiles.
const COLUMNS: usize = 2 * TILE_ROWS;
/// Numbers of a tile.
const TILE: usize = TILE_ROWS * STEP;

/// Whether a weight of these sizes is multiplied here: it fills tiles.
pub(super) fn multiplies(inputs: usize, outputs: usize) -> bool {
    inputs > 0 && outputs > 0 && inputs.is_multiple_of(STEP) && outputs.is_multiple_of(COLUMNS)
}

/// A weight `[out, in]` in parts: for each panel of [`COLUMNS`] outputs, each [`STEP`] of inputs, each part and each half
/// of the panel, a tile of 16 pairs of inputs and 16 outputs.
#[derive(Debug)]
pub(super) struct SplitWeight {
    tiles: Aligned<u16>,
    inputs: usize,
    outputs: usize,
}

impl SplitWeight {
    /// Splits and packs rows of `inputs`.
    ///
    /// # Panics
    /// Unless this file [`multiplies`] such weights.
    pub(super) fn pack(rows: &[f32], inputs: usize, outputs: usize) -> SplitWeight {
        assert!(
            multiplies(inputs, outputs) && rows.len() == inputs * outputs,
            "only weights that fill tiles are packed"
        );
        let mut tiles = Aligned::zeros(rows.len() * PARTS);
        for (output, row) in rows.chunks_exact(inputs).enumerate() {
            let (panel, column) = (output / COLUMNS, output % COLUMNS);
            let panel = &mut tiles[panel * COLUMNS * inputs * PARTS..][..COLUMNS * inputs * PARTS];
            let (steps, _) = row.as_chunks::<STEP>();
            for (step, inputs) in panel.chunks_exact_mut(2 * PARTS * TILE).zip(steps) {
                for (place, input) in inputs.iter().enumerate() {
                    let at = column / TILE_ROWS * TILE + place / 2 * STEP + column % TILE_ROWS * 2 + place % 2;
                    for (part, number) in parts(*input).into_iter().enumerate() {
                        step[part * 2 * TILE + at] = number;
                    }
                }
            }
        }
        SplitWeight { tiles, inputs, outputs }
    }

    /// Inputs.
    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Outputs.
    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Tiles of some inputs of a panel.
    fn panel(&self, first_output: usize, inputs: &Range<usize>) -> &[u16] {
        const PER_INPUT: usize = COLUMNS * PARTS;
        let begin = (first_output * self.inputs / COLUMNS + inputs.start) * PER_INPUT;
        &self.tiles[begin..begin + inputs.len() * PER_INPUT]
    }
}

/// What a product becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sum {
    /// The product.
    New,
    /// What was there, and the product.
    Onto,
}

/// The product of rows and a part of a weight, transposed: the rows have the inputs of that part. `product` has a row of
/// the part's outputs for each row, and rows that fill tiles; what is in those is not said.
///
/// # Panics
/// Unless the processor has tiles, sizes fit each other, and parts begin and end where steps and panels do.
pub(super) fn multiply(
    rows: &SplitRows,
    weight: &SplitWeight,
    inputs: Range<usize>,
    outputs: Range<usize>,
    sum: Sum,
    product: &mut [f32],
) {
    assert!([inputs.start, inputs.end].iter().all(|at| at.is_multiple_of(STEP)) && inputs.len() == rows.steps() * STEP);
    assert!([outputs.start, outputs.end].iter().all(|at| at.is_multiple_of(COLUMNS)) && inputs.end <= weight.inputs);
    let tiles = Tiles::configure();
    let (stride, last_output) = (outputs.len(), outputs.end - COLUMNS);
    for (first_output, column) in outputs.step_by(COLUMNS).zip((0..).step_by(COLUMNS)) {
        let panel = weight.panel(first_output, &inputs);
        let next = weight.panel(last_output.min(first_output + COLUMNS), &inputs);
        // The first rows fetch the next panel, a quarter each.
        let fetched = next.chunks_exact(panel.len() / 4).chain(std::iter::repeat(panel));
        let pairs_of_tiles = rows.tiles().chunks_exact(2 * rows.steps() * PARTS * TILE);
        for ((rows, product), fetched) in pairs_of_tiles.zip(product.chunks_mut(ROWS * stride)).zip(fetched) {
            multiply_tiles(&tiles, rows, panel, fetched, sum, &mut product[column..], stride);
        }
    }
}

/// The product of [`ROWS`] rows and one panel, to rows that begin `stride` numbers apart. Meanwhile as much as a quarter of a
/// panel is fetched into the second-level cache, which a model's weights do not fit.
#[expect(unsafe_code, reason = "assembly")]
fn multiply_tiles(
    _: &Tiles,
    rows: &[u16],
    panel: &[u16],
    fetched: &[u16],
    sum: Sum,
    product: &mut [f32],
    stride: usize,
) {
    const TILE_BYTES: usize = 2 * TILE;
    let half = rows.len() / 2;
    let steps = half / (PARTS * TILE);
    assert!(half == steps * PARTS * TILE && rows.len() == 2 * half && panel.len() == rows.len() && steps > 0);
    assert!(stride >= COLUMNS && product.len() >= (ROWS - 1) * stride + COLUMNS);
    let (rows, panel, product) = (rows.as_ptr(), panel.as_ptr(), product.as_mut_ptr());
    // SAFETY: the tiles are configured as `_` shows. Each step reads three tiles of the upper rows, three of the lower and six
    // of the panel, so by the first assertion all those reads are inside the two slices; by the second, the 32 numbers that
    // are read and written in each of 32 rows of the product are inside that, which is borrowed mutably and so apart from both.
    // Fetching changes nothing, wherever it reads.
    unsafe {
        asm!(
            "test {onto}, {onto}",
            "jnz 3f",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "jmp 2f",
            "3:",
            "tileloadd tmm0, [{product} + {product_bytes}]",
            "tileloadd tmm1, [{product} + {product_bytes} + 64]",
            "tileloadd tmm2, [{below} + {product_bytes}]",
            "tileloadd tmm3, [{below} + {product_bytes} + 64]",
            "2:",
            // The first part of the rows and the third of the weight. From each product of parts to the next only one factor
            // changes, and loads stand between multiplications that need not wait for them.
            "prefetcht1 [{fetched} + 0]",
            "prefetcht1 [{fetched} + 64]",
            "prefetcht1 [{fetched} + 128]",
            "prefetcht1 [{fetched} + 192]",
            "tileloadd tmm4, [{upper} + {line}]",
            "tileloadd tmm6, [{panel} + {line} + 4 * {tile}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{panel} + {line} + 5 * {tile}]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{lower} + {line}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            // First and second.
            "prefetcht1 [{fetched} + 256]",
            "prefetcht1 [{fetched} + 320]",
            "prefetcht1 [{fetched} + 384]",
            "prefetcht1 [{fetched} + 448]",
            "tileloadd tmm6, [{panel} + {line} + 2 * {tile}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{panel} + {line} + 3 * {tile}]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm4, [{upper} + {line} + {tile}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "tileloadd tmm5, [{lower} + {line} + {tile}]",
            // Second and second.
            "prefetcht1 [{fetched} + 512]",
            "prefetcht1 [{fetched} + 576]",
            "prefetcht1 [{fetched} + 640]",
            "prefetcht1 [{fetched} + 704]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tileloadd tmm6, [{panel} + {line}]",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "tileloadd tmm7, [{panel} + {line} + {tile}]",
            // Second and first.
            "prefetcht1 [{fetched} + 768]",
            "prefetcht1 [{fetched} + 832]",
            "prefetcht1 [{fetched} + 896]",
            "prefetcht1 [{fetched} + 960]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm4, [{upper} + {line} + 2 * {tile}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "tileloadd tmm5, [{lower} + {line} + 2 * {tile}]",
            // Third and first.
            "prefetcht1 [{fetched} + 1024]",
            "prefetcht1 [{fetched} + 1088]",
            "prefetcht1 [{fetched} + 1152]",
            "prefetcht1 [{fetched} + 1216]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm4, [{upper} + {line}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "tileloadd tmm5, [{lower} + {line}]",
            // First and first.
            "prefetcht1 [{fetched} + 1280]",
            "prefetcht1 [{fetched} + 1344]",
            "prefetcht1 [{fetched} + 1408]",
            "prefetcht1 [{fetched} + 1472]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {fetched}, 6 * {tile} / 4",
            "add {upper}, 3 * {tile}",
            "add {lower}, 3 * {tile}",
            "add {panel}, 6 * {tile}",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{product} + {product_bytes}], tmm0",
            "tilestored [{product} + {product_bytes} + 64], tmm1",
            "tilestored [{below} + {product_bytes}], tmm2",
            "tilestored [{below} + {product_bytes} + 64], tmm3",
            onto = in(reg) usize::from(sum == Sum::Onto),
            tile = const TILE_BYTES,
            upper = inout(reg) rows => _,
            lower = inout(reg) rows.add(half) => _,
            panel = inout(reg) panel => _,
            fetched = inout(reg) fetched.as_ptr() => _,
            line = in(reg) 2 * STEP,
            steps = inout(reg) steps => _,
            product = in(reg) product,
            below = in(reg) product.add(TILE_ROWS * stride),
            product_bytes = in(reg) 4 * stride,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_weights_that_fill_tiles_are_multiplied() {
        assert!(multiplies(32, 32) && multiplies(96, 1600));
        for (inputs, outputs) in [(0, 32), (32, 0), (588, 1024), (32, 48)] {
            assert!(!multiplies(inputs, outputs), "{inputs} inputs, {outputs} outputs");
        }
    }
}

//! Numbers of f32 as sums of three of bfloat16, for products by tiles. Owns the parts of a number and the order in which those
//! of rows lie in memory; products are `amx_f32_kernel`'s. Invariant: the parts' sum is the number, with nothing rounded.

use pulp::{Simd, WithSimd};

use super::aligned::Aligned;
use super::amx_kernel::TILE_ROWS;
use super::cpu_kernels::{ActivationLoop, with_activation};
use super::layers::Activation;

/// Parts of a number.
pub(super) const PARTS: usize = 3;
/// Inputs that one instruction multiplies: bfloat16 numbers in a row of a tile.
pub(super) const STEP: usize = 32;
/// Rows that are multiplied together: two tiles.
pub(super) const ROWS: usize = 2 * TILE_ROWS;

/// The three bfloat16 numbers, as bits, whose sum is the number: each takes the eight highest binary digits of what is left
/// of its 24. Of numbers below 2⁻¹⁰⁹, what the smallest part cannot hold is left out.
#[inline(always)]
pub(super) fn parts(value: f32) -> [u16; PARTS] {
    let highest = |value: f32| f32::from_bits(value.to_bits() & 0xFFFF_0000);
    let first = highest(value);
    let rest = value - first;
    let second = highest(rest);
    [first, second, rest - second].map(|part| (part.to_bits() >> 16) as u16)
}

/// Rows in parts: for each tile's rows, each [`STEP`] of inputs and each part, a tile. What stands in rows that only fill
/// the last tiles is not said.
#[derive(Debug, Default)]
pub(super) struct SplitRows {
    tiles: Aligned<u16>,
    steps: usize,
}

impl SplitRows {
    /// Takes rows of a width, a multiple of [`STEP`].
    pub(super) fn split(&mut self, rows: &[f32], width: usize) {
        let lines = self.resize(rows.len() / width, width);
        pulp::Arch::new().dispatch(Split { rows, width, lines });
    }

    /// Adds a row of biases to each row, applies an activation, and takes the result.
    pub(super) fn split_activated(&mut self, rows: &[f32], bias: &[f32], activation: Activation) {
        let lines = self.resize(rows.len() / bias.len(), bias.len());
        with_activation(activation, SplitActivated { rows, bias, lines });
    }

    /// Makes room; returns the rows of all tiles.
    fn resize(&mut self, rows: usize, width: usize) -> &mut [[u16; STEP]] {
        self.steps = width / STEP;
        self.tiles.resize(rows.next_multiple_of(ROWS) * self.steps * STEP * PARTS);
        self.tiles.as_chunks_mut().0
    }

    /// Tiles.
    pub(super) fn tiles(&self) -> &[u16] {
        &self.tiles
    }

    /// [`STEP`]s in a row.
    pub(super) fn steps(&self) -> usize {
        self.steps
    }
}

struct Split<'a> {
    rows: &'a [f32],
    width: usize,
    lines: &'a mut [[u16; STEP]],
}

impl WithSimd for Split<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (number, row) in self.rows.chunks_exact(self.width).enumerate() {
            let (steps, _) = row.as_chunks();
            for (step, values) in steps.iter().enumerate() {
                split_step(values, &mut self.lines[first_line(number, step, steps.len())..]);
            }
        }
    }
}

struct SplitActivated<'a> {
    rows: &'a [f32],
    bias: &'a [f32],
    lines: &'a mut [[u16; STEP]],
}

impl ActivationLoop for SplitActivated<'_> {
    #[inline(always)]
    fn run(self, activate: impl Fn(f32) -> f32 + Copy) {
        let (bias, _) = self.bias.as_chunks::<STEP>();
        for (number, row) in self.rows.chunks_exact(self.bias.len()).enumerate() {
            let (steps, _) = row.as_chunks::<STEP>();
            for (step, (values, bias)) in steps.iter().zip(bias).enumerate() {
                let mut activated = *values;
                for (value, bias) in activated.iter_mut().zip(bias) {
                    *value = activate(*value + bias);
                }
                split_step(&activated, &mut self.lines[first_line(number, step, steps.len())..]);
            }
        }
    }
}

/// The line of the first part of a row's step. Those of the others follow a tile apart.
#[inline(always)]
fn first_line(row: usize, step: usize, steps: usize) -> usize {
    (row / TILE_ROWS * steps + step) * PARTS * TILE_ROWS + row % TILE_ROWS
}

#[inline(always)]
fn split_step(values: &[f32; STEP], lines: &mut [[u16; STEP]]) {
    let mut split = [[0; STEP]; PARTS];
    for (place, value) in values.iter().enumerate() {
        for (line, part) in split.iter_mut().zip(parts(*value)) {
            line[place] = part;
        }
    }
    for (line, split) in lines.iter_mut().step_by(TILE_ROWS).zip(split) {
        *line = split;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(parts: [u16; PARTS]) -> f32 {
        let [first, second, third] = parts.map(|part| f32::from_bits(u32::from(part) << 16));
        first + (second + third)
    }

    #[test]
    fn the_parts_of_a_number_are_its_sum() {
        let smallest_whole = f32::from_bits((127 - 109) << 23);
        for bits in (0..=u32::MAX).step_by(65_521) {
            let value = f32::from_bits(bits);
            let sum = sum(parts(value));
            if !value.is_finite() {
                assert!(!sum.is_finite(), "{value}");
            } else if value.abs() >= smallest_whole {
                assert_eq!(sum.to_bits(), value.to_bits());
            } else {
                assert!((sum - value).abs() < f32::from_bits(1 << 16), "{value}");
            }
        }
    }

    #[test]
    fn every_row_and_step_has_its_place() {
        let (count, width) = (37, 96);
        let rows: Vec<f32> = (0..count * width).map(|at| at as f32 + 0.123).collect();
        let mut split = SplitRows::default();
        split.split(&rows, width);
        assert_eq!((split.steps(), split.tiles().len()), (3, 64 * width * PARTS));
        for (at, value) in rows.iter().enumerate() {
            let (row, step, place) = (at / width, at % width / STEP, at % STEP);
            let line = first_line(row, step, 3);
            let number = |part: usize| split.tiles()[(line + part * TILE_ROWS) * STEP + place];
            assert_eq!(sum([number(0), number(1), number(2)]), *value);
        }
        let (mut activated, biased) = (SplitRows::default(), rows.iter().map(|value| value + 1.0).collect::<Vec<_>>());
        activated.split_activated(&rows, &vec![1.0; width], Activation::Identity);
        split.split(&biased, width);
        assert_eq!(activated.tiles()[..32 * width * PARTS], split.tiles()[..32 * width * PARTS]);
    }
}

//! The arithmetic between matrix products, on slices of f32: biases, activations, softmax, layer norm, rounding. Owns the
//! loops; the approximations are `cpu_functions`', tensors are `fused`'s. pulp compiles each loop once for every instruction set and
//! chooses at run time; sums are kept in [`PARTS`] vectors. Invariant: results are within a few units in the last place of f32.
//!
//! A loop is a `WithSimd` and not a closure: whether a closure's body is compiled with the instructions that were chosen is up
//! to the compiler's inlining.

use pulp::{Simd, WithSimd};

use super::cpu_functions::{Arithmetic, Rounded};
use super::layers::Activation;

/// Vectors in which sums are kept, so that additions need not wait for each other.
const PARTS: usize = 4;

/// Adds a row of biases to each row, then applies an activation.
pub(super) fn add_bias_activate(rows: &mut [f32], bias: &[f32], activation: Activation) {
    with_activation(activation, AddBias { rows, bias });
}

/// The same to other rows, which begin `stride` apart: f32, or the bits of bfloat16.
pub(super) fn add_bias_activate_to<T: Rounded>(
    rows: &[f32],
    bias: &[f32],
    activation: Activation,
    output: &mut [T],
    stride: usize,
) {
    with_activation(activation, AddBiasTo { rows, bias, output, stride });
}

/// Adds a row of biases to each row, and another matrix.
pub(super) fn add_bias_and_rows(rows: &mut [f32], bias: &[f32], other: &[f32]) {
    pulp::Arch::new().dispatch(AddBiasAndRows { rows, bias, other });
}

/// The same to other rows, which begin `stride` apart as those of the other matrix do.
pub(super) fn add_bias_and_rows_to(rows: &[f32], bias: &[f32], other: &[f32], output: &mut [f32], stride: usize) {
    pulp::Arch::new().dispatch(AddBiasAndRowsTo { rows, bias, other, output, stride });
}

/// Softmax of each row of a length.
pub(super) fn softmax(rows: &mut [f32], length: usize) {
    pulp::Arch::new().dispatch(Softmax { rows, length });
}

/// Layer norm of each row into `output`.
pub(super) fn layer_norm(rows: &[f32], weight: &[f32], bias: &[f32], epsilon: f32, output: &mut [f32]) {
    pulp::Arch::new().dispatch(LayerNorm { rows, weight, bias, epsilon, output });
}

/// Rounds to the bits of bfloat16.
pub(super) fn round_to_bf16(values: &[f32], rounded: &mut [u16]) {
    pulp::Arch::new().dispatch(Round { values, rounded });
}

/// A loop that applies an activation.
pub(super) trait ActivationLoop {
    /// To be inlined.
    fn run(self, activate: impl Fn(f32) -> f32 + Copy);
}

/// A loop and its activation.
struct Activated<L, F>(L, F);

impl<L: ActivationLoop, F: Fn(Arithmetic, f32) -> f32 + Copy> WithSimd for Activated<L, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (Activated(rows, activate), arithmetic) = (self, Arithmetic::of(simd));
        rows.run(
            #[inline(always)]
            |value| activate(arithmetic, value),
        );
    }
}

/// Runs a loop with an activation, compiled for the instructions of this processor.
pub(super) fn with_activation(activation: Activation, rows: impl ActivationLoop) {
    let arch = pulp::Arch::new();
    // One loop for each activation: a choice inside would keep the compiler from making vector instructions.
    match activation {
        Activation::Gelu => arch.dispatch(Activated(rows, Arithmetic::gelu)),
        Activation::GeluTanh => arch.dispatch(Activated(rows, Arithmetic::gelu_tanh)),
        Activation::QuickGelu => arch.dispatch(Activated(rows, Arithmetic::quick_gelu)),
        Activation::Relu => arch.dispatch(Activated(rows, |_, value| if value < 0.0 { 0.0 } else { value })),
        Activation::Tanh => arch.dispatch(Activated(rows, Arithmetic::tanh)),
        Activation::Identity => arch.dispatch(Activated(rows, |_, value| value)),
    }
}

struct AddBias<'a> {
    rows: &'a mut [f32],
    bias: &'a [f32],
}

impl ActivationLoop for AddBias<'_> {
    #[inline(always)]
    fn run(self, activate: impl Fn(f32) -> f32 + Copy) {
        for row in self.rows.chunks_exact_mut(self.bias.len()) {
            for (value, bias) in row.iter_mut().zip(self.bias) {
                *value = activate(*value + bias);
            }
        }
    }
}

struct AddBiasTo<'a, T> {
    rows: &'a [f32],
    bias: &'a [f32],
    output: &'a mut [T],
    stride: usize,
}

impl<T: Rounded> ActivationLoop for AddBiasTo<'_, T> {
    #[inline(always)]
    fn run(self, activate: impl Fn(f32) -> f32 + Copy) {
        let length = self.bias.len();
        for (row, output) in self.rows.chunks_exact(length).zip(self.output.chunks_mut(self.stride)) {
            for ((output, value), bias) in output.iter_mut().zip(row).zip(self.bias) {
                *output = T::round(activate(value + bias));
            }
        }
    }
}

struct AddBiasAndRows<'a> {
    rows: &'a mut [f32],
    bias: &'a [f32],
    other: &'a [f32],
}

impl WithSimd for AddBiasAndRows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let length = self.bias.len();
        for (row, other) in self.rows.chunks_exact_mut(length).zip(self.other.chunks_exact(length)) {
            for ((value, bias), other) in row.iter_mut().zip(self.bias).zip(other) {
                *value += bias + other;
            }
        }
    }
}

struct AddBiasAndRowsTo<'a> {
    rows: &'a [f32],
    bias: &'a [f32],
    other: &'a [f32],
    output: &'a mut [f32],
    stride: usize,
}

impl WithSimd for AddBiasAndRowsTo<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let length = self.bias.len();
        let sources = self.rows.chunks_exact(length).zip(self.other.chunks(self.stride));
        for (output, (row, other)) in self.output.chunks_mut(self.stride).zip(sources) {
            for (((output, value), bias), other) in output.iter_mut().zip(row).zip(self.bias).zip(other) {
                *output = value + (bias + other);
            }
        }
    }
}

struct Softmax<'a> {
    rows: &'a mut [f32],
    length: usize,
}

impl WithSimd for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for row in self.rows.chunks_exact_mut(self.length) {
            let scale = exponentials(simd, row).recip();
            row.iter_mut().for_each(|value| *value *= scale);
        }
    }
}

/// Replaces values by their exponentials, the largest by 1; returns their sum. To be inlined where instruction sets have
/// been chosen.
#[inline(always)]
pub(super) fn exponentials<S: Simd>(simd: S, row: &mut [f32]) -> f32 {
    let (largest, arithmetic) = (largest(simd, row), Arithmetic::of(simd));
    row.iter_mut().for_each(|value| *value = arithmetic.exp_of_negative(*value - largest));
    sum(simd, row, |value| value)
}

struct LayerNorm<'a> {
    rows: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    epsilon: f32,
    output: &'a mut [f32],
}

impl WithSimd for LayerNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let length = self.weight.len();
        for (row, output) in self.rows.chunks_exact(length).zip(self.output.chunks_exact_mut(length)) {
            let mean = sum(simd, row, |value| value) / length as f32;
            // Two passes: subtracting the mean first keeps the digits that the textbook formula of one pass loses.
            output.iter_mut().zip(row).for_each(|(output, value)| *output = value - mean);
            let variance = sum(simd, output, |value| simd.mul_f32s(value, value)) / length as f32;
            let scale = (variance + self.epsilon).sqrt().recip();
            for ((output, weight), bias) in output.iter_mut().zip(self.weight).zip(self.bias) {
                *output = *output * scale * weight + bias;
            }
        }
    }
}

struct Round<'a> {
    values: &'a [f32],
    rounded: &'a mut [u16],
}

impl WithSimd for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (rounded, value) in self.rounded.iter_mut().zip(self.values) {
            *rounded = u16::round(*value);
        }
    }
}

/// The sum of what a function makes of the values; of 0 it makes 0.
#[inline(always)]
fn sum<S: Simd>(simd: S, values: &[f32], part: impl Fn(S::f32s) -> S::f32s) -> f32 {
    let (vectors, rest) = S::as_simd_f32s(values);
    let mut sums = [simd.splat_f32s(0.0); PARTS];
    let (groups, others) = vectors.as_chunks::<PARTS>();
    for group in groups {
        for (sum, vector) in sums.iter_mut().zip(group) {
            *sum = simd.add_f32s(*sum, part(*vector));
        }
    }
    for (sum, vector) in sums.iter_mut().zip(others) {
        *sum = simd.add_f32s(*sum, part(*vector));
    }
    sums[0] = simd.add_f32s(sums[0], part(simd.partial_load_f32s(rest)));
    let [first, second, third, fourth] = sums;
    simd.reduce_sum_f32s(simd.add_f32s(simd.add_f32s(first, second), simd.add_f32s(third, fourth)))
}

/// The largest value.
#[inline(always)]
fn largest<S: Simd>(simd: S, values: &[f32]) -> f32 {
    let (vectors, rest) = S::as_simd_f32s(values);
    let largest = vectors.iter().fold(simd.splat_f32s(f32::NEG_INFINITY), |left, right| simd.max_f32s(left, *right));
    rest.iter().fold(simd.reduce_max_f32s(largest), |left, right| if left < *right { *right } else { left })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_sums_to_one_and_layer_norm_has_mean_zero() {
        for length in [1, 5, 16, 33] {
            let row: Vec<f32> = (0..length).map(|i| (i as f32 * 0.37).sin() * 5.0 + 100.0).collect();
            let mut soft = row.clone();
            softmax(&mut soft, length);
            assert!((soft.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            let (ones, zeros, mut normed) = (vec![1.0; length], vec![0.0; length], vec![0.0; length]);
            layer_norm(&row, &ones, &zeros, 1e-12, &mut normed);
            assert!(normed.iter().sum::<f32>().abs() < 1e-4, "{normed:?}");
            let squares = normed.iter().map(|value| value * value).sum::<f32>() / length as f32;
            assert!(length == 1 || (squares - 1.0).abs() < 1e-4, "{squares}");
        }
    }
}

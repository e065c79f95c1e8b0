//! The arithmetic of activations, softmax and layer norm on slices of f32. Owns the approximations; `fused` applies them
//! to tensors. Written so that the compiler turns the loops into vector instructions: no calls, no branches, sums in
//! [`LANES`] parts; pulp compiles each loop once for every instruction set and chooses at run time. Invariant: results
//! are within a few units in the last place of f32, and NaN stays NaN.

use super::layers::Activation;

/// Parts in which sums are kept, so that additions need not wait for each other.
const LANES: usize = 16;

/// Adds a row of biases to each row, then applies an activation.
pub(super) fn add_bias_activate(rows: &mut [f32], bias: &[f32], activation: Activation) {
    // One loop for each activation: a choice inside would keep the compiler from making vector instructions.
    match activation {
        Activation::Gelu => add_bias_map(rows, bias, gelu),
        Activation::GeluTanh => add_bias_map(rows, bias, gelu_tanh),
        Activation::QuickGelu => add_bias_map(rows, bias, quick_gelu),
        Activation::Relu => add_bias_map(rows, bias, |value| if value < 0.0 { 0.0 } else { value }),
        Activation::Tanh => add_bias_map(rows, bias, tanh),
        Activation::Identity => add_bias_map(rows, bias, |value| value),
    }
}

fn add_bias_map(rows: &mut [f32], bias: &[f32], map: impl Fn(f32) -> f32 + Copy) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for row in rows.chunks_exact_mut(bias.len()) {
                for (value, bias) in row.iter_mut().zip(bias) {
                    *value = map(*value + bias);
                }
            }
        },
    );
}

/// Adds a row of biases to each row, and another matrix.
pub(super) fn add_bias_and_rows(rows: &mut [f32], bias: &[f32], other: &[f32]) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for (row, other) in rows.chunks_exact_mut(bias.len()).zip(other.chunks_exact(bias.len())) {
                for ((value, bias), other) in row.iter_mut().zip(bias).zip(other) {
                    *value += bias + other;
                }
            }
        },
    );
}

/// Softmax of each row of a length.
pub(super) fn softmax(rows: &mut [f32], length: usize) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for row in rows.chunks_exact_mut(length) {
                let scale = exponentials(row).recip();
                row.iter_mut().for_each(|value| *value *= scale);
            }
        },
    );
}

/// Replaces values by their exponentials, the largest by 1; returns their sum. To be inlined where instruction sets have
/// been chosen.
#[inline(always)]
pub(super) fn exponentials(row: &mut [f32]) -> f32 {
    let largest = fold(row, f32::NEG_INFINITY, |left, right| if left < right { right } else { left });
    row.iter_mut().for_each(|value| *value = exp_of_negative(*value - largest));
    fold(row, 0.0, |left, right| left + right)
}

/// Layer norm of each row into `output`.
pub(super) fn layer_norm(rows: &[f32], weight: &[f32], bias: &[f32], epsilon: f32, output: &mut [f32]) {
    let length = weight.len();
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for (row, output) in rows.chunks_exact(length).zip(output.chunks_exact_mut(length)) {
                let mean = fold(row, 0.0, |left, right| left + right) / length as f32;
                // Two passes: subtracting the mean first keeps the digits that the textbook formula of one pass loses.
                output.iter_mut().zip(row).for_each(|(output, value)| *output = value - mean);
                let variance = sum_of_squares(output) / length as f32;
                let scale = (variance + epsilon).sqrt().recip();
                for ((output, weight), bias) in output.iter_mut().zip(weight).zip(bias) {
                    *output = *output * scale * weight + bias;
                }
            }
        },
    );
}

/// Rounds to the bits of bfloat16, to even where two are equally near; NaN stays NaN.
pub(super) fn round_to_bf16(values: &[f32], rounded: &mut [u16]) {
    const QUIET_NAN: u16 = 0x7FC0;
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for (rounded, value) in rounded.iter_mut().zip(values) {
                let bits = value.to_bits();
                let nearest = (bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) >> 16) as u16;
                *rounded = if value.is_nan() { QUIET_NAN } else { nearest };
            }
        },
    );
}

#[inline(always)]
fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    // √(2/π)
    const SCALE: f32 = 0.797_884_6;
    0.5 * x * (1.0 + tanh(SCALE * x * (1.0 + 0.044_715 * x * x)))
}

#[inline(always)]
fn quick_gelu(x: f32) -> f32 {
    // sigmoid(y) = (1 + tanh(y / 2)) / 2
    0.5 * x * (1.0 + tanh(0.851 * x))
}

/// The error function by the rational approximation of Eigen (coefficients of `generic_fast_erf_float`),
/// within 3.3e-7.
#[inline(always)]
fn erf(x: f32) -> f32 {
    const NUMERATOR: [f32; 7] = [
        -2.726_142_3e-10,
        2.770_681_3e-8,
        -2.101_024e-6,
        -5.692_506_5e-5,
        -7.349_906_6e-4,
        -2.954_6e-3,
        -1.609_603_4e-2,
    ];
    const DENOMINATOR: [f32; 5] = [-1.456_607_2e-5, -2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_474e-2];
    // Beyond 4, erf is 1 in f32.
    let x = x.clamp(-4.0, 4.0);
    x * horner(x * x, &NUMERATOR) / horner(x * x, &DENOMINATOR)
}

/// The hyperbolic tangent by the rational approximation of Eigen (coefficients of `generic_fast_tanh_float`), within 2.8e-7.
#[inline(always)]
fn tanh(x: f32) -> f32 {
    const NUMERATOR: [f32; 7] = [
        -2.760_768_4e-16,
        2.000_188e-13,
        -8.604_672e-11,
        5.122_297_2e-8,
        1.485_722_4e-5,
        6.372_619_3e-4,
        4.893_524_6e-3,
    ];
    const DENOMINATOR: [f32; 4] = [1.198_258_4e-6, 1.185_347e-4, 2.268_434_6e-3, 4.893_525e-3];
    let x = x.clamp(-7.905_311, 7.905_311);
    x * horner(x * x, &NUMERATOR) / horner(x * x, &DENOMINATOR)
}

/// e to a power that is not positive, by the polynomial of Cephes (`expf`), within 2 units in the last place; 0 takes the
/// place of numbers below 2⁻¹²⁵.
#[inline(always)]
fn exp_of_negative(x: f32) -> f32 {
    const COEFFICIENTS: [f32; 6] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1];
    // Adding and subtracting this rounds to a whole number, which is then in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const LOWEST: f32 = -86.6;
    let bounded = if x < LOWEST { LOWEST } else { x };
    let rounded = bounded * std::f32::consts::LOG2_E + ROUND;
    let whole = rounded - ROUND;
    let rest = bounded - whole * LN_2_HIGH - whole * LN_2_LOW;
    let power = horner(rest, &COEFFICIENTS) * rest * rest + rest + 1.0;
    let exponent = rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    let result = power * f32::from_bits(exponent);
    if x < LOWEST { 0.0 } else { result }
}

/// A polynomial, highest coefficient first.
#[inline(always)]
fn horner<const N: usize>(x: f32, coefficients: &[f32; N]) -> f32 {
    coefficients.iter().fold(0.0, |value, coefficient| value * x + coefficient)
}

#[inline(always)]
fn sum_of_squares(values: &[f32]) -> f32 {
    let mut parts = [0.0; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest: f32 = chunks.remainder().iter().map(|value| value * value).sum();
    chunks.for_each(|chunk| parts.iter_mut().zip(chunk).for_each(|(part, value)| *part += value * value));
    parts.iter().sum::<f32>() + rest
}

#[inline(always)]
fn fold(values: &[f32], start: f32, combine: impl Fn(f32, f32) -> f32) -> f32 {
    let mut parts = [start; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder().iter().fold(start, |left, right| combine(left, *right));
    chunks.for_each(|chunk| parts.iter_mut().zip(chunk).for_each(|(part, value)| *part = combine(*part, *value)));
    parts.into_iter().fold(rest, combine)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs() -> impl Iterator<Item = f32> {
        (-12_000..=12_000).map(|step| step as f32 / 1000.0)
    }

    #[test]
    fn activations_are_close_to_their_formulas() {
        for x in inputs() {
            let wide = f64::from(x);
            let quick = wide / (1.0 + (-1.702 * wide).exp());
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (wide + 0.044_715 * wide.powi(3));
            for (name, got, expected) in [
                ("tanh", tanh(x), wide.tanh()),
                ("quick_gelu", quick_gelu(x), quick),
                ("gelu_tanh", gelu_tanh(x), 0.5 * wide * (1.0 + inner.tanh())),
            ] {
                let error = (f64::from(got) - expected).abs();
                assert!(error <= 4e-7 * wide.abs().max(1.0), "{name}({x}) = {got}, expected {expected}");
            }
        }
        for (x, expected) in [(0.5, 0.520_499_9), (1.0, 0.842_700_8), (-2.0, -0.995_322_3), (9.0, 1.0)] {
            assert!((erf(x) - expected).abs() < 5e-7, "erf({x}) = {}", erf(x));
        }
    }

    #[test]
    fn powers_of_e_are_close() {
        for x in inputs().map(|x| (x - 12.0) * 4.0) {
            let (got, expected) = (f64::from(exp_of_negative(x)), f64::from(x).exp());
            assert!((got - expected).abs() <= 3e-7 * expected + 1e-37, "e^{x} = {got}, expected {expected}");
        }
        assert_eq!((exp_of_negative(0.0), exp_of_negative(f32::NEG_INFINITY)), (1.0, 0.0));
        assert!(exp_of_negative(f32::NAN).is_nan() && gelu(f32::NAN).is_nan() && tanh(f32::NAN).is_nan());
    }

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

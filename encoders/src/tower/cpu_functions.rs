//! Activations, powers of e and rounding, one number at a time. Owns the approximations; `cpu_kernels` applies them to slices.
//! Written so that the compiler turns loops over them into vector instructions: no calls, no branches. Invariant: results
//! are within a few units in the last place of f32, and NaN stays NaN.

use pulp::Simd;

/// How products are added: in one step with one rounding where the processor does that, else in two.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arithmetic {
    fused: bool,
}

impl Arithmetic {
    /// That of an instruction set; all that have vectors have fused multiplication and addition too.
    #[inline(always)]
    pub(super) fn of<S: Simd>(_: S) -> Arithmetic {
        Arithmetic { fused: S::F32_LANES > 1 }
    }

    #[inline(always)]
    pub(super) fn gelu(self, x: f32) -> f32 {
        0.5 * x * (1.0 + self.erf(x * std::f32::consts::FRAC_1_SQRT_2))
    }

    #[inline(always)]
    pub(super) fn gelu_tanh(self, x: f32) -> f32 {
        // √(2/π)
        const SCALE: f32 = 0.797_884_6;
        0.5 * x * (1.0 + self.tanh(SCALE * x * (1.0 + 0.044_715 * x * x)))
    }

    #[inline(always)]
    pub(super) fn quick_gelu(self, x: f32) -> f32 {
        // sigmoid(y) = (1 + tanh(y / 2)) / 2
        0.5 * x * (1.0 + self.tanh(0.851 * x))
    }

    /// The error function by the rational approximation of Eigen (coefficients of `generic_fast_erf_float`),
    /// within 3.3e-7.
    #[inline(always)]
    fn erf(self, x: f32) -> f32 {
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
        x * self.polynomial(x * x, &NUMERATOR) / self.polynomial(x * x, &DENOMINATOR)
    }

    /// The hyperbolic tangent by the rational approximation of Eigen (coefficients of `generic_fast_tanh_float`), within 2.8e-7.
    #[inline(always)]
    pub(super) fn tanh(self, x: f32) -> f32 {
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
        x * self.polynomial(x * x, &NUMERATOR) / self.polynomial(x * x, &DENOMINATOR)
    }

    /// e to a power that is not positive, by the polynomial of Cephes (`expf`), within 2 units in the last place; 0 takes the
    /// place of numbers below 2⁻¹²⁵.
    #[inline(always)]
    pub(super) fn exp_of_negative(self, x: f32) -> f32 {
        const COEFFICIENTS: [f32; 6] =
            [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1];
        // Adding and subtracting this rounds to a whole number, which is then in the lowest bits.
        const ROUND: f32 = 12_582_912.0;
        const LN_2_HIGH: f32 = 0.693_359_4;
        const LN_2_LOW: f32 = -2.121_944_4e-4;
        const LOWEST: f32 = -86.6;
        let bounded = if x < LOWEST { LOWEST } else { x };
        let rounded = self.multiply_add(bounded, std::f32::consts::LOG2_E, ROUND);
        let whole = rounded - ROUND;
        let rest = self.multiply_add(whole, -LN_2_LOW, self.multiply_add(whole, -LN_2_HIGH, bounded));
        let power = self.multiply_add(self.polynomial(rest, &COEFFICIENTS), rest * rest, rest) + 1.0;
        let exponent = rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
        let result = power * f32::from_bits(exponent);
        if x < LOWEST { 0.0 } else { result }
    }

    /// A polynomial, highest coefficient first.
    #[inline(always)]
    fn polynomial<const N: usize>(self, x: f32, coefficients: &[f32; N]) -> f32 {
        let [highest, others @ ..] = coefficients.as_slice() else { return 0.0 };
        others.iter().fold(*highest, |value, coefficient| self.multiply_add(value, x, *coefficient))
    }

    /// `left * right + addend`.
    #[inline(always)]
    fn multiply_add(self, left: f32, right: f32, addend: f32) -> f32 {
        if self.fused { left.mul_add(right, addend) } else { left * right + addend }
    }
}

/// What a result can be written as.
pub(super) trait Rounded: Copy {
    /// The nearest of its values.
    fn round(value: f32) -> Self;
}

impl Rounded for f32 {
    #[inline(always)]
    fn round(value: f32) -> f32 {
        value
    }
}

/// The bits of bfloat16: to even where two are equally near.
impl Rounded for u16 {
    #[inline(always)]
    fn round(value: f32) -> u16 {
        const QUIET_NAN: u16 = 0x7FC0;
        let bits = value.to_bits();
        let nearest = (bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) >> 16) as u16;
        if value.is_nan() { QUIET_NAN } else { nearest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Arithmetic; 2] = [Arithmetic { fused: false }, Arithmetic { fused: true }];

    fn inputs() -> impl Iterator<Item = f32> {
        (-12_000..=12_000).map(|step| step as f32 / 1000.0)
    }

    #[test]
    fn activations_are_close_to_their_formulas() {
        for (x, arithmetic) in inputs().flat_map(|x| BOTH.map(|arithmetic| (x, arithmetic))) {
            let wide = f64::from(x);
            let quick = wide / (1.0 + (-1.702 * wide).exp());
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (wide + 0.044_715 * wide.powi(3));
            for (name, got, expected) in [
                ("tanh", arithmetic.tanh(x), wide.tanh()),
                ("quick_gelu", arithmetic.quick_gelu(x), quick),
                ("gelu_tanh", arithmetic.gelu_tanh(x), 0.5 * wide * (1.0 + inner.tanh())),
            ] {
                let error = (f64::from(got) - expected).abs();
                assert!(error <= 4e-7 * wide.abs().max(1.0), "{name}({x}) = {got}, expected {expected}");
            }
        }
        for (x, expected) in [(0.5, 0.520_499_9), (1.0, 0.842_700_8), (-2.0, -0.995_322_3), (9.0, 1.0)] {
            for got in BOTH.map(|arithmetic| arithmetic.erf(x)) {
                assert!((got - expected).abs() < 5e-7, "erf({x}) = {got}");
            }
        }
    }

    #[test]
    fn powers_of_e_are_close() {
        for arithmetic in BOTH {
            for x in inputs().map(|x| (x - 12.0) * 4.0) {
                let (got, expected) = (f64::from(arithmetic.exp_of_negative(x)), f64::from(x).exp());
                assert!((got - expected).abs() <= 3e-7 * expected + 1e-37, "e^{x} = {got}, expected {expected}");
            }
            let exp = |x| arithmetic.exp_of_negative(x);
            assert_eq!((exp(0.0), exp(f32::NEG_INFINITY)), (1.0, 0.0));
            let nan = f32::NAN;
            assert!([exp(nan), arithmetic.gelu(nan), arithmetic.tanh(nan)].iter().all(|value| value.is_nan()));
        }
    }

    #[test]
    fn rounding_is_that_of_half() {
        for bits in (0..=u32::MAX).step_by(65_521) {
            let value = f32::from_bits(bits);
            let expected = half::bf16::from_f32(value);
            let got = half::bf16::from_bits(u16::round(value));
            assert!(got == expected || got.is_nan() && expected.is_nan(), "{value}: {got}, not {expected}");
        }
    }
}

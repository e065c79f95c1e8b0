//! Scalar quantisation of vectors: codes of 8 bits with one step for all values. Owns the choice of the step, an item
//! vector's codes, and a query's values for products with them; not where codes are kept. Invariant: the same vectors
//! give the same step in whatever order and parts they come, and a query's products leave 32 bits for no codes at all.

use half::f16;

use super::quantised_dot::integer_dot;

/// The greatest code; the least is its negative, so that a vector and its opposite have opposite codes.
const MAX_CODE: f32 = 127.0;
/// Steps that are compared: equal parts of the one with which nothing is cut off.
const STEP_CHOICES: u32 = 128;
/// The greatest value of a quantised query.
const MAX_QUERY_VALUE: f64 = 32_767.0;
/// Bound of the sum of a quantised query's magnitudes: 128 times it is 2³¹.
const MAX_QUERY_SUM: f64 = 16_777_216.0;
/// Finite magnitudes of an `f16`, in the order of their bits.
const MAGNITUDES: usize = 0x7c00;

/// How often each magnitude occurs in item vectors: what the quantisation step is chosen by.
#[derive(Clone, Debug)]
pub struct Magnitudes {
    counts: Vec<u64>,
}

impl Default for Magnitudes {
    fn default() -> Magnitudes {
        Magnitudes { counts: vec![0; MAGNITUDES] }
    }
}

impl Magnitudes {
    /// Counts the values of a vector.
    pub fn count(&mut self, vector: &[f16]) {
        for value in vector {
            let magnitude = usize::from(value.to_bits() & 0x7fff);
            if let Some(count) = self.counts.get_mut(magnitude) {
                *count += 1;
            }
        }
    }

    /// Takes the counts of others in.
    pub fn merge(&mut self, others: &Magnitudes) {
        self.counts.iter_mut().zip(&others.counts).for_each(|(count, other)| *count += other);
    }

    /// The quantisation step that loses least: the one with the least sum of squared errors over all values, those of
    /// rounding and those of cutting off what is beyond the greatest code (as in Banner, Nahshan, Soudry 2019, "Post training
    /// 4-bit quantization", but over the values themselves in place of a distribution fitted to them). A few values far
    /// beyond the others are cut off; a dimension that is large in every vector is not. Items with fewer modalities than most
    /// have larger values, so that more of theirs are cut off and their inner products come out a little low. Above 0; 1/127
    /// where there are no values but zeros. Cost: 128 sums over the magnitudes that occur, of which there are 31,744.
    #[must_use]
    pub fn step(&self) -> f32 {
        let values: Vec<(f64, f64)> = (0_u16..)
            .zip(&self.counts)
            .filter(|(bits, count)| *bits > 0 && **count > 0)
            .map(|(bits, count)| (f16::from_bits(bits).to_f64(), *count as f64))
            .collect();
        let Some((greatest, _)) = values.last() else { return 1.0 / MAX_CODE };
        let mut best = (f64::INFINITY, 0.0);
        for part in 1..=STEP_CHOICES {
            let step = greatest / f64::from(MAX_CODE) * f64::from(part) / f64::from(STEP_CHOICES);
            let error = |value: f64| value - (value / step).round().min(f64::from(MAX_CODE)) * step;
            let errors: f64 = values.iter().map(|(value, count)| error(*value).powi(2) * count).sum();
            if errors < best.0 {
                best = (errors, step);
            }
        }
        best.1 as f32
    }
}

/// The codes of an item vector: its values in steps, rounded, those beyond the greatest code cut off.
pub(super) fn quantise(vector: &[f16], step: f32) -> Vec<i8> {
    // What is no number becomes 0 by the conversion.
    vector.iter().map(|value| (value.to_f32() / step).round().clamp(-MAX_CODE, MAX_CODE) as i8).collect()
}

/// A query as whole numbers of 16 bits, for products with codes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct QuantisedQuery {
    values: Vec<i16>,
    /// What a product of whole numbers is multiplied with.
    unit: f32,
}

impl QuantisedQuery {
    /// Quantises a query for codes of that step, as finely as 16 bits and sums of 32 bits allow. All products with a query
    /// that has no finite length are 0.
    pub(super) fn new(query: &[f32], step: f32) -> QuantisedQuery {
        let magnitudes = || query.iter().map(|value| f64::from(value.abs()));
        let largest = magnitudes().fold(0.0, f64::max);
        if largest == 0.0 || largest.is_infinite() {
            return QuantisedQuery { values: vec![0; query.len()], unit: 0.0 };
        }
        // Rounding makes the sum greater by less than the number of values.
        let sum_bound = (MAX_QUERY_SUM - query.len() as f64).max(0.0) / magnitudes().sum::<f64>();
        let factor = (MAX_QUERY_VALUE / largest).min(sum_bound);
        let values = query.iter().map(|value| (f64::from(*value) * factor).round() as i16).collect();
        QuantisedQuery { values, unit: (f64::from(step) / factor) as f32 }
    }

    /// About the inner product of the query and the item vector with these codes.
    pub(super) fn product(&self, codes: &[i8]) -> f32 {
        integer_dot(codes, &self.values) as f32 * self.unit
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn halves(values: &[f32]) -> Vec<f16> {
        values.iter().map(|value| f16::from_f32(*value)).collect()
    }

    fn step(vectors: &[Vec<f16>]) -> f32 {
        let mut magnitudes = Magnitudes::default();
        vectors.iter().for_each(|vector| magnitudes.count(vector));
        magnitudes.step()
    }

    #[test]
    fn few_large_values_are_cut_off_and_dimensions_that_are_large_are_not() {
        let value = |number: u32| f16::from_f32((number * 7_919 % 10_007) as f32 / 10_007.0 * 0.1);
        let small: Vec<Vec<f16>> = (0..1_000).map(|row| (row * 100..row * 100 + 100).map(value).collect()).collect();
        let usual = step(&small);
        assert!((usual * MAX_CODE / 0.1 - 1.0).abs() < 0.02, "{usual}");
        let mut with_one = Magnitudes::default();
        with_one.count(&halves(&[1.0]));
        (0..100).for_each(|_| small.iter().for_each(|vector| with_one.count(vector)));
        assert!(with_one.step() * MAX_CODE < 0.12, "one value of ten million: {}", with_one.step());
        let mut with_dimension = small;
        with_dimension.iter_mut().for_each(|vector| vector[0] = f16::from_f32(-0.6));
        assert!((step(&with_dimension) * MAX_CODE - 0.6).abs() < 0.02, "{}", step(&with_dimension));
    }

    #[test]
    fn a_step_is_there_whatever_the_values_are() {
        for values in [&[][..], &[0.0, -0.0], &[f32::INFINITY, f32::NAN]] {
            assert_eq!(step(&[halves(values)]), 1.0 / MAX_CODE);
        }
        assert!(step(&[vec![f16::from_bits(1)]]) > 0.0, "the least half");
        assert!(step(&[vec![f16::MAX, f16::MIN]]).is_finite());
    }

    #[test]
    fn codes_are_rounded_steps_within_bounds() {
        let values =
            halves(&[0.0, 0.5, -0.5, 1.0, -1.0, 63.4, -63.6, 64.0, 1_000.0, -1_000.0, f32::NEG_INFINITY, f32::NAN]);
        assert_eq!(quantise(&values, 0.5), [0, 1, -1, 2, -2, 127, -127, 127, 127, -127, -127, 0]);
    }

    proptest! {
        #[test]
        fn the_step_does_not_depend_on_order_or_parts(values in prop::collection::vec(-1.0f32..1.0, 1..300), cut in 0_usize..300) {
            let values = halves(&values);
            let mut backwards = values.clone();
            backwards.reverse();
            let (mut one, mut other) = (Magnitudes::default(), Magnitudes::default());
            one.count(&values[..cut.min(values.len())]);
            other.count(&values[cut.min(values.len())..]);
            one.merge(&other);
            prop_assert_eq!(one.step(), step(std::slice::from_ref(&values)));
            prop_assert_eq!(step(&[backwards]), step(&[values]));
        }

        #[test]
        fn products_are_near_those_of_the_values(pairs in prop::collection::vec((-1.0f32..1.0, -1.0f32..1.0), 1..400)) {
            let (vector, query): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let (vector, step) = (halves(&vector), 1.0 / MAX_CODE);
            let product = QuantisedQuery::new(&query, step).product(&quantise(&vector, step));
            let exact: f32 = vector.iter().zip(&query).map(|(value, query)| value.to_f32() * query).sum();
            // Half a step for each value of the item vector; the query's own rounding is finer by far.
            let bound = query.iter().map(|value| value.abs() * step * 0.5).sum::<f32>() + 1e-3 * vector.len() as f32 / 32.0;
            prop_assert!((product - exact).abs() <= bound, "{} {} {}", product, exact, bound);
        }

        #[test]
        fn no_codes_take_a_query_beyond_32_bits(
            query in prop::collection::vec(prop_oneof![Just(1.0f32), Just(-3e38), Just(1e-45), -1.0f32..1.0], 1..50),
            copies in prop_oneof![Just(1_usize), Just(1_300)],
        ) {
            let query = query.repeat(copies);
            let quantised = QuantisedQuery::new(&query, 0.01);
            let sum: i64 = quantised.values.iter().map(|value| i64::from(*value).abs()).sum();
            prop_assert!(128 * sum <= 1 << 31, "{}", sum);
            prop_assert!(quantised.unit.is_finite());
            let opposite: Vec<i8> = quantised.values.iter().map(|value| if *value > 0 { i8::MIN } else { i8::MAX }).collect();
            prop_assert!(quantised.product(&opposite) <= 0.0);
        }
    }

    #[test]
    fn a_query_of_nothing_has_products_of_nothing() {
        for query in [vec![], vec![0.0; 5], vec![f32::INFINITY, 1.0], vec![f32::NAN; 3]] {
            assert_eq!(QuantisedQuery::new(&query, 0.1).product(&vec![100; query.len()]), 0.0, "{query:?}");
        }
    }
}

//! Is a difference on the same queries more than chance? Owns the paired randomisation test and the bootstrap interval; not
//! what is compared. Invariant: the same differences and seed give the same figures.
//!
//! The test (Fisher 1935; Smucker, Allan, Carterette 2007, "A comparison of statistical significance tests for information
//! retrieval evaluation") asks: if both systems were the same, each query's difference could as well have the other sign; how
//! often does a random choice of signs give a mean at least as far from 0, on either side, as the one seen? The interval is
//! the percentile bootstrap over queries (Efron 1979; Sakai 2006).

use serde::Serialize;

use super::measure::sum;
use crate::random::SeededRandom;

/// Queries that differ, up to which all choices of signs are counted: 2^16 of them.
pub const MOST_EXACT_QUERIES: usize = 16;
/// Random choices of signs where there are more.
pub const RANDOMISATION_SAMPLES: u32 = 100_000;
/// Random samples of queries of the bootstrap.
pub const BOOTSTRAP_SAMPLES: usize = 10_000;
/// Share of the bootstrap's means that its interval holds.
pub const CONFIDENCE: f64 = 0.95;

/// Sums that differ by rounding only are equal.
const SUM_TOLERANCE: f64 = 1e-9;

/// Result of the paired randomisation test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PairedTest {
    /// Two-sided p-value, above 0 and at most 1.
    pub p_value: f64,
    /// Whether all choices of signs were counted; else a seeded sample of [`RANDOMISATION_SAMPLES`].
    pub exact: bool,
}

/// The two-sided test that the mean of paired differences is 0. Queries without a difference play no part. With a sample
/// the p-value counts the signs that were seen as one more, (hits + 1) / (samples + 1), so that it is never 0.
/// Cost: at most 2^16 or [`RANDOMISATION_SAMPLES`] sums over the queries.
#[must_use]
pub fn randomisation_test(differences: &[f64], seed: u64) -> PairedTest {
    let differing: Vec<f64> = differences.iter().copied().filter(|difference| *difference != 0.0).collect();
    let observed = sum(differing.iter().copied()).abs() - SUM_TOLERANCE;
    let signed = |signs: &mut dyn FnMut() -> bool| {
        sum(differing.iter().map(|difference| if signs() { -difference } else { *difference })).abs()
    };
    if differing.len() <= MOST_EXACT_QUERIES {
        let all = 1_u32 << differing.len();
        let at_least = (0..all).filter(|choice| {
            let mut left = *choice;
            let mut next = || {
                let bit = left & 1 == 1;
                left >>= 1;
                bit
            };
            signed(&mut next) >= observed
        });
        return PairedTest { p_value: at_least.count() as f64 / f64::from(all), exact: true };
    }
    let mut random = SeededRandom::new(seed);
    let (mut bits, mut left) = (0, 0);
    let mut next = || {
        if left == 0 {
            (bits, left) = (random.bits(), u64::BITS);
        }
        let bit = bits & 1 == 1;
        bits >>= 1;
        left -= 1;
        bit
    };
    let at_least = (0..RANDOMISATION_SAMPLES).filter(|_| signed(&mut next) >= observed).count();
    PairedTest { p_value: (at_least + 1) as f64 / f64::from(RANDOMISATION_SAMPLES + 1), exact: false }
}

/// Bounds of the mean of paired differences that hold [`CONFIDENCE`] of the means of samples of queries drawn with
/// replacement; 0 and 0 for no query. Cost: [`BOOTSTRAP_SAMPLES`] sums over the queries.
#[must_use]
pub fn bootstrap_interval(differences: &[f64], seed: u64) -> (f64, f64) {
    if differences.is_empty() {
        return (0.0, 0.0);
    }
    let mut random = SeededRandom::new(seed);
    let mut mean = || {
        let drawn = (0..differences.len()).map(|_| differences[random.below(differences.len())]);
        sum(drawn) / differences.len() as f64
    };
    let mut means: Vec<f64> = (0..BOOTSTRAP_SAMPLES).map(|_| mean()).collect();
    means.sort_by(f64::total_cmp);
    let outside = ((1.0 - CONFIDENCE) / 2.0 * BOOTSTRAP_SAMPLES as f64) as usize;
    (means[outside], means[BOOTSTRAP_SAMPLES - 1 - outside])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_queries_are_counted_out() {
        let p = |differences: &[f64]| randomisation_test(differences, 1);
        assert_eq!(p(&[]), PairedTest { p_value: 1.0, exact: true });
        assert_eq!(p(&[0.0, 0.0]).p_value, 1.0);
        assert_eq!(p(&[0.5]).p_value, 1.0, "one query proves nothing");
        // Of the eight choices of signs of 1, 2, 3 only the two with equal signs reach 6.
        assert_eq!(p(&[0.1, 0.2, 0.3, 0.0]).p_value, 0.25);
        // Sums of 1, 2, -1 with signs: 4, 2, 2, 0, 0, -2, -2, -4; six reach 2.
        assert_eq!(p(&[0.1, 0.2, -0.1]).p_value, 0.75);
        assert_eq!(p(&[0.1; 16]).p_value, 2.0 / 65_536.0);
    }

    #[test]
    fn a_sample_agrees_with_all_choices() {
        // 17 differences of which one is tiny: nearly the exact value of the 16 others.
        let mut differences: Vec<f64> = (0..16).map(|number| f64::from(number % 5) - 1.4).collect();
        let exact = randomisation_test(&differences, 1);
        differences.push(1e-12);
        let sampled = randomisation_test(&differences, 1);
        assert!(exact.exact && !sampled.exact);
        assert!((exact.p_value - sampled.p_value).abs() < 0.01, "{exact:?} {sampled:?}");
        assert_eq!(sampled, randomisation_test(&differences, 1), "one seed, one figure");
    }

    #[test]
    fn the_interval_holds_the_mean_and_narrows_with_the_spread() {
        let wide: Vec<f64> = (0..50).map(|number| f64::from(number % 2)).collect();
        let (low, high) = bootstrap_interval(&wide, 7);
        assert!(0.3 < low && low < 0.42 && 0.58 < high && high < 0.7, "{low} {high}");
        assert_eq!(bootstrap_interval(&[0.25; 9], 7), (0.25, 0.25));
        assert_eq!(bootstrap_interval(&[], 7), (0.0, 0.0));
    }
}

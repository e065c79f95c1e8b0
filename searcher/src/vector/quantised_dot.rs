//! The inner product of 8-bit codes and a quantised query. Owns that loop; not how either is made, nor what the product
//! means. Invariant: the sum is one of whole numbers, so it is the same on every machine and for every vector width.

/// Σ codes · query. The shorter length counts. A sum that leaves 32 bits wraps: the caller keeps Σ |query| below 2²⁴, with
/// which none does, whatever the codes are.
pub(super) fn integer_dot(codes: &[i8], query: &[i16]) -> i32 {
    pulp::Arch::new().dispatch(IntegerDot { codes, query })
}

/// The loop, compiled by pulp once for each instruction set; the best one of the machine is chosen at run time.
struct IntegerDot<'a> {
    codes: &'a [i8],
    query: &'a [i16],
}

impl pulp::WithSimd for IntegerDot<'_> {
    type Output = i32;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> i32 {
        let mut sum = 0_i32;
        for (code, value) in self.codes.iter().zip(self.query) {
            sum = sum.wrapping_add(i32::from(*code) * i32::from(*value));
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_the_inner_product(pairs in prop::collection::vec((any::<i8>(), any::<i16>()), 0..600)) {
            let (codes, query): (Vec<i8>, Vec<i16>) = pairs.iter().copied().unzip();
            let exact: i64 = pairs.iter().map(|(code, value)| i64::from(*code) * i64::from(*value)).sum();
            prop_assert_eq!(integer_dot(&codes, &query), exact as i32);
        }
    }

    #[test]
    fn the_shorter_length_counts_and_nothing_overflows_into_a_panic() {
        assert_eq!(integer_dot(&[2, 3], &[5]), 10);
        assert_eq!(integer_dot(&[i8::MIN; 500], &[i16::MAX; 500]), -128 * 32_767 * 500);
        let wrapped = integer_dot(&[i8::MIN; 1024], &[i16::MIN; 1024]);
        assert_eq!(wrapped, 0, "2^32 is 0 in 32 bits");
    }
}

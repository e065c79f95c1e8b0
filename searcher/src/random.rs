//! Seeded random numbers for sampling and shuffling: SplitMix64 (Steele, Lea, Flood 2014). Owns the generator; not what is
//! drawn with it. Invariant: the same seed gives the same numbers on every machine and in every version.

/// A generator; not for secrets.
#[derive(Clone, Debug)]
pub struct SeededRandom {
    state: u64,
}

impl SeededRandom {
    /// The generator of a seed.
    #[must_use]
    pub fn new(seed: u64) -> SeededRandom {
        SeededRandom { state: seed }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which must not be 0. Its bias is below `bound` / 2^64.
    pub fn below(&mut self, bound: usize) -> usize {
        // The product of two 64-bit numbers, shifted by 64, is below the second one.
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// Puts values into random order (Fisher, Yates).
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            values.swap(last, self.below(last + 1));
        }
    }

    /// Up to `count` different ones of `values`, in random order.
    #[must_use]
    pub fn some<T: Clone>(&mut self, values: &[T], count: usize) -> Vec<T> {
        let mut values = values.to_vec();
        self.shuffle(&mut values);
        values.truncate(count);
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_published_generator() {
        let mut random = SeededRandom::new(1_234_567);
        assert_eq!([random.bits(), random.bits()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn draws_stay_below_their_bound_and_reach_every_value() {
        let mut random = SeededRandom::new(5);
        let mut seen = [0; 7];
        (0..7_000).for_each(|_| seen[random.below(7)] += 1);
        assert!(seen.iter().all(|count| (800..1_200).contains(count)), "{seen:?}");
        let mut values: Vec<u32> = (0..100).collect();
        random.shuffle(&mut values);
        assert_ne!(values, (0..100).collect::<Vec<u32>>());
        values.sort_unstable();
        assert_eq!(values, (0..100).collect::<Vec<u32>>());
        assert_eq!([7, 200].map(|count| random.some(&values, count).len()), [7, 100]);
    }
}

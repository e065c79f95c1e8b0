//! Seeded random choices. Owns the generator (SplitMix64; Steele, Lea, Flood 2014) and what is drawn from it. Invariant: the
//! same seed gives the same choices on every machine.

/// The generator.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which must not be 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        // The remainder is below a `usize`.
        (self.next() % bound as u64) as usize
    }

    /// Puts `values` in random order (Fisher, Yates).
    pub(super) fn shuffle<T>(&mut self, values: &mut [T]) {
        for place in (1..values.len()).rev() {
            values.swap(place, self.below(place + 1));
        }
    }

    /// Up to `count` different ones of `values`, in random order.
    pub(super) fn some<T: Clone>(&mut self, values: &[T], count: usize) -> Vec<T> {
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
    fn choices_are_seeded_and_lose_nothing() {
        let values: Vec<usize> = (0..50).collect();
        let shuffled = |seed| {
            let mut copy = values.clone();
            Random::new(seed).shuffle(&mut copy);
            copy
        };
        assert_eq!(shuffled(3), shuffled(3));
        assert_ne!(shuffled(3), shuffled(4));
        let mut sorted = shuffled(3);
        sorted.sort_unstable();
        assert_eq!(sorted, values);
        assert_eq!(Random::new(5).some(&values, 7).len(), 7);
        assert_eq!(Random::new(5).some(&values[..2], 7).len(), 2);
    }
}

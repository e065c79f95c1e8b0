//! Scratch memory that begins at a cache line. Owns where it begins; invariant: as long as it was last sized. Loading
//! a tile whose 16 rows lie in two lines each takes several times as long as one whose rows are lines.

use std::ops::{Deref, DerefMut};

/// Bytes of a cache line, and of the widest registers.
const LINE_BYTES: usize = 64;

/// Numbers, the first of which begins a cache line.
#[derive(Debug)]
pub(super) struct Aligned<T> {
    numbers: Vec<T>,
    start: usize,
    length: usize,
}

impl<T> Default for Aligned<T> {
    /// None.
    fn default() -> Aligned<T> {
        Aligned { numbers: Vec::new(), start: 0, length: 0 }
    }
}

impl<T: Copy + Default> Aligned<T> {
    /// So many zeros.
    pub(super) fn zeros(length: usize) -> Aligned<T> {
        let spare = LINE_BYTES / size_of::<T>();
        let numbers = vec![T::default(); length + spare];
        // Memory of numbers begins at a multiple of their size, so the next line's beginning is fewer than `spare` away.
        let start = numbers.as_ptr().align_offset(LINE_BYTES).min(spare);
        Aligned { numbers, start, length }
    }

    /// Makes it this long. What it holds then is not said: zeros, or what was there before.
    pub(super) fn resize(&mut self, length: usize) {
        if self.start + length <= self.numbers.len() {
            self.length = length;
        } else {
            *self = Aligned::zeros(length);
        }
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.numbers[self.start..self.start + self.length]
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.numbers[self.start..self.start + self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_at_a_line_whatever_its_length() {
        let mut numbers = Aligned::<u16>::default();
        assert!(numbers.is_empty());
        for length in [1, 1000, 3, 1_000_000, 0] {
            numbers.resize(length);
            assert_eq!((numbers.len(), numbers.as_ptr().addr() % LINE_BYTES), (length, 0));
            numbers.fill(1);
        }
        assert_eq!(*Aligned::<f32>::zeros(5), [0.0; 5]);
    }
}

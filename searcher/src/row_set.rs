//! A set of rows, as filters produce it. Invariant: holds only rows below its capacity.

use std::ops::Range;

use schemas::Row;

/// A bitmap over the rows of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowSet {
    row_count: u64,
    words: Vec<u64>,
}

impl RowSet {
    /// No row of `row_count`.
    #[must_use]
    pub fn empty(row_count: u64) -> RowSet {
        let words = usize::try_from(row_count.div_ceil(64)).unwrap_or(usize::MAX);
        RowSet { row_count, words: vec![0; words] }
    }

    /// Every row of `row_count`.
    #[must_use]
    pub fn full(row_count: u64) -> RowSet {
        let mut set = RowSet::empty(row_count);
        set.complement();
        set
    }

    /// The capacity: rows below it can be in the set.
    #[must_use]
    pub fn row_count(&self) -> u64 {
        self.row_count
    }

    /// Adds a row; rows beyond the capacity are ignored.
    pub fn insert(&mut self, row: Row) {
        if u64::from(row) < self.row_count {
            self.words[row as usize / 64] |= 1 << (row % 64);
        }
    }

    /// Whether a row is in the set.
    #[must_use]
    pub fn contains(&self, row: Row) -> bool {
        self.words.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Number of rows in the set; counts bits, O(capacity / 64).
    #[must_use]
    pub fn len(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Whether no row is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// The rows in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = Row> + '_ {
        self.iter_words(0..self.words.len())
    }

    /// The rows in `range`, in ascending order. O(range / 64 + rows).
    pub fn iter_range(&self, range: Range<Row>) -> impl Iterator<Item = Row> + '_ {
        let words = range.start as usize / 64..(range.end.div_ceil(64) as usize).min(self.words.len());
        self.iter_words(words).filter(move |row| range.contains(row))
    }

    fn iter_words(&self, range: Range<usize>) -> impl Iterator<Item = Row> + '_ {
        // Rows are below the capacity, so they fit `Row` whenever the caller's row numbers do.
        range.filter(|number| *number < self.words.len()).flat_map(|number| {
            let mut left = self.words[number];
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(number as Row * 64 + bit)
            })
        })
    }

    /// Keeps the rows that `other` has too. Both must be of one capacity.
    pub fn intersect(&mut self, other: &RowSet) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= other;
        }
    }

    /// Adds the rows of `other`. Both must be of one capacity.
    pub fn union(&mut self, other: &RowSet) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word |= other;
        }
    }

    /// Turns the set into its complement.
    pub fn complement(&mut self) {
        for word in &mut self.words {
            *word = !*word;
        }
        let used = self.row_count % 64;
        if used != 0
            && let Some(last) = self.words.last_mut()
        {
            *last &= (1 << used) - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set(row_count: u64, rows: &BTreeSet<Row>) -> RowSet {
        let mut set = RowSet::empty(row_count);
        rows.iter().for_each(|row| set.insert(*row));
        set
    }

    #[test]
    fn rows_beyond_the_capacity_are_ignored() {
        let mut rows = RowSet::full(65);
        assert_eq!((rows.len(), rows.row_count()), (65, 65));
        rows.insert(65);
        assert!(!rows.contains(65) && !rows.contains(Row::MAX) && rows.contains(64));
        rows.complement();
        assert!(rows.is_empty() && RowSet::full(0).is_empty());
    }

    proptest! {
        #[test]
        fn behaves_as_a_set(
            row_count in 1u64..300,
            a in prop::collection::btree_set(0u32..300, 0..100),
            b in prop::collection::btree_set(0u32..300, 0..100),
            start in 0u32..320, length in 0u32..320,
        ) {
            let keep = |rows: &BTreeSet<Row>| rows.iter().copied().filter(|row| u64::from(*row) < row_count).collect::<BTreeSet<_>>();
            let (a, b) = (keep(&a), keep(&b));
            let (left, right) = (set(row_count, &a), set(row_count, &b));
            prop_assert!(left.iter().eq(a.iter().copied()));
            prop_assert_eq!(left.len(), a.len() as u64);
            let range = start..start + length;
            prop_assert!(left.iter_range(range.clone()).eq(a.range(range).copied()));
            let mut both = left.clone();
            both.intersect(&right);
            prop_assert!(both.iter().eq(a.intersection(&b).copied()));
            let mut either = left.clone();
            either.union(&right);
            prop_assert!(either.iter().eq(a.union(&b).copied()));
            let mut rest = left.clone();
            rest.complement();
            prop_assert!((0..300).all(|row| rest.contains(row) == (u64::from(row) < row_count && !a.contains(&row))));
        }
    }
}

//! What a retriever returns. Owns the order of candidates, best first, ties by row number, and the bounded list that
//! keeps the best; not the scores.

use std::cmp::Ordering;

use schemas::Row;

/// A row that one retriever found, in the order of its list: best first, ties by row number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Row number.
    pub row: Row,
    /// The retriever's score: BM25F, or the weighted mean of cosines.
    pub score: f32,
    /// Place in the retriever's list, from 1.
    pub rank: u32,
}

/// The best rows of those offered, at most `depth`; the same ones in whatever order they are offered.
///
/// A list of up to twice the depth that is cut back to the best half whenever it is full: over many offers that costs a
/// fraction of what a heap does.
#[derive(Clone, Debug)]
pub(crate) struct TopRows {
    depth: usize,
    /// The best ones so far, among others, in no order.
    kept: Vec<Scored>,
    /// What a row must exceed to be among the best, once there are enough.
    worst: Option<Scored>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Scored {
    score: f32,
    row: Row,
}

impl Eq for Scored {}

impl Ord for Scored {
    /// Greater is better: the higher score, among equal ones the lower row.
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.row.cmp(&self.row))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl TopRows {
    /// Nothing offered yet.
    pub(crate) fn new(depth: usize) -> TopRows {
        TopRows { depth, kept: Vec::new(), worst: None }
    }

    /// Offers a row, each one once. O(1), over many offers.
    #[inline]
    pub(crate) fn offer(&mut self, row: Row, score: f32) {
        // Adding zero turns -0 into 0, which `total_cmp` would tell apart.
        self.keep(Scored { score: score + 0.0, row });
    }

    #[inline]
    fn keep(&mut self, offered: Scored) {
        if self.worst.is_some_and(|worst| offered < worst) {
            return;
        }
        self.kept.push(offered);
        if self.kept.len() >= self.depth.saturating_mul(2) {
            self.cut();
        }
    }

    /// Drops all but the best ones.
    #[cold]
    fn cut(&mut self) {
        let Some(last) = self.depth.checked_sub(1) else { return self.kept.clear() };
        if last < self.kept.len() {
            let (_, worst, _) = self.kept.select_nth_unstable_by(last, |left, right| right.cmp(left));
            self.worst = Some(*worst);
            self.kept.truncate(self.depth);
        }
    }

    /// Offers everything that `other` kept.
    pub(crate) fn merge(mut self, other: TopRows) -> TopRows {
        for scored in other.kept {
            self.keep(scored);
        }
        self
    }

    /// The best rows, best first.
    pub(crate) fn into_candidates(mut self) -> Vec<Candidate> {
        self.cut();
        self.kept.sort_unstable_by(|left, right| right.cmp(left));
        let best_first = self.kept.into_iter().zip(1..);
        best_first.map(|(Scored { score, row }, rank)| Candidate { row, score, rank }).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ties_are_broken_by_row() {
        let mut top = TopRows::new(3);
        for (row, score) in [(9, 1.0), (4, 1.0), (7, 2.0), (2, 1.0), (1, 0.5)] {
            top.offer(row, score);
        }
        let found = top.into_candidates();
        assert_eq!(found.iter().map(|hit| (hit.row, hit.rank)).collect::<Vec<_>>(), [(7, 1), (2, 2), (4, 3)]);
    }

    #[test]
    fn depth_zero_keeps_nothing() {
        let mut top = TopRows::new(0);
        top.offer(1, 1.0);
        assert!(top.into_candidates().is_empty());
    }

    proptest! {
        #[test]
        fn keeps_what_sorting_would(scores in prop::collection::vec(-3i8..3, 0..60), depth in 0usize..20, cut in 0usize..60) {
            let scored: Vec<(Row, f32)> = (0..).zip(scores.iter().map(|score| f32::from(*score))).collect();
            let mut sorted = scored.clone();
            sorted.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            sorted.truncate(depth);
            let (left, right) = scored.split_at(cut.min(scored.len()));
            let [left, right] = [left, right].map(|rows| {
                let mut top = TopRows::new(depth);
                rows.iter().rev().for_each(|(row, score)| top.offer(*row, *score));
                top
            });
            let found: Vec<(Row, f32)> = left.merge(right).into_candidates().iter().map(|hit| (hit.row, hit.score)).collect();
            prop_assert_eq!(found, sorted);
        }
    }
}

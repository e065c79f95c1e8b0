//! What a retriever returns. Owns the order of candidates, best first, ties by row number, and the bounded list that
//! keeps the best; not the scores.

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

/// A score and a number (a row, or a place in a list) in one integer, so that a list of them is sorted without looking at
/// floats: the lesser key is the better one, which has the higher score, among equal scores the lower number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BestFirst(u64);

impl BestFirst {
    #[inline]
    pub(crate) fn new(score: f32, number: u32) -> BestFirst {
        // Adding zero turns -0 into 0, whose bits are others.
        let bits = (score + 0.0).to_bits();
        // Bits of positive floats are ordered as the floats are, those of negative ones the other way round.
        let ascending = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
        BestFirst(u64::from(!ascending) << 32 | u64::from(number))
    }

    pub(crate) fn score(self) -> f32 {
        let ascending = !((self.0 >> 32) as u32);
        f32::from_bits(if ascending >> 31 == 1 { ascending ^ 1 << 31 } else { !ascending })
    }

    pub(crate) fn number(self) -> u32 {
        self.0 as u32 // the lower half
    }
}

/// The best rows of those offered, at most `depth`; the same ones in whatever order they are offered.
///
/// A list of up to twice the depth that is cut back to the best half whenever it is full: over many offers that costs a
/// fraction of what a heap does.
#[derive(Clone, Debug)]
pub(crate) struct TopRows {
    depth: usize,
    /// The best ones so far, among others, in no order.
    kept: Vec<BestFirst>,
    /// The worst that can be among the best; less is asked for once there are enough.
    worst: BestFirst,
}

impl TopRows {
    /// Nothing offered yet.
    pub(crate) fn new(depth: usize) -> TopRows {
        TopRows { depth, kept: Vec::new(), worst: BestFirst(u64::MAX) }
    }

    /// Offers a row, each one once. O(1), over many offers.
    #[inline]
    pub(crate) fn offer(&mut self, row: Row, score: f32) {
        self.keep(BestFirst::new(score, row));
    }

    #[inline]
    fn keep(&mut self, offered: BestFirst) {
        if offered > self.worst {
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
            let (_, worst, _) = self.kept.select_nth_unstable(last);
            self.worst = *worst;
            self.kept.truncate(self.depth);
        }
    }

    /// Offers everything that `other` kept.
    pub(crate) fn merge(mut self, other: TopRows) -> TopRows {
        for key in other.kept {
            self.keep(key);
        }
        self
    }

    /// The best rows, best first.
    pub(crate) fn into_candidates(mut self) -> Vec<Candidate> {
        self.cut();
        self.kept.sort_unstable();
        let best_first = self.kept.into_iter().zip(1..);
        best_first.map(|(key, rank)| Candidate { row: key.number(), score: key.score(), rank }).collect()
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

    #[test]
    fn keys_are_ordered_as_scores_and_numbers_are() {
        let scores =
            [f32::INFINITY, 3.5, 1.0, f32::MIN_POSITIVE, 0.0, -f32::MIN_POSITIVE, -1.0, -2.5, f32::NEG_INFINITY];
        let keys = scores.map(|score| [BestFirst::new(score, 0), BestFirst::new(score, Row::MAX)]);
        assert!(keys.as_flattened().is_sorted_by(|before, after| before < after));
        assert_eq!(keys.map(|[key, _]| key.score()), scores);
        assert_eq!(keys.map(|[_, key]| key.number()), [Row::MAX; 9]);
        assert_eq!(BestFirst::new(-0.0, 7), BestFirst::new(0.0, 7));
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

//! The keyword retriever's best before all others: keywords choose the first rows, the combined score orders them, and
//! the others follow in its order. Owns how rows are lifted; not how many. Invariants: no row that is not lifted stands
//! above one that is; among each the order stays; the parts still add up to the score.
//!
//! This is the re-ranking of a first list's head by a second stage (a cascade; Wang, Lin, Metzler 2011; Elasticsearch's
//! `rescore` with its `window_size`). It lets alpha be large without putting items first that no keyword chose.

use super::RetrieverPart;

/// Adds to the score of the rows that are among the first `count` of the keyword list as much as puts them first: the
/// least whole number above the spread of all scores. It becomes part of their keyword part.
pub(super) fn lift(scores: &mut [f32], keyword_parts: &mut [RetrieverPart], count: usize) {
    if count == 0 {
        return;
    }
    let spread = scores.iter().copied().fold(f32::MIN, f32::max) - scores.iter().copied().fold(f32::MAX, f32::min);
    let bonus = spread.max(0.0).floor() + 1.0;
    for (score, part) in scores.iter_mut().zip(keyword_parts) {
        if part.rank.is_some_and(|rank| rank as usize <= count) {
            part.part += bonus;
            part.lift = bonus;
            *score += bonus;
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::manifest::RankFusionMethod;

    use super::super::{RankFusion, Retrievers, ScoredRow, fuse};

    fn rows(settings: &RankFusion, retrievers: Retrievers) -> Vec<(u32, f32, f32)> {
        // Keyword order 0, 1, 2, 3; vector order 3, 2, 1, 0; row 4 has no keyword.
        let scored = [(0, 4.0, 0.0), (1, 3.0, 0.3), (2, 2.0, 0.6), (3, 1.0, 0.9), (4, 0.0, 0.95)];
        let scored = scored.map(|(row, keyword, vector)| ScoredRow { row, keyword, vector: Some(vector) });
        let part = |part: Option<super::RetrieverPart>| part.map_or(0.0, |part| part.part);
        let ranked = fuse(settings, retrievers, &scored);
        ranked.iter().map(|row| (row.row, row.score, part(row.keyword) + part(row.vector))).collect()
    }

    #[test]
    fn the_keyword_lists_head_comes_first_in_the_order_of_the_combined_scores() {
        use RankFusionMethod::{Convex, MinMax, ReciprocalRank, ZScore};
        for method in [Convex, MinMax, ZScore, ReciprocalRank] {
            let order = |keyword_first| {
                let settings = RankFusion { method, alpha: 1.0, keyword_first, ..RankFusion::default() };
                let ranked = rows(&settings, Retrievers::Both);
                assert!(ranked.iter().all(|(_, score, parts)| (score - parts).abs() < 1e-5), "{method:?}");
                assert!(ranked.windows(2).all(|pair| pair[0].1 >= pair[1].1), "{method:?}");
                ranked.iter().map(|row| row.0).collect::<Vec<u32>>()
            };
            let all = order(0);
            let first: Vec<u32> = order(2);
            let expected: Vec<u32> =
                (all.iter().filter(|row| **row < 2)).chain(all.iter().filter(|row| **row >= 2)).copied().collect();
            assert_eq!(first, expected, "{method:?}");
            let last = order(100);
            assert_eq!(last.last(), Some(&4), "a row without a keyword is never lifted: {method:?}");
        }
    }

    #[test]
    fn one_retriever_alone_is_left_as_it_is() {
        let lifted = RankFusion { keyword_first: 2, ..RankFusion::default() };
        for retrievers in [Retrievers::Keyword, Retrievers::Vector] {
            assert_eq!(rows(&lifted, retrievers), rows(&RankFusion::default(), retrievers));
        }
    }
}

//! Places in lists. Owns the order by score; not the scores. Invariant: equal scores, -0 and 0 among them, come in the
//! order that they are given in, which is row order.

use crate::candidate::BestFirst;

/// Place of each listed score among the listed ones, from 1.
pub(super) fn ranks(scores: &[Option<f64>], listed: &dyn Fn(f64) -> bool) -> Vec<Option<u32>> {
    // The scores were 32 bits wide before.
    let key = |(score, place): (&Option<f64>, u32)| {
        score.filter(|score| listed(*score)).map(|score| BestFirst::new(score as f32, place))
    };
    let mut order: Vec<BestFirst> = scores.iter().zip(0..).filter_map(key).collect();
    order.sort_unstable();
    let mut ranks = vec![None; scores.len()];
    for (key, rank) in order.into_iter().zip(1..) {
        ranks[key.number() as usize] = Some(rank);
    }
    ranks
}

/// The places of all scores, from the highest to the lowest.
pub(super) fn best_first(scores: &[f32]) -> impl Iterator<Item = usize> {
    let mut order: Vec<BestFirst> =
        scores.iter().zip(0..).map(|(score, place)| BestFirst::new(*score, place)).collect();
    order.sort_unstable();
    order.into_iter().map(|key| key.number() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_count_the_listed_only_and_ties_keep_their_order() {
        let scores = [Some(0.5), None, Some(2.0), Some(0.0), Some(0.5)];
        assert_eq!(ranks(&scores, &|score| score > 0.0), [Some(2), None, Some(1), None, Some(3)]);
        assert_eq!(ranks(&scores, &|_| true), [Some(2), None, Some(1), Some(4), Some(3)]);
        assert_eq!(ranks(&[Some(-0.0), Some(0.0)], &|_| true), [Some(1), Some(2)]);
        assert_eq!(best_first(&[0.5, -1.0, 2.0, 0.5, -0.0, 0.0]).collect::<Vec<_>>(), [2, 0, 3, 4, 5, 1]);
    }
}

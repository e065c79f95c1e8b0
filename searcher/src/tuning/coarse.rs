//! The coarse search: few parameters with few values each, all of them tried, and the choice among the best. Owns those values
//! and that choice; not the trials. Invariant: the starting point is one of the points.
//!
//! Some dozens of judged queries carry a few decisions, not a dozen: on 58 queries random search over every parameter chose
//! settings that were worse than untuned ones on held-out queries, and so did three times as many coarse values
//! (`docs/ranking.md`). And the very best point is the luckiest of
//! many, so that of the best ones is taken whose values the others have most often.

use schemas::manifest::RankFusionMethod;

use super::space::{Parameter, Point, Space};
use crate::query::Mode;

/// The searched field whose weight and `b` are tried; the others weigh as they are, since weights are relative.
const FIELD: &str = "title";
const FIELD_WEIGHTS: [f32; 2] = [1.0, 2.0];
const FIELD_B: [f32; 2] = [0.5, 0.75];
const METHODS: [RankFusionMethod; 2] = [RankFusionMethod::Convex, RankFusionMethod::MinMax];
const ALPHA: [f32; 4] = [0.3, 0.5, 0.65, 0.8];
const KEYWORD_FIRST: [usize; 3] = [0, 10, 20];
/// In mode `vector` only: beside keywords a modality's weight changes little.
const MODALITY_WEIGHTS: [f32; 3] = [0.1, 0.3, 1.0];

/// The best points that choose among themselves, at most.
const MOST_BEST_POINTS: usize = 5;

/// Every combination of the coarse values, the starting values among them.
pub(super) fn points(space: &Space, mode: Mode) -> Vec<Point> {
    let mut points = vec![Vec::new()];
    for (parameter, start) in space.parameters() {
        let places = places(parameter, start, mode);
        points = points
            .iter()
            .flat_map(|point: &Point| places.iter().map(move |place| [point.as_slice(), &[*place]].concat()))
            .collect();
    }
    points
}

/// How many of so many points choose: two of five, so that a small search has a few.
pub(super) fn best_points(points: usize) -> usize {
    (points * 2).div_ceil(5).min(MOST_BEST_POINTS)
}

/// Of points, best first, the one whose values the others have most often; of several such the best.
pub(super) fn most_common<'a>(best: &[&'a Point]) -> Option<&'a Point> {
    let shared = |point: &Point| -> usize {
        let same = |other: &&Point| point.iter().zip(other.iter()).filter(|(own, others)| own == others).count();
        best.iter().map(same).sum()
    };
    // `max_by_key` gives the last of equal ones.
    best.iter().rev().copied().max_by_key(|point| shared(point))
}

/// The places of a parameter's coarse values in its grid, ascending.
fn places(parameter: &Parameter, start: usize, mode: Mode) -> Vec<usize> {
    fn of<T: PartialEq>(grid: &[T], coarse: &[T]) -> Vec<usize> {
        grid.iter().enumerate().filter(|(_, value)| coarse.contains(value)).map(|(place, _)| place).collect()
    }
    let mut places = match parameter {
        Parameter::FieldWeight(name, values) if name == FIELD => of(values, &FIELD_WEIGHTS),
        Parameter::FieldB(name, values) if name == FIELD => of(values, &FIELD_B),
        Parameter::Method(values) => of(values, &METHODS),
        Parameter::Alpha(values) => of(values, &ALPHA),
        Parameter::KeywordFirst(values) => of(values, &KEYWORD_FIRST),
        Parameter::ModalityWeight(_, values) if mode == Mode::Vector => of(values, &MODALITY_WEIGHTS),
        Parameter::FieldWeight(..)
        | Parameter::FieldB(..)
        | Parameter::ModalityWeight(..)
        | Parameter::K1(_)
        | Parameter::Proximity(_)
        | Parameter::Matching(_)
        | Parameter::ReciprocalRankConstant(_) => Vec::new(),
    };
    places.push(start);
    places.sort_unstable();
    places.dedup();
    places
}

#[cfg(test)]
mod tests {
    use schemas::RankingSettings;

    use super::*;
    use crate::example;
    use crate::snapshot::{OpenOptions, Searcher};

    #[test]
    fn all_combinations_are_tried_once_with_the_start_among_them() {
        let folder = tempfile::tempdir().unwrap();
        example::write_store(folder.path(), &example::items()).unwrap();
        let (_, searcher) = Searcher::open_current(folder.path(), &OpenOptions::default()).unwrap();
        for (mode, count) in [(Mode::Keyword, 2 * 2), (Mode::Hybrid, 2 * 2 * 2 * 4 * 3)] {
            let space = Space::new(searcher.manifest(), &RankingSettings::default(), mode).unwrap();
            let mut points = points(&space, mode);
            assert!(points.contains(space.start()));
            assert_eq!(points.len(), count, "{mode}");
            points.iter().for_each(|point| space.settings(point, &RankingSettings::default()).check().unwrap());
            points.sort_unstable();
            points.dedup();
            assert_eq!(points.len(), count, "{mode}");
        }
        assert_eq!([1, 4, 96].map(best_points), [1, 2, 5]);
    }

    #[test]
    fn the_commonest_values_win_and_the_better_of_equals() {
        let points: [Point; 4] = [vec![9, 0, 2], vec![1, 1, 2], vec![1, 1, 3], vec![1, 0, 3]];
        let best = |count: usize| most_common(&points[..count].iter().collect::<Vec<&Point>>()).cloned();
        assert_eq!(best(3), Some(points[1].clone()), "more in common with the others than the first has");
        assert_eq!(best(4), Some(points[1].clone()), "the best of three that have as much in common");
        assert_eq!(best(1), Some(points[0].clone()));
        assert_eq!(best(2), Some(points[0].clone()), "as much in common: the better one");
        assert_eq!(best(0), None);
    }
}

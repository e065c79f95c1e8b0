use proptest::prelude::*;

use super::*;

const METHODS: [RankFusionMethod; 4] =
    [RankFusionMethod::Convex, RankFusionMethod::MinMax, RankFusionMethod::ZScore, RankFusionMethod::ReciprocalRank];

fn row(row: Row, keyword: f32, vector: f32) -> ScoredRow {
    ScoredRow { row, keyword, vector: Some(vector) }
}

fn with(method: RankFusionMethod, alpha: f32) -> RankFusion {
    RankFusion { method, alpha, ..RankFusion::default() }
}

fn rows(ranked: &[RankedRow]) -> Vec<Row> {
    ranked.iter().map(|ranked| ranked.row).collect()
}

#[test]
fn convex_takes_theoretical_minima_and_the_querys_maximum() {
    let candidates = [row(0, 10.0, 0.0), row(1, 5.0, 0.6), row(2, 0.0, 0.2)];
    let ranked = fuse(&with(RankFusionMethod::Convex, 0.6), Retrievers::Both, &candidates);
    assert_eq!(rows(&ranked), [1, 0, 2]);
    let [first, second, third] = [ranked[0].score, ranked[1].score, ranked[2].score];
    assert!((first - (0.4 * 0.5 + 0.6)).abs() < 1e-6);
    assert!((second - (0.4 + 0.6 * (1.0 / 1.6))).abs() < 1e-6);
    assert!((third - 0.6 * (1.2 / 1.6)).abs() < 1e-6);
}

#[test]
fn a_missing_vector_score_counts_as_the_least_there_can_be() {
    let candidates = [ScoredRow { row: 0, keyword: 1.0, vector: None }, row(1, 1.0, -0.9)];
    for method in METHODS {
        let ranked = fuse(&with(method, 0.5), Retrievers::Both, &candidates);
        let missing = ranked.iter().find(|ranked| ranked.row == 0).unwrap().vector.unwrap();
        assert_eq!((missing.score, missing.rank), (None, None));
        let other = ranked.iter().find(|ranked| ranked.row == 1).unwrap().vector.unwrap();
        assert!(missing.normalised <= other.normalised, "{method:?}");
    }
}

#[test]
fn reciprocal_ranks_ignore_rows_without_a_term() {
    let candidates = [row(0, 3.0, 0.1), row(1, 0.0, 0.5)];
    let ranked = fuse(&with(RankFusionMethod::ReciprocalRank, 0.9), Retrievers::Both, &candidates);
    assert_eq!(rows(&ranked), [0, 1]);
    assert!((ranked[0].score - (1.0 / 61.0 + 1.0 / 62.0)).abs() < 1e-7);
    assert!((ranked[1].score - 1.0 / 61.0).abs() < 1e-7);
    assert_eq!(ranked[1].keyword.unwrap().rank, None);
}

#[test]
fn one_retriever_keeps_its_own_score() {
    let candidates = [row(0, 2.0, 0.9), row(1, 7.5, 0.1)];
    for method in METHODS {
        let keyword = fuse(&with(method, 0.9), Retrievers::Keyword, &candidates);
        assert_eq!((rows(&keyword), keyword[0].score, keyword[0].vector), (vec![1, 0], 7.5, None));
        let vector = fuse(&with(method, 0.1), Retrievers::Vector, &candidates);
        assert_eq!((rows(&vector), vector[0].score, vector[0].keyword), (vec![0, 1], 0.9, None));
    }
}

#[test]
fn equal_scores_come_in_row_order() {
    let candidates = [row(9, 1.0, 0.5), row(3, 1.0, 0.5), row(5, 1.0, 0.5)];
    for method in METHODS.into_iter().filter(|method| *method != RankFusionMethod::ReciprocalRank) {
        assert_eq!(rows(&fuse(&with(method, 0.5), Retrievers::Both, &candidates)), [3, 5, 9], "{method:?}");
    }
}

#[test]
fn odd_numbers_never_become_nan() {
    let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0];
    let candidates: Vec<ScoredRow> = odd.iter().zip(0..).map(|(score, number)| row(number, *score, *score)).collect();
    for method in METHODS {
        for retrievers in [Retrievers::Keyword, Retrievers::Vector, Retrievers::Both] {
            let settings = RankFusion { method, alpha: f32::NAN, reciprocal_rank_constant: f32::NAN, keyword_first: 2 };
            assert!(fuse(&settings, retrievers, &candidates).iter().all(|ranked| ranked.score.is_finite()));
        }
    }
}

/// Rows with scores from a coarse grid, so that ties are common.
fn candidates() -> impl Strategy<Value = Vec<ScoredRow>> {
    let scores = (0u8..6, prop::option::weighted(0.8, -4i8..=4));
    prop::collection::vec(scores, 0..30).prop_map(|scores| {
        let scored = scores.into_iter().zip(0..).map(|((keyword, vector), row)| ScoredRow {
            row,
            keyword: f32::from(keyword) * 1.7,
            vector: vector.map(|vector| f32::from(vector) / 4.0),
        });
        scored.collect()
    })
}

fn settings() -> impl Strategy<Value = RankFusion> {
    (prop::sample::select(&METHODS[..]), 0.0f32..=1.0).prop_map(|(method, alpha)| with(method, alpha))
}

proptest! {
    #[test]
    fn the_order_of_candidates_does_not_matter(
        candidates in candidates(), settings in settings(), seed in any::<prop::sample::Index>(),
    ) {
        let mut turned = candidates.clone();
        turned.reverse();
        turned.rotate_left(if candidates.is_empty() { 0 } else { seed.index(candidates.len()) });
        prop_assert_eq!(
            fuse(&settings, Retrievers::Both, &candidates),
            fuse(&settings, Retrievers::Both, &turned)
        );
    }

    #[test]
    fn parts_add_up_and_the_list_is_ordered(candidates in candidates(), settings in settings()) {
        let ranked = fuse(&settings, Retrievers::Both, &candidates);
        prop_assert_eq!(ranked.len(), candidates.len());
        for ranked in &ranked {
            let sum = ranked.keyword.unwrap().part + ranked.vector.unwrap().part;
            prop_assert!((sum - ranked.score).abs() <= 1e-5);
        }
        for pair in ranked.windows(2) {
            prop_assert!(pair[0].score > pair[1].score
                || (pair[0].score == pair[1].score && pair[0].row < pair[1].row));
        }
    }

    #[test]
    fn convex_stays_between_0_and_1(candidates in candidates(), alpha in 0.0f32..=1.0) {
        for ranked in fuse(&with(RankFusionMethod::Convex, alpha), Retrievers::Both, &candidates) {
            prop_assert!((0.0..=1.0 + 1e-6).contains(&ranked.score));
        }
    }

    #[test]
    fn a_row_that_is_better_on_both_sides_stands_higher(candidates in candidates(), settings in settings()) {
        let ranked = fuse(&settings, Retrievers::Both, &candidates);
        let scored = |row: Row| candidates[row as usize];
        for (place, higher) in ranked.iter().enumerate() {
            for lower in &ranked[place + 1..] {
                let (higher, lower) = (scored(higher.row), scored(lower.row));
                prop_assert!(!(lower.keyword > higher.keyword && lower.vector > higher.vector)
                    || settings.alpha == 0.0 || settings.alpha == 1.0);
            }
        }
    }
}

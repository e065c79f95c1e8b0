use schemas::RankingSettings;
use schemas::manifest::RankFusionMethod;
use schemas::ranking::{FeatureWeight, QueryAlpha, RankFusionSettings};

use super::*;
use crate::example;
use crate::query::{ItemPart, Mode, Query, TextPart};
use crate::query_encoder::EncodedQuery;
use crate::results::Results;
use crate::snapshot::{OpenOptions, Searcher};

fn candidates(scores: &[(f32, Option<f32>)]) -> Vec<ScoredRow> {
    let scored = scores.iter().zip(0..);
    scored.map(|((keyword, vector), row)| ScoredRow { row, keyword: *keyword, vector: *vector }).collect()
}

#[test]
fn the_spread_is_the_fall_over_the_first_ten() {
    let falling: Vec<f32> = (0..20u8).map(|place| 20.0 - f32::from(place)).collect();
    // Highest 20, tenth 11, lowest 1.
    assert!((spread(falling.iter().copied()) - 9.0 / 19.0).abs() < 1e-6);
    assert!((spread(falling.iter().rev().copied()) - 9.0 / 19.0).abs() < 1e-6, "whatever the order");
    assert_eq!(spread([0.9, 0.2, 0.4].into_iter()), 1.0, "of three the last takes the tenth's place");
    assert_eq!(spread([0.5; 12].into_iter()), 0.0);
    assert_eq!(spread(std::iter::empty()), 0.0);
    assert_eq!(spread([f32::NAN, 1.0, f32::INFINITY].into_iter()), 0.0);
}

#[test]
fn features_are_those_of_a_hand_calculation() {
    let words = WordStatistics { count: 4, digits: 0.25, unknown: 0.5, mean_rarity: 0.75, least_rarity: 0.625 };
    let features = QueryFeatures::of(words, &candidates(&[(3.0, Some(0.5)), (0.0, None), (1.0, Some(0.5))]));
    let values = QueryFeature::ALL.map(|feature| features.value(feature));
    assert_eq!(values, [0.75, 0.25, 0.5, 0.75, 0.625, 1.0, 0.0]);
    let nothing = QueryFeatures::of(WordStatistics::default(), &[]);
    assert_eq!(QueryFeature::ALL.map(|feature| nothing.value(feature)), [0.0; 7]);
}

/// An answer over the example store; its encoders do not exist, so the embeddings are given.
fn answer(query: &Query) -> Results {
    let folder = tempfile::tempdir().unwrap();
    example::write_store(folder.path(), &example::items()).unwrap();
    let (_, searcher) = Searcher::open_current(folder.path(), &OpenOptions::default()).unwrap();
    let encoded = EncodedQuery { embeddings: vec![Some(vec![0.8, 0.0, 0.6, 0.0]), Some(vec![0.0, 0.6, 0.8, 0.0])] };
    let results = searcher.search_encoded(query, &encoded).unwrap();
    assert!(!results.hits.is_empty());
    results
}

fn moved(features: &[(QueryFeature, f32, f32)]) -> RankingSettings {
    let features = features.iter().map(|(feature, weight, middle)| {
        let (weight, middle) = (*weight, *middle);
        (*feature, FeatureWeight { weight, middle })
    });
    let query_alpha = Some(QueryAlpha { features: features.collect() });
    let rank_fusion = RankFusionSettings { alpha: Some(0.5), query_alpha, ..RankFusionSettings::default() };
    RankingSettings { rank_fusion, ..RankingSettings::default() }
}

fn asked(text: &str, settings: RankingSettings) -> Query {
    Query { settings, explain: true, ..Query::text(text) }
}

/// The alpha of every hit, and why it is that; all hits have the same.
fn alpha(results: &Results) -> (Option<f32>, Option<QueryAlphaExplanation>) {
    let explained = results.hits.iter().map(|hit| hit.explain.as_ref().unwrap());
    let alphas: Vec<_> =
        explained.map(|explain| (explain.rank_fusion.alpha, explain.rank_fusion.query_alpha.clone())).collect();
    assert!(alphas.windows(2).all(|pair| pair[0] == pair[1]), "{alphas:?}");
    alphas[0].clone()
}

#[test]
fn the_explanation_adds_up_and_the_alpha_is_the_one_used() {
    let settings = moved(&[(QueryFeature::Words, 0.6, 0.25), (QueryFeature::UnknownWords, -0.9, 0.0)]);
    // Of three words items have `red` and `mug`.
    let results = answer(&asked("red mug xyzzyx", settings));
    let (used, explained) = alpha(&results);
    let (used, explained) = (used.unwrap(), explained.unwrap());
    // 0.5 + 0.6 · (2/3 − 1/4) − 0.9 · 1/3
    assert!((used - 0.45).abs() < 1e-6, "{used}");
    let parts: f32 = explained.parts.iter().map(|part| part.part).sum();
    assert!((explained.base + parts - used).abs() < 1e-6, "{explained:?}");
    for hit in &results.hits {
        let explain = hit.explain.as_ref().unwrap();
        let (keyword, vector) = (explain.keyword.as_ref().unwrap(), explain.vector.as_ref().unwrap());
        let sum = (1.0 - used) * keyword.normalised + used * vector.normalised;
        assert!((sum - hit.score).abs() < 1e-5, "{sum} is not {}", hit.score);
    }
    // The same list as with that alpha given.
    let given = Query { alpha: Some(used), ..asked("red mug xyzzyx", RankingSettings::default()) };
    let scores = |results: &Results| results.hits.iter().map(|hit| (hit.row, hit.score)).collect::<Vec<_>>();
    assert_eq!(scores(&answer(&given)), scores(&results));
}

#[test]
fn alpha_does_not_depend_on_the_page_and_is_held_between_0_and_1() {
    let features = QueryFeature::ALL.map(|feature| (feature, 0.1, 0.5));
    let query = asked("red mug 12", moved(&features));
    let whole = alpha(&answer(&query));
    assert_eq!(whole.1.as_ref().unwrap().parts.len(), QueryFeature::ALL.len());
    for offset in 0..3 {
        assert_eq!(alpha(&answer(&Query { limit: 1, offset, ..query.clone() })), whole);
    }
    for (weight, bound) in [(100.0, 1.0), (-100.0, 0.0)] {
        let (used, explained) = alpha(&answer(&asked("red mug", moved(&[(QueryFeature::Words, weight, 0.0)]))));
        assert_eq!((used, explained.map(|explained| explained.parts[0].part)), (Some(bound), Some(weight / 2.0)));
    }
}

#[test]
fn an_alpha_that_is_given_comes_first_and_what_is_not_text_alone_keeps_its_own() {
    let settings = || moved(&[(QueryFeature::Words, 0.6, 0.0)]);
    let query = asked("red mug", settings());
    let used = |query: &Query| alpha(&answer(query));
    let explained = |feature: &QueryAlphaExplanation| feature.parts[0].value;
    assert_eq!(used(&query).0, Some(0.8));
    assert_eq!(used(&query).1.as_ref().map(explained), Some(0.5));
    assert_eq!(used(&Query { alpha: Some(0.3), ..query.clone() }), (Some(0.3), None));
    assert_eq!(used(&asked("red mug", RankingSettings::default())), (Some(0.5), None));
    // The texts' share is a half: 1 − (1 − 0.5) / 2.
    let like = vec![ItemPart { id: "sofa-blue".to_owned(), weight: 1.0 }];
    assert_eq!(used(&Query { like, ..query.clone() }), (Some(0.75), None));
    let mut negative = query.clone();
    negative.texts.push(TextPart { text: "tea".to_owned(), weight: -1.0 });
    assert_eq!(used(&negative), (Some(0.75), None));
    let ranks = Query { method: Some(RankFusionMethod::ReciprocalRank), ..query.clone() };
    assert_eq!(used(&ranks), (None, None));
    for mode in [Mode::Keyword, Mode::Vector] {
        assert_eq!(used(&Query { mode, ..query.clone() }), (None, None), "{mode}");
    }
}

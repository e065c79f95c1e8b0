//! Diversity, near-duplicates and negative examples beside the items' own embeddings.

use searcher::diversity::DIVERSITY_POOL;
use searcher::{Hit, Mode, Query, Results, TextPart};

use super::{browse, ids, like, many, message, opened, sorted};

/// The greedy choice, written down once more from its definition, over the pairwise similarities.
fn diversified(hits: &[Hit], lambda: f32, similarity: impl Fn(&str, &str) -> f32) -> Vec<String> {
    let (best, least) = (hits[0].score, hits[hits.len() - 1].score);
    let mut left: Vec<&Hit> = hits.iter().collect();
    let mut chosen: Vec<&Hit> = Vec::new();
    while !left.is_empty() {
        let value = |hit: &Hit| {
            let nearest = chosen
                .iter()
                .map(|earlier| similarity(&earlier.id, &hit.id))
                .fold(None, |most: Option<f32>, one| Some(most.map_or(one, |most| most.max(one))));
            (1.0 - lambda) * (hit.score - least) / (best - least) - lambda * nearest.unwrap_or(0.0)
        };
        let first_best =
            left.iter().enumerate().rev().max_by(|(_, a), (_, b)| value(a).total_cmp(&value(b))).unwrap().0;
        chosen.push(left.remove(first_best));
    }
    chosen.iter().map(|hit| hit.id.clone()).collect()
}

#[test]
fn diversity_is_maximal_marginal_relevance() {
    let items = many();
    let (_folder, searcher) = opened(&items);
    let dot = |left: &[f32; 4], right: &[f32; 4]| left.iter().zip(right).map(|(left, right)| left * right).sum::<f32>();
    let similarity = |left: &str, right: &str| {
        let [left, right] = [left, right].map(|id| items.iter().find(|item| item.item.id == id).unwrap());
        let sides = left
            .embeddings
            .iter()
            .zip(&right.embeddings)
            .filter_map(|(left, right)| Some(dot(left.as_ref()?, right.as_ref()?)));
        let cosines: Vec<f32> = sides.collect();
        cosines.iter().sum::<f32>() / cosines.len() as f32
    };
    let plain = Query { like: like(&[("p00", 1.0)]), limit: 100, explain: true, ..Query::default() };
    let ranked = searcher.search(&plain).unwrap();
    assert!(
        ranked.total < DIVERSITY_POOL
            && ranked.hits.iter().all(|hit| hit.explain.as_ref().unwrap().diversity.is_none())
    );
    let mean_similarity = |ids: &[String]| {
        let pairs: Vec<f32> = (0..10)
            .flat_map(|one| (0..one).map(move |two| (one, two)))
            .map(|(one, two)| similarity(&ids[one], &ids[two]))
            .collect();
        pairs.iter().sum::<f32>() / pairs.len() as f32
    };
    let mut before = mean_similarity(&ranked.hits.iter().map(|hit| hit.id.clone()).collect::<Vec<_>>());
    for lambda in [0.6, 0.9] {
        let found = searcher.search(&Query { diversity: lambda, ..plain.clone() }).unwrap();
        let order: Vec<String> = found.hits.iter().map(|hit| hit.id.clone()).collect();
        // Embeddings are stored in half precision, so that near ties may fall the other way: the start must be the same.
        assert_eq!(order[..10], diversified(&ranked.hits, lambda, similarity)[..10], "{lambda}");
        let mean = mean_similarity(&order);
        assert!(mean < before - 0.01, "{lambda}: {mean} after {before}");
        before = mean;
        for (place, hit) in found.hits.iter().enumerate() {
            let explain = hit.explain.as_ref().unwrap().diversity.clone().unwrap();
            let earlier = &ranked.hits[explain.rank_before - 1];
            assert_eq!((&earlier.id, earlier.score), (&hit.id, hit.score), "scores stay");
            let most = order[..place].iter().map(|other| similarity(other, &hit.id)).fold(f32::NEG_INFINITY, f32::max);
            match (explain.similarity, explain.similar_to) {
                (Some(found), Some(id)) => {
                    assert!((found - most).abs() < 2e-3 && (found - similarity(&id, &hit.id)).abs() < 2e-3);
                    assert!(order[..place].contains(&id));
                }
                (None, None) => assert_eq!(place, 0),
                odd => panic!("{odd:?}"),
            }
        }
    }
    let keyword = Query { mode: Mode::Keyword, diversity: 0.5, ..Query::text("red mug") };
    assert_ne!(
        ids(&searcher.search(&keyword).unwrap()),
        ids(&searcher.search(&Query { diversity: 0.0, ..keyword.clone() }).unwrap())
    );
    for wrong in [-0.1, 1.1, f32::NAN] {
        assert!(message(&searcher, &Query { diversity: wrong, ..keyword.clone() }).contains("between 0 and 1"));
    }
}

#[test]
fn the_same_picture_is_flagged_with_the_first_hit_that_has_it() {
    let items = many();
    let (_folder, searcher) = opened(&items);
    let query = Query { filter: None, sort: sorted("id:desc"), ..browse() };
    let results = searcher.search(&query).unwrap();
    let picture = |id: &str| items.iter().find(|item| item.item.id == id).unwrap().embeddings[1];
    for (place, hit) in results.hits.iter().enumerate() {
        let first = results.hits[..place]
            .iter()
            .find(|earlier| picture(&hit.id).is_some() && picture(&earlier.id) == picture(&hit.id));
        if let Some(first) = first {
            assert_eq!(hit.duplicate_of.as_deref(), Some(first.id.as_str()), "{}", hit.id);
        }
    }
    assert!(results.hits.iter().filter(|hit| hit.duplicate_of.is_some()).count() > 20);
    let flags = |cosine: Option<f32>| {
        let hits = searcher.search(&Query { near_duplicate_cosine: cosine, ..query.clone() }).unwrap().hits;
        hits.iter().filter(|hit| hit.duplicate_of.is_some()).count()
    };
    assert_eq!((flags(None), flags(Some(-1.0))), (0, 60 - 6 - 1), "all but those without a picture and the first");
    assert!(
        message(&searcher, &Query { near_duplicate_cosine: Some(2.0), ..query.clone() }).contains("between -1 and 1")
    );
}

#[test]
fn what_to_stay_away_from_is_no_hit_and_no_query() {
    let (_folder, searcher) = opened(&many());
    let near = Query { like: like(&[("p00", 1.0)]), limit: 100, ..Query::default() };
    let away = Query { like: like(&[("p00", 1.0), ("p08", -0.5)]), ..near.clone() };
    let [near, away] = [near, away].map(|query| searcher.search(&query).unwrap());
    let score = |results: &Results, id: &str| results.hits.iter().find(|hit| hit.id == id).map(|hit| hit.score);
    assert!(score(&near, "p08").is_some() && score(&away, "p08").is_none());
    assert!(score(&away, "p06") < score(&near, "p06"), "what is like it falls");
    let only = Query { like: like(&[("p08", -1.0)]), ..Query::default() };
    assert!(message(&searcher, &only).contains("only says what hits should not be like"));
    let text = TextPart { text: "red".to_owned(), weight: -1.0 };
    let only = Query { texts: vec![text], filter: Some("stock = 3".to_owned()), ..Query::default() };
    assert!(message(&searcher, &only).contains("only says what hits should not be like"));
}

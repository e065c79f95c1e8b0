use std::collections::BTreeSet;
use std::path::PathBuf;

use schemas::Row;
use schemas::manifest::RankFusionMethod;
use tempfile::TempDir;

use super::*;
use crate::example;
use crate::query::Mode;
use crate::results::Results;
use crate::snapshot::{OpenOptions, Searcher};

const DAY: f64 = 86_400.0;

fn opened() -> (TempDir, Searcher) {
    let folder = tempfile::tempdir().unwrap();
    example::write_store(folder.path(), &example::items()).unwrap();
    let (_, searcher) = Searcher::open_current(folder.path(), &OpenOptions::default()).unwrap();
    (folder, searcher)
}

fn row(searcher: &Searcher, id: &str) -> Row {
    searcher.find_row(id).unwrap().unwrap()
}

fn profile(searcher: &Searcher, events: &[(&str, f64, f32)], half_life_days: f64) -> Profile {
    let events = events.iter().map(|(id, days, weight)| ProfileEvent {
        row: row(searcher, id),
        time: days * DAY,
        weight: *weight,
    });
    searcher.profile(&events.collect::<Vec<ProfileEvent>>(), half_life_days).unwrap()
}

fn ids(results: &Results) -> Vec<&str> {
    results.hits.iter().map(|hit| hit.id.as_str()).collect()
}

fn close(got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len());
    let close = got.iter().zip(expected).all(|(got, expected)| (got - expected).abs() < 1e-3);
    assert!(close, "{got:?} is not {expected:?}");
}

#[test]
fn a_profile_is_the_decayed_sum_at_unit_length() {
    let (_folder, searcher) = opened();
    // Thirty days before the newest event, 2 counts as 1: red + blue, and warm + cool for the pictures.
    let both = profile(&searcher, &[("mug-red", 30.0, 1.0), ("mug-blue", 0.0, 2.0)], 30.0);
    let half = 0.5f32.sqrt();
    close(both.embeddings[0].as_deref().unwrap(), &[half, half, 0.0, 0.0]);
    close(both.embeddings[1].as_deref().unwrap(), &[0.8 * half, 0.8 * half, 0.6 * half, 0.6 * half]);
    assert_eq!(both.seen, BTreeSet::from([row(&searcher, "mug-red"), row(&searcher, "mug-blue")]));
    // Sixty days are two halvings, without decay both count by weight alone: (1, 0.5), (1, 2) at unit length.
    let events = [("mug-red", 60.0, 1.0), ("mug-blue", 0.0, 2.0)];
    close(profile(&searcher, &events, 30.0).embeddings[0].as_deref().unwrap(), &[0.894_4, 0.447_2, 0.0, 0.0]);
    close(profile(&searcher, &events, f64::INFINITY).embeddings[0].as_deref().unwrap(), &[0.447_2, 0.894_4, 0.0, 0.0]);
    // A dislike turns away: red + blue − (0.8, 0, 0.6, 0); it has no picture.
    let events = [("mug-red", 0.0, 1.0), ("mug-blue", 0.0, 1.0), ("mug-red-large", 0.0, -1.0)];
    let turned = profile(&searcher, &events, 30.0);
    close(turned.embeddings[0].as_deref().unwrap(), &[0.169, 0.845_2, -0.507_1, 0.0]);
    close(turned.embeddings[1].as_deref().unwrap(), both.embeddings[1].as_deref().unwrap());
}

#[test]
fn a_profile_does_not_change_as_time_goes_by() {
    let (_folder, searcher) = opened();
    let events = [("mug-red", 3.0, 1.0), ("mug-blue", 0.0, 2.0), ("sofa-blue", 1.0, 0.5)];
    let later = events.map(|(id, days, weight)| (id, days - 100_000.0, weight));
    assert_eq!(profile(&searcher, &events, 7.0), profile(&searcher, &later, 7.0));
}

#[test]
fn nothing_known_is_an_empty_profile() {
    let (_folder, searcher) = opened();
    assert!(searcher.profile(&[], 30.0).unwrap().is_empty());
    let cancelled = [("mug-red", 0.0, 1.0), ("mug-red", 0.0, -1.0)];
    assert!(profile(&searcher, &cancelled, 30.0).is_empty());
    assert!(profile(&searcher, &[("mug-red", 0.0, 0.0)], 30.0).is_empty());
    let without_embeddings = profile(&searcher, &[("voucher", 0.0, 1.0)], 30.0);
    assert!(without_embeddings.is_empty() && without_embeddings.seen.len() == 1);
    for half_life in [0.0, -1.0, f64::NAN] {
        assert!(searcher.profile(&[], half_life).unwrap_err().to_string().contains("must be above 0"));
    }
}

#[test]
fn what_is_like_the_profile_is_recommended_and_what_was_seen_is_not() {
    let (_folder, searcher) = opened();
    let red = profile(&searcher, &[("mug-red", 0.0, 1.0)], 30.0);
    let query = Query { explain: true, ..Query::default() };
    let results = searcher.search(&query.clone().for_profile(red.clone(), SeenItems::LeftOut)).unwrap();
    assert_eq!(ids(&results), ["mug-red-large", "sofa-red", "mug-blue", "sofa-blue"]);
    close(&results.hits.iter().map(|hit| hit.score).collect::<Vec<f32>>(), &[0.8, 0.6, 0.0, 0.0]);
    for hit in &results.hits {
        let vector = hit.explain.as_ref().unwrap().vector.as_ref().unwrap();
        let sum: f32 = vector.modalities.iter().map(|modality| modality.score).sum();
        assert!((sum - hit.score).abs() < 1e-5 && hit.explain.as_ref().unwrap().profile.is_none());
    }
    let results = searcher.search(&query.clone().for_profile(red.clone(), SeenItems::Shown)).unwrap();
    assert_eq!(ids(&results)[0], "mug-red");
    let filtered = Query { filter: Some("brand = \"Norrland\"".to_owned()), limit: 1, ..query };
    let results = searcher.search(&filtered.for_profile(red, SeenItems::LeftOut)).unwrap();
    assert_eq!((ids(&results), results.total), (vec!["mug-red-large"], 2));
}

#[test]
fn a_profile_re_ranks_by_the_formula() {
    let (_folder, searcher) = opened();
    let blue = profile(&searcher, &[("mug-blue", 0.0, 1.0)], 30.0);
    let query = |weight| Query {
        mode: Mode::Keyword,
        explain: true,
        profile: Some(ProfilePart { profile: blue.clone(), weight, seen_items: SeenItems::Shown }),
        ..Query::text("mug sofa")
    };
    let plain = searcher.search(&Query { profile: None, ..query(0.0) }).unwrap();
    assert_eq!(searcher.search(&query(0.0)).unwrap().hits, plain.hits);
    let results = searcher.search(&query(0.25)).unwrap();
    assert_eq!(results.total, plain.total);
    let high = plain.hits[0].score;
    // Cosines with (blue, cool): of titles (0, 1, 0, 0.8), of pictures (0, 1, –, 0, 0.6).
    for (id, cosine) in
        [("mug-blue", 1.0), ("mug-red", 0.0), ("mug-red-large", 0.0), ("sofa-red", 0.0), ("sofa-blue", 0.7)]
    {
        let before = plain.hits.iter().find(|hit| hit.id == id).unwrap().score;
        let hit = results.hits.iter().find(|hit| hit.id == id).unwrap();
        let expected = 0.75 * before + 0.25 * (cosine + 1.0) / 2.0 * high;
        assert!((hit.score - expected).abs() < 1e-3 * high, "{id}: {} is not {expected}", hit.score);
        let profile = hit.explain.as_ref().unwrap().profile.as_ref().unwrap();
        close(&[profile.score.unwrap(), profile.weight], &[cosine, 0.25]);
        assert_eq!(profile.rank.unwrap() == 1, id == "mug-blue");
    }
    // With the whole weight only the profile counts.
    assert_eq!(ids(&searcher.search(&query(1.0)).unwrap())[..2], ["mug-blue", "sofa-blue"]);
}

#[test]
fn the_parts_add_up_in_every_mode_and_pages_are_one_list() {
    let (_folder, searcher) = opened();
    let part = |weight| ProfilePart {
        profile: profile(&searcher, &[("mug-red", 0.0, 1.0), ("sofa-blue", 0.0, -0.4)], 30.0),
        weight,
        seen_items: SeenItems::Shown,
    };
    let like = vec![crate::ItemPart { id: "sofa-red".to_owned(), weight: 1.0 }];
    for method in
        [RankFusionMethod::Convex, RankFusionMethod::MinMax, RankFusionMethod::ZScore, RankFusionMethod::ReciprocalRank]
    {
        for mode in Mode::ALL {
            let query = Query {
                mode,
                method: Some(method),
                like: if mode == Mode::Keyword { Vec::new() } else { like.clone() },
                profile: Some(part(0.3)),
                explain: true,
                ..Query::text("red mug gift")
            };
            let encoded = searcher
                .encode(&Query { texts: Vec::new(), mode: Mode::Vector, like: like.clone(), ..Query::default() })
                .unwrap();
            let results = searcher.search_encoded(&query, &encoded).unwrap();
            assert!(results.hits.len() > 2, "{mode} {method:?}");
            assert!(results.hits.is_sorted_by(|left, right| left.score >= right.score));
            for hit in &results.hits {
                let explain = hit.explain.as_ref().unwrap();
                let fusion = &explain.rank_fusion;
                let sum = fusion.keyword_part + fusion.vector_part + fusion.profile_part.unwrap();
                assert!((sum - hit.score).abs() <= 1e-5, "{mode} {method:?}: {hit:?}");
                let profile = explain.profile.as_ref().unwrap();
                let sum: f32 = profile.modalities.iter().map(|modality| modality.score).sum();
                assert!((sum - profile.score.unwrap_or(0.0)).abs() <= 1e-5, "{mode} {method:?}: {hit:?}");
                assert!((0.3 * profile.normalised - fusion.profile_part.unwrap()).abs() <= 1e-5);
            }
            let mut joined = Vec::new();
            for offset in 0..results.total {
                let page = Query { limit: 1, offset, ..query.clone() };
                joined.extend(searcher.search_encoded(&page, &encoded).unwrap().hits);
            }
            assert_eq!(joined, results.hits);
        }
    }
    let wrong = Query { profile: Some(part(1.5)), ..Query::text("mug") };
    assert!(searcher.search(&wrong).unwrap_err().to_string().contains("between 0 and 1"));
}

fn history(folder: &TempDir, lines: &[&str]) -> PathBuf {
    let path = folder.path().join("history.jsonl");
    fs_err::write(&path, lines.join("\n")).unwrap();
    path
}

#[test]
fn a_history_is_read_by_user_and_what_cannot_be_used_is_counted() {
    let (folder, searcher) = opened();
    let lines = [
        r#"{"user": "ben", "id": "mug-blue", "time": 10}"#,
        r#"{"user": "ana", "id": "mug-red", "time": 20, "weight": 2}"#,
        r#"{"user": "ana", "id": "sold-out", "time": 20}"#,
        r#"{"user": "ben", "id": 7}"#,
        r#"{"user": "cleo", "id": "sold-out", "time": 5}"#,
        r#"{"user": "ben", "id": "sofa-blue", "time": 30}"#,
    ];
    let path = history(&folder, &lines);
    let all = Histories::read(&searcher, &path, &HistorySettings::default()).unwrap();
    assert_eq!(all.users().collect::<Vec<_>>(), [Some("ana"), Some("ben"), Some("cleo")]);
    let HistoryCounts { events, unknown_items, later, rejected, first_rejections } = all.counts();
    assert_eq!((*events, *unknown_items, *later, *rejected, first_rejections.len()), (3, 2, 0, 1, 1));
    assert!(first_rejections[0].to_string().contains("line 4, item `7`: column `time`"));
    assert_eq!(all.profile(&searcher, Some("ben")).unwrap().seen.len(), 2);
    assert!(all.profile(&searcher, Some("cleo")).unwrap().is_empty());
    assert!(all.profile(&searcher, Some("nobody")).unwrap().is_empty());
    assert!(all.profile(&searcher, None).unwrap().is_empty());

    let settings = HistorySettings { user: Some("ben".to_owned()), now: Some(29.0), ..HistorySettings::default() };
    let ben = Histories::read(&searcher, &path, &settings).unwrap();
    assert_eq!(ben.users().collect::<Vec<_>>(), [Some("ben")]);
    assert_eq!((ben.counts().events, ben.counts().later), (1, 1));
    assert_eq!(ben.profile(&searcher, Some("ben")).unwrap().seen, BTreeSet::from([row(&searcher, "mug-blue")]));

    let empty = Histories::read(&searcher, &history(&folder, &[]), &HistorySettings::default()).unwrap();
    assert_eq!(empty.users().len(), 0);
    assert!(empty.profile(&searcher, None).unwrap().is_empty());
    let error = Histories::read(&searcher, &folder.path().join("no.jsonl"), &HistorySettings::default()).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the history");
}

#[test]
fn a_batch_gives_what_each_user_alone_gets() {
    let (folder, searcher) = opened();
    let names = ["mug-red", "mug-blue", "sofa-red", "sofa-blue", "voucher", "sold-out"];
    let line = |number: usize| {
        let (user, id) = (number % (2 * BATCH_USERS), names[number % 5 + usize::from(number.is_multiple_of(7))]);
        format!(r#"{{"user": "u{user:04}", "id": "{id}", "time": {number}}}"#)
    };
    let lines: Vec<String> = (0..3 * BATCH_USERS).map(line).collect();
    let path = history(&folder, &lines.iter().map(String::as_str).collect::<Vec<&str>>());
    let histories = Histories::read(&searcher, &path, &HistorySettings::default()).unwrap();
    let query = Query { limit: 3, ..Query::default() };
    let batches: Result<Vec<Vec<UserRecommendations>>, SearchError> =
        histories.recommend(&searcher, &query, SeenItems::LeftOut).collect();
    let batches = batches.unwrap();
    assert_eq!(batches.iter().map(Vec::len).collect::<Vec<usize>>(), [BATCH_USERS, BATCH_USERS]);
    let mut cold_users = 0;
    for (user, got) in histories.users().zip(batches.iter().flatten()) {
        let profile = histories.profile(&searcher, user).unwrap();
        match got {
            UserRecommendations::ColdUser => {
                cold_users += 1;
                assert!(profile.is_empty());
            }
            UserRecommendations::Items(items) => {
                let alone = searcher.search(&query.clone().for_profile(profile, SeenItems::LeftOut)).unwrap();
                let alone: Vec<(&str, f32)> = alone.hits.iter().map(|hit| (hit.id.as_str(), hit.score)).collect();
                assert_eq!(items.iter().map(|item| (item.id.as_str(), item.score)).collect::<Vec<_>>(), alone);
                assert!(items.iter().zip(1..).all(|(item, rank)| item.rank == rank && item.user.as_deref() == user));
            }
        }
    }
    assert!(cold_users > 0 && cold_users < BATCH_USERS);
}

//! The query flow over small snapshots of the real writers, without any model.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::Path;

use proptest::prelude::*;
use schemas::manifest::RankFusionMethod;
use schemas::{Manifest, Modality};
use searcher::example::{self, ExampleItem};
use searcher::{Hit, ImagePart, ItemPart, Mode, OpenOptions, Query, Results, SearchError, Searcher, TextPart};
use tempfile::TempDir;

fn opened(items: &[ExampleItem]) -> (TempDir, Searcher) {
    let folder = tempfile::tempdir().unwrap();
    let written = example::write_store(folder.path(), items).unwrap();
    let (snapshot, searcher) = Searcher::open_current(folder.path(), &OpenOptions::default()).unwrap();
    assert!(snapshot.as_str().starts_with(example::SNAPSHOT_TIME) && written.ends_with(snapshot.as_str()));
    (folder, searcher)
}

fn keyword(text: &str) -> Query {
    Query { mode: Mode::Keyword, ..Query::text(text) }
}

fn like(ids: &[(&str, f32)], mode: Mode) -> Query {
    let like = ids.iter().map(|(id, weight)| ItemPart { id: (*id).to_owned(), weight: *weight });
    Query { like: like.collect(), mode, ..Query::default() }
}

fn ids(results: &Results) -> Vec<&str> {
    results.hits.iter().map(|hit| hit.id.as_str()).collect()
}

fn message(searcher: &Searcher, query: &Query) -> String {
    searcher.search(query).unwrap_err().to_string()
}

/// Forty items with words and embeddings from a small set, so that scores tie.
fn many() -> Vec<ExampleItem> {
    let words = ["red", "blue", "mug", "sofa", "large", "small"];
    let axis = |number: usize| {
        let mut values = [0.0; example::DIMENSION];
        values[number % example::DIMENSION] = 0.6;
        values[(number + 1) % example::DIMENSION] = 0.8;
        values
    };
    let item = |number: usize| {
        let mut item = example::items().remove(number % 5);
        item.item.id = format!("p{number:02}");
        item.item.title = Some(format!("{} {} {}", words[number % 2], words[2 + number % 3], words[number % 6]));
        let embedding = |number: usize| (!number.is_multiple_of(7)).then(|| axis(number));
        ExampleItem { embeddings: [embedding(number), embedding(number + 3)], ..item }
    };
    (0..40).map(item).collect()
}

/// Checks that every sum of the explanation is what it says it adds up to.
fn assert_adds_up(hit: &Hit) {
    let explain = hit.explain.as_ref().unwrap();
    let close =
        |sum: f32, score: f32, what: &str| assert!((sum - score).abs() <= 1e-5, "{what}: {sum} {score} {hit:?}");
    close(explain.rank_fusion.keyword_part + explain.rank_fusion.vector_part, hit.score, "final score");
    close(explain.score, hit.score, "score");
    if let Some(keyword) = &explain.keyword {
        close(keyword.terms.iter().map(|term| term.score).sum(), keyword.score, "terms");
        for term in &keyword.terms {
            close(term.fields.iter().map(|field| field.score).sum(), term.score, "fields");
        }
    }
    if let Some(vector) = &explain.vector {
        close(vector.modalities.iter().map(|modality| modality.score).sum(), vector.score.unwrap_or(0.0), "modalities");
    }
}

#[test]
fn keyword_search_finds_ranks_and_explains() {
    let (_folder, searcher) = opened(&example::items());
    let results = searcher.search(&Query { explain: true, ..keyword("red mugs") }).unwrap();
    assert_eq!(results.total, 4);
    assert_eq!(ids(&results)[0], "mug-red");
    assert!(results.hits.iter().zip(1..).all(|(hit, rank)| hit.rank == rank));
    for hit in &results.hits {
        assert_adds_up(hit);
        let explain = hit.explain.as_ref().unwrap();
        assert_eq!((&explain.vector, explain.rank_fusion.method), (&None, None));
    }
    let none = searcher.search(&keyword("xyzzy ???")).unwrap();
    assert_eq!((none.hits.len(), none.total), (0, 0));
}

#[test]
fn hits_carry_what_is_stored() {
    let (_folder, searcher) = opened(&example::items());
    let results = searcher.search(&keyword("tea")).unwrap();
    let json = serde_json::to_value(&results.hits[0]).unwrap();
    assert_eq!((&json["id"], &json["title"], &json["price"]), (&"mug-red".into(), &"Red mug".into(), &9.5.into()));
    assert_eq!(json["tags"], serde_json::json!(["gift", "sale"]));
    assert_eq!(json.get("image"), None);
}

#[test]
fn like_uses_the_items_own_embeddings_and_leaves_it_out() {
    let (_folder, searcher) = opened(&example::items());
    let results = searcher.search(&like(&[("mug-red", 1.0)], Mode::Vector)).unwrap();
    assert_eq!(ids(&results)[0], "mug-red-large");
    assert!(!ids(&results).contains(&"mug-red"));
    assert!(!ids(&results).contains(&"voucher"), "it has no embedding");
    assert_eq!(results.total, 4);
    // Without a text, hybrid is vector.
    let hybrid = searcher.search(&like(&[("mug-red", 1.0)], Mode::Hybrid)).unwrap();
    assert_eq!((hybrid.hits, hybrid.total), (results.hits, results.total));
}

#[test]
fn like_falls_back_to_another_modality_of_the_space() {
    let (_folder, searcher) = opened(&example::items());
    // The sofa has a picture only; titles are compared with the picture's embedding.
    let query = Query { explain: true, ..like(&[("sofa-red", 1.0)], Mode::Vector) };
    let results = searcher.search(&query).unwrap();
    let large = results.hits.iter().find(|hit| hit.id == "mug-red-large").unwrap();
    assert!((large.score - 0.6).abs() < 1e-3, "{large:?}");
    results.hits.iter().for_each(assert_adds_up);
}

#[test]
fn weights_of_parts_and_modalities_move_the_scores() {
    let (_folder, searcher) = opened(&example::items());
    let first = |query: &Query| searcher.search(query).unwrap().hits[0].id.clone();
    assert_eq!(first(&like(&[("mug-red", 1.0), ("sofa-red", -1.5)], Mode::Vector)), "mug-blue");
    let titles_only =
        Query { modality_weights: vec![(Modality::Image, 0.0)], ..like(&[("mug-blue", 1.0)], Mode::Vector) };
    let results = searcher.search(&titles_only).unwrap();
    assert_eq!(ids(&results), ["sofa-blue", "mug-red", "mug-red-large"], "sofa-red has no title embedding");
}

#[test]
fn both_scores_are_computed_for_every_candidate() {
    let (_folder, searcher) = opened(&example::items());
    let query = Query { explain: true, texts: keyword("gift sofa").texts, ..like(&[("mug-red", 1.0)], Mode::Hybrid) };
    for method in
        [RankFusionMethod::Convex, RankFusionMethod::MinMax, RankFusionMethod::ZScore, RankFusionMethod::ReciprocalRank]
    {
        // A text in a hybrid query needs the text tower, which does not exist; the encoded item stands in for it.
        let encoded = searcher.encode(&Query { texts: Vec::new(), ..query.clone() }).unwrap();
        let results = searcher.search_encoded(&Query { method: Some(method), ..query.clone() }, &encoded).unwrap();
        assert_eq!(results.total, 5, "three by keyword, four by vector, the sofas by both");
        for hit in &results.hits {
            assert_adds_up(hit);
            let explain = hit.explain.as_ref().unwrap();
            assert!(explain.keyword.is_some() && explain.vector.is_some());
            assert_eq!(explain.rank_fusion.method, Some(method));
        }
        let voucher = results.hits.iter().find(|hit| hit.id == "voucher").unwrap().explain.clone().unwrap();
        let vector = voucher.vector.unwrap();
        assert_eq!((vector.score, vector.rank), (None, None));
        if method == RankFusionMethod::Convex {
            assert_eq!(vector.normalised, 0.0);
        }
    }
}

#[test]
fn pages_put_together_are_the_one_list() {
    let (_folder, searcher) = opened(&many());
    for query in [keyword("red mug"), like(&[("p03", 1.0), ("p08", 0.5)], Mode::Vector)] {
        let whole = searcher.search(&Query { limit: 1000, explain: true, ..query.clone() }).unwrap();
        assert_eq!(whole.hits.len(), whole.total);
        assert!(whole.hits.len() > 15);
        for size in [1, 3, 7] {
            let mut joined = Vec::new();
            for offset in (0..whole.total + size).step_by(size) {
                let page = searcher.search(&Query { limit: size, offset, explain: true, ..query.clone() }).unwrap();
                assert_eq!(page.total, whole.total);
                joined.extend(page.hits);
            }
            assert_eq!(joined, whole.hits);
        }
    }
}

#[test]
fn the_depth_bounds_the_candidates() {
    let (_folder, searcher) = opened(&many());
    let total = |query: &Query| searcher.search(query).unwrap().total;
    assert_eq!(total(&keyword("red")), example::DEPTH);
    assert_eq!(total(&Query { depth: Some(5), ..keyword("red") }), 5);
    // The item itself does not cost a candidate.
    assert_eq!(total(&Query { depth: Some(5), ..like(&[("p03", 1.0)], Mode::Vector) }), 5);
}

#[test]
fn filters_apply_before_retrieval() {
    let (_folder, searcher) = opened(&many());
    let filter = Some("price > 400".to_owned());
    for query in [keyword("red"), like(&[("p01", 1.0)], Mode::Vector)] {
        let results = searcher.search(&Query { filter: filter.clone(), limit: 50, ..query.clone() }).unwrap();
        assert!(results.total > 3);
        assert!(
            results
                .hits
                .iter()
                .all(|hit| hit.fields.contains(&("price".to_owned(), schemas::FieldValue::Float(480.0))))
        );
        let none = searcher.search(&Query { filter: Some("price < 0".to_owned()), ..query }).unwrap();
        assert_eq!(none.total, 0);
    }
}

#[test]
fn questions_that_cannot_be_answered_say_why() {
    let (_folder, searcher) = opened(&example::items());
    assert_eq!(message(&searcher, &like(&[("nobody", 1.0)], Mode::Vector)), "the snapshot has no item `nobody`");
    assert!(message(&searcher, &like(&[("mug-red", 1.0)], Mode::Keyword)).starts_with("keyword search needs a text"));
    assert!(
        message(&searcher, &like(&[("voucher", 1.0)], Mode::Vector))
            .starts_with("no part of the query can be compared")
    );
    let wrong = Query { filter: Some("colour = 1".to_owned()), ..keyword("red") };
    assert!(message(&searcher, &wrong).starts_with("filter, position 1: unknown field `colour`"));
    let wrong =
        Query { modality_weights: vec![(Modality::Description, 1.0)], ..like(&[("mug-red", 1.0)], Mode::Vector) };
    assert_eq!(
        message(&searcher, &wrong),
        "modality `description` is not encoded in this snapshot; encoded: title, image"
    );
    let picture = ImagePart { file: "missing.jpg".into(), weight: 1.0 };
    let query = Query { images: vec![picture], ..Query::default() };
    assert_eq!(message(&searcher, &query), "query picture `missing.jpg`");
}

#[test]
fn keyword_queries_need_no_encoder_and_others_say_which_is_missing() {
    let (_folder, searcher) = opened(&example::items());
    searcher.search(&keyword("red")).unwrap();
    let error = searcher.search(&Query::text("red")).unwrap_err();
    assert!(matches!(error, SearchError::Encoder(_)), "{error:?}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("encoders") && cause.contains("0000000000000000"), "{cause}");
}

#[test]
fn a_negative_text_is_no_keyword() {
    let (_folder, searcher) = opened(&example::items());
    let mut query = keyword("mug");
    query.texts.push(TextPart { text: "red".to_owned(), weight: -1.0 });
    let results = searcher.search(&query).unwrap();
    assert_eq!(results.hits, searcher.search(&keyword("mug")).unwrap().hits);
}

/// A manifest changed by `change` must not open; the message says `expected`.
fn assert_refused(change: impl Fn(&Path, &mut Manifest), expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    // Not named by its manifest's digest, which would be refused before anything else.
    let snapshot = folder.path().join("snapshot");
    example::write_snapshot(&snapshot, &example::items()).unwrap();
    let mut manifest = Manifest::read(&snapshot).unwrap();
    change(&snapshot, &mut manifest);
    fs_err::write(snapshot.join("manifest.json"), manifest.to_bytes()).unwrap();
    let error = Searcher::open(&snapshot, &OpenOptions::default()).unwrap_err();
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(format!("{error}: {cause}").contains(expected), "{error}: {cause}");
}

#[test]
fn damaged_snapshots_do_not_open() {
    assert_refused(|snapshot, _| fs_err::remove_file(snapshot.join("items.arrow")).unwrap(), "items.arrow");
    assert_refused(|snapshot, _| fs_err::write(snapshot.join("vector/fused.usearch"), "short").unwrap(), "has 5 bytes");
    assert_refused(|_, manifest| manifest.item_count += 1, "6 rows");
    assert_refused(|_, manifest| manifest.rank_fusion.alpha = 2.0, "alpha");
    assert_refused(|_, manifest| manifest.modalities.reverse(), "not in order");
    assert_refused(|_, manifest| manifest.modalities[0].encoder.checkpoint = "../x".to_owned(), "no folder name");
    assert_refused(|_, manifest| manifest.vector = None, "without a vector index");
    assert_refused(|_, manifest| drop(manifest.files.remove("items.arrow")), "does not list `items.arrow`");
    assert_refused(
        |_, manifest| {
            let entry = manifest.files["items.arrow"].clone();
            manifest.files.insert("../../CURRENT".to_owned(), entry);
        },
        "leaves the snapshot",
    );
}

#[test]
fn a_searcher_is_shared_between_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    let (_folder, searcher) = opened(&many());
    shared(&searcher);
    let expected = searcher.search(&keyword("red mug")).unwrap().hits;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(searcher.search(&keyword("red mug")).unwrap().hits, expected));
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_text_and_filter_gives_an_answer_or_an_error(text in ".{0,40}", filter in "[a-z <>=\"()\\[\\],0-9]{0,30}") {
        thread_local! { static OPENED: (TempDir, Searcher) = opened(&example::items()); }
        OPENED.with(|(_, searcher)| {
            let query = Query { filter: Some(filter), explain: true, ..keyword(&text) };
            if let Ok(results) = searcher.search(&query) {
                results.hits.iter().for_each(assert_adds_up);
            }
        });
    }
}

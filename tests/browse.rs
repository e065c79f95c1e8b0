//! Browsing, sorting, facets, collapse, diversity, near-duplicates and negative examples over the published fixture.

use std::collections::BTreeSet;

use schemas::modalities::{MODALITIES_FILE, ModalitiesReader, ModalityColumn};
use schemas::{MappedFile, Row};
use searcher::{Mode, OpenOptions, Query, Searcher};
use serde_json::Value;

use crate::harness::{Folder, Output, fixture_encoders, fixture_store, ids, root, searcher};

fn search(arguments: &[&str]) -> Output {
    searcher(["search", "--store"]).arg(fixture_store()).args(arguments).output()
}

fn json(arguments: &[&str]) -> Value {
    let mut arguments = arguments.to_vec();
    arguments.push("--json");
    search(&arguments).expect_code(0).json()
}

fn catalog() -> Vec<Value> {
    let lines = fs_err::read_to_string(root().join("fixtures/catalog.jsonl")).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_filter_alone_lists_the_catalog() {
    let result =
        json(&["--filter", "brand = 'Daybird'", "--sort", "price:desc,id", "-k", "200", "--facet", "colour,price"]);
    let mut expected: Vec<Value> = catalog().into_iter().filter(|item| item["brand"] == "Daybird").collect();
    assert_eq!(result["total"], expected.len());
    expected.sort_by(|a, b| {
        let price = |item: &Value| item["price"].as_f64().unwrap_or(f64::NEG_INFINITY);
        price(b).total_cmp(&price(a)).then_with(|| a["id"].as_str().cmp(&b["id"].as_str()))
    });
    let expected_ids: Vec<&str> = expected.iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(ids(&result), expected_ids);
    let colours = &result["facets"]["colour"];
    for value in colours["values"].as_array().unwrap() {
        let count = expected.iter().filter(|item| item["colour"] == value["value"]).count();
        assert_eq!(value["count"], count, "{value}");
    }
    let different: BTreeSet<&str> = expected.iter().filter_map(|item| item["colour"].as_str()).collect();
    assert_eq!(colours["further"], different.len() - 10);
    let prices: Vec<f64> = expected.iter().filter_map(|item| item["price"].as_f64()).collect();
    assert_eq!(result["facets"]["price"]["count"], prices.len());
    assert_eq!(result["facets"]["price"]["max"], prices[0]);
    assert_eq!(result["query"]["sort"], serde_json::json!(["price:desc", "id:asc"]));
    search(&["--filter", "price < 0"]).expect_code(1);
    search(&["--explain"]).expect_code(2).expect_stderr(&["the query is empty", "filter"]);
}

#[test]
fn tables_show_facets_families_and_pictures() {
    let table =
        search(&["mug", "--collapse", "brand", "--facet", "category,price", "--facet-values", "2"]).expect_code(0);
    for word in ["others", "category", "Home > Kitchen", "more)", "price", " to "] {
        assert!(table.stdout.contains(word), "{word}\n{table}");
    }
    let result = json(&["mug", "--collapse", "brand", "-k", "100"]);
    let hits = result["hits"].as_array().unwrap();
    let brands: BTreeSet<&str> = hits.iter().filter_map(|hit| hit["brand"].as_str()).collect();
    let without = hits.iter().filter(|hit| hit["brand"].is_null()).count();
    assert_eq!(brands.len() + without, hits.len(), "one hit a brand");
    let others: u64 = hits.iter().map(|hit| hit["others"].as_u64().unwrap()).sum();
    assert_eq!(others + hits.len() as u64, json(&["mug"])["total"].as_u64().unwrap());
}

#[test]
fn what_a_list_cannot_do_is_an_error_that_says_why() {
    search(&["mug", "--sort", "tags"]).expect_code(2).expect_stderr(&["`tags` is a list of strings"]);
    search(&["mug", "--sort", "prise"]).expect_code(2).expect_stderr(&["did you mean `price`?"]);
    search(&["mug", "--sort", "price:up"]).expect_code(2).expect_stderr(&["`up` is no direction"]);
    search(&["mug", "--facet", "color"]).expect_code(2).expect_stderr(&["facet", "did you mean `colour`?"]);
    search(&["mug", "--collapse", "price"])
        .expect_code(2)
        .expect_stderr(&["collapse", "a string, a category or an integer"]);
    search(&["mug", "--diversity", "2"]).expect_code(2).expect_stderr(&["between 0 and 1"]);
    search(&["--unlike", "p0001"]).expect_code(2).expect_stderr(&["should not be like"]);
    search(&["mug", "--not", "red^-1"]).expect_code(2).expect_stderr(&["not above 0"]);
    let folder = Folder::new();
    folder.config("items.jsonl", "");
    folder.write("items.jsonl", "{\"id\": \"a\", \"title\": \"mug\"}\n");
    folder.publish();
    folder.search(&["mug", "--diversity", "0.5"]).expect_code(2).expect_stderr(&["diversity", "no embeddings"]);
    folder.search(&["--filter", "title = 'mug'", "--mode", "vector"]).expect_code(0);
}

#[test]
fn negative_examples_steer_the_vectors_away() {
    let share = |arguments: &[&str], field: &str, value: &str| {
        let result = json(&[arguments, &["--mode", "vector", "-k", "20"]].concat());
        result["hits"].as_array().unwrap().iter().filter(|hit| hit[field] == value).count()
    };
    assert!(share(&["sofa"], "colour", "blue") > share(&["sofa", "--not", "blue"], "colour", "blue"));
    assert_eq!(share(&["sofa", "--not", "blue"], "kind", "sofa"), 20, "still what is asked for");
    let result = json(&["--like", "p0001", "--unlike", "p1064^0.5", "--not", "red", "-k", "200"]);
    assert!(!ids(&result).contains(&"p1064".to_owned()) && !ids(&result).contains(&"p0001".to_owned()));
    assert_eq!(result["query"]["like"][1], serde_json::json!({"value": "p1064", "weight": -0.5}));
    assert_eq!(result["query"]["texts"][0], serde_json::json!({"value": "red", "weight": -0.5}));
}

#[test]
fn diversity_makes_the_first_ten_less_alike() {
    let (_, searcher) = Searcher::open_current(fixture_store(), &OpenOptions::default()).unwrap();
    let columns: Vec<ModalityColumn> = (searcher.manifest().modalities.iter()).map(ModalityColumn::from).collect();
    let map = MappedFile::open(&searcher.folder().join(MODALITIES_FILE)).unwrap();
    let embeddings = ModalitiesReader::open(map, &columns).unwrap();
    let similarity = |left: Row, right: Row| {
        let (mut sum, mut weights) = (0.0, 0.0);
        for (column, modality) in searcher.manifest().modalities.iter().enumerate() {
            let [left, right] = [left, right].map(|row| embeddings.embedding(column, row).unwrap());
            if let (Some(left), Some(right)) = (left, right) {
                let cosine: f32 = left.iter().zip(right).map(|(left, right)| left.to_f32() * right.to_f32()).sum();
                sum += modality.weight * cosine;
                weights += modality.weight;
            }
        }
        if weights > 0.0 { sum / weights } else { 0.0 }
    };
    for mode in Mode::ALL {
        let mut means = Vec::new();
        for diversity in [0.0, 0.3, 0.6] {
            let (mut sum, mut pairs) = (0.0, 0);
            for text in ["mug", "blue sofa", "striped shirt", "蓝色 杯子", "oak chair", "tent"] {
                let hits = searcher.search(&Query { mode, diversity, ..Query::text(text) }).unwrap().hits;
                for (place, hit) in hits.iter().enumerate() {
                    sum += hits[..place].iter().map(|earlier| similarity(earlier.row, hit.row)).sum::<f32>();
                    pairs += place;
                }
            }
            means.push(sum / pairs as f32);
        }
        assert!(means.windows(2).all(|pair| pair[1] < pair[0] - 0.02), "{mode}: {means:?}");
    }
}

#[test]
fn the_same_picture_is_flagged_on_every_page() {
    let folder = Folder::new();
    folder.config("items.jsonl", &fixture_encoders());
    let mut lines = String::new();
    for (number, picture) in ["p0001", "p0002", "p0001", "p0003", "p0002", "p0001"].into_iter().enumerate() {
        let from = root().join(format!("fixtures/images/{picture}.jpg"));
        folder.write(&format!("{number}.jpg"), fs_err::read(from).unwrap());
        let item = serde_json::json!({"id": number.to_string(), "title": "chair", "image": format!("{number}.jpg")});
        lines.push_str(&format!("{item}\n"));
    }
    folder.write("items.jsonl", lines);
    folder.publish();
    let flags = |arguments: &[&str]| -> Vec<Option<String>> {
        let arguments = [&["--sort", "id", "--json"], arguments].concat();
        let result = folder.search(&arguments).expect_code(0).json();
        result["hits"].as_array().unwrap().iter().map(|hit| hit["duplicate_of"].as_str().map(str::to_owned)).collect()
    };
    let expected = [None, None, Some("0"), None, Some("1"), Some("0")].map(|id| id.map(str::to_owned));
    assert_eq!(flags(&[]), expected);
    assert_eq!(flags(&["-k", "2", "--offset", "4"]), expected[4..]);
    assert!(folder.search(&["chair"]).expect_code(0).stdout.contains("picture as"));
}

#[test]
fn pages_of_arranged_lists_put_together_are_one_list() {
    let (_, searcher) = Searcher::open_current(fixture_store(), &OpenOptions::default()).unwrap();
    let text = |mode| Query { mode, facets: vec!["brand".to_owned()], ..Query::text("striped cotton shirt") };
    let browse =
        Query { filter: Some("price < 40".to_owned()), facets: vec!["category".to_owned()], ..Query::default() };
    for query in [text(Mode::Keyword), text(Mode::Vector), text(Mode::Hybrid), browse] {
        let price = vec!["price:desc".parse().unwrap(), "score".parse().unwrap()];
        for arranged in [
            query.clone(),
            Query { sort: price.clone(), ..query.clone() },
            Query { collapse: Some("brand".to_owned()), ..query.clone() },
            Query { diversity: 0.5, explain: true, ..query.clone() },
            Query { diversity: 0.5, collapse: Some("category".to_owned()), sort: price, ..query.clone() },
        ] {
            let whole = searcher.search(&Query { limit: 60, ..arranged.clone() }).unwrap();
            let mut joined = Vec::new();
            for offset in (0..60).step_by(17) {
                let limit = 17.min(60 - offset);
                let page = searcher.search(&Query { offset, limit, ..arranged.clone() }).unwrap();
                assert_eq!((page.total, &page.facets), (whole.total, &whole.facets));
                joined.extend(page.hits);
            }
            assert_eq!(joined, whole.hits, "{arranged:?}");
        }
    }
}

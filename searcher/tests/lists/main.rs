//! What becomes of the ranked list: browsing, sorting, facets, collapse, diversity, near-duplicates and pages, over small
//! snapshots of the real writers, each beside a plain calculation over the items.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod facets;
mod likeness;

use proptest::prelude::*;
use schemas::FieldValue;
use searcher::example::{self, ExampleItem};
use searcher::{Hit, ItemPart, Mode, OpenOptions, Query, Results, Searcher};
use tempfile::TempDir;

fn opened(items: &[ExampleItem]) -> (TempDir, Searcher) {
    let folder = tempfile::tempdir().unwrap();
    example::write_store(folder.path(), items).unwrap();
    let (_, searcher) = Searcher::open_current(folder.path(), &OpenOptions::default()).unwrap();
    (folder, searcher)
}

/// Sixty items whose values, words and pictures repeat, so that scores, sort keys and pictures tie.
fn many() -> Vec<ExampleItem> {
    let text = |text: &str| FieldValue::String(text.to_owned());
    let unit = |number: usize, step: f32| {
        let angle = number as f32 * step;
        [angle.cos() * 0.8, angle.sin() * 0.8, 0.6 * (number % 2) as f32, 0.6 * ((number + 1) % 2) as f32]
    };
    let item = |number: usize| {
        let mut item = example::items().remove(number % 5);
        let unless = |gap: usize, value: FieldValue| (!number.is_multiple_of(gap)).then_some(value);
        item.item.id = format!("p{number:02}");
        item.item.title = Some(format!("{} {}", ["red", "blue"][number % 2], ["mug", "sofa", "lamp"][number % 3]));
        item.item.fields = vec![
            unless(7, text(["Daybird", "Norrland", "Åse", "daybird"][number % 4])),
            unless(5, FieldValue::Float([9.5, -0.0, 0.0, 120.0][number % 4])),
            unless(6, FieldValue::Integer([3, -1, 3, i64::MAX][number % 4])),
            unless(4, FieldValue::Boolean(number.is_multiple_of(3))),
            unless(9, text(["Home > Kitchen > Mugs", "Home > Kitchen", "Homeware"][number % 3])),
            unless(
                8,
                FieldValue::Strings(["new", "sale", "new"][..number % 4].iter().map(|tag| (*tag).to_owned()).collect()),
            ),
        ];
        ExampleItem {
            embeddings: [Some(unit(number, 0.13)), (number % 10 != 3).then(|| unit(number / 3, 0.3))],
            ..item
        }
    };
    (0..60).map(item).collect()
}

fn ids(results: &Results) -> Vec<&str> {
    results.hits.iter().map(|hit| hit.id.as_str()).collect()
}

fn sorted(text: &str) -> Vec<searcher::SortKey> {
    text.split(',').map(|key| key.parse().unwrap()).collect()
}

fn browse() -> Query {
    Query { filter: Some("exists(id)".to_owned()), limit: 100, ..Query::default() }
}

fn like(ids: &[(&str, f32)]) -> Vec<ItemPart> {
    ids.iter().map(|(id, weight)| ItemPart { id: (*id).to_owned(), weight: *weight }).collect()
}

fn message(searcher: &Searcher, query: &Query) -> String {
    searcher.search(query).unwrap_err().to_string()
}

fn field<'a>(hit: &'a Hit, name: &str) -> Option<&'a FieldValue> {
    hit.fields.iter().find(|(own, _)| own == name).map(|(_, value)| value)
}

#[test]
fn a_filter_alone_lists_all_that_match_in_row_order() {
    let (_folder, searcher) = opened(&many());
    for mode in Mode::ALL {
        let query =
            Query { filter: Some("stock = 3".to_owned()), mode, depth: Some(1), explain: true, ..Query::default() };
        let results = searcher.search(&query).unwrap();
        let expected: Vec<String> = many()
            .iter()
            .filter(|item| item.item.fields[2] == Some(FieldValue::Integer(3)))
            .map(|item| item.item.id.clone())
            .collect();
        assert_eq!((results.total, results.hits.len()), (expected.len(), 10), "{mode}: not cut by the depth");
        assert_eq!(ids(&results), expected[..10]);
        assert!(results.hits.iter().all(|hit| hit.score == 0.0 && hit.explain.as_ref().unwrap().keyword.is_none()));
    }
    let none = searcher.search(&Query { filter: Some("stock = 4".to_owned()), ..Query::default() }).unwrap();
    assert_eq!((none.total, none.hits.len()), (0, 0));
    let blank = Query { sort: sorted("price"), ..Query::text("  ") };
    assert_eq!(searcher.search(&blank).unwrap().total, 60);
    let zero = Query { like: like(&[("p07", 0.0)]), ..browse() };
    assert!(!ids(&searcher.search(&zero).unwrap()).contains(&"p07"), "a named item is no hit");
    assert!(message(&searcher, &Query::default()).starts_with("the query is empty"));
    assert!(
        message(&searcher, &Query { collapse: Some("brand".to_owned()), ..Query::default() })
            .starts_with("the query is empty")
    );
}

#[test]
fn sorting_puts_absent_values_last_and_keeps_the_ranking_among_equals() {
    let (_folder, searcher) = opened(&many());
    let listed = |sort: &str| searcher.search(&Query { sort: sorted(sort), ..browse() }).unwrap();
    for (name, down) in
        ["brand", "price", "stock", "new", "category"].into_iter().flat_map(|name| [(name, false), (name, true)])
    {
        let found = listed(&format!("{name}:{}", if down { "desc" } else { "asc" }));
        let ranks = |value: &FieldValue| -> (f64, String) {
            match value {
                FieldValue::Boolean(truth) => (f64::from(u8::from(*truth)), String::new()),
                FieldValue::Integer(number) => (*number as f64, String::new()),
                FieldValue::Float(number) => (*number, String::new()),
                FieldValue::String(text) => (0.0, text.clone()),
                FieldValue::Strings(_) => panic!("no list is sorted"),
            }
        };
        let mut expected: Vec<(usize, ExampleItem)> = many().into_iter().enumerate().collect();
        let place = example::fields().iter().position(|spec| spec.name == name).unwrap();
        expected.sort_by(|(_, left), (_, right)| match (&left.item.fields[place], &right.item.fields[place]) {
            (Some(left), Some(right)) => {
                let order = ranks(left).partial_cmp(&ranks(right)).unwrap();
                if down { order.reverse() } else { order }
            }
            (left, right) => left.is_none().cmp(&right.is_none()),
        });
        let expected: Vec<String> = expected.into_iter().map(|(_, item)| item.item.id).collect();
        assert_eq!(ids(&found), expected, "{name} {down}");
    }
    let several = listed("new:desc,price,id:desc");
    let keys: Vec<_> = several
        .hits
        .iter()
        .map(|hit| (field(hit, "new").is_none(), field(hit, "new") == Some(&FieldValue::Boolean(false))))
        .collect();
    assert!(keys.is_sorted());
    // The ranking decides among equals, and `score` alone is the ranking.
    let text = Query { mode: Mode::Keyword, limit: 100, ..Query::text("red mug") };
    let ranked = searcher.search(&text).unwrap();
    assert_eq!(ids(&searcher.search(&Query { sort: sorted("score"), ..text.clone() }).unwrap()), ids(&ranked));
    let by_brand = searcher.search(&Query { sort: sorted("brand"), ..text.clone() }).unwrap();
    assert_eq!(by_brand.total, ranked.total);
    let place = |id: &str| ids(&ranked).iter().position(|ranked| *ranked == id).unwrap();
    for pair in by_brand.hits.windows(2).filter(|pair| field(&pair[0], "brand") == field(&pair[1], "brand")) {
        assert!(place(&pair[0].id) < place(&pair[1].id));
    }
    let refused = |sort: &str| message(&searcher, &Query { sort: sorted(sort), ..browse() });
    assert!(refused("tags").contains("sort: `tags` is a list of strings"));
    assert!(refused("prices:desc").contains("did you mean `price`?"));
}

fn asked() -> impl Strategy<Value = Query> {
    let looked_for = prop_oneof![
        Just(Query::default()),
        Just(Query { mode: Mode::Keyword, ..Query::text("red mug") }),
        Just(Query { like: like(&[("p00", 1.0)]), mode: Mode::Vector, ..Query::default() }),
        Just(Query { like: like(&[("p05", 1.0), ("p11", -0.3)]), ..Query::default() }),
    ];
    let filter = prop::sample::select(vec![None, Some("price < 100"), Some("tags = 'new' or not exists(brand)")]);
    let sort = prop::sample::select(vec!["", "price:desc,brand", "score:asc,stock", "new"]);
    let collapse = prop::sample::select(vec![None, Some("brand"), Some("category"), Some("stock")]);
    let diversity = prop::sample::select(vec![0.0, 0.4, 1.0]);
    (looked_for, filter, sort, collapse, diversity).prop_map(|(query, filter, sort, collapse, diversity)| Query {
        // Browsing has to list something.
        filter: filter.or(query.is_browse().then_some("exists(id)")).map(str::to_owned),
        sort: if sort.is_empty() { Vec::new() } else { sorted(sort) },
        collapse: collapse.map(str::to_owned),
        diversity,
        facets: vec!["brand".to_owned(), "price".to_owned()],
        explain: true,
        ..query
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn pages_put_together_are_one_list(query in asked(), size in 1usize..20) {
        static SEARCHER: std::sync::OnceLock<(TempDir, Searcher)> = std::sync::OnceLock::new();
        let (_, searcher) = SEARCHER.get_or_init(|| opened(&many()));
        let whole = searcher.search(&Query { limit: 100, ..query.clone() }).unwrap();
        prop_assert_eq!(whole.hits.len(), whole.total);
        let mut joined: Vec<Hit> = Vec::new();
        for offset in (0..whole.total).step_by(size) {
            let page = searcher.search(&Query { limit: size, offset, ..query.clone() }).unwrap();
            prop_assert_eq!(page.total, whole.total);
            prop_assert_eq!(&page.facets, &whole.facets);
            joined.extend(page.hits);
        }
        prop_assert_eq!(joined, whole.hits);
        let beyond = searcher.search(&Query { offset: usize::MAX, limit: usize::MAX, ..query }).unwrap();
        prop_assert!(beyond.hits.is_empty());
    }
}

use searcher::OpenOptions;
use searcher::example::{self, ExampleItem};
use tempfile::TempDir;

use super::*;

const CATEGORY: usize = 4;

fn opened(items: &[ExampleItem]) -> (TempDir, Searcher) {
    let folder = tempfile::tempdir().unwrap();
    example::write_store(folder.path(), items).unwrap();
    let (_, searcher) = Searcher::open_current(folder.path(), &OpenOptions::default()).unwrap();
    (folder, searcher)
}

/// The example's items, some without a category.
fn without_category(ids: &[&str]) -> Vec<ExampleItem> {
    let mut items = example::items();
    items
        .iter_mut()
        .filter(|item| ids.contains(&item.item.id.as_str()))
        .for_each(|item| item.item.fields[CATEGORY] = None);
    items
}

fn settings() -> LabelSettings {
    // Of so few items the calibration, which leaves each out in turn, is sure of nothing.
    LabelSettings { method: LabelMethod::Neighbours, min_confidence: 0.0, ..LabelSettings::default() }
}

#[test]
fn a_gap_is_filled_by_the_nearest_and_values_stay() {
    let (_folder, searcher) = opened(&without_category(&["mug-red-large"]));
    let found = propose(&searcher, "category", &settings()).unwrap();
    // The voucher has no category and no embeddings.
    assert_eq!((found.labelled, found.missing, found.silent, found.unsure), (4, 2, 1, 0));
    let [label] = found.labels.as_slice() else { panic!("{found:?}") };
    assert_eq!((label.id.as_str(), label.field.as_str()), ("mug-red-large", "category"));
    assert_eq!((label.value.as_str(), label.method), ("Home > Kitchen > Mugs", LabelMethod::Neighbours));
    assert_eq!(label.evidence, ["mug-red", "mug-blue"]);
    assert!((0.0..=1.0).contains(&label.confidence));
    assert_eq!(propose(&searcher, "category", &settings()).unwrap(), found);

    let sure = LabelSettings { min_confidence: 1.0, ..settings() };
    let found = propose(&searcher, "category", &sure).unwrap();
    assert_eq!((found.labels.len(), found.unsure), (0, 1));
}

#[test]
fn nothing_is_proposed_where_nothing_lacks() {
    let mut items = example::items();
    items.pop();
    let (_folder, searcher) = opened(&items);
    let found = propose(&searcher, "category", &settings()).unwrap();
    assert_eq!((found.labelled, found.missing, found.labels.len()), (5, 0, 0));
}

#[test]
fn hidden_values_are_compared_with_the_commonest() {
    let (_folder, searcher) = opened(&example::items());
    let evaluate = |drawing| evaluate(&searcher, "category", &settings(), &drawing);
    let found = evaluate(EvaluationSettings::default()).unwrap();
    assert_eq!((found.values, found.known + found.hidden, found.hidden), (2, 5, 2));
    let methods: Vec<LabelMethod> = found.methods.iter().map(|figures| figures.method).collect();
    assert_eq!(methods, [LabelMethod::Neighbours]);
    assert_eq!(evaluate(EvaluationSettings::default()).unwrap(), found);
    let sampled = |sample| evaluate(EvaluationSettings { sample, ..EvaluationSettings::default() });
    assert_eq!((sampled(1).unwrap().hidden, sampled(1).unwrap().known), (1, 3));
    assert!(sampled(0).unwrap_err().to_string().contains("nothing can be hidden"));
    let seeded = |seed| evaluate(EvaluationSettings { seed, ..EvaluationSettings::default() });
    let halves = (0..20).map(|seed| seeded(seed).unwrap().majority_accuracy);
    assert!(halves.collect::<Vec<f64>>().windows(2).any(|pair| pair[0] != pair[1]), "the seed draws the half");
}

#[test]
fn what_cannot_be_labelled_is_an_error_that_says_why() {
    let (_folder, searcher) = opened(&example::items());
    let reason = |field: &str, settings: &LabelSettings| propose(&searcher, field, settings).unwrap_err().to_string();
    assert!(reason("colour", &settings()).contains("no field `colour`; it has brand, price"));
    assert!(reason("price", &settings()).contains("only string and category"));
    assert!(reason("tags", &settings()).contains("only string and category"));
    assert!(reason("brand", &LabelSettings { neighbours: 0, ..settings() }).contains("at least 1"));
    assert!(reason("brand", &LabelSettings { min_confidence: 1.5, ..settings() }).contains("between 0 and 1"));
    let ids: Vec<String> = example::items().into_iter().map(|item| item.item.id).collect();
    let (_folder, searcher) = opened(&without_category(&ids.iter().map(String::as_str).collect::<Vec<&str>>()));
    assert!(propose(&searcher, "category", &settings()).unwrap_err().to_string().contains("no item has a value"));
}

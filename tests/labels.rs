//! Labels: what is proposed for gaps in a catalog, and how often hidden values are found again.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::Float32Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::harness::{Folder, Output, fixture_store, indexer, root, shared};

fn label(store: &Path, arguments: &[&str]) -> Output {
    indexer(["--quiet", "label", "--store"]).arg(store).args(arguments).output()
}

/// A proposal: value, confidence, method and evidence.
type Proposal = (String, f32, String, Vec<String>);

/// The proposals of a file by id, all of them for one field.
fn proposals(path: &Path, field: &str) -> BTreeMap<String, Proposal> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(fs_err::File::open(path).unwrap().into_parts().0).unwrap();
    let mut found = BTreeMap::new();
    for batch in builder.build().unwrap() {
        let batch = batch.unwrap();
        let text = |column: &str, row: usize| batch[column].as_string::<i32>().value(row).to_owned();
        for row in 0..batch.num_rows() {
            assert_eq!(text("field", row), field);
            let confidence = batch["confidence"].as_primitive::<Float32Type>().value(row);
            let evidence = batch["evidence"].as_list::<i32>().value(row);
            let evidence = evidence.as_string::<i32>().iter().flatten().map(str::to_owned).collect();
            let proposal = (text("value", row), confidence, text("method", row), evidence);
            assert!(found.insert(text("id", row), proposal).is_none());
        }
    }
    found
}

#[test]
fn gaps_are_filled_and_nothing_else() {
    let folder = Folder::new();
    let text = fs_err::read_to_string(root().join("fixtures/catalog.jsonl")).unwrap();
    let mut truths: BTreeMap<String, String> = BTreeMap::new();
    let mut kinds: BTreeMap<String, String> = BTreeMap::new();
    let lines = text.lines().take(400).zip(0..).map(|(line, number)| {
        let mut item: Value = serde_json::from_str(line).unwrap();
        let (id, kind) = (item["id"].as_str().unwrap().to_owned(), item["kind"].as_str().unwrap().to_owned());
        if number % 5 == 0 {
            item["kind"] = Value::Null;
            truths.insert(id, kind);
        } else {
            kinds.insert(id, kind);
        }
        item.to_string()
    });
    folder.write("items.jsonl", lines.collect::<Vec<String>>().join("\n"));
    let model = root().join("fixtures/model");
    let sections = ["title", "description"].map(|one| format!("[encoders.{one}]\nmodel = '{}'\n", model.display()));
    let fields = "[catalog.fields.kind]\ntype = 'string'\n[catalog.fields.price]\ntype = 'float'\n";
    folder.config("items.jsonl", &(sections.concat() + fields));
    folder.run().expect_code(0);
    let store = folder.path("store");

    let (output, again) = (folder.path("labels.parquet"), folder.path("again.parquet"));
    let write = |path: &Path| {
        let path = path.display().to_string();
        label(&store, &["--field", "kind", "--output", &path, "--json"]).expect_code(0).json()
    };
    let report = write(&output);
    let found = proposals(&output, "kind");
    let field = &report["fields"][0];
    assert_eq!((&field["labelled"], &field["missing"]), (&Value::from(320), &Value::from(80)));
    assert_eq!(field["proposed"], found.len());
    assert!(found.len() >= 60, "{report}");
    let mut right = 0;
    for (id, (value, confidence, method, evidence)) in &found {
        assert!((0.5..=1.0).contains(confidence) && ["neighbours", "zero_shot", "both"].contains(&method.as_str()));
        assert!(evidence.iter().all(|id| kinds.get(id) == Some(value)), "{id}: {evidence:?}");
        right += usize::from(truths.get(id).expect("an item that lacks it") == value);
    }
    assert!(right as f64 >= 0.9 * found.len() as f64, "{right} of {}", found.len());
    write(&again);
    assert_eq!(proposals(&again, "kind"), found);

    // The snapshot is what it was.
    indexer(["verify", "--store"]).arg(&store).output().expect_code(0);
    let path = again.display().to_string();
    label(&store, &["--field", "price", "--output", &path]).expect_code(2).expect_stderr(&["only string and category"]);
    label(&store, &["--field", "colour", "--output", &path]).expect_code(2).expect_stderr(&["no field `colour`"]);
    label(&store, &["--field", "kind"]).expect_code(2).expect_stderr(&["--output"]);
    let wrong = ["--field", "kind", "--evaluate", "--min-confidence", "7"];
    label(&store, &wrong).expect_code(2).expect_stderr(&["between 0 and 1"]);
}

/// For each field of an evaluation the accuracy of each method, and of the commonest value as `majority`.
fn accuracies(store: &Path, fields: &str) -> BTreeMap<String, BTreeMap<String, f64>> {
    let found = label(store, &["--field", fields, "--evaluate", "--json"]).expect_code(0).json();
    let of_field = |field: &Value| {
        let methods = field["methods"].as_array().unwrap().iter();
        let accuracies = methods.map(|method| (method["method"].as_str().unwrap(), &method["accuracy"]));
        let accuracies = accuracies.chain([("majority", &field["majority_accuracy"])]);
        let accuracies = accuracies.map(|(method, accuracy)| (method.to_owned(), accuracy.as_f64().unwrap()));
        (field["field"].as_str().unwrap().to_owned(), accuracies.collect::<BTreeMap<String, f64>>())
    };
    let accuracies: BTreeMap<_, _> = found["fields"].as_array().unwrap().iter().map(of_field).collect();
    eprintln!("{accuracies:?}");
    accuracies
}

#[test]
fn hidden_values_of_the_fixture_are_found_again() {
    let accuracies = accuracies(fixture_store(), "category,colour,pattern");
    for (field, least) in [("category", 0.95), ("colour", 0.97), ("pattern", 0.85)] {
        let found = &accuracies[field];
        assert!(found["both"] >= least && found["both"] > found["majority"] + 0.5, "{field}: {found:?}");
        let best = found["neighbours"].max(found["zero_shot"]);
        assert!(found["both"] >= best - 0.02, "{field}: both together lose nothing: {found:?}");
    }
    let table = label(fixture_store(), &["--field", "colour", "--evaluate", "--method", "neighbours"]).expect_code(0);
    assert!(table.stdout.contains("majority") && table.stdout.contains("neighbours"), "{table}");
    assert!(!table.stdout.contains("zero_shot"), "{table}");
}

#[test]
fn hidden_categories_of_real_shops_are_found_again() {
    let Some(shared) = shared() else { return };
    let model = fs_err::canonicalize(shared.join("models/all-MiniLM-L6-v2")).unwrap();
    for (name, least, above_majority) in [("eshop", 0.9, 0.7), ("grocery", 0.45, 0.3)] {
        let folder = Folder::new();
        let catalog = fs_err::canonicalize(shared.join("data").join(name).join("catalog.jsonl")).unwrap();
        let sections = ["title", "description"].map(|one| format!("[encoders.{one}]\nmodel = '{}'\n", model.display()));
        let fields = "[catalog.fields.category]\ntype = 'category'\n";
        folder.config(&catalog.display().to_string(), &(sections.concat() + fields));
        folder.run().expect_code(0);
        let found = &accuracies(&folder.path("store"), "category")["category"];
        assert!(found["both"] >= least && found["both"] > found["majority"] + above_majority, "{name}: {found:?}");
    }
}

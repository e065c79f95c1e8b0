//! Learned embedding fusion from training to search, through the programs.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{Folder, Output, copy_folder, fixture_store, ids, indexer, root, searcher};

/// A store of this test's own with the fixture published, and what is trained on it.
struct Learned {
    folder: Folder,
    store: PathBuf,
}

impl Learned {
    fn new() -> Learned {
        let folder = Folder::new();
        let store = folder.path("store");
        copy_folder(fixture_store(), &store);
        Learned { folder, store }
    }

    /// `indexer learn` on the fixture's pictures with texts, without cross-validation.
    fn learn(&self, output: &str, threads: &str, arguments: &[&str]) -> PathBuf {
        let output = self.folder.path(output);
        learn(&self.store, &output, &["multimodal_queries"], arguments)
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .expect_code(0);
        output
    }

    /// A night with a model.
    fn night(&self, model: &Path) -> Output {
        indexer(["run", "--json", "--set", "embedding_fusion.kind=learned", "--set"])
            .arg(format!("embedding_fusion.model={}", model.display()))
            .arg("--config")
            .arg(root().join("fixtures/catalens.toml"))
            .arg("--store")
            .arg(&self.store)
            .output()
    }

    fn search(&self, arguments: &[&str]) -> Output {
        searcher(["search", "--store"]).arg(&self.store).args(arguments).output()
    }
}

fn learn(store: &Path, output: &Path, queries: &[&str], arguments: &[&str]) -> crate::harness::Program {
    let mut program = indexer(["learn", "--quiet", "--store"]).arg(store).arg("--output").arg(output);
    for name in queries {
        let flag = if *name == "queries" { "--queries" } else { "--image-queries" };
        program = program.arg(flag).arg(root().join(format!("fixtures/{name}.tsv")));
        program = program.arg("--qrels").arg(root().join(format!("fixtures/{}.tsv", name.replace("queries", "qrels"))));
    }
    program.args(arguments)
}

#[test]
fn the_same_seed_gives_the_same_bytes_whatever_the_threads() {
    let learned = Learned::new();
    let quick = ["--folds", "0", "--epochs", "1"];
    let read =
        |output: &str, threads, arguments: &[&str]| fs_err::read(learned.learn(output, threads, arguments)).unwrap();
    let first = read("first.safetensors", "1", &quick);
    assert!(first == read("second.safetensors", "3", &quick), "two trainings differ");
    assert!(first != read("other.safetensors", "1", &[&quick[..], &["--seed", "2"]].concat()), "the seed does nothing");
}

#[test]
fn a_night_with_a_model_is_published_searched_and_explained() {
    let learned = Learned::new();
    let model = learned.learn("fusion.safetensors", "2", &["--folds", "0", "--epochs", "2"]);
    let report = learned.night(&model).expect_code(0).json();
    assert_eq!((&report["outcome"], &report["encoded"]["title"]), (&Value::from("published"), &Value::from(0)));
    assert_eq!(report["gates"]["min_ann_recall"]["passed"], true, "{report:#}");
    indexer(["verify", "--store"]).arg(&learned.store).output().expect_code(0);

    let picture = root().join("fixtures/query_images/i001.jpg");
    let picture = picture.display().to_string();
    let questions: [&[&str]; 6] = [
        &["blue striped mug"],
        &["blue striped mug", "--mode", "vector"],
        &["blue striped mug", "--mode", "keyword"],
        &["--image", &picture],
        &["in red", "--image", &picture, "--mode", "vector"],
        &["--like", "p0001", "--filter", "price < 50"],
    ];
    for question in questions {
        let hits = learned.search(&[question, &["--json", "--explain"]].concat()).expect_code(0).json();
        for hit in hits["hits"].as_array().unwrap() {
            let explain = &hit["explain"];
            let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("no number in {hit:#}"));
            let parts = number(&explain["fusion"]["keyword"]) + number(&explain["fusion"]["vector"]);
            assert!((parts - number(&hit["score"])).abs() < 1e-5, "{hit:#}");
            if explain["vector"].is_object() {
                let modalities = explain["vector"]["modalities"].as_array().unwrap();
                let sum: f64 = modalities.iter().map(|modality| number(&modality["score"])).sum();
                assert!((sum - number(&explain["vector"]["score"])).abs() < 1e-5, "{hit:#}");
            }
        }
    }
    // An item's own picture and texts find it: the graph, the weights and the formula belong together.
    let own = root().join("fixtures/images/p0001.jpg").display().to_string();
    let found = learned.search(&["--image", &own, "--mode", "vector", "--json", "-k", "100"]).expect_code(0).json();
    assert!(ids(&found).contains(&"p0001".to_owned()), "{found:#}");

    learned
        .search(&["mug", "--weight", "image=1"])
        .expect_code(2)
        .expect_stderr(&["`learned`", "leave out the modality weights"]);

    // The same model changes nothing, another one makes another snapshot.
    assert_eq!(learned.night(&model).expect_code(0).json()["outcome"], "unchanged");
    let other = learned.learn("other.safetensors", "2", &["--folds", "0", "--epochs", "0"]);
    assert_eq!(learned.night(&other).expect_code(0).json()["outcome"], "published");

    // Damage is told by name.
    let snapshot = fs_err::read_to_string(learned.store.join("CURRENT")).unwrap();
    for name in ["learned.safetensors", "item_weights.arrow"] {
        let path = learned.store.join("snapshots").join(snapshot.trim()).join("vector").join(name);
        let whole = fs_err::read(&path).unwrap();
        fs_err::write(&path, vec![0x7f; whole.len()]).unwrap();
        learned.search(&["mug"]).expect_code(2).expect_stderr(&[name]);
        fs_err::write(&path, whole).unwrap();
    }
    learned.search(&["mug"]).expect_code(0);
}

#[test]
fn models_that_do_not_fit_are_refused_before_anything_is_encoded() {
    let learned = Learned::new();
    let model = learned.learn("fusion.safetensors", "2", &["--folds", "0", "--epochs", "0"]);
    let missing = learned.folder.path("missing.safetensors");
    learned.night(&missing).expect_code(2).expect_stderr(&["missing.safetensors"]);
    let damaged = learned.folder.write("damaged.safetensors", b"PK\x03\x04");
    learned.night(&damaged).expect_code(2).expect_stderr(&["damaged.safetensors", "no safetensors file"]);

    // A store that encodes titles alone.
    let folder = Folder::new();
    let encoders = format!(
        "[encoders.title]\nmodel = '{}'\n[embedding_fusion]\nkind = 'learned'\nmodel = '{}'\n",
        root().join("fixtures/model").display(),
        model.display()
    );
    folder.config("items.jsonl", &encoders);
    folder.write("items.jsonl", "{\"id\": \"a\", \"title\": \"Red mug\"}\n");
    folder.run().expect_code(2).expect_stderr(&[
        "`embedding_fusion.model`",
        "trained for title, description, image, encoded are title;",
        "`indexer learn`",
    ]);
    assert!(!folder.path("store/CURRENT").exists());
}

#[test]
fn queries_without_judgments_train_nothing() {
    let learned = Learned::new();
    let queries = learned.folder.write("queries.tsv", "q1\tmug\n");
    let qrels = learned.folder.write("qrels.tsv", "q1 0 nothing 1\n");
    let output = learned.folder.path("fusion.safetensors");
    let program =
        indexer(["learn", "--store"]).arg(&learned.store).arg("--queries").arg(&queries).arg("--qrels").arg(&qrels);
    let refused = program.arg("--output").arg(&output).output().expect_code(2);
    refused.expect_stderr(&["no query has a relevant item in the published snapshot; check that the ids agree"]);
    assert!(!output.exists());
}

/// Training is short here, so that figures are not those of the README; what must hold is that it learns something from one half
/// of the queries that serves the other half.
#[test]
fn held_out_queries_gain_from_training() {
    let learned = Learned::new();
    let output = learned.folder.path("fusion.safetensors");
    let all = ["queries", "image_queries", "multimodal_queries"];
    let report = learn(&learned.store, &output, &all, &["--json", "--folds", "2", "--epochs", "6"])
        .output()
        .expect_code(0)
        .json();
    let means = &report["held_out"]["means"];
    for (kind, queries) in [("text", 81), ("image", 40), ("image_and_text", 30), ("all", 151)] {
        assert_eq!(means[kind]["queries"], queries, "{means:#}");
    }
    assert_eq!(report["held_out"]["queries"].as_array().unwrap().len(), 151);
    let ndcg = |formula: &str| means["all"][formula]["ndcg@10"].as_f64().unwrap();
    assert!(ndcg("learned") > ndcg("weighted_blocks"), "{means:#}");
    assert_eq!(report["training"]["held_out_ndcg_at_10"]["learned"].as_f64(), Some(ndcg("learned")));
}

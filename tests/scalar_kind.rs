//! The graph's two scalar kinds, from the configuration to the published snapshot.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{Folder, copy_folder, fixture_store, indexer, root, searcher};

/// A night over the fixture's store with some settings; its snapshot's folder and manifest.
fn night(store: &Path, threads: &str, settings: &[&str]) -> (PathBuf, Value) {
    let mut program = indexer(["run", "--rebuild", "--json", "--config"]).arg(root().join("fixtures/catalens.toml"));
    for setting in settings {
        program = program.arg("--set").arg(setting);
    }
    let report = program.arg("--store").arg(store).env("RAYON_NUM_THREADS", threads).output().expect_code(0).json();
    assert_eq!((&report["outcome"], &report["encoded"]["title"]), (&Value::from("published"), &Value::from(0)));
    assert!(report["gates"]["min_ann_recall"]["value"].as_f64().unwrap() >= 0.99, "{report:#}");
    let folder = store.join("snapshots").join(report["snapshot"].as_str().unwrap());
    let manifest = serde_json::from_slice(&fs_err::read(folder.join("manifest.json")).unwrap()).unwrap();
    (folder, manifest)
}

fn graph(snapshot: &Path) -> Vec<u8> {
    fs_err::read(snapshot.join("vector/fused.usearch")).unwrap()
}

#[test]
fn the_kind_is_chosen_by_the_configuration_for_every_embedding_fusion() {
    let folder = Folder::new();
    let store = folder.path("store");
    copy_folder(fixture_store(), &store);
    for fusion in ["weighted_blocks", "weighted_mean"] {
        let fusion = format!("embedding_fusion.kind={fusion}");
        let (halves, manifest) = night(&store, "2", &["vector.scalar=f16", &fusion]);
        assert_eq!(manifest["vector"]["scalar"], serde_json::json!({ "kind": "f16" }));
        let (codes, manifest) = night(&store, "2", &["vector.scalar=i8", &fusion]);
        let number = |key: &str| manifest["vector"][key].as_u64().unwrap() as usize;
        let (halves, codes) = (graph(&halves), graph(&codes));
        // 1,200 items have some 1,200 bytes of links and halves each; a byte of two of each value is gone.
        let saved = number("vector_count") * number("dimension");
        assert!(halves.len().abs_diff(codes.len() + saved) < halves.len() / 100, "{} {}", halves.len(), codes.len());
        let step = manifest["vector"]["scalar"]["step"].as_f64().unwrap();
        assert!(step > 0.0 && step * 127.0 <= 1.0, "{step}");
        indexer(["verify", "--store"]).arg(&store).output().expect_code(0);
        searcher(["search", "blue striped mug", "--mode", "vector", "--store"]).arg(&store).output().expect_code(0);
    }
}

#[test]
fn as_many_threads_build_the_same_graph_of_a_small_catalog_again_and_others_find_the_same_step() {
    let folder = Folder::new();
    let nights = [("first", "2"), ("second", "2"), ("third", "3")].map(|(name, threads)| {
        let store = folder.path(name);
        copy_folder(fixture_store(), &store);
        night(&store, threads, &[])
    });
    assert!(graph(&nights[0].0) == graph(&nights[1].0));
    for (_, manifest) in &nights[1..] {
        assert_eq!(manifest["vector"]["scalar"], nights[0].1["vector"]["scalar"]);
    }
}

#[test]
fn an_unknown_kind_is_refused_with_those_there_are() {
    let folder = Folder::new();
    indexer(["run", "--set", "vector.scalar=i4", "--config"])
        .arg(root().join("fixtures/catalens.toml"))
        .arg("--store")
        .arg(folder.path("store"))
        .output()
        .expect_code(2)
        .expect_stderr(&["unknown variant `i4`, expected `f16` or `i8`"]);
}

//! `indexer run --plan`: what a run would do, and nothing done.

use serde_json::{Value, json};

use crate::harness::{Folder, fixture_encoders, indexer};

fn catalog(ids: std::ops::Range<u32>) -> String {
    ids.map(|id| format!("{}\n", json!({"id": format!("i{id}"), "title": format!("brass lamp {id}")}))).collect()
}

fn plan(folder: &Folder) -> Value {
    indexer(["run", "--plan", "--json", "--config"]).arg(folder.path("catalens.toml")).output().expect_code(0).json()
}

#[test]
fn a_plan_says_what_the_run_then_does() {
    let folder = Folder::new();
    folder.config("items.jsonl", &(fixture_encoders() + "[encode]\npartitions = 3\n[gates]\nmax_missing_images = 1\n"));
    let picture = |id: u32, name: &str| json!({"id": format!("p{id}"), "image": name}).to_string() + "\n";
    folder.picture("a.png", 60, 40, [200, 30, 30]);
    folder.write("broken.png", "no picture");
    let rows = catalog(0..20) + &picture(0, "a.png") + &picture(1, "none.png") + &picture(2, "broken.png");
    folder.write("items.jsonl", rows.clone() + "{\"id\":\"i3\",\"title\":\"again\"}\n");

    let before = plan(&folder);
    assert!(!folder.path("store").exists(), "a plan creates no store");
    assert_eq!(before["outcome"], "planned");
    assert_eq!((&before["rows"], &before["items"], &before["rejected"]), (&json!(24), &json!(23), &json!(1)));
    assert_eq!(before["reject_reasons"], json!({"duplicate_id": 1, "image_missing": 1}));
    assert_eq!(before["modalities"]["title"]["encode_reasons"], json!({"new_item": 20}));
    assert_eq!(before["modalities"]["image"]["encode"], 2, "only encoding finds out that one is broken");
    assert_eq!((&before["seconds"], &before["modalities"]["title"]["seconds"]), (&Value::Null, &Value::Null));
    let text = indexer(["run", "--plan", "--config"]).arg(folder.path("catalens.toml")).output().expect_code(0);
    assert!(text.stdout.contains("20 to encode (20 new_item), 0 kept, 3 absent; not measured yet"), "{text}");

    folder.publish();
    let files = || schemas::durable::list_files(&folder.path("store")).unwrap();
    let stored = files();
    let unchanged = plan(&folder);
    assert_eq!(unchanged["seconds"], 0.0);
    assert_eq!(unchanged["modalities"]["title"]["kept"], 20);
    assert_eq!(unchanged["modalities"]["image"]["absent"], 22, "what could not be used is not tried in a plan");

    folder.write("items.jsonl", rows.replace("brass lamp 7", "steel lamp 7") + &catalog(20..25));
    let store = schemas::Store::open(&folder.path("store")).unwrap();
    let lock = store.lock().unwrap();
    let changed = plan(&folder);
    drop(lock);
    assert_eq!(changed["modalities"]["title"]["encode_reasons"], json!({"content_changed": 1, "new_item": 5}));
    let (seconds, speed) = (&changed["seconds"], &changed["modalities"]["title"]["embeddings_per_second"]);
    assert!((seconds.as_f64().unwrap() * speed.as_f64().unwrap() - 6.0).abs() < 1e-6, "{changed}");
    assert!(changed["modalities"]["title"]["measured_by"].as_str().unwrap().ends_with(".json"));
    assert_eq!(files(), stored, "nothing was written");

    let report = folder.publish();
    assert_eq!(report["encode_reasons"]["title"], changed["modalities"]["title"]["encode_reasons"]);
    for modality in ["title", "description", "image"] {
        assert_eq!(report["kept"][modality], changed["modalities"][modality]["kept"], "{modality}");
        assert_eq!(report["absent"][modality], changed["modalities"][modality]["absent"], "{modality}");
    }
}

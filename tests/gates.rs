//! Gates against broken feeds, and publishing although they refuse.

use serde_json::{Value, json};

use crate::harness::{Folder, Output, fixture_encoders, indexer, root};

fn catalog(ids: std::ops::Range<u32>) -> String {
    ids.map(|id| format!("{}\n", json!({"id": format!("i{id}"), "title": format!("willow basket {id}")}))).collect()
}

fn run_with(folder: &Folder, arguments: &[&str]) -> Output {
    indexer(["run", "--json", "--config"]).arg(folder.path("catalens.toml")).args(arguments).output()
}

fn manifest(folder: &Folder, snapshot: &Value) -> Value {
    let path = folder.path("store/snapshots").join(snapshot.as_str().unwrap()).join("manifest.json");
    serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
}

fn published(folder: &Folder) -> String {
    fs_err::read_to_string(folder.path("store/CURRENT")).unwrap().trim().to_owned()
}

#[test]
fn half_the_fixture_is_refused_by_default_and_the_message_says_what_to_do() {
    let folder = Folder::new();
    let text = fs_err::read_to_string(root().join("fixtures/catalog.jsonl")).unwrap();
    let rows: Vec<&str> = text.lines().collect();
    folder.config("items.jsonl", "[catalog.fields.brand]\ntype = 'string'\n");
    folder.write("items.jsonl", &text);
    let first = folder.publish();
    assert!(first["gates"].get("max_item_drop").is_none(), "the first night has nothing to compare with");

    folder.write("items.jsonl", rows[..rows.len() / 2].join("\n"));
    let refused = folder.run().expect_code(1);
    let report = refused.json();
    assert_eq!((report["outcome"].as_str(), &report["snapshot"]), (Some("refused"), &Value::Null));
    assert_eq!(report["gates"]["max_item_drop"]["value"], 0.5);
    assert!(report.get("overruled").is_none());
    let words = ["600 items, 600 (50.0%) fewer than the 1200", "`gates.max_item_drop`", "indexer run --force REASON"];
    refused.expect_stderr(&words);
    let text = indexer(["run", "--config"]).arg(folder.path("catalens.toml")).output().expect_code(1);
    for words in ["FAILED  max_item_drop", "next  mend the catalog; or set `gates.max_item_drop`", "--force"] {
        assert!(text.stdout.contains(words), "{text}");
    }
    assert_eq!(published(&folder), first["snapshot"]);

    // A bound in the configuration allows it without force, and the way back is below the bound for growth.
    let allowed = run_with(&folder, &["--set", "gates.max_item_drop=0.5"]).expect_code(0).json();
    assert_eq!(allowed["gates"]["max_item_drop"]["passed"], true);
    folder.write("items.jsonl", rows.join("\n"));
    let back = folder.publish();
    assert_eq!((&back["gates"]["max_item_growth"]["value"], &back["items"]), (&json!(1.0), &json!(1200)));
}

#[test]
fn more_than_twice_the_items_are_refused_by_default() {
    let folder = Folder::new();
    folder.config("items.jsonl", "");
    folder.write("items.jsonl", catalog(0..10));
    folder.publish();
    folder.write("items.jsonl", catalog(0..21));
    folder.run().expect_code(1).expect_stderr(&["max_item_growth", "21 items, 11 (110.0%) more than the 10"]);
    run_with(&folder, &["--set", "gates.max_item_growth=1.1"]).expect_code(0);
}

#[test]
fn force_publishes_and_says_who_when_and_why_wherever_one_looks() {
    let folder = Folder::new();
    folder.config("items.jsonl", "");
    folder.write("items.jsonl", catalog(0..10));
    let first = folder.publish();
    let unneeded = run_with(&folder, &["--rebuild", "--force", "for nothing"]).expect_code(0).json();
    assert!(unneeded.get("overruled").is_none(), "no gate refused: nothing was overruled");
    assert!(manifest(&folder, &unneeded["snapshot"]).get("overruled").is_none());

    folder.write("items.jsonl", catalog(0..4));
    folder.run().expect_code(1);
    let arguments = ["--force", "the autumn range is closed", "--set", "gates.min_items=9"];
    let forced = run_with(&folder, &arguments).expect_code(0);
    let report = forced.json();
    let overruled = &report["overruled"];
    assert_eq!(report["outcome"], "published");
    assert_eq!(overruled["gates"], json!(["max_item_drop", "min_items"]));
    assert_eq!(overruled["reason"], "the autumn range is closed");
    let by = overruled["by"].as_str().unwrap();
    assert!(by.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty()), "{by}");
    assert!(overruled["at"].as_str().is_some_and(|at| at.len() == 20 && at.ends_with('Z')), "{overruled}");
    assert_eq!(report["gates"]["min_items"]["passed"], false);
    forced.expect_stderr(&["publishing although gates refused", "the autumn range is closed", "overruled: 4 items"]);
    let manifest = manifest(&folder, &report["snapshot"]);
    assert_eq!((&manifest["overruled"], &manifest["gates"]), (overruled, &report["gates"]));
    assert_eq!(published(&folder), report["snapshot"]);
    assert_ne!(published(&folder), first["snapshot"]);
    assert_eq!(folder.hits(&["basket", "--mode", "keyword"]).len(), 4);

    let upkeep =
        |command: &str, more: &[&str]| indexer([command, "--store"]).arg(folder.path("store")).args(more).output();
    upkeep("verify", &[]).expect_code(0);
    for command in ["status", "history"] {
        let text = upkeep(command, &[]).expect_code(0);
        assert!(text.stdout.contains(by) && text.stdout.contains("the autumn range is closed"), "{text}");
    }
    let status = upkeep("status", &["--json"]).expect_code(0).json();
    assert_eq!(&status["snapshots"][2]["overruled"], overruled);
    let runs = upkeep("history", &["--json"]).expect_code(0).json()["runs"].clone();
    assert_eq!((&runs[3]["overruled"], &runs[2]["overruled"]), (overruled, &Value::Null));
    assert_eq!(runs[2]["gates_failed"], json!(["max_item_drop"]));

    // Without a reason; and the summary is loud.
    folder.write("items.jsonl", catalog(0..2));
    let loud = indexer(["run", "--force", "--config"]).arg(folder.path("catalens.toml")).output().expect_code(0);
    assert!(loud.stdout.contains("FORCED  1 GATE REFUSED THIS SNAPSHOT, AND IT SERVES"), "{loud}");
    assert!(loud.stdout.contains("max_item_drop overruled by") && loud.stdout.contains("no reason given"), "{loud}");
    // A night without changes leaves it as it is, and does not claim to have overruled anything.
    let unchanged = folder.publish();
    assert_eq!((unchanged["outcome"].as_str(), unchanged.get("overruled")), (Some("unchanged"), None));
    assert_eq!(unchanged["gates"]["max_item_drop"]["passed"], false, "the gates of the snapshot that stays");
}

#[test]
fn force_overrules_neither_errors_nor_goes_with_what_publishes_nothing() {
    let folder = Folder::new();
    folder.config("none.jsonl", "");
    run_with(&folder, &["--force", "please"]).expect_code(2).expect_stderr(&["none.jsonl"]);
    for arguments in [&["--force", "x", "--plan"][..], &["--force", "x", "--partition", "1/2"]] {
        run_with(&folder, arguments).expect_code(2).expect_stderr(&["cannot be used with", "--force"]);
    }
    assert!(!folder.path("store/CURRENT").exists());
}

#[test]
fn an_empty_feed_is_refused_and_can_still_be_forced() {
    let folder = Folder::new();
    folder.config("items.jsonl", &fixture_encoders());
    folder.write("items.jsonl", catalog(0..5));
    let first = folder.publish();
    folder.write("items.jsonl", "");
    let refused = folder.run().expect_code(1).json();
    for gate in ["min_items", "max_item_drop"] {
        assert_eq!(refused["gates"][gate]["passed"], false, "{gate}");
    }
    assert_eq!(published(&folder), first["snapshot"]);
    let forced = run_with(&folder, &["--force", "the shop is closed"]).expect_code(0).json();
    assert_eq!(forced["items"], 0);
    folder.search(&["basket", "--mode", "keyword"]).expect_code(1);
    // After it there is nothing to compare with, and nothing was lost.
    folder.write("items.jsonl", catalog(0..5));
    let back = folder.publish();
    assert!(back["gates"].get("max_item_growth").is_none());
    assert_eq!(back["items"], 5);
}

#[test]
fn pictures_that_went_overnight_are_refused_and_a_catalog_without_pictures_is_not() {
    let folder = Folder::new();
    let row = |id: u32, image: Option<String>| {
        json!({"id": format!("i{id}"), "title": format!("willow basket {id}"), "image": image}).to_string() + "\n"
    };
    let named = |ids: std::ops::Range<u32>| -> String { ids.map(|id| row(id, Some(format!("{id}.png")))).collect() };
    for id in 0..10 {
        folder.picture(&format!("{id}.png"), 32, 32, [id as u8 * 20, 90, 40]);
    }
    folder.config("items.jsonl", &fixture_encoders());
    folder.write("items.jsonl", named(0..10));
    let first = folder.publish();
    assert_eq!(first["gates"]["max_missing_images"]["value"], 0.0);

    // The folder of pictures lost four of ten.
    for id in 0..4 {
        fs_err::rename(folder.path(&format!("{id}.png")), folder.path(&format!("{id}.away"))).unwrap();
    }
    let refused = folder.run().expect_code(1);
    let gates = refused.json()["gates"].clone();
    assert_eq!(
        (&gates["max_missing_images"]["value"], &gates["max_missing_images"]["passed"]),
        (&json!(0.4), &json!(false))
    );
    assert_eq!(gates["max_missing_images_rise"]["passed"], false);
    refused.expect_stderr(&["4 of 10 pictures that the catalog names cannot be used (40.0%), at most 20.0% allowed"]);
    for id in 0..4 {
        fs_err::rename(folder.path(&format!("{id}.away")), folder.path(&format!("{id}.png"))).unwrap();
    }
    let back = folder.publish();
    assert_eq!(back["encoded"]["image"], 0, "a refused night costs no embedding");

    // The feed stopped naming pictures: none is unusable, but they are gone.
    let bare: String = (0..10).map(|id| row(id, None)).collect();
    folder.write("items.jsonl", &bare);
    let report =
        folder.run().expect_code(1).expect_stderr(&["0.0% of the items have a usable picture, 100.0% in"]).json();
    assert!(report["gates"].get("max_missing_images").is_none(), "the catalog names none");
    assert_eq!(report["gates"]["max_missing_images_rise"]["value"], 1.0);
    assert_eq!(published(&folder), first["snapshot"]);

    let other = Folder::new();
    other.config("items.jsonl", &fixture_encoders());
    for items in [10, 12] {
        other.write("items.jsonl", (0..items).map(|id| row(id, None)).collect::<String>());
        assert_eq!(other.publish()["outcome"], "published", "a catalog that never had pictures");
    }
}

#[test]
fn a_damaged_current_manifest_is_told_of_and_does_not_keep_the_next_night_out() {
    let folder = Folder::new();
    folder.config("items.jsonl", "");
    folder.write("items.jsonl", catalog(0..10));
    let first = folder.publish();
    let path = folder.path("store/snapshots").join(first["snapshot"].as_str().unwrap()).join("manifest.json");
    fs_err::write(path, "{").unwrap();
    let healed = folder.run().expect_code(0).expect_stderr(&["manifest cannot be read; nothing is compared with it"]);
    assert!(healed.json()["gates"].get("max_item_drop").is_none());
}

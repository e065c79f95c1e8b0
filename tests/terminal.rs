//! What a catalog says cannot command the terminal: titles, ids, fields, file names and the messages that quote them.

use serde_json::json;

use crate::harness::{Folder, Output, indexer, searcher};

/// Retitles the window, clears the screen (with an 8-bit control), turns the direction of text, rings, deletes.
const HOSTILE: &str = "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}evil\u{2066}\u{7f}\u{8}\r";

/// Asserts that both outputs are free of control characters and direction marks, line feeds aside.
#[track_caller]
fn harmless(output: &Output) {
    for text in [&output.stdout, &output.stderr] {
        let found = text.chars().find(|character| {
            let turns =
                matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            turns || (character.is_control() && *character != '\n')
        });
        assert_eq!(found, None, "{output}");
    }
}

fn hostile_store() -> Folder {
    let folder = Folder::new();
    let items = [
        json!({"id": format!("a{HOSTILE}\n"), "title": format!("mug {HOSTILE}"), "brand": HOSTILE, "description": "tea"}),
        json!({"id": "b", "title": "mug"}),
        json!({"id": "c", "title": "mug", "price": HOSTILE}),
        json!({"title": format!("{HOSTILE} mug without id")}),
    ];
    let lines: Vec<String> = items.iter().map(ToString::to_string).collect();
    folder.write("items.jsonl", lines.join("\n"));
    let field = "\"na\\u001b[2J\\u202eme\"";
    folder.config(
        "items.jsonl",
        &format!(
            "[catalog.fields.{field}]\ntype = 'string'\ncolumn = 'brand'\nsearched = true\n\
             [catalog.fields.price]\ntype = 'float'\n[gates]\nmax_rejected_share = 1.0\n"
        ),
    );
    folder
}

#[test]
fn tables_explanations_and_messages_of_the_searcher_are_harmless() {
    let folder = hostile_store();
    folder.publish();
    let table = folder.search(&["mug evil", "--mode", "keyword", "--explain"]).expect_code(0);
    harmless(&table);
    assert!(table.stdout.contains("\\u{1b}]0;owned\\u{7}\\u{9b}2J\\u{202e}evil"), "{table}");
    for arguments in [
        ["--like", HOSTILE].as_slice(),
        &["mug", "--filter", &format!("brand = \"{HOSTILE}")],
        &["mug", "--filter", HOSTILE],
        &["--image", HOSTILE],
        &["mug", "--snapshot", HOSTILE],
    ] {
        harmless(&folder.search(arguments).expect_code(2));
    }
    let info = searcher(["info", "--store"]).arg(folder.path("store"));
    harmless(&info.output().expect_code(0));
    let queries = folder.write("queries.tsv", format!("{HOSTILE}\tmug\n"));
    let qrels = folder.write("qrels.tsv", format!("q 0 {HOSTILE} x\n"));
    let eval = searcher(["eval", "--store"]).arg(folder.path("store")).arg("--queries").arg(queries);
    harmless(&eval.arg("--qrels").arg(qrels).output().expect_code(2));
}

#[test]
fn json_is_harmless_and_exact() {
    let folder = hostile_store();
    folder.publish();
    let output = folder.search(&["mug", "--mode", "keyword", "--json"]).expect_code(0);
    harmless(&output);
    let answer = output.json();
    let hit = answer["hits"].as_array().unwrap().iter().find(|hit| hit["id"] != "b").unwrap().clone();
    assert_eq!(hit["id"], format!("a{HOSTILE}\n"));
    assert_eq!(hit["title"], format!("mug {HOSTILE}"));
    // A report that quotes a path.
    let output = folder.run_catalog(HOSTILE).expect_code(2);
    harmless(&output);
    assert!(output.json()["error"].as_str().unwrap().contains("\u{9b}2J\u{202e}evil"), "{output}");
}

#[test]
fn summaries_errors_and_log_lines_of_the_indexer_are_harmless() {
    let folder = hostile_store();
    // A store whose own name is hostile is quoted by everything that is said about it.
    let store = folder.path(&format!("store{}", HOSTILE.replace('\r', "")));
    let run = |arguments: &[&str]| {
        let program = indexer(["run", "--config"]).arg(folder.path("catalens.toml")).arg("--store").arg(&store);
        program.args(arguments).output()
    };
    let summary = run(&[]).expect_code(0);
    harmless(&summary);
    assert!(summary.stdout.contains("rejects") && summary.stdout.contains("\\u{9b}2J"), "{summary}");
    harmless(&run(&["--plan"]).expect_code(0));
    harmless(&run(&[
        "--set",
        &format!("catalog.title='{}'", HOSTILE.replace(['\r', '\u{1b}', '\u{7}', '\u{8}', '\u{7f}'], "")),
    ]));
    harmless(&run(&["--set", &format!("{HOSTILE}=1")]).expect_code(2));
    let snapshots: Vec<_> = fs_err::read_dir(store.join("snapshots")).unwrap().collect();
    let manifest = snapshots[0].as_ref().unwrap().path().join("manifest.json");
    let text = fs_err::read_to_string(&manifest).unwrap();
    fs_err::write(&manifest, text.replace("\"created\": \"", &format!("\"created\": \"{}", "\\u001b[2J\u{9b}2J")))
        .unwrap();
    for command in ["status", "verify"] {
        harmless(&indexer([command, "--store"]).arg(&store).output());
        harmless(&indexer([command, "--json", "--store"]).arg(&store).output());
    }
    fs_err::write(&manifest, text.replace("\"format_version\"", "\"\u{9b}2J\"")).unwrap();
    harmless(&indexer(["status", "--store"]).arg(&store).output());
    harmless(&run(&["--rebuild"]).expect_code(0));
    // A log line that names the damaged file.
    let prune = indexer(["prune", "--keep", "9", "--store"]).arg(&store).output();
    harmless(&prune);
    assert!(prune.stderr.contains("WARN") && prune.stderr.contains("\\u{9b}2J"), "{prune}");
}

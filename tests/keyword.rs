//! Keyword search through the search program: the syntax of texts, matching policies, synonyms and typos.

use serde_json::Value;

use crate::harness::{Folder, Output, fixture_store, ids, searcher};

fn search(arguments: &[&str]) -> Output {
    searcher(["search", "--mode", "keyword", "--store"]).arg(fixture_store()).args(arguments).output()
}

fn json(arguments: &[&str]) -> Value {
    let mut arguments = arguments.to_vec();
    arguments.push("--json");
    search(&arguments).expect_code(0).json()
}

/// Title and description of every hit, in small letters.
fn texts(result: &Value) -> Vec<String> {
    let text =
        |hit: &Value| format!("{} {}", hit["title"].as_str().unwrap_or(""), hit["description"].as_str().unwrap_or(""));
    result["hits"].as_array().unwrap().iter().map(|hit| text(hit).to_lowercase()).collect()
}

#[test]
fn quotes_minus_and_fields_decide_what_may_be_a_hit() {
    let phrase = json(&["\"striped mug\" blue", "-k", "50"]);
    assert!(texts(&phrase).iter().all(|text| text.contains("striped mug")), "{phrase:#}");
    let clause = &phrase["query"]["clauses"][0];
    assert_eq!((&clause["words"], &clause["excluded"]), (&Value::from("striped mug"), &Value::from(false)));

    let without = json(&["mug -striped -blue", "-k", "1000"]);
    assert!(texts(&without).iter().all(|text| !text.contains("striped") && !text.contains("blue")));
    let with = json(&["mug", "-k", "1000"]);
    assert!(without["total"].as_u64() < with["total"].as_u64());

    let brand = json(&["mug brand:Daybird", "-k", "1000"]);
    assert!(brand["hits"].as_array().unwrap().iter().all(|hit| hit["brand"] == "Daybird"));
    let declared = json(&["mug colour:blue language:en", "-k", "1000"]);
    assert!(declared["hits"].as_array().unwrap().iter().all(|hit| hit["colour"] == "blue" && hit["language"] == "en"));
    // Vectors keep to it too.
    let hybrid =
        searcher(["search", "--json", "-k", "50", "--store"]).arg(fixture_store()).arg("mug -striped").output();
    assert!(texts(&hybrid.expect_code(0).json()).iter().all(|text| !text.contains("striped")));
}

#[test]
fn nothing_a_shopper_types_is_an_error() {
    for text in [
        "mug\"",
        "\"",
        "- mug",
        "-mug",
        "mug: ",
        "15.6\" mug",
        "(mug AND) OR",
        "mug*~^2",
        "price:cheap mug",
        "brand:mug\"",
    ] {
        let output =
            searcher(["search", "--mode", "keyword", "--store"]).arg(fixture_store()).arg("--").arg(text).output();
        assert!(matches!(output.code, Some(0 | 1)), "{text}\n{output}");
    }
    let same =
        |left: &str, right: &str| assert_eq!(ids(&json(&["--text", left])), ids(&json(&["--text", right])), "{left}");
    same("-mug", "mug");
    same("price:cheap mug", "price cheap mug");
}

#[test]
fn typos_and_synonyms_find_what_the_word_finds() {
    let found = json(&["strpied mugg", "-k", "5", "--explain"]);
    assert!(texts(&found).iter().all(|text| text.contains("mug")), "{found:#}");
    let origins = found["hits"][0]["explain"]["keyword"]["terms"][0]["fields"][0]["origin"].clone();
    assert_eq!(origins, "fuzzy");
    assert!(search(&["strpied mugg", "--explain"]).expect_code(0).stdout.contains("as the similar `mug`"));

    let folder = Folder::new();
    let rules = folder.write("synonyms.txt", "# ours\ngreatcup, mug\n");
    let rules = rules.display().to_string();
    search(&["greatcup"]).expect_code(1);
    let found = json(&["greatcup", "--synonyms", &rules, "-k", "5"]);
    assert_eq!(ids(&found), ids(&json(&["mug", "-k", "5"])));
    let broken = folder.write("broken.txt", "mug, cup\nalone\n").display().to_string();
    search(&["mug", "--synonyms", &broken]).expect_code(2).expect_stderr(&["broken.txt", "line 2", "no synonym"]);
    search(&["mug", "--synonyms", "none.txt"]).expect_code(2).expect_stderr(&["none.txt"]);
}

#[test]
fn matching_and_settings_decide_how_much_an_item_must_have() {
    let total = |matching: &str| json(&["red striped shirt", "--matching", matching])["total"].as_u64().unwrap();
    let (all, most, any) = (total("all"), total("75%"), total("any"));
    assert!(all < most && most < any, "{all} {most} {any}");
    search(&["mug", "--matching", "most"]).expect_code(2).expect_stderr(&["most", "99%"]);

    let folder = Folder::new();
    let settings = folder.write("ranking.toml", "[keyword]\nmatching = 'all'\nproximity = 1.0\n").display().to_string();
    let strict = json(&["red striped shirt", "--settings", &settings, "--explain"]);
    assert_eq!(strict["total"].as_u64(), Some(all));
    assert!(strict["hits"].as_array().unwrap().iter().any(|hit| hit["explain"]["keyword"]["proximity"].is_array()));
    let flag_first = json(&["red striped shirt", "--settings", &settings, "--matching", "any"]);
    assert_eq!(flag_first["total"].as_u64(), Some(any));
    let unknown = folder.write("unknown.toml", "[keyword.fields.subtitle]\nweight = 2\n").display().to_string();
    search(&["mug", "--settings", &unknown]).expect_code(2).expect_stderr(&["subtitle", "title"]);
}

//! Metrics for Prometheus: the file is in the text format, strictly, and says what the report says.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::harness::{Folder, Output, fixture_encoders, indexer};

/// Samples of a text by metric and label set, such as `catalens_gate_value{gate="min_items"}`; an error for anything that
/// the text format (version 0.0.4) or the conventions for gauges forbid.
fn parse(text: &str) -> Result<BTreeMap<String, f64>, String> {
    let body = text.strip_suffix('\n').ok_or("the last line does not end")?;
    let (mut samples, mut finished) = (BTreeMap::new(), BTreeSet::new());
    // The metric whose lines are being read: its name, and whether HELP, TYPE and a sample were seen.
    let mut current: Option<(String, bool, bool)> = None;
    for line in body.split('\n') {
        let fail = |what: &str| Err(format!("{what}: `{line}`"));
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let Some((name, help)) = rest.split_once(' ') else { return fail("no help") };
            check_name(name).map_err(|what| format!("{what}: `{line}`"))?;
            unescape(help, false).map_err(|what| format!("{what}: `{line}`"))?;
            if let Some((before, typed, sampled)) = current.take() {
                if !typed || !sampled {
                    return fail("the metric before has no type or no sample");
                }
                finished.insert(before);
            }
            if help.trim().is_empty() || finished.contains(name) {
                return fail("empty help, or a metric in two places");
            }
            current = Some((name.to_owned(), false, false));
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            match (&mut current, rest.split_once(' ')) {
                (Some((name, typed @ false, false)), Some((named, "gauge"))) if name.as_str() == named => *typed = true,
                _ => return fail("TYPE of another metric, twice, after samples, or no gauge"),
            }
        } else {
            let (name, labels, value) = sample(line).map_err(|what| format!("{what}: `{line}`"))?;
            match &mut current {
                Some((metric, true, sampled)) if *metric == name => *sampled = true,
                _ => return fail("a sample without TYPE, or among another metric's"),
            }
            let labels: Vec<String> = labels.iter().map(|(label, text)| format!("{label}={text:?}")).collect();
            let series = if labels.is_empty() { name } else { format!("{name}{{{}}}", labels.join(",")) };
            if samples.insert(series, value).is_some() {
                return fail("a series twice");
            }
        }
    }
    match current {
        Some((_, true, true)) => Ok(samples),
        _ => Err("the last metric has no sample".to_owned()),
    }
}

/// A metric's name: the alphabet, our prefix, base units, and no suffix of a counter or a histogram.
fn check_name(name: &str) -> Result<(), String> {
    let alphabet = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let forbidden = ["_total", "_count", "_sum", "_bucket", "_milliseconds", "_ms", "_minutes", "_hours", "_kb", "_mb"];
    let wrong_suffix = forbidden.iter().any(|suffix| name.ends_with(suffix));
    if !alphabet || !name.starts_with("catalens_") || wrong_suffix {
        return Err(format!("`{name}` is no good name"));
    }
    if (name.contains("time") || name.contains("duration")) && !name.ends_with("_seconds") {
        return Err(format!("`{name}` has no base unit"));
    }
    Ok(())
}

/// `name{label="text",…} value`: name, labels and value.
fn sample(line: &str) -> Result<(String, BTreeMap<String, String>, f64), String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, text) = rest.split_once("=\"").ok_or("a label without text")?;
            let valid = label.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && !label.is_empty();
            if !valid || label.starts_with("__") || ["le", "quantile"].contains(&label) {
                return Err(format!("`{label}` is no good label"));
            }
            let mut escaped = false;
            let quote = text.find(|one: char| {
                let ends = one == '"' && !escaped;
                escaped = one == '\\' && !escaped;
                ends
            });
            let (text, after) = text.split_at(quote.ok_or("an open quote")?);
            if labels.insert(label.to_owned(), unescape(text, true)?).is_some() {
                return Err("a label twice".to_owned());
            }
            match after.get(1..2) {
                Some(",") => rest = &after[2..],
                Some("}") => {
                    rest = &after[2..];
                    break;
                }
                _ => return Err("neither `,` nor `}` after a label".to_owned()),
            }
        }
    }
    let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
    let number = match value {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        "NaN" => f64::NAN,
        // No timestamp, no space, none of Rust's other spellings.
        _ if value.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) => {
            value.parse().map_err(|_| "no number".to_owned())?
        }
        _ => return Err("no number".to_owned()),
    };
    Ok((name.to_owned(), labels, number))
}

fn unescape(text: &str, quotes: bool) -> Result<String, String> {
    let mut plain = String::new();
    let mut rest = text.chars();
    while let Some(one) = rest.next() {
        match (one, one == '\\') {
            ('"', _) if quotes => return Err("a bare quote".to_owned()),
            (_, false) => plain.push(one),
            (_, true) => match rest.next() {
                Some('\\') => plain.push('\\'),
                Some('n') => plain.push('\n'),
                Some('"') if quotes => plain.push('"'),
                other => return Err(format!("`\\` before {other:?}")),
            },
        }
    }
    Ok(plain)
}

#[test]
fn the_checker_accepts_the_format_and_nothing_else() {
    let good = "# HELP catalens_a What \\\\ it\\nis.\n# TYPE catalens_a gauge\ncatalens_a{x=\"a\\\"b\\\\\\n\",y=\"\"} 1.5e-3\ncatalens_a 2\n";
    let samples = parse(good).unwrap();
    assert_eq!(samples["catalens_a"], 2.0);
    assert_eq!(samples.len(), 2);
    for (from, to) in [
        ("} 1.5e-3\ncatalens_a 2\n", "} 1.5e-3\ncatalens_a 2"),
        ("# HELP catalens_a What \\\\ it\\nis.\n", ""),
        ("# TYPE catalens_a gauge\n", ""),
        ("# TYPE catalens_a gauge", "# TYPE catalens_b gauge"),
        ("# TYPE catalens_a gauge", "# TYPE catalens_a counter"),
        ("catalens_a 2", "catalens_a 2 1795144560"),
        ("catalens_a 2", "catalens_a two"),
        ("catalens_a 2", "catalens_a inf"),
        ("catalens_a 2", "catalens_a  2"),
        ("catalens_a 2", "catalens_b 2"),
        ("catalens_a 2", "catalens_a 2\n\n"),
        ("catalens_a 2", "catalens_a 2\ncatalens_a 3"),
        ("y=\"\"", "y="),
        ("y=\"\"", "x=\"\""),
        ("y=\"\"", "le=\"\""),
        ("y=\"\"}", "y=\"\" }"),
        ("a\\\"b", "a\\tb"),
        ("What \\\\ it", "What \\ it"),
    ] {
        assert!(good.contains(from), "{from}");
        let bad = good.replace(from, to);
        assert!(parse(&bad).is_err(), "accepted:\n{bad}");
    }
    let renamed = |name: &str| parse(&good.replace("catalens_a", name));
    for name in ["a", "catalens_A", "catalens_runs_total", "catalens_time", "catalens_duration_ms"] {
        assert!(renamed(name).is_err(), "accepted `{name}`");
    }
    assert!(renamed("catalens_duration_seconds").is_ok());
    assert!(parse("").is_err());
}

fn run(folder: &Folder, more: &[&str]) -> Output {
    indexer(["run", "--json", "--config"]).arg(folder.path("catalens.toml")).args(more).output()
}

fn metrics(folder: &Folder, name: &str) -> BTreeMap<String, f64> {
    let text = fs_err::read_to_string(folder.path(name)).unwrap();
    parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn outcome(metrics: &BTreeMap<String, f64>) -> String {
    let set: Vec<&str> = metrics
        .iter()
        .filter(|(series, value)| series.starts_with("catalens_last_run_outcome{") && **value == 1.0)
        .map(|(series, _)| series.split('"').nth(1).unwrap())
        .collect();
    assert_eq!(set.len(), 1, "{set:?}");
    set[0].to_owned()
}

#[test]
fn a_night_writes_what_its_report_says() {
    let folder = Folder::new();
    let row = |id: u32| json!({"id": format!("i{id}"), "title": format!("tin whistle {id}")}).to_string() + "\n";
    folder.write("items.jsonl", (0..19).map(row).collect::<String>() + "{\"title\":\"no id\"}\n");
    folder.config("items.jsonl", &(fixture_encoders() + "[metrics]\npath = 'night/catalens.prom'\n"));
    fs_err::create_dir(folder.path("night")).unwrap();
    let report = run(&folder, &[]).expect_code(0).json();
    let found = metrics(&folder, "night/catalens.prom");
    let number = |value: &Value| value.as_f64().unwrap();
    assert_eq!(outcome(&found), "published");
    assert_eq!(found["catalens_last_run_rows"], 20.0);
    assert_eq!(found["catalens_last_run_items"], 19.0);
    assert_eq!(found["catalens_last_run_rejected_rows"], 1.0);
    assert_eq!(found["catalens_last_run_left_out{reason=\"missing_id\"}"], 1.0);
    assert_eq!(found["catalens_last_run_duration_seconds"], number(&report["seconds"]["total"]));
    for stage in ["open", "read", "encode", "build", "verify", "publish"] {
        let series = format!("catalens_last_run_stage_duration_seconds{{stage=\"{stage}\"}}");
        assert_eq!(found[&series], number(&report["seconds"][stage]), "{stage}");
    }
    for modality in ["title", "description", "image"] {
        for what in ["encoded", "kept", "absent"] {
            let series = format!("catalens_last_run_embeddings_{what}{{modality=\"{modality}\"}}");
            assert_eq!(found[&series], number(&report[what][modality]), "{what} {modality}");
        }
    }
    for (gate, result) in report["gates"].as_object().unwrap() {
        let value = |what: &str| found[&format!("catalens_gate_{what}{{gate=\"{gate}\"}}")];
        assert_eq!((value("value"), value("bound")), (number(&result["value"]), number(&result["bound"])));
        assert_eq!((value("passed"), value("overruled")), (1.0, 0.0));
    }
    assert_eq!(found["catalens_snapshot_items"], 19.0);
    let snapshot = report["snapshot"].as_str().unwrap();
    assert_eq!(found[&format!("catalens_snapshot_info{{snapshot=\"{snapshot}\"}}")], 1.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    for name in ["last_run", "last_success", "snapshot", "snapshot_as_of"] {
        let time = found[&format!("catalens_{name}_timestamp_seconds")];
        assert!((now - 3600.0..=now + 60.0).contains(&time), "{name}: {time}, now {now}");
    }
    let names = schemas::durable::list_files(&folder.path("night")).unwrap();
    assert_eq!(names, ["catalens.prom"], "no temporary file is left");
}

#[test]
fn refused_forced_failed_and_unchanged_nights_write_metrics_too() {
    let folder = Folder::new();
    let rows = |items: u32| -> String {
        (0..items).map(|id| json!({"id": format!("i{id}"), "title": format!("drum {id}")}).to_string() + "\n").collect()
    };
    folder.config("items.jsonl", "");
    let path = folder.path("catalens.prom").display().to_string();
    let with_metrics = |more: &[&str], code: i32| {
        let output = run(&folder, &[&["--metrics", path.as_str()][..], more].concat()).expect_code(code);
        (metrics(&folder, "catalens.prom"), output.json())
    };
    // Before anything was published.
    let (failed, _) = with_metrics(&[], 2);
    assert_eq!(outcome(&failed), "failed");
    assert_eq!(failed["catalens_last_run_failed_stage{stage=\"open\"}"], 1.0);
    assert!(!failed.keys().any(|series| series.contains("snapshot") || series.contains("success")), "{failed:?}");

    folder.write("items.jsonl", rows(10));
    let (published, _) = with_metrics(&[], 0);
    let success = published["catalens_last_success_timestamp_seconds"];
    assert!(!published.contains_key("catalens_last_run_failed_stage{stage=\"open\"}"));

    folder.write("items.jsonl", rows(2));
    let (refused, _) = with_metrics(&[], 1);
    assert_eq!(outcome(&refused), "refused");
    assert_eq!(refused["catalens_gate_passed{gate=\"max_item_drop\"}"], 0.0);
    assert_eq!(refused["catalens_gate_value{gate=\"max_item_drop\"}"], 0.8);
    assert_eq!((refused["catalens_last_run_items"], refused["catalens_snapshot_items"]), (2.0, 10.0));
    assert_eq!(refused["catalens_last_success_timestamp_seconds"], success, "a refused night is none");

    fs_err::rename(folder.path("items.jsonl"), folder.path("away")).unwrap();
    let (failed, _) = with_metrics(&[], 2);
    assert_eq!((outcome(&failed).as_str(), failed["catalens_snapshot_items"]), ("failed", 10.0));
    assert_eq!(failed["catalens_last_success_timestamp_seconds"], success);
    assert!(!failed.contains_key("catalens_last_run_items"), "what was not counted is not 0");
    fs_err::rename(folder.path("away"), folder.path("items.jsonl")).unwrap();

    let (forced, report) = with_metrics(&["--force", "a test"], 0);
    assert_eq!(report["overruled"]["gates"], json!(["max_item_drop"]));
    assert_eq!(forced["catalens_gate_overruled{gate=\"max_item_drop\"}"], 1.0);
    assert_eq!(forced["catalens_gate_overruled{gate=\"min_items\"}"], 0.0);
    assert_eq!((forced["catalens_snapshot_overruled_gates"], forced["catalens_snapshot_items"]), (1.0, 2.0));

    let (unchanged, _) = with_metrics(&[], 0);
    assert_eq!(outcome(&unchanged), "unchanged");
    assert_eq!(unchanged["catalens_snapshot_overruled_gates"], 1.0, "it still serves");
    assert_eq!(unchanged["catalens_gate_overruled{gate=\"max_item_drop\"}"], 0.0, "not by this run");
    assert!(unchanged["catalens_last_success_timestamp_seconds"] >= success);

    // A broken configuration, and a file that cannot be written.
    folder.config("items.jsonl", "[gates]\nnone = 1\n");
    let (broken, _) = with_metrics(&[], 2);
    assert_eq!(broken["catalens_last_run_failed_stage{stage=\"configuration\"}"], 1.0);
    folder.config("items.jsonl", "");
    let nowhere = folder.path("no/such/folder.prom").display().to_string();
    let told = run(&folder, &["--metrics", &nowhere]).expect_code(0);
    told.expect_stderr(&["the metrics cannot be written", "folder.prom"]);
}

//! Every point of a night, with every fault. Owns which cases are tried and what must hold after each.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use schemas::Store;

use crate::harness::Output;
use crate::layer::{self, Call, Fault};
use crate::night::Night;

/// Points beyond those of the longest undisturbed night: threads take turns differently each time.
const SLACK: usize = 4;
/// Cases at a time.
const WORKERS: usize = 4;

/// How a disturbed night ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// The night had fewer calls.
    NotReached,
    /// Killed; the old snapshot serves.
    KilledBefore,
    /// Killed; the new snapshot serves.
    KilledAfter,
    /// Error, and the old snapshot serves.
    Failed,
    /// Error that says that the new snapshot serves.
    FailedAfterPublishing,
    /// The night was published all the same.
    Published,
}

#[test]
fn at_every_point_of_a_night_the_store_serves_a_whole_snapshot_and_the_next_run_clears_up() {
    let Some(library) = layer::library() else { return };
    let night = Night::new();
    let before = night.base_files();
    let undisturbed: Vec<Vec<Call>> = (0..2).map(|number| record(&night, library, number)).collect();
    let calls = undisturbed.iter().max_by_key(|calls| calls.len()).unwrap();

    let mut cases = Vec::new();
    for at in 1..=calls.len() + SLACK {
        for fault in Fault::ALL {
            // A full disk is first noticed by a call that needs room.
            if fault != Fault::FullDisk || calls.get(at - 1).is_none_or(Call::needs_room) {
                cases.push((at, fault));
            }
        }
    }
    let (next, resumed, failures) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let all: u64 = night.missing_embeddings(&night.folder.path("base")).values().sum();
    let ends: Mutex<BTreeMap<(Fault, End), usize>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((at, fault)) = cases.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
                    match case(&night, library, at, fault) {
                        Ok((end, encoded)) => {
                            *ends.lock().unwrap().entry((fault, end)).or_default() += 1;
                            resumed.fetch_add(usize::from(encoded > 0 && encoded < all), Ordering::Relaxed);
                        }
                        Err(failure) => failures.lock().unwrap().push(failure),
                    }
                }
            });
        }
    });
    let (failures, ends) = (failures.into_inner().unwrap(), ends.into_inner().unwrap());
    eprintln!("{} calls in a night, {} cases: {ends:?}", calls.len(), cases.len());
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n\n"));
    assert!(night.base_files() == before, "files of the published snapshot or of finished parts were written to");
    for fault in Fault::ALL {
        let reached: usize = ends
            .iter()
            .filter(|((one, end), _)| *one == fault && *end != End::NotReached)
            .map(|(_, count)| count)
            .sum();
        assert!(reached > 50, "{fault:?}: {ends:?}");
    }
    assert!(resumed.into_inner() >= 10, "next runs that had a part of the embeddings left to encode");
    let end = |fault, end| ends.get(&(fault, end)).copied().unwrap_or(0);
    assert!(end(Fault::Kill, End::KilledBefore) > 0 && end(Fault::Kill, End::KilledAfter) > 0, "{ends:?}");
    assert_eq!(
        end(Fault::Kill, End::NotReached) + end(Fault::Kill, End::KilledBefore) + end(Fault::Kill, End::KilledAfter),
        calls.len() + SLACK
    );
    assert!(end(Fault::Kill, End::NotReached) > 0, "the walk went to the end of the night: {ends:?}");
    assert!(end(Fault::InputOutput, End::FailedAfterPublishing) > 0, "{ends:?}");
}

/// The calls of a night without a fault.
fn record(night: &Night, library: &Path, number: usize) -> Vec<Call> {
    let store = night.store(&format!("record-{number}"));
    let log = night.folder.path(&format!("record-{number}.log"));
    layer::under(library, night.program(&store), &store, &log, None).output().expect_code(0);
    let calls = layer::read_log(&log, &store);
    assert!(!calls.iter().any(Call::is_hit));
    calls
}

/// One night with one fault, and the run after it; says how many embeddings that one encoded.
fn case(night: &Night, library: &Path, at: usize, fault: Fault) -> Result<(End, u64), String> {
    let name = format!("{at}-{fault:?}");
    let store = night.store(&name);
    let log = night.folder.path(&format!("stores/{name}.log"));
    let output = layer::under(library, night.program(&store), &store, &log, Some((at, fault))).output();
    let calls = layer::read_log(&log, &store);
    let hit = calls.iter().find(|call| call.is_hit());
    let told = |failure: String| format!("{fault:?} at call {at}, {hit:?}: {failure}");
    let end = how_it_ended(night, &store, &output, fault, hit).map_err(told)?;
    let report =
        night.check_next_run(&store).map_err(|failure| told(format!("{failure}\nthe disturbed run: {output}")))?;
    fs_err::remove_dir_all(store).unwrap();
    let encoded = report["encoded"].as_object().unwrap().values().filter_map(serde_json::Value::as_u64).sum();
    Ok((end, encoded))
}

/// The exit code and the message must be true.
fn how_it_ended(night: &Night, store: &Path, output: &Output, fault: Fault, hit: Option<&Call>) -> Result<End, String> {
    let served = night.check_served(store).map_err(|failure| format!("{failure}\n{output}"))?;
    let is_new = served != night.old;
    let wrong = |what: &str| Err(format!("{what}; {served} is served\n{output}"));
    match (output.code, hit) {
        (None, Some(_)) if fault == Fault::Kill => Ok(if is_new { End::KilledAfter } else { End::KilledBefore }),
        (Some(0), _) if fault != Fault::Kill || hit.is_none() => {
            let report = output.json();
            if report["outcome"] != "published" || report["snapshot"] != served.as_str() || !is_new {
                return wrong("exit code 0 without a published snapshot");
            }
            let recorded = Store::open(store).unwrap().reports_folder();
            if !fs_err::read_dir(recorded).unwrap().any(|entry| {
                fs_err::read_to_string(entry.unwrap().path()).is_ok_and(|text| text.contains(served.as_str()))
            }) {
                return wrong("exit code 0 without a report");
            }
            Ok(if hit.is_none() { End::NotReached } else { End::Published })
        }
        (Some(2), Some(_)) => {
            let says_new = output.stderr.contains(served.as_str()) && output.stderr.contains("is published and serves");
            let names_cause = fault.is_cause_of(&output.stderr) && output.stderr.contains(&*store.to_string_lossy());
            if is_new != says_new {
                return wrong("the message is wrong about what serves");
            }
            if !names_cause {
                return wrong("the message does not name cause and file");
            }
            Ok(if is_new { End::FailedAfterPublishing } else { End::Failed })
        }
        (code, _) => wrong(&format!("unexpected exit code {code:?}")),
    }
}

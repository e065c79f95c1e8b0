//! Every point of `rollback` and `prune`, and of clearing up after a night that was killed, with every fault. Owns what
//! must hold after each.

use std::path::{Path, PathBuf};

use schemas::{SnapshotId, Store};

use crate::harness::{Output, indexer};
use crate::layer::{self, Call, Fault};
use crate::night::Night;

/// A store with two snapshots, and the newer one's id.
struct Two {
    night: Night,
    newer: SnapshotId,
}

impl Two {
    fn new() -> Two {
        let night = Night::new();
        // `store` links what is in `base`, so the second snapshot goes there.
        let base = night.folder.path("base");
        night.program(&base).output().expect_code(0);
        let newer = night.check_served(&base).unwrap();
        assert!(newer != night.old);
        Two { night, newer }
    }
}

/// Walks through a command on copies of a store; gives the number of cases. `after` is told the copy and whether it serves
/// the old snapshot.
fn walk(
    night: &Night,
    from: &Path,
    command: &[&str],
    after: impl Fn(&Path, &Output, Fault, bool) -> Result<(), String>,
) -> usize {
    let Some(library) = layer::library() else { return 0 };
    let mut cases = 0;
    for fault in Fault::ALL {
        for at in 1.. {
            let name = format!("{}-{fault:?}-{at}", command[0]);
            let (store, log) = (night.store_like(from, &name), night.folder.path(&format!("{name}.log")));
            let program = indexer([command[0], "--json", "--store"]).arg(&store).args(&command[1..]);
            let output = layer::under(library, program, &store, &log, Some((at, fault))).output();
            let calls = layer::read_log(&log, &store);
            let hit = calls.iter().find(|call| call.is_hit());
            let told = |failure: String| format!("{command:?}, {fault:?} at call {at}, {hit:?}: {failure}\n{output}");
            let served = night.check_served(&store).map_err(told).unwrap();
            assert_eq!(output.code.is_none(), fault == Fault::Kill && hit.is_some(), "{}", told(String::new()));
            assert!(output.code.is_none_or(|code| code == 0 || code == 2), "{}", told(String::new()));
            if output.code == Some(2) {
                assert!(fault.is_cause_of(&output.stderr), "{}", told(String::new()));
            }
            after(&store, &output, fault, served == night.old).map_err(told).unwrap();
            fs_err::remove_dir_all(&store).unwrap();
            cases += usize::from(hit.is_some());
            // A full disk is not noticed by calls that need no room: only the end of the calls is the end.
            if at > calls.len() || (fault == Fault::FullDisk && !calls[at - 1..].iter().any(Call::needs_room)) {
                break;
            }
        }
    }
    cases
}

fn hidden(store: &Path) -> Vec<String> {
    let files = schemas::durable::list_files(store).unwrap();
    files.into_iter().filter(|name| name.contains("/.") && !name.ends_with("keyword/.managed.json")).collect()
}

#[test]
fn a_rollback_that_is_disturbed_serves_one_of_the_two_and_can_be_done_again() {
    let two = Two::new();
    let base = two.night.folder.path("base");
    let cases = walk(&two.night, &base, &["rollback"], |store, output, _, is_old| {
        if output.code == Some(0) && !is_old {
            return Err("exit code 0 without a rollback".to_owned());
        }
        let again = indexer(["rollback", "--to", two.night.old.as_str(), "--store"]).arg(store).output().expect_code(0);
        let served = two.night.check_served(store)?;
        let snapshots = Store::open(store).unwrap().snapshots().unwrap();
        if served != two.night.old
            || snapshots != [two.night.old.clone(), two.newer.clone()]
            || !hidden(store).is_empty()
        {
            return Err(format!("{served} of {snapshots:?}, {:?} after {again}", hidden(store)));
        }
        Ok(())
    });
    eprintln!("rollback: {cases} cases");
    assert!(cases == 0 || cases >= 12, "{cases}");
}

#[test]
fn a_prune_that_is_disturbed_keeps_the_current_snapshot_and_can_be_done_again() {
    let two = Two::new();
    let base = two.night.folder.path("base");
    let cases = walk(&two.night, &base, &["prune", "--keep", "1"], |store, output, fault, is_old| {
        if fault == Fault::FullDisk && output.code != Some(0) {
            return Err("a full disk keeps it from making room".to_owned());
        }
        let left = Store::open(store).unwrap().snapshots().unwrap();
        if is_old || (output.code == Some(0) && left.len() != 1) {
            return Err(format!("{left:?} are left"));
        }
        // What is called a snapshot is one: a removal that was cut short left none with half of its files.
        for snapshot in &left {
            indexer::upkeep::verify(&Store::open(store).unwrap(), snapshot).map_err(|error| error.to_string())?;
        }
        indexer(["prune", "--keep", "1", "--store"]).arg(store).output().expect_code(0);
        let left = Store::open(store).unwrap().snapshots().unwrap();
        if left != std::slice::from_ref(&two.newer) || !hidden(store).is_empty() {
            return Err(format!("{left:?}, {:?} after the second time", hidden(store)));
        }
        two.night.check_served(store).map(drop)
    });
    eprintln!("prune: {cases} cases");
    assert!(cases == 0 || cases >= 12, "{cases}");
}

#[test]
fn clearing_up_after_a_killed_night_may_be_killed_too() {
    let Some(library) = layer::library() else { return };
    let night = Night::new();
    let killed = killed_before_publishing(&night, library);
    let snapshots = || Store::open(&killed).unwrap().snapshots().unwrap().len();
    assert!(snapshots() == 2 && killed.join("publishing").exists(), "one of them was never current");
    // With nothing to prune it only takes the lock and clears up.
    let cases = walk(&night, &killed, &["prune", "--keep", "9"], |store, output, _, is_old| {
        if !is_old || (output.code == Some(0) && Store::open(store).unwrap().snapshots().unwrap().len() != 1) {
            return Err("the snapshot that was never current is there".to_owned());
        }
        night.check_next_run(store).map(drop)
    });
    eprintln!("clearing up: {cases} cases");
    assert!(cases >= 40, "{cases}");
}

/// A store whose night was killed when the snapshot had its place and `CURRENT` was about to move.
fn killed_before_publishing(night: &Night, library: &Path) -> PathBuf {
    let log = night.folder.path("killed.log");
    let mut at = None;
    // The calls before it are not always as many: threads take turns differently.
    for number in 0..20 {
        let store = night.store(&format!("killed-{number}"));
        let fault = at.map(|at| (at, Fault::Kill));
        layer::under(library, night.program(&store), &store, &log, fault).output();
        let calls = layer::read_log(&log, &store);
        let moves = calls.iter().position(|call| call.target == Path::new("CURRENT")).map(|index| index + 1);
        match moves {
            Some(moves) if at == Some(moves) => return store,
            Some(moves) => at = Some(moves),
            // Killed before it.
            None => at = at.map(|at| at + 1),
        }
    }
    panic!("no run was killed there")
}

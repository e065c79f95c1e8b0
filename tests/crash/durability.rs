//! The order in which a night makes its files durable, from the record of its calls. Owns that every sync in it is needed;
//! the rules are `order.rs`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use schemas::durable::list_files;

use crate::layer::{self, Call};
use crate::night::Night;
use crate::order::{breaches, parent};

#[test]
fn a_night_makes_everything_durable_before_it_is_visible() {
    let Some(library) = layer::library() else { return };
    let night = Night::new();
    let (first, changed) = (night.folder.path("first"), night.store("changed"));
    fs_err::create_dir(&first).unwrap();
    for (name, store) in [("first", &first), ("changed", &changed)] {
        let log = night.folder.path(&format!("{name}.log"));
        let before: BTreeSet<PathBuf> = files(store);
        layer::under(library, night.program(store), store, &log, None).output().expect_code(0);
        let calls = layer::read_log(&log, store);
        assert_eq!(replayed(before, &calls), files(store), "nothing is written behind the layer's back");
        assert_eq!(breaches(&calls), Vec::<String>::new(), "{name}");

        // Each sync on which something visible depends is missed when it is left out.
        let Syncs { groups, last } = syncs(&calls);
        let mut needed = 0;
        for (object, group) in &groups {
            let without: Vec<Call> =
                (0..calls.len()).filter(|index| !group.contains(index)).map(|index| calls[index].clone()).collect();
            if !breaches(&without).is_empty() {
                needed += 1;
            } else if let Some(path) = last.get(object) {
                panic!("{name}: nobody misses the sync of {path:?}");
            }
        }
        eprintln!("{name} night: {} calls, {} syncs of changes, {needed} of them needed", calls.len(), groups.len());
        let in_snapshot = last.values().filter(|path| path.starts_with("snapshots/")).count();
        // Manifest, items, vector and keyword files, and three folders.
        assert!(in_snapshot >= 16, "{last:?}");
    }
}

fn files(store: &Path) -> BTreeSet<PathBuf> {
    list_files(store).unwrap().into_iter().map(PathBuf::from).collect()
}

/// The files that the calls leave.
fn replayed(mut files: BTreeSet<PathBuf>, calls: &[Call]) -> BTreeSet<PathBuf> {
    for call in calls.iter().filter(|call| call.result == "ok") {
        match call.name.as_str() {
            "create" => drop(files.insert(call.path.clone())),
            "unlink" => drop(files.remove(&call.path)),
            "rename" => {
                let moved = |path: PathBuf| match path.strip_prefix(&call.path) {
                    Ok(rest) if rest == Path::new("") => call.target.clone(),
                    Ok(rest) => call.target.join(rest),
                    Err(_) => path,
                };
                files = files.into_iter().map(moved).collect();
            }
            _ => {}
        }
    }
    files
}

/// A file or folder in one state, by number: the second counts its changes.
type Object = (usize, usize);

struct Syncs {
    /// Calls that sync the same state: leaving out one of two would change nothing.
    groups: BTreeMap<Object, BTreeSet<usize>>,
    /// The last states of what is there at the end under a final name, with that name.
    last: BTreeMap<Object, PathBuf>,
}

/// Follows files and folders through their changes and renames.
fn syncs(calls: &[Call]) -> Syncs {
    let mut objects: BTreeMap<PathBuf, Object> = BTreeMap::new();
    let mut groups: BTreeMap<Object, BTreeSet<usize>> = BTreeMap::new();
    let mut count = 0;
    let mut change = |objects: &mut BTreeMap<PathBuf, Object>, path: &Path| {
        count += 1;
        objects.entry(path.to_owned()).or_insert((count, 0)).1 += 1;
    };
    for (index, call) in calls.iter().enumerate().filter(|(_, call)| call.result == "ok") {
        match call.name.as_str() {
            "create" | "mkdir" => {
                change(&mut objects, &call.path);
                change(&mut objects, parent(&call.path));
            }
            "write" | "truncate" => change(&mut objects, &call.path),
            "unlink" | "rmdir" => {
                objects.retain(|path, _| !path.starts_with(&call.path));
                change(&mut objects, parent(&call.path));
            }
            "rename" => {
                objects.retain(|path, _| !path.starts_with(&call.target));
                objects = std::mem::take(&mut objects)
                    .into_iter()
                    .map(|(path, object)| match path.strip_prefix(&call.path) {
                        Ok(rest) if rest == Path::new("") => (call.target.clone(), object),
                        Ok(rest) => (call.target.join(rest), object),
                        Err(_) => (path, object),
                    })
                    .collect();
                change(&mut objects, parent(&call.path));
                change(&mut objects, parent(&call.target));
            }
            // A state that nothing changed needs no sync, and one that is synced needs no second.
            "sync" => {
                if let Some(object) = objects.get(&call.path) {
                    groups.entry(*object).or_default().insert(index);
                }
            }
            _ => {}
        }
    }
    let last = objects.into_iter().filter(|(_, object)| groups.contains_key(object));
    let last = last.map(|(path, object)| (object, path)).collect();
    Syncs { groups, last }
}

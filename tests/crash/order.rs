//! A power cut, by the book: from the record of a night's calls, was everything on disk before something made it visible?
//! Owns the rules; not the record. Invariant: only a sync makes anything durable: a file's bytes when the file is synced,
//! a name (created, renamed or removed) when its folder is.
//!
//! The rules, as in the format book ("Order of durability"):
//!
//! 1. What gets its final name is whole on disk: a file's bytes, a folder with all files and names in it.
//! 2. A name that a file got is on disk before the next file is begun in that folder.
//! 3. A snapshot gets its place after its announcement is on disk.
//! 4. `CURRENT` moves after all of `snapshots/` and `encoders/` is on disk, and those two folders' own names.
//! 5. An earlier run's part is removed, and the announcement ended, after `CURRENT` is on disk; and a part after the
//!    parts that stay.
//! 6. At the end nothing under a final name waits for a sync.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::layer::Call;

/// What has not reached the disk.
#[derive(Default)]
struct Pending {
    /// Files with bytes since their last sync.
    bytes: BTreeSet<PathBuf>,
    /// Names by folder: whether each was added, or removed.
    names: BTreeMap<PathBuf, BTreeMap<String, bool>>,
}

/// What of a night's calls breaks a rule, in words.
pub(crate) fn breaches(calls: &[Call]) -> Vec<String> {
    let mut pending = Pending::default();
    let mut breaches = Vec::new();
    for (index, call) in calls.iter().enumerate().filter(|(_, call)| call.result == "ok") {
        let mut breach =
            |what: String| breaches.push(format!("call {}, {} {:?}: {what}", index + 1, call.name, call.path));
        match call.name.as_str() {
            "create" => {
                if is_temporary(&call.path) && !is_temporary(parent(&call.path)) && !is_staged(&call.path) {
                    let waiting = pending.added(parent(&call.path));
                    waiting.iter().for_each(|name| breach(format!("`{name}` waits for a sync of its folder")));
                }
                pending.bytes.insert(call.path.clone());
                pending.note(&call.path, true);
            }
            "write" | "truncate" => drop(pending.bytes.insert(call.path.clone())),
            "mkdir" => pending.note(&call.path, true),
            "sync" => pending.sync(&call.path),
            "unlink" | "rmdir" => {
                for what in before_removal(&pending, &call.path) {
                    breach(what);
                }
                pending.forget(&call.path);
                pending.note(&call.path, false);
            }
            "rename" => {
                if !is_staged(&call.target) && !is_temporary(&call.target) {
                    pending.below(&call.path).into_iter().for_each(&mut breach);
                }
                if call.target.starts_with("snapshots") && pending.is_named("", "publishing") != Some(true) {
                    // The announcement is made in every night that publishes, so it was added, and synced since.
                    let announced = calls[..index].iter().any(|earlier| earlier.target == Path::new("publishing"));
                    if !announced {
                        breach("no announcement".to_owned());
                    }
                } else if call.target.starts_with("snapshots") {
                    breach("its announcement waits for a sync".to_owned());
                }
                if call.target == Path::new("CURRENT") {
                    for folder in ["snapshots", "encoders"] {
                        pending.below(Path::new(folder)).into_iter().for_each(&mut breach);
                        if pending.is_named("", folder) == Some(true) {
                            breach(format!("the name of `{folder}` waits for a sync"));
                        }
                    }
                }
                pending.rename(&call.path, &call.target);
            }
            "open" | "chmod" => {}
            other => panic!("the rules do not say what `{other}` does"),
        }
    }
    for (folder, names) in &pending.names {
        for (name, _) in names.iter().filter(|(_, added)| **added) {
            let path = folder.join(name);
            // Locks mean nothing without their holder.
            if !is_staged(&path) && !is_temporary(&path) && !path.starts_with("lock") && !path.starts_with("locks") {
                breaches.push(format!("at the end {path:?} waits for a sync of its folder"));
            }
        }
    }
    let bytes =
        pending.bytes.iter().filter(|path| !is_staged(path) && !path.starts_with("lock") && !path.starts_with("locks"));
    breaches.extend(bytes.map(|path| format!("at the end {path:?} waits for a sync")));
    breaches
}

/// Rule 5.
fn before_removal(pending: &Pending, path: &Path) -> Vec<String> {
    let is_part = path.starts_with("embeddings") && path.extension().is_some_and(|ending| ending == "parquet");
    let mut breaches = Vec::new();
    let needs_current = is_part || path == Path::new("publishing");
    if needs_current && pending.is_named("", "CURRENT") == Some(true) {
        breaches.push("`CURRENT` waits for a sync".to_owned());
    }
    if is_part {
        let folders = pending.names.keys().filter(|folder| folder.starts_with("embeddings"));
        for folder in folders {
            breaches
                .extend(pending.added(folder).into_iter().map(|name| format!("{folder:?}: `{name}` waits for a sync")));
        }
    }
    breaches
}

impl Pending {
    fn note(&mut self, path: &Path, added: bool) {
        if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
            self.names.entry(parent(path).to_owned()).or_default().insert(name.to_owned(), added);
        }
    }

    fn sync(&mut self, path: &Path) {
        self.bytes.remove(path);
        self.names.remove(path);
    }

    fn is_named(&self, folder: &str, name: &str) -> Option<bool> {
        self.names.get(Path::new(folder))?.get(name).copied()
    }

    /// Final names that were added to a folder.
    fn added(&self, folder: &Path) -> Vec<String> {
        let names = self.names.get(folder).into_iter().flatten();
        names
            .filter(|(name, added)| {
                **added && !name.starts_with('.') && !["lock", "locks", "staging"].contains(&name.as_str())
            })
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// What is not on disk of a file, or of a folder and all in it.
    fn below(&self, path: &Path) -> Vec<String> {
        let bytes =
            self.bytes.iter().filter(|file| file.starts_with(path)).map(|file| format!("{file:?} waits for a sync"));
        let names = self.names.iter().filter(|(folder, names)| folder.starts_with(path) && !names.is_empty());
        bytes.chain(names.map(|(folder, names)| format!("{folder:?} waits for a sync with {names:?}"))).collect()
    }

    fn forget(&mut self, path: &Path) {
        self.bytes.retain(|file| !file.starts_with(path));
        self.names.retain(|folder, _| !folder.starts_with(path));
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        self.forget(to);
        let moved = |path: &PathBuf| match path.strip_prefix(from) {
            Ok(rest) if rest == Path::new("") => to.to_owned(),
            Ok(rest) => to.join(rest),
            Err(_) => path.clone(),
        };
        self.bytes = self.bytes.iter().map(moved).collect();
        self.names =
            std::mem::take(&mut self.names).into_iter().map(|(folder, names)| (moved(&folder), names)).collect();
        self.note(from, false);
        self.note(to, true);
    }
}

/// The folder of a path; the store itself is the empty path.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

fn is_staged(path: &Path) -> bool {
    path.starts_with("staging")
}

fn is_temporary(path: &Path) -> bool {
    path.iter().any(|step| step.to_str().is_some_and(|step| step.starts_with('.') && step.ends_with(".tmp")))
}

/// A record in short: `create a`, `rename a b`.
fn calls(text: &str) -> Vec<Call> {
    let call = |line: &str| {
        let mut words = line.split_whitespace();
        let mut word = || words.next().unwrap_or_default();
        let name = word().to_owned();
        // `.` is the store's own folder.
        let mut path = || PathBuf::from(word().trim_start_matches("./").trim_end_matches('.'));
        Call { name, result: "ok".to_owned(), path: path(), target: path() }
    };
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(call).collect()
}

/// A first night with one part, in which every sync is needed.
const GOOD: &str = "
    mkdir snapshots
    mkdir encoders
    mkdir embeddings
    sync .
    mkdir embeddings/partition=00000
    sync embeddings
    create embeddings/partition=00000/.part-00001.parquet.tmp
    write embeddings/partition=00000/.part-00001.parquet.tmp
    sync embeddings/partition=00000/.part-00001.parquet.tmp
    rename embeddings/partition=00000/.part-00001.parquet.tmp embeddings/partition=00000/part-00001.parquet
    sync embeddings/partition=00000
    mkdir encoders/.e.tmp
    create encoders/.e.tmp/config.json
    sync encoders/.e.tmp/config.json
    sync encoders/.e.tmp
    rename encoders/.e.tmp encoders/e
    sync encoders
    mkdir staging/snapshot
    create staging/snapshot/items
    write staging/snapshot/items
    sync staging/snapshot/items
    sync staging/snapshot
    create .publishing.tmp
    write .publishing.tmp
    sync .publishing.tmp
    rename .publishing.tmp publishing
    sync .
    rename staging/snapshot snapshots/1
    sync snapshots
    create .CURRENT.tmp
    write .CURRENT.tmp
    sync .CURRENT.tmp
    rename .CURRENT.tmp CURRENT
    sync .
    unlink publishing
    unlink embeddings/partition=00000/part-00000.parquet
    create reports/.1.json.tmp
    write reports/.1.json.tmp
    sync reports/.1.json.tmp
    rename reports/.1.json.tmp reports/1.json
    sync reports
";

#[test]
fn the_rules_accept_a_good_night_and_miss_no_sync() {
    let good = calls(GOOD);
    assert_eq!(breaches(&good), Vec::<String>::new());
    let syncs: Vec<usize> = (0..good.len()).filter(|index| good[*index].name == "sync").collect();
    assert_eq!(syncs.len(), 16);
    for left_out in syncs {
        let mut calls = good.clone();
        let call = calls.remove(left_out);
        assert!(!breaches(&calls).is_empty(), "without the sync of {:?}, call {}", call.path, left_out + 1);
    }
}

#[test]
fn the_rules_object_to_what_comes_too_early() {
    let good = calls(GOOD);
    let place = |name: &str, path: &str| {
        good.iter()
            .position(|call| call.name == name && (call.path == Path::new(path) || call.target == Path::new(path)))
            .unwrap()
    };
    let moved = |from: usize, to: usize| {
        let mut calls = good.clone();
        let call = calls.remove(from);
        calls.insert(to, call);
        breaches(&calls)
    };
    let current = place("rename", "CURRENT");
    let cases = [
        // The old part before `CURRENT`'s sync, the announcement's end likewise, no announcement before the place.
        moved(place("unlink", "embeddings/partition=00000/part-00000.parquet"), current + 1),
        moved(place("unlink", "publishing"), current + 1),
        moved(place("rename", "snapshots/1"), place("create", ".publishing.tmp")),
        moved(place("write", "staging/snapshot/items"), place("rename", "snapshots/1") - 1),
    ];
    for (number, breaches) in cases.iter().enumerate() {
        assert!(!breaches.is_empty(), "case {number}");
    }
}

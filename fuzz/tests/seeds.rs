//! Every target on its seeds, on damaged copies of them and on what fuzzing once found; and the seeds as files, where
//! `fuzz/run` starts from.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};

use fuzz::TARGETS;

/// Damaged copies of each seed.
const DAMAGED_COPIES: u64 = 200;

/// A damaged copy: bytes changed, taken out, put in, or the end cut off, as the numbers of a SplitMix64 stream say.
fn damaged(seed: &[u8], number: u64) -> Vec<u8> {
    let mut state = number;
    let mut next = |below: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % below.max(1) as u64) as usize
    };
    let mut copy = seed.to_vec();
    for _ in 0..=next(4) {
        let place = next(copy.len());
        match next(8) {
            0 => copy.truncate(place),
            1 => copy.insert(place.min(copy.len()), next(256) as u8),
            2 if !copy.is_empty() => drop(copy.remove(place)),
            3 if !copy.is_empty() => copy[place] = [0, 0x7f, 0x80, 0xff][next(4)],
            _ if !copy.is_empty() => copy[place] ^= 1 << next(8),
            _ => copy.push(next(256) as u8),
        }
    }
    copy
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs_err::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_target_takes_its_seeds_and_damaged_copies_of_them() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{}", target.name);
        for seed in &seeds {
            (target.run)(seed);
            for number in 0..DAMAGED_COPIES {
                (target.run)(&damaged(seed, number));
            }
        }
    }
}

#[test]
fn what_fuzzing_once_found_is_found_no_more() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    for path in files_below(&folder) {
        // `TARGET-WHAT`.
        let name = path.file_name().unwrap().to_str().unwrap();
        let target = TARGETS.iter().find(|target| name.starts_with(&format!("{}-", target.name)));
        let Some(target) = target else { panic!("`{name}` names no target") };
        (target.run)(&fs_err::read(&path).unwrap());
    }
}

#[test]
fn seeds_are_written_for_the_fuzzer() {
    for target in TARGETS {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz").join(target.name);
        fs_err::create_dir_all(&folder).unwrap();
        for (number, seed) in (target.seeds)().iter().enumerate() {
            fs_err::write(folder.join(format!("seed-{number}")), seed).unwrap();
        }
        assert!(!files_below(&folder).is_empty());
    }
}

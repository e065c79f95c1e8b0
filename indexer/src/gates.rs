//! What a staged snapshot must keep to be published. Owns which gates there are, their bounds and their words; not the
//! order of checks (`verify.rs`) nor who may overrule them (`force.rs`). Invariant: a gate has the name of its key in
//! `[gates]`, and its result is deterministic for one snapshot, parent and configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemas::manifest::{GateResult, Manifest};
use schemas::{SnapshotId, Store};
use searcher::{Mode, Query, Searcher, TextPart};

use crate::config::GatesConfig;
use crate::error::IndexError;
use crate::report::RunCounts;

mod changes;
mod force;
mod recall;
mod relevance;

pub use force::Force;

/// What the gates are told beside the snapshot itself.
#[derive(Clone, Copy, Debug)]
pub struct GateInputs<'a> {
    /// What the run counted.
    pub counts: &'a RunCounts,
    /// The snapshot that is current, to compare with; `None` before the first one.
    pub parent: Option<&'a Parent>,
    /// The bounds.
    pub config: &'a GatesConfig,
}

/// The snapshot that would be replaced.
#[derive(Debug)]
pub struct Parent {
    /// Its name.
    pub id: SnapshotId,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its folder.
    pub folder: PathBuf,
}

impl Parent {
    /// Reads the current snapshot's manifest. A damaged one is nothing to compare with: the night that replaces it must
    /// not be refused for it.
    #[must_use]
    pub fn read(store: &Store, current: Option<&SnapshotId>) -> Option<Parent> {
        let id = current?.clone();
        let folder = store.snapshot_folder(&id);
        match Manifest::read(&folder) {
            Ok(manifest) => Some(Parent { id, manifest, folder }),
            Err(error) => {
                tracing::warn!(
                    snapshot = %id,
                    error = &error as &dyn std::error::Error,
                    "the current snapshot's manifest cannot be read; nothing is compared with it"
                );
                None
            }
        }
    }
}

/// Measures all gates.
///
/// # Errors
/// When the snapshot cannot be searched.
pub(crate) fn measure(
    folder: &Path,
    manifest: &Manifest,
    searcher: &Searcher,
    inputs: GateInputs<'_>,
) -> Result<BTreeMap<String, GateResult>, IndexError> {
    let GateInputs { counts, parent, config } = inputs;
    let mut gates = BTreeMap::new();
    let mut add = |name: &str, gate: Option<GateResult>| gates.extend(gate.map(|gate| (name.to_owned(), gate)));
    add("min_items", Some(min_items(manifest, config)));
    add("max_rejected_share", Some(rejected_share(counts, config)));
    add("max_missing_images", changes::missing_images(counts, config.max_missing_images));
    if let Some(parent) = parent {
        add("max_item_drop", changes::item_drop(manifest, parent, config.max_item_drop));
        add("max_item_growth", changes::item_growth(manifest, parent, config.max_item_growth));
        let rise = changes::missing_images_rise(manifest, parent, config.max_missing_images_rise);
        add("max_missing_images_rise", rise);
    }
    add("min_ann_recall", recall::ann_recall(folder, manifest, config)?);
    if !config.golden_queries.is_empty() {
        add("golden_queries", Some(golden_queries(searcher, config)?));
    }
    if let Some(gate) = &config.relevance {
        for (name, result) in relevance::relevance(searcher, parent, gate)? {
            add(name, Some(result));
        }
    }
    Ok(gates)
}

/// How to go on after gates refused, for the log and the summary; `None` when none did.
#[must_use]
pub fn advice(gates: &BTreeMap<String, GateResult>) -> Option<String> {
    let keys: Vec<String> =
        gates.iter().filter(|(_, gate)| !gate.passed).map(|(name, _)| format!("`gates.{name}`")).collect();
    let keys = match keys.as_slice() {
        [] => return None,
        [key] => key.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    };
    Some(format!(
        "mend the catalog; or set {keys} in the configuration; or publish this once with `indexer run --force REASON`, \
         which is recorded"
    ))
}

fn min_items(manifest: &Manifest, config: &GatesConfig) -> GateResult {
    let (value, bound) = (manifest.item_count as f64, config.min_items as f64);
    GateResult { value, bound, passed: value >= bound, message: format!("{value} items, at least {bound} wanted") }
}

fn rejected_share(counts: &RunCounts, config: &GatesConfig) -> GateResult {
    let value = counts.rejected_share();
    let bound = config.max_rejected_share;
    let message = format!(
        "{} of {} rows rejected ({:.2}%), at most {:.2}% allowed",
        counts.rejected,
        counts.rows,
        value * 100.0,
        bound * 100.0
    );
    GateResult { value, bound, passed: value <= bound, message }
}

fn golden_queries(searcher: &Searcher, config: &GatesConfig) -> Result<GateResult, IndexError> {
    let mut failed = Vec::new();
    for golden in &config.golden_queries {
        let query = Query {
            texts: vec![TextPart { text: golden.text.clone(), weight: 1.0 }],
            mode: if searcher.manifest().vector.is_some() { Mode::Hybrid } else { Mode::Keyword },
            limit: golden.within,
            ..Query::default()
        };
        if !searcher.search(&query)?.hits.iter().any(|hit| hit.id == golden.expect) {
            failed.push(format!("`{}` does not find `{}` within {}", golden.text, golden.expect, golden.within));
        }
    }
    let total = config.golden_queries.len();
    let value = (total - failed.len()) as f64;
    let message = if failed.is_empty() { format!("all {total} golden queries pass") } else { failed.join("; ") };
    Ok(GateResult { value, bound: total as f64, passed: failed.is_empty(), message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_names_the_keys_of_the_gates_that_refused() {
        let gate = |passed| GateResult { value: 0.0, bound: 0.0, passed, message: String::new() };
        let gates = |results: &[(&str, bool)]| {
            results.iter().map(|(name, passed)| ((*name).to_owned(), gate(*passed))).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(advice(&gates(&[("min_items", true)])), None);
        let one = advice(&gates(&[("min_items", false), ("max_item_drop", true)])).unwrap();
        assert!(one.contains("or set `gates.min_items` in"), "{one}");
        let three = advice(&gates(&[("a", false), ("b", false), ("c", false)])).unwrap();
        assert!(three.contains("`gates.a`, `gates.b` and `gates.c`") && three.contains("--force"), "{three}");
    }
}

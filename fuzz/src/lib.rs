//! Fuzz targets for everything that reads bytes from elsewhere: catalogs, pictures, histories, filters, queries, and the
//! files of a snapshot. Owns the targets, their seeds and what must hold for any input; not the search for inputs, which is libFuzzer's
//! (`fuzz/run`, or `cargo fuzz run fuzz_json_lines --features libfuzzer`). Invariant: a target fails only by panicking, and
//! does so for no input.
//!
//! `tests/seeds.rs` runs every target on its seeds, on damaged copies of them and on the inputs that fuzzing once found
//! (`regressions/`), so that an ordinary `cargo test` covers the targets themselves.

#![expect(clippy::unwrap_used, reason = "a target fails by panicking")]

use std::sync::Once;

use tempfile::TempDir;

mod catalogs;
mod files;
mod histories;
mod learned;
mod pictures;
mod queries;

/// Something that reads bytes.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name; its program is `fuzz_NAME`.
    pub name: &'static str,
    /// Reads the bytes and asserts what must hold; never fails on any bytes.
    pub run: fn(&[u8]),
    /// Well-formed inputs, and ill-formed ones close to them, made by our own writers.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: [Target; 17] = [
    Target { name: "json_lines", run: catalogs::json_lines, seeds: catalogs::json_lines_seeds },
    Target { name: "csv", run: catalogs::csv, seeds: catalogs::csv_seeds },
    Target { name: "parquet", run: catalogs::parquet, seeds: catalogs::parquet_seeds },
    Target { name: "manifest", run: files::manifest, seeds: files::manifest_seeds },
    Target { name: "items", run: files::items, seeds: files::items_seeds },
    Target { name: "modalities", run: files::modalities, seeds: files::modalities_seeds },
    Target { name: "graph", run: files::graph, seeds: files::graph_seeds },
    Target { name: "node_table", run: files::node_table, seeds: files::node_table_seeds },
    Target { name: "learned_fusion", run: learned::fusion, seeds: learned::fusion_seeds },
    Target { name: "item_weights", run: learned::item_weights, seeds: learned::item_weights_seeds },
    Target { name: "history_json_lines", run: histories::json_lines, seeds: histories::json_lines_seeds },
    Target { name: "history_parquet", run: histories::parquet, seeds: histories::parquet_seeds },
    Target { name: "filter", run: queries::filter, seeds: queries::filter_seeds },
    Target { name: "analysis", run: queries::analysis, seeds: queries::analysis_seeds },
    Target { name: "query", run: queries::query, seeds: queries::query_seeds },
    Target { name: "trec", run: queries::trec, seeds: queries::trec_seeds },
    Target { name: "picture", run: pictures::picture, seeds: pictures::picture_seeds },
];

/// A temporary folder, in memory where the system has one there: an input takes microseconds, a file on disk milliseconds.
fn folder_in_memory() -> TempDir {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    folder.unwrap()
}

/// Runs the target of that name.
///
/// # Panics
/// When there is no such target, or it found a fault.
pub fn run(name: &str, data: &[u8]) {
    static HOOK: Once = Once::new();
    // libFuzzer's hook aborts at every panic, also at those of decoders that the products catch and report.
    HOOK.call_once(|| drop(std::panic::take_hook()));
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.unwrap().run)(data);
}

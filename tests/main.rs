//! End-to-end tests: everything here drives the real `indexer` and `searcher` programs, by feature.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests fail by panicking and say what they skip")]

mod harness;

mod bad_input;
mod browse;
mod comparison;
mod damage;
mod formats;
mod gates;
mod hostile_catalogs;
mod hostile_pictures;
mod keyword;
mod labels;
mod languages;
mod learned;
mod machines;
mod metrics;
mod nightly;
mod partitions;
mod plan;
mod quality;
mod query_alpha;
mod readers;
mod readme;
mod recommend;
mod relevance_gate;
mod reuse;
mod scalar_kind;
mod search;
mod terminal;
mod watching;

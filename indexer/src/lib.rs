//! The nightly run: catalog → embeddings → snapshot, verified and published; and the upkeep of a store.
//!
//! Owns the order in which things happen and what may be published. Not: the formats (`schemas`), the models
//! (`encoders`), the retrieval (`searcher`, whose code verifies what it will serve). Invariant: `CURRENT` moves in
//! [`publish`] and nowhere else, and only a [`verify::VerifiedSnapshot`] can be published.

#![cfg_attr(test, expect(clippy::unwrap_used, reason = "tests fail by panicking"))]

pub mod build;
pub mod config;
pub mod encode;
pub mod encoder_set;
pub mod error;
pub mod fusion_model;
pub mod gates;
pub mod history;
mod journal;
pub mod label;
pub mod learn;
pub mod metrics;
pub mod partitions;
pub mod pictures;
pub mod plan;
pub mod progress;
pub mod publish;
pub mod read;
pub mod report;
pub mod reports;
pub mod reuse;
pub mod run;
pub mod spool;
pub mod status;
pub mod unchanged;
pub mod upkeep;
pub mod verify;

pub use config::IndexConfig;
pub use error::{IndexError, RunFailure};
pub use gates::Force;
pub use partitions::PartitionShare;
pub use plan::{Plan, plan};
pub use progress::{Progress, StopSignal};
pub use report::RunReport;
pub use run::{RunContext, run, run_partitions};

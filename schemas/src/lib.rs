//! Every file that Catalens reads or writes: its contract, its format, its reader and its writer together.
//!
//! What this crate does not own: the keyword index (tantivy) and the vector index (usearch), whose readers and
//! writers live in `searcher`; models, which live in `encoders`; and the order in which files are written, which
//! is the nightly flow of `indexer`. The invariant it keeps: a file that this crate writes opens with the reader of
//! this crate, and a file that does not keep the contract is an error that names it, never a panic.
//!
//! `schemas/README.md` is the format book: someone could write a reader in another language from it.

mod arrow_file;
pub mod catalog;
pub mod content_hash;
pub mod durable;
pub mod embeddings;
pub mod encoder_spec;
pub mod error;
pub mod field;
pub mod format_version;
pub mod item;
pub mod item_weights;
pub mod items;
pub mod labels;
pub mod learned_fusion;
pub mod manifest;
pub mod map;
pub mod modalities;
pub mod modality;
mod parquet_file;
pub mod ranking;
pub mod recommendations;
pub mod rejects;
mod snapshot_id;
pub mod store;
pub mod terminal;
pub mod trec;
pub mod user_history;

pub use content_hash::ContentHash;
pub use encoder_spec::{Architecture, Dtype, EncoderSpec, Pooling};
pub use error::SchemaError;
pub use field::{FieldSpec, FieldType, FieldValue};
pub use item::{ImageSource, Item, Location};
pub use manifest::Manifest;
pub use map::MappedFile;
pub use modality::Modality;
pub use ranking::RankingSettings;
pub use store::{SnapshotId, Store};
pub use user_history::HistoryEvent;

/// Number of an item in one snapshot: dense, from 0, the same in every file of it.
pub type Row = u32;

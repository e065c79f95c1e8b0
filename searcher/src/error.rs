//! Errors of this crate: one enum, one layer of message, the cause in `source`.

use std::path::PathBuf;

/// What can go wrong when opening or searching a snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// A file of the snapshot or store cannot be used.
    #[error("cannot open or read the snapshot")]
    Snapshot(#[source] schemas::SchemaError),
    /// The keyword index cannot be used.
    #[error("keyword index `{path}`")]
    Keyword {
        /// Its folder.
        path: PathBuf,
        /// The cause.
        source: tantivy::TantivyError,
    },
    /// The vector index cannot be used.
    #[error("vector index `{path}`: {reason}")]
    Vector {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file does not have the size, checksum or number of rows that the manifest names. Restore the snapshot, or
    /// publish an older one.
    #[error("`{path}` has {got}, the manifest says {expected}; restore the snapshot or roll back")]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// By the manifest.
        expected: String,
        /// Found.
        got: String,
    },
    /// An encoder cannot be loaded or used.
    #[error("query encoder")]
    Encoder(#[source] encoders::EncoderError),
    /// The encoder in the store's folder is not the one that encoded the items: its embeddings cannot be compared with
    /// theirs. Restore the store's `encoders/` folder, or run the indexer again.
    #[error(
        "encoder `{checkpoint}` has fingerprint {got}, the items were encoded with {expected}; restore the store's encoders or index again"
    )]
    EncoderMismatch {
        /// Folder of the checkpoint.
        checkpoint: PathBuf,
        /// Fingerprint in the manifest.
        expected: String,
        /// Fingerprint of what was loaded.
        got: String,
    },
    /// A picture of the query cannot be read or decoded.
    #[error("query picture `{path}`")]
    QueryImage {
        /// The picture's file.
        path: PathBuf,
        /// The cause; boxed, because every result of this crate has room for the largest error.
        source: Box<encoders::EncoderError>,
    },
    /// The query cannot be answered by this snapshot.
    #[error("{reason}")]
    Query {
        /// What does not fit, and what to do.
        reason: String,
    },
    /// A history of users cannot be read.
    #[error("cannot read the history")]
    History(#[source] schemas::SchemaError),
    /// A filter expression is malformed or does not fit the fields.
    #[error("filter, position {position}: {reason}")]
    Filter {
        /// Character position, from 1.
        position: usize,
        /// What is wrong.
        reason: String,
    },
}

impl From<schemas::SchemaError> for SearchError {
    fn from(source: schemas::SchemaError) -> Self {
        SearchError::Snapshot(source)
    }
}

impl From<encoders::EncoderError> for SearchError {
    fn from(source: encoders::EncoderError) -> Self {
        SearchError::Encoder(source)
    }
}

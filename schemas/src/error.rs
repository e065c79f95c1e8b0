//! Errors of this crate: one enum, one layer of message, the cause in `source`.

use std::path::{Path, PathBuf};

/// What can be wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// Reading or writing failed. The cause (from fs-err) names the operation; check space, permissions and the path.
    #[error("cannot read or write `{path}`")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is not the JSON that is expected.
    #[error("`{path}` is not valid")]
    Json {
        /// The file.
        path: PathBuf,
        /// The cause, with line and column.
        source: serde_json::Error,
    },
    /// The file is not the TOML that is expected.
    #[error("`{path}` is not valid")]
    Toml {
        /// The file.
        path: PathBuf,
        /// The cause, with line and column.
        source: Box<toml::de::Error>,
    },
    /// The file is not the Arrow file that is expected.
    #[error("`{path}` is not a valid Arrow file")]
    Arrow {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: arrow::error::ArrowError,
    },
    /// The file is not the Parquet file that is expected.
    #[error("`{path}` is not a valid Parquet file")]
    Parquet {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: parquet::errors::ParquetError,
    },
    /// The file breaks its contract in another way. Rebuild or restore it.
    #[error("`{path}` is damaged or foreign: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file was written by a newer version. Update Catalens, or roll the store back to an older snapshot.
    #[error("`{path}` has format version {got}, this version reads up to {expected}; update Catalens or roll back")]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The newest version that can be read.
        expected: u32,
        /// The version found.
        got: u32,
    },
    /// The catalog's configuration does not fit its files.
    #[error("catalog `{path}`: {reason}")]
    Catalog {
        /// The catalog's path or pattern.
        path: PathBuf,
        /// What does not fit, and what to do.
        reason: String,
    },
    /// A line of a queries, qrels or run file is malformed.
    #[error("`{path}` line {line}: {reason}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// Another process writes to the store.
    #[error("store `{path}` is locked by another run ({holder}); wait for it or stop it")]
    Locked {
        /// The store.
        path: PathBuf,
        /// What the lock file says of its holder.
        holder: String,
    },
    /// Another process writes embeddings of a partition.
    #[error("partition {partition} of store `{path}` is locked by another run ({holder}); wait for it or stop it")]
    PartitionLocked {
        /// The store.
        path: PathBuf,
        /// The partition, from 0.
        partition: u32,
        /// What the lock file says of its holder.
        holder: String,
    },
    /// The store has no published snapshot.
    #[error("store `{path}` has no published snapshot; run `indexer run` first")]
    NothingPublished {
        /// The store.
        path: PathBuf,
    },
    /// The snapshot is being removed, or was while it was opened. Open the published one.
    #[error("snapshot `{path}` is being removed; open the published one")]
    BeingRemoved {
        /// Its folder.
        path: PathBuf,
    },
    /// The store does not have that snapshot.
    #[error("store `{path}` has no snapshot `{snapshot}`; `indexer status` lists them")]
    UnknownSnapshot {
        /// The store.
        path: PathBuf,
        /// The snapshot asked for.
        snapshot: String,
    },
}

impl SchemaError {
    /// Makes an [`SchemaError::Io`] of a cause, for `map_err`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> SchemaError + use<> {
        let path = path.to_owned();
        move |source| SchemaError::Io { path, source }
    }

    /// Makes an [`SchemaError::Arrow`] of a cause, for `map_err`.
    pub(crate) fn arrow(path: &Path) -> impl FnOnce(arrow::error::ArrowError) -> SchemaError + use<> {
        let path = path.to_owned();
        move |source| SchemaError::Arrow { path, source }
    }

    /// Makes an [`SchemaError::Parquet`] of a cause, for `map_err`.
    pub(crate) fn parquet(path: &Path) -> impl FnOnce(parquet::errors::ParquetError) -> SchemaError + use<> {
        let path = path.to_owned();
        move |source| SchemaError::Parquet { path, source }
    }

    /// A [`SchemaError::Invalid`].
    pub(crate) fn invalid(path: &Path, reason: impl Into<String>) -> SchemaError {
        SchemaError::Invalid { path: path.to_owned(), reason: reason.into() }
    }

    /// A [`SchemaError::Catalog`].
    pub(crate) fn catalog(path: &Path, reason: impl Into<String>) -> SchemaError {
        SchemaError::Catalog { path: path.to_owned(), reason: reason.into() }
    }
}

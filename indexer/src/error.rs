//! Errors of this crate: one enum, one layer of message, the cause in `source`.

use std::path::PathBuf;

/// Why a run or an upkeep command ended without doing its work. The published snapshot is untouched in every case but
/// [`IndexError::AfterPublish`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The configuration cannot be read.
    #[error("cannot read configuration `{path}`")]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The configuration is not valid TOML or has an unknown or ill-typed key.
    #[error("configuration `{path}`")]
    ConfigSyntax {
        /// The file.
        path: PathBuf,
        /// The cause, with line and key.
        source: Box<toml::de::Error>,
    },
    /// A value of the configuration is out of range or does not fit another one.
    #[error("configuration key `{key}`: {reason}")]
    ConfigValue {
        /// The key.
        key: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// A file of the catalog or the store.
    #[error("files")]
    Schema(#[source] schemas::SchemaError),
    /// An encoder.
    #[error("encoder of modality `{modality}`")]
    Encoder {
        /// The modality it encodes.
        modality: schemas::Modality,
        /// The cause.
        source: encoders::EncoderError,
    },
    /// A device to encode on.
    #[error("device")]
    Device {
        /// The cause, which names it.
        source: encoders::EncoderError,
    },
    /// More runs are to share the partitions than there are.
    #[error("share {share} of {partitions} partitions; raise `encode.partitions` or take fewer shares")]
    TooManyShares {
        /// The share asked for.
        share: crate::partitions::PartitionShare,
        /// Partitions of the configuration.
        partitions: u32,
    },
    /// An embeddings part turned out to be damaged while the snapshot was built. It was renamed, so that the next run
    /// does not use it.
    #[error("embeddings `{path}` cannot be read and were set aside; run again to encode their items again")]
    DamagedPart {
        /// The part.
        path: PathBuf,
        /// The cause.
        source: schemas::SchemaError,
    },
    /// Building or opening the snapshot.
    #[error("snapshot")]
    Search(#[source] searcher::SearchError),
    /// Values cannot be proposed for a field.
    #[error("labels: {reason}")]
    Label {
        /// What does not fit, and what to do.
        reason: String,
    },
    /// Reading or writing failed.
    #[error("cannot read or write `{path}`; check space and permissions")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The staged snapshot contradicts itself: a bug or a failing disk. Nothing is published.
    #[error("staged snapshot is inconsistent: {reason}")]
    Inconsistent {
        /// What does not fit.
        reason: String,
    },
    /// `CURRENT` has moved, but the run could not end as it should.
    #[error("snapshot `{snapshot}` is published and serves, but the run could not be finished")]
    AfterPublish {
        /// The snapshot that is current now.
        snapshot: schemas::SnapshotId,
        /// What failed: making it safe against a power cut, or writing the report.
        source: Box<IndexError>,
    },
    /// A model of learned embedding fusion cannot be trained from what is given.
    #[error("{reason}")]
    Learn {
        /// What does not fit, and what to do.
        reason: String,
    },
    /// A tensor operation failed while a model was trained.
    #[error("training")]
    Training(#[source] Box<candle_core::Error>),
    /// SIGTERM or Ctrl-C.
    #[error("stopped by a signal; finished embeddings are kept and the next run goes on from them")]
    Stopped,
}

impl From<schemas::SchemaError> for IndexError {
    fn from(source: schemas::SchemaError) -> Self {
        IndexError::Schema(source)
    }
}

impl From<searcher::SearchError> for IndexError {
    fn from(source: searcher::SearchError) -> Self {
        IndexError::Search(source)
    }
}

impl From<candle_core::Error> for IndexError {
    fn from(source: candle_core::Error) -> Self {
        IndexError::Training(Box::new(source))
    }
}

impl IndexError {
    /// For `map_err` on an I/O call about `path`.
    pub fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> IndexError + '_ {
        move |source| IndexError::Io { path: path.to_owned(), source }
    }
}

/// A run that did not come to its end, with what its report says. Displayed as its error.
#[derive(Debug)]
pub struct RunFailure {
    /// Why.
    pub error: Box<IndexError>,
    /// The report, which is also in the store if there is one.
    pub report: Box<crate::report::FailureReport>,
}

impl std::fmt::Display for RunFailure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(formatter)
    }
}

impl std::error::Error for RunFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// An error and its causes in one line, outermost first.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

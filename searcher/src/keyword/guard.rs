//! A boundary for panics. tantivy trusts the bytes it reads: 16% of single bit flips in the segment files of a small index
//! make it slice out of bounds or unwrap. Owns turning that into an error; not the checksums, which `indexer verify`
//! compares. Invariant: a panic while a damaged keyword index is read never reaches the caller.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use tantivy::TantivyError;
use tantivy::error::DataCorruption;

use crate::error::SearchError;

/// Runs what reads the index in `folder`; a panic becomes a [`DataCorruption`] error (and its message goes to stderr,
/// as the panic hook decides).
pub(super) fn no_panic<T>(folder: &Path, read: impl FnOnce() -> Result<T, SearchError>) -> Result<T, SearchError> {
    // Nothing of ours outlives `read` half changed: it only builds values that a panic drops.
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        let damage = DataCorruption::comment_only("reading it panicked; run `indexer verify`, restore or roll back");
        Err(SearchError::Keyword { path: folder.to_owned(), source: TantivyError::DataCorruption(damage) })
    })
}

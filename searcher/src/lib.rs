//! Hybrid keyword and vector search over a memory-mapped Catalens snapshot.
//!
//! Owns opening a snapshot, the query flow, explanations and evaluation, and, because reader and writer of a format
//! belong together, the writers of the keyword index and of the vector index. Not: when those are written (`indexer`),
//! nor the other files (`schemas`). Invariant: scores and totals of a query depend on the snapshot and the query
//! alone, never on page size, thread count or earlier queries.
//!
//! ```
//! use searcher::{Mode, OpenOptions, Query, Searcher};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let store = folder.path();
//! # searcher::example::write_store(store, &searcher::example::items())?;
//! // Opening maps the files; models are loaded when a query first needs one.
//! let (_snapshot, searcher) = Searcher::open_current(store, &OpenOptions::default())?;
//!
//! let query = Query {
//!     mode: Mode::Keyword,
//!     filter: Some(r#"price < 20 and category under "Home > Kitchen""#.to_owned()),
//!     explain: true,
//!     ..Query::text("red mugs")
//! };
//! let results = searcher.search(&query)?;
//! assert_eq!(results.total, 2);
//!
//! let best = &results.hits[0];
//! assert_eq!((best.rank, best.id.as_str()), (1, "mug-red"));
//! let terms = &best.explain.as_ref().and_then(|explain| explain.keyword.as_ref()).unwrap().terms;
//! let sum: f32 = terms.iter().map(|term| term.score).sum();
//! assert!((sum - best.score).abs() < 1e-5);
//! # Ok(())
//! # }
//! ```

#![cfg_attr(test, expect(clippy::unwrap_used, reason = "tests fail by panicking"))]

pub mod analysis;
mod arrangement;
pub mod candidate;
mod clauses;
mod collapse;
pub mod current;
pub mod diversity;
pub mod embedding_fusion;
pub mod error;
pub mod evaluation;
#[doc(hidden)]
pub mod example;
pub mod explain;
pub mod facets;
mod field_column;
mod files;
pub mod filter;
mod item_similarity;
pub mod keyword;
pub mod near_duplicates;
mod nearest_name;
mod neighbours;
pub mod query;
pub mod query_encoder;
pub mod query_text;
pub mod random;
pub mod rank_fusion;
pub mod recommend;
pub mod results;
pub mod row_set;
pub mod search;
pub mod snapshot;
pub mod sort;
pub mod tuning;
mod union;
pub mod vector;

pub use candidate::Candidate;
pub use current::CurrentSearcher;
pub use error::SearchError;
pub use explain::Explanation;
pub use facets::FacetCounts;
pub use query::{ImagePart, ItemPart, Mode, Query, TextPart};
pub use query_encoder::EncodedQuery;
pub use recommend::{Profile, ProfilePart, SeenItems};
pub use results::{Hit, Results};
pub use row_set::RowSet;
pub use snapshot::{FileCheck, OpenOptions, Searcher, SnapshotMaps};
pub use sort::{SortBy, SortDirection, SortKey};

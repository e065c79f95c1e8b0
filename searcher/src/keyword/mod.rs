//! The keyword index, `keyword/` in a snapshot: postings in tantivy's files, scored with BM25F by code of our own.
//! Owns the tantivy schema, writer, read-only directory, retrieval, scoring and explanation; not the query flow.
//! Invariant: a document's `row` fast field is the item's row number; one segment (none where there is no item).
//!
//! BM25F (Robertson, Zaragoza, Taylor 2004; Zaragoza et al. 2004, TREC-13): a term's frequencies in the fields are
//! combined inside one saturation, `tf = Σ_f w_f·tf_f / (1 − b_f + b_f·len_f/avglen_f)`, `score = Σ_t idf_t·tf/(k1+tf)`,
//! `idf_t = ln(1 + (N − df + ½)/(df + ½))`. `df` is the largest of the term's document frequencies in single fields, as
//! in Lucene's `CombinedFieldQuery`: how many documents have it in any field would need a walk over all its postings.
//! `avglen` is over the documents that have the field; `len` is rounded to tantivy's field norm steps (exact below 40).
//!
//! A term is a *word* of the query (`words`), which an item may have in several *writings*: as each field's analyzer writes it, as
//! another spelling, a synonym, or, where no item has it at all, as a similar word. They count as one term: `tf`
//! is the sum over the writings, each occurrence weighed by the writing's factor, and `df` the largest of them (as Lucene's
//! `SynonymQuery`). An item that has `dv7-1211ea` so has both the part `dv7` and the whole, and comes before one with `DV7` alone. A row that has
//! only similar words is not found beside rows that have a word as it was asked for. Words next to each other in
//! the query add a part for standing so in the item (`proximity`). How many words an item must have decides what
//! is found, not what is scored. `df`, `tf` and lengths of an index do not depend on the settings, so that weights, `b`, `k1` and
//! policies can be changed query by query.

use schemas::ranking::Matching;

mod bm25f;
mod clauses;
mod directory;
mod explain;
mod fuzzy;
mod guard;
mod index;
mod layout;
mod look_up;
mod phrase;
mod proximity;
mod query;
mod retrieve;
mod synonyms;
mod tokenizer;
mod word_statistics;
mod words;
mod writer;

pub use explain::{KeywordParts, TermExplanation, TermFieldExplanation};
pub use fuzzy::{MAX_FUZZY_TERMS, MAX_FUZZY_WORDS};
pub use index::KeywordIndex;
pub use proximity::{PROXIMITY_PLACES, ProximityExplanation};
pub use query::{KeywordQuery, MAX_QUERY_TERMS};
pub use retrieve::KeywordFound;
pub use synonyms::{MAX_SYNONYM_BYTES, SYNONYM_FACTOR, Synonyms};
pub use word_statistics::WordStatistics;
pub use words::WritingOrigin;
pub use writer::{KeywordWriter, MAX_WAITING_TEXT_BYTES, WRITER_MEMORY_BYTES};

/// Folder of the keyword index in a snapshot.
pub const KEYWORD_FOLDER: &str = "keyword";

/// Default of `k1`: the `tf` at which a term has half of its greatest possible score. This and the other defaults are the
/// textbook's, not tuned: on chorus (58 queries) heavier or less normalised titles gained up to 0.01 nDCG@10 in keyword
/// mode and lost as much in hybrid, on the fixture they lost in both (README, "Relevance").
pub const DEFAULT_K1: f32 = 1.2;
/// Default policy of matching.
pub const DEFAULT_MATCHING: Matching = Matching::Any;
/// Default weight of words that stand close together.
pub const DEFAULT_PROXIMITY: f32 = 0.0;
/// Default weight of the title.
pub const DEFAULT_TITLE_WEIGHT: f32 = 1.0;
/// Default weight of the description.
pub const DEFAULT_DESCRIPTION_WEIGHT: f32 = 1.0;
/// Default weight of a declared field.
pub const DEFAULT_FIELD_WEIGHT: f32 = 1.0;
/// Default of `b`, for every field.
pub const DEFAULT_B: f32 = 0.75;

#[cfg(test)]
mod query_tests;
#[cfg(test)]
mod tests;

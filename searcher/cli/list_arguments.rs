//! The flags for what becomes of the list of hits: sort, facets, collapse. Owns names, help and syntax; nothing is checked
//! against a snapshot here.

use clap::Args;
use searcher::facets::DEFAULT_FACET_VALUES;
use searcher::near_duplicates::DEFAULT_NEAR_DUPLICATE_COSINE;
use searcher::{Query, SortKey};

/// What becomes of the ranked list before a page is shown. Total, pages and facets are of one list.
#[derive(Debug, Args)]
#[command(next_help_heading = "List")]
pub(crate) struct ListArguments {
    /// Sort by fields in place of the ranking, such as `price:desc,title`
    ///
    /// `asc` (small numbers first) is the default; `score` is the final score, best first. Items without a value come
    /// last in both directions, equal ones in the order of the ranking.
    #[arg(long, value_name = "FIELD[:asc|desc]", value_delimiter = ',')]
    pub(crate) sort: Vec<SortKey>,
    /// Count the values of fields over all candidates, such as `brand,category`
    ///
    /// A category counts for every category above it too; of numbers the smallest and the largest are shown.
    #[arg(long = "facet", value_name = "FIELD", value_delimiter = ',')]
    pub(crate) facets: Vec<String>,
    /// Values shown of each facet
    #[arg(long, value_name = "N", default_value_t = DEFAULT_FACET_VALUES)]
    pub(crate) facet_values: usize,
    /// One hit for each value of a string, category or integer field, with the number of others
    #[arg(long, value_name = "FIELD")]
    pub(crate) collapse: Option<String>,
    /// Cosine of image embeddings from which a hit is flagged as showing the picture of an earlier one
    #[arg(long, value_name = "COSINE", default_value_t = DEFAULT_NEAR_DUPLICATE_COSINE)]
    pub(crate) near_duplicate: f32,
}

impl ListArguments {
    /// The query with these flags.
    pub(crate) fn applied_to(&self, query: Query) -> Query {
        Query {
            sort: self.sort.clone(),
            facets: self.facets.clone(),
            facet_values: self.facet_values,
            collapse: self.collapse.clone(),
            near_duplicate_cosine: Some(self.near_duplicate),
            ..query
        }
    }
}

//! What becomes of the ranked list before a page is cut from it: collapse, diversity, sort, facets, in this order. Owns
//! the order of these steps and the marks they leave on hits; not the steps themselves. Invariants: fields are checked
//! before anything is retrieved; total, pages and facets are of the list that comes out.

use std::collections::HashMap;

use schemas::Row;
use schemas::items::ItemsReader;

use crate::collapse::Collapse;
use crate::diversity::{Choice, Diversity, DiversityExplanation};
use crate::error::SearchError;
use crate::facets::{FacetCounts, Facets};
use crate::query::Query;
use crate::rank_fusion::RankedRow;
use crate::snapshot::Searcher;
use crate::sort::Sort;

/// The steps that a query asks for, fit for the snapshot.
#[derive(Debug)]
pub(crate) struct Arrangement<'a> {
    collapse: Option<Collapse>,
    diversity: Option<Diversity<'a>>,
    sort: Sort,
    facets: Facets,
}

/// The list that is paged.
#[derive(Debug)]
pub(crate) struct ArrangedList {
    pub(crate) ranked: Vec<RankedRow>,
    pub(crate) facets: Vec<FacetCounts>,
    pub(crate) marks: Marks,
}

/// What is said of a hit beside its score.
#[derive(Debug)]
pub(crate) struct Marks {
    /// Others that a row stands for; `None` where nothing was collapsed.
    others: Option<HashMap<Row, usize>>,
    /// How diversity chose a row.
    choices: HashMap<Row, Choice>,
    /// The earlier row with nearly the same picture.
    pub(crate) duplicates: HashMap<Row, Row>,
}

impl<'a> Arrangement<'a> {
    /// Fails when a field is unknown or of the wrong type, or the snapshot lacks what a step needs.
    pub(crate) fn of(query: &Query, searcher: &'a Searcher) -> Result<Arrangement<'a>, SearchError> {
        let fields = &searcher.manifest().fields;
        Ok(Arrangement {
            collapse: query.collapse.as_deref().map(|name| Collapse::new(name, fields)).transpose()?,
            diversity: Diversity::of(query, searcher)?,
            sort: Sort::new(&query.sort, fields)?,
            facets: Facets::new(&query.facets, query.facet_values, fields)?,
        })
    }

    pub(crate) fn apply(&self, items: &ItemsReader, ranked: Vec<RankedRow>) -> Result<ArrangedList, SearchError> {
        let (ranked, others) = match &self.collapse {
            Some(collapse) => collapse.apply(items, ranked).map(|(ranked, others)| (ranked, Some(others)))?,
            None => (ranked, None),
        };
        let (ranked, choices) = match &self.diversity {
            Some(diversity) => diversity.apply(ranked)?,
            None => (ranked, HashMap::new()),
        };
        let ranked = self.sort.apply(items, ranked)?;
        let facets = self.facets.count(items, &ranked)?;
        Ok(ArrangedList { ranked, facets, marks: Marks { others, choices, duplicates: HashMap::new() } })
    }
}

impl Marks {
    pub(crate) fn others(&self, row: Row) -> Option<usize> {
        self.others.as_ref().map(|others| others.get(&row).copied().unwrap_or(0))
    }

    pub(crate) fn duplicate_of(&self, items: &ItemsReader, row: Row) -> Result<Option<String>, SearchError> {
        let earlier = self.duplicates.get(&row);
        Ok(earlier.map(|earlier| items.id(*earlier)).transpose()?.map(str::to_owned))
    }

    pub(crate) fn diversity(&self, items: &ItemsReader, row: Row) -> Result<Option<DiversityExplanation>, SearchError> {
        let Some(Choice { rank_before, nearest }) = self.choices.get(&row) else { return Ok(None) };
        let similar_to = nearest.map(|(_, nearest)| items.id(nearest)).transpose()?.map(str::to_owned);
        let similarity = nearest.map(|(similarity, _)| similarity);
        Ok(Some(DiversityExplanation { rank_before: *rank_before, similarity, similar_to }))
    }
}

//! What a query's texts demand of every hit. Owns reading texts with a snapshot's fields, and the rows that satisfy their
//! clauses; not the syntax (`query_text`). Invariant: every clause that is read can be evaluated.

use crate::error::SearchError;
use crate::filter::Filter;
use crate::query::Query;
use crate::query_text::{self, Clause, QueryText};
use crate::row_set::RowSet;
use crate::snapshot::Searcher;

impl Searcher {
    /// What of a text is syntax, for this snapshot's fields.
    #[must_use]
    pub fn understand(&self, text: &str) -> QueryText {
        let is_declared = |name: &str| self.manifest().fields.iter().any(|field| field.name == name);
        let is_searched = |name: &str| self.keyword.is_searched(name);
        let understood = query_text::read(text, |name| is_declared(name) || is_searched(name), is_searched);
        // A value that does not fit its field's type is no condition.
        let fits = |clause: &Clause| self.field_filter(clause).is_none_or(|filter| filter.is_ok());
        if understood.clauses.iter().all(fits) {
            return understood;
        }
        let fits_type = |name: &str| {
            let ill = |clause: &Clause| clause.field.as_deref() == Some(name) && !fits(clause);
            !understood.clauses.iter().any(ill)
        };
        query_text::read(text, |name| fits_type(name) && (is_declared(name) || is_searched(name)), is_searched)
    }

    /// The filter that a clause about a field that is not searched means.
    fn field_filter(&self, clause: &Clause) -> Option<Result<Filter, SearchError>> {
        let name = clause.field.as_deref().filter(|name| !self.keyword.is_searched(name))?;
        Some(Filter::field_has(name, &clause.words, &self.manifest().fields))
    }

    /// The kept rows that also satisfy the clauses of the query's texts.
    pub(crate) fn with_clauses(&self, rows: Option<RowSet>, query: &Query) -> Result<Option<RowSet>, SearchError> {
        let mut rows = rows;
        for clause in query.keyword_texts().flat_map(|part| self.understand(&part.text).clauses) {
            let mut having = match self.field_filter(&clause) {
                Some(filter) => filter?.evaluate(&self.items)?,
                None => self.keyword.rows_with(&clause.words, clause.field.as_deref())?,
            };
            if clause.excluded {
                having.complement();
            }
            match &mut rows {
                Some(rows) => rows.intersect(&having),
                None => rows = Some(having),
            }
        }
        Ok(rows)
    }
}

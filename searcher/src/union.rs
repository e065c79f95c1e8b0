//! The candidates of a query: what either retriever has among its best, each with both scores. Owns joining the two lists
//! and scoring in each what only the other found; not the scores. Invariants: a row comes once, in row order; its scores are
//! those that the retrievers give it, whichever found it.
//!
//! The vector retriever goes first: its rows are then scored by the walk over postings that finds the keyword retriever's.

use schemas::Row;

use crate::candidate::Candidate;
use crate::error::SearchError;
use crate::keyword::KeywordFound;
use crate::rank_fusion::ScoredRow;
use crate::row_set::RowSet;
use crate::search::Question;
use crate::snapshot::Searcher;
use crate::vector;

/// A row that a retriever found, with the scores that are known.
#[derive(Clone, Copy, Debug, PartialEq)]
struct FoundRow {
    row: Row,
    /// `None` where no word finds it.
    keyword: Option<f32>,
    /// `None` where the vector retriever did not find it.
    vector: Option<f32>,
}

impl Searcher {
    /// The rows that either retriever has among its best, of `rows` where given, with both scores, in row order.
    pub(crate) fn candidates(
        &self,
        question: &Question<'_>,
        rows: Option<&RowSet>,
    ) -> Result<Vec<ScoredRow>, SearchError> {
        // No more than there are; and enough that the excluded ones do not cost a candidate.
        let item_count = usize::try_from(self.manifest().item_count).unwrap_or(usize::MAX);
        let depth = question.depth.saturating_add(question.excluded.len()).min(item_count);
        if depth == 0 || rows.is_some_and(RowSet::is_empty) {
            return Ok(Vec::new());
        }
        let by_vectors = match &question.vector {
            Some((files, embeddings)) => {
                let scorer = files.scorer(embeddings);
                let found = vector::retrieve(&files.graph, &scorer, &files.embedding_fusion, rows, depth)?;
                question.kept_in_row_order(found)
            }
            None => Vec::new(),
        };
        let found = match &question.keyword {
            Some(keyword) => {
                let others: Vec<Row> = by_vectors.iter().map(|candidate| candidate.row).collect();
                let KeywordFound { best, others } = self.keyword.retrieve_beside(keyword, rows, depth, &others)?;
                let mut found = join(&question.kept_in_row_order(best), &by_vectors, &others);
                let scores = found.iter_mut().filter_map(|found| Some((found.row, found.keyword.as_mut()?)));
                self.keyword.add_proximity(keyword, scores)?;
                found
            }
            None => join(&[], &by_vectors, &vec![None; by_vectors.len()]),
        };
        let scorer = question.vector_scorer();
        let scored = found.into_iter().map(|FoundRow { row, keyword, vector }| {
            let vector = match (vector, scorer) {
                (None, Some(scorer)) => scorer.score(row)?,
                (Some(_), _) | (None, None) => vector,
            };
            Ok(ScoredRow { row, keyword: keyword.unwrap_or(0.0), vector })
        });
        scored.collect()
    }
}

impl Question<'_> {
    /// The best `depth` of a retriever's rows that are not excluded, in row order.
    fn kept_in_row_order(&self, found: Vec<Candidate>) -> Vec<Candidate> {
        let mut kept = found;
        kept.retain(|candidate| !self.excluded.contains(&candidate.row));
        kept.truncate(self.depth);
        kept.sort_unstable_by_key(|candidate| candidate.row);
        kept
    }
}

/// Joins both lists, which are in row order; `keyword_scores` are those of the rows that the vectors found.
fn join(by_keyword: &[Candidate], by_vectors: &[Candidate], keyword_scores: &[Option<f32>]) -> Vec<FoundRow> {
    let mut joined = Vec::with_capacity(by_keyword.len() + by_vectors.len());
    let mut by_keyword = by_keyword.iter().peekable();
    for (candidate, keyword) in by_vectors.iter().zip(keyword_scores) {
        while let Some(before) = by_keyword.next_if(|other| other.row < candidate.row) {
            joined.push(FoundRow { row: before.row, keyword: Some(before.score), vector: None });
        }
        by_keyword.next_if(|other| other.row == candidate.row);
        joined.push(FoundRow { row: candidate.row, keyword: *keyword, vector: Some(candidate.score) });
    }
    joined.extend(by_keyword.map(|left| FoundRow { row: left.row, keyword: Some(left.score), vector: None }));
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_both_lists_come_once_and_in_row_order() {
        let list = |rows: &[(Row, f32)]| -> Vec<Candidate> {
            rows.iter().map(|(row, score)| Candidate { row: *row, score: *score, rank: 1 }).collect()
        };
        let joined = join(&list(&[(1, 9.0), (4, 8.0), (7, 7.0)]), &list(&[(4, 0.5), (5, 0.4)]), &[Some(8.0), None]);
        let found = |row, keyword, vector| FoundRow { row, keyword, vector };
        let expected = [
            found(1, Some(9.0), None),
            found(4, Some(8.0), Some(0.5)),
            found(5, None, Some(0.4)),
            found(7, Some(7.0), None),
        ];
        assert_eq!(joined, expected);
        assert_eq!(join(&[], &list(&[(4, 0.5)]), &[None]), [found(4, None, Some(0.5))]);
    }
}

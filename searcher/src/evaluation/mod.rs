//! Evaluation against judgments: queries → ranked lists → means of the measures. Owns which queries count, the ranked
//! lists of a snapshot, and their form as a TREC run; the measures themselves are in [`metrics`]. Invariants: a list is
//! measured in the very order in which a search shows it, and the run written from it has strictly falling scores, so
//! that trec_eval, which orders ties in its own way, measures the same order.
//!
//! Means are over the queries with at least one relevant document in the judgments, found or not; the others are
//! counted as skipped.

pub mod comparison;
pub mod measure;
pub mod metrics;
pub mod paired;

use std::path::Path;

use schemas::trec::{Qrels, TrecQuery};
use serde::Serialize;

pub use comparison::{ComparedQuery, Comparison, compare};
pub use measure::{GradedList, Measure};
pub use metrics::{Metrics, has_relevant, trec_order};

use crate::error::SearchError;
use crate::query::{DEFAULT_PART_WEIGHT, ImagePart, Mode, Query, TextPart};
use crate::snapshot::Searcher;

/// Length of the lists that are measured, where the depth gives as many: trec_eval's customary cut.
pub const DEFAULT_LIST_LENGTH: usize = 1000;

/// A query with its id in the judgments.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluationQuery {
    /// Id in the judgments.
    pub id: String,
    /// The question; mode, limit and offset are set by the evaluation.
    pub query: Query,
}

impl EvaluationQuery {
    /// A query from a line whose second column is a text.
    #[must_use]
    pub fn from_text(line: &TrecQuery) -> EvaluationQuery {
        EvaluationQuery { id: line.id.clone(), query: Query::text(&line.text) }
    }

    /// A query from a line whose second column is a picture's path relative to `folder`, and whose third, if it is
    /// there, is a text beside it.
    #[must_use]
    pub fn from_picture(line: &TrecQuery, folder: &Path) -> EvaluationQuery {
        let weight = DEFAULT_PART_WEIGHT;
        let images = vec![ImagePart { file: folder.join(&line.text), weight }];
        let text = line.second_text.iter().filter(|text| !text.trim().is_empty());
        let texts = text.map(|text| TextPart { text: text.clone(), weight }).collect();
        EvaluationQuery { id: line.id.clone(), query: Query { texts, images, ..Query::default() } }
    }
}

/// What one mode finds for one query, best first.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    /// Id of the query.
    pub query: String,
    /// Document ids with scores.
    pub documents: Vec<(String, f32)>,
}

impl Ranking {
    /// The ids of the documents, best first.
    #[must_use]
    pub fn ids(&self) -> Vec<&str> {
        self.documents.iter().map(|(document, _)| document.as_str()).collect()
    }

    /// The documents with scores that fall strictly, for a TREC run: a score that is not below the one before becomes
    /// the next 32-bit number below that one. 32 bits, because trec_eval keeps no more.
    #[must_use]
    pub fn run(&self) -> Vec<(String, f64)> {
        let mut previous = f32::INFINITY;
        let fall = |(document, score): &(String, f32)| {
            previous = if *score < previous { *score } else { previous.next_down() };
            (document.clone(), f64::from(previous))
        };
        self.documents.iter().map(fall).collect()
    }
}

/// Asks one query in several modes; its parts are encoded once. A mode that the query has nothing for (keyword for a
/// picture alone) finds nothing.
///
/// # Errors
/// As [`Searcher::search`].
pub fn rank(searcher: &Searcher, asked: &EvaluationQuery, modes: &[Mode]) -> Result<Vec<Ranking>, SearchError> {
    // Of a hit only id and score count here.
    let shown = Query { explain: false, near_duplicate_cosine: None, ..asked.query.clone() };
    let question = Query { limit: DEFAULT_LIST_LENGTH, offset: 0, ..shown };
    let encodes = modes.iter().find(|mode| mode.uses_vector());
    let encoded = encodes.map(|mode| searcher.encode(&Query { mode: *mode, ..question.clone() })).transpose()?;
    let mut rankings = Vec::with_capacity(modes.len());
    for mode in modes {
        let has_text = question.keyword_texts().next().is_some();
        let query = Query { mode: *mode, ..question.clone() };
        let hits = match &encoded {
            Some(encoded) if mode.uses_vector() => searcher.search_encoded(&query, encoded)?.hits,
            Some(_) | None if has_text => searcher.search(&query)?.hits,
            Some(_) | None => Vec::new(),
        };
        let documents = hits.into_iter().map(|hit| (hit.id, hit.score)).collect();
        rankings.push(Ranking { query: asked.id.clone(), documents });
    }
    Ok(rankings)
}

/// Means over queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Evaluation {
    /// The means.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// Queries they are over: those with a relevant document.
    pub queries: usize,
    /// Queries left out: those without a relevant document in the judgments.
    pub skipped: usize,
}

/// Measures lists in the order they have.
#[must_use]
pub fn evaluate<'a>(lists: impl IntoIterator<Item = (&'a str, Vec<&'a str>)>, qrels: &Qrels) -> Evaluation {
    let mut measured = Vec::new();
    let mut skipped = 0;
    for (query, ranked) in lists {
        match qrels.get(query).filter(|judgments| has_relevant(judgments)) {
            Some(judgments) => measured.push(Metrics::of(&ranked, judgments)),
            None => skipped += 1,
        }
    }
    Evaluation { metrics: Metrics::mean(&measured), queries: measured.len(), skipped }
}

/// Measures rankings of this searcher.
#[must_use]
pub fn evaluate_rankings(rankings: &[Ranking], qrels: &Qrels) -> Evaluation {
    evaluate(rankings.iter().map(|ranking| (ranking.query.as_str(), ranking.ids())), qrels)
}

/// One query's measures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QueryMetrics {
    /// Id of the query.
    pub query: String,
    /// Its measures.
    #[serde(flatten)]
    pub metrics: Metrics,
}

/// The measures of each query with a relevant document, in the rankings' order.
#[must_use]
pub fn metrics_by_query(rankings: &[Ranking], qrels: &Qrels) -> Vec<QueryMetrics> {
    let measured = judged(rankings, qrels).map(|(ranking, judgments)| QueryMetrics {
        query: ranking.query.clone(),
        metrics: Metrics::of(&ranking.ids(), judgments),
    });
    measured.collect()
}

/// One measure of each query with a relevant document, in the rankings' order.
#[must_use]
pub fn values_by_query(rankings: &[Ranking], qrels: &Qrels, measure: Measure) -> Vec<(String, f64)> {
    let measured = judged(rankings, qrels).map(|(ranking, judgments)| {
        let (ranked, judged) = (metrics::grades(&ranking.ids(), judgments), metrics::highest_first(judgments));
        (ranking.query.clone(), measure.of(GradedList { ranked: &ranked, judged: &judged }))
    });
    measured.collect()
}

/// The rankings of queries with a relevant document, with their judgments.
fn judged<'a>(
    rankings: &'a [Ranking],
    qrels: &'a Qrels,
) -> impl Iterator<Item = (&'a Ranking, &'a metrics::Judgments)> {
    let judgments = |ranking: &Ranking| qrels.get(&ranking.query).filter(|judgments| has_relevant(judgments));
    rankings.iter().filter_map(move |ranking| judgments(ranking).map(|judgments| (ranking, judgments)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_keeps_the_order_and_falls_strictly() {
        let documents = [("a", 2.0), ("b", 1.0), ("c", 1.0), ("d", 1.0), ("e", 0.5), ("f", 0.0), ("g", 0.0)];
        let documents: Vec<(String, f32)> = documents.map(|(id, score)| (id.to_owned(), score)).to_vec();
        let run = Ranking { query: "q".to_owned(), documents }.run();
        assert!(run.windows(2).all(|pair| (pair[1].1 as f32) < (pair[0].1 as f32)));
        assert_eq!(trec_order(&run), ["a", "b", "c", "d", "e", "f", "g"]);
        assert_eq!((run[0].1, run[1].1, run[4].1), (2.0, 1.0, 0.5));
    }

    #[test]
    fn queries_without_a_relevant_document_are_skipped() {
        let judgments = |grade| [("a".to_owned(), grade)].into_iter().collect();
        let qrels: Qrels = [("q1".to_owned(), judgments(1)), ("q2".to_owned(), judgments(0))].into_iter().collect();
        let found = evaluate([("q1", vec!["a"]), ("q2", vec!["a"]), ("q3", vec!["a"])], &qrels);
        assert_eq!((found.queries, found.skipped), (1, 2));
        assert_eq!(found.metrics.ndcg_at_10, 1.0);
    }

    #[test]
    fn picture_queries_are_relative_to_their_file() {
        let line = TrecQuery { id: "q".to_owned(), text: "shop/a.jpg".to_owned(), second_text: Some("red".to_owned()) };
        let asked = EvaluationQuery::from_picture(&line, Path::new("/data"));
        assert_eq!(asked.query.images[0].file, Path::new("/data/shop/a.jpg"));
        assert_eq!(asked.query.texts[0].text, "red");
    }
}

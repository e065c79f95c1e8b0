//! Trials: what settings reach on each judged query. Owns asking and remembering; not which settings are tried. Invariant: a
//! trial is measured on what a search with these settings shows.

use std::collections::HashMap;

use rayon::prelude::*;
use schemas::RankingSettings;
use schemas::trec::Qrels;

use super::space::{Point, Space};
use crate::error::SearchError;
use crate::evaluation::metrics::{Judgments, grades, highest_first};
use crate::evaluation::{DEFAULT_LIST_LENGTH, EvaluationQuery, GradedList, Measure, has_relevant};
use crate::query::{Mode, Query};
use crate::query_encoder::EncodedQuery;
use crate::snapshot::Searcher;

/// A judged query, encoded once for all trials.
struct TrialQuery<'a> {
    id: &'a str,
    query: Query,
    encoded: EncodedQuery,
    judgments: &'a Judgments,
    /// All its grades, highest first.
    grades: Vec<i64>,
}

/// Judged queries, and the trials on them so far.
pub(super) struct Trials<'a> {
    searcher: &'a Searcher,
    space: &'a Space,
    /// What the points' settings are laid over.
    base: &'a RankingSettings,
    measures: &'a [Measure],
    queries: Vec<TrialQuery<'a>>,
    /// By point: for each query the value of each measure.
    measured: HashMap<Point, Vec<Vec<f64>>>,
    /// Told of every trial.
    progress: &'a (dyn Fn() + Sync),
}

impl<'a> Trials<'a> {
    /// Encodes the queries that have a relevant item and something that the mode can look for.
    pub(super) fn prepare(
        searcher: &'a Searcher,
        space: &'a Space,
        (asked, qrels): (&'a [EvaluationQuery], &'a Qrels),
        mode: Mode,
        (base, measures): (&'a RankingSettings, &'a [Measure]),
        progress: &'a (dyn Fn() + Sync),
    ) -> Result<Trials<'a>, SearchError> {
        let mut queries = Vec::new();
        for asked in asked {
            let Some(judgments) = qrels.get(&asked.id).filter(|judgments| has_relevant(judgments)) else { continue };
            if mode == Mode::Keyword && asked.query.keyword_texts().next().is_none() {
                continue;
            }
            let query = Query { mode, limit: DEFAULT_LIST_LENGTH, offset: 0, explain: false, ..asked.query.clone() };
            let encoded = searcher.encode(&query)?;
            queries.push(TrialQuery { id: &asked.id, query, encoded, judgments, grades: highest_first(judgments) });
        }
        Ok(Trials { searcher, space, base, measures, queries, measured: HashMap::new(), progress })
    }

    /// Ids of the queries, in the order of all values.
    pub(super) fn query_ids(&self) -> Vec<&'a str> {
        self.queries.iter().map(|query| query.id).collect()
    }

    /// Trials made.
    pub(super) fn made(&self) -> usize {
        self.measured.len()
    }

    /// The value of each measure for each query.
    pub(super) fn values(&mut self, point: &Point) -> Result<&[Vec<f64>], SearchError> {
        if !self.measured.contains_key(point) {
            let settings = self.space.settings(point, self.base);
            let values = self.queries.par_iter().map(|query| self.ask(query, &settings));
            let values = values.collect::<Result<Vec<Vec<f64>>, SearchError>>()?;
            self.measured.insert(point.clone(), values);
            (self.progress)();
        }
        Ok(self.measured.get(point).map(Vec::as_slice).unwrap_or_default())
    }

    /// The objective, which is the mean of the measures, over some of the queries.
    pub(super) fn objective(&mut self, point: &Point, queries: &[usize]) -> Result<f64, SearchError> {
        let values = self.values(point)?;
        let of_query = |query: &usize| mean(values[*query].iter().copied());
        Ok(mean(queries.iter().map(of_query)))
    }

    fn ask(&self, asked: &TrialQuery<'_>, settings: &RankingSettings) -> Result<Vec<f64>, SearchError> {
        let query = Query { settings: settings.clone(), ..asked.query.clone() };
        let hits = self.searcher.search_encoded(&query, &asked.encoded)?.hits;
        let ids: Vec<&str> = hits.iter().map(|hit| hit.id.as_str()).collect();
        let ranked = grades(&ids, asked.judgments);
        let list = GradedList { ranked: &ranked, judged: &asked.grades };
        Ok(self.measures.iter().map(|measure| measure.of(list)).collect())
    }
}

/// The mean; 0 of nothing.
pub(super) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}

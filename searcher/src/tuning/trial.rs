//! Trials: what settings reach on each judged query. Owns asking and remembering; not which settings are tried. Invariant: a
//! trial is measured on what a search with these settings shows.
//!
//! What the retrievers find is kept until other settings of theirs are tried: settings that differ in rank fusion alone
//! cost no more than joining the scores again. Memory: the candidates of all queries, 16 bytes each.

use std::collections::HashMap;

use rayon::prelude::*;
use schemas::ranking::RankFusionSettings;
use schemas::trec::Qrels;
use schemas::{RankingSettings, SchemaError};

use super::space::{Point, Space};
use crate::arrangement::Arrangement;
use crate::error::SearchError;
use crate::evaluation::metrics::{Judgments, grades, highest_first};
use crate::evaluation::{DEFAULT_LIST_LENGTH, EvaluationQuery, GradedList, Measure, has_relevant};
use crate::query::{Mode, Query};
use crate::query_encoder::EncodedQuery;
use crate::rank_fusion::query_alpha::QueryFeatures;
use crate::search::Found;
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

/// What the retrievers found, query by query, with the settings that decide it.
struct Retrieved<'a> {
    settings: RankingSettings,
    found: Vec<Found<'a>>,
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
    retrieved: Option<Retrieved<'a>>,
    /// Trials made.
    made: usize,
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
            let query = Query { mode, ..asked.query.clone() };
            query.check()?;
            let encoded = searcher.encode(&query)?;
            queries.push(TrialQuery { id: &asked.id, query, encoded, judgments, grades: highest_first(judgments) });
        }
        Ok(Trials {
            searcher,
            space,
            base,
            measures,
            queries,
            measured: HashMap::new(),
            retrieved: None,
            made: 0,
            progress,
        })
    }

    /// Ids of the queries, in the order of all values.
    pub(super) fn query_ids(&self) -> Vec<&'a str> {
        self.queries.iter().map(|query| query.id).collect()
    }

    /// Trials made.
    pub(super) fn made(&self) -> usize {
        self.made
    }

    /// The value of each measure for each query, at a point; measured once.
    pub(super) fn values(&mut self, point: &Point) -> Result<&[Vec<f64>], SearchError> {
        if !self.measured.contains_key(point) {
            let values = self.measure(&self.space.settings(point, self.base))?;
            self.measured.insert(point.clone(), values);
        }
        Ok(self.measured.get(point).map(Vec::as_slice).unwrap_or_default())
    }

    /// The value of each measure for each query.
    pub(super) fn measure(&mut self, settings: &RankingSettings) -> Result<Vec<Vec<f64>>, SearchError> {
        settings.check().map_err(|reason| SearchError::Query { reason })?;
        self.retrieve(settings)?;
        let asked = self.queries.par_iter().zip(self.found());
        let values = asked.map(|(query, found)| self.ask(query, found, settings));
        let values = values.collect::<Result<Vec<Vec<f64>>, SearchError>>();
        self.made += 1;
        (self.progress)();
        values.map_err(|error| self.searcher.name_damaged_file(error))
    }

    /// The features of each query; `None` for one whose alpha they do not move.
    pub(super) fn features(&mut self, settings: &RankingSettings) -> Result<Vec<Option<QueryFeatures>>, SearchError> {
        self.retrieve(settings)?;
        Ok(self
            .queries
            .iter()
            .zip(self.found())
            .map(|(asked, found)| self.searcher.features(&asked.query, found))
            .collect())
    }

    /// The objective, which is the mean of the measures, over some of the queries.
    pub(super) fn objective(&mut self, point: &Point, queries: &[usize]) -> Result<f64, SearchError> {
        let values = self.values(point)?;
        let of_query = |query: &usize| mean(values[*query].iter().copied());
        Ok(mean(queries.iter().map(of_query)))
    }

    /// Asks the retrievers, unless their settings are those of the last trial.
    fn retrieve(&mut self, settings: &RankingSettings) -> Result<(), SearchError> {
        let depth = settings.rank_fusion.depth;
        let rank_fusion = RankFusionSettings { depth, ..RankFusionSettings::default() };
        let settings = RankingSettings { rank_fusion, ..settings.clone() };
        if self.retrieved.as_ref().is_some_and(|retrieved| retrieved.settings == settings) {
            return Ok(());
        }
        // Never two at a time.
        self.retrieved = None;
        let searcher = self.searcher;
        let found = self.queries.par_iter().map(|asked| {
            let query = Query { settings: settings.clone(), ..asked.query.clone() };
            let filter = searcher.filter(&query)?;
            searcher.find(&query, filter.as_ref(), &asked.encoded)
        });
        let found = found.collect::<Result<Vec<Found<'a>>, SearchError>>();
        let found = found.map_err(|error| searcher.name_damaged_file(error))?;
        self.retrieved = Some(Retrieved { settings, found });
        Ok(())
    }

    /// What the retrievers found last, query by query.
    fn found(&self) -> &[Found<'a>] {
        self.retrieved.as_ref().map(|retrieved| retrieved.found.as_slice()).unwrap_or_default()
    }

    fn ask(
        &self,
        asked: &TrialQuery<'_>,
        found: &Found<'_>,
        settings: &RankingSettings,
    ) -> Result<Vec<f64>, SearchError> {
        let query = Query { settings: settings.clone(), ..asked.query.clone() };
        let (_, list) = self.searcher.list(&query, &Arrangement::of(&query, self.searcher)?, found)?;
        let ids = list.ranked.iter().take(DEFAULT_LIST_LENGTH).map(|ranked| self.searcher.items.id(ranked.row));
        let ids = ids.collect::<Result<Vec<&str>, SchemaError>>()?;
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

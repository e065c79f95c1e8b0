//! Tuning: judged queries → ranking settings that win on them, with what they are worth on queries they were not tuned on.
//! Owns the search and the cross-validation; the grids are in `space.rs`, asking the queries in `trial.rs`. Invariants: the
//! same snapshot, queries, judgments and configuration give the same report; the cross-validated value of a query never
//! comes from settings that saw its judgments.
//!
//! There are two searches. The coarse one, the default, tries all combinations of few values of few parameters (`coarse.rs`). The
//! random one (Bergstra, Bengio 2012) tries the starting settings and random points of finer grids of every parameter near
//! them; what it chooses is the middle of the best points, parameter by parameter, and then every parameter that can go
//! back to its starting value without a loss does. Each point is tried on every query once, so that all folds share the
//! trials. Neither takes the best point, which on some dozens of queries is mostly lucky. (Stepping on from the best
//! point to better neighbours was tried: it raised the objective on the queries seen and lowered it on the others.)
//!
//! Cross-validation: the queries are dealt into folds at random; for each fold the search sees the other folds' judgments
//! only, and its settings are measured on the fold. The values of all folds together are compared, query by query, with the
//! starting settings. The settings that are returned are those of the search that sees all queries.

mod coarse;
mod space;
mod trial;

use schemas::RankingSettings;
use schemas::trec::Qrels;
use serde::Serialize;

use crate::error::SearchError;
use crate::evaluation::paired::{bootstrap_interval, randomisation_test};
use crate::evaluation::{Comparison, EvaluationQuery, Measure, compare};
use crate::query::Mode;
use crate::random::SeededRandom;
use crate::snapshot::Searcher;
use space::{Point, Space};
use trial::{Trials, mean};

/// Folds of the cross-validation.
pub const DEFAULT_FOLDS: usize = 10;
/// Random points that are tried.
pub const DEFAULT_TRIALS: usize = 200;
/// Seed of random points, folds, test and interval.
pub const DEFAULT_SEED: u64 = 20_261_121;

/// The best points of a random search whose middle is taken.
const BEST_POINTS: usize = 15;
/// Gains below this are none.
const LEAST_GAIN: f64 = 1e-9;

/// What to tune for, and how long.
#[derive(Clone, Debug, PartialEq)]
pub struct TuningConfig {
    /// Retrievers that are tuned.
    pub mode: Mode,
    /// The mean of these measures is made as large as possible; at least one.
    pub objective: Vec<Measure>,
    /// Folds, at least 2. Default: [`DEFAULT_FOLDS`].
    pub folds: usize,
    /// What is tried.
    pub search: TuningSearch,
    /// Seed. Default: [`DEFAULT_SEED`].
    pub seed: u64,
    /// Settings to start from, which take the place of the snapshot's.
    pub start: RankingSettings,
}

/// Which settings are tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TuningSearch {
    /// All combinations of few values of few parameters: the title's weight and `b`, alpha, method and `keyword_first`; in mode
    /// `vector` the modality weights.
    #[default]
    Coarse,
    /// So many random points of finer grids of every parameter; [`DEFAULT_TRIALS`] by default. For many judged queries.
    Random(usize),
}

/// What tuning found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TuningReport {
    /// Retrievers that were tuned.
    pub mode: Mode,
    /// Measures whose mean was made large.
    pub objective: Vec<Measure>,
    /// What was tried.
    pub search: TuningSearch,
    /// Folds.
    pub folds: usize,
    /// Seed.
    pub seed: u64,
    /// Judged queries that counted.
    pub queries: usize,
    /// Settings that were tried.
    pub trials: usize,
    /// The objective with the starting settings.
    pub untuned: f64,
    /// The objective on queries that the settings were not tuned on.
    pub cross_validated: f64,
    /// Mean over queries of the cross-validated less the untuned objective.
    pub gain: f64,
    /// Bootstrap interval of the gain, by [`bootstrap_interval`].
    pub gain_interval: (f64, f64),
    /// Two-sided p-value of the gain, by the paired randomisation test.
    pub p_value: f64,
    /// The objective of the returned settings on the queries they were tuned on: too high a figure for new queries.
    pub in_sample: f64,
    /// Each measure, untuned against cross-validated.
    pub measures: Vec<Comparison>,
    /// What each fold's search chose.
    pub chosen_by_fold: Vec<RankingSettings>,
    /// The settings tuned on all queries.
    pub settings: RankingSettings,
}

/// Tunes ranking settings. `progress` is told of every trial. Cost: each query is encoded once, then asked for each trial:
/// 96 in a coarse search of mode `hybrid`, about as many as asked for in a random one, in parallel over queries.
///
/// # Errors
/// When the configuration does not fit (fewer queries than folds, no measure, a field that is not searched), or a query
/// cannot be answered.
pub fn tune(
    searcher: &Searcher,
    queries: &[EvaluationQuery],
    qrels: &Qrels,
    config: &TuningConfig,
    progress: &(dyn Fn() + Sync),
) -> Result<TuningReport, SearchError> {
    let refuse = |reason: String| SearchError::Query { reason };
    if config.folds < 2 || config.objective.is_empty() {
        return Err(refuse("tuning needs at least 2 folds and a measure".to_owned()));
    }
    let space = Space::new(searcher.manifest(), &config.start, config.mode).map_err(refuse)?;
    let basis = (&config.start, config.objective.as_slice());
    let mut trials = Trials::prepare(searcher, &space, (queries, qrels), config.mode, basis, progress)?;
    let ids = trials.query_ids();
    if ids.len() < config.folds {
        let reason = format!("{} judged queries are too few for {} folds", ids.len(), config.folds);
        return Err(refuse(reason));
    }

    let mut random = SeededRandom::new(config.seed);
    let pool = match config.search {
        TuningSearch::Coarse => coarse::points(&space, config.mode),
        TuningSearch::Random(trials) => {
            let drawn = (0..trials).map(|_| space.draw(&mut random));
            std::iter::once(space.start().clone()).chain(drawn).collect()
        }
    };
    let fold_of = deal(ids.len(), config.folds, &mut random);
    let mut validated = vec![Vec::new(); ids.len()];
    let mut chosen_by_fold = Vec::with_capacity(config.folds);
    for fold in 0..config.folds {
        let seen: Vec<usize> = (0..ids.len()).filter(|query| fold_of[*query] != fold).collect();
        let best = search(&space, &mut trials, (&pool, config.search), &seen)?;
        let values = trials.values(&best)?;
        for query in (0..ids.len()).filter(|query| fold_of[*query] == fold) {
            validated[query].clone_from(&values[query]);
        }
        chosen_by_fold.push(space.settings(&best, &config.start));
    }
    let all: Vec<usize> = (0..ids.len()).collect();
    let best = search(&space, &mut trials, (&pool, config.search), &all)?;

    let untuned = trials.values(space.start())?.to_vec();
    let named = |values: &[Vec<f64>], value: &dyn Fn(&[f64]) -> f64| -> Vec<(String, f64)> {
        ids.iter().zip(values).map(|(id, values)| ((*id).to_owned(), value(values))).collect()
    };
    let compared = |measure, value: &dyn Fn(&[f64]) -> f64| {
        compare(measure, &named(&untuned, value), &named(&validated, value), config.seed)
    };
    let measures = config.objective.iter().enumerate();
    let measures = measures.map(|(number, measure)| compared(*measure, &|values| values[number])).collect();
    let objective =
        |values: &[Vec<f64>]| -> Vec<f64> { values.iter().map(|values| mean(values.iter().copied())).collect() };
    let (before, after) = (objective(&untuned), objective(&validated));
    let gains: Vec<f64> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
    Ok(TuningReport {
        mode: config.mode,
        objective: config.objective.clone(),
        search: config.search,
        folds: config.folds,
        seed: config.seed,
        queries: ids.len(),
        untuned: mean(before.iter().copied()),
        cross_validated: mean(after.iter().copied()),
        gain: mean(gains.iter().copied()),
        gain_interval: bootstrap_interval(&gains, config.seed),
        p_value: randomisation_test(&gains, config.seed).p_value,
        in_sample: trials.objective(&best, &all)?,
        trials: trials.made(),
        measures,
        chosen_by_fold,
        settings: space.settings(&best, &config.start),
    })
}

/// The point chosen for some queries: the commonest or the middle of the best ones where that gains, else the start. Equal
/// points rank in the order of the pool.
fn search(
    space: &Space,
    trials: &mut Trials<'_>,
    (pool, search): (&[Point], TuningSearch),
    queries: &[usize],
) -> Result<Point, SearchError> {
    let mut ranked = Vec::with_capacity(pool.len());
    for point in pool {
        ranked.push((trials.objective(point, queries)?, point));
    }
    ranked.sort_by(|(left, _), (right, _)| right.total_cmp(left)); // stable
    let count = match search {
        TuningSearch::Coarse => coarse::best_points(pool.len()),
        TuningSearch::Random(_) => BEST_POINTS,
    };
    let best: Vec<&Point> = ranked.iter().take(count).map(|(_, point)| *point).collect();
    let mut reached = trials.objective(space.start(), queries)?;
    let mut best = match search {
        TuningSearch::Coarse => coarse::most_common(&best).unwrap_or(space.start()).clone(),
        TuningSearch::Random(_) => space.middle(&best),
    };
    let objective = trials.objective(&best, queries)?;
    if objective <= reached + LEAST_GAIN {
        return Ok(space.start().clone());
    }
    if search == TuningSearch::Coarse {
        return Ok(best);
    }
    // What gains nothing is noise.
    reached = objective;
    'simpler: loop {
        for simpler in space.towards_start(&best) {
            let objective = trials.objective(&simpler, queries)?;
            if objective >= reached - LEAST_GAIN {
                (best, reached) = (simpler, objective);
                continue 'simpler;
            }
        }
        return Ok(best);
    }
}

/// The fold of each query: dealt out like cards, so that sizes differ by one at most.
fn deal(queries: usize, folds: usize, random: &mut SeededRandom) -> Vec<usize> {
    let mut fold_of: Vec<usize> = (0..queries).map(|query| query % folds).collect();
    random.shuffle(&mut fold_of);
    fold_of
}

#[cfg(test)]
mod tests;

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
//!
//! In mode `hybrid` one more step follows the search, inside each fold: whether an alpha that depends on the query wins over the
//! constant one (`query_alpha.rs`). It is reported beside the constant alpha, and returned only where the rule there keeps it.

mod coarse;
mod compared;
mod query_alpha;
mod space;
mod trial;

use schemas::RankingSettings;
use schemas::ranking::{QueryAlpha, RankFusionSettings};
use schemas::trec::Qrels;
use serde::Serialize;

use crate::error::SearchError;
use crate::evaluation::paired::bootstrap_interval;
use crate::evaluation::{Comparison, EvaluationQuery, Measure};
use crate::query::Mode;
use crate::random::SeededRandom;
use crate::snapshot::Searcher;
use compared::{Compared, Comparing, objectives};
use query_alpha::Fold;
pub use query_alpha::{KEPT_BELOW_P, QueryAlphaReport};
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
    /// The objective on queries that the settings were not tuned on; with a constant alpha.
    pub cross_validated: f64,
    /// Mean over queries of the cross-validated less the untuned objective.
    pub gain: f64,
    /// Bootstrap interval of the gain, by [`bootstrap_interval`].
    pub gain_interval: (f64, f64),
    /// Two-sided p-value of the gain, by the paired randomisation test.
    pub p_value: f64,
    /// The objective of the returned settings on the queries they were tuned on: too high a figure for new queries.
    pub in_sample: f64,
    /// Each measure, untuned against cross-validated with a constant alpha.
    pub measures: Vec<Comparison>,
    /// What each fold's search chose, with a constant alpha.
    pub chosen_by_fold: Vec<RankingSettings>,
    /// What an alpha that depends on the query adds to that; `None` in the other modes than `hybrid`.
    pub query_alpha: Option<QueryAlphaReport>,
    /// The settings tuned on all queries; with what moves alpha where `query_alpha` was kept.
    pub settings: RankingSettings,
}

/// Tunes ranking settings. `progress` is told of every trial. Cost: each query is encoded once; then the retrievers are asked
/// anew for each of their settings, of which a coarse search of mode `hybrid` has four, and the scores joined for each trial:
/// 96 in such a search, about as many as asked for in a random one, and in mode `hybrid` up to 42 more for each of the settings
/// that folds choose; in parallel over queries.
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
    let base = with_constant_alpha(searcher, &config.start);
    let basis = (&base, config.objective.as_slice());
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
    let all: Vec<usize> = (0..ids.len()).collect();
    let mut folds = Vec::with_capacity(config.folds + 1);
    for fold in 0..config.folds {
        let (held_out, seen): (Vec<usize>, Vec<usize>) = all.iter().partition(|query| fold_of[**query] == fold);
        let point = search(&space, &mut trials, (&pool, config.search), &seen)?;
        folds.push(Fold { seen, held_out, point });
    }
    let best = search(&space, &mut trials, (&pool, config.search), &all)?;

    let untuned =
        if base == config.start { trials.values(space.start())?.to_vec() } else { trials.measure(&config.start)? };
    let mut validated = vec![Vec::new(); ids.len()];
    for Fold { held_out, point, .. } in &folds {
        let values = trials.values(point)?;
        held_out.iter().for_each(|query| validated[*query].clone_from(&values[*query]));
    }
    let chosen_by_fold = folds.iter().map(|fold| space.settings(&fold.point, &base)).collect();
    let comparing = Comparing { ids: &ids, measures: &config.objective, seed: config.seed };
    let query_alpha = if config.mode == Mode::Hybrid {
        folds.push(Fold { seen: all.clone(), held_out: Vec::new(), point: best.clone() });
        Some(query_alpha::step(&mut trials, (&space, &base), &folds, &validated, &comparing)?)
    } else {
        None
    };
    let mut settings = space.settings(&best, &base);
    let in_sample = match query_alpha.as_ref().filter(|step| step.kept) {
        Some(step) => {
            settings.rank_fusion.query_alpha = Some(step.chosen.clone());
            mean(objectives(&trials.measure(&settings)?).into_iter())
        }
        None => trials.objective(&best, &all)?,
    };
    let Compared { before, after, gains, gain, p_value, measures } = comparing.compare(&untuned, &validated);
    Ok(TuningReport {
        mode: config.mode,
        objective: config.objective.clone(),
        search: config.search,
        folds: config.folds,
        seed: config.seed,
        queries: ids.len(),
        untuned: before,
        cross_validated: after,
        gain,
        gain_interval: bootstrap_interval(&gains, config.seed),
        p_value,
        in_sample,
        trials: trials.made(),
        measures,
        chosen_by_fold,
        query_alpha,
        settings,
    })
}

/// The settings without what moves alpha from query to query; off is written where the snapshot or the settings have it on.
fn with_constant_alpha(searcher: &Searcher, settings: &RankingSettings) -> RankingSettings {
    let own = settings.rank_fusion.applied_to(&searcher.manifest().rank_fusion).query_alpha;
    let query_alpha = (!own.is_constant()).then(QueryAlpha::default);
    let rank_fusion = RankFusionSettings { query_alpha, ..settings.rank_fusion.clone() };
    RankingSettings { rank_fusion, ..settings.clone() }
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

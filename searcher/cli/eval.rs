//! `searcher eval`. Owns what is measured and compared, and with what flags; the measures are the library's, the forms of
//! the output are in `eval/`.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use indicatif::ProgressBar;
use schemas::RankingSettings;
use searcher::evaluation::{
    Evaluation, EvaluationQuery, Measure, Ranking, compare, evaluate_rankings, metrics_by_query, rank, values_by_query,
};
use searcher::{Mode, Query, Searcher};

use crate::arguments::{ComparisonArguments, EvalArguments, SnapshotArguments};
use crate::judged::{self, Judged};
use crate::opened::{Opened, open};
use crate::search::Ranking as QueryRanking;
use crate::{history, output};

mod figures;
mod html;
mod report;
mod run_files;

use figures::{Figures, ModeFigures, NamedComparison};
use report::ReportInputs;

/// The name of the snapshot's own settings in `--against`.
const SNAPSHOT_DEFAULTS: &str = "defaults";

/// The ranked lists of each mode.
type RankingsByMode = Vec<(Mode, Vec<Ranking>)>;

/// Measures the modes on judged queries. Exit code 1 when no query has a relevant item.
pub(crate) fn eval(snapshot: &SnapshotArguments, arguments: &EvalArguments) -> anyhow::Result<ExitCode> {
    let judged = judged::read(&arguments.judged)?;
    let ranking = QueryRanking::read(&arguments.ranking)?;
    let against = against(&arguments.comparison)?;
    let Opened { searcher, snapshot: name } = open(snapshot)?;
    let modes = modes(snapshot, arguments, &searcher);
    let listed = Listed { snapshot, arguments };
    let queries = listed.queries(&searcher, judged.ranked_by(&ranking))?;
    judged.say_what_is_missing(snapshot.quiet, &modes);
    judged::say_if_shallow(snapshot.quiet, &searcher, &queries);
    let asked: Vec<&EvaluationQuery> =
        queries.iter().filter(|asked| arguments.run.is_some() || judged.counts(asked)).collect();
    let rankings = rank_all(snapshot, &searcher, &asked, &modes)?;
    let comparisons = match &against {
        None => keyword_against_hybrid(&rankings, &judged, &arguments.comparison),
        Some(Against { name: before, settings: other, snapshot: folder }) => {
            let opened = folder.as_deref().map(|folder| open_other(snapshot, folder)).transpose()?;
            let other_searcher = opened.as_ref().map_or(&searcher, |opened| &opened.searcher);
            let queries = match other {
                Some(settings) => judged.ranked_by(&ranking.with_settings(settings)),
                None => judged.ranked_by(&ranking),
            };
            let queries = listed.queries(other_searcher, queries)?;
            let asked: Vec<&EvaluationQuery> = queries.iter().filter(|asked| judged.counts(asked)).collect();
            let earlier = rank_all(snapshot, other_searcher, &asked, &modes)?;
            let after = match (folder, &arguments.ranking.settings) {
                (Some(_), _) => name.as_str(),
                (None, Some(path)) => &path.to_string_lossy(),
                (None, None) => "the snapshot's defaults",
            };
            same_modes(before, &earlier, after, &rankings, &judged, &arguments.comparison)
        }
    };
    if let Some(path) = &arguments.run {
        for (mode, rankings) in &rankings {
            let path = if modes.len() == 1 { path.clone() } else { run_files::with_mode(path, *mode) };
            run_files::write_run(&path, rankings, *mode)?;
            output::say(snapshot.quiet, &format!("wrote `{}`", path.display()));
        }
    }
    if let Some(path) = &arguments.per_query_tsv {
        let measured = rankings.iter().map(|(mode, rankings)| (*mode, metrics_by_query(rankings, &judged.qrels)));
        run_files::write_per_query(path, &measured.collect::<Vec<_>>())?;
        output::say(snapshot.quiet, &format!("wrote `{}`", path.display()));
    }
    let measured = rankings.iter().map(|(mode, rankings)| (*mode, mode_figures(rankings, &judged, arguments)));
    let mut figures = Figures { modes: measured.collect(), comparisons };
    if let Some(path) = &arguments.report {
        let inputs = ReportInputs {
            snapshot: &name,
            searcher: &searcher,
            queries: &queries,
            qrels: &judged.qrels,
            figures: &figures,
            tables: vec![figures.means(&arguments.measures), figures::comparisons(&figures.comparisons)],
            settings: ranking.settings().to_toml().map_err(anyhow::Error::msg)?,
            pictures: arguments.pictures.as_deref().map(fs_err::canonicalize).transpose()?,
        };
        report::write(path, &inputs)?;
        output::say(snapshot.quiet, &format!("wrote `{}`", path.display()));
    }
    if !arguments.per_query {
        figures.modes.iter_mut().for_each(|(_, figures)| figures.per_query = None);
    }
    if arguments.json {
        output::print_json(&figures)?;
    } else {
        output::print(&figures.shown(&arguments.measures))?;
    }
    let none_measured = figures.modes.iter().all(|(_, figures)| figures.evaluation.queries == 0);
    if none_measured {
        output::say(snapshot.quiet, "no query has a relevant item in the judgments; check that the ids agree");
    }
    Ok(ExitCode::from(u8::from(none_measured)))
}

/// What becomes of a ranked list before it is measured, as it would before it is shown.
struct Listed<'a> {
    snapshot: &'a SnapshotArguments,
    arguments: &'a EvalArguments,
}

impl Listed<'_> {
    /// The queries with a field to collapse by and the user's profile in that snapshot, where there are flags for them.
    fn queries(&self, searcher: &Searcher, queries: Vec<EvaluationQuery>) -> anyhow::Result<Vec<EvaluationQuery>> {
        let profile = history::profile_part(self.snapshot.quiet, searcher, &self.arguments.history)?;
        let listed = |asked: EvaluationQuery| {
            let collapse = self.arguments.collapse.clone();
            EvaluationQuery { query: Query { collapse, profile: profile.clone(), ..asked.query }, ..asked }
        };
        Ok(queries.into_iter().map(listed).collect())
    }
}

/// What the figures are compared with.
struct Against {
    /// How it is called in the output.
    name: String,
    /// Other settings; `None`: the same ones.
    settings: Option<RankingSettings>,
    /// Folder of another snapshot; `None`: the same one.
    snapshot: Option<std::path::PathBuf>,
}

fn against(arguments: &ComparisonArguments) -> anyhow::Result<Option<Against>> {
    let ComparisonArguments { against, against_snapshot, .. } = arguments;
    let name = match (against, against_snapshot) {
        (None, None) => return Ok(None),
        (Some(path), None) | (None, Some(path)) => path.to_string_lossy().into_owned(),
        (Some(settings), Some(folder)) => format!("{} with {}", folder.display(), settings.display()),
    };
    let settings = match against {
        Some(path) if path == Path::new(SNAPSHOT_DEFAULTS) => Some(RankingSettings::default()),
        Some(path) => Some(RankingSettings::read(path)?),
        None => None,
    };
    Ok(Some(Against { name, settings, snapshot: against_snapshot.clone() }))
}

fn open_other(arguments: &SnapshotArguments, folder: &Path) -> anyhow::Result<Opened> {
    open(&SnapshotArguments { snapshot: Some(folder.to_owned()), ..arguments.clone() })
        .with_context(|| format!("cannot compare with snapshot `{}`", folder.display()))
}

/// Hybrid compared with keyword, where both were measured.
fn keyword_against_hybrid(
    rankings: &RankingsByMode,
    judged: &Judged,
    arguments: &ComparisonArguments,
) -> Vec<NamedComparison> {
    let of = |wanted: Mode| rankings.iter().find(|(mode, _)| *mode == wanted).map(|(_, rankings)| rankings);
    let Some((keyword, hybrid)) = of(Mode::Keyword).zip(of(Mode::Hybrid)) else { return Vec::new() };
    let named = |measure| NamedComparison {
        before: Mode::Keyword.name().to_owned(),
        after: Mode::Hybrid.name().to_owned(),
        figures: compared(measure, keyword, hybrid, judged, arguments.seed),
    };
    arguments.compared.iter().map(|measure| named(*measure)).collect()
}

/// Each mode compared with itself.
fn same_modes(
    before: &str,
    earlier: &RankingsByMode,
    after: &str,
    later: &RankingsByMode,
    judged: &Judged,
    arguments: &ComparisonArguments,
) -> Vec<NamedComparison> {
    let mut comparisons = Vec::new();
    for ((mode, earlier), (_, later)) in earlier.iter().zip(later) {
        comparisons.extend(arguments.compared.iter().map(|measure| NamedComparison {
            before: format!("{mode}, {before}"),
            after: after.to_owned(),
            figures: compared(*measure, earlier, later, judged, arguments.seed),
        }));
    }
    comparisons
}

fn compared(
    measure: Measure,
    before: &[Ranking],
    after: &[Ranking],
    judged: &Judged,
    seed: u64,
) -> searcher::evaluation::Comparison {
    let values = |rankings| values_by_query(rankings, &judged.qrels, measure);
    compare(measure, &values(before), &values(after), seed)
}

fn mode_figures(rankings: &[Ranking], judged: &Judged, arguments: &EvalArguments) -> ModeFigures {
    let evaluation = evaluate_rankings(rankings, &judged.qrels);
    let skipped = judged.queries.len() - evaluation.queries;
    let mean = |measure: &Measure| {
        let values = values_by_query(rankings, &judged.qrels, *measure);
        let sum = values.iter().fold(0.0, |sum, (_, value)| sum + value);
        (measure.to_string(), sum / values.len().max(1) as f64)
    };
    ModeFigures {
        evaluation: Evaluation { skipped, ..evaluation },
        more: arguments.measures.iter().map(mean).collect(),
        // For the report; they are printed when asked for only.
        per_query: Some(metrics_by_query(rankings, &judged.qrels)),
    }
}

/// The modes to measure, each once.
fn modes(snapshot: &SnapshotArguments, arguments: &EvalArguments, searcher: &Searcher) -> Vec<Mode> {
    let asked: Vec<Mode> = arguments.modes.iter().map(|mode| (*mode).into()).collect();
    if !asked.is_empty() {
        return Mode::ALL.into_iter().filter(|mode| asked.contains(mode)).collect();
    }
    if searcher.manifest().vector.is_none() {
        output::say(snapshot.quiet, "the snapshot has no embeddings: only keyword search is measured");
        return vec![Mode::Keyword];
    }
    Mode::ALL.to_vec()
}

fn rank_all(
    snapshot: &SnapshotArguments,
    searcher: &Searcher,
    asked: &[&EvaluationQuery],
    modes: &[Mode],
) -> anyhow::Result<RankingsByMode> {
    let draws = !snapshot.quiet && std::io::stderr().is_terminal();
    let bar = if draws { ProgressBar::new(asked.len() as u64) } else { ProgressBar::hidden() };
    let mut rankings: RankingsByMode = modes.iter().map(|mode| (*mode, Vec::new())).collect();
    for query in asked {
        let found = rank(searcher, query, modes).with_context(|| format!("query `{}`", query.id))?;
        for ((_, rankings), found) in rankings.iter_mut().zip(found) {
            rankings.push(found);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(rankings)
}

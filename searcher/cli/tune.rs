//! `searcher tune`. Owns its flags' meaning, the progress bar, the settings file and what is said of the result; the search
//! is the library's. Nothing is written before the end, so that stopping it is harmless.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use schemas::RankingSettings;
use searcher::Query;
use searcher::evaluation::{Comparison, EvaluationQuery};
use searcher::tuning::{self, KEPT_BELOW_P, QueryAlphaReport, TuningConfig, TuningReport, TuningSearch};

use crate::arguments::{SearchArgument, SnapshotArguments, TuneArguments};
use crate::judged;
use crate::opened::{Opened, open};
use crate::{output, table};

/// Below this p-value a gain is called more than chance.
const SIGNIFICANT: f64 = 0.05;

/// Tunes ranking settings. Exit code 0, also when nothing is gained.
pub(crate) fn tune(snapshot: &SnapshotArguments, arguments: &TuneArguments) -> anyhow::Result<ExitCode> {
    let judged = judged::read(&arguments.judged)?;
    let start = arguments.settings.as_deref().map(RankingSettings::read).transpose()?.unwrap_or_default();
    if let Some(folder) = arguments.output.as_deref().and_then(Path::parent)
        && !folder.as_os_str().is_empty()
        && !folder.is_dir()
    {
        bail!("the folder of `--output`, `{}`, does not exist", folder.display());
    }
    let Opened { searcher, snapshot: name } = open(snapshot)?;
    let mode = arguments.mode.into();
    judged.say_what_is_missing(snapshot.quiet, &[mode]);
    let with_filter = |asked: &EvaluationQuery| EvaluationQuery {
        id: asked.id.clone(),
        query: Query { filter: arguments.filter.clone(), ..asked.query.clone() },
    };
    let queries: Vec<EvaluationQuery> = judged.queries.iter().map(with_filter).collect();
    let config = TuningConfig {
        mode,
        objective: arguments.objective.clone(),
        folds: arguments.folds,
        search: match arguments.search {
            SearchArgument::Coarse => TuningSearch::Coarse,
            SearchArgument::Random => TuningSearch::Random(arguments.trials),
        },
        seed: arguments.seed,
        start,
    };
    let bar = progress_bar(snapshot.quiet);
    let report = tuning::tune(&searcher, &queries, &judged.qrels, &config, &|| bar.inc(1)).context("cannot tune")?;
    bar.finish_and_clear();
    if let Some(path) = &arguments.output {
        report.settings.write(path, &provenance(&report, &name))?;
    }
    if arguments.json {
        output::print_json(&report)?;
    } else {
        output::print(&shown(&report))?;
    }
    output::say(snapshot.quiet, verdict(&report));
    if let Some(found) = &report.query_alpha {
        output::say(snapshot.quiet, &query_alpha_verdict(found));
    }
    if let Some(path) = &arguments.output {
        output::say(snapshot.quiet, &format!("wrote `{}`", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}

fn progress_bar(quiet: bool) -> ProgressBar {
    if quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {pos} settings tried in {elapsed}");
    // The template is a constant; should it be wrong, the bar looks plainer.
    style.map_or_else(|_| ProgressBar::new_spinner(), |style| ProgressBar::new_spinner().with_style(style))
}

/// What the report means, in a sentence.
fn verdict(report: &TuningReport) -> &'static str {
    if report.gain <= 0.0 {
        "no gain on queries that the settings were not tuned on: keep what you have, or judge more queries"
    } else if report.p_value >= SIGNIFICANT {
        "the cross-validated gain may be chance: judge more queries before relying on it"
    } else {
        "the cross-validated gain is more than chance at the level 0.05"
    }
}

/// What became of the alpha that depends on the query, in a sentence.
fn query_alpha_verdict(found: &QueryAlphaReport) -> String {
    let QueryAlphaReport { gain, p_value, kept, .. } = found;
    if *kept {
        format!("the settings move alpha from query to query: that gains {gain:+.4}, cross-validated")
    } else if found.chosen.is_constant() {
        "no alpha that depends on the query gains enough on all queries: alpha stays constant".to_owned()
    } else {
        let p = table::p_value(*p_value);
        format!(
            "alpha stays constant: depending on the query gains {gain:+.4}, cross-validated, p {p}, and is kept only for a \
             gain with p below {KEPT_BELOW_P}"
        )
    }
}

/// The comment above the settings.
fn provenance(report: &TuningReport, snapshot: &str) -> String {
    let objective: Vec<String> = report.objective.iter().map(ToString::to_string).collect();
    let text = format!(
        "Tuned by `searcher tune` for {} search on snapshot {snapshot}: {} judged queries, objective {},\n{} folds, seed \
         {}, {} settings tried. Cross-validated {:.4}, untuned {:.4}: gain {:+.4}, 95% interval {:+.4} to {:+.4}, p {}.",
        report.mode,
        report.queries,
        objective.join(" and "),
        report.folds,
        report.seed,
        report.trials,
        report.cross_validated,
        report.untuned,
        report.gain,
        report.gain_interval.0,
        report.gain_interval.1,
        table::p_value(report.p_value),
    );
    let Some(found) = report.query_alpha.as_ref().filter(|found| found.kept) else { return text };
    let QueryAlphaReport { query_dependent, gain, p_value, .. } = found;
    let p = table::p_value(*p_value);
    format!("{text}\nThat is with a constant alpha; with query_alpha {query_dependent:.4}, another {gain:+.4}, p {p}.")
}

/// Two settings by measure.
fn compared(before: &str, after: &str, measures: &[Comparison]) -> String {
    let header = ["", before, after, "difference", "p", "better", "worse", "equal"];
    let rows = measures.iter().map(|found| {
        vec![
            found.measure.to_string(),
            format!("{:.4}", found.before),
            format!("{:.4}", found.after),
            format!("{:+.4}", found.difference),
            table::p_value(found.test.p_value),
            found.better.to_string(),
            found.worse.to_string(),
            found.equal.to_string(),
        ]
    });
    table::figures(header.map(str::to_owned).to_vec(), rows.collect())
}

fn shown(report: &TuningReport) -> String {
    let mut text = compared("untuned", "cross-validated", &report.measures);
    let (low, high) = report.gain_interval;
    let figures = [
        (
            "gain",
            format!("{:+.4}, 95% interval {low:+.4} to {high:+.4}, p {}", report.gain, table::p_value(report.p_value)),
        ),
        ("in sample", format!("{:.4} untuned, {:.4} tuned on all queries", report.untuned, report.in_sample)),
        (
            "trials",
            format!("{} on {} queries, {} folds, seed {}", report.trials, report.queries, report.folds, report.seed),
        ),
    ];
    let figures = figures.map(|(name, value)| (name.to_owned(), value));
    text.push_str(&format!("\n{}", table::pairs(&figures)));
    if let Some(found) = &report.query_alpha {
        let measures = compared("constant alpha", "query-dependent", &found.measures);
        let kept = if found.kept { "kept" } else { "left out" };
        let p = table::p_value(found.p_value);
        text.push_str(&format!("\n{measures}\n query-dependent alpha {kept}: gain {:+.4}, p {p}\n", found.gain));
    }
    let settings = report.settings.to_toml().unwrap_or_default();
    text.push_str(&format!("\n{}", schemas::terminal::lines(&settings)));
    text
}

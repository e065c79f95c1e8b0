//! `searcher eval`. Owns reading queries and judgments, and the table, JSON and run files; the measures are the
//! library's.

use std::collections::BTreeMap;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use indicatif::ProgressBar;
use schemas::trec::{self, Qrels};
use searcher::evaluation::{Evaluation, EvaluationQuery, Ranking, evaluate_rankings, has_relevant, rank};
use searcher::{Mode, Searcher};

use crate::arguments::{EvalArguments, SnapshotArguments};
use crate::opened::{Opened, open};
use crate::search;
use crate::{output, table};

/// Ranks that recall@100 needs.
const LEAST_DEPTH: usize = 100;

/// Measures the modes on judged queries. Exit code 1 when no query has a relevant item.
pub(crate) fn eval(snapshot: &SnapshotArguments, arguments: &EvalArguments) -> anyhow::Result<ExitCode> {
    let queries = read_queries(arguments)?;
    let qrels = trec::read_qrels(&arguments.qrels)?;
    let Opened { searcher, .. } = open(snapshot)?;
    let modes = modes(snapshot, arguments, &searcher);
    say_what_is_missing(snapshot, &searcher, &modes, &queries, &qrels);
    let is_judged = |query: &&EvaluationQuery| qrels.get(&query.id).is_some_and(has_relevant);
    let asked: Vec<&EvaluationQuery> = match arguments.run {
        Some(_) => queries.iter().collect(),
        None => queries.iter().filter(is_judged).collect(),
    };
    let rankings = rank_all(snapshot, &searcher, &asked, &modes)?;
    if let Some(path) = &arguments.run {
        for (mode, rankings) in &rankings {
            let path = if modes.len() == 1 { path.clone() } else { with_mode(path, *mode) };
            write_run(&path, rankings, *mode)?;
            output::say(snapshot.quiet, &format!("wrote `{}`", path.display()));
        }
    }
    let evaluations = rankings.iter().map(|(mode, rankings)| {
        let evaluation = evaluate_rankings(rankings, &qrels);
        (*mode, Evaluation { skipped: queries.len() - evaluation.queries, ..evaluation })
    });
    let evaluations: BTreeMap<Mode, Evaluation> = evaluations.collect();
    if arguments.json {
        let by_name: Vec<(&str, Evaluation)> = evaluations.iter().map(|(mode, found)| (mode.name(), *found)).collect();
        output::print_json(&Figures(by_name))?;
    } else {
        output::print(&shown(&evaluations))?;
    }
    let none_measured = evaluations.values().all(|evaluation| evaluation.queries == 0);
    if none_measured {
        output::say(snapshot.quiet, "no query has a relevant item in the judgments; check that the ids agree");
    }
    Ok(ExitCode::from(u8::from(none_measured)))
}

fn read_queries(arguments: &EvalArguments) -> anyhow::Result<Vec<EvaluationQuery>> {
    let queries: Vec<EvaluationQuery> = match (&arguments.queries, &arguments.image_queries) {
        (Some(path), _) => trec::read_queries(path)?.iter().map(EvaluationQuery::from_text).collect(),
        (None, Some(path)) => {
            let folder = path.parent().unwrap_or(Path::new(""));
            trec::read_queries(path)?.iter().map(|line| EvaluationQuery::from_picture(line, folder)).collect()
        }
        // clap's group asks for one of them.
        (None, None) => Vec::new(),
    };
    let ranking = search::Ranking::read(&arguments.ranking)?;
    let ranked = |asked: EvaluationQuery| EvaluationQuery { query: ranking.apply(asked.query), ..asked };
    Ok(queries.into_iter().map(ranked).collect())
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

fn say_what_is_missing(
    snapshot: &SnapshotArguments,
    searcher: &Searcher,
    modes: &[Mode],
    queries: &[EvaluationQuery],
    qrels: &Qrels,
) {
    let without_text = queries.iter().filter(|asked| asked.query.keyword_texts().next().is_none()).count();
    if without_text > 0 && modes.contains(&Mode::Keyword) {
        let text = format!("{without_text} queries have no text: keyword search finds nothing for them");
        output::say(snapshot.quiet, &text);
    }
    let known = |id: &str| queries.iter().any(|query| query.id == id);
    let not_asked = qrels.iter().filter(|(id, judgments)| has_relevant(judgments) && !known(id)).count();
    if not_asked > 0 {
        output::say(
            snapshot.quiet,
            &format!("{not_asked} judged queries are not in the queries file; they do not count"),
        );
    }
    let depth = queries.iter().map(|asked| searcher.depth(&asked.query)).min().unwrap_or(LEAST_DEPTH);
    if depth < LEAST_DEPTH {
        output::say(
            snapshot.quiet,
            &format!("recall@100 sees only {depth} candidates; `--depth {LEAST_DEPTH}` gives enough"),
        );
    }
}

fn rank_all(
    snapshot: &SnapshotArguments,
    searcher: &Searcher,
    asked: &[&EvaluationQuery],
    modes: &[Mode],
) -> anyhow::Result<Vec<(Mode, Vec<Ranking>)>> {
    let draws = !snapshot.quiet && std::io::stderr().is_terminal();
    let bar = if draws { ProgressBar::new(asked.len() as u64) } else { ProgressBar::hidden() };
    let mut rankings: Vec<(Mode, Vec<Ranking>)> = modes.iter().map(|mode| (*mode, Vec::new())).collect();
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

/// `run.txt` → `run.hybrid.txt`.
fn with_mode(path: &Path, mode: Mode) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(".");
    name.push(mode.name());
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

fn write_run(path: &Path, rankings: &[Ranking], mode: Mode) -> anyhow::Result<()> {
    let mut file = BufWriter::new(fs_err::File::create(path)?);
    for ranking in rankings {
        trec::write_run(&mut file, &ranking.query, &ranking.run(), &format!("catalens-{mode}"))?;
    }
    Ok(file.flush()?)
}

fn shown(evaluations: &BTreeMap<Mode, Evaluation>) -> String {
    let names =
        evaluations.values().next().map(|evaluation| evaluation.metrics.named().map(|(name, _)| name.to_owned()));
    let header = std::iter::once(String::new()).chain(names.into_iter().flatten()).collect();
    let rows = evaluations.iter().map(|(mode, evaluation)| {
        let figures = evaluation.metrics.named().map(|(_, value)| format!("{value:.4}"));
        std::iter::once(mode.name().to_owned()).chain(figures).collect()
    });
    let mut text = table::figures(header, rows.collect());
    if let Some(Evaluation { queries, skipped, .. }) = evaluations.values().next() {
        text.push_str(&format!("\n{queries} queries"));
        if *skipped > 0 {
            text.push_str(&format!("; {skipped} more have no relevant item in the judgments and do not count"));
        }
        text.push('\n');
    }
    text
}

/// An object with a key per mode, in the order of the modes.
struct Figures<'a>(Vec<(&'a str, Evaluation)>);

impl serde::Serialize for Figures<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_files_are_named_by_mode() {
        let named = |path: &str| with_mode(Path::new(path), Mode::Hybrid);
        assert_eq!(named("out/run.txt"), Path::new("out/run.hybrid.txt"));
        assert_eq!(named("run"), Path::new("run.hybrid"));
        assert_eq!(named("run.v1.trec"), Path::new("run.v1.hybrid.trec"));
    }
}

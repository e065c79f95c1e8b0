//! The keys of `[gates.relevance]`: judged queries that a night must not answer worse. Owns reading and checking them; not
//! the measuring (`gates/relevance.rs`). Invariants: the files are read with the configuration, so that a mistake in them is
//! found before anything is encoded; at least one query counts.

use std::path::{Path, PathBuf};

use schemas::trec::{self, Qrels};
use searcher::Mode;
use searcher::evaluation::{EvaluationQuery, Measure, has_relevant};

use super::file::value;
use crate::error::IndexError;

/// How far the mean may fall below the current snapshot's.
pub const DEFAULT_MAX_RELEVANCE_DROP: f64 = 0.02;
/// What is measured.
pub const DEFAULT_RELEVANCE_METRIC: Measure = Measure::Ndcg(10);

/// Judged queries and what they must reach.
#[derive(Clone, Debug, PartialEq)]
pub struct RelevanceGate {
    /// The queries that have a relevant item.
    pub queries: Vec<EvaluationQuery>,
    /// Their judgments.
    pub qrels: Qrels,
    /// What is measured. Default: [`DEFAULT_RELEVANCE_METRIC`].
    pub metric: Measure,
    /// Retrievers. Default: both, or keyword where nothing is encoded.
    pub mode: Option<Mode>,
    /// Least mean, 0 to 1; `None`: any will do.
    pub floor: Option<f64>,
    /// How far the mean may fall below the current snapshot's, 0 to 1. Default: [`DEFAULT_MAX_RELEVANCE_DROP`].
    pub max_drop: f64,
    /// How far any one query may fall below the current snapshot's, 0 to 1; `None`: as far as it will.
    pub max_query_drop: Option<f64>,
}

/// The section as it is written in TOML.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RelevanceSection {
    queries: Option<PathBuf>,
    image_queries: Option<PathBuf>,
    qrels: PathBuf,
    metric: Option<String>,
    mode: Option<String>,
    floor: Option<f64>,
    max_drop: Option<f64>,
    max_query_drop: Option<f64>,
}

impl RelevanceSection {
    /// Reads the files; relative paths are below `folder`.
    pub(super) fn resolve(self, folder: &Path) -> Result<RelevanceGate, IndexError> {
        let key = |name: &str| format!("gates.relevance.{name}");
        let asked: Vec<EvaluationQuery> = match (&self.queries, &self.image_queries) {
            (Some(path), None) => {
                trec::read_queries(&folder.join(path))?.iter().map(EvaluationQuery::from_text).collect()
            }
            (None, Some(path)) => {
                let path = folder.join(path);
                let pictures = path.parent().unwrap_or(folder);
                trec::read_queries(&path)?.iter().map(|line| EvaluationQuery::from_picture(line, pictures)).collect()
            }
            (Some(_), Some(_)) | (None, None) => {
                return Err(value(&key("queries"), "give either `queries` or `image_queries`"));
            }
        };
        let mut qrels = trec::read_qrels(&folder.join(&self.qrels))?;
        let counts = |asked: &EvaluationQuery| qrels.get(&asked.id).is_some_and(has_relevant);
        let queries: Vec<EvaluationQuery> = asked.into_iter().filter(counts).collect();
        if queries.is_empty() {
            return Err(value(&key("qrels"), "no query has a relevant item in it; check that the ids agree"));
        }
        qrels.retain(|id, _| queries.iter().any(|asked| asked.id == *id));
        let metric = match &self.metric {
            Some(name) => name.parse().map_err(|reason: String| value(&key("metric"), &reason))?,
            None => DEFAULT_RELEVANCE_METRIC,
        };
        let named = |name: &String| {
            let known = Mode::ALL.into_iter().find(|mode| mode.name() == name);
            known.ok_or_else(|| value(&key("mode"), "there are keyword, vector and hybrid"))
        };
        let share = |name: &str, given: Option<f64>| match given {
            Some(given) if !(0.0..=1.0).contains(&given) => Err(value(&key(name), "must be between 0 and 1")),
            Some(_) | None => Ok(given),
        };
        Ok(RelevanceGate {
            queries,
            qrels,
            metric,
            mode: self.mode.as_ref().map(named).transpose()?,
            floor: share("floor", self.floor)?,
            max_drop: share("max_drop", self.max_drop)?.unwrap_or(DEFAULT_MAX_RELEVANCE_DROP),
            max_query_drop: share("max_query_drop", self.max_query_drop)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(section: &str) -> Result<RelevanceGate, String> {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("golden.tsv"), "q1\tred mug\nq2\tblue mug\n").unwrap();
        fs_err::write(folder.path().join("qrels.tsv"), "q1 0 p1 2\nq2 0 p2 0\nq3 0 p3 1\n").unwrap();
        fs_err::write(folder.path().join("none.tsv"), "q1 0 p1 0\n").unwrap();
        let section: RelevanceSection = toml::from_str(section).map_err(|error| error.to_string())?;
        section.resolve(folder.path()).map_err(|error| crate::error::chain(&error))
    }

    #[test]
    fn only_queries_with_a_relevant_item_count() {
        let gate = resolve("queries = 'golden.tsv'\nqrels = 'qrels.tsv'\n").unwrap();
        assert_eq!(gate.queries.iter().map(|asked| asked.id.as_str()).collect::<Vec<&str>>(), ["q1"]);
        assert_eq!((gate.qrels.len(), gate.metric, gate.mode), (1, DEFAULT_RELEVANCE_METRIC, None));
        assert_eq!((gate.floor, gate.max_drop, gate.max_query_drop), (None, DEFAULT_MAX_RELEVANCE_DROP, None));
    }

    #[test]
    fn mistakes_name_their_key() {
        let both = "queries = 'golden.tsv'\nqrels = 'qrels.tsv'\n";
        for (section, named) in [
            ("qrels = 'qrels.tsv'\n".to_owned(), "gates.relevance.queries"),
            ("queries = 'golden.tsv'\nqrels = 'none.tsv'\n".to_owned(), "gates.relevance.qrels"),
            ("queries = 'missing.tsv'\nqrels = 'none.tsv'\n".to_owned(), "missing.tsv"),
            (format!("{both}metric = 'ndcg'\n"), "gates.relevance.metric"),
            (format!("{both}mode = 'magic'\n"), "gates.relevance.mode"),
            (format!("{both}floor = 1.5\n"), "gates.relevance.floor"),
            (format!("{both}max_drop = -0.1\n"), "gates.relevance.max_drop"),
            (format!("{both}roof = 1\n"), "roof"),
        ] {
            let error = resolve(&section).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}

//! Judged queries from files. Owns reading them and saying what of them cannot count; not measuring.

use std::path::Path;

use schemas::trec::{self, Qrels};
use searcher::evaluation::{EvaluationQuery, has_relevant};
use searcher::{Mode, Searcher};

use crate::arguments::JudgedArguments;
use crate::output;
use crate::search::Ranking;

/// Ranks that recall@100 needs.
const LEAST_DEPTH: usize = 100;

/// Queries with their judgments.
pub(crate) struct Judged {
    pub(crate) queries: Vec<EvaluationQuery>,
    pub(crate) qrels: Qrels,
}

/// Reads the files.
pub(crate) fn read(arguments: &JudgedArguments) -> anyhow::Result<Judged> {
    let queries = match (&arguments.queries, &arguments.image_queries) {
        (Some(path), _) => trec::read_queries(path)?.iter().map(EvaluationQuery::from_text).collect(),
        (None, Some(path)) => {
            let folder = path.parent().unwrap_or(Path::new(""));
            trec::read_queries(path)?.iter().map(|line| EvaluationQuery::from_picture(line, folder)).collect()
        }
        // clap's group asks for one of them.
        (None, None) => Vec::new(),
    };
    Ok(Judged { queries, qrels: trec::read_qrels(&arguments.qrels)? })
}

impl Judged {
    /// The queries with what decides their ranking.
    pub(crate) fn ranked_by(&self, ranking: &Ranking<'_>) -> Vec<EvaluationQuery> {
        let ranked = |asked: &EvaluationQuery| EvaluationQuery {
            id: asked.id.clone(),
            query: ranking.apply(asked.query.clone()),
        };
        self.queries.iter().map(ranked).collect()
    }

    /// Whether a query has a relevant item, so that it counts.
    pub(crate) fn counts(&self, asked: &EvaluationQuery) -> bool {
        self.qrels.get(&asked.id).is_some_and(has_relevant)
    }

    /// Says what does not count, and why.
    pub(crate) fn say_what_is_missing(&self, quiet: bool, modes: &[Mode]) {
        let without_text = self.queries.iter().filter(|asked| asked.query.keyword_texts().next().is_none()).count();
        if without_text > 0 && modes.contains(&Mode::Keyword) {
            let text = format!("{without_text} queries have no text: keyword search finds nothing for them");
            output::say(quiet, &text);
        }
        let known = |id: &str| self.queries.iter().any(|query| query.id == id);
        let not_asked = self.qrels.iter().filter(|(id, judgments)| has_relevant(judgments) && !known(id)).count();
        if not_asked > 0 {
            output::say(quiet, &format!("{not_asked} judged queries are not in the queries file; they do not count"));
        }
    }
}

/// Says when there are fewer candidates than the measures look at.
pub(crate) fn say_if_shallow(quiet: bool, searcher: &Searcher, queries: &[EvaluationQuery]) {
    let depth = queries.iter().map(|asked| searcher.depth(&asked.query)).min().unwrap_or(LEAST_DEPTH);
    if depth < LEAST_DEPTH {
        let text = format!("recall@100 sees only {depth} candidates; `--depth {LEAST_DEPTH}` gives enough");
        output::say(quiet, &text);
    }
}

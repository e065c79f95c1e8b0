//! `searcher similar`. Owns turning flags into a query for items like others.

use std::process::ExitCode;

use searcher::{ItemPart, Mode, Query};

use crate::arguments::SnapshotArguments;
use crate::history_arguments::{PageArguments, SimilarArguments};
use crate::opened::{Opened, open};
use crate::search::{Ranking, print_answer};

/// Shows the items that are most like those named.
pub(crate) fn similar(snapshot: &SnapshotArguments, arguments: &SimilarArguments) -> anyhow::Result<ExitCode> {
    let PageArguments { limit, offset, explain, json } = arguments.page;
    let like = arguments.ids.iter().map(|part| ItemPart { id: part.value.clone(), weight: part.weight });
    let query = Query { like: like.collect(), mode: Mode::Vector, limit, offset, explain, ..Query::default() };
    let query = Ranking::read(&arguments.ranking)?.apply(query);
    query.check()?;
    let Opened { searcher, .. } = open(snapshot)?;
    let results = searcher.search(&query)?;
    print_answer(snapshot, &searcher, &query, &results, json)
}

//! Latency of queries over a published store, by mode.
//!
//! **What is measured.** The time of `Searcher::search` with the query's embeddings computed before (`search_encoded`), one
//! query after the other on one thread; the first round is not counted. Models are not part of it. p50, p99 and the number of
//! hits, which proves that work was done.
//!
//! **On what.** A store of your choice and a queries file (`qid<TAB>text`). No seed: the queries are asked in the file's
//! order, ten rounds.
//!
//! ```text
//! cargo bench --bench query -- STORE QUERIES.tsv
//! ```

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use searcher::{Mode, OpenOptions, Query, Searcher};

/// Counted rounds over all queries.
const ROUNDS: usize = 10;

fn main() -> anyhow::Result<()> {
    // cargo itself adds `--bench`.
    let mut arguments = std::env::args_os().skip(1).filter(|argument| argument != "--bench");
    let usage = "usage: cargo bench --bench query -- STORE QUERIES.tsv";
    let store = PathBuf::from(arguments.next().context(usage)?);
    let queries = schemas::trec::read_queries(&PathBuf::from(arguments.next().context(usage)?))?;
    let (snapshot, searcher) = Searcher::open_current(&store, &OpenOptions::default())?;
    println!("{snapshot}, {} items, {} queries, {ROUNDS} rounds", searcher.manifest().item_count, queries.len());
    for mode in [Mode::Keyword, Mode::Vector, Mode::Hybrid] {
        let mut encoded = Vec::new();
        for query in &queries {
            let query = Query { mode, ..Query::text(query.text.as_str()) };
            encoded.push((searcher.encode(&query)?, query));
        }
        let (mut times, mut hits) = (Vec::new(), 0);
        for round in 0..=ROUNDS {
            for (embeddings, query) in &encoded {
                let start = Instant::now();
                let results = searcher.search_encoded(query, embeddings)?;
                if round > 0 {
                    times.push(start.elapsed());
                    hits += results.hits.len();
                }
            }
        }
        times.sort_unstable();
        let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default().as_secs_f64() * 1e3;
        println!("{mode:?}: p50 {:.2} ms, p99 {:.2} ms, {hits} hits", at(50), at(99));
    }
    Ok(())
}

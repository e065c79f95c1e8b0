//! Latency of queries over a published store, by mode.
//!
//! **What is measured.** The time of `Searcher::search` with the query's embeddings computed before (`search_encoded`), one
//! query after the other on one thread; the first round is not counted. Models are not part of it. p50, p99 and the number of
//! hits, which proves that work was done; and the queries that take longest, each by the median of its rounds.
//!
//! **On what.** A store of your choice and a queries file (`qid<TAB>text`). No seed: the queries are asked in the file's
//! order, ten rounds.
//!
//! ```text
//! cargo bench --bench query -- STORE QUERIES.tsv
//! ```

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use searcher::{Mode, OpenOptions, Query, Searcher};

/// Counted rounds over all queries.
const ROUNDS: usize = 10;
/// Slowest queries that are named, by mode.
const SLOWEST: usize = 5;

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
        let mut times_by_query = vec![Vec::with_capacity(ROUNDS); encoded.len()];
        let mut hits = 0;
        for round in 0..=ROUNDS {
            for ((embeddings, query), times) in encoded.iter().zip(&mut times_by_query) {
                let start = Instant::now();
                let results = searcher.search_encoded(query, embeddings)?;
                if round > 0 {
                    times.push(start.elapsed());
                    hits += results.hits.len();
                }
            }
        }
        let mut times = times_by_query.concat();
        println!("{mode:?}: p50 {:.3} ms, p99 {:.3} ms, {hits} hits", at(&mut times, 50), at(&mut times, 99));
        let medians = times_by_query.iter_mut().map(|times| at(times, 50));
        let mut slowest: Vec<(f64, &str)> = medians.zip(queries.iter().map(|query| query.text.as_str())).collect();
        slowest.sort_unstable_by(|(left, _), (right, _)| right.total_cmp(left));
        for (median, text) in slowest.into_iter().take(SLOWEST) {
            println!("    {median:.3} ms  {text:?}");
        }
    }
    Ok(())
}

/// The time in milliseconds that `percent` of the times are below.
fn at(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    times.get(times.len() * percent / 100).copied().unwrap_or_default().as_secs_f64() * 1e3
}

//! A night does not publish a worse ranking: judged queries, held against a floor and against the current snapshot. Owns what
//! is compared and the words; not the queries and bounds (`config/relevance.rs`). Invariants: both snapshots answer the same
//! queries with the same code and their own settings; where there is nothing to compare with, nothing is compared.

use schemas::manifest::GateResult;
use searcher::evaluation::{ComparedQuery, Comparison, Ranking, compare, rank, values_by_query};
use searcher::{Mode, OpenOptions, SearchError, Searcher};

use super::Parent;
use crate::config::RelevanceGate;
use crate::error::IndexError;

/// Queries that a message names.
const NAMED_QUERIES: usize = 10;
/// Seed of the randomisation test, which no bound looks at.
const TEST_SEED: u64 = 1;
/// Differences of sums in another order are no drop.
const ROUNDING: f64 = 1e-9;

/// The gates of `[gates.relevance]`, by name.
pub(super) fn relevance(
    searcher: &Searcher,
    parent: Option<&Parent>,
    gate: &RelevanceGate,
) -> Result<Vec<(&'static str, GateResult)>, IndexError> {
    let values = values(searcher, gate)?;
    let mut gates = Vec::new();
    if let Some(floor) = gate.floor {
        gates.push(("relevance.floor", at_least(floor, &values, gate)));
    }
    let Some(parent) = parent else { return Ok(gates) };
    match Searcher::open(&parent.folder, &OpenOptions::default()).and_then(|parent| self::values(&parent, gate)) {
        Ok(before) => {
            let comparison = compare(gate.metric, &before, &values, TEST_SEED);
            gates.push(("relevance.max_drop", mean_drop(&comparison, gate, parent)));
            gates.extend(
                gate.max_query_drop
                    .map(|bound| ("relevance.max_query_drop", query_drop(&comparison, bound, gate, parent))),
            );
        }
        // The night that replaces a damaged snapshot must not be refused for it.
        Err(error) => tracing::warn!(
            snapshot = %parent.id,
            error = &error as &dyn std::error::Error,
            "the current snapshot cannot answer the queries of `gates.relevance`; nothing is compared with it"
        ),
    }
    Ok(gates)
}

/// The metric of each query.
fn values(searcher: &Searcher, gate: &RelevanceGate) -> Result<Vec<(String, f64)>, SearchError> {
    let default = if searcher.manifest().vector.is_some() { Mode::Hybrid } else { Mode::Keyword };
    let mut rankings: Vec<Ranking> = Vec::with_capacity(gate.queries.len());
    for asked in &gate.queries {
        rankings.extend(rank(searcher, asked, &[gate.mode.unwrap_or(default)])?);
    }
    Ok(values_by_query(&rankings, &gate.qrels, gate.metric))
}

fn at_least(bound: f64, values: &[(String, f64)], gate: &RelevanceGate) -> GateResult {
    let value = values.iter().fold(0.0, |sum, (_, value)| sum + value) / values.len().max(1) as f64;
    let passed = value >= bound - ROUNDING;
    let mut message = format!("{} {value:.4} over {} queries, at least {bound} wanted", gate.metric, values.len());
    if !passed {
        let mut lowest: Vec<&(String, f64)> = values.iter().collect();
        lowest.sort_by(|left, right| left.1.total_cmp(&right.1).then_with(|| left.0.cmp(&right.0)));
        let named: Vec<String> = lowest
            .iter()
            .take(NAMED_QUERIES)
            .map(|(query, value)| format!("{} {value:.4}", named(gate, query)))
            .collect();
        message.push_str(&format!("; lowest: {}", named.join(", ")));
    }
    GateResult { value, bound, passed, message }
}

fn mean_drop(comparison: &Comparison, gate: &RelevanceGate, parent: &Parent) -> GateResult {
    let (value, bound) = ((-comparison.difference).max(0.0), gate.max_drop);
    let passed = value <= bound + ROUNDING;
    let mut message = format!(
        "{} {:.4} over {} queries, {:.4} in {}: at most {bound} less allowed",
        gate.metric, comparison.after, comparison.queries, comparison.before, parent.id
    );
    if !passed {
        message.push_str(&format!("; fell: {}", fallen(comparison, gate, 0.0)));
    }
    GateResult { value, bound, passed, message }
}

fn query_drop(comparison: &Comparison, bound: f64, gate: &RelevanceGate, parent: &Parent) -> GateResult {
    let value = comparison.changed.iter().fold(0.0, |largest: f64, query| largest.max(-query.difference));
    let passed = value <= bound + ROUNDING;
    let metric = gate.metric;
    let mut message =
        format!("the largest fall of a query's {metric} below {} is {value:.4}, at most {bound} allowed", parent.id);
    if !passed {
        message.push_str(&format!("; fell: {}", fallen(comparison, gate, bound)));
    }
    GateResult { value, bound, passed, message }
}

/// The queries that fell by more than `bound`, with their values before and after, largest fall first.
fn fallen(comparison: &Comparison, gate: &RelevanceGate, bound: f64) -> String {
    let fell = |query: &&ComparedQuery| query.difference < -(bound + ROUNDING);
    let words =
        |query: &ComparedQuery| format!("{} {:.4} to {:.4}", named(gate, &query.query), query.before, query.after);
    let count = comparison.changed.iter().filter(fell).count();
    let mut named: Vec<String> = comparison.changed.iter().filter(fell).take(NAMED_QUERIES).map(words).collect();
    if count > NAMED_QUERIES {
        named.push(format!("and {} more", count - NAMED_QUERIES));
    }
    named.join(", ")
}

/// A query's id, and its text where it has one.
fn named(gate: &RelevanceGate, id: &str) -> String {
    let asked = gate.queries.iter().find(|asked| asked.id == id);
    match asked.and_then(|asked| asked.query.texts.first()) {
        Some(part) => format!("{id} (`{}`)", part.text),
        None => id.to_owned(),
    }
}

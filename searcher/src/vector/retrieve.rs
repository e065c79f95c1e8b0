//! Vector retrieval: graph or exact scan. Owns that choice; not scores. Invariant: whichever way, candidates are in the
//! order of exact scores, ties by row.

use super::graph::Graph;
use super::scorer::VectorScorer;
use crate::candidate::{Candidate, TopRows};
use crate::embedding_fusion::EmbeddingFusion;
use crate::error::SearchError;
use crate::row_set::RowSet;

/// Up to so many rows an exact scan is preferred to the graph: it misses nothing, and costs about as much as a walk.
pub const EXACT_SCAN_ROWS: u64 = 20_000;

/// Up to this share of all rows, rows kept by a filter are scanned exactly, however many: they lie so far apart in the graph
/// that a walk over them gets lost. Recall@10 of the walk alone, beam 64, is 0.9995 when one row of five is kept, 0.988 of
/// ten, 0.93 of twenty, 0.80 of fifty (`benches/graph.rs`, 50,000 rows); the beam here is at least four times as wide.
pub const EXACT_SCAN_SHARE: f64 = 0.05;

/// Rows taken from the graph for each candidate where the query weighs modalities otherwise than item vectors do, or
/// lacks some: the graph's order is then only near to the exact one.
pub const GRAPH_OVERSAMPLING: usize = 4;

/// Rows taken from the graph at least, so that a small depth does not mean a narrow beam.
pub const MIN_GRAPH_ROWS: usize = 256;

/// The best `depth` rows by exact vector score, among `rows` where given: all of them where they are few, else the ones
/// that the graph finds. `fusion` must be the one that the graph was built with.
///
/// # Errors
/// As [`VectorScorer::score`] and [`Graph::nearest`].
pub fn retrieve(
    graph: &Graph,
    scorer: &VectorScorer<'_>,
    fusion: &EmbeddingFusion,
    rows: Option<&RowSet>,
    depth: usize,
) -> Result<Vec<Candidate>, SearchError> {
    let row_count = scorer.modalities.row_count();
    let kept = rows.map_or(row_count, RowSet::len);
    if kept <= EXACT_SCAN_ROWS || (kept as f64) < row_count as f64 * EXACT_SCAN_SHARE {
        return scorer.scan(rows, depth);
    }
    let query = match &scorer.query.vector {
        Some(vector) => vector.clone(),
        None => fusion.query_vector(&scorer.query.embeddings, &scorer.query.weights),
    };
    if query.iter().all(|value| *value == 0.0) {
        // No modality of the query is in item vectors: nothing to walk towards.
        return scorer.scan(rows, depth);
    }
    let is_exact = fusion.is_exact_for(&scorer.query.embeddings, &scorer.query.weights);
    let wanted = if is_exact { depth } else { depth.saturating_mul(GRAPH_OVERSAMPLING) };
    let nearest = graph.nearest(&query, rows, wanted.max(MIN_GRAPH_ROWS))?;
    if rows.is_some() && (nearest.len() as u64) < kept.min(depth as u64) {
        // The walk ended in a corner of the kept rows.
        return scorer.scan(rows, depth);
    }
    let mut top = TopRows::new(depth);
    for (row, _) in nearest {
        if let Some(score) = scorer.score(row)? {
            top.offer(row, score);
        }
    }
    Ok(top.into_candidates())
}

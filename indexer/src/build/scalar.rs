//! The scalar kind of the graph that is built, with its quantisation step. Owns the pass over the embeddings that the step
//! takes; not the step's formula. Invariant: the same item vectors give the same step.

use half::f16;
use rayon::prelude::*;
use schemas::embeddings::{EmbeddingsBatch, EmbeddingsReader};
use schemas::manifest::{Scalar, ScalarKind};
use searcher::embedding_fusion::EmbeddingFusion;
use searcher::vector::Magnitudes;

use super::{BuildContext, set_aside};
use crate::encode::EncodedCatalog;
use crate::error::IndexError;

/// Rows that one task counts at least.
const TASK_ROWS: usize = 512;

/// The configured scalar kind. Codes of 8 bits need their step before the first vector is added, so that all embeddings
/// are read and fused once more, one batch of a part in memory at a time: O(embeddings).
///
/// # Errors
/// When a part cannot be read, or the run is stopped.
pub(super) fn choose(
    context: &BuildContext<'_>,
    encoded: &EncodedCatalog,
    fusion: &EmbeddingFusion,
) -> Result<Scalar, IndexError> {
    match context.config.graph.scalar {
        ScalarKind::F16 => return Ok(Scalar::F16),
        ScalarKind::I8 => {}
    }
    let mut magnitudes = Magnitudes::default();
    for path in encoded.parts.iter().flatten() {
        context.stop.check()?;
        let reader = EmbeddingsReader::open(path).map_err(|source| set_aside(path, source))?;
        for batch in reader {
            let batch = batch.map_err(|source| set_aside(path, source))?;
            magnitudes.merge(&count(&batch, fusion));
        }
    }
    Ok(Scalar::I8 { step: magnitudes.step() })
}

/// The magnitudes of the item vectors of a batch.
fn count(batch: &EmbeddingsBatch, fusion: &EmbeddingFusion) -> Magnitudes {
    let rows = (0..batch.ids.len()).into_par_iter().with_min_len(TASK_ROWS);
    rows.fold(Magnitudes::default, |mut magnitudes, row| {
        let embeddings: Vec<Option<&[f16]>> = batch.columns.iter().map(|column| column.embedding(row)).collect();
        if let Some(vector) = fusion.item_vector(&embeddings) {
            magnitudes.count(&vector);
        }
        magnitudes
    })
    .reduce(Magnitudes::default, |mut one, other| {
        one.merge(&other);
        one
    })
}

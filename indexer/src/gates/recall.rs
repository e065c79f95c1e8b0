//! Recall of the graph against an exact scan. Owns the sample, the scan and what counts as found. Invariant: the same
//! snapshot and sample size give the same figure.

use std::path::Path;

use half::f16;
use rayon::prelude::*;
use schemas::manifest::{GateResult, Manifest};
use schemas::map::MapOptions;
use schemas::modalities::{MODALITIES_FILE, ModalitiesReader, ModalityColumn};
use schemas::{MappedFile, Row};
use searcher::embedding_fusion::EmbeddingFusion;
use searcher::random::SeededRandom;
use searcher::vector::{Graph, dot};

use crate::config::GatesConfig;
use crate::error::IndexError;

/// Neighbours compared by the recall gate.
const RECALL_DEPTH: usize = 10;
/// Slack for inner products that differ only by rounding to `f16`.
const TIE_TOLERANCE: f32 = 1e-3;
/// Seed of the recall gate's sample.
const RECALL_SEED: u64 = 0x5eed_ca7a;

/// Recall@10 of the graph against an exact scan of the item vectors, on a seeded sample of items as queries, each
/// item itself left out. All that the graph's narrowest beam holds is compared by exact inner products, as the searcher does
/// with its wider ones. A found vector counts when its inner product reaches the exact tenth's: among duplicates it does not
/// matter which are found.
pub(super) fn ann_recall(
    folder: &Path,
    manifest: &Manifest,
    config: &GatesConfig,
) -> Result<Option<GateResult>, IndexError> {
    let Some(vector) = manifest.vector.as_ref().filter(|vector| vector.vector_count > 1) else { return Ok(None) };
    let columns: Vec<ModalityColumn> = manifest.modalities.iter().map(ModalityColumn::from).collect();
    let file = MappedFile::open(&folder.join(MODALITIES_FILE))?;
    let modalities = ModalitiesReader::open(file.clone(), &columns)?;
    let fusion = EmbeddingFusion::open(folder, vector, &manifest.modalities)?;
    let graph = Graph::open(folder, manifest, vector, MapOptions::default())?;
    let rows = Row::try_from(modalities.row_count()).map_err(|_| IndexError::Inconsistent {
        reason: format!("{} rows do not fit row numbers", modalities.row_count()),
    })?;
    let item_vector = |row: Row| -> Result<Option<Vec<f16>>, IndexError> {
        let mut embeddings: Vec<Option<&[f16]>> = Vec::new();
        for column in 0..columns.len() {
            embeddings.push(modalities.embedding(column, row)?);
        }
        Ok(fusion.item_vector(&embeddings))
    };
    let mut sample: Vec<(Row, Vec<f32>)> = Vec::new();
    for row in sample_rows(rows, config.recall_sample) {
        let query = |vector: Vec<f16>| vector.iter().map(|value| value.to_f32()).collect();
        sample.extend(item_vector(row)?.map(|vector| (row, query(vector))));
    }
    // The scan passes over the largest file of a snapshot: unreleased, all of it would count as the run's memory.
    let exact = exact_neighbours(rows, &sample, &item_vector, &|| file.release_pages())?;
    let (mut found, mut wanted) = (0_usize, 0_usize);
    for ((row, query), exact) in sample.iter().zip(&exact) {
        let Some(bound) = exact.last() else { continue };
        let mut good = 0;
        for (other, _) in graph.nearest(query, None, vector.expansion_search.max(RECALL_DEPTH + 1))? {
            let Some(vector) = item_vector(other)?.filter(|_| other != *row) else { continue };
            good += usize::from(dot(&vector, query) >= bound - TIE_TOLERANCE);
        }
        found += good.min(exact.len());
        wanted += exact.len();
        // A touched page brings its neighbours with it, so that a few items of each query add up to most of the file.
        file.release_pages();
    }
    let value = if wanted == 0 { 1.0 } else { found as f64 / wanted as f64 };
    let bound = config.min_ann_recall;
    let message = format!(
        "recall@{RECALL_DEPTH} {value:.4} against exact search over {} sampled items, at least {bound} wanted; raise \
         `vector.expansion_search` or `vector.connectivity` when it falls short",
        sample.len()
    );
    Ok(Some(GateResult { value, bound, passed: value >= bound, message }))
}

/// The best inner products with each sampled vector over all rows but its own, best first. What has been read is released
/// now and then.
fn exact_neighbours(
    rows: Row,
    sample: &[(Row, Vec<f32>)],
    item_vector: &(impl Fn(Row) -> Result<Option<Vec<f16>>, IndexError> + Sync),
    release: &(impl Fn() + Sync),
) -> Result<Vec<Vec<f32>>, IndexError> {
    const BLOCK: Row = 4096;
    const RELEASED_BLOCKS: Row = 16;
    let blocks = 0..rows.div_ceil(BLOCK);
    let merge = |mut left: Vec<Vec<f32>>, right: Vec<Vec<f32>>| {
        for (left, right) in left.iter_mut().zip(right) {
            left.extend(right);
            left.sort_unstable_by(|a, b| b.total_cmp(a));
            left.truncate(RECALL_DEPTH);
        }
        left
    };
    blocks
        .into_par_iter()
        .map(|block| {
            let mut best = vec![Vec::new(); sample.len()];
            for row in block * BLOCK..((block + 1) * BLOCK).min(rows) {
                let Some(vector) = item_vector(row)? else { continue };
                for ((own, query), best) in sample.iter().zip(&mut best) {
                    if *own != row {
                        best.push(dot(&vector, query));
                    }
                }
            }
            if block % RELEASED_BLOCKS == 0 {
                release();
            }
            Ok(merge(vec![Vec::new(); sample.len()], best))
        })
        .try_reduce(|| vec![Vec::new(); sample.len()], |left, right| Ok(merge(left, right)))
}

/// Up to `count` different rows, the same for the same arguments.
fn sample_rows(rows: Row, count: usize) -> Vec<Row> {
    if count >= rows as usize {
        return (0..rows).collect();
    }
    let mut random = SeededRandom::new(RECALL_SEED);
    let mut chosen = std::collections::BTreeSet::new();
    while chosen.len() < count {
        chosen.insert(random.below(rows as usize) as Row); // below a row number
    }
    chosen.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_seeded_and_has_no_row_twice() {
        let sample = sample_rows(10_000, 100);
        assert_eq!(sample.len(), 100);
        assert_eq!(sample, sample_rows(10_000, 100));
        assert!(sample.windows(2).all(|pair| pair[0] < pair[1] && pair[1] < 10_000));
        assert_eq!(sample_rows(3, 100), [0, 1, 2]);
    }

    #[test]
    fn exact_neighbours_leave_the_item_itself_out() -> Result<(), IndexError> {
        let vectors = [[1.0, 0.0], [0.0, 1.0], [0.5, 0.75]].map(|vector| vector.map(f16::from_f32).to_vec());
        let sample = vec![(0, vec![1.0, 0.0])];
        let best = exact_neighbours(3, &sample, &|row| Ok(Some(vectors[row as usize].clone())), &|| ())?;
        assert_eq!(best, [vec![0.5, 0.0]]);
        Ok(())
    }
}

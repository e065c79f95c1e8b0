//! Second stage: the spool's items to embeddings in Parquet parts. Owns which rows a part has, and the parts' names;
//! not what can be kept (`reuse.rs`) nor one chunk's encoding (`chunk.rs`). Invariant: when it returns, each
//! partition's parts hold exactly the spool's unique items in the spool's order; older parts are removed only by
//! [`EncodedCatalog::settle`], after publishing, so that neither a stopped run nor a broken catalog costs an embedding.

use std::path::{Path, PathBuf};

use schemas::embeddings::EmbeddingsWriter;
use schemas::{Item, Store};

use crate::config::EncodeConfig;
use crate::encoder_set::EncoderSet;
use crate::error::IndexError;
use crate::pictures::PictureReader;
use crate::progress::{Progress, StopSignal};
use crate::report::RunCounts;
use crate::reuse::EmbeddingCache;
use crate::spool::{Spool, SpoolRow, partition_of};

mod chunk;
mod layout;

use layout::EmbeddingsLayout;

/// The embeddings of all items: for each partition its parts in row order.
#[derive(Debug)]
pub struct EncodedCatalog {
    /// The items.
    pub spool: Spool,
    /// Parts by partition; empty without encoders.
    pub parts: Vec<Vec<PathBuf>>,
    /// Number of unique items.
    pub items: u64,
    layout: EmbeddingsLayout,
}

impl EncodedCatalog {
    /// Removes the embeddings that the published snapshot has no item for, and what killed runs had begun.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn settle(&self) -> Result<(), IndexError> {
        self.layout.settle(&self.parts)
    }
}

/// What encoding works with.
#[derive(Clone, Copy)]
pub struct EncodeContext<'a> {
    /// Settings.
    pub config: &'a EncodeConfig,
    /// Encoders.
    pub encoders: &'a EncoderSet,
    /// Pictures.
    pub pictures: &'a PictureReader,
    /// Listener.
    pub progress: &'a dyn Progress,
    /// Stop signal.
    pub stop: &'a StopSignal,
}

/// Encodes what is new or changed, keeps the rest.
///
/// # Errors
/// When an encoder or a file fails, or the run is stopped. Finished parts stay for the next run.
pub fn encode(
    spool: Spool,
    store: &Store,
    context: &EncodeContext<'_>,
    counts: &mut RunCounts,
) -> Result<EncodedCatalog, IndexError> {
    let steps = spool.rows() * context.encoders.modalities().len() as u64;
    context.progress.begin("encode", Some(steps));
    let layout = EmbeddingsLayout::open(store, spool.partitions())?;
    let mut parts = Vec::new();
    for partition in 0..spool.partitions() {
        parts.push(encode_partition(&spool, partition, &layout, context, counts)?);
    }
    context.progress.end();
    Ok(EncodedCatalog { spool, parts, items: counts.items, layout })
}

fn encode_partition(
    spool: &Spool,
    partition: u32,
    layout: &EmbeddingsLayout,
    context: &EncodeContext<'_>,
    counts: &mut RunCounts,
) -> Result<Vec<PathBuf>, IndexError> {
    let schema = context.encoders.embeddings_schema();
    let wanted = |id: &str| partition_of(id, spool.partitions()) == partition;
    let cache = EmbeddingCache::load(&layout.earlier_parts(partition)?, &schema, wanted);
    let mut names = layout.new_names(partition)?;
    let mut parts = Vec::new();
    let mut chunk: Vec<Item> = Vec::new();
    let mut rows = spool.read(partition)?;
    loop {
        let row = rows.next().transpose()?;
        let ended = row.is_none();
        match row {
            Some(SpoolRow::Unique(item)) => chunk.push(item),
            Some(SpoolRow::Duplicate(rejection)) => counts.reject(&rejection)?,
            None => {}
        }
        if chunk.len() == context.config.part_rows || (ended && !chunk.is_empty()) {
            counts.items += chunk.len() as u64;
            if !schema.modalities.is_empty() {
                parts.push(encode_chunk(&chunk, &cache, layout, &mut names, context, counts)?);
            }
            chunk.clear();
        }
        if ended {
            break;
        }
    }
    Ok(parts)
}

/// Encodes a chunk into a part of its own, or finds that a part with just these rows is there already.
fn encode_chunk(
    items: &[Item],
    cache: &EmbeddingCache,
    layout: &EmbeddingsLayout,
    names: &mut impl Iterator<Item = PathBuf>,
    context: &EncodeContext<'_>,
    counts: &mut RunCounts,
) -> Result<PathBuf, IndexError> {
    let batch = chunk::encode(items, cache, context, counts)?;
    // While parts of another number of partitions are around, a part may lie in a folder that goes.
    if !layout.is_repartitioned()
        && let Some(path) = cache.same_part(&batch)
    {
        return Ok(path.to_owned());
    }
    let path = names.next().ok_or_else(|| IndexError::Inconsistent { reason: "no part number is left".to_owned() })?;
    create_parent(&path)?;
    let mut writer = EmbeddingsWriter::create(&path, &context.encoders.embeddings_schema())?;
    writer.write(&batch)?;
    writer.finish()?;
    Ok(path)
}

fn create_parent(path: &Path) -> Result<(), IndexError> {
    match path.parent() {
        Some(parent) => fs_err::create_dir_all(parent).map_err(IndexError::io(parent)),
        None => Ok(()),
    }
}

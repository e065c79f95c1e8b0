//! The first stage: the spool's rows in chunks, with what earlier runs left of their partition. Owns where chunks begin
//! and end; not what is done with them. Invariant: a chunk has rows of one partition, at most `part_rows` (and as many
//! duplicates), and no more bytes than [`MAX_CHUNK_BYTES`] but for its last row's; chunks are numbered in the order of the rows.

use crossbeam_channel::Sender;
use schemas::Item;
use schemas::rejects::Rejection;

use super::layout::{EmbeddingsLayout, PartNames};
use super::stages::{Halt, Shared, StageWatch};
use super::{EncodeContext, LARGE_PARTITION_ROWS};
use crate::reuse::EarlierEmbeddings;
use crate::spool::{Spool, SpoolRow, partition_of};

/// Bytes of texts and of pictures that stand in the catalog after which a chunk ends, so that memory does not grow with
/// the size of the rows.
pub(super) const MAX_CHUNK_BYTES: usize = 64 << 20;

/// Where rows come from.
pub(super) struct Source<'a> {
    pub(super) spool: &'a Spool,
    pub(super) partitions: &'a [u32],
    pub(super) layout: &'a EmbeddingsLayout,
    pub(super) context: &'a EncodeContext<'a>,
}

/// What the reader hands on.
pub(super) enum FromRead {
    /// The following chunks belong to this partition.
    Partition(PartitionStart),
    /// Some rows of it.
    Chunk(Chunk),
}

/// A chunk's place among those that are on their way; the writer takes it back.
#[derive(Debug)]
pub(super) struct ChunkPlace;

/// A partition before its first chunk.
pub(super) struct PartitionStart {
    pub(super) partition: u32,
    pub(super) earlier: EarlierEmbeddings,
    pub(super) names: PartNames,
}

/// Rows that become a part.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// From 0, over all partitions.
    pub(super) number: u64,
    pub(super) items: Vec<Item>,
    /// Duplicates that stood among the rows.
    pub(super) rejections: Vec<Rejection>,
}

/// Reads all chosen partitions. A chunk is handed over when it gets a place among those that are on their way.
pub(super) fn run(
    source: &Source<'_>,
    to_prepare: &Sender<FromRead>,
    places: &Sender<ChunkPlace>,
    shared: &Shared,
    watch: &mut StageWatch,
) -> Result<(), Halt> {
    let hand_over = |watch: &mut StageWatch, next_chunk: &mut Chunk| {
        let number = next_chunk.number + 1;
        let chunk = std::mem::replace(next_chunk, Chunk { number, ..Chunk::default() });
        watch.send(places, ChunkPlace)?;
        shared.chunks.add(1);
        watch.send(to_prepare, FromRead::Chunk(chunk))
    };
    let context = source.context;
    let schema = context.encoders.embeddings_schema();
    let mut next_chunk = Chunk::default();
    for &partition in source.partitions {
        shared.first_error.check(context.stop)?;
        warn_of_large(partition, source.spool.partition_rows(partition));
        let partitions = source.spool.partitions();
        let wanted = |id: &str| partition_of(id, partitions) == partition;
        let earlier = EarlierEmbeddings::load(&source.layout.earlier_parts(partition)?, &schema, wanted)?;
        let names = source.layout.new_names(partition)?;
        watch.send(to_prepare, FromRead::Partition(PartitionStart { partition, earlier, names }))?;
        let mut bytes = 0;
        for row in source.spool.read(partition)? {
            match row? {
                SpoolRow::Unique(item) => {
                    bytes += item.content_bytes();
                    next_chunk.items.push(item);
                }
                SpoolRow::Duplicate(rejection) => next_chunk.rejections.push(rejection),
            }
            let rows = next_chunk.items.len().max(next_chunk.rejections.len());
            if rows == context.config.part_rows || bytes >= MAX_CHUNK_BYTES {
                bytes = 0;
                shared.first_error.check(context.stop)?;
                hand_over(watch, &mut next_chunk)?;
            }
        }
        if !next_chunk.items.is_empty() || !next_chunk.rejections.is_empty() {
            hand_over(watch, &mut next_chunk)?;
        }
    }
    Ok(())
}

fn warn_of_large(partition: u32, rows: u64) {
    if rows > LARGE_PARTITION_ROWS {
        tracing::warn!(
            partition,
            rows,
            "a partition's ids and hashes are held in memory; raise `encode.partitions` (its embeddings are kept)"
        );
    }
}

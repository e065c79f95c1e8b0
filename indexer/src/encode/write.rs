//! The last stage: embeddings into the columns of their chunks, and full chunks into Parquet parts. Owns the counts of a
//! run's encoding; not what a part is called. Invariant: a part is written once, when every row of its chunk is there,
//! and its rows have the chunk's order whatever the order in which embeddings arrive.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use crossbeam_channel::Receiver;
use half::f16;
use half::slice::HalfFloatSliceExt;
use schemas::Modality;
use schemas::embeddings::{EmbeddingsBatch, EmbeddingsSchema, EmbeddingsWriter};
use schemas::rejects::Rejection;

use super::read_chunks::ChunkPlace;
use super::stages::{Halt, Shared, StageWatch};
use super::window::{EncodedWindow, Share, Target};
use super::{EncodeContext, Written};
use crate::error::IndexError;
use crate::progress::Progress;
use crate::report::{ModalityCounts, PipelineReport, RunCounts};
use crate::reuse::{ContentState, KeptEmbeddings};

/// What arrives.
pub(super) enum ToWrite {
    /// Everything of a chunk but the embeddings that are computed.
    Chunk(PreparedChunk),
    /// Computed embeddings.
    Window(EncodedWindow),
}

/// A chunk that was compared with the earlier embeddings.
#[derive(Debug)]
pub(super) struct PreparedChunk {
    pub(super) number: u64,
    pub(super) partition: u32,
    pub(super) ids: Vec<String>,
    /// What was left out of it.
    pub(super) rejections: Vec<Rejection>,
    /// Per modality.
    pub(super) counts: Vec<ModalityCounts>,
    /// Digest of its ids and of what is known of their contents.
    pub(super) contents: blake3::Hash,
    pub(super) part: PreparedPart,
}

/// Where a chunk's embeddings go.
#[derive(Debug)]
pub(super) enum PreparedPart {
    /// Nowhere: it has no rows, or nothing is encoded.
    Nothing,
    /// The part that is there stays.
    Kept(PathBuf),
    /// A new part.
    New {
        path: PathBuf,
        /// Per modality and row: the content's hash, and whether an embedding is kept or will be computed.
        states: Vec<Vec<ContentState>>,
        /// Per modality.
        kept: Vec<KeptEmbeddings>,
        /// Embeddings that are computed.
        awaited: usize,
    },
}

/// Writes parts until all other stages have ended. Gives them in the order of the chunks.
pub(super) fn run(
    context: &EncodeContext<'_>,
    results: &Receiver<ToWrite>,
    counts: &mut RunCounts,
    report: &mut PipelineReport,
    places: &Receiver<ChunkPlace>,
    shared: &Shared,
    watch: &mut StageWatch,
) -> Result<Written, Halt> {
    let modalities = context.encoders.modalities().iter().map(|one| one.modality).collect();
    let schema = context.encoders.embeddings_schema();
    let mut writer = Writer {
        schema,
        modalities,
        open: HashMap::new(),
        parts: BTreeMap::new(),
        contents: blake3::Hasher::new(),
        places,
        shared,
    };
    let mut items = ItemProgress::new(context.progress, writer.modalities.len());
    while let Some(message) = watch.receive(results) {
        shared.first_error.check(context.stop)?;
        match message {
            ToWrite::Chunk(chunk) => {
                items.add_chunk(chunk.ids.len(), chunk.awaited());
                writer.add_chunk(chunk, counts)?;
            }
            ToWrite::Window(window) => {
                items.advance(window.targets.chunks.iter().map(|one| one.targets.len()).sum());
                writer.add_work(&window, report, context.progress);
                writer.add_window(&window)?;
            }
        }
    }
    shared.first_error.check(context.stop)?;
    // A stage that failed ends this one too, with chunks still open; then its error counts.
    if !writer.open.is_empty() {
        return Err(Halt::Ended);
    }
    Ok(Written { parts: writer.parts.into_values().collect(), contents: writer.contents.finalize() })
}

impl PreparedChunk {
    fn awaited(&self) -> usize {
        match &self.part {
            PreparedPart::New { awaited, .. } => *awaited,
            PreparedPart::Nothing | PreparedPart::Kept(_) => 0,
        }
    }
}

struct Writer<'a> {
    schema: EmbeddingsSchema,
    modalities: Vec<Modality>,
    open: HashMap<u64, OpenChunk>,
    /// Partition and path by the number of the chunk.
    parts: BTreeMap<u64, (u32, PathBuf)>,
    /// Over the chunks in their order, which is the order they arrive in.
    contents: blake3::Hasher,
    /// Of the chunks that are on their way.
    places: &'a Receiver<ChunkPlace>,
    shared: &'a Shared,
}

/// A chunk whose embeddings have not all arrived.
struct OpenChunk {
    batch: EmbeddingsBatch,
    arrived: usize,
    /// `None` until the chunk itself arrives: embeddings may be faster.
    awaited: Option<usize>,
}

impl OpenChunk {
    fn new(schema: &EmbeddingsSchema, rows: usize) -> OpenChunk {
        let mut batch = schema.empty_batch();
        for column in &mut batch.columns {
            column.hashes = vec![None; rows];
            column.present = vec![false; rows];
            column.values = vec![f16::ZERO; rows * column.dimension];
        }
        OpenChunk { batch, arrived: 0, awaited: None }
    }

    /// The values of a row that has an embedding now.
    fn row(&mut self, modality: usize, row: usize) -> &mut [f16] {
        let column = &mut self.batch.columns[modality];
        column.present[row] = true;
        &mut column.values[row * column.dimension..(row + 1) * column.dimension]
    }
}

impl Writer<'_> {
    fn add_chunk(&mut self, chunk: PreparedChunk, counts: &mut RunCounts) -> Result<(), IndexError> {
        let PreparedChunk { number, partition, ids, rejections, counts: by_modality, contents, part } = chunk;
        self.contents.update(contents.as_bytes());
        counts.items += ids.len() as u64;
        for rejection in &rejections {
            counts.reject(rejection)?;
        }
        for (modality, new) in self.modalities.iter().zip(&by_modality) {
            counts.modality(*modality).add(new);
        }
        match part {
            PreparedPart::Nothing => {
                self.give_place();
                Ok(())
            }
            PreparedPart::Kept(path) => {
                self.parts.insert(number, (partition, path));
                self.give_place();
                Ok(())
            }
            PreparedPart::New { path, states, kept, awaited } => {
                self.parts.insert(number, (partition, path));
                let open = self.open.entry(number).or_insert_with(|| OpenChunk::new(&self.schema, ids.len()));
                open.batch.ids = ids;
                open.awaited = Some(awaited);
                for (modality, (states, kept)) in states.iter().zip(kept).enumerate() {
                    open.batch.columns[modality].hashes = states.iter().map(|(hash, _)| *hash).collect();
                    let dimension = open.batch.columns[modality].dimension;
                    for (row, values) in kept.rows.iter().zip(kept.values.chunks_exact(dimension)) {
                        open.row(modality, *row).copy_from_slice(values);
                    }
                }
                self.write_if_full(number)
            }
        }
    }

    fn add_window(&mut self, window: &EncodedWindow) -> Result<(), IndexError> {
        for one in &window.targets.chunks {
            let open = self.open.entry(one.chunk).or_insert_with(|| OpenChunk::new(&self.schema, one.chunk_rows));
            for Target { modality, row, content } in &one.targets {
                open.row(*modality, *row).convert_from_f32_slice(window.embeddings.row(*content));
            }
            open.arrived += one.targets.len();
            self.write_if_full(one.chunk)?;
        }
        Ok(())
    }

    fn write_if_full(&mut self, number: u64) -> Result<(), IndexError> {
        if self.open.get(&number).is_none_or(|open| open.awaited != Some(open.arrived)) {
            return Ok(());
        }
        let (Some(open), Some((_, path))) = (self.open.remove(&number), self.parts.get(&number)) else { return Ok(()) };
        super::layout::create_parent(path)?;
        let mut writer = EmbeddingsWriter::create(path, &self.schema)?;
        writer.write(&open.batch)?;
        writer.finish()?;
        self.give_place();
        Ok(())
    }

    /// A chunk is done: the reader may hand over another one.
    fn give_place(&self) {
        self.shared.chunks.remove(1);
        // The reader put it there before the chunk.
        drop(self.places.try_recv());
    }

    /// Shares the device's time out among the modalities, by tokens or pictures.
    fn add_work(&self, window: &EncodedWindow, report: &mut PipelineReport, progress: &dyn Progress) {
        let size = |share: &Share| (share.tokens + share.pictures) as f64;
        let all: f64 = window.targets.shares.iter().map(size).sum();
        for (modality, share) in self.modalities.iter().zip(&window.targets.shares) {
            let work = report.modalities.entry(modality.name().to_owned()).or_default();
            work.embeddings += share.contents;
            work.tokens += share.tokens;
            work.pictures += share.pictures;
            work.seconds += if all > 0.0 { window.seconds * size(share) / all } else { 0.0 };
            progress.computed(share.tokens, share.pictures);
        }
    }
}

/// Turns finished modalities of items into finished items.
struct ItemProgress<'a> {
    progress: &'a dyn Progress,
    modalities: usize,
    /// Finished modalities that make no whole item yet.
    rest: usize,
    /// Those of them that are kept or absent, likewise.
    kept_rest: usize,
}

impl ItemProgress<'_> {
    fn new(progress: &dyn Progress, modalities: usize) -> ItemProgress<'_> {
        ItemProgress { progress, modalities: modalities.max(1), rest: 0, kept_rest: 0 }
    }

    /// A chunk of so many rows, of which so many modalities are computed.
    fn add_chunk(&mut self, rows: usize, awaited: usize) {
        let kept = rows * self.modalities - awaited;
        self.kept_rest += kept;
        self.progress.compared(rows as u64, (self.kept_rest / self.modalities) as u64);
        self.kept_rest %= self.modalities;
        self.advance(kept);
    }

    fn advance(&mut self, steps: usize) {
        self.rest += steps;
        self.progress.advance((self.rest / self.modalities) as u64);
        self.rest %= self.modalities;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// Sums of items: compared, of them kept, done.
    #[derive(Default)]
    struct Sums(Mutex<[u64; 3]>);

    impl Sums {
        fn add(&self, items: [u64; 3]) {
            let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            sums.iter_mut().zip(items).for_each(|(sum, items)| *sum += items);
        }

        fn get(&self) -> [u64; 3] {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    impl Progress for Sums {
        fn compared(&self, items: u64, kept: u64) {
            self.add([items, kept, 0]);
        }

        fn advance(&self, steps: u64) {
            self.add([0, 0, steps]);
        }
    }

    #[test]
    fn items_are_done_by_their_modalities_and_kept_by_their_share() {
        let sums = Sums::default();
        let mut items = ItemProgress::new(&sums, 3);
        // All kept; then of seven rows one modality is kept.
        items.add_chunk(5, 0);
        assert_eq!(sums.get(), [5, 5, 5]);
        items.add_chunk(7, 14);
        assert_eq!(sums.get(), [12, 7, 7]);
        for computed in [1, 12, 1] {
            items.advance(computed);
        }
        assert_eq!(sums.get(), [12, 7, 12]);
        // What makes no whole item is not lost.
        items.add_chunk(1, 1);
        items.add_chunk(1, 1);
        assert_eq!(sums.get(), [14, 8, 13]);
        items.advance(2);
        assert_eq!(sums.get(), [14, 8, 14]);
        // Without modalities every row is done when it is read.
        let rows_alone = Sums::default();
        ItemProgress::new(&rows_alone, 0).add_chunk(4, 0);
        assert_eq!(rows_alone.get(), [4, 4, 4]);
    }
}

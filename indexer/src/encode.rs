//! Second stage: the spool's items to embeddings in Parquet parts, as a pipeline of threads. Owns the order of its
//! stages, its bounds and its end; each stage is in its own file, what can be kept is `reuse.rs`'s. Invariant: when it
//! returns, each chosen partition's parts hold exactly the spool's unique items in the spool's order; older parts are
//! removed only by [`EncodedCatalog::settle`], after publishing, so that neither a stopped run nor a broken catalog costs
//! an embedding.
//!
//! ```text
//! read ──chunks──► prepare ──windows──► encode (a thread per device) ──embeddings──► write
//! spool            hash, compare,       forward pass                                 columns in
//! chunks of        tokenise, decode          ▲ one queue for all devices             catalog order,
//! part_rows rows   ───────────────────── kept embeddings, hashes ──────────────────► Parquet parts
//! ```
//!
//! A *chunk* becomes a part. A *window* is what a device computes at once: texts or pictures of one encoder, from up to
//! [`CHUNKS_PER_WINDOW`] chunks, so that a night with few changes still fills it. Nothing drains between chunks or
//! partitions: while a device computes, the next windows are prepared and the last part is written.
//!
//! Memory: two chunks of items (`part_rows` or 64 MiB each, with pictures that stand in the catalog); the earlier rows of two
//! partitions (`reuse.rs`) and the ids of one (`spool.rs`); per device [`WINDOWS_PER_DEVICE`] + 1 waiting windows, and
//! [`DECODED_BATCHES`] + 1 windows being decoded and filled, each `image_batch` pictures (more on a CPU of many threads) ×
//! 3 × height × width × 4 bytes; and the columns of the chunks on their way, at most [`CHUNKS_PER_WINDOW`] + 2 ×
//! ([`WINDOWS_PER_DEVICE`] + 1) per device, each `part_rows` × the sum of dimensions × 2 bytes. With the defaults, one
//! device, 3 × 512 dimensions and pictures of 224 × 224 that is below 14 × 25 MB + 10 × 19 MB, usually a fifth of it. It
//! does not grow with the catalog but for the rows of a partition. The report has the most chunks and pictures there were.

use std::path::PathBuf;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};
use encoders::DeviceChoice;
use schemas::Store;

use crate::config::EncodeConfig;
use crate::encoder_set::EncoderSet;
use crate::error::IndexError;
use crate::pictures::PictureReader;
use crate::progress::{Progress, StopSignal};
use crate::report::{ModalityWork, PipelineReport, RunCounts, StageSeconds};
use crate::spool::Spool;

mod compute;
mod layout;
mod prepare;
mod read_chunks;
mod stages;
mod window;
mod write;

pub(crate) use layout::EarlierParts;
use layout::EmbeddingsLayout;
use stages::{FirstError, Halt, Shared, StageWatch};

/// Texts in a window for the CPU, for each thread: long enough to sort by length, short enough to stop soon.
pub const CPU_TEXTS_PER_THREAD: usize = 512;
/// Least pictures in a window for the CPU, for each thread, where `image_batch` is less.
pub const CPU_PICTURES_PER_THREAD: usize = 2;
/// Texts in a window for a CUDA device: many batches of equal length in each.
pub const CUDA_TEXT_WINDOW: usize = 8_192;
/// Chunks whose rows may share a window; a window does not wait for rows of later ones.
pub const CHUNKS_PER_WINDOW: u64 = 4;
/// Windows that wait for a device, for each of them.
pub const WINDOWS_PER_DEVICE: usize = 4;
/// Batches of pictures that are decoded at once, so that every core has some.
pub const DECODED_BATCHES: usize = 4;
/// Rows of one partition above which the log advises more partitions: ids and hashes of a partition are in memory.
pub const LARGE_PARTITION_ROWS: u64 = 2_000_000;

/// The embeddings of the chosen partitions' items: for each partition its parts in row order.
#[derive(Debug)]
pub struct EncodedCatalog {
    /// The items.
    pub spool: Spool,
    /// Parts by partition; empty without encoders, and for partitions that were not chosen.
    pub parts: Vec<Vec<PathBuf>>,
    /// Number of unique items.
    pub items: u64,
    /// Digest of ids, content hashes and what is absent, in the order of the rows.
    pub contents: blake3::Hash,
    /// How the time was spent.
    pub pipeline: PipelineReport,
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

/// Encodes what is new or changed in the partitions, keeps the rest. Takes a thread for reading, one for preparing (which
/// puts its work on the rayon pool) and one for each device; writes on the caller's.
///
/// # Errors
/// The first error of any stage, or [`IndexError::Stopped`]; all threads have ended then. Finished parts stay for the
/// next run.
pub fn encode(
    spool: Spool,
    partitions: &[u32],
    store: &Store,
    context: &EncodeContext<'_>,
    counts: &mut RunCounts,
) -> Result<EncodedCatalog, IndexError> {
    let rows = partitions.iter().map(|partition| spool.partition_rows(*partition)).sum();
    context.progress.begin("encode", Some(rows));
    let layout = EmbeddingsLayout::open(store, spool.partitions())?;
    let (shared, forward) = (Shared::default(), &compute::encode_window);
    let (Written { parts, contents }, pipeline) =
        run_stages(&spool, partitions, &layout, context, counts, &shared, forward)?;
    context.progress.end();
    let mut by_partition = vec![Vec::new(); spool.partitions() as usize];
    for (partition, path) in parts {
        by_partition[partition as usize].push(path);
    }
    Ok(EncodedCatalog { spool, parts: by_partition, items: counts.items, contents, pipeline, layout })
}

/// What the last stage leaves.
struct Written {
    /// Parts with their partitions, in the order of the rows.
    parts: Vec<(u32, PathBuf)>,
    contents: blake3::Hash,
}

fn run_stages(
    spool: &Spool,
    partitions: &[u32],
    layout: &EmbeddingsLayout,
    context: &EncodeContext<'_>,
    counts: &mut RunCounts,
    shared: &Shared,
    encode_window: &compute::EncodeWindow<'_>,
) -> Result<(Written, PipelineReport), IndexError> {
    let start = Instant::now();
    let devices = context.encoders.devices().len();
    let first_error = &shared.first_error;
    let mut report = empty_report(context);
    // A chunk is handed over, not queued: the reader already has the next one in its hands.
    let (to_prepare, chunks) = bounded(0);
    let (to_encode, windows) = bounded(WINDOWS_PER_DEVICE * devices.max(1));
    let (to_write, results) = bounded(devices + 1);
    let (places, taken_places) = bounded(chunk_places(devices));

    let written = std::thread::scope(|scope| {
        let read = {
            let source = read_chunks::Source { spool, partitions, layout, context };
            spawn(scope, first_error, move |watch| read_chunks::run(&source, &to_prepare, &places, shared, watch))
        };
        let prepare = {
            let to_write = to_write.clone();
            spawn(scope, first_error, move |watch| prepare::run(context, &chunks, &to_encode, &to_write, shared, watch))
        };
        let encode: Vec<_> = (0..devices)
            .map(|device| {
                let (windows, to_write): (Receiver<_>, Sender<_>) = (windows.clone(), to_write.clone());
                spawn(scope, first_error, move |watch| {
                    compute::run(device, context, encode_window, &windows, &to_write, shared, watch)
                })
            })
            .collect();
        // Only the stages' own ends are left, so that each channel closes with the stages that use it.
        drop((windows, to_write));

        let mut watch = StageWatch::start();
        let written = write::run(context, &results, counts, &mut report, &taken_places, shared, &mut watch);
        let written = first_error.note(written);
        drop((results, taken_places));
        let mut stages = vec![("write", watch.finish()), ("read", join(read)), ("prepare", join(prepare))];
        stages.extend(encode.into_iter().map(|worker| ("encode", join(worker))));
        for (name, seconds) in stages {
            report.stages.entry(name.to_owned()).or_default().add(seconds);
        }
        written
    });
    first_error.take()?;
    let written = written.ok_or_else(|| IndexError::Inconsistent { reason: "encoding ended early".to_owned() })?;
    report.seconds = start.elapsed().as_secs_f64();
    report.most_chunks = shared.chunks.most();
    report.most_pictures = shared.pictures.most();
    report.finish();
    Ok((written, report))
}

/// Chunks that may be on their way from the reader to their parts. Without this bound, a night of few changes, whose windows
/// span [`CHUNKS_PER_WINDOW`] chunks each, would hold as many for every waiting window. A window is on its way before the
/// chunk after its last is read, so that the chunks of those being filled never take up all places.
fn chunk_places(devices: usize) -> usize {
    CHUNKS_PER_WINDOW as usize + 2 * (WINDOWS_PER_DEVICE + 1) * devices.max(1)
}

/// Runs a stage on a thread of its own. Its error is noted before the stage's ends of channels are dropped, so that it is
/// the first, and not the neighbours' finding nobody there.
fn spawn<'scope, Stage>(
    scope: &'scope Scope<'scope, '_>,
    first_error: &'scope FirstError,
    stage: Stage,
) -> ScopedJoinHandle<'scope, StageSeconds>
where
    Stage: FnOnce(&mut StageWatch) -> Result<(), Halt> + Send + 'scope,
{
    scope.spawn(move || {
        let mut watch = StageWatch::start();
        first_error.run(stage, &mut watch);
        watch.finish()
    })
}

fn join(thread: ScopedJoinHandle<'_, StageSeconds>) -> StageSeconds {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn empty_report(context: &EncodeContext<'_>) -> PipelineReport {
    let work = context.encoders.modalities().iter().map(|one| {
        let work = ModalityWork { encoder: one.spec.fingerprint(), ..ModalityWork::default() };
        (one.modality.name().to_owned(), work)
    });
    let devices = context.encoders.devices().iter().map(|one| one.device.to_string());
    PipelineReport { modalities: work.collect(), devices: devices.collect(), ..PipelineReport::default() }
}

/// How much goes into a window.
#[derive(Clone, Copy, Debug)]
struct WindowSizes {
    texts: usize,
    pictures: usize,
}

impl WindowSizes {
    /// Sizes that keep the devices busy: every thread of a CPU has its share of a window.
    fn of(devices: impl IntoIterator<Item = DeviceChoice>, image_batch: usize) -> WindowSizes {
        let is_cuda = |device| matches!(device, DeviceChoice::Cuda(_));
        if devices.into_iter().any(is_cuda) {
            return WindowSizes { texts: CUDA_TEXT_WINDOW, pictures: image_batch };
        }
        let threads = rayon::current_num_threads();
        WindowSizes {
            texts: CPU_TEXTS_PER_THREAD * threads,
            pictures: image_batch.max(CPU_PICTURES_PER_THREAD * threads),
        }
    }
}

#[cfg(test)]
mod tests;

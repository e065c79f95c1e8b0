//! The second stage: what of a chunk can be kept, and the rest made ready for the devices. Owns hashing, comparing,
//! tokenising and filling windows; getting a picture ready is `picture.rs`'s. Invariant: every row's modality is kept,
//! absent, or in exactly one window; what is sent on has the chunk's order.

use crossbeam_channel::{Receiver, Sender};
use encoders::{ImageEncoder, TextEncoder, TextRole};
use rayon::prelude::*;
use schemas::rejects::Rejection;
use schemas::{ContentHash, Item, Modality};

use self::picture::Picture;
use super::read_chunks::{Chunk, FromRead, PartitionStart};
use super::stages::{Halt, Shared, StageWatch};
use super::window::{Content, Window};
use super::write::{PreparedChunk, PreparedPart, ToWrite};
use super::{CHUNKS_PER_WINDOW, DECODED_BATCHES, EncodeContext, WindowSizes, compute};
use crate::encoder_set::LoadedEncoder;
use crate::error::IndexError;
use crate::report::ModalityCounts;
use crate::reuse::{ContentState, Decision, EarlierEmbeddings, EarlierRow, EncodeReason, KeptEmbeddings};

mod picture;

/// Prepares chunks until the reader has ended.
pub(super) fn run(
    context: &EncodeContext<'_>,
    chunks: &Receiver<FromRead>,
    to_encode: &Sender<Window>,
    to_write: &Sender<ToWrite>,
    shared: &Shared,
    watch: &mut StageWatch,
) -> Result<(), Halt> {
    let encoders = context.encoders.devices().first().map(|first| first.encoders.as_slice()).unwrap_or_default();
    let windows = encoders.iter().enumerate().map(|(number, encoder)| match encoder {
        LoadedEncoder::Text(_) => Window::texts(number),
        LoadedEncoder::Image(_) => Window::pictures(number),
    });
    let windows = windows.collect();
    let devices = context.encoders.devices().iter().map(|one| one.device);
    let sizes = WindowSizes::of(devices, context.config.image_batch);
    let mut preparer = Preparer { context, encoders, windows, sizes, to_encode, shared, watch };
    let mut partition: Option<PartitionStart> = None;
    while let Some(message) = preparer.watch.receive(chunks) {
        shared.first_error.check(context.stop)?;
        match (message, &mut partition) {
            (FromRead::Partition(start), _) => partition = Some(start),
            (FromRead::Chunk(chunk), Some(partition)) => {
                let number = chunk.number;
                let prepared = preparer.prepare(chunk, partition)?;
                preparer.watch.send(to_write, ToWrite::Chunk(prepared))?;
                preparer.send_windows(|first| number + 1 - first >= CHUNKS_PER_WINDOW)?;
            }
            (FromRead::Chunk(_), None) => {
                return Err(IndexError::Inconsistent { reason: "rows before their partition".to_owned() }.into());
            }
        }
    }
    preparer.send_windows(|_| true)
}

struct Preparer<'a> {
    context: &'a EncodeContext<'a>,
    /// The first device's: tokenising and preprocessing are the same on all.
    encoders: &'a [LoadedEncoder],
    /// By number of the encoder; filled over several chunks.
    windows: Vec<Window>,
    sizes: WindowSizes,
    to_encode: &'a Sender<Window>,
    shared: &'a Shared,
    watch: &'a mut StageWatch,
}

/// A chunk on its way through this stage; lists of lists are by modality.
struct ChunkWork<'a> {
    number: u64,
    items: &'a [Item],
    rows: Vec<Option<EarlierRow>>,
    states: Vec<Vec<ContentState>>,
    kept: Vec<Vec<(usize, EarlierRow)>>,
    counts: Vec<ModalityCounts>,
    rejections: Vec<Rejection>,
    awaited: usize,
}

impl ChunkWork<'_> {
    /// Takes what the comparison says of a row; the reason if it must be encoded.
    fn decide(
        &mut self,
        earlier: &EarlierEmbeddings,
        (modality, row): (usize, usize),
        hash: ContentHash,
    ) -> Option<EncodeReason> {
        self.states[modality][row] = (Some(hash), true);
        match earlier.decide(self.rows[row], modality, hash) {
            Decision::Keep(earlier) => {
                self.kept[modality].push((row, earlier));
                self.counts[modality].kept += 1;
                None
            }
            Decision::Encode(reason) => {
                *self.counts[modality].encoded.entry(reason).or_default() += 1;
                Some(reason)
            }
        }
    }

    fn reject(&mut self, row: usize, reason: schemas::rejects::RejectReason) {
        let item = &self.items[row];
        self.rejections.push(Rejection { location: item.location.clone(), id: Some(item.id.clone()), reason });
    }
}

impl Preparer<'_> {
    fn prepare(&mut self, chunk: Chunk, partition: &mut PartitionStart) -> Result<PreparedChunk, Halt> {
        let Chunk { number, items, rejections } = chunk;
        let modalities = self.context.encoders.modalities().len();
        let mut work = ChunkWork {
            number,
            items: &items,
            rows: items.iter().map(|item| partition.earlier.row(&item.id)).collect(),
            states: vec![vec![(None, false); items.len()]; modalities],
            kept: vec![Vec::new(); modalities],
            counts: vec![ModalityCounts::default(); modalities],
            rejections,
            awaited: 0,
        };
        let all_rows: Vec<usize> = (0..items.len()).collect();
        for modality in 0..modalities {
            self.prepare_rows(&mut work, modality, &all_rows, &partition.earlier)?;
        }
        let part = if items.is_empty() || modalities == 0 {
            PreparedPart::Nothing
        } else {
            self.choose_part(&mut work, partition)?
        };
        for (counts, states) in work.counts.iter_mut().zip(&work.states) {
            counts.absent = states.iter().filter(|(_, present)| !present).count() as u64;
        }
        let contents = contents(&work);
        let ChunkWork { rejections, counts, .. } = work;
        let ids = items.into_iter().map(|item| item.id).collect();
        Ok(PreparedChunk { number, partition: partition.partition, ids, rejections, counts, contents, part })
    }

    /// The part that stays, or a new one with the embeddings that are kept.
    fn choose_part(&mut self, work: &mut ChunkWork<'_>, partition: &mut PartitionStart) -> Result<PreparedPart, Halt> {
        let PartitionStart { earlier, names, .. } = partition;
        if work.awaited == 0
            && let Some(path) = earlier.same_part(names.folder(), &work.rows, &work.states)
        {
            return Ok(PreparedPart::Kept(path.to_owned()));
        }
        let mut kept: Vec<KeptEmbeddings> = Vec::new();
        for modality in 0..work.kept.len() {
            let wanted = std::mem::take(&mut work.kept[modality]);
            let found = earlier.embeddings(modality, &wanted);
            if !found.lost.is_empty() {
                // Their part turned out to be unreadable: now they compare as new items.
                work.counts[modality].kept -= found.lost.len() as u64;
                self.prepare_rows(work, modality, &found.lost, earlier)?;
            }
            kept.push(found);
        }
        let path = names.next();
        let path = path.ok_or_else(|| IndexError::Inconsistent { reason: "no part number is left".to_owned() })?;
        let states = std::mem::take(&mut work.states);
        work.states.clone_from(&states);
        Ok(PreparedPart::New { path, states, kept, awaited: work.awaited })
    }

    /// Compares one modality of some rows, and puts what must be encoded into the encoder's window.
    fn prepare_rows(
        &mut self,
        work: &mut ChunkWork<'_>,
        modality: usize,
        rows: &[usize],
        earlier: &EarlierEmbeddings,
    ) -> Result<(), Halt> {
        let encoders = self.encoders;
        match &encoders[self.context.encoders.modalities()[modality].encoder] {
            LoadedEncoder::Text(encoder) => self.prepare_texts(work, modality, rows, earlier, encoder),
            LoadedEncoder::Image(encoder) => self.prepare_pictures(work, modality, rows, earlier, encoder),
        }
    }

    fn prepare_texts(
        &mut self,
        work: &mut ChunkWork<'_>,
        modality: usize,
        rows: &[usize],
        earlier: &EarlierEmbeddings,
        encoder: &TextEncoder,
    ) -> Result<(), Halt> {
        let one = &self.context.encoders.modalities()[modality];
        let items = work.items;
        let text = |row: usize| match one.modality {
            Modality::Title => items[row].title.as_deref(),
            Modality::Description | Modality::Image => items[row].description.as_deref(),
        };
        let hashed = rows.par_iter().filter_map(|row| text(*row).map(|text| (*row, text)));
        let hashed: Vec<(usize, &str, ContentHash)> =
            hashed.map(|(row, text)| (row, text, ContentHash::of(text.as_bytes()))).collect();
        let wanted: Vec<_> = hashed
            .into_iter()
            .filter(|(row, _, hash)| work.decide(earlier, (modality, *row), *hash).is_some())
            .collect();
        for wanted in wanted.chunks(self.sizes.texts) {
            self.shared.first_error.check(self.context.stop)?;
            let texts: Vec<&str> = wanted.iter().map(|(_, text, _)| *text).collect();
            let tokens = encoder.tokenize(&texts, TextRole::Document);
            let tokens = tokens.map_err(|source| compute::failed(self.context, one.encoder, source))?;
            for ((row, _, hash), tokens) in wanted.iter().zip(tokens) {
                self.want(work, (modality, *row), *hash, Content::Text(tokens))?;
            }
        }
        Ok(())
    }

    fn prepare_pictures(
        &mut self,
        work: &mut ChunkWork<'_>,
        modality: usize,
        rows: &[usize],
        earlier: &EarlierEmbeddings,
        encoder: &ImageEncoder,
    ) -> Result<(), Halt> {
        for rows in rows.chunks(self.sizes.pictures.saturating_mul(DECODED_BATCHES)) {
            self.shared.first_error.check(self.context.stop)?;
            let (items, pictures) = (work.items, self.context.pictures);
            let keeps = |row: usize, hash| matches!(earlier.decide(work.rows[row], modality, hash), Decision::Keep(_));
            let prepare = |row: &usize| {
                let picture = picture::prepare(encoder, pictures, &items[*row], |hash| keeps(*row, hash));
                if matches!(picture, Ok(Picture::Ready(..))) {
                    self.shared.pictures.add(1);
                }
                picture
            };
            let prepared: Result<Vec<Picture>, _> = rows.par_iter().map(prepare).collect();
            let number = self.context.encoders.modalities()[modality].encoder;
            let prepared = prepared.map_err(|source| compute::failed(self.context, number, source))?;
            for (row, picture) in rows.iter().zip(prepared) {
                match picture {
                    Picture::Absent => {}
                    Picture::Kept(hash) => {
                        work.decide(earlier, (modality, *row), hash);
                    }
                    Picture::Ready(hash, pixels) => {
                        work.decide(earlier, (modality, *row), hash);
                        self.want(work, (modality, *row), hash, Content::Picture(pixels))?;
                    }
                    Picture::Undecodable(hash, reason) => {
                        work.states[modality][*row] = (Some(hash), false);
                        work.reject(*row, reason);
                    }
                    Picture::Unreadable(reason) => {
                        work.states[modality][*row] = (None, false);
                        work.reject(*row, reason);
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds a row's content to the window of its encoder, which goes on its way when it is full.
    fn want(
        &mut self,
        work: &mut ChunkWork<'_>,
        (modality, row): (usize, usize),
        hash: ContentHash,
        content: Content,
    ) -> Result<(), Halt> {
        let encoder = self.context.encoders.modalities()[modality].encoder;
        let limit = match content {
            Content::Text(_) => self.sizes.texts,
            Content::Picture(_) => self.sizes.pictures,
        };
        let is_picture = matches!(content, Content::Picture(_));
        work.awaited += 1;
        let window = &mut self.windows[encoder];
        let before = window.len();
        window.add((work.number, work.items.len()), (modality, row), hash, content);
        if is_picture && window.len() == before {
            // The window has the same picture already.
            self.shared.pictures.remove(1);
        }
        if window.len() < limit {
            return Ok(());
        }
        let full = window.take();
        self.watch.send(self.to_encode, full)
    }

    /// Sends the windows that hold something and whose first chunk `is_due`.
    fn send_windows(&mut self, is_due: impl Fn(u64) -> bool) -> Result<(), Halt> {
        for window in &mut self.windows {
            if window.first_chunk().is_some_and(&is_due) {
                self.watch.send(self.to_encode, window.take())?;
            }
        }
        Ok(())
    }
}

/// Digest of a chunk's ids, content hashes and what is absent.
fn contents(work: &ChunkWork<'_>) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for (row, item) in work.items.iter().enumerate() {
        hasher.update(&(item.id.len() as u64).to_le_bytes()).update(item.id.as_bytes());
        for (hash, present) in work.states.iter().map(|states| states[row]) {
            hasher.update(&[u8::from(hash.is_some()), u8::from(present)]);
            hasher.update(&hash.map_or([0; 16], |hash| hash.0));
        }
    }
    hasher.finalize()
}

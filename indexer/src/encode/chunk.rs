//! Encoding of one chunk of items. Owns the order of work on texts and pictures and its bounds in memory; not files.
//! Invariant: the batch has the chunk's rows in the chunk's order.

use encoders::{EncoderError, ImageEncoder, Pixels, TextEncoder, TextRole};
use half::f16;
use rayon::prelude::*;
use schemas::embeddings::{EmbeddingsBatch, EmbeddingsColumn};
use schemas::rejects::{RejectReason, Rejection};
use schemas::{ContentHash, Item, Modality};

use super::EncodeContext;
use crate::encoder_set::ModalityEncoder;
use crate::error::IndexError;
use crate::report::RunCounts;
use crate::reuse::{Decision, EmbeddingCache};

/// Texts handed to the encoder at once: long enough to sort by length, short enough to stop soon.
const TEXT_WINDOW: usize = 1024;
/// Encoder batches of pictures that are decoded at once, so that every core has some while memory stays small.
const IMAGE_WINDOW_BATCHES: usize = 4;

/// Encodes the chunk: a column per configured modality.
pub(super) fn encode(
    items: &[Item],
    cache: &EmbeddingCache,
    context: &EncodeContext<'_>,
    counts: &mut RunCounts,
) -> Result<EmbeddingsBatch, IndexError> {
    let mut columns = Vec::new();
    for (number, one) in context.encoders.modalities().iter().enumerate() {
        let mut column = Column::new(number, one.modality, one.encoder.spec().dimension, items.len());
        match &one.encoder {
            ModalityEncoder::Text(encoder) => column.encode_texts(encoder, items, cache, context)?,
            ModalityEncoder::Image(encoder) => column.encode_pictures(encoder, items, cache, context, counts)?,
        }
        columns.push(column.finish(counts));
    }
    Ok(EmbeddingsBatch { ids: items.iter().map(|item| item.id.clone()).collect(), columns })
}

/// A modality's column while it is filled.
struct Column {
    number: usize,
    modality: Modality,
    column: EmbeddingsColumn,
    counts: crate::report::ModalityCounts,
}

impl Column {
    fn new(number: usize, modality: Modality, dimension: usize, rows: usize) -> Column {
        let column = EmbeddingsColumn {
            dimension,
            hashes: vec![None; rows],
            present: vec![false; rows],
            values: vec![f16::ZERO; rows * dimension],
        };
        Column { number, modality, column, counts: Default::default() }
    }

    fn set(&mut self, row: usize, values: impl Iterator<Item = f16>) {
        let dimension = self.column.dimension;
        let target = &mut self.column.values[row * dimension..(row + 1) * dimension];
        target.iter_mut().zip(values).for_each(|(target, value)| *target = value);
        self.column.present[row] = true;
    }

    /// Takes what can be kept; says whether the row must be encoded.
    fn keep_or_count(&mut self, cache: &EmbeddingCache, item: &Item, row: usize, hash: ContentHash) -> bool {
        self.column.hashes[row] = Some(hash);
        match cache.decide(cache.place(&item.id), self.number, hash) {
            Decision::Keep(values) => {
                self.set(row, values.iter().copied());
                self.counts.kept += 1;
                false
            }
            Decision::Encode(reason) => {
                *self.counts.encoded.entry(reason).or_default() += 1;
                true
            }
        }
    }

    fn encode_texts(
        &mut self,
        encoder: &TextEncoder,
        items: &[Item],
        cache: &EmbeddingCache,
        context: &EncodeContext<'_>,
    ) -> Result<(), IndexError> {
        let modality = self.modality;
        let failed = |source| IndexError::Encoder { modality, source };
        let mut wanted: Vec<(usize, &str)> = Vec::new();
        for (row, item) in items.iter().enumerate() {
            let text = if self.modality == Modality::Title { &item.title } else { &item.description };
            if let Some(text) = text
                && self.keep_or_count(cache, item, row, ContentHash::of(text.as_bytes()))
            {
                wanted.push((row, text));
            }
        }
        context.progress.advance((items.len() - wanted.len()) as u64);
        for window in wanted.chunks(TEXT_WINDOW) {
            context.stop.check()?;
            let texts: Vec<&str> = window.iter().map(|(_, text)| *text).collect();
            let embeddings = encoder.encode(&texts, TextRole::Document).map_err(failed)?;
            for ((row, _), embedding) in window.iter().zip(embeddings.rows()) {
                self.set(*row, embedding.iter().map(|value| f16::from_f32(*value)));
            }
            context.progress.advance(window.len() as u64);
        }
        Ok(())
    }

    fn encode_pictures(
        &mut self,
        encoder: &ImageEncoder,
        items: &[Item],
        cache: &EmbeddingCache,
        context: &EncodeContext<'_>,
        counts: &mut RunCounts,
    ) -> Result<(), IndexError> {
        let modality = self.modality;
        let failed = |source| IndexError::Encoder { modality, source };
        let window = context.config.image_batch * IMAGE_WINDOW_BATCHES;
        for (window_number, window_items) in items.chunks(window).enumerate() {
            context.stop.check()?;
            let prepared: Vec<Result<Picture, RejectReason>> = window_items
                .par_iter()
                .map(|item| prepare(encoder, item, cache, self.number, context))
                .collect::<Result<_, EncoderError>>()
                .map_err(failed)?;
            let (mut wanted_rows, mut wanted_pixels) = (Vec::new(), Vec::new());
            for (index, (picture, item)) in prepared.into_iter().zip(window_items).enumerate() {
                let row = window_number * window + index;
                match picture {
                    Ok(Picture::Absent) => {}
                    Ok(Picture::Kept(hash)) => {
                        self.keep_or_count(cache, item, row, hash);
                    }
                    Ok(Picture::Ready(hash, pixels)) => {
                        self.keep_or_count(cache, item, row, hash);
                        wanted_rows.push(row);
                        wanted_pixels.push(pixels);
                    }
                    Ok(Picture::Undecodable(hash, reason)) => {
                        self.column.hashes[row] = Some(hash);
                        counts.reject(&rejection(item, reason))?;
                    }
                    Err(reason) => counts.reject(&rejection(item, reason))?,
                }
            }
            let batch = context.config.image_batch;
            for (rows, pixels) in wanted_rows.chunks(batch).zip(wanted_pixels.chunks(batch)) {
                context.stop.check()?;
                let embeddings = encoder.encode_pixels(pixels).map_err(failed)?;
                for (row, embedding) in rows.iter().zip(embeddings.rows()) {
                    self.set(*row, embedding.iter().map(|value| f16::from_f32(*value)));
                }
            }
            context.progress.advance(window_items.len() as u64);
        }
        Ok(())
    }

    fn finish(mut self, counts: &mut RunCounts) -> EmbeddingsColumn {
        self.counts.absent = self.column.present.iter().filter(|present| !**present).count() as u64;
        let total = counts.modality(self.modality);
        total.kept += self.counts.kept;
        total.absent += self.counts.absent;
        for (reason, count) in self.counts.encoded {
            *total.encoded.entry(reason).or_default() += count;
        }
        self.column
    }
}

/// A picture before its forward pass.
enum Picture {
    /// The item has none.
    Absent,
    /// An earlier embedding can be kept.
    Kept(ContentHash),
    /// Decoded and preprocessed.
    Ready(ContentHash, Pixels),
    /// Read, but not a picture that can be used.
    Undecodable(ContentHash, RejectReason),
}

/// Reads, compares and decodes one picture. The outer error is the encoder's own failure, the inner one a reason why
/// this item has no picture.
fn prepare(
    encoder: &ImageEncoder,
    item: &Item,
    cache: &EmbeddingCache,
    number: usize,
    context: &EncodeContext<'_>,
) -> Result<Result<Picture, RejectReason>, EncoderError> {
    let bytes = match context.pictures.read(&item.image) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(Ok(Picture::Absent)),
        Err(reason) => return Ok(Err(reason)),
    };
    let hash = ContentHash::of(&bytes);
    if let Decision::Keep(_) = cache.decide(cache.place(&item.id), number, hash) {
        return Ok(Ok(Picture::Kept(hash)));
    }
    match encoder.preprocess(&bytes, context.pictures.limits()) {
        Ok(pixels) => Ok(Ok(Picture::Ready(hash, pixels))),
        Err(EncoderError::ImageTooLarge { detail }) => {
            Ok(Ok(Picture::Undecodable(hash, RejectReason::ImageTooLarge { detail })))
        }
        Err(EncoderError::ImageBroken { detail }) => {
            Ok(Ok(Picture::Undecodable(hash, RejectReason::ImageBroken { detail })))
        }
        Err(other) => Err(other),
    }
}

fn rejection(item: &Item, reason: RejectReason) -> Rejection {
    Rejection { location: item.location.clone(), id: Some(item.id.clone()), reason }
}

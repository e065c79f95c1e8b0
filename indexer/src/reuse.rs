//! What of the embeddings that earlier runs left can be kept. Owns the comparison; not the encoding. Invariant: an
//! embedding is kept only for the same id, the same content hash and the same encoder spec.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use half::f16;
use schemas::ContentHash;
use schemas::embeddings::{EmbeddingsBatch, EmbeddingsReader, EmbeddingsSchema};

use crate::error::IndexError;

/// Why an embedding is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EncodeReason {
    /// No earlier run had the item.
    NewItem,
    /// The item had no embedding of this modality: it is new there, or could not be encoded before.
    NewModality,
    /// The text or the picture's bytes are others than before.
    ContentChanged,
    /// Another model, other weights, another tokenizer, pooling or number type.
    EncoderChanged,
}

impl EncodeReason {
    /// The name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            EncodeReason::NewItem => "new_item",
            EncodeReason::NewModality => "new_modality",
            EncodeReason::ContentChanged => "content_changed",
            EncodeReason::EncoderChanged => "encoder_changed",
        }
    }
}

/// What to do for one modality of one item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decision<'a> {
    /// Take the embedding of an earlier run.
    Keep(&'a [f16]),
    /// Compute it.
    Encode(EncodeReason),
}

/// Where a row stands in the earlier parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachedPlace {
    /// Number of the part in the order they were read.
    pub part: usize,
    /// Row in it.
    pub row: usize,
}

/// The earlier embeddings of one partition, in memory.
#[derive(Debug, Default)]
pub struct EmbeddingCache {
    parts: Vec<CachedPart>,
    places: HashMap<[u8; 16], CachedPlace>,
    modalities: Vec<CachedModality>,
}

#[derive(Debug)]
struct CachedPart {
    path: PathBuf,
    rows: usize,
    first_row: usize,
    /// Whether the file has exactly the columns and encoders that are configured now.
    same_schema: bool,
    /// Per configured modality: whether the encoder is the same.
    same_encoder: Vec<bool>,
}

#[derive(Debug, Default)]
struct CachedModality {
    dimension: usize,
    hashes: Vec<Option<ContentHash>>,
    /// Start of each row's embedding in `values`.
    starts: Vec<Option<usize>>,
    values: Vec<f16>,
}

impl EmbeddingCache {
    /// Reads parts, in order: a later part's row takes the place of an earlier one's with the same id. Only rows that
    /// `wanted` accepts are kept. A part that cannot be read is left out with a warning: it costs time, not truth.
    #[must_use]
    pub fn load(paths: &[PathBuf], schema: &EmbeddingsSchema, wanted: impl Fn(&str) -> bool) -> EmbeddingCache {
        let modalities = schema.modalities.iter();
        let modalities = modalities.map(|(_, spec)| CachedModality { dimension: spec.dimension, ..Default::default() });
        let mut cache = EmbeddingCache { modalities: modalities.collect(), ..EmbeddingCache::default() };
        for path in paths {
            let rows = cache.rows();
            if let Err(error) = cache.load_part(path, schema, &wanted) {
                tracing::warn!(path = %path.display(), error = %error, "earlier embeddings cannot be read; encoding again");
                cache.truncate(rows);
            }
        }
        cache
    }

    fn load_part(
        &mut self,
        path: &Path,
        schema: &EmbeddingsSchema,
        wanted: &impl Fn(&str) -> bool,
    ) -> Result<(), IndexError> {
        let reader = EmbeddingsReader::open(path)?;
        let columns: Vec<Option<usize>> = schema
            .modalities
            .iter()
            .map(|(modality, _)| reader.schema().modalities.iter().position(|(found, _)| found == modality))
            .collect();
        let same_encoder: Vec<bool> = columns
            .iter()
            .zip(&schema.modalities)
            .map(|(column, (_, spec))| {
                column.is_some_and(|column| reader.schema().modalities[column].1.fingerprint() == spec.fingerprint())
            })
            .collect();
        let same_schema =
            reader.schema().modalities.len() == schema.modalities.len() && same_encoder.iter().all(|same| *same);
        let (part, first_row) = (self.parts.len(), self.rows());
        let mut row = 0;
        let mut all_wanted = true;
        for batch in reader {
            let batch = batch?;
            for (index, id) in batch.ids.iter().enumerate() {
                if !wanted(id) {
                    all_wanted = false;
                    continue;
                }
                for ((modality, column), same) in self.modalities.iter_mut().zip(&columns).zip(&same_encoder) {
                    let column = column.map(|column| &batch.columns[column]);
                    modality.hashes.push(column.and_then(|column| column.hashes[index]));
                    let values = column.filter(|_| *same).and_then(|column| column.embedding(index));
                    modality.starts.push(values.map(|_| modality.values.len()));
                    modality.values.extend_from_slice(values.unwrap_or_default());
                }
                self.places.insert(key(id), CachedPlace { part, row });
                row += 1;
            }
        }
        let same_schema = same_schema && all_wanted;
        self.parts.push(CachedPart { path: path.to_owned(), rows: row, first_row, same_schema, same_encoder });
        Ok(())
    }

    fn rows(&self) -> usize {
        self.parts.last().map_or(0, |part| part.first_row + part.rows)
    }

    /// Forgets the rows that a part left behind before it failed.
    fn truncate(&mut self, rows: usize) {
        let parts = self.parts.len();
        self.places.retain(|_, place| place.part < parts);
        for modality in &mut self.modalities {
            modality.hashes.truncate(rows);
            modality.starts.truncate(rows);
        }
    }

    /// Where the item stands, if an earlier run had it.
    #[must_use]
    pub fn place(&self, id: &str) -> Option<CachedPlace> {
        self.places.get(&key(id)).copied()
    }

    /// What to do for the modality of that number whose content has that hash.
    #[must_use]
    pub fn decide(&self, place: Option<CachedPlace>, modality: usize, hash: ContentHash) -> Decision<'_> {
        let Some(place) = place else { return Decision::Encode(EncodeReason::NewItem) };
        let part = &self.parts[place.part];
        let cached = &self.modalities[modality];
        let row = part.first_row + place.row;
        match (cached.hashes[row], cached.starts[row]) {
            (Some(found), _) if found != hash => Decision::Encode(EncodeReason::ContentChanged),
            (Some(_), Some(start)) => Decision::Keep(&cached.values[start..start + cached.dimension]),
            (Some(_), None) if !part.same_encoder[modality] => Decision::Encode(EncodeReason::EncoderChanged),
            (Some(_) | None, _) => Decision::Encode(EncodeReason::NewModality),
        }
    }

    /// The part that consists of exactly the batch's rows, hashes and embeddings, made by the configured encoders: it
    /// can stay as it is.
    #[must_use]
    pub fn same_part(&self, batch: &EmbeddingsBatch) -> Option<&Path> {
        let number = self.place(batch.ids.first()?)?.part;
        let part = self.parts.get(number).filter(|part| part.same_schema && part.rows == batch.ids.len())?;
        for (row, id) in batch.ids.iter().enumerate() {
            if self.place(id) != Some(CachedPlace { part: number, row }) {
                return None;
            }
            for (cached, column) in self.modalities.iter().zip(&batch.columns) {
                let found = (cached.hashes[part.first_row + row], cached.starts[part.first_row + row].is_some());
                if found != (column.hashes[row], column.present[row]) {
                    return None;
                }
            }
        }
        Some(&part.path)
    }
}

fn key(id: &str) -> [u8; 16] {
    ContentHash::of(id.as_bytes()).0
}

//! What of the embeddings that earlier runs left can be kept. Owns the comparison; not the encoding. Invariant: an
//! embedding is kept only for the same id, the same content hash and the same encoder spec.
//!
//! Memory: an earlier row takes 32 to 64 bytes and 18 to 36 for each modality (lists and maps grow by doubling), so 90 to
//! 170 bytes for three; the embeddings themselves are loaded part by part when a row of a part is needed,
//! [`LOADED_PART_BYTES`] of them at a time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use half::f16;
use schemas::embeddings::{EmbeddingsReader, EmbeddingsSchema, HashesBatch, HashesReader};
use schemas::{ContentHash, SchemaError};

use crate::error::IndexError;

mod loaded_parts;

pub use loaded_parts::LOADED_PART_BYTES;
use loaded_parts::LoadedParts;

/// Why an embedding is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EncodeReason {
    /// No earlier run had the item.
    NewItem,
    /// The item had no embedding of this modality: it is new there, or could not be encoded before.
    NewModality,
    /// The text or the picture's bytes are others than before.
    ContentChanged,
    /// Another model, other weights, another tokenizer, pooling or number type, or another version of how pictures are
    /// decoded.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Take the embedding of an earlier run: the item's earlier row has it.
    Keep(EarlierRow),
    /// Compute it.
    Encode(EncodeReason),
}

/// An item's row among the earlier ones of its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EarlierRow(u32);

/// What is known of one modality of a row: the content's hash, and whether there is an embedding of it.
pub type ContentState = (Option<ContentHash>, bool);

/// The earlier embeddings of one partition: ids and hashes in memory, embeddings in their parts.
#[derive(Debug, Default)]
pub struct EarlierEmbeddings {
    parts: Vec<EarlierPart>,
    /// By the hash of the id.
    rows: HashMap<[u8; 16], EarlierRow>,
    /// The row of an earlier part, by the row with the same id that takes its place: a night that a gate refused may have
    /// lost a picture or a text that comes back.
    superseded: HashMap<EarlierRow, EarlierRow>,
    /// Part and row in its file, by [`EarlierRow`].
    places: Vec<(u32, u32)>,
    /// By modality and [`EarlierRow`].
    states: Vec<Vec<ContentState>>,
    loaded: LoadedParts,
}

#[derive(Debug)]
struct EarlierPart {
    path: PathBuf,
    rows: usize,
    first_row: usize,
    /// Whether the file has only rows of this partition, and exactly the columns and encoders that are configured now.
    same_schema: bool,
    /// Per configured modality: its column in the file.
    columns: Vec<Option<usize>>,
    /// Per configured modality: whether the encoder is the same.
    same_encoder: Vec<bool>,
    /// Whether its embeddings turned out to be unreadable.
    lost: bool,
}

/// Embeddings of earlier rows.
#[derive(Debug, Default, PartialEq)]
pub struct KeptEmbeddings {
    /// The rows that were asked for, in any order.
    pub rows: Vec<usize>,
    /// `rows × dimension` values.
    pub values: Vec<f16>,
    /// Rows whose part cannot be read: they must be encoded.
    pub lost: Vec<usize>,
}

impl EarlierEmbeddings {
    /// Reads ids and hashes of parts, in order: a later part's row takes the place of an earlier one's with the same id.
    /// Only rows that `wanted` accepts are remembered. A part that cannot be read is left out with a warning: it costs
    /// time, not truth.
    ///
    /// # Errors
    /// When a newer version wrote a part: encoding it again would throw away what that version may still need.
    pub fn load(
        paths: &[PathBuf],
        schema: &EmbeddingsSchema,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<EarlierEmbeddings, IndexError> {
        let states = vec![Vec::new(); schema.modalities.len()];
        let mut earlier = EarlierEmbeddings { states, ..EarlierEmbeddings::default() };
        for path in paths {
            match earlier.load_part(path, schema, &wanted) {
                Ok(()) => {}
                Err(error @ IndexError::Schema(SchemaError::NewerFormat { .. })) => return Err(error),
                Err(error) => warn_unreadable(path, &error),
            }
        }
        Ok(earlier)
    }

    fn load_part(
        &mut self,
        path: &Path,
        schema: &EmbeddingsSchema,
        wanted: &impl Fn(&str) -> bool,
    ) -> Result<(), IndexError> {
        let reader = HashesReader::open(path)?;
        let found = reader.schema().clone();
        let columns: Vec<Option<usize>> = schema
            .modalities
            .iter()
            .map(|(modality, _)| found.modalities.iter().position(|(found, _)| found == modality))
            .collect();
        let same_encoder: Vec<bool> = columns
            .iter()
            .zip(&schema.modalities)
            .map(|(column, (_, spec))| {
                column.is_some_and(|column| found.modalities[column].1.fingerprint() == spec.fingerprint())
            })
            .collect();
        let counts: Vec<Option<u64>> =
            (0..found.modalities.len()).map(|column| reader.embedding_count(column)).collect();
        // The whole part before any row of it counts: a part that fails half way leaves nothing behind.
        let batches = reader.collect::<Result<Vec<HashesBatch>, _>>()?;
        let absent = absent_embeddings(path, &batches, &counts)?;

        let same_columns = found.modalities.len() == schema.modalities.len() && same_encoder.iter().all(|same| *same);
        let (part, first_row) = (self.parts.len() as u32, self.places.len());
        let mut all_wanted = true;
        let mut row = 0;
        for batch in &batches {
            for (index, id) in batch.ids.iter().enumerate() {
                if wanted(id) {
                    for (states, column) in self.states.iter_mut().zip(&columns) {
                        let hash = column.and_then(|column| batch.hashes[column][index]);
                        let is_absent =
                            column.is_some_and(|column| absent[column].as_ref().is_some_and(|rows| rows[row]));
                        states.push((hash, hash.is_some() && !is_absent));
                    }
                    let place = EarlierRow(self.places.len() as u32);
                    if let Some(before) = self.rows.insert(key(id), place) {
                        self.superseded.insert(place, before);
                    }
                    self.places.push((part, row as u32));
                } else {
                    all_wanted = false;
                }
                row += 1;
            }
        }
        let rows = self.places.len() - first_row;
        let same_schema = same_columns && all_wanted;
        self.parts.push(EarlierPart {
            path: path.to_owned(),
            rows,
            first_row,
            same_schema,
            columns,
            same_encoder,
            lost: false,
        });
        Ok(())
    }

    /// Where the item stands, if an earlier run had it.
    #[must_use]
    pub fn row(&self, id: &str) -> Option<EarlierRow> {
        self.rows.get(&key(id)).copied()
    }

    /// What is known of a modality of a row.
    #[must_use]
    pub fn state(&self, row: EarlierRow, modality: usize) -> ContentState {
        self.states[modality][row.0 as usize]
    }

    /// What to do for the modality of that number whose content has that hash. An embedding of the content that only a
    /// superseded row has is as good; why something is encoded follows from the newest row.
    #[must_use]
    pub fn decide(&self, row: Option<EarlierRow>, modality: usize, hash: ContentHash) -> Decision {
        let Some(row) = row else { return Decision::Encode(EncodeReason::NewItem) };
        let part = &self.parts[self.places[row.0 as usize].0 as usize];
        if part.lost {
            return Decision::Encode(EncodeReason::NewItem);
        }
        if let Some(row) = self.with_embedding(row, modality, hash) {
            return Decision::Keep(row);
        }
        match self.state(row, modality) {
            (Some(found), _) if found != hash => Decision::Encode(EncodeReason::ContentChanged),
            (Some(_), _) if !part.same_encoder[modality] => Decision::Encode(EncodeReason::EncoderChanged),
            (Some(_) | None, _) => Decision::Encode(EncodeReason::NewModality),
        }
    }

    /// The newest of an item's rows that has an embedding of just this content by the configured encoder.
    fn with_embedding(&self, newest: EarlierRow, modality: usize, hash: ContentHash) -> Option<EarlierRow> {
        let rows = std::iter::successors(Some(newest), |row| self.superseded.get(row).copied());
        let mut rows = rows.filter(|row| self.state(*row, modality) == (Some(hash), true));
        rows.find(|row| {
            let part = &self.parts[self.places[row.0 as usize].0 as usize];
            !part.lost && part.same_encoder[modality]
        })
    }

    /// The part in `folder` that consists of exactly these rows in this order, with these contents, made by the
    /// configured encoders: it can stay as it is. `states` has a list for each modality, parallel to `rows`.
    #[must_use]
    pub fn same_part(&self, folder: &Path, rows: &[Option<EarlierRow>], states: &[Vec<ContentState>]) -> Option<&Path> {
        let first = rows.first().copied()??;
        let part = &self.parts[self.places[first.0 as usize].0 as usize];
        let whole = part.first_row == first.0 as usize && part.rows == rows.len();
        // A part in another folder may go with its folder.
        if !whole || !part.same_schema || part.lost || part.path.parent() != Some(folder) {
            return None;
        }
        let consecutive = rows.iter().zip(first.0..).all(|(row, expected)| *row == Some(EarlierRow(expected)));
        let earlier = part.first_row..part.first_row + part.rows;
        let unchanged = self.states.iter().zip(states).all(|(known, states)| known[earlier.clone()] == states[..]);
        (consecutive && unchanged).then_some(&part.path)
    }

    /// The embeddings of a modality that was decided to be kept; `kept` pairs any row number with the earlier row. Loads
    /// the parts that it needs, each once.
    pub fn embeddings(&mut self, modality: usize, kept: &[(usize, EarlierRow)]) -> KeptEmbeddings {
        let mut kept = kept.to_vec();
        kept.sort_unstable_by_key(|(_, earlier)| *earlier);
        let mut found = KeptEmbeddings::default();
        for (row, earlier) in kept {
            let (number, row_in_part) = self.places[earlier.0 as usize];
            let part = &mut self.parts[number as usize];
            let column = part.columns[modality].filter(|_| !part.lost);
            let embedding = match column {
                Some(column) => self.loaded.embedding(number, &part.path, column, row_in_part as usize),
                None => Ok(None),
            };
            match embedding {
                Ok(Some(values)) => {
                    found.rows.push(row);
                    found.values.extend_from_slice(values);
                }
                // The hashes promised an embedding that is not there: the rest of the part is not to be trusted either.
                Ok(None) => {
                    part.lost = true;
                    found.lost.push(row);
                }
                Err(error) => {
                    warn_unreadable(&part.path, &error);
                    part.lost = true;
                    found.lost.push(row);
                }
            }
        }
        found
    }
}

/// For each column the rows that have a hash but no embedding; `None` where all that have a hash have one, which the
/// footer nearly always says.
fn absent_embeddings(
    path: &Path,
    batches: &[HashesBatch],
    counts: &[Option<u64>],
) -> Result<Vec<Option<Vec<bool>>>, IndexError> {
    let hashes = |column: usize| batches.iter().flat_map(move |batch| &batch.hashes[column]).flatten().count() as u64;
    let unclear: Vec<bool> = counts.iter().enumerate().map(|(column, count)| *count != Some(hashes(column))).collect();
    let mut absent: Vec<Option<Vec<bool>>> = unclear.iter().map(|unclear| unclear.then(Vec::new)).collect();
    if unclear.contains(&true) {
        for batch in EmbeddingsReader::open(path)? {
            for (absent, column) in absent.iter_mut().zip(batch?.columns) {
                if let Some(absent) = absent {
                    absent.extend(column.present.iter().map(|present| !present));
                }
            }
        }
    }
    Ok(absent)
}

fn warn_unreadable(path: &Path, error: &IndexError) {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    tracing::warn!(path = %path.display(), error = %error, cause, "earlier embeddings cannot be read; encoding again");
}

fn key(id: &str) -> [u8; 16] {
    ContentHash::of(id.as_bytes()).0
}

#[cfg(test)]
mod tests;

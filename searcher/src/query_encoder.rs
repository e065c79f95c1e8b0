//! A query's parts → one embedding per modality. Owns which tower encodes which part, loading towers when they are
//! first needed, and joining the parts; not the encoders themselves. Invariants: a tower is loaded once, and only when
//! a query needs it; an embedding depends on its content alone, because every part is encoded by itself; whatever
//! comes out has unit length.
//!
//! For a modality with its encoder in space s: a text goes through the text tower of s, a picture through its image
//! tower, an item gives its own embedding of the modality or, where it lacks it, of another modality in s. Parts that a
//! space has no tower for contribute nothing there. The query's embedding is the weighted sum, brought to unit length.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use encoders::{Checkpoint, DeviceChoice, EncoderError, ImageEncoder, ImageLimits, TextEncoder, TextRole};
use schemas::items::ITEMS_FILE;
use schemas::manifest::ModalityManifest;
use schemas::{Architecture, Dtype, EncoderSpec, Modality, Row};

use crate::error::SearchError;
use crate::query::{ImagePart, Query};
use crate::snapshot::{Searcher, VectorFiles};

/// Length below which a weighted sum of parts has no direction left: the parts cancel each other out.
const SMALLEST_LENGTH: f32 = 1e-4;

/// The vector side of a query, encoded for one snapshot: an embedding per modality of its manifest, where the query
/// has one.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct EncodedQuery {
    pub(crate) embeddings: Vec<Option<Vec<f32>>>,
}

impl EncodedQuery {
    /// Whether no modality has an embedding, so that the vector retriever cannot take part.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.embeddings.iter().all(Option::is_none)
    }

    /// The embeddings, at unit length, in the order of the manifest's modalities.
    #[must_use]
    pub fn embeddings(&self) -> &[Option<Vec<f32>>] {
        &self.embeddings
    }
}

/// The query towers of a snapshot, one entry per space.
#[derive(Debug)]
pub(crate) struct QueryEncoders {
    folder: PathBuf,
    device: DeviceChoice,
    spaces: Vec<Space>,
}

/// The towers of one checkpoint.
#[derive(Debug)]
struct Space {
    /// Its fingerprint, which is its folder's name.
    checkpoint: String,
    dtype: Dtype,
    /// The specs that the snapshot's items were encoded with; a tower without items has none.
    specs: Vec<EncoderSpec>,
    /// Its folder, once every byte of it was checked.
    stored: Mutex<Option<Checkpoint>>,
    text: Tower<TextEncoder>,
    image: Tower<ImageEncoder>,
}

/// A tower that is loaded when it is first asked for; others who ask meanwhile wait.
type Tower<T> = Mutex<Option<Arc<T>>>;

impl QueryEncoders {
    pub(crate) fn new(folder: PathBuf, device: DeviceChoice, modalities: &[ModalityManifest]) -> QueryEncoders {
        let mut spaces: Vec<Space> = Vec::new();
        for ModalityManifest { encoder, .. } in modalities {
            match spaces.iter_mut().find(|space| space.checkpoint == encoder.space()) {
                Some(space) => space.specs.push(encoder.clone()),
                None => spaces.push(Space {
                    checkpoint: encoder.space().to_owned(),
                    dtype: encoder.dtype,
                    specs: vec![encoder.clone()],
                    stored: Mutex::default(),
                    text: Mutex::default(),
                    image: Mutex::default(),
                }),
            }
        }
        QueryEncoders { folder, device, spaces }
    }

    /// Takes over towers that another snapshot's encoders have loaded, where this one would load the same.
    pub(crate) fn keep_loaded(&mut self, other: &QueryEncoders) {
        if self.folder != other.folder || self.device != other.device {
            return;
        }
        for space in &mut self.spaces {
            let folder = self.folder.join(&space.checkpoint);
            let same = |other: &&Space| other.checkpoint == space.checkpoint && other.dtype == space.dtype;
            let Some(other) = other.spaces.iter().find(same) else { continue };
            if let Some(text) = if_loaded(&other.text).filter(|text| space.check(text.spec(), &[], &folder).is_ok()) {
                space.text = Mutex::new(Some(text));
            }
            let takes = |image: &Arc<ImageEncoder>| space.check_image(image, &folder).is_ok();
            if let Some(image) = if_loaded(&other.image).filter(takes) {
                space.image = Mutex::new(Some(image));
            }
        }
    }

    /// Whether any space can take a picture.
    pub(crate) fn take_images(&self) -> bool {
        self.spaces.iter().any(Space::has_image_tower)
    }
}

impl Space {
    fn has_image_tower(&self) -> bool {
        self.specs.iter().any(|spec| match spec.architecture {
            Architecture::Bert | Architecture::XlmRoberta => false,
            Architecture::ClipText
            | Architecture::ClipImage
            | Architecture::SiglipText
            | Architecture::SiglipImage
            | Architecture::ChineseClipText
            | Architecture::ChineseClipImage => true,
        })
    }

    fn text_tower(&self, encoders: &QueryEncoders) -> Result<Arc<TextEncoder>, SearchError> {
        loaded(&self.text, || {
            let checkpoint = self.verified(&encoders.folder)?;
            let encoder = TextEncoder::load_for_queries(&checkpoint, encoders.device, self.dtype)?;
            self.check(encoder.spec(), &[], checkpoint.folder())?;
            Ok(encoder)
        })
    }

    fn image_tower(&self, encoders: &QueryEncoders) -> Result<Arc<ImageEncoder>, SearchError> {
        loaded(&self.image, || {
            let checkpoint = self.verified(&encoders.folder)?;
            let encoder = ImageEncoder::load_for_queries(&checkpoint, encoders.device, self.dtype)?;
            self.check_image(&encoder, checkpoint.folder())?;
            Ok(encoder)
        })
    }

    /// The checkpoint's folder, compared with what was stored when a tower is first loaded: a changed weight gives other
    /// embeddings, which nothing else would notice.
    fn verified(&self, encoders_folder: &Path) -> Result<Checkpoint, SearchError> {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(checkpoint) = &*stored {
            return Ok(checkpoint.clone());
        }
        let checkpoint = Checkpoint::open_verified(&encoders_folder.join(&self.checkpoint))?;
        *stored = Some(checkpoint.clone());
        Ok(checkpoint)
    }

    /// Whether a loaded tower is the one that the items were encoded with, or, when no items were encoded with this
    /// tower, one of the same checkpoint. It may have had `earlier` fingerprints when they were.
    fn check(&self, loaded: &EncoderSpec, earlier: &[String], folder: &Path) -> Result<(), SearchError> {
        let same_tower = self.specs.iter().find(|spec| spec.architecture == loaded.architecture);
        let (expected, got) = match same_tower {
            Some(spec) => (spec.fingerprint(), loaded.fingerprint()),
            None => (self.checkpoint.clone(), loaded.checkpoint.clone()),
        };
        if expected == got || earlier.contains(&expected) {
            return Ok(());
        }
        Err(SearchError::EncoderMismatch { checkpoint: folder.to_owned(), expected, got })
    }

    fn check_image(&self, loaded: &ImageEncoder, folder: &Path) -> Result<(), SearchError> {
        self.check(loaded.spec(), loaded.earlier_fingerprints(), folder)
    }
}

/// A tower that is loaded already; `None` also while another thread is loading it.
fn if_loaded<T>(tower: &Tower<T>) -> Option<Arc<T>> {
    tower.try_lock().ok().and_then(|tower| tower.clone())
}

fn loaded<T>(tower: &Tower<T>, load: impl FnOnce() -> Result<T, SearchError>) -> Result<Arc<T>, SearchError> {
    // A thread that panicked while loading left `None` behind, so the next one tries again.
    let mut tower = tower.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(loaded) = &*tower {
        return Ok(Arc::clone(loaded));
    }
    let fresh = Arc::new(load()?);
    *tower = Some(Arc::clone(&fresh));
    Ok(fresh)
}

/// The parts of a query in one space, ready to be added up.
type Parts = Vec<(f32, Vec<f32>)>;

impl Searcher {
    /// Encodes the vector side of a query; the encoders it needs are loaded first. What comes out depends on the
    /// query's parts alone, so that one encoding serves any mode, filter, page and rank fusion. A keyword query, and a
    /// text on a snapshot without embeddings, gives an empty result without loading anything.
    ///
    /// # Errors
    /// When a part cannot be used at all: a picture that is not readable or that no encoder takes, an unknown item, or
    /// a damaged or foreign encoder.
    pub fn encode(&self, query: &Query) -> Result<EncodedQuery, SearchError> {
        self.encode_parts(query).map_err(|error| self.name_damaged_file(error))
    }

    fn encode_parts(&self, query: &Query) -> Result<EncodedQuery, SearchError> {
        query.check()?;
        if !query.mode.uses_vector() || query.is_browse() {
            return Ok(EncodedQuery::default());
        }
        let Some(vector) = &self.vector else {
            let has_others = !query.images.is_empty() || !query.like.is_empty();
            return if query.mode.uses_keyword() && !has_others {
                Ok(EncodedQuery::default())
            } else {
                let reason =
                    "the snapshot has no embeddings; only texts in mode `keyword` or `hybrid` can be searched for";
                Err(SearchError::Query { reason: reason.to_owned() })
            };
        };
        if let Some(profile) = query.sought_profile() {
            return Ok(EncodedQuery { embeddings: profile.embeddings.clone() });
        }
        let pictures = self.read_pictures(&query.images)?;
        let items = query.like.iter().map(|part| Ok((part.weight, self.row_of(&part.id)?)));
        let items = items.collect::<Result<Vec<(f32, Row)>, SearchError>>()?;
        let mut parts_of_spaces: Vec<(&str, Parts)> = Vec::new();
        for space in &self.encoders.spaces {
            let mut parts = self.encode_texts(space, query)?;
            parts.extend(self.encode_pictures(space, &query.images, &pictures)?);
            parts_of_spaces.push((&space.checkpoint, parts));
        }
        let mut embeddings = Vec::with_capacity(self.manifest().modalities.len());
        for (column, modality) in self.manifest().modalities.iter().enumerate() {
            let space = modality.encoder.space();
            let own = parts_of_spaces.iter().find(|(checkpoint, _)| *checkpoint == space);
            let mut parts = own.map_or_else(Parts::new, |(_, parts)| parts.clone());
            for (weight, row) in &items {
                parts.extend(self.item_embedding(vector, column, *row)?.map(|embedding| (*weight, embedding)));
            }
            embeddings.push(unit_sum(&parts, modality.encoder.dimension));
        }
        Ok(EncodedQuery { embeddings })
    }

    /// The row of an item id that a query names.
    pub(crate) fn row_of(&self, id: &str) -> Result<Row, SearchError> {
        let unknown = || SearchError::Query { reason: format!("the snapshot has no item `{id}`") };
        self.find_row(id)?.ok_or_else(unknown)
    }

    /// The row of an item id, if the snapshot has the item.
    ///
    /// # Errors
    /// When the snapshot cannot be read, or contradicts itself.
    pub fn find_row(&self, id: &str) -> Result<Option<Row>, SearchError> {
        let Some(row) = self.keyword.row_of(id)? else { return Ok(None) };
        let found = self.items.id(row)?;
        if found != id {
            // Either file may be the damaged one; the message names both.
            let what = format!("`{id}` is in row {row}, where `{ITEMS_FILE}` has `{found}`");
            return Err(self.keyword.contradiction(&what));
        }
        Ok(Some(row))
    }

    /// The weight of each modality for this query.
    pub(crate) fn modality_weights(&self, query: &Query) -> Result<Vec<f32>, SearchError> {
        let modalities = &self.manifest().modalities;
        if let Some((unknown, _)) = (query.modality_weights.iter())
            .find(|(asked, _)| modalities.iter().all(|modality| modality.modality != *asked))
        {
            let names: Vec<&str> = modalities.iter().map(|modality| modality.modality.name()).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let reason = format!("modality `{unknown}` is not encoded in this snapshot; encoded: {names}");
            return Err(SearchError::Query { reason });
        }
        let asked = !query.modality_weights.is_empty() || !query.settings.modality_weights.is_empty();
        if asked && self.vector.as_ref().is_some_and(|vector| vector.embedding_fusion.learned().is_some()) {
            let reason = "the snapshot's embedding fusion is `learned`: its trained gates weigh the modalities; leave out \
                          the modality weights";
            return Err(SearchError::Query { reason: reason.to_owned() });
        }
        let weight = |modality: Modality| query.modality_weights.iter().rfind(|(asked, _)| *asked == modality);
        let weights = modalities.iter().map(|manifest| {
            let default = query.settings.modality_weights.get(&manifest.modality).unwrap_or(&manifest.weight);
            weight(manifest.modality).map_or(*default, |(_, weight)| *weight)
        });
        Ok(weights.collect())
    }

    fn encode_texts(&self, space: &Space, query: &Query) -> Result<Parts, SearchError> {
        let mut parts = Parts::new();
        for part in query.texts.iter().filter(|part| part.weight != 0.0 && !part.text.trim().is_empty()) {
            let encoder = space.text_tower(&self.encoders)?;
            let embeddings = encoder.encode(&[&self.understand(&part.text).plain], TextRole::Query)?;
            parts.push((part.weight, embeddings.row(0).to_vec()));
        }
        Ok(parts)
    }

    fn encode_pictures(&self, space: &Space, images: &[ImagePart], files: &[Vec<u8>]) -> Result<Parts, SearchError> {
        let mut parts = Parts::new();
        if !space.has_image_tower() {
            return Ok(parts);
        }
        for (part, file) in images.iter().zip(files).filter(|(part, _)| part.weight != 0.0) {
            let encoder = space.image_tower(&self.encoders)?;
            let failed = |source| SearchError::QueryImage { path: part.file.clone(), source: Box::new(source) };
            let pixels = encoder.preprocess(file, &ImageLimits::default()).map_err(failed)?;
            let embeddings = encoder.encode_pixels(&[pixels])?;
            parts.push((part.weight, embeddings.row(0).to_vec()));
        }
        Ok(parts)
    }

    fn read_pictures(&self, images: &[ImagePart]) -> Result<Vec<Vec<u8>>, SearchError> {
        if !images.is_empty() && !self.encoders.take_images() {
            let reason = "the snapshot has no encoder for pictures; use texts or items";
            return Err(SearchError::Query { reason: reason.to_owned() });
        }
        images.iter().map(|part| read_picture(&part.file)).collect()
    }

    /// An item's embedding in the space of a modality: of that modality, or else of the first other one it has there.
    fn item_embedding(&self, vector: &VectorFiles, column: usize, row: Row) -> Result<Option<Vec<f32>>, SearchError> {
        let modalities = &self.manifest().modalities;
        let space = modalities[column].encoder.space();
        let others =
            (0..modalities.len()).filter(|other| *other != column && modalities[*other].encoder.space() == space);
        for candidate in std::iter::once(column).chain(others) {
            if let Some(embedding) = vector.modalities.embedding(candidate, row)? {
                return Ok(Some(embedding.iter().map(|value| value.to_f32()).collect()));
            }
        }
        Ok(None)
    }
}

fn read_picture(path: &Path) -> Result<Vec<u8>, SearchError> {
    let failed = |source| SearchError::QueryImage { path: path.to_owned(), source: Box::new(source) };
    let io = |source| failed(EncoderError::Io { path: path.to_owned(), source });
    let limit = ImageLimits::default().max_bytes;
    let mut bytes = Vec::new();
    // Reads one byte more than allowed, so that what has no size of its own (a pipe) is bounded too.
    fs_err::File::open(path).map_err(io)?.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limit {
        return Err(failed(EncoderError::ImageTooLarge { detail: format!("the file has more than {limit} bytes") }));
    }
    Ok(bytes)
}

/// The weighted sum of the parts with unit length; `None` when there is no part or nothing is left of the sum.
pub(crate) fn unit_sum(parts: &[(f32, Vec<f32>)], dimension: usize) -> Option<Vec<f32>> {
    let mut sum = vec![0.0f32; dimension];
    // Weights are taken relative to the largest, so that huge ones do not overflow and tiny ones do not vanish.
    let largest = parts.iter().map(|(weight, _)| weight.abs()).fold(0.0, f32::max);
    for (weight, embedding) in parts {
        for (sum, value) in sum.iter_mut().zip(embedding) {
            *sum += weight / largest * value;
        }
    }
    let length = sum.iter().map(|value| value * value).sum::<f32>().sqrt();
    if !(length.is_finite() && length > SMALLEST_LENGTH) {
        return None;
    }
    sum.iter_mut().for_each(|value| *value /= length);
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_weighted_and_brought_to_unit_length() {
        let (x, y) = (vec![1.0, 0.0], vec![0.0, 1.0]);
        assert_eq!(unit_sum(&[(3.0, x.clone())], 2), Some(vec![1.0, 0.0]));
        let sum = unit_sum(&[(3.0, x.clone()), (4.0, y.clone())], 2).unwrap();
        assert!((sum[0] - 0.6).abs() < 1e-6 && (sum[1] - 0.8).abs() < 1e-6);
        assert_eq!(unit_sum(&[(1.0, x.clone()), (-1.0, y.clone())], 2).unwrap()[1], -(0.5f32.sqrt()));
        assert_eq!(unit_sum(&[(f32::MAX, x.clone()), (f32::MAX, x.clone())], 2), Some(vec![1.0, 0.0]));
        assert_eq!(unit_sum(&[(1e-30, x)], 2), Some(vec![1.0, 0.0]));
    }

    #[test]
    fn parts_that_cancel_out_leave_nothing() {
        let x = vec![1.0, 0.0];
        assert_eq!(unit_sum(&[(1.0, x.clone()), (-1.0, x)], 2), None);
        assert_eq!(unit_sum(&[], 2), None);
    }
}

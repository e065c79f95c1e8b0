//! Opening a snapshot. Owns [`Searcher`], how its files are found, and the checks that make opening safe and cheap; the
//! query flow is in `search.rs`. Invariant: a [`Searcher`] that exists has a manifest whose parts fit each other and
//! files that all have the manifest's sizes and number of rows.

use std::path::{Component, Path, PathBuf};

use schemas::items::{ITEMS_FILE, ItemsReader};
use schemas::manifest::{MANIFEST_FILE, VectorManifest};
use schemas::modalities::{MODALITIES_FILE, ModalitiesReader, ModalityColumn};
use schemas::{Manifest, MappedFile, SchemaError, SnapshotId, Store};

use crate::embedding_fusion::EmbeddingFusion;
use crate::error::SearchError;
use crate::keyword::{KEYWORD_FOLDER, KeywordIndex};
use crate::query_encoder::QueryEncoders;
use crate::vector::{GRAPH_FILE, Graph};

/// How often [`Searcher::open_current`] looks again when the snapshot it opens is replaced and removed meanwhile.
const OPEN_ATTEMPTS: usize = 3;

/// How to open a snapshot.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct OpenOptions {
    /// Folder of the query encoders; `None`: `encoders/` of the store the snapshot lies in.
    pub encoders_folder: Option<PathBuf>,
    /// Device for query encoders.
    pub device: encoders::DeviceChoice,
}

/// An opened snapshot: answers queries from many threads. Encoders are loaded when a query first needs one.
#[derive(Debug)]
pub struct Searcher {
    folder: PathBuf,
    manifest: Manifest,
    pub(crate) keyword: KeywordIndex,
    pub(crate) items: ItemsReader,
    pub(crate) vector: Option<VectorFiles>,
    pub(crate) encoders: QueryEncoders,
}

/// The opened files of the vector side.
#[derive(Debug)]
pub(crate) struct VectorFiles {
    pub(crate) graph: Graph,
    pub(crate) modalities: ModalitiesReader,
    pub(crate) embedding_fusion: EmbeddingFusion,
}

impl Searcher {
    /// Opens the snapshot in `folder`: reads the manifest, checks that every file is there with its size, maps.
    /// Cheap and independent of the size; checking every byte is `indexer verify`.
    /// Writes nothing and loads no model.
    ///
    /// # Errors
    /// When a file is missing, has another size, or is damaged where it is read.
    pub fn open(folder: &Path, options: &OpenOptions) -> Result<Searcher, SearchError> {
        let manifest = Manifest::read(folder)?;
        check_manifest(folder, &manifest)?;
        check_sizes(folder, &manifest)?;
        let keyword = KeywordIndex::open(&folder.join(KEYWORD_FOLDER), &manifest.keyword)?;
        let items = ItemsReader::open(MappedFile::open(&folder.join(ITEMS_FILE))?, &manifest.fields)?;
        let vector = manifest.vector.as_ref().map(|vector| open_vector(folder, &manifest, vector)).transpose()?;
        check_rows(&folder.join(KEYWORD_FOLDER), &manifest, keyword.row_count())?;
        check_rows(&folder.join(ITEMS_FILE), &manifest, items.row_count())?;
        let encoders_folder = options.encoders_folder.clone().unwrap_or_else(|| folder.join("../../encoders"));
        let encoders = QueryEncoders::new(encoders_folder, options.device, &manifest.modalities);
        Ok(Searcher { folder: folder.to_owned(), manifest, keyword, items, vector, encoders })
    }

    /// Opens the published snapshot of a store; also says which it is. A publish that happens meanwhile does no harm:
    /// what is opened is the old snapshot or the new one, whole.
    ///
    /// # Errors
    /// As [`Searcher::open`], and when nothing is published.
    pub fn open_current(store: &Path, options: &OpenOptions) -> Result<(SnapshotId, Searcher), SearchError> {
        let store = Store::open(store)?;
        let current = || -> Result<SnapshotId, SearchError> {
            let nothing = || SchemaError::NothingPublished { path: store.folder().to_owned() };
            Ok(store.current()?.ok_or_else(nothing)?)
        };
        let mut snapshot = current()?;
        for _ in 1..OPEN_ATTEMPTS {
            match Searcher::open(&store.snapshot_folder(&snapshot), options) {
                Ok(searcher) => return Ok((snapshot, searcher)),
                Err(error) => {
                    let newer = current()?;
                    if newer == snapshot {
                        return Err(error);
                    }
                    snapshot = newer;
                }
            }
        }
        let searcher = Searcher::open(&store.snapshot_folder(&snapshot), options)?;
        Ok((snapshot, searcher))
    }

    /// The snapshot's manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The snapshot's folder, as it was opened.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The stored items, by row number.
    #[must_use]
    pub fn items(&self) -> &ItemsReader {
        &self.items
    }
}

fn open_vector(folder: &Path, manifest: &Manifest, vector: &VectorManifest) -> Result<VectorFiles, SearchError> {
    let columns: Vec<ModalityColumn> = (manifest.modalities.iter())
        .map(|modality| ModalityColumn { modality: modality.modality, dimension: modality.encoder.dimension })
        .collect();
    let embedding_fusion = EmbeddingFusion::new(vector.embedding_fusion, &manifest.modalities)
        .map_err(|reason| invalid_manifest(folder, reason))?;
    if embedding_fusion.dimension() != vector.dimension {
        let (got, expected) = (vector.dimension, embedding_fusion.dimension());
        return Err(invalid_manifest(
            folder,
            format!("item vectors have length {got}, the modalities make {expected}"),
        ));
    }
    let modalities = ModalitiesReader::open(MappedFile::open(&folder.join(MODALITIES_FILE))?, &columns)?;
    check_rows(&folder.join(MODALITIES_FILE), manifest, modalities.row_count())?;
    let graph = Graph::open(folder, manifest, vector)?;
    Ok(VectorFiles { graph, modalities, embedding_fusion })
}

fn invalid_manifest(folder: &Path, reason: impl Into<String>) -> SearchError {
    SchemaError::Invalid { path: folder.join(MANIFEST_FILE), reason: reason.into() }.into()
}

/// Whether the manifest's parts fit each other, so that later code need not ask.
fn check_manifest(folder: &Path, manifest: &Manifest) -> Result<(), SearchError> {
    let refuse = |reason: &str| Err(invalid_manifest(folder, reason));
    if manifest.vector.is_some() == manifest.modalities.is_empty() {
        return refuse("it has modalities without a vector index or the other way round");
    }
    if !manifest.modalities.is_sorted_by(|left, right| left.modality < right.modality) {
        return refuse("its modalities are not in order, or one is there twice");
    }
    if manifest.modalities.iter().any(|modality| !(modality.weight.is_finite() && modality.weight >= 0.0)) {
        return refuse("a modality's weight is not a finite number of at least 0");
    }
    if manifest.modalities.iter().any(|modality| !is_plain_name(&modality.encoder.checkpoint)) {
        return refuse("an encoder's checkpoint is no folder name");
    }
    if manifest.modalities.iter().any(|modality| modality.encoder.dimension == 0) {
        return refuse("an encoder's dimension is 0");
    }
    if !(0.0..=1.0).contains(&manifest.rank_fusion.alpha) || manifest.rank_fusion.depth == 0 {
        return refuse("its rank fusion has an alpha outside 0 to 1, or no depth");
    }
    if manifest.item_count > u64::from(schemas::Row::MAX) {
        return refuse("it has more items than there are row numbers");
    }
    Ok(())
}

fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!((components.next(), components.next()), (Some(Component::Normal(_)), None))
}

/// Whether every file is there with its size; reads none of them.
fn check_sizes(folder: &Path, manifest: &Manifest) -> Result<(), SearchError> {
    for needed in [ITEMS_FILE].into_iter().chain(manifest.vector.iter().flat_map(|_| [MODALITIES_FILE, GRAPH_FILE])) {
        if !manifest.files.contains_key(needed) {
            return Err(invalid_manifest(folder, format!("it does not list `{needed}`")));
        }
    }
    for (name, entry) in &manifest.files {
        let path = folder.join(name);
        let metadata = fs_err::metadata(&path).map_err(|source| SchemaError::Io { path: path.clone(), source })?;
        if metadata.len() != entry.bytes {
            let (expected, got) = (format!("{} bytes", entry.bytes), format!("{} bytes", metadata.len()));
            return Err(SearchError::Mismatch { path, expected, got });
        }
    }
    Ok(())
}

fn check_rows(path: &Path, manifest: &Manifest, got: u64) -> Result<(), SearchError> {
    let expected = manifest.item_count;
    if got == expected {
        return Ok(());
    }
    let (expected, got) = (format!("{expected} rows"), format!("{got} rows"));
    Err(SearchError::Mismatch { path: path.to_owned(), expected, got })
}

//! Opening a snapshot. Owns [`Searcher`], what it is opened with, and the checks of its manifest and rows; the files'
//! own checks are in `files.rs`, the published snapshot and its successors in `current.rs`, the query flow in `search.rs`.
//! Invariant: a [`Searcher`] that exists has a manifest whose parts fit each other and files that all have the manifest's
//! sizes and number of rows, and holds its snapshot, so that it is not pruned.

use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use schemas::item_weights::{ITEM_WEIGHTS_FILE, ItemWeightsReader};
use schemas::items::{ITEMS_FILE, ItemsReader};
use schemas::manifest::{MANIFEST_FILE, VectorManifest};
use schemas::map::MapOptions;
use schemas::modalities::{MODALITIES_FILE, ModalitiesReader, ModalityColumn};
use schemas::store::SnapshotHold;
use schemas::{Manifest, MappedFile, SchemaError};

use crate::embedding_fusion::EmbeddingFusion;
use crate::error::SearchError;
use crate::files;
pub use crate::files::FileCheck;
use crate::keyword::{KEYWORD_FOLDER, KeywordIndex};
use crate::query_encoder::QueryEncoders;
use crate::vector::{Graph, LearnedItems, QueryEmbeddings, VectorScorer};

/// How to open a snapshot.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct OpenOptions {
    /// Folder of the query encoders; `None`: `encoders/` of the store the snapshot lies in.
    pub encoders_folder: Option<PathBuf>,
    /// Device for query encoders.
    pub device: encoders::DeviceChoice,
    /// What is compared with the manifest before anything is opened.
    pub check: FileCheck,
    /// How the files are mapped.
    pub maps: SnapshotMaps,
}

/// How each kind of file of a snapshot is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SnapshotMaps {
    /// Every file of `keyword/`. Read in runs: the postings of a query's terms.
    pub keyword: MapOptions,
    /// `items.arrow`. Read here and there for hits, in whole columns for filters.
    pub items: MapOptions,
    /// `vector/modalities.arrow`, the largest file, and `vector/item_weights.arrow`. Read here and there for candidates, whole for exact scans.
    pub modalities: MapOptions,
    /// `vector/fused.usearch` and its table of nodes. Read here and there, some thousand places a query: worth most in memory.
    pub graph: MapOptions,
}

impl SnapshotMaps {
    /// The same options for all files.
    #[must_use]
    pub fn all(options: MapOptions) -> SnapshotMaps {
        SnapshotMaps { keyword: options, items: options, modalities: options, graph: options }
    }
}

/// An opened snapshot: answers queries from many threads. Encoders are loaded when a query first needs one. While it lives
/// the snapshot is held: `indexer prune` passes it over.
#[derive(Debug)]
pub struct Searcher {
    folder: PathBuf,
    manifest: Manifest,
    pub(crate) keyword: KeywordIndex,
    pub(crate) items: ItemsReader,
    pub(crate) vector: Option<VectorFiles>,
    pub(crate) encoders: QueryEncoders,
    /// The damaged files of the keyword index and of the graph, once somebody had to look for them.
    damaged_files: [OnceLock<Option<PathBuf>>; 2],
    /// Dropped last: the files above are open until then.
    _hold: SnapshotHold,
}

/// The opened files of the vector side.
#[derive(Debug)]
pub(crate) struct VectorFiles {
    pub(crate) graph: Graph,
    pub(crate) modalities: ModalitiesReader,
    pub(crate) embedding_fusion: EmbeddingFusion,
    /// What modalities weigh in items; there with learned embedding fusion alone.
    pub(crate) item_weights: Option<ItemWeightsReader>,
}

impl VectorFiles {
    /// Scores rows for a query.
    pub(crate) fn scorer<'a>(&'a self, query: &'a QueryEmbeddings) -> VectorScorer<'a> {
        let learned = self.embedding_fusion.learned().zip(self.item_weights.as_ref());
        let learned = learned.map(|(fusion, weights)| LearnedItems { fusion, weights });
        VectorScorer { modalities: &self.modalities, query, learned }
    }
}

impl Searcher {
    /// Opens the snapshot in `folder`: takes hold of it, reads the manifest, checks that every file is there with its
    /// size, maps. By default cheap and independent of the size; [`FileCheck`] and [`SnapshotMaps`] can make it do more.
    /// Writes nothing and loads no model.
    ///
    /// # Errors
    /// When a file is missing, is a link or a folder, has another size (or checksum, where those are checked), or is
    /// damaged where it is read. The error names the file.
    pub fn open(folder: &Path, options: &OpenOptions) -> Result<Searcher, SearchError> {
        let hold = SnapshotHold::take(folder)?;
        let manifest = hold.read_manifest()?;
        Searcher::open_held(folder, &manifest, hold, options)
            .map_err(|error| files::name_file(error, |group| files::damaged_file(folder, &manifest, group)))
    }

    fn open_held(
        folder: &Path,
        manifest: &Manifest,
        hold: SnapshotHold,
        options: &OpenOptions,
    ) -> Result<Searcher, SearchError> {
        check_manifest(folder, manifest)?;
        files::check(folder, manifest, options.check)?;
        let keyword = KeywordIndex::open_with(&folder.join(KEYWORD_FOLDER), &manifest.keyword, options.maps.keyword)?;
        let items = MappedFile::open_with(&folder.join(ITEMS_FILE), options.maps.items)?;
        let items = ItemsReader::open(items, &manifest.fields)?;
        let vector = match &manifest.vector {
            Some(vector) => Some(open_vector(folder, manifest, vector, &options.maps)?),
            None => None,
        };
        check_rows(&folder.join(KEYWORD_FOLDER), manifest, keyword.row_count())?;
        check_rows(&folder.join(ITEMS_FILE), manifest, items.row_count())?;
        let encoders_folder = match &options.encoders_folder {
            Some(encoders) => encoders.clone(),
            None => files::encoders_folder(folder)?,
        };
        let encoders = QueryEncoders::new(encoders_folder, options.device, &manifest.modalities);
        let (folder, manifest) = (folder.to_owned(), manifest.clone());
        let damaged_files = [OnceLock::new(), OnceLock::new()];
        Ok(Searcher { folder, manifest, keyword, items, vector, encoders, damaged_files, _hold: hold })
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

    /// An error with the path of the damaged file, where several are read together. The first such error reads and compares
    /// them.
    pub(crate) fn name_damaged_file(&self, error: SearchError) -> SearchError {
        files::name_file(error, |group| {
            let found = &self.damaged_files[group as usize];
            found.get_or_init(|| files::damaged_file(&self.folder, &self.manifest, group)).clone()
        })
    }
}

fn open_vector(
    folder: &Path,
    manifest: &Manifest,
    vector: &VectorManifest,
    maps: &SnapshotMaps,
) -> Result<VectorFiles, SearchError> {
    let columns: Vec<ModalityColumn> = (manifest.modalities.iter()).map(ModalityColumn::from).collect();
    let embedding_fusion = EmbeddingFusion::open(folder, vector, &manifest.modalities)?;
    if embedding_fusion.dimension() != vector.dimension {
        let (got, expected) = (vector.dimension, embedding_fusion.dimension());
        return Err(invalid_manifest(
            folder,
            format!("item vectors have length {got}, the modalities make {expected}"),
        ));
    }
    let modalities = MappedFile::open_with(&folder.join(MODALITIES_FILE), maps.modalities)?;
    let modalities = ModalitiesReader::open(modalities, &columns)?;
    check_rows(&folder.join(MODALITIES_FILE), manifest, modalities.row_count())?;
    let item_weights = match embedding_fusion.learned() {
        Some(_) => {
            let path = folder.join(ITEM_WEIGHTS_FILE);
            let weights = MappedFile::open_with(&path, maps.modalities)?;
            let weights = ItemWeightsReader::open(weights, columns.len())?;
            check_rows(&path, manifest, weights.row_count())?;
            Some(weights)
        }
        None => None,
    };
    let graph = Graph::open(folder, manifest, vector, maps.graph)?;
    Ok(VectorFiles { graph, modalities, embedding_fusion, item_weights })
}

pub(crate) fn invalid_manifest(folder: &Path, reason: impl Into<String>) -> SearchError {
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

fn check_rows(path: &Path, manifest: &Manifest, got: u64) -> Result<(), SearchError> {
    let expected = manifest.item_count;
    if got == expected {
        return Ok(());
    }
    let (expected, got) = (format!("{expected} rows"), format!("{got} rows"));
    Err(SearchError::Mismatch { path: path.to_owned(), expected, got })
}

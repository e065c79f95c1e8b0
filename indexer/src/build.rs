//! Third stage: embeddings and items to a staged snapshot. Owns the order of the files and the manifest's content;
//! not the formats. Invariant: row n of every file is the n-th unique item of the spool, partition after partition;
//! the manifest is written last.

use std::path::{Path, PathBuf};

use half::f16;
use rayon::prelude::*;
use schemas::durable::{checksum_file, list_files};
use schemas::embeddings::{EmbeddingsBatch, EmbeddingsReader};
use schemas::item_weights::{ITEM_WEIGHTS_FILE, ItemWeightsWriter};
use schemas::items::{ITEMS_FILE, ItemsWriter, StoredItem};
use schemas::learned_fusion::LEARNED_FUSION_FILE;
use schemas::manifest::{FORMAT_VERSION, MANIFEST_FILE, ModalityManifest, VectorManifest};
use schemas::modalities::{MODALITIES_FILE, ModalitiesWriter, ModalityColumn};
use schemas::{FieldSpec, ImageSource, Item, Manifest, Row, SnapshotId};
use searcher::embedding_fusion::EmbeddingFusion;
use searcher::keyword::{KEYWORD_FOLDER, KeywordWriter};
use searcher::vector::GraphWriter;

use crate::config::IndexConfig;
use crate::encode::EncodedCatalog;
use crate::encoder_set::EncoderSet;
use crate::error::IndexError;
use crate::fusion_model::FusionModel;
use crate::progress::{Progress, StopSignal};
use crate::report::RunCounts;
use crate::spool::SpoolRow;

mod scalar;

/// Rows that are handed to the writers at once, at most.
const BUILD_BATCH_ROWS: usize = 4096;
/// Bytes of texts after which they are handed over, however few rows they are.
const BUILD_BATCH_BYTES: usize = 32 << 20;

/// A complete snapshot directory that nobody has checked yet.
#[derive(Debug)]
pub struct StagedSnapshot {
    /// Its folder, below the store's `staging/`.
    pub folder: PathBuf,
    /// Its manifest, as written.
    pub manifest: Manifest,
}

/// What building works with.
#[derive(Clone, Copy)]
pub struct BuildContext<'a> {
    /// Settings.
    pub config: &'a IndexConfig,
    /// Encoders.
    pub encoders: &'a EncoderSet,
    /// The trained model, where embedding fusion is learned.
    pub fusion_model: Option<&'a FusionModel>,
    /// Folder to build in; created.
    pub folder: &'a Path,
    /// Start of the run, RFC 3339.
    pub started: &'a str,
    /// The snapshot that is current.
    pub parent: Option<&'a SnapshotId>,
    /// Digest of what the snapshot is made from.
    pub inputs: &'a str,
    /// Listener.
    pub progress: &'a dyn Progress,
    /// Stop signal.
    pub stop: &'a StopSignal,
}

/// Builds the snapshot.
///
/// # Errors
/// When a file cannot be read or written, the run is stopped, or the embeddings do not fit the items.
pub fn build(
    encoded: &EncodedCatalog,
    counts: &RunCounts,
    context: &BuildContext<'_>,
) -> Result<StagedSnapshot, IndexError> {
    context.progress.begin("build", Some(encoded.items));
    let mut writers = Writers::create(context, encoded, counts)?;
    for partition in 0..encoded.spool.partitions() {
        let parts = encoded.parts.get(partition as usize).map(Vec::as_slice).unwrap_or_default();
        let mut embeddings = PartRows::new(parts);
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for row in encoded.spool.read(partition)? {
            // Duplicates were counted when the partition was encoded.
            let SpoolRow::Unique(item) = row? else { continue };
            let row = if parts.is_empty() { None } else { Some(embeddings.next_row(&item.id)?) };
            bytes += item.content_bytes();
            batch.push(BuildRow { item: stored(item), embeddings: row.unwrap_or_default() });
            if batch.len() == BUILD_BATCH_ROWS || bytes >= BUILD_BATCH_BYTES {
                bytes = 0;
                context.stop.check()?;
                writers.write(&batch)?;
                context.progress.advance(batch.len() as u64);
                batch.clear();
            }
        }
        writers.write(&batch)?;
        context.progress.advance(batch.len() as u64);
    }
    context.stop.check()?;
    let manifest = writers.finish(context, encoded.items)?;
    context.progress.end();
    Ok(StagedSnapshot { folder: context.folder.to_owned(), manifest })
}

/// An item with its embeddings, parallel to the configured modalities.
struct BuildRow {
    item: StoredItem,
    embeddings: Vec<Option<Vec<f16>>>,
}

impl BuildRow {
    fn present(&self) -> Vec<Option<&[f16]>> {
        self.embeddings.iter().map(Option::as_deref).collect()
    }
}

fn stored(item: Item) -> StoredItem {
    let image = match item.image {
        ImageSource::Path(path) => Some(path),
        ImageSource::Absent | ImageSource::Bytes(_) => None,
    };
    StoredItem { id: item.id, title: item.title, description: item.description, image, fields: item.fields }
}

/// All writers of a snapshot.
struct Writers {
    fields: Vec<FieldSpec>,
    items: ItemsWriter,
    keyword: KeywordWriter,
    vector: Option<VectorWriters>,
    next_row: Row,
}

struct VectorWriters {
    modalities: Vec<ModalityManifest>,
    manifest: VectorManifest,
    fusion: EmbeddingFusion,
    exact: ModalitiesWriter,
    item_weights: Option<ItemWeightsWriter>,
    graph: GraphWriter,
    added: u64,
}

impl Writers {
    fn create(context: &BuildContext<'_>, encoded: &EncodedCatalog, counts: &RunCounts) -> Result<Writers, IndexError> {
        let folder = context.folder;
        fs_err::create_dir_all(folder).map_err(IndexError::io(folder))?;
        let fields: Vec<FieldSpec> = context.config.catalog.fields.iter().map(|field| field.spec.clone()).collect();
        Ok(Writers {
            items: ItemsWriter::create(&folder.join(ITEMS_FILE), &fields)?,
            keyword: KeywordWriter::create(&folder.join(KEYWORD_FOLDER), &context.config.keyword, &fields)?,
            vector: VectorWriters::create(context, encoded, counts)?,
            fields,
            next_row: 0,
        })
    }

    /// Appends rows: the keyword index on one thread, graph and embeddings on the others.
    fn write(&mut self, batch: &[BuildRow]) -> Result<(), IndexError> {
        let first_row = self.next_row;
        let (items, keyword, vector) = (&mut self.items, &mut self.keyword, &mut self.vector);
        let (texts, vectors) = rayon::join(
            || -> Result<(), IndexError> {
                for row in batch {
                    items.write(&row.item)?;
                    keyword.write(&row.item)?;
                }
                Ok(())
            },
            || match vector {
                Some(vector) => vector.write(first_row, batch),
                None => Ok(()),
            },
        );
        texts?;
        vectors?;
        self.next_row += batch.len() as Row;
        Ok(())
    }

    fn finish(self, context: &BuildContext<'_>, item_count: u64) -> Result<Manifest, IndexError> {
        let mut counts = vec![("items", self.items.finish()?), ("keyword index", self.keyword.finish()?)];
        let (mut modalities, mut vector) = (Vec::new(), None);
        if let Some(writers) = self.vector {
            counts.push(("embeddings", writers.exact.finish()?));
            if let Some(item_weights) = writers.item_weights {
                counts.push(("item weights", item_weights.finish()?));
            }
            let added = writers.graph.finish()?;
            if added != writers.added {
                return Err(inconsistent(format!("graph has {added} vectors, {} were added", writers.added)));
            }
            modalities = writers.modalities;
            vector = Some(VectorManifest { vector_count: added, ..writers.manifest });
        }
        for (what, count) in counts {
            if count != item_count {
                return Err(inconsistent(format!("{what}: {count} rows, {item_count} items")));
            }
        }
        let mut manifest = Manifest {
            format_version: FORMAT_VERSION,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            created: context.started.to_owned(),
            parent: context.parent.map(ToString::to_string),
            inputs: Some(context.inputs.to_owned()),
            item_count,
            modalities,
            fields: self.fields,
            keyword: context.config.keyword.clone(),
            vector,
            rank_fusion: context.config.rank_fusion.clone(),
            gates: Default::default(),
            overruled: None,
            files: Default::default(),
        };
        for path in list_files(context.folder)? {
            let entry = checksum_file(&context.folder.join(&path))?;
            manifest.files.insert(path, entry);
        }
        write_manifest(context.folder, &manifest)?;
        Ok(manifest)
    }
}

/// Writes the manifest of a staged snapshot.
pub(crate) fn write_manifest(folder: &Path, manifest: &Manifest) -> Result<(), IndexError> {
    Ok(schemas::durable::write_durably(&folder.join(MANIFEST_FILE), &manifest.to_bytes())?)
}

impl VectorWriters {
    fn create(
        context: &BuildContext<'_>,
        encoded: &EncodedCatalog,
        counts: &RunCounts,
    ) -> Result<Option<VectorWriters>, IndexError> {
        if context.encoders.modalities().is_empty() {
            return Ok(None);
        }
        let modalities: Vec<ModalityManifest> = context
            .encoders
            .modalities()
            .iter()
            .map(|one| ModalityManifest {
                modality: one.modality,
                encoder: one.spec.clone(),
                weight: one.weight,
                present: encoded.items - counts.modalities.get(&one.modality).map_or(0, |counts| counts.absent),
            })
            .collect();
        let kind = context.config.embedding_fusion;
        let fusion = match context.fusion_model {
            Some(model) => model.fusion.clone(),
            None => EmbeddingFusion::new(kind, &modalities)
                .map_err(|reason| IndexError::ConfigValue { key: "embedding_fusion.kind".to_owned(), reason })?,
        };
        let graph = &context.config.graph;
        let manifest = VectorManifest {
            embedding_fusion: kind,
            dimension: fusion.dimension(),
            scalar: scalar::choose(context, encoded, &fusion)?,
            connectivity: graph.connectivity,
            expansion_add: graph.expansion_add,
            expansion_search: graph.expansion_search,
            vector_count: 0,
        };
        let columns: Vec<ModalityColumn> = modalities.iter().map(ModalityColumn::from).collect();
        let exact_path = context.folder.join(MODALITIES_FILE);
        if let Some(parent) = exact_path.parent() {
            fs_err::create_dir_all(parent).map_err(IndexError::io(parent))?;
        }
        let item_weights = match context.fusion_model {
            Some(model) => {
                let path = context.folder.join(LEARNED_FUSION_FILE);
                fs_err::write(&path, &model.bytes).map_err(IndexError::io(&path))?;
                Some(ItemWeightsWriter::create(&context.folder.join(ITEM_WEIGHTS_FILE), modalities.len())?)
            }
            None => None,
        };
        let capacity = usize::try_from(encoded.items).unwrap_or(usize::MAX);
        Ok(Some(VectorWriters {
            exact: ModalitiesWriter::create(&exact_path, &columns)?,
            item_weights,
            graph: GraphWriter::create(context.folder, &manifest, capacity)?,
            modalities,
            manifest,
            fusion,
            added: 0,
        }))
    }

    fn write(&mut self, first_row: Row, batch: &[BuildRow]) -> Result<(), IndexError> {
        // In parallel, because a learned formula multiplies matrices for each item.
        let fusion = &self.fusion;
        let fused: Vec<FusedRow> = batch.par_iter().map(|built| FusedRow::of(fusion, &built.present())).collect();
        let mut vectors = Vec::new();
        for ((row, built), fused) in (first_row..).zip(batch).zip(fused) {
            self.exact.write(&built.present())?;
            if let Some(item_weights) = &mut self.item_weights {
                item_weights.write(&fused.weights)?;
            }
            vectors.extend(fused.vector.map(|vector| (row, vector)));
        }
        self.graph.add(&vectors)?;
        self.added += vectors.len() as u64;
        Ok(())
    }
}

/// An item's vector, and with learned embedding fusion what each modality weighs in it.
struct FusedRow {
    vector: Option<Vec<f16>>,
    weights: Vec<f32>,
}

impl FusedRow {
    fn of(fusion: &EmbeddingFusion, embeddings: &[Option<&[f16]>]) -> FusedRow {
        match fusion.learned() {
            None => FusedRow { vector: fusion.item_vector(embeddings), weights: Vec::new() },
            Some(learned) => match learned.item(embeddings) {
                Some(item) => FusedRow { vector: Some(item.halves()), weights: item.weights },
                None => FusedRow { vector: None, weights: vec![0.0; embeddings.len()] },
            },
        }
    }
}

/// The rows of a partition's parts one after the other.
struct PartRows<'a> {
    paths: std::slice::Iter<'a, PathBuf>,
    path: PathBuf,
    reader: Option<EmbeddingsReader>,
    batch: EmbeddingsBatch,
    next: usize,
}

impl<'a> PartRows<'a> {
    fn new(paths: &'a [PathBuf]) -> PartRows<'a> {
        PartRows { paths: paths.iter(), path: PathBuf::new(), reader: None, batch: EmbeddingsBatch::default(), next: 0 }
    }

    /// The embeddings of the next row, which must be the item's.
    fn next_row(&mut self, id: &str) -> Result<Vec<Option<Vec<f16>>>, IndexError> {
        while self.next == self.batch.ids.len() {
            if let Some(batch) = self.reader.as_mut().and_then(Iterator::next) {
                self.batch = batch.map_err(|source| set_aside(&self.path, source))?;
                self.next = 0;
            } else if let Some(path) = self.paths.next() {
                path.clone_into(&mut self.path);
                self.reader = Some(EmbeddingsReader::open(path).map_err(|source| set_aside(path, source))?);
            } else {
                return Err(inconsistent(format!("no embeddings for item `{id}`")));
            }
        }
        let row = self.next;
        self.next += 1;
        if self.batch.ids[row] != id {
            return Err(inconsistent(format!("embeddings of `{}` where `{id}` is expected", self.batch.ids[row])));
        }
        Ok(self.batch.columns.iter().map(|column| column.embedding(row).map(<[f16]>::to_vec)).collect())
    }
}

/// Renames a part that was kept without reading its embeddings and turns out to be damaged, so that the next run encodes
/// its items again instead of failing in the same way.
fn set_aside(path: &Path, source: schemas::SchemaError) -> IndexError {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match fs_err::rename(path, path.with_file_name(format!(".{name}.damaged"))) {
        Ok(()) => IndexError::DamagedPart { path: path.to_owned(), source },
        Err(_) => source.into(),
    }
}

fn inconsistent(reason: String) -> IndexError {
    IndexError::Inconsistent { reason }
}

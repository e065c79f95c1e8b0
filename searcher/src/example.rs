//! A tiny store for this crate's own examples and tests: invented items with made-up embeddings, written by the real
//! writers. Not part of the library's interface. Its encoders do not exist, so that only keyword queries and "like this
//! item" can be answered; nothing that is written here was checked as `indexer verify` does.

use std::path::{Path, PathBuf};

use half::f16;
use schemas::durable::checksum_file;
use schemas::items::{ITEMS_FILE, ItemsWriter, StoredItem};
use schemas::manifest::{
    AnalysisVersion, AnalyzerKind, EmbeddingFusionKind, FORMAT_VERSION, KeywordFieldManifest, KeywordManifest,
    MANIFEST_FILE, Manifest, ModalityManifest, RankFusionManifest, Scalar, ScalarKind, VectorManifest,
};
use schemas::modalities::{MODALITIES_FILE, ModalitiesWriter, ModalityColumn};
use schemas::{
    Architecture, Dtype, EncoderSpec, FieldSpec, FieldType, FieldValue, Modality, Pooling, Row, SchemaError,
    SnapshotId, Store,
};

use crate::embedding_fusion::EmbeddingFusion;
use crate::error::SearchError;
use crate::keyword::{
    DEFAULT_B, DEFAULT_DESCRIPTION_WEIGHT, DEFAULT_K1, DEFAULT_MATCHING, DEFAULT_PROXIMITY, DEFAULT_TITLE_WEIGHT,
    KEYWORD_FOLDER, KeywordWriter,
};
use crate::rank_fusion::{DEFAULT_ALPHA, DEFAULT_KEYWORD_FIRST, DEFAULT_RECIPROCAL_RANK_CONSTANT};
use crate::vector::{
    DEFAULT_CONNECTIVITY, DEFAULT_EXPANSION_ADD, DEFAULT_EXPANSION_SEARCH, GRAPH_FILE, GraphWriter, Magnitudes,
};

/// Length of the made-up embeddings.
pub const DIMENSION: usize = 4;
/// Candidates from each retriever by default.
pub const DEPTH: usize = 20;
/// The time in the snapshot's name.
pub const SNAPSHOT_TIME: &str = "20260101T000000Z";
/// The encoded modalities: title and image, both in one space.
pub const MODALITIES: [Modality; 2] = [Modality::Title, Modality::Image];

/// An item with its made-up embeddings, one per modality of [`MODALITIES`].
#[derive(Clone, Debug, PartialEq)]
pub struct ExampleItem {
    /// The stored side.
    pub item: StoredItem,
    /// Unit-length embeddings.
    pub embeddings: [Option<[f32; DIMENSION]>; 2],
}

/// The declared fields.
#[must_use]
pub fn fields() -> Vec<FieldSpec> {
    let field = |name: &str, r#type, searched| FieldSpec { name: name.to_owned(), r#type, searched };
    vec![
        field("brand", FieldType::String, true),
        field("price", FieldType::Float, false),
        field("stock", FieldType::Integer, false),
        field("new", FieldType::Boolean, false),
        field("category", FieldType::Category, false),
        field("tags", FieldType::Strings, false),
    ]
}

/// Six items.
#[must_use]
pub fn items() -> Vec<ExampleItem> {
    let text = |text: &str| Some(FieldValue::String(text.to_owned()));
    let item = |id: &str, title: &str, description: Option<&str>, fields: [Option<FieldValue>; 6]| StoredItem {
        id: id.to_owned(),
        title: Some(title.to_owned()),
        description: description.map(str::to_owned),
        image: None,
        fields: fields.to_vec(),
    };
    let price = |price| Some(FieldValue::Float(price));
    let tags = |tags: &[&str]| Some(FieldValue::Strings(tags.iter().map(|tag| (*tag).to_owned()).collect()));
    let (mugs, sofas) = (text("Home > Kitchen > Mugs"), text("Home > Living room"));
    let [red, blue, soft, hard] =
        [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]];
    let (warm, cool) = ([0.8, 0.0, 0.6, 0.0], [0.0, 0.8, 0.0, 0.6]);
    let yes = Some(FieldValue::Boolean(true));
    vec![
        ExampleItem {
            item: item(
                "mug-red",
                "Red mug",
                Some("A mug for tea."),
                [
                    text("Daybird"),
                    price(9.5),
                    Some(FieldValue::Integer(4)),
                    yes.clone(),
                    mugs.clone(),
                    tags(&["gift", "sale"]),
                ],
            ),
            embeddings: [Some(red), Some(warm)],
        },
        ExampleItem {
            item: item(
                "mug-blue",
                "Blue mug",
                None,
                [text("Daybird"), price(12.0), None, None, mugs.clone(), tags(&["gift"])],
            ),
            embeddings: [Some(blue), Some(cool)],
        },
        ExampleItem {
            item: item(
                "mug-red-large",
                "Large red mug",
                Some("Red as red can be."),
                [text("Norrland"), price(24.0), Some(FieldValue::Integer(0)), None, mugs, None],
            ),
            embeddings: [Some(warm), None],
        },
        ExampleItem {
            item: item(
                "sofa-red",
                "Red sofa",
                Some("Soft."),
                [text("Norrland"), price(480.0), None, yes, sofas.clone(), tags(&[])],
            ),
            embeddings: [None, Some(soft)],
        },
        ExampleItem {
            item: item("sofa-blue", "Blue sofa", None, [None, None, Some(FieldValue::Integer(2)), None, sofas, None]),
            embeddings: [Some(cool), Some(hard)],
        },
        ExampleItem {
            item: item("voucher", "Gift voucher", None, [None, price(50.0), None, None, None, tags(&["gift"])]),
            embeddings: [None, None],
        },
    ]
}

/// Writes a store with one published snapshot of `items`; returns the snapshot's folder.
///
/// # Errors
/// When writing fails.
pub fn write_store(folder: &Path, items: &[ExampleItem]) -> Result<PathBuf, SearchError> {
    let store = Store::open_or_create(folder)?;
    let snapshot = add_snapshot(&store, SNAPSHOT_TIME, items)?;
    store.set_current(&snapshot, &store.lock()?)?;
    Ok(store.snapshot_folder(&snapshot))
}

/// Adds a snapshot of `items` with that time in its name to a store, without publishing it.
///
/// # Errors
/// When writing fails, or the time has another form than [`SNAPSHOT_TIME`].
pub fn add_snapshot(store: &Store, time: &str, items: &[ExampleItem]) -> Result<SnapshotId, SearchError> {
    let staged = store.staging_folder().join(time);
    write_snapshot(&staged, items)?;
    let manifest = staged.join(MANIFEST_FILE);
    let digest = checksum_file(&manifest)?.blake3;
    let malformed = || SchemaError::Invalid { path: staged.clone(), reason: format!("`{time}` is no time") };
    let snapshot = SnapshotId::new(time, &digest).ok_or_else(malformed)?;
    let target = store.snapshot_folder(&snapshot);
    fs_err::rename(&staged, &target).map_err(|source| SchemaError::Io { path: target, source })?;
    Ok(snapshot)
}

/// Writes a snapshot of `items`, with the scalar kind that new snapshots have.
///
/// # Errors
/// When writing fails.
pub fn write_snapshot(folder: &Path, items: &[ExampleItem]) -> Result<(), SearchError> {
    write_snapshot_of_kind(folder, items, ScalarKind::default())
}

/// Writes a snapshot of `items` whose graph has that scalar kind.
///
/// # Errors
/// When writing fails.
pub fn write_snapshot_of_kind(folder: &Path, items: &[ExampleItem], kind: ScalarKind) -> Result<(), SearchError> {
    let mut manifest = manifest(items);
    for subfolder in [Path::new(KEYWORD_FOLDER), Path::new(GRAPH_FILE).parent().unwrap_or(Path::new(""))] {
        let path = folder.join(subfolder);
        fs_err::create_dir_all(&path).map_err(|source| SchemaError::Io { path, source })?;
    }
    let mut keyword = KeywordWriter::create(&folder.join(KEYWORD_FOLDER), &manifest.keyword, &manifest.fields)?;
    let mut stored = ItemsWriter::create(&folder.join(ITEMS_FILE), &manifest.fields)?;
    let columns = MODALITIES.map(|modality| ModalityColumn { modality, dimension: DIMENSION });
    let mut modalities = ModalitiesWriter::create(&folder.join(MODALITIES_FILE), &columns)?;
    let graph_path = folder.join(GRAPH_FILE);
    let failed = |reason: String| SearchError::Vector { path: graph_path.clone(), reason };
    let fusion = EmbeddingFusion::new(EmbeddingFusionKind::default(), &manifest.modalities).map_err(failed)?;
    let mut vectors: Vec<(Row, Vec<f16>)> = Vec::new();
    for (row, ExampleItem { item, embeddings }) in (0..).zip(items) {
        keyword.write(item)?;
        stored.write(item)?;
        let embeddings: Vec<Option<Vec<f16>>> =
            embeddings.iter().map(|embedding| embedding.map(|values| values.map(f16::from_f32).to_vec())).collect();
        let embeddings: Vec<Option<&[f16]>> = embeddings.iter().map(Option::as_deref).collect();
        modalities.write(&embeddings)?;
        vectors.extend(fusion.item_vector(&embeddings).map(|vector| (row, vector)));
    }
    keyword.finish()?;
    stored.finish()?;
    modalities.finish()?;
    if let Some(vector) = &mut manifest.vector {
        if kind == ScalarKind::I8 {
            let mut magnitudes = Magnitudes::default();
            vectors.iter().for_each(|(_, vector)| magnitudes.count(vector));
            vector.scalar = Scalar::I8 { step: magnitudes.step() };
        }
        let graph = GraphWriter::create(folder, vector, vectors.len())?;
        graph.add(&vectors)?;
        vector.vector_count = graph.finish()?;
    }
    list_files(folder, folder, &mut manifest)?;
    let path = folder.join(MANIFEST_FILE);
    fs_err::write(&path, manifest.to_bytes()).map_err(|source| SchemaError::Io { path, source })?;
    Ok(())
}

fn manifest(items: &[ExampleItem]) -> Manifest {
    let modalities = MODALITIES.into_iter().enumerate().map(|(number, modality)| ModalityManifest {
        modality,
        encoder: encoder(modality),
        weight: 0.5,
        present: items.iter().filter(|item| item.embeddings[number].is_some()).count() as u64,
    });
    let searched = [("title", DEFAULT_TITLE_WEIGHT), ("description", DEFAULT_DESCRIPTION_WEIGHT), ("brand", 1.0)];
    let searched = searched.map(|(name, weight)| KeywordFieldManifest {
        name: name.to_owned(),
        analyzer: AnalyzerKind::English,
        weight,
        b: DEFAULT_B,
    });
    Manifest {
        format_version: FORMAT_VERSION,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        created: "2026-01-01T00:00:00Z".to_owned(),
        parent: None,
        inputs: None,
        item_count: items.len() as u64,
        modalities: modalities.collect(),
        fields: fields(),
        keyword: KeywordManifest {
            k1: DEFAULT_K1,
            matching: DEFAULT_MATCHING,
            proximity: DEFAULT_PROXIMITY,
            analysis: AnalysisVersion::default(),
            languages: None,
            fields: searched.to_vec(),
        },
        vector: Some(VectorManifest {
            embedding_fusion: EmbeddingFusionKind::default(),
            dimension: DIMENSION * MODALITIES.len(),
            scalar: Scalar::F16,
            connectivity: DEFAULT_CONNECTIVITY,
            expansion_add: DEFAULT_EXPANSION_ADD,
            expansion_search: DEFAULT_EXPANSION_SEARCH,
            vector_count: 0,
        }),
        rank_fusion: RankFusionManifest {
            method: schemas::manifest::RankFusionMethod::default(),
            keyword_first: DEFAULT_KEYWORD_FIRST,
            alpha: DEFAULT_ALPHA,
            reciprocal_rank_constant: DEFAULT_RECIPROCAL_RANK_CONSTANT,
            depth: DEPTH,
            query_alpha: schemas::ranking::QueryAlpha::default(),
        },
        gates: std::collections::BTreeMap::new(),
        overruled: None,
        files: std::collections::BTreeMap::new(),
    }
}

/// A tower of a checkpoint that does not exist.
fn encoder(modality: Modality) -> EncoderSpec {
    EncoderSpec {
        name: "made-up".to_owned(),
        architecture: if modality.is_text() { Architecture::ClipText } else { Architecture::ClipImage },
        checkpoint: "0000000000000000".to_owned(),
        weights: "0".repeat(64),
        preprocessing: "0".repeat(64),
        pooling: Pooling::EndOfSequence,
        dimension: DIMENSION,
        dtype: Dtype::F32,
    }
}

/// Lists every file below `folder` with size and checksum.
fn list_files(snapshot: &Path, folder: &Path, manifest: &mut Manifest) -> Result<(), SearchError> {
    let io = |source| SchemaError::Io { path: folder.to_owned(), source };
    for entry in fs_err::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let path = entry.path();
        let metadata = entry.metadata().map_err(io)?;
        if metadata.is_dir() {
            list_files(snapshot, &path, manifest)?;
        } else if let Some(name) = path.strip_prefix(snapshot).ok().and_then(Path::to_str) {
            manifest.files.insert(name.to_owned(), checksum_file(&path)?);
        }
    }
    Ok(())
}

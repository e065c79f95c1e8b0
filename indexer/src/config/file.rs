//! The keys as they are written in TOML, and the step from them to [`IndexConfig`]. Owns spelling and optionality;
//! the meaning is in `config.rs`. Invariant: an unknown key is an error.

use super::vector::VectorSection;
use super::*;
use rank_fusion::RankFusionSection;

mod rank_fusion;
mod ranking;

/// The whole file.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigFile {
    ranking: Option<PathBuf>,
    #[serde(default)]
    store: StoreSection,
    catalog: CatalogSection,
    #[serde(default)]
    encoders: BTreeMap<String, EncoderSection>,
    #[serde(default)]
    encode: EncodeSection,
    #[serde(default)]
    embedding_fusion: EmbeddingFusionSection,
    #[serde(default)]
    keyword: KeywordSection,
    #[serde(default)]
    vector: VectorSection,
    #[serde(default)]
    rank_fusion: RankFusionSection,
    #[serde(default)]
    gates: GatesSection,
    #[serde(default)]
    metrics: MetricsSection,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreSection {
    path: Option<PathBuf>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogSection {
    path: Option<PathBuf>,
    format: Option<CatalogFormat>,
    id: Option<String>,
    title: Option<String>,
    description: Option<String>,
    image: Option<String>,
    language: Option<String>,
    list_separator: Option<char>,
    #[serde(default)]
    fields: BTreeMap<String, FieldSection>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldSection {
    r#type: FieldType,
    column: Option<String>,
    #[serde(default)]
    searched: bool,
    weight: Option<f32>,
    b: Option<f32>,
    analyzer: Option<AnalyzerKind>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct EncoderSection {
    model: Option<PathBuf>,
    hub: Option<String>,
    revision: Option<String>,
    #[serde(default)]
    dtype: Dtype,
    weight: Option<f32>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct EncodeSection {
    device: Option<String>,
    partitions: Option<u32>,
    part_rows: Option<usize>,
    image_batch: Option<usize>,
    max_image_bytes: Option<u64>,
    max_image_pixels: Option<u64>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct EmbeddingFusionSection {
    #[serde(default)]
    kind: EmbeddingFusionKind,
    model: Option<PathBuf>,
}

impl EmbeddingFusionSection {
    /// The trained model's file; there when the kind is `learned` and at no other time.
    fn model(self, folder: &Path) -> Result<Option<PathBuf>, IndexError> {
        match (self.kind, self.model) {
            (EmbeddingFusionKind::Learned, Some(path)) => Ok(Some(folder.join(path))),
            (EmbeddingFusionKind::Learned, None) => {
                Err(value("embedding_fusion.model", "missing; `learned` needs a file that `indexer learn` has written"))
            }
            (EmbeddingFusionKind::WeightedBlocks | EmbeddingFusionKind::WeightedMean, None) => Ok(None),
            (EmbeddingFusionKind::WeightedBlocks | EmbeddingFusionKind::WeightedMean, Some(_)) => {
                Err(value("embedding_fusion.model", "only `embedding_fusion.kind = \"learned\"` takes a model"))
            }
        }
    }
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct KeywordSection {
    k1: Option<f32>,
    matching: Option<Matching>,
    proximity: Option<f32>,
    analyzer: Option<AnalyzerKind>,
    #[serde(default)]
    languages: BTreeMap<String, AnalyzerKind>,
    #[serde(default)]
    title: KeywordTextSection,
    #[serde(default)]
    description: KeywordTextSection,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct KeywordTextSection {
    weight: Option<f32>,
    b: Option<f32>,
    analyzer: Option<AnalyzerKind>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct MetricsSection {
    path: Option<PathBuf>,
}

/// Puts `value` at the dotted `key`.
pub(super) fn set_key(table: &mut toml::Table, key: &str, value: &str) -> Result<(), IndexError> {
    let fail = |reason: &str| IndexError::ConfigValue { key: key.to_owned(), reason: reason.to_owned() };
    // A value that is no TOML value is meant as a string: `--set encode.device=cpu`.
    let parsed = toml::from_str::<toml::Table>(&format!("value = {value}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let mut path: Vec<&str> = key.split('.').collect();
    let last = path.pop().filter(|last| !last.is_empty()).ok_or_else(|| fail("an empty key"))?;
    let mut section = table;
    for name in path {
        let entry = section.entry(name).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        section = entry.as_table_mut().ok_or_else(|| fail("leads through a key that is no section"))?;
    }
    section.insert(last.to_owned(), parsed);
    Ok(())
}

impl ConfigFile {
    pub(super) fn resolve(mut self, folder: &Path, overrides: &Overrides) -> Result<IndexConfig, IndexError> {
        if let Some(path) = self.ranking.take() {
            ranking::fill(&mut self, &folder.join(path))?;
        }
        let store = match (&overrides.store, &self.store.path) {
            (Some(flag), _) => flag.clone(),
            (None, Some(path)) => folder.join(path),
            (None, None) => return Err(value("store.path", "missing; set it, or give `--store DIR`")),
        };
        let (catalog, keyword) = catalog(self.catalog, &self.keyword, folder, overrides)?;
        Ok(IndexConfig {
            store,
            catalog,
            keyword,
            encoders: encoders(&self.encoders, folder)?,
            encode: encode(&self.encode)?,
            embedding_fusion: self.embedding_fusion.kind,
            embedding_fusion_model: self.embedding_fusion.model(folder)?,
            graph: self.vector.resolve()?,
            rank_fusion: self.rank_fusion.resolve()?,
            gates: self.gates.resolve(folder)?,
            metrics: overrides.metrics.clone().or_else(|| self.metrics.path.map(|path| folder.join(path))),
        })
    }
}

fn catalog(
    section: CatalogSection,
    keyword: &KeywordSection,
    folder: &Path,
    overrides: &Overrides,
) -> Result<(CatalogConfig, KeywordManifest), IndexError> {
    let path = match (&overrides.catalog, &section.path) {
        (Some(flag), _) => flag.clone(),
        (None, Some(path)) => folder.join(path),
        (None, None) => return Err(value("catalog.path", "missing; set it, or give `--catalog PATH`")),
    };
    let default_analyzer = keyword.analyzer.unwrap_or_default();
    let text_field = |text: &KeywordTextSection, default: KeywordFieldManifest| {
        let key = format!("keyword.{}", default.name);
        let analyzer = text.analyzer.unwrap_or(default.analyzer);
        keyword_field(
            &key,
            KeywordFieldManifest {
                weight: text.weight.unwrap_or(default.weight),
                b: text.b.unwrap_or(default.b),
                analyzer,
                ..default
            },
        )
    };
    let title = KeywordFieldManifest {
        name: "title".to_owned(),
        analyzer: default_analyzer,
        weight: keyword::DEFAULT_TITLE_WEIGHT,
        b: keyword::DEFAULT_B,
    };
    let description = KeywordFieldManifest {
        name: "description".to_owned(),
        analyzer: default_analyzer,
        weight: keyword::DEFAULT_DESCRIPTION_WEIGHT,
        b: keyword::DEFAULT_B,
    };
    let mut searched = vec![text_field(&keyword.title, title)?, text_field(&keyword.description, description)?];
    let mut fields = Vec::new();
    for (name, field) in section.fields {
        let key = format!("catalog.fields.{name}");
        if languages::is_taken(&name) {
            return Err(value(&key, "this name is taken; choose another and map it with `column`"));
        }
        if field.searched {
            if !matches!(field.r#type, FieldType::String | FieldType::Strings | FieldType::Category) {
                return Err(value(&key, "only fields of type string, strings or category can be `searched`"));
            }
            searched.push(keyword_field(
                &key,
                KeywordFieldManifest {
                    name: name.clone(),
                    analyzer: field.analyzer.unwrap_or(default_analyzer),
                    weight: field.weight.unwrap_or(keyword::DEFAULT_FIELD_WEIGHT),
                    b: field.b.unwrap_or(keyword::DEFAULT_B),
                },
            )?);
        } else if field.weight.is_some() || field.b.is_some() || field.analyzer.is_some() {
            return Err(value(&key, "`weight`, `b` and `analyzer` need `searched = true`"));
        }
        let column = field.column.unwrap_or_else(|| name.clone());
        let spec = FieldSpec { name, r#type: field.r#type, searched: field.searched };
        fields.push(CatalogField { column, spec });
    }
    let languages = languages::resolve(section.language, &keyword.languages, &mut fields)?;
    let k1 = keyword.k1.unwrap_or(keyword::DEFAULT_K1);
    if !(0.0..=10.0).contains(&k1) {
        return Err(value("keyword.k1", "must be between 0 and 10"));
    }
    let config = CatalogConfig {
        path,
        format: section.format,
        id_column: section.id.unwrap_or_else(|| "id".to_owned()),
        title_column: section.title.unwrap_or_else(|| "title".to_owned()),
        description_column: column(section.description, "description"),
        image_column: column(section.image, "image"),
        fields,
        list_separator: section.list_separator.unwrap_or(DEFAULT_LIST_SEPARATOR),
    };
    let proximity = keyword.proximity.unwrap_or(keyword::DEFAULT_PROXIMITY);
    if !(0.0..=10.0).contains(&proximity) {
        return Err(value("keyword.proximity", "must be between 0 and 10"));
    }
    let matching = keyword.matching.unwrap_or(keyword::DEFAULT_MATCHING);
    let analysis = AnalysisVersion::default();
    Ok((config, KeywordManifest { k1, matching, proximity, analysis, languages, fields: searched }))
}

/// A column that may be switched off with an empty name.
fn column(name: Option<String>, default: &str) -> Option<String> {
    match name {
        Some(name) if name.is_empty() => None,
        Some(name) => Some(name),
        None => Some(default.to_owned()),
    }
}

/// The field's settings, once they are in range.
fn keyword_field(key: &str, field: KeywordFieldManifest) -> Result<KeywordFieldManifest, IndexError> {
    if !(field.weight.is_finite() && field.weight > 0.0) {
        return Err(value(&format!("{key}.weight"), "must be above 0"));
    }
    if !(0.0..=1.0).contains(&field.b) {
        return Err(value(&format!("{key}.b"), "must be between 0 and 1"));
    }
    Ok(field)
}

fn encoders(sections: &BTreeMap<String, EncoderSection>, folder: &Path) -> Result<Vec<EncoderConfig>, IndexError> {
    if let Some(name) = sections.keys().find(|name| Modality::from_name(name).is_none()) {
        return Err(value(&format!("encoders.{name}"), "no such modality; there are title, description and image"));
    }
    let mut encoders = Vec::new();
    for modality in Modality::ALL {
        let Some(section) = sections.get(modality.name()) else { continue };
        let key = format!("encoders.{modality}");
        let source = match (&section.model, &section.hub) {
            (Some(path), None) => CheckpointSource::Folder(folder.join(path)),
            (None, Some(id)) => CheckpointSource::Hub {
                id: id.clone(),
                revision: section.revision.clone().unwrap_or_else(|| DEFAULT_REVISION.to_owned()),
            },
            (Some(_), Some(_)) | (None, None) => {
                return Err(value(&key, "give either `model` (a folder) or `hub` (a model id)"));
            }
        };
        if section.model.is_some() && section.revision.is_some() {
            return Err(value(&format!("{key}.revision"), "only a `hub` model has one"));
        }
        let weight = section.weight.unwrap_or(1.0);
        if !(weight.is_finite() && weight > 0.0) {
            return Err(value(&format!("{key}.weight"), "must be above 0"));
        }
        encoders.push(EncoderConfig { modality, source, dtype: section.dtype, weight });
    }
    let sum: f32 = encoders.iter().map(|encoder| encoder.weight).sum();
    encoders.iter_mut().for_each(|encoder| encoder.weight /= sum);
    Ok(encoders)
}

fn encode(section: &EncodeSection) -> Result<EncodeConfig, IndexError> {
    let device = match &section.device {
        Some(name) => name.parse().map_err(|reason| value("encode.device", &format!("{reason}")))?,
        None => DeviceChoice::default(),
    };
    let limits = ImageLimits::default();
    Ok(EncodeConfig {
        device,
        partitions: at_least("encode.partitions", section.partitions.unwrap_or(DEFAULT_PARTITIONS), 1)?,
        part_rows: at_least("encode.part_rows", section.part_rows.unwrap_or(DEFAULT_PART_ROWS), 1)?,
        image_batch: at_least("encode.image_batch", section.image_batch.unwrap_or(DEFAULT_IMAGE_BATCH), 1)?,
        image_limits: ImageLimits {
            max_bytes: section.max_image_bytes.unwrap_or(limits.max_bytes),
            max_pixels: section.max_image_pixels.unwrap_or(limits.max_pixels),
        },
    })
}

pub(super) fn at_least<N: PartialOrd + std::fmt::Display + Copy>(
    key: &str,
    number: N,
    least: N,
) -> Result<N, IndexError> {
    if number >= least { Ok(number) } else { Err(value(key, &format!("must be at least {least}"))) }
}

pub(super) fn value(key: &str, reason: &str) -> IndexError {
    IndexError::ConfigValue { key: key.to_owned(), reason: reason.to_owned() }
}

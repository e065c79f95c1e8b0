//! Ranking settings: what a search team tunes, as one TOML file that `searcher tune` writes and that the configuration and
//! the searcher take. Owns the keys, their ranges, reading and writing; not what they do to a ranking. Invariants: every
//! key is optional and what is absent keeps the snapshot's value; a file that was read holds only finite numbers in their
//! ranges; what was written reads back equal.
//!
//! ```toml
//! [keyword]
//! k1 = 1.2
//! matching = "any"                 # any | all | a share of the query's words, such as "75%"
//! proximity = 0.2
//! fields.title = { weight = 2.0, b = 0.5 }
//!
//! [rank_fusion]
//! method = "convex"
//! alpha = 0.4
//! query_alpha.words = { weight = 0.3, middle = 0.5 }
//!
//! [modality_weights]
//! title = 0.7
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::durable::write_durably;
use crate::error::SchemaError;
use crate::manifest::{KeywordManifest, RankFusionManifest, RankFusionMethod};
use crate::modality::Modality;

mod query_alpha;

pub use query_alpha::{FeatureWeight, MAX_FEATURE_WEIGHT, QueryAlpha, QueryAlphaPart, QueryFeature};

/// What takes the place of a snapshot's defaults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RankingSettings {
    /// BM25F and the policy of matching.
    #[serde(skip_serializing_if = "is_default")]
    pub keyword: KeywordSettings,
    /// How both retrievers' scores become one.
    #[serde(skip_serializing_if = "is_default")]
    pub rank_fusion: RankFusionSettings,
    /// Weight of modalities in the vector score; at least 0.
    #[serde(skip_serializing_if = "is_default")]
    pub modality_weights: BTreeMap<Modality, f32>,
}

/// Settings of keyword search.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeywordSettings {
    /// Saturation of a term's frequency, 0 to 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub k1: Option<f32>,
    /// How many words of a query an item must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matching: Option<Matching>,
    /// Weight of words that stand close together, 0 (none) to 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proximity: Option<f32>,
    /// Searched fields by name.
    #[serde(skip_serializing_if = "is_default")]
    pub fields: BTreeMap<String, FieldSettings>,
}

/// Settings of one searched field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FieldSettings {
    /// Weight inside BM25F's saturation; 0 leaves the field out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f32>,
    /// Length normalisation, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b: Option<f32>,
}

/// Settings of rank fusion.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RankFusionSettings {
    /// Method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<RankFusionMethod>,
    /// Share of the vector score, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f32>,
    /// The constant of reciprocal rank fusion, at least 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reciprocal_rank_constant: Option<f32>,
    /// Candidates from each retriever, at least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<usize>,
    /// So many of the keyword retriever's best stand before all others, in the order of the combined scores; for
    /// queries of texts alone. 0: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keyword_first: Option<usize>,
    /// What moves alpha from query to query; without a feature every query has the same alpha.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_alpha: Option<QueryAlpha>,
}

/// How many words of a query an item must have to be found by keyword search. Written `any`, `all` or as a share: `75%`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Matching {
    /// At least one.
    #[default]
    Any,
    /// Every word that the index knows.
    All,
    /// This share of them in percent, 1 to 99, rounded down, at least one (Lucene's minimum should match).
    Share(u8),
}

impl Matching {
    /// Words that an item must have, of a query of so many; at least 1.
    #[must_use]
    pub fn required(self, words: usize) -> usize {
        match self {
            Matching::Any => 1,
            Matching::All => words.max(1),
            Matching::Share(percent) => (words * usize::from(percent) / 100).max(1),
        }
    }
}

impl std::fmt::Display for Matching {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Matching::Any => formatter.write_str("any"),
            Matching::All => formatter.write_str("all"),
            Matching::Share(percent) => write!(formatter, "{percent}%"),
        }
    }
}

impl FromStr for Matching {
    type Err = String;

    fn from_str(text: &str) -> Result<Matching, String> {
        match text {
            "any" => Ok(Matching::Any),
            "all" => Ok(Matching::All),
            share => (share.strip_suffix('%').and_then(|share| share.parse().ok()))
                .filter(|percent| (1..=99).contains(percent))
                .map(Matching::Share)
                .ok_or_else(|| format!("`{share}` is not `any`, `all` or a share from `1%` to `99%`")),
        }
    }
}

impl TryFrom<String> for Matching {
    type Error = String;

    fn try_from(text: String) -> Result<Matching, String> {
        text.parse()
    }
}

impl From<Matching> for String {
    fn from(matching: Matching) -> String {
        matching.to_string()
    }
}

impl RankingSettings {
    /// Reads a settings file.
    ///
    /// # Errors
    /// When the file is missing, is not TOML, has an unknown key, or a value out of its range; the message names the key.
    pub fn read(path: &Path) -> Result<RankingSettings, SchemaError> {
        let text = fs_err::read_to_string(path).map_err(SchemaError::io(path))?;
        let settings: RankingSettings = toml::from_str(&text)
            .map_err(|source| SchemaError::Toml { path: path.to_owned(), source: Box::new(source) })?;
        settings.check().map_err(|reason| SchemaError::invalid(path, reason))?;
        Ok(settings)
    }

    /// Writes a settings file, durably; `comment` stands above it, line by line.
    ///
    /// # Errors
    /// When a value is out of its range, or writing fails.
    pub fn write(&self, path: &Path, comment: &str) -> Result<(), SchemaError> {
        self.check().map_err(|reason| SchemaError::invalid(path, reason))?;
        let body = self.to_toml().map_err(|reason| SchemaError::invalid(path, reason))?;
        let comment: String = comment.lines().map(|line| format!("# {line}\n")).collect();
        write_durably(path, format!("{comment}{body}").as_bytes())
    }

    /// The settings as they are written.
    ///
    /// # Errors
    /// When a key has no form in TOML, which no key that was read has.
    pub fn to_toml(&self) -> Result<String, String> {
        toml::to_string(self).map_err(|error| error.to_string())
    }

    /// Whether every value is in its range; the text names the key that is not.
    ///
    /// # Errors
    /// When one is not.
    pub fn check(&self) -> Result<(), String> {
        let in_range = |key: &str, value: Option<f32>, least: f32, most: f32| match value {
            Some(value) if !(least..=most).contains(&value) => {
                Err(format!("`{key}` is {value}, it must be between {least} and {most}"))
            }
            Some(_) | None => Ok(()),
        };
        in_range("keyword.k1", self.keyword.k1, 0.0, 10.0)?;
        in_range("keyword.proximity", self.keyword.proximity, 0.0, 10.0)?;
        for (name, field) in &self.keyword.fields {
            in_range(&format!("keyword.fields.{name}.weight"), field.weight, 0.0, f32::MAX)?;
            in_range(&format!("keyword.fields.{name}.b"), field.b, 0.0, 1.0)?;
        }
        in_range("rank_fusion.alpha", self.rank_fusion.alpha, 0.0, 1.0)?;
        let constant = self.rank_fusion.reciprocal_rank_constant;
        in_range("rank_fusion.reciprocal_rank_constant", constant, 0.0, f32::MAX)?;
        if self.rank_fusion.depth == Some(0) {
            return Err("`rank_fusion.depth` is 0, it must be at least 1".to_owned());
        }
        if let Some(query_alpha) = &self.rank_fusion.query_alpha {
            query_alpha.check("rank_fusion.query_alpha")?;
        }
        for (modality, weight) in &self.modality_weights {
            in_range(&format!("modality_weights.{modality}"), Some(*weight), 0.0, f32::MAX)?;
        }
        Ok(())
    }
}

impl KeywordSettings {
    /// The manifest's settings with these in their place.
    ///
    /// # Errors
    /// When a field is named that is not searched; the text names those that are.
    pub fn applied_to(&self, manifest: &KeywordManifest) -> Result<KeywordManifest, String> {
        let KeywordSettings { k1, matching, proximity, fields } = self;
        let mut applied = manifest.clone();
        applied.k1 = k1.unwrap_or(applied.k1);
        applied.matching = matching.unwrap_or(applied.matching);
        applied.proximity = proximity.unwrap_or(applied.proximity);
        for (name, settings) in fields {
            let Some(field) = applied.fields.iter_mut().find(|field| field.name == *name) else {
                let known: Vec<&str> = manifest.fields.iter().map(|field| field.name.as_str()).collect();
                return Err(format!("field `{name}` is not searched in this snapshot; searched: {}", known.join(", ")));
            };
            field.weight = settings.weight.unwrap_or(field.weight);
            field.b = settings.b.unwrap_or(field.b);
        }
        Ok(applied)
    }
}

impl RankFusionSettings {
    /// The manifest's settings with these in their place.
    #[must_use]
    pub fn applied_to(&self, manifest: &RankFusionManifest) -> RankFusionManifest {
        RankFusionManifest {
            method: self.method.unwrap_or(manifest.method),
            alpha: self.alpha.unwrap_or(manifest.alpha),
            reciprocal_rank_constant: self.reciprocal_rank_constant.unwrap_or(manifest.reciprocal_rank_constant),
            depth: self.depth.unwrap_or(manifest.depth),
            keyword_first: self.keyword_first.unwrap_or(manifest.keyword_first),
            query_alpha: self.query_alpha.as_ref().unwrap_or(&manifest.query_alpha).clone(),
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query_alpha() -> QueryAlpha {
        let feature = FeatureWeight { weight: -0.8, middle: 0.25 };
        QueryAlpha { features: [(QueryFeature::MeanRarity, feature)].into() }
    }

    fn settings() -> RankingSettings {
        let field = FieldSettings { weight: Some(2.0), b: Some(0.5) };
        RankingSettings {
            keyword: KeywordSettings {
                matching: Some(Matching::Share(75)),
                fields: [("title".to_owned(), field)].into(),
                ..KeywordSettings::default()
            },
            rank_fusion: RankFusionSettings {
                alpha: Some(0.4),
                query_alpha: Some(query_alpha()),
                ..RankFusionSettings::default()
            },
            modality_weights: [(Modality::Title, 0.7)].into(),
        }
    }

    #[test]
    fn what_is_written_reads_back() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("ranking.toml");
        let same_alpha =
            RankFusionSettings { query_alpha: Some(QueryAlpha::default()), ..RankFusionSettings::default() };
        let same_alpha = RankingSettings { rank_fusion: same_alpha, ..RankingSettings::default() };
        for settings in [settings(), RankingSettings::default(), same_alpha] {
            settings.write(&path, "found by\nnobody")?;
            assert!(fs_err::read_to_string(&path)?.starts_with("# found by\n# nobody\n"));
            assert_eq!(RankingSettings::read(&path)?, settings);
        }
        Ok(())
    }

    #[test]
    fn unknown_keys_and_wild_values_are_named() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("ranking.toml");
        for (text, named) in [
            ("[keyword]\nk2 = 1", "k2"),
            ("[keyword]\nk1 = nan", "keyword.k1"),
            ("[keyword]\nmatching = \"most\"", "most"),
            ("[rank_fusion]\nalpha = 2", "rank_fusion.alpha"),
            ("[rank_fusion]\ndepth = 0", "rank_fusion.depth"),
            ("[rank_fusion.query_alpha]\nlength = { weight = 1, middle = 0 }", "length"),
            ("[rank_fusion.query_alpha]\nwords = { weight = nan, middle = 0 }", "rank_fusion.query_alpha.words.weight"),
            ("[rank_fusion.query_alpha]\nwords = { weight = 1, middle = 2 }", "rank_fusion.query_alpha.words.middle"),
            ("[rank_fusion.query_alpha]\nwords = { weight = 1 }", "middle"),
            ("[keyword.fields.title]\nb = -1", "keyword.fields.title.b"),
            ("[modality_weights]\ntitle = -1", "modality_weights.title"),
            ("[modality_weights]\nvideo = 1", "video"),
        ] {
            fs_err::write(&path, text)?;
            let error = RankingSettings::read(&path).expect_err(text);
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            assert!(format!("{error} {source}").contains(named), "{error} {source}");
        }
        Ok(())
    }

    #[test]
    fn words_required() {
        let required = |matching: Matching| [1, 2, 4, 5].map(|words| matching.required(words));
        assert_eq!(required(Matching::Any), [1, 1, 1, 1]);
        assert_eq!(required(Matching::All), [1, 2, 4, 5]);
        assert_eq!(required(Matching::Share(75)), [1, 1, 3, 3]);
        for text in ["any", "all", "75%"] {
            assert_eq!(text.parse::<Matching>().map(|matching| matching.to_string()), Ok(text.to_owned()));
        }
        for wrong in ["", "0%", "100%", "some", "75"] {
            wrong.parse::<Matching>().expect_err(wrong);
        }
    }
}

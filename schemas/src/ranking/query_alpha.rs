//! An alpha that depends on the query: features of the query move it. Owns the features' names, the weights and their
//! ranges, and the formula; not how a feature is measured, which is the searcher's. Invariants: what was checked holds only
//! finite numbers in their ranges; without weights alpha stays as it is; the parts and the base add up to alpha, unless that
//! would leave 0 to 1.
//!
//! ```text
//! alpha(query) = clamp(alpha + Σ weight · (value of the feature − middle), 0, 1)
//! ```
//!
//! Every feature is between 0 and 1. `middle` is the value at which the feature moves nothing, so that alpha itself stays
//! what a query with all features in the middle gets.
//!
//! ```toml
//! [rank_fusion]
//! alpha = 0.5
//!
//! [rank_fusion.query_alpha]
//! mean_rarity = { weight = -0.8, middle = 0.4 }    # rare words: more of the keyword score
//! words = { weight = 0.3, middle = 0.5 }           # long queries: more of the vector score
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The largest weight of a feature, on either side of 0. Features that differ by hundredths need a large one.
pub const MAX_FEATURE_WEIGHT: f32 = 100.0;

/// A feature of a query, from 0 to 1. Words are the distinct ones of the query's texts, as keyword search reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueryFeature {
    /// How many words there are: `1 − 1/words`, so 0 for one, ½ for two, ¾ for four.
    Words,
    /// Share of the words that have a digit.
    Digits,
    /// Share of the words that no item has, neither as they were asked for nor in another spelling nor as a synonym.
    UnknownWords,
    /// Mean of the rarities of the words that items have. A word's rarity is its inverse document frequency (`idf` of BM25F)
    /// divided by that of a word that one item has. 0 where items have none of the words.
    MeanRarity,
    /// The least of these rarities: how common the commonest word is.
    LeastRarity,
    /// How far the keyword score falls over the first ten candidates in its order: `(highest − tenth) / (highest − lowest)`
    /// over all candidates. 0 where all are equal; where there are fewer than ten candidates the last takes the tenth's place.
    KeywordSpread,
    /// The same of the vector score.
    VectorSpread,
}

impl QueryFeature {
    /// All features, in the order in which they are listed.
    pub const ALL: [QueryFeature; 7] = [
        QueryFeature::Words,
        QueryFeature::Digits,
        QueryFeature::UnknownWords,
        QueryFeature::MeanRarity,
        QueryFeature::LeastRarity,
        QueryFeature::KeywordSpread,
        QueryFeature::VectorSpread,
    ];

    /// The name in files, output and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            QueryFeature::Words => "words",
            QueryFeature::Digits => "digits",
            QueryFeature::UnknownWords => "unknown_words",
            QueryFeature::MeanRarity => "mean_rarity",
            QueryFeature::LeastRarity => "least_rarity",
            QueryFeature::KeywordSpread => "keyword_spread",
            QueryFeature::VectorSpread => "vector_spread",
        }
    }
}

impl std::fmt::Display for QueryFeature {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

/// How far a feature moves alpha.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureWeight {
    /// What alpha gains when the feature goes from 0 to 1; negative for a loss. Within ± [`MAX_FEATURE_WEIGHT`].
    pub weight: f32,
    /// The feature's value, 0 to 1, at which it moves nothing.
    pub middle: f32,
}

/// The features that move alpha. Default: none, so that every query has the same alpha.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QueryAlpha {
    /// By feature; the others move nothing.
    pub features: BTreeMap<QueryFeature, FeatureWeight>,
}

/// What one feature of a query did to its alpha.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct QueryAlphaPart {
    /// Which.
    pub feature: QueryFeature,
    /// Its value for the query, 0 to 1.
    pub value: f32,
    /// The value at which it moves nothing.
    pub middle: f32,
    /// Its weight.
    pub weight: f32,
    /// What it adds to alpha: `weight · (value − middle)`.
    pub part: f32,
}

impl QueryAlpha {
    /// Whether every query has the same alpha.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.features.is_empty()
    }

    /// The alpha of a query around `base`, and what each feature added; `value` measures a feature of the query.
    #[must_use]
    pub fn of(&self, base: f32, value: impl Fn(QueryFeature) -> f32) -> (f32, Vec<QueryAlphaPart>) {
        let part = |(feature, FeatureWeight { weight, middle }): (&QueryFeature, &FeatureWeight)| {
            let value = value(*feature);
            QueryAlphaPart {
                feature: *feature,
                value,
                middle: *middle,
                weight: *weight,
                part: weight * (value - middle),
            }
        };
        let parts: Vec<QueryAlphaPart> = self.features.iter().map(part).collect();
        let moved = parts.iter().fold(f64::from(base), |sum, part| sum + f64::from(part.part));
        (moved.clamp(0.0, 1.0) as f32, parts)
    }

    /// Whether every number is in its range; the text names the key below `key` that is not.
    ///
    /// # Errors
    /// When one is not.
    pub fn check(&self, key: &str) -> Result<(), String> {
        for (feature, FeatureWeight { weight, middle }) in &self.features {
            // Written so that NaN is outside.
            if !(-MAX_FEATURE_WEIGHT..=MAX_FEATURE_WEIGHT).contains(weight) {
                return Err(format!(
                    "`{key}.{feature}.weight` is {weight}, it must be between -{MAX_FEATURE_WEIGHT} and {MAX_FEATURE_WEIGHT}"
                ));
            }
            if !(0.0..=1.0).contains(middle) {
                return Err(format!("`{key}.{feature}.middle` is {middle}, it must be between 0 and 1"));
            }
        }
        Ok(())
    }

    /// The numbers that alpha is computed with.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = f32> {
        self.features.values().flat_map(|FeatureWeight { weight, middle }| [*weight, *middle])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formula(features: &[(QueryFeature, f32, f32)]) -> QueryAlpha {
        let features = features
            .iter()
            .map(|(feature, weight, middle)| (*feature, FeatureWeight { weight: *weight, middle: *middle }));
        QueryAlpha { features: features.collect() }
    }

    #[test]
    fn features_move_alpha_around_their_middles() {
        let value = |feature| match feature {
            QueryFeature::Words => 0.75,
            QueryFeature::Digits => 1.0,
            QueryFeature::UnknownWords
            | QueryFeature::MeanRarity
            | QueryFeature::LeastRarity
            | QueryFeature::KeywordSpread
            | QueryFeature::VectorSpread => 0.0,
        };
        let (alpha, parts) =
            formula(&[(QueryFeature::Digits, -0.5, 0.2), (QueryFeature::Words, 0.4, 0.5)]).of(0.6, value);
        // 0.6 + 0.4·(0.75 − 0.5) − 0.5·(1 − 0.2)
        assert!((alpha - 0.3).abs() < 1e-6, "{alpha}");
        let parts: Vec<(QueryFeature, f32)> = parts.iter().map(|part| (part.feature, part.part)).collect();
        assert_eq!(
            parts.iter().map(|(feature, _)| *feature).collect::<Vec<_>>(),
            [QueryFeature::Words, QueryFeature::Digits]
        );
        assert!((parts.iter().map(|(_, part)| part).sum::<f32>() + 0.6 - alpha).abs() < 1e-6);
        assert_eq!(formula(&[(QueryFeature::Digits, -9.0, 0.2)]).of(0.6, value).0, 0.0);
        assert_eq!(formula(&[(QueryFeature::Digits, 9.0, 0.2)]).of(0.6, value).0, 1.0);
        assert_eq!(QueryAlpha::default().of(0.6, value), (0.6, Vec::new()));
    }

    #[test]
    fn names_are_those_of_files() -> Result<(), serde_json::Error> {
        for feature in QueryFeature::ALL {
            assert_eq!(serde_json::to_string(&feature)?, format!("\"{feature}\""));
        }
        Ok(())
    }
}

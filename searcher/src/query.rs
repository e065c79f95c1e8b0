//! What is asked. Owns the query, its defaults and the checks that need no snapshot; not how it is answered.
//! Invariant: a query says everything that decides scores; `limit` and `offset` only choose which hits of the one
//! ranked list are shown.

use std::path::PathBuf;
use std::sync::Arc;

use schemas::RankingSettings;
use schemas::manifest::RankFusionMethod;

use crate::error::SearchError;
use crate::facets::DEFAULT_FACET_VALUES;
use crate::keyword::Synonyms;
use crate::near_duplicates::DEFAULT_NEAR_DUPLICATE_COSINE;
use crate::recommend::ProfilePart;
use crate::sort::SortKey;

/// Hits shown when no number is asked for.
pub const DEFAULT_LIMIT: usize = 10;
/// Weight of a query part that is given without one.
pub const DEFAULT_PART_WEIGHT: f32 = 1.0;
/// How much of a text that hits should not be like is taken from the query's embedding, when no weight is given. Among the
/// first ten of the fixture for "mug" and five other kinds without one of four colours, 0.8% have that colour with 0.5, 4%
/// with 0.25 and 10% without, and all are of the kind still.
pub const DEFAULT_NEGATIVE_TEXT_WEIGHT: f32 = 0.5;
/// As [`DEFAULT_NEGATIVE_TEXT_WEIGHT`], for an item that hits should not be like. Less, because an item to stay away from
/// mostly has much in common with the one to be near: with another item of one kind and colour taken away, 84% of the first
/// ten are of the kind still with 0.25, 71% with 0.5 and 14% with 1 (90% with nothing taken away). Also Rocchio's usual γ.
pub const DEFAULT_NEGATIVE_ITEM_WEIGHT: f32 = 0.25;

/// Which retrievers take part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Keyword retriever only; never loads a model.
    Keyword,
    /// Vector retriever only.
    Vector,
    /// Both, joined by rank fusion. A retriever that the query gives nothing to look for is left out: a picture alone
    /// is answered by vectors alone, and a snapshot without embeddings by keywords alone.
    #[default]
    Hybrid,
}

impl Mode {
    /// All modes, in the order in which they are listed.
    pub const ALL: [Mode; 3] = [Mode::Keyword, Mode::Vector, Mode::Hybrid];

    /// The name in options, output and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mode::Keyword => "keyword",
            Mode::Vector => "vector",
            Mode::Hybrid => "hybrid",
        }
    }

    /// Whether the keyword retriever takes part.
    #[must_use]
    pub fn uses_keyword(self) -> bool {
        match self {
            Mode::Keyword | Mode::Hybrid => true,
            Mode::Vector => false,
        }
    }

    /// Whether the vector retriever takes part.
    #[must_use]
    pub fn uses_vector(self) -> bool {
        match self {
            Mode::Vector | Mode::Hybrid => true,
            Mode::Keyword => false,
        }
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A text with its weight.
#[derive(Clone, Debug, PartialEq)]
pub struct TextPart {
    /// The text, with the syntax of [`crate::query_text`].
    pub text: String,
    /// Weight among the query's parts. A negative weight steers the query's embedding away from the text; keyword
    /// search takes no notice of such a part.
    pub weight: f32,
}

/// A picture with its weight.
#[derive(Clone, Debug, PartialEq)]
pub struct ImagePart {
    /// The picture's file.
    pub file: PathBuf,
    /// Weight among the query's parts; may be negative.
    pub weight: f32,
}

/// "Like this item", with its weight.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemPart {
    /// The item's id.
    pub id: String,
    /// Weight among the query's parts; may be negative.
    pub weight: f32,
}

/// A query. `None` takes the snapshot's default.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Texts.
    pub texts: Vec<TextPart>,
    /// Pictures.
    pub images: Vec<ImagePart>,
    /// Items to be similar to, or, with a negative weight, unlike; they are left out of the hits.
    pub like: Vec<ItemPart>,
    /// Retrievers.
    pub mode: Mode,
    /// Filter expression; see [`crate::filter`].
    pub filter: Option<String>,
    /// Rank fusion method.
    pub method: Option<RankFusionMethod>,
    /// Share of the vector score, 0 to 1. The snapshot's default is for texts alone; beside pictures and items the share
    /// of the keyword score shrinks with the texts' share of all weights. What is given here is not moved by features of the
    /// query ([`crate::rank_fusion::query_alpha`]).
    pub alpha: Option<f32>,
    /// Weights of modalities in the vector score, by modality; the others keep the snapshot's.
    pub modality_weights: Vec<(schemas::Modality, f32)>,
    /// Candidates from each retriever.
    pub depth: Option<usize>,
    /// Weight of being unlike the hits before, 0 (off, the default) to 1, against the score; see [`crate::diversity`].
    pub diversity: f32,
    /// A string, category or integer field of which each value gives one hit, the best ranked; items without a value stay.
    pub collapse: Option<String>,
    /// Order of the hits by stored values; equal ones in the order of the ranking. Empty: by the ranking.
    pub sort: Vec<SortKey>,
    /// Fields whose values are counted over all candidates, each once.
    pub facets: Vec<String>,
    /// Values shown of each facet. Default: [`DEFAULT_FACET_VALUES`].
    pub facet_values: usize,
    /// Cosine of image embeddings from which a hit is flagged as showing the picture of an earlier one, −1 to 1; `None` flags
    /// none. Default: [`DEFAULT_NEAR_DUPLICATE_COSINE`]. Costs at most
    /// [`NEAR_DUPLICATE_POOL`](crate::near_duplicates::NEAR_DUPLICATE_POOL) inner products a hit.
    pub near_duplicate_cosine: Option<f32>,
    /// Hits to show. Default: [`DEFAULT_LIMIT`].
    pub limit: usize,
    /// Hits to skip.
    pub offset: usize,
    /// What takes the place of the snapshot's defaults; what the fields above say comes first.
    pub settings: RankingSettings,
    /// Other words for those of the texts; keyword search only.
    pub synonyms: Option<Arc<Synonyms>>,
    /// A user's profile: re-ranks what the parts above find, or is looked for where there is none of them.
    pub profile: Option<ProfilePart>,
    /// Whether hits carry their explanation.
    pub explain: bool,
}

impl Default for Query {
    fn default() -> Self {
        Query {
            texts: Vec::new(),
            images: Vec::new(),
            like: Vec::new(),
            mode: Mode::default(),
            filter: None,
            method: None,
            alpha: None,
            modality_weights: Vec::new(),
            depth: None,
            diversity: 0.0,
            collapse: None,
            sort: Vec::new(),
            facets: Vec::new(),
            facet_values: DEFAULT_FACET_VALUES,
            near_duplicate_cosine: Some(DEFAULT_NEAR_DUPLICATE_COSINE),
            limit: DEFAULT_LIMIT,
            offset: 0,
            settings: RankingSettings::default(),
            synonyms: None,
            profile: None,
            explain: false,
        }
    }
}

impl Query {
    /// A query of one text with everything else at its default.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Query {
        Query { texts: vec![TextPart { text: text.into(), weight: DEFAULT_PART_WEIGHT }], ..Query::default() }
    }

    /// The texts that keyword search looks for: not blank, and with a positive weight.
    pub fn keyword_texts(&self) -> impl Iterator<Item = &TextPart> {
        self.texts.iter().filter(|part| part.weight > 0.0 && !part.text.trim().is_empty())
    }

    /// Whether the query has no part to look for, so that it lists every item that its filter lets pass. Such a query must
    /// filter, sort or count something.
    #[must_use]
    pub fn is_browse(&self) -> bool {
        self.profile.is_none() && self.part_weights().all(|weight| weight == 0.0)
    }

    /// Weights of all parts; a blank text is none.
    pub(crate) fn part_weights(&self) -> impl Iterator<Item = f32> {
        let texts = self.texts.iter().filter(|part| !part.text.trim().is_empty()).map(|part| part.weight);
        let images = self.images.iter().map(|part| part.weight);
        texts.chain(images).chain(self.like.iter().map(|part| part.weight))
    }

    /// The share of what is asked for that keyword search can see: the weights of its texts over the weights of all
    /// parts, without their signs; 1 when there are only such texts.
    #[must_use]
    pub fn keyword_share(&self) -> f32 {
        let absolute = |weight: f32| f64::from(weight.abs());
        let texts = self.keyword_texts().fold(0.0, |sum, part| sum + absolute(part.weight));
        let all = self.part_weights().fold(0.0, |sum, weight| sum + absolute(weight));
        if all > 0.0 { (texts / all) as f32 } else { 1.0 }
    }

    /// Checks what can be checked without a snapshot: numbers are finite and in range, and something is asked for
    /// that the mode can use.
    ///
    /// # Errors
    /// [`SearchError::Query`] that says what does not fit, and what to do.
    pub fn check(&self) -> Result<(), SearchError> {
        let refuse = |reason: String| Err(SearchError::Query { reason });
        let mut weights = (self.texts.iter().map(|part| part.weight))
            .chain(self.images.iter().map(|part| part.weight))
            .chain(self.like.iter().map(|part| part.weight));
        if let Some(weight) = weights.find(|weight| !weight.is_finite()) {
            return refuse(format!("weight {weight} of a query part is not a finite number"));
        }
        if let Some(alpha) = self.alpha
            && !(0.0..=1.0).contains(&alpha)
        {
            return refuse(format!("alpha is {alpha}, it must be between 0 and 1"));
        }
        if let Some((modality, weight)) =
            self.modality_weights.iter().find(|(_, weight)| !(0.0..f32::MAX).contains(weight))
        {
            return refuse(format!("weight {weight} of modality `{modality}` is not a finite number of at least 0"));
        }
        if let Err(reason) = self.settings.check() {
            return refuse(reason);
        }
        if self.depth == Some(0) {
            return refuse("depth is 0, it must be at least 1".to_owned());
        }
        if let Some(part) = &self.profile {
            part.check()?;
        }
        if !(0.0..=1.0).contains(&self.diversity) {
            return refuse(format!("diversity is {}, it must be between 0 and 1", self.diversity));
        }
        if let Some(cosine) = self.near_duplicate_cosine
            && !(-1.0..=1.0).contains(&cosine)
        {
            return refuse(format!("the cosine of near-duplicates is {cosine}, it must be between -1 and 1"));
        }
        if self.facet_values == 0 {
            return refuse("the number of values of a facet is 0, it must be at least 1".to_owned());
        }
        let again = |(place, name): &(usize, &String)| self.facets[..*place].contains(name);
        if let Some((_, name)) = self.facets.iter().enumerate().find(again) {
            return refuse(format!("facet `{name}` is asked for twice; name it once"));
        }
        if self.is_browse() {
            let lists = self.filter.is_some() || !self.sort.is_empty() || !self.facets.is_empty();
            return if lists {
                Ok(())
            } else {
                refuse(
                    "the query is empty; give a text, a picture or an item id with a weight other than 0, or a filter to \
                     list all items that match"
                        .to_owned(),
                )
            };
        }
        if self.mode == Mode::Keyword && self.keyword_texts().next().is_none() {
            let reason =
                "keyword search needs a text with a positive weight; pictures and items need mode `vector` or `hybrid`";
            return refuse(reason.to_owned());
        }
        if self.sought_profile().is_none() && self.part_weights().all(|weight| weight <= 0.0) {
            let reason = "the query only says what hits should not be like; give a text, a picture or an item with a \
                          positive weight too";
            return refuse(reason.to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(query: &Query) -> String {
        query.check().unwrap_err().to_string()
    }

    fn image() -> ImagePart {
        ImagePart { file: "shoe.jpg".into(), weight: 1.0 }
    }

    #[test]
    fn a_text_is_enough() {
        for mode in Mode::ALL {
            Query { mode, ..Query::text("mug") }.check().unwrap();
        }
    }

    #[test]
    fn nothing_to_look_for_is_an_error() {
        assert!(reason(&Query::default()).starts_with("the query is empty"));
        assert!(reason(&Query::text(" \t")).starts_with("the query is empty"));
        let zero = Query { images: vec![ImagePart { weight: 0.0, ..image() }], ..Query::default() };
        assert!(reason(&zero).starts_with("the query is empty"));
    }

    #[test]
    fn keyword_search_needs_a_text() {
        let query = Query { images: vec![image()], mode: Mode::Keyword, ..Query::default() };
        assert!(reason(&query).starts_with("keyword search needs a text"));
        let mut query = Query { mode: Mode::Keyword, ..Query::text("mug") };
        query.texts[0].weight = -1.0;
        assert!(reason(&query).starts_with("keyword search needs a text"));
    }

    #[test]
    fn the_keyword_share_is_that_of_the_texts() {
        let mut query = Query::text("mug");
        assert_eq!(query.keyword_share(), 1.0);
        query.images.push(ImagePart { weight: 0.5, ..image() });
        query.like.push(ItemPart { id: "p1".to_owned(), weight: -0.5 });
        assert_eq!(query.keyword_share(), 0.5);
        query.texts.push(TextPart { text: "red".to_owned(), weight: -2.0 });
        assert_eq!(query.keyword_share(), 0.25, "keyword search does not see what to stay away from");
        query.texts.clear();
        assert_eq!(query.keyword_share(), 0.0);
    }

    #[test]
    fn numbers_must_be_in_range() {
        let mut query = Query::text("mug");
        query.texts[0].weight = f32::NAN;
        assert!(reason(&query).contains("not a finite number"));
        assert!(reason(&Query { alpha: Some(1.5), ..Query::text("mug") }).contains("between 0 and 1"));
        assert!(reason(&Query { alpha: Some(f32::NAN), ..Query::text("mug") }).contains("between 0 and 1"));
        assert!(reason(&Query { depth: Some(0), ..Query::text("mug") }).contains("at least 1"));
        let weights = vec![(schemas::Modality::Title, -1.0)];
        assert!(reason(&Query { modality_weights: weights, ..Query::text("mug") }).contains("`title`"));
    }
}

//! The query flow, readable in `Searcher::answer`. Owns the order of the steps and what each retriever is asked; not
//! how a step works. Invariants: scores and totals depend on the snapshot and on what the query asks for alone, never
//! on `limit` and `offset`; pages put together are the one list; equal scores come in row order.
//!
//! The keyword side of a hybrid query sees its texts only. Where pictures or items are asked for too, the snapshot's alpha
//! is therefore meant for the share of the texts: `1 − (1 − α)·texts/(texts + pictures + items)`, by the parts' weights.
//! A query that names an alpha gets that one. Features of the query move the alpha of texts alone (`query_alpha`): they are
//! figures of words and of both scores, and say nothing of pictures, items and texts to stay away from.
//!
//! The union is fixed before anything is shown (`union.rs`): each retriever gives its `depth` best rows, and **both** scores
//! are computed for every one of them. The total is the number of these candidates, at most twice the depth. A query that only
//! filters or sorts retrieves nothing: its list is every row that matches, in row order.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Instant;

use schemas::Row;
use schemas::manifest::RankFusionMethod;

use crate::arrangement::{ArrangedList, Arrangement, Marks};
use crate::error::SearchError;
use crate::explain::Explanation;
use crate::filter::Filter;
use crate::keyword::KeywordQuery;
use crate::near_duplicates::near_duplicates;
use crate::query::Query;
use crate::query_encoder::EncodedQuery;
use crate::rank_fusion::query_alpha::{QueryAlphaExplanation, QueryFeatures, QueryRankFusion};
use crate::rank_fusion::{RankFusion, RankedRow, Retrievers, ScoredRow, fuse};
use crate::recommend::{Reranking, SeenItems};
use crate::results::{Hit, Results};
use crate::row_set::RowSet;
use crate::snapshot::{Searcher, VectorFiles};
use crate::vector::{QueryEmbeddings, VectorScorer};

/// What the retrievers are asked, for one query.
pub(crate) struct Question<'a> {
    pub(crate) keyword: Option<KeywordQuery>,
    pub(crate) vector: Option<(&'a VectorFiles, QueryEmbeddings)>,
    /// The rows that are no hits: of the items to be similar to, and of those that a user is not to be shown again.
    pub(crate) excluded: BTreeSet<Row>,
    pub(crate) reranking: Option<Reranking<'a>>,
    /// Candidates from each retriever.
    pub(crate) depth: usize,
}

/// What the retrievers found for a query.
pub(crate) struct Found<'a> {
    question: Question<'a>,
    candidates: Candidates,
}

/// The rows of the one list, before it has an order.
enum Candidates {
    /// Rows that are listed in their order.
    Listed(Vec<Row>),
    /// Rows that were retrieved, with both scores.
    Scored(Vec<ScoredRow>),
}

impl Searcher {
    /// Answers a query: the hits of one page, the number of candidates in all, and the facets over all of them.
    ///
    /// Cost: loads the encoders that the query needs when they are first needed; then one pass of each retriever at the
    /// query's depth, however few hits are shown.
    ///
    /// # Errors
    /// When the query does not fit the snapshot, a filter is malformed, an encoder or picture cannot be used, or the
    /// snapshot cannot be read.
    pub fn search(&self, query: &Query) -> Result<Results, SearchError> {
        self.answer(query, None).map_err(|error| self.name_damaged_file(error))
    }

    /// As [`Searcher::search`], with the vector side of the query encoded before: for asking about the same texts,
    /// pictures and items more than once. `encoded` must come from [`Searcher::encode`] of this snapshot with the same
    /// parts, in a mode that uses vectors.
    ///
    /// # Errors
    /// As [`Searcher::search`].
    pub fn search_encoded(&self, query: &Query, encoded: &EncodedQuery) -> Result<Results, SearchError> {
        self.answer(query, Some(encoded)).map_err(|error| self.name_damaged_file(error))
    }

    fn answer(&self, query: &Query, encoded: Option<&EncodedQuery>) -> Result<Results, SearchError> {
        let started = Instant::now();
        query.check()?;
        let filter = self.filter(query)?;
        let arrangement = Arrangement::of(query, self)?;
        let encoded =
            encoded.map_or_else(|| self.encode(query).map(Cow::Owned), |encoded| Ok(Cow::Borrowed(encoded)))?;
        let found = self.find(query, filter.as_ref(), &encoded)?;
        let (rank_fusion, list) = self.list(query, &arrangement, &found)?;
        let ArrangedList { ranked, facets, mut marks } = list;
        let page = query.offset.min(ranked.len())..query.offset.saturating_add(query.limit).min(ranked.len());
        if let Some(least_cosine) = query.near_duplicate_cosine {
            marks.duplicates = near_duplicates(self, least_cosine, &ranked, page.clone())?;
        }
        let explained = (&found.question, &rank_fusion);
        let hits = page.map(|place| self.fetch(query, explained, &marks, place + 1, &ranked[place]));
        let hits = hits.collect::<Result<Vec<Hit>, SearchError>>()?;
        Ok(Results { hits, total: ranked.len(), facets, took: started.elapsed() })
    }

    /// The query's filter, if it has one.
    pub(crate) fn filter(&self, query: &Query) -> Result<Option<Filter>, SearchError> {
        query.filter.as_deref().map(|text| Filter::parse(text, &self.manifest().fields)).transpose()
    }

    /// What both retrievers find, with both scores: all of the flow that comes before the scores are joined. `filter` is the
    /// query's.
    pub(crate) fn find<'a>(
        &'a self,
        query: &Query,
        filter: Option<&Filter>,
        encoded: &EncodedQuery,
    ) -> Result<Found<'a>, SearchError> {
        let question = self.question(query, encoded)?;
        let rows = filter.map(|filter| filter.evaluate(&self.items)).transpose()?;
        let rows = self.with_clauses(rows, query)?;
        let candidates = if query.is_browse() {
            Candidates::Listed(self.every_row(&question, rows.as_ref()))
        } else {
            Candidates::Scored(self.candidates(&question, rows.as_ref())?)
        };
        Ok(Found { question, candidates })
    }

    /// The one list that is paged, from what was found for the same parts, mode, filter, keyword settings, modality weights
    /// and depth: the scores joined, re-ranked and arranged.
    pub(crate) fn list(
        &self,
        query: &Query,
        arrangement: &Arrangement<'_>,
        found: &Found<'_>,
    ) -> Result<(QueryRankFusion, ArrangedList), SearchError> {
        let rank_fusion = self.rank_fusion(query, found);
        let retrievers = found.question.retrievers();
        let ranked = match &found.candidates {
            Candidates::Listed(rows) => rows.iter().copied().map(listed).collect(),
            Candidates::Scored(scored) => {
                let ranked = fuse(&rank_fusion.settings, retrievers, scored);
                match &found.question.reranking {
                    Some(reranking) => reranking.apply(&rank_fusion.settings, retrievers, ranked)?,
                    None => ranked,
                }
            }
        };
        Ok((rank_fusion, arrangement.apply(&self.items, ranked)?))
    }

    /// What each retriever is asked; a retriever that the query gives nothing to look for is not asked.
    fn question(&self, query: &Query, encoded: &EncodedQuery) -> Result<Question<'_>, SearchError> {
        let texts: Vec<(String, f32)> =
            query.keyword_texts().map(|part| (self.understand(&part.text).plain, part.weight)).collect();
        let texts: Vec<(&str, f32)> = texts.iter().map(|(text, weight)| (text.as_str(), *weight)).collect();
        let settings = query
            .settings
            .keyword
            .applied_to(&self.manifest().keyword)
            .map_err(|reason| SearchError::Query { reason })?;
        let keyword = if query.mode.uses_keyword() && !texts.is_empty() {
            Some(self.keyword.analyze_with(&texts, &settings, query.synonyms.as_deref())?)
                .filter(|keyword| !keyword.is_empty())
        } else {
            None
        };
        let weights = self.modality_weights(query)?;
        let vector = match &self.vector {
            Some(vector) if query.mode.uses_vector() => {
                let embeddings = vector.embedding_fusion.query_embeddings(&encoded.embeddings, weights)?;
                let compares = |(embedding, weight): (&Option<Vec<f32>>, &f32)| embedding.is_some() && *weight > 0.0;
                let usable = embeddings.embeddings.iter().zip(&embeddings.weights).any(compares);
                usable.then_some((vector, embeddings))
            }
            Some(_) | None => None,
        };
        let asks_vectors = query.mode.uses_vector() && !query.is_browse();
        if vector.is_none() && asks_vectors && (texts.is_empty() || !query.mode.uses_keyword()) {
            let reason = if self.vector.is_none() {
                "the snapshot has no embeddings; only texts in mode `keyword` or `hybrid` can be searched for"
            } else {
                "no part of the query can be compared with a modality of weight above 0: its items have no embeddings, \
                 its parts cancel each other out, or the weights leave nothing"
            };
            return Err(SearchError::Query { reason: reason.to_owned() });
        }
        let mut excluded = query.like.iter().map(|part| self.row_of(&part.id)).collect::<Result<BTreeSet<Row>, _>>()?;
        if let Some(part) = query.profile.as_ref().filter(|part| part.seen_items == SeenItems::LeftOut) {
            excluded.extend(&part.profile.seen);
        }
        let reranking = self.reranking(query)?;
        let depth = self.depth(query);
        Ok(Question { keyword, vector, excluded, reranking, depth })
    }

    /// Every row that the filter lets pass, in row order.
    fn every_row(&self, question: &Question<'_>, rows: Option<&RowSet>) -> Vec<Row> {
        let every = rows.map_or_else(|| Cow::Owned(RowSet::full(self.items.row_count())), Cow::Borrowed);
        every.iter().filter(|row| !question.excluded.contains(row)).collect()
    }

    /// Candidates that each retriever gives for this query.
    #[must_use]
    pub fn depth(&self, query: &Query) -> usize {
        query.depth.or(query.settings.rank_fusion.depth).unwrap_or(self.manifest().rank_fusion.depth)
    }

    fn rank_fusion(&self, query: &Query, found: &Found<'_>) -> QueryRankFusion {
        let defaults = query.settings.rank_fusion.applied_to(&self.manifest().rank_fusion);
        let default = RankFusion::from(&defaults);
        let method = query.method.unwrap_or(default.method);
        let moves = query.alpha.is_none() && method != RankFusionMethod::ReciprocalRank;
        let features = if moves && !defaults.query_alpha.is_constant() { self.features(query, found) } else { None };
        let moved = features.map(|features| defaults.query_alpha.of(default.alpha, |feature| features.value(feature)));
        let shared = 1.0 - (1.0 - default.alpha) * query.keyword_share();
        let settings = RankFusion {
            method,
            alpha: query.alpha.or(moved.as_ref().map(|(alpha, _)| *alpha)).unwrap_or(shared),
            // Keyword search sees only a part of a query with pictures or items: its best are then not the best.
            keyword_first: if query.keyword_share() < 1.0 { 0 } else { default.keyword_first },
            ..default
        };
        let query_alpha = moved.map(|(_, parts)| QueryAlphaExplanation { base: default.alpha, parts });
        QueryRankFusion { settings, query_alpha }
    }

    /// The features of a query; `None` for one whose alpha they do not move: not of texts alone, or not of both retrievers.
    pub(crate) fn features(&self, query: &Query, found: &Found<'_>) -> Option<QueryFeatures> {
        let Candidates::Scored(scored) = &found.candidates else { return None };
        let keyword = found.question.keyword.as_ref()?;
        let is_of_texts = found.question.retrievers() == Retrievers::Both && query.keyword_share() >= 1.0;
        is_of_texts.then(|| QueryFeatures::of(self.keyword.word_statistics(keyword), scored))
    }

    fn fetch(
        &self,
        query: &Query,
        (question, rank_fusion): (&Question<'_>, &QueryRankFusion),
        marks: &Marks,
        rank: usize,
        ranked: &RankedRow,
    ) -> Result<Hit, SearchError> {
        let item = self.items.item(ranked.row)?;
        let names = self.manifest().fields.iter().map(|field| field.name.clone());
        let explain = if query.explain {
            let diversity = marks.diversity(&self.items, ranked.row)?;
            let scored = Explanation::of(&self.keyword, question, rank_fusion, ranked)?;
            Some(Explanation { diversity, ..scored })
        } else {
            None
        };
        Ok(Hit {
            rank,
            row: ranked.row,
            id: item.id,
            score: ranked.score,
            title: item.title,
            description: item.description,
            image: item.image,
            fields: names.zip(item.fields).filter_map(|(name, value)| Some((name, value?))).collect(),
            others: marks.others(ranked.row),
            duplicate_of: marks.duplicate_of(&self.items, ranked.row)?,
            explain,
        })
    }
}

/// A row of which nothing is known but that it matches.
fn listed(row: Row) -> RankedRow {
    RankedRow { row, score: 0.0, keyword: None, vector: None, profile: None }
}

impl Question<'_> {
    pub(crate) fn retrievers(&self) -> Retrievers {
        match (&self.keyword, &self.vector) {
            (Some(_), Some(_)) => Retrievers::Both,
            (None, Some(_)) => Retrievers::Vector,
            // Without either (a text of which no term is left), nothing is found.
            (Some(_) | None, None) => Retrievers::Keyword,
        }
    }

    pub(crate) fn vector_scorer(&self) -> Option<VectorScorer<'_>> {
        let (vector, query) = self.vector.as_ref()?;
        Some(vector.scorer(query))
    }
}

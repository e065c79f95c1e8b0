//! What a model is trained on: judged queries with their embeddings, and the items' exact embeddings. Owns reading them from a
//! snapshot and the judgments' files; not what is drawn from them. Invariant: every query has an embedding and at least one
//! relevant item in the snapshot, and grades are of items that the snapshot has.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use half::f16;
use schemas::manifest::ModalityManifest;
use schemas::modalities::{MODALITIES_FILE, ModalitiesReader, ModalityColumn};
use schemas::trec::{self, Qrels};
use schemas::{MappedFile, Row};
use searcher::evaluation::EvaluationQuery;
use searcher::evaluation::metrics::Judgments;
use searcher::vector::{QueryEmbeddings, VectorScorer};
use searcher::{Mode, Query, Searcher};
use serde::Serialize;

use crate::error::IndexError;

/// The least grade that is relevant, as for the measures.
const RELEVANT: i64 = 1;
/// Rows of a query's first ranking from which hard negatives are drawn.
const HARD_DEPTH: usize = 100;

/// Files of queries and judgments; ids are unique over all of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueryFiles {
    /// Files of texts: `qid<TAB>text`.
    pub queries: Vec<PathBuf>,
    /// Files of pictures, with or without a text: `qid<TAB>picture[<TAB>text]`.
    pub image_queries: Vec<PathBuf>,
    /// Judgments: `qid 0 docid grade`.
    pub qrels: Vec<PathBuf>,
}

/// What a query is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum QueryKind {
    /// A text.
    Text,
    /// A picture.
    Image,
    /// A picture with a text.
    ImageAndText,
}

impl QueryKind {
    /// The name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            QueryKind::Text => "text",
            QueryKind::Image => "image",
            QueryKind::ImageAndText => "image_and_text",
        }
    }

    fn of(query: &Query) -> QueryKind {
        match (query.texts.is_empty(), query.images.is_empty()) {
            (_, true) => QueryKind::Text,
            (true, false) => QueryKind::Image,
            (false, false) => QueryKind::ImageAndText,
        }
    }
}

/// A judged query.
#[derive(Clone, Debug)]
pub(super) struct TrainingQuery {
    pub(super) id: String,
    pub(super) kind: QueryKind,
    /// Per modality of the snapshot, where the query has one.
    pub(super) embeddings: Vec<Option<Vec<f32>>>,
    /// Relevant items of the snapshot with their grades, by row.
    pub(super) relevant: BTreeMap<Row, i64>,
    /// The best rows by the snapshot's modality weights that are not relevant.
    pub(super) hard: Vec<Row>,
    /// All judgments, by item id, also of items that the snapshot lacks.
    pub(super) judgments: Judgments,
}

/// Queries and items.
#[derive(Debug)]
pub(super) struct TrainingData {
    pub(super) queries: Vec<TrainingQuery>,
    /// Queries left out.
    pub(super) skipped: usize,
    pub(super) modalities: Vec<ModalityManifest>,
    pub(super) items: ModalitiesReader,
    /// Item ids by row.
    pub(super) ids: Vec<String>,
}

impl TrainingData {
    pub(super) fn read(searcher: &Searcher, files: &QueryFiles) -> Result<TrainingData, IndexError> {
        let manifest = searcher.manifest();
        if manifest.vector.is_none() {
            return Err(refused("the published snapshot has no embeddings; configure encoders first"));
        }
        let modalities = manifest.modalities.clone();
        let columns: Vec<ModalityColumn> = (modalities.iter()).map(ModalityColumn::from).collect();
        let items = ModalitiesReader::open(MappedFile::open(&searcher.folder().join(MODALITIES_FILE))?, &columns)?;
        let mut ids = Vec::new();
        for row in 0..searcher.items().row_count() {
            // Opening has proven that there are no more rows than row numbers.
            ids.push(searcher.items().id(row as Row)?.to_owned());
        }
        let qrels = read_qrels(&files.qrels)?;
        let asked = read_queries(files)?;
        let mut data = TrainingData { queries: Vec::new(), skipped: 0, modalities, items, ids };
        let rows: HashMap<String, Row> = data.ids.iter().cloned().zip(0..).collect();
        for EvaluationQuery { id, query } in asked {
            let judgments = qrels.get(&id).cloned().unwrap_or_default();
            let graded = judgments.iter().filter(|(_, grade)| **grade >= RELEVANT);
            let relevant: BTreeMap<Row, i64> =
                graded.filter_map(|(item, grade)| Some((*rows.get(item)?, *grade))).collect();
            let query = Query { mode: Mode::Vector, ..query };
            let embeddings = match relevant.is_empty() {
                true => Vec::new(),
                false => searcher.encode(&query)?.embeddings().to_vec(),
            };
            if embeddings.iter().all(Option::is_none) {
                data.skipped += 1;
                continue;
            }
            let found = data.weighted_ranking(&embeddings, &data.weights(), HARD_DEPTH)?;
            let hard = found.into_iter().filter(|row| !relevant.contains_key(row)).collect();
            let kind = QueryKind::of(&query);
            data.queries.push(TrainingQuery { id, kind, embeddings, relevant, hard, judgments });
        }
        if data.queries.is_empty() {
            return Err(refused("no query has a relevant item in the published snapshot; check that the ids agree"));
        }
        Ok(data)
    }

    /// The snapshot's modality weights.
    pub(super) fn weights(&self) -> Vec<f32> {
        self.modalities.iter().map(|modality| modality.weight).collect()
    }

    pub(super) fn row_count(&self) -> Row {
        // There is an id for every row, and rows are `Row`s.
        self.ids.len() as Row
    }

    /// The embeddings of an item.
    pub(super) fn item(&self, row: Row) -> Result<Vec<Option<&[f16]>>, IndexError> {
        (0..self.modalities.len()).map(|column| Ok(self.items.embedding(column, row)?)).collect()
    }

    /// The best rows by the weighted mean of the cosines, which is what `weighted_blocks` shows.
    pub(super) fn weighted_ranking(
        &self,
        embeddings: &[Option<Vec<f32>>],
        weights: &[f32],
        depth: usize,
    ) -> Result<Vec<Row>, IndexError> {
        let query = QueryEmbeddings { embeddings: embeddings.to_vec(), weights: weights.to_vec(), vector: None };
        let scorer = VectorScorer { modalities: &self.items, query: &query, learned: None };
        Ok(scorer.scan(None, depth)?.into_iter().map(|candidate| candidate.row).collect())
    }
}

fn read_queries(files: &QueryFiles) -> Result<Vec<EvaluationQuery>, IndexError> {
    let mut queries: Vec<EvaluationQuery> = Vec::new();
    for path in &files.queries {
        queries.extend(trec::read_queries(path)?.iter().map(EvaluationQuery::from_text));
    }
    for path in &files.image_queries {
        let folder = path.parent().unwrap_or(Path::new(""));
        queries.extend(trec::read_queries(path)?.iter().map(|line| EvaluationQuery::from_picture(line, folder)));
    }
    let mut ids = std::collections::BTreeSet::new();
    if let Some(twice) = queries.iter().find(|query| !ids.insert(query.id.as_str())) {
        return Err(refused(&format!("two queries have the id `{}`; ids must be unique over all files", twice.id)));
    }
    Ok(queries)
}

fn read_qrels(paths: &[PathBuf]) -> Result<Qrels, IndexError> {
    let mut all = Qrels::new();
    for path in paths {
        for (query, judgments) in trec::read_qrels(path)? {
            if all.insert(query.clone(), judgments).is_some() {
                return Err(refused(&format!("two files have judgments of query `{query}`")));
            }
        }
    }
    Ok(all)
}

fn refused(reason: &str) -> IndexError {
    IndexError::Learn { reason: reason.to_owned() }
}

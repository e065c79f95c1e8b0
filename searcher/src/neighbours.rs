//! Likeness outside a query: the items nearest to one, and one item's likeness to something encoded. Owns asking the vector
//! retriever and scorer for one item; not what follows from it. Invariant: the scores are the ones that a query in mode
//! `vector` with the snapshot's modality weights gives.

use schemas::Row;

use crate::candidate::Candidate;
use crate::error::SearchError;
use crate::query::{DEFAULT_PART_WEIGHT, ItemPart, Mode, Query};
use crate::query_encoder::EncodedQuery;
use crate::row_set::RowSet;
use crate::snapshot::Searcher;
use crate::vector::{self, QueryEmbeddings};

impl Searcher {
    /// The best `depth` rows of `among` by likeness to an item, best first, ties by row; the item's own row is one of them
    /// where it is among them. None where the item, or the snapshot, has no embeddings. Costs a scan of `among`, or a walk
    /// over the graph where they are many.
    ///
    /// # Errors
    /// When the row is beyond the end, or the snapshot cannot be read.
    pub fn neighbours(&self, row: Row, among: &RowSet, depth: usize) -> Result<Vec<Candidate>, SearchError> {
        let Some(files) = &self.vector else { return Ok(Vec::new()) };
        let id = self.items.id(row)?.to_owned();
        let like = vec![ItemPart { id, weight: DEFAULT_PART_WEIGHT }];
        let encoded = self.encode(&Query { like, mode: Mode::Vector, ..Query::default() })?;
        let query = self.weighted(encoded)?;
        let scorer = files.scorer(&query);
        vector::retrieve(&files.graph, &scorer, &files.embedding_fusion, Some(among), depth)
            .map_err(|error| self.name_damaged_file(error))
    }

    /// The weighted mean of the cosines of an item and something encoded; `None` where they have no modality in common.
    ///
    /// # Errors
    /// When the row is beyond the end, or the snapshot cannot be read.
    pub fn likeness(&self, row: Row, query: &QueryEmbeddings) -> Result<Option<f32>, SearchError> {
        let Some(files) = &self.vector else { return Ok(None) };
        files.scorer(query).score(row)
    }

    /// What [`Searcher::encode`] gave, with the snapshot's modality weights, for [`Searcher::likeness`].
    ///
    /// # Errors
    /// When an embedding does not have its modality's dimension.
    pub fn weighted(&self, encoded: EncodedQuery) -> Result<QueryEmbeddings, SearchError> {
        let weights = self.manifest().modalities.iter().map(|modality| modality.weight).collect();
        match &self.vector {
            Some(files) => files.embedding_fusion.query_embeddings(&encoded.embeddings, weights),
            None => Ok(QueryEmbeddings { embeddings: encoded.embeddings, weights, vector: None }),
        }
    }
}

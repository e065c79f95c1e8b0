//! Reading what an embeddings file can be compared by: ids and content hashes, without the embeddings. Owns the choice
//! of columns and what the footer says of the others; not what is reused. Invariant: the bytes of embeddings are never
//! read.

use std::path::{Path, PathBuf};

use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;

use super::read::{Checked, hashes, ids, open_checked};
use super::{DEFAULT_READ_ROWS, EmbeddingsSchema};
use crate::content_hash::ContentHash;
use crate::error::SchemaError;
use crate::parquet_file::{Batches, Builder};

/// Ids and content hashes of some rows.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct HashesBatch {
    /// Item ids.
    pub ids: Vec<String>,
    /// For each modality of the schema the rows' content hashes; `None`: the item does not have the modality.
    pub hashes: Vec<Vec<Option<ContentHash>>>,
}

/// Reads ids and content hashes of one part file, [`DEFAULT_READ_ROWS`] rows at a time. After an error there is nothing
/// more.
pub struct HashesReader {
    path: PathBuf,
    schema: EmbeddingsSchema,
    row_count: u64,
    embedding_counts: Vec<Option<u64>>,
    batches: Option<Batches>,
}

impl HashesReader {
    /// Opens the file and reads its metadata.
    ///
    /// # Errors
    /// When it is missing, damaged, foreign, or of a newer format version.
    pub fn open(path: &Path) -> Result<HashesReader, SchemaError> {
        let Checked { builder, schema, row_count } = open_checked(path)?;
        let embedding_counts =
            (0..schema.modalities.len()).map(|number| embedding_count(&builder, &schema, row_count, number)).collect();
        // Every column of the file has one leaf: the id, then hash and embedding of each modality.
        let leaves = std::iter::once(0).chain((0..schema.modalities.len()).map(|number| 1 + 2 * number));
        let projection = ProjectionMask::leaves(builder.parquet_schema(), leaves);
        let batches = Batches::new(path, builder.with_projection(projection).with_batch_size(DEFAULT_READ_ROWS))?;
        Ok(HashesReader { path: path.to_owned(), schema, row_count, embedding_counts, batches: Some(batches) })
    }

    /// Modalities and encoders of the file.
    #[must_use]
    pub fn schema(&self) -> &EmbeddingsSchema {
        &self.schema
    }

    /// Number of rows, from the footer.
    #[must_use]
    pub fn row_count(&self) -> u64 {
        self.row_count
    }

    /// Rows that have an embedding of the modality of that number, from the footer; `None` where the footer cannot
    /// tell.
    #[must_use]
    pub fn embedding_count(&self, modality: usize) -> Option<u64> {
        self.embedding_counts.get(modality).copied().flatten()
    }
}

impl Iterator for HashesReader {
    type Item = Result<HashesBatch, SchemaError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match self.batches.as_mut()?.next()? {
            Ok(batch) => convert(&batch, self.schema.modalities.len())
                .ok_or_else(|| SchemaError::invalid(&self.path, "its columns do not hold what its metadata says")),
            Err(error) => Err(error),
        };
        if batch.is_err() {
            self.batches = None;
        }
        Some(batch)
    }
}

impl std::fmt::Debug for HashesReader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let HashesReader { path, schema, row_count, embedding_counts, batches: _ } = self;
        let mut shown = formatter.debug_struct("HashesReader");
        shown.field("path", path).field("schema", schema).field("row_count", row_count);
        shown.field("embedding_counts", embedding_counts).finish_non_exhaustive()
    }
}

fn convert(batch: &RecordBatch, modalities: usize) -> Option<HashesBatch> {
    let hashes = (0..modalities).map(|number| hashes(batch.columns().get(1 + number)?)).collect::<Option<_>>()?;
    Some(HashesBatch { ids: ids(batch.columns().first()?)?, hashes })
}

/// A column chunk counts a value for every element of a list, and one for a list that is null.
fn embedding_count(builder: &Builder, schema: &EmbeddingsSchema, rows: u64, modality: usize) -> Option<u64> {
    let more_than_null = u64::try_from(schema.modalities.get(modality)?.1.dimension).ok()?.checked_sub(1)?;
    let mut values = 0;
    for group in builder.metadata().row_groups() {
        values += u64::try_from(group.columns().get(2 + 2 * modality)?.num_values()).ok()?;
    }
    let more = values.checked_sub(rows)?;
    let count = more.checked_div(more_than_null)?;
    (count * more_than_null == more && count <= rows).then_some(count)
}

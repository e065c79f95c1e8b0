//! Writing Parquet under a temporary name. Owns bounded row groups, zstd, and the commit.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};

use crate::durable::DurableFile;
use crate::error::SchemaError;

/// Rows of a row group at most.
pub(crate) const DEFAULT_ROW_GROUP_ROWS: usize = 65_536;
/// Encoded bytes of a row group at most; about what the writer holds in memory.
pub(crate) const DEFAULT_ROW_GROUP_BYTES: usize = 64 << 20;

/// A Parquet file that is being written.
pub(crate) struct ParquetFileWriter {
    schema: SchemaRef,
    writer: ArrowWriter<DurableFile>,
}

impl ParquetFileWriter {
    /// Starts the file; `properties` adds what is special to it.
    pub(crate) fn create(
        path: &Path,
        schema: Schema,
        metadata: Vec<KeyValue>,
        properties: impl FnOnce(WriterPropertiesBuilder) -> WriterPropertiesBuilder,
    ) -> Result<ParquetFileWriter, SchemaError> {
        let common = WriterProperties::builder()
            .set_max_row_group_row_count(Some(DEFAULT_ROW_GROUP_ROWS))
            .set_max_row_group_bytes(Some(DEFAULT_ROW_GROUP_BYTES))
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_key_value_metadata(Some(metadata));
        let schema = Arc::new(schema);
        let file = DurableFile::create(path)?;
        let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties(common).build()))
            .map_err(SchemaError::parquet(path))?;
        Ok(ParquetFileWriter { schema, writer })
    }

    pub(crate) fn path(&self) -> &Path {
        self.writer.inner().target()
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), SchemaError> {
        self.writer.write(batch).map_err(|source| SchemaError::Parquet { path: self.path().to_owned(), source })
    }

    /// Writes the footer and gives the file its final name, durably.
    pub(crate) fn finish(self) -> Result<(), SchemaError> {
        let parquet = SchemaError::parquet(self.path());
        self.writer.into_inner().map_err(parquet)?.commit()
    }
}

impl fmt::Debug for ParquetFileWriter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ParquetFileWriter").field("path", &self.path()).finish_non_exhaustive()
    }
}

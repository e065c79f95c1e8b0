//! Writing the container. Owns the options that make the file readable without copying, and the row counts and the digest
//! in its footer; not the batches' columns.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::MetadataVersion;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};
use arrow::record_batch::RecordBatch;
use fs_err::File;

use super::{ALIGNMENT_BYTES, BATCH_ROWS_KEY, CONTENT_KEY};
use crate::Row;
use crate::durable::DEFAULT_BUFFER_BYTES;
use crate::error::SchemaError;
use crate::format_version::FORMAT_VERSION_KEY;
use crate::manifest::FORMAT_VERSION;

/// Writes an Arrow IPC file batch by batch.
pub(crate) struct ArrowFileWriter {
    path: PathBuf,
    schema: SchemaRef,
    writer: FileWriter<HashingWriter>,
    batch_rows: Vec<Row>,
    rows: u64,
}

/// Digests what it writes.
struct HashingWriter {
    file: BufWriter<File>,
    hasher: blake3::Hasher,
}

impl Write for HashingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl ArrowFileWriter {
    pub(crate) fn create(path: &Path, schema: Schema) -> Result<ArrowFileWriter, SchemaError> {
        let schema = schema.with_metadata([(FORMAT_VERSION_KEY.to_owned(), FORMAT_VERSION.to_string())]);
        let file = File::create(path).map_err(SchemaError::io(path))?;
        let options =
            IpcWriteOptions::try_new(ALIGNMENT_BYTES, false, MetadataVersion::V5).map_err(SchemaError::arrow(path))?;
        let file = BufWriter::with_capacity(DEFAULT_BUFFER_BYTES, file);
        let hashing = HashingWriter { file, hasher: blake3::Hasher::new() };
        let writer = FileWriter::try_new_with_options(hashing, &schema, options).map_err(SchemaError::arrow(path))?;
        Ok(ArrowFileWriter { path: path.to_owned(), schema: schema.into(), writer, batch_rows: Vec::new(), rows: 0 })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Appends a batch; one without rows is left out.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), SchemaError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let rows = self.rows + batch.num_rows() as u64;
        match Row::try_from(batch.num_rows()) {
            Ok(batch_rows) if rows <= u64::from(Row::MAX) => self.batch_rows.push(batch_rows),
            _ => return Err(SchemaError::invalid(&self.path, format!("{rows} rows do not fit 32-bit row numbers"))),
        }
        self.rows = rows;
        self.writer.write(batch).map_err(SchemaError::arrow(&self.path))
    }

    /// Writes the footer; does not sync. Returns the number of rows.
    pub(crate) fn finish(mut self) -> Result<u64, SchemaError> {
        let batch_rows: Vec<String> = self.batch_rows.iter().map(Row::to_string).collect();
        self.writer.write_metadata(BATCH_ROWS_KEY, batch_rows.join(","));
        let content = self.writer.get_ref().hasher.finalize().to_hex();
        self.writer.write_metadata(CONTENT_KEY, content.as_str());
        self.writer.finish().map_err(SchemaError::arrow(&self.path))?;
        Ok(self.rows)
    }
}

impl fmt::Debug for ArrowFileWriter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ArrowFileWriter").field("path", &self.path).field("rows", &self.rows).finish()
    }
}

//! Reading the container. Owns the footer, the place of each row, and decoding one column of one batch when it is first
//! asked for; what the columns mean is their owner's business.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arrow::array::ArrayRef;
use arrow::buffer::Buffer;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::convert::try_fb_to_schema;
use arrow::ipc::reader::FileDecoder;
use arrow::ipc::{Block, Footer, MetadataVersion, root_as_footer, root_as_message};

use super::{ALIGNMENT_BYTES, BATCH_ROWS_KEY, MAGIC, TRAILER_BYTES, check};
use crate::Row;
use crate::error::SchemaError;
use crate::format_version::{FORMAT_VERSION_KEY, check_text};
use crate::manifest::FORMAT_VERSION;
use crate::map::MappedFile;

/// Marker and length before a message's header.
const MESSAGE_PREFIX_BYTES: usize = 8;
/// The marker.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// An open file. `Send + Sync`; columns are decoded once and then shared.
#[derive(Debug)]
pub(crate) struct ArrowFile {
    path: PathBuf,
    data: Buffer,
    schema: SchemaRef,
    batches: Vec<Batch>,
    row_count: Row,
    /// One per column, which decodes only that column.
    decoders: Vec<FileDecoder>,
}

#[derive(Debug)]
struct Batch {
    block: Block,
    /// Place of the whole message in the file; proven to lie before the footer.
    offset: usize,
    header_bytes: usize,
    body_bytes: usize,
    first_row: Row,
    rows: usize,
    columns: Vec<OnceLock<ArrayRef>>,
}

impl ArrowFile {
    /// Reads the footer and compares its columns with the expected ones.
    pub(crate) fn open(file: &MappedFile, expected: &Schema) -> Result<ArrowFile, SchemaError> {
        let path = file.path();
        let invalid = |reason: String| SchemaError::invalid(path, reason);
        let (footer, data_bytes) = footer(file.bytes()).map_err(invalid)?;
        if footer.version() != MetadataVersion::V5 {
            return Err(invalid(format!("its Arrow metadata has version {:?}, not V5", footer.version())));
        }
        let Some(schema) = footer.schema().filter(|schema| schema.endianness().equals_to_target_endianness()) else {
            return Err(invalid("its schema is missing or of the other byte order".to_owned()));
        };
        let schema = try_fb_to_schema(schema).map_err(SchemaError::arrow(path))?;
        check_text(path, FORMAT_VERSION, schema.metadata().get(FORMAT_VERSION_KEY).map(String::as_str))?;
        compare_columns(&schema, expected).map_err(invalid)?;
        if footer.dictionaries().is_some_and(|dictionaries| !dictionaries.is_empty()) {
            return Err(invalid("it has dictionaries".to_owned()));
        }
        let (batches, row_count) = batches(&footer, data_bytes, schema.fields().len()).map_err(invalid)?;

        let schema = Arc::new(schema);
        let decoder = |column| {
            FileDecoder::new(Arc::clone(&schema), MetadataVersion::V5)
                .with_projection(vec![column])
                .with_require_alignment(true)
        };
        let decoders = (0..schema.fields().len()).map(decoder).collect();
        let data = Buffer::from(file.bytes().clone());
        Ok(ArrowFile { path: path.to_owned(), data, schema, batches, row_count, decoders })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn row_count(&self) -> Row {
        self.row_count
    }

    pub(crate) fn batch_count(&self) -> usize {
        self.batches.len()
    }

    /// First row and number of rows of a batch.
    pub(crate) fn batch_rows(&self, number: usize) -> Result<(Row, usize), SchemaError> {
        let batch = self.batch(number)?;
        Ok((batch.first_row, batch.rows))
    }

    /// The batch that holds a row, and the row's place in it.
    pub(crate) fn locate(&self, row: Row) -> Result<(usize, usize), SchemaError> {
        if row >= self.row_count {
            let reason = format!("it has {} rows, there is no row {row}", self.row_count);
            return Err(SchemaError::invalid(&self.path, reason));
        }
        // At least 1: the first batch starts at row 0.
        let number = self.batches.partition_point(|batch| batch.first_row <= row) - 1;
        Ok((number, (row - self.batches[number].first_row) as usize))
    }

    /// A column of a batch, decoded when first asked for.
    pub(crate) fn column(&self, number: usize, column: usize) -> Result<&ArrayRef, SchemaError> {
        let batch = self.batch(number)?;
        let Some(cell) = batch.columns.get(column) else {
            return Err(SchemaError::invalid(&self.path, format!("it has no column {column}")));
        };
        if let Some(array) = cell.get() {
            return Ok(array);
        }
        let array = self.decode(batch, column)?;
        // Two threads may both have decoded it; they got the same values from the same bytes.
        Ok(cell.get_or_init(|| array))
    }

    fn batch(&self, number: usize) -> Result<&Batch, SchemaError> {
        self.batches.get(number).ok_or_else(|| SchemaError::invalid(&self.path, format!("it has no batch {number}")))
    }

    fn decode(&self, batch: &Batch, column: usize) -> Result<ArrayRef, SchemaError> {
        let invalid = |reason: &str| SchemaError::invalid(&self.path, reason);
        let message_bytes = self.data.slice_with_length(batch.offset, batch.header_bytes + batch.body_bytes);
        let header = &message_bytes[..batch.header_bytes];
        if !header.starts_with(&CONTINUATION) {
            return Err(invalid("a record batch does not start where the footer says"));
        }
        let message = root_as_message(&header[MESSAGE_PREFIX_BYTES..])
            .map_err(|error| invalid(&format!("a record batch's header is malformed: {error}")))?;
        let Some(record_batch) = message.header_as_record_batch() else {
            return Err(invalid("a message is not the record batch that the footer says it is"));
        };
        check::record_batch(&record_batch, self.schema.fields(), batch.rows, batch.body_bytes)
            .map_err(|reason| invalid(&reason))?;
        let decoded = self.decoders[column].read_record_batch(&batch.block, &message_bytes);
        let decoded = decoded
            .and_then(|batch| batch.ok_or_else(|| ArrowError::IpcError("an empty message".to_owned())))
            .map_err(SchemaError::arrow(&self.path))?;
        Ok(Arc::clone(decoded.column(0)))
    }
}

/// The parsed footer, and the number of bytes before it.
fn footer(bytes: &[u8]) -> Result<(Footer<'_>, usize), String> {
    let not_arrow = || "it is no Arrow file, or it is cut off".to_owned();
    let (rest, trailer) = bytes.split_last_chunk::<TRAILER_BYTES>().ok_or_else(not_arrow)?;
    if !bytes.starts_with(MAGIC) || !trailer.ends_with(MAGIC) {
        return Err(not_arrow());
    }
    let footer_bytes = i32::from_le_bytes([trailer[0], trailer[1], trailer[2], trailer[3]]);
    let data_bytes = usize::try_from(footer_bytes).ok().and_then(|footer_bytes| rest.len().checked_sub(footer_bytes));
    let data_bytes = data_bytes.ok_or("its footer is longer than the file")?;
    let footer = root_as_footer(&rest[data_bytes..]).map_err(|error| format!("its footer is malformed: {error}"))?;
    Ok((footer, data_bytes))
}

/// The record batches of the footer, with their places proven, and the number of rows of all.
fn batches(footer: &Footer<'_>, data_bytes: usize, columns: usize) -> Result<(Vec<Batch>, Row), String> {
    let rows_text = footer
        .custom_metadata()
        .and_then(|metadata| metadata.iter().find(|pair| pair.key() == Some(BATCH_ROWS_KEY)))
        .and_then(|pair| pair.value())
        .ok_or_else(|| format!("its footer has no `{BATCH_ROWS_KEY}`"))?;
    let rows: Result<Vec<Row>, _> = rows_text.split(',').filter(|rows| !rows.is_empty()).map(str::parse).collect();
    let rows = rows.map_err(|_| format!("its footer's `{BATCH_ROWS_KEY}` is not a list of numbers"))?;
    let blocks = footer.recordBatches().ok_or("its footer has no record batches")?;
    if blocks.len() != rows.len() {
        return Err(format!("its footer has {} record batches and {} row counts", blocks.len(), rows.len()));
    }

    let mut batches = Vec::with_capacity(blocks.len());
    let mut first_row: Row = 0;
    for (block, rows) in blocks.iter().zip(rows) {
        let place = (
            usize::try_from(block.offset()),
            usize::try_from(block.metaDataLength()),
            usize::try_from(block.bodyLength()),
        );
        let (Ok(offset), Ok(header_bytes), Ok(body_bytes)) = place else {
            return Err("a record batch has a negative place or length".to_owned());
        };
        let end = offset.checked_add(header_bytes).and_then(|end| end.checked_add(body_bytes));
        if end.is_none_or(|end| end > data_bytes) || header_bytes <= MESSAGE_PREFIX_BYTES {
            return Err("a record batch does not lie in the file".to_owned());
        }
        if offset % ALIGNMENT_BYTES != 0 || header_bytes % ALIGNMENT_BYTES != 0 {
            return Err("a record batch is not aligned".to_owned());
        }
        if rows == 0 {
            return Err("a record batch has no rows".to_owned());
        }
        let columns = (0..columns).map(|_| OnceLock::new()).collect();
        batches.push(Batch {
            block: *block,
            offset,
            header_bytes,
            body_bytes,
            first_row,
            rows: rows as usize,
            columns,
        });
        first_row = first_row.checked_add(rows).ok_or("it has more rows than row numbers")?;
    }
    Ok((batches, first_row))
}

/// Compares names, types and nullability in order; metadata may differ.
fn compare_columns(got: &Schema, expected: &Schema) -> Result<(), String> {
    let (got, expected) = (got.fields(), expected.fields());
    for (got, expected) in got.iter().zip(expected) {
        let same = got.name() == expected.name()
            && got.data_type() == expected.data_type()
            && got.is_nullable() == expected.is_nullable();
        if !same {
            return Err(format!("it has the column `{}` where `{}` is expected", describe(got), describe(expected)));
        }
    }
    if got.len() != expected.len() {
        return Err(format!("it has {} columns, expected {}", got.len(), expected.len()));
    }
    Ok(())
}

fn describe(field: &arrow::datatypes::Field) -> String {
    format!("{}: {}{}", field.name(), field.data_type(), if field.is_nullable() { "" } else { " not null" })
}

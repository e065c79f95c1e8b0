//! Proof, before the arrow crate decodes a record batch, that what the batch says of itself fits the file. Owns the
//! rules for the few column types we write; arrow checks offsets, UTF-8 and null counts afterwards, but slices buffers
//! and multiplies lengths unchecked. Invariant: a batch that passes is decoded without a panic and without copying.

use arrow::datatypes::{DataType, Field, Fields};
use arrow::ipc::{Buffer, FieldNode, RecordBatch};

use super::ALIGNMENT_BYTES;

/// Width of the offsets of strings and lists.
const OFFSET_BYTES: usize = size_of::<i32>();

/// Checks a record batch's header against the schema, its number of rows and the length of its body. The error says
/// what is wrong.
pub(super) fn record_batch(
    batch: &RecordBatch<'_>,
    fields: &Fields,
    rows: usize,
    body_bytes: usize,
) -> Result<(), String> {
    if usize::try_from(batch.length()) != Ok(rows) {
        return Err(format!("a record batch has {} rows, the footer says {rows}", batch.length()));
    }
    if batch.compression().is_some() {
        return Err("a record batch is compressed".to_owned());
    }
    let (Some(nodes), Some(buffers)) = (batch.nodes(), batch.buffers()) else {
        return Err("a record batch has no columns".to_owned());
    };
    let mut walk = Walk { nodes: nodes.iter(), buffers: buffers.iter(), body_bytes };
    for field in fields {
        let length = walk.column(field)?;
        if length != rows {
            return Err(format!("column `{}` has {length} values in a batch of {rows} rows", field.name()));
        }
    }
    Ok(())
}

struct Walk<Nodes, Buffers> {
    nodes: Nodes,
    buffers: Buffers,
    body_bytes: usize,
}

impl<'a, Nodes, Buffers> Walk<Nodes, Buffers>
where
    Nodes: Iterator<Item = &'a FieldNode>,
    Buffers: Iterator<Item = &'a Buffer>,
{
    /// Checks a column with its children and returns its number of values. Takes nodes and buffers in the order in
    /// which they stand in the message: the parent's, then its child's.
    fn column(&mut self, field: &Field) -> Result<usize, String> {
        let damaged = |what: &str| format!("column `{}`: {what}", field.name());
        let node = self.nodes.next().ok_or_else(|| damaged("its length is missing"))?;
        let length = usize::try_from(node.length()).map_err(|_| damaged("its length is negative"))?;
        let nulls = usize::try_from(node.null_count()).map_err(|_| damaged("its null count is negative"))?;
        if nulls > length {
            return Err(damaged("it has more nulls than values"));
        }
        let bitmap = length.div_ceil(8);
        self.buffer(field, if nulls > 0 { bitmap } else { 0 }, 1)?;
        let bytes = |width: usize, count: usize| count.checked_mul(width).ok_or_else(|| damaged("it is too long"));
        let data_type = field.data_type();
        if data_type == &DataType::Boolean {
            self.buffer(field, bitmap, 1)?;
        } else if let Some(width) = data_type.primitive_width() {
            self.buffer(field, bytes(width, length)?, width)?;
        } else if data_type == &DataType::Utf8 {
            self.buffer(field, bytes(OFFSET_BYTES, length.saturating_add(1))?, OFFSET_BYTES)?;
            self.buffer(field, 0, 1)?;
        } else if let DataType::List(child) = data_type {
            self.buffer(field, bytes(OFFSET_BYTES, length.saturating_add(1))?, OFFSET_BYTES)?;
            self.column(child)?;
        } else if let DataType::FixedSizeList(child, size) = data_type {
            let size = usize::try_from(*size).map_err(|_| damaged("its list size is negative"))?;
            if self.column(child)? != bytes(size, length)? {
                return Err(damaged("its lists do not have the declared length"));
            }
        } else {
            return Err(damaged(&format!("{data_type} columns are not part of the format")));
        }
        Ok(length)
    }

    /// Checks that the next buffer lies in the body, is aligned, is long enough, and holds whole values.
    fn buffer(&mut self, field: &Field, least_bytes: usize, value_bytes: usize) -> Result<(), String> {
        let damaged = |what: &str| format!("column `{}`: {what}", field.name());
        let buffer = self.buffers.next().ok_or_else(|| damaged("a buffer is missing"))?;
        let (Ok(offset), Ok(length)) = (usize::try_from(buffer.offset()), usize::try_from(buffer.length())) else {
            return Err(damaged("a buffer has a negative place or length"));
        };
        if offset.checked_add(length).is_none_or(|end| end > self.body_bytes) {
            return Err(damaged("a buffer does not lie in its batch"));
        }
        if offset % ALIGNMENT_BYTES != 0 {
            return Err(damaged("a buffer is not aligned"));
        }
        if length < least_bytes || !length.is_multiple_of(value_bytes) {
            return Err(damaged("a buffer is too short or ends inside a value"));
        }
        Ok(())
    }
}

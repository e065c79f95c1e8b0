//! The container of `items.arrow` and `modalities.arrow`: an Arrow IPC file, uncompressed, buffers aligned to 64
//! bytes, read through a map without copying. Owns writing it, finding its record batches and proving that a batch can
//! be decoded safely; not which columns there are. Invariant: damaged bytes give an error or other values, never a
//! panic, a read outside the map, or an allocation of their choosing.
//!
//! ```text
//! "ARROW1" + padding to 64
//! schema message            metadata: catalens.format_version
//! record batch messages     each starts at a multiple of 64
//! end-of-stream marker
//! footer                    schema, place of each batch; metadata: catalens.batch_rows = "8192,8192,77",
//!                           catalens.content = digest of everything before
//! length of the footer, i32 little endian
//! "ARROW1"
//! ```
//!
//! The footer's `catalens.batch_rows` is what keeps opening cheap: without it the number of rows before a batch is only
//! known from the headers of all batches before it, a page of the file each.

mod check;
#[cfg(test)]
pub(crate) mod damage;
mod read;
mod write;

pub(crate) use read::ArrowFile;
pub(crate) use write::ArrowFileWriter;

/// Footer metadata: rows of each record batch, decimal, separated by commas.
pub(crate) const BATCH_ROWS_KEY: &str = "catalens.batch_rows";
/// Footer metadata: BLAKE3 of the schema and the record batches as they were written. Not compared by readers: it makes
/// the ends of two files differ wherever the files do, and ends are what opening compares.
pub(crate) const CONTENT_KEY: &str = "catalens.content";
/// Buffers in the file start at multiples of this many bytes.
pub(crate) const ALIGNMENT_BYTES: usize = 64;
/// First and last bytes of the file.
const MAGIC: &[u8; 6] = b"ARROW1";
/// Length of the footer, then the magic bytes.
const TRAILER_BYTES: usize = 10;

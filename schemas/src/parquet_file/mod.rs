//! What our Parquet files have in common. Owns bounded row groups, the commit, and reading damaged files without a
//! crash; not the columns.

mod ending_file;
mod read;
mod write;

pub(crate) use read::{Batches, Builder, open, open_with_views};
pub(crate) use write::ParquetFileWriter;

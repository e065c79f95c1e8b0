//! First stage: the catalog's rows into the spool. Owns the count of rows read and rejected here; not reading the
//! formats. Invariant: every row of the catalog that belongs to the chosen partitions is in the spool or in the rejects.

use schemas::catalog::Catalog;

use crate::error::IndexError;
use crate::partitions::ChosenPartitions;
use crate::progress::{Progress, StopSignal};
use crate::report::RunCounts;
use crate::spool::{Spool, SpoolWriter};

/// Rows between two looks at the stop signal.
const ROWS_PER_CHECK: u64 = 1024;

/// Reads the whole catalog, the chosen partitions' rows into `spool`; memory does not grow with it.
///
/// # Errors
/// When a file of the catalog cannot be read to its end, or the spool not be written.
pub fn read(
    catalog: &Catalog,
    mut spool: SpoolWriter,
    chosen: &ChosenPartitions,
    counts: &mut RunCounts,
    progress: &dyn Progress,
    stop: &StopSignal,
) -> Result<Spool, IndexError> {
    progress.begin("read", None);
    for (row, number) in catalog.rows().zip(1_u64..) {
        let row = row?;
        let id = match &row {
            Ok(item) => Some(item.id.as_str()),
            Err(rejection) => rejection.id.as_deref(),
        };
        if chosen.has_row(id) {
            counts.rows += 1;
            match row {
                Ok(item) => spool.write(item)?,
                Err(rejection) => counts.reject(&rejection)?,
            }
        }
        if number.is_multiple_of(ROWS_PER_CHECK) {
            stop.check()?;
            progress.advance(ROWS_PER_CHECK);
        }
    }
    progress.end();
    spool.finish()
}

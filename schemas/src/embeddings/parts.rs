//! The part files of a partition's folder. Owns their names and order; not their content. Invariant: of two rows with
//! one id the one in the later part counts, so parts must be read in this order.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::SchemaError;

/// Name of a part file: `part-00000.parquet`.
#[must_use]
pub fn part_name(number: u32) -> String {
    format!("part-{number:05}.parquet")
}

/// The part files of a folder with their numbers, ascending; other names are passed over, such as the temporary ones
/// of an interrupted run. A folder that is not there has none.
///
/// # Errors
/// When the folder cannot be read.
pub fn list_parts(folder: &Path) -> Result<Vec<(u32, PathBuf)>, SchemaError> {
    let mut parts = Vec::new();
    let entries = match fs_err::read_dir(folder) {
        Ok(entries) => entries,
        Err(source) if source.kind() == ErrorKind::NotFound => return Ok(parts),
        Err(source) => return Err(SchemaError::Io { path: folder.to_owned(), source }),
    };
    for entry in entries {
        let entry = entry.map_err(SchemaError::io(folder))?;
        if let Some(number) = entry.file_name().to_str().and_then(part_number) {
            parts.push((number, entry.path()));
        }
    }
    parts.sort_unstable();
    Ok(parts)
}

fn part_number(name: &str) -> Option<u32> {
    let number = name.strip_prefix("part-")?.strip_suffix(".parquet")?.parse().ok()?;
    // Only the one spelling, so that no two files share a number.
    (part_name(number) == name).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_in_the_order_of_their_numbers() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let names = ["part-00010.parquet", "part-00002.parquet", "part-100000.parquet", ".part-00003.parquet.tmp"];
        for name in names.iter().chain(&["part-2.parquet", "part-+0004.parquet", "part-00005.parquet.bak", "notes"]) {
            fs_err::write(folder.path().join(name), "")?;
        }
        let numbers: Vec<u32> = list_parts(folder.path())?.into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, [2, 10, 100_000]);
        assert!(list_parts(&folder.path().join("missing"))?.is_empty());
        Ok(())
    }
}

//! Embeddings of earlier parts in memory, the last used ones. Owns the bound; not which rows are wanted. Invariant: more
//! than [`LOADED_PART_BYTES`] are held only by a single part that is larger.

use std::path::Path;

use half::f16;
use schemas::embeddings::EmbeddingsReader;

use crate::error::IndexError;

/// Bytes of embeddings of earlier parts that are held at once: a dozen parts of the default size.
pub const LOADED_PART_BYTES: usize = 256 << 20;

/// Loaded parts, the last used one at the end.
#[derive(Debug)]
pub(super) struct LoadedParts {
    limit: usize,
    parts: Vec<LoadedPart>,
}

#[derive(Debug)]
struct LoadedPart {
    number: u32,
    columns: Vec<LoadedColumn>,
}

#[derive(Debug, Default)]
struct LoadedColumn {
    dimension: usize,
    present: Vec<bool>,
    values: Vec<f16>,
}

impl Default for LoadedParts {
    fn default() -> LoadedParts {
        LoadedParts { limit: LOADED_PART_BYTES, parts: Vec::new() }
    }
}

impl LoadedParts {
    /// The embedding in that column and row of the part of that number, which is read if it is not held; `None` when
    /// the part has none there.
    pub(super) fn embedding(
        &mut self,
        number: u32,
        path: &Path,
        column: usize,
        row: usize,
    ) -> Result<Option<&[f16]>, IndexError> {
        match self.parts.iter().position(|part| part.number == number) {
            // Rows come part by part: the part is nearly always the last one.
            Some(position) if position + 1 == self.parts.len() => {}
            Some(position) => self.parts[position..].rotate_left(1),
            None => {
                let part = LoadedPart::read(number, path)?;
                self.make_room(part.bytes());
                self.parts.push(part);
            }
        }
        let column = self.parts.last().and_then(|part| part.columns.get(column));
        Ok(column
            .filter(|column| column.present.get(row) == Some(&true))
            .and_then(|column| column.values.get(row * column.dimension..(row + 1) * column.dimension)))
    }

    fn make_room(&mut self, bytes: usize) {
        let mut held: usize = self.parts.iter().map(LoadedPart::bytes).sum();
        while held + bytes > self.limit && !self.parts.is_empty() {
            held -= self.parts.remove(0).bytes();
        }
    }
}

impl LoadedPart {
    fn read(number: u32, path: &Path) -> Result<LoadedPart, IndexError> {
        let reader = EmbeddingsReader::open(path)?;
        let dimension = |dimension| LoadedColumn { dimension, ..LoadedColumn::default() };
        let mut columns: Vec<LoadedColumn> =
            reader.schema().modalities.iter().map(|(_, spec)| dimension(spec.dimension)).collect();
        for batch in reader {
            for (column, read) in columns.iter_mut().zip(batch?.columns) {
                column.present.extend(read.present);
                column.values.extend(read.values);
            }
        }
        Ok(LoadedPart { number, columns })
    }

    fn bytes(&self) -> usize {
        self.columns.iter().map(|column| column.values.len() * size_of::<f16>() + column.present.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: u32) -> LoadedPart {
        let column = LoadedColumn { dimension: 2, present: vec![true, false], values: vec![f16::ONE; 4] };
        LoadedPart { number, columns: vec![column] }
    }

    #[test]
    fn the_part_not_used_for_longest_makes_room() -> Result<(), IndexError> {
        let mut loaded = LoadedParts { limit: 25, parts: vec![part(0), part(1)] };
        let nowhere = Path::new("nowhere");
        assert_eq!(loaded.embedding(0, nowhere, 0, 0)?, Some(&[f16::ONE; 2][..]));
        assert_eq!(loaded.embedding(0, nowhere, 0, 1)?, None);
        assert_eq!(loaded.embedding(0, nowhere, 1, 0)?, None);
        loaded.make_room(10);
        let numbers: Vec<u32> = loaded.parts.iter().map(|part| part.number).collect();
        assert_eq!(numbers, [0], "20 bytes and 10 more are above 25, and part 1 was used before part 0");
        loaded.make_room(100);
        assert!(loaded.parts.is_empty() && loaded.embedding(7, nowhere, 0, 0).is_err());
        Ok(())
    }
}

//! The catalog on its way through a run: the accepted rows, written once, split into partitions by the hash of the
//! id, and read again by encoding and by building. Owns the temporary files; not what is done with the rows.
//! Invariant: within a partition rows keep the catalog's order; the same id always falls into the same partition;
//! reading yields every id once (the first row that has it) and each later one as a duplicate.
//!
//! A file holds MessagePack records one after the other. It lives in the run's staging folder and is no format that
//! anyone else reads.

use std::collections::HashMap;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use schemas::rejects::{RejectReason, Rejection};
use schemas::{FieldValue, ImageSource, Item, Location};

use crate::error::IndexError;

/// Bytes buffered for each partition's file.
const BUFFER_BYTES: usize = 256 << 10;

/// The partition of an item id: BLAKE3's first 8 bytes, little-endian, modulo the number of partitions.
#[must_use]
pub fn partition_of(id: &str, partitions: u32) -> u32 {
    let hash = blake3::hash(id.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    // The remainder is below a u32.
    (u64::from_le_bytes(first) % u64::from(partitions)) as u32
}

/// A record of the spool; file paths are numbers into [`Spool::files`].
#[derive(serde::Serialize, serde::Deserialize)]
struct Record {
    id: String,
    title: Option<String>,
    description: Option<String>,
    image_path: Option<String>,
    #[serde(with = "serde_bytes")]
    image_bytes: Option<Vec<u8>>,
    fields: Vec<Option<FieldValue>>,
    file: u32,
    line: u64,
}

/// Writes the spool.
#[derive(Debug)]
pub struct SpoolWriter {
    folder: PathBuf,
    files: Vec<PathBuf>,
    partitions: Vec<BufWriter<HashedFile>>,
    rows: Vec<u64>,
}

/// A file whose content is hashed while it is written.
#[derive(Debug)]
struct HashedFile {
    file: fs_err::File,
    hasher: blake3::Hasher,
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl SpoolWriter {
    /// Starts a spool of `partitions` files in `folder` (created).
    ///
    /// # Errors
    /// When a file cannot be created.
    pub fn create(folder: &Path, partitions: u32) -> Result<SpoolWriter, IndexError> {
        fs_err::create_dir_all(folder).map_err(IndexError::io(folder))?;
        let mut writers = Vec::new();
        for partition in 0..partitions {
            let path = partition_path(folder, partition);
            let file = fs_err::File::create(&path).map_err(IndexError::io(&path))?;
            writers.push(BufWriter::with_capacity(BUFFER_BYTES, HashedFile { file, hasher: blake3::Hasher::new() }));
        }
        let rows = vec![0; writers.len()];
        Ok(SpoolWriter { folder: folder.to_owned(), files: Vec::new(), partitions: writers, rows })
    }

    /// Appends an item to its partition.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write(&mut self, item: Item) -> Result<(), IndexError> {
        // Rows come file by file, so the file is nearly always the last one seen.
        let file = match self.files.iter().rposition(|file| *file == item.location.file) {
            Some(number) => number,
            None => {
                self.files.push(item.location.file.clone());
                self.files.len() - 1
            }
        };
        let partition = partition_of(&item.id, self.partitions.len() as u32);
        let (image_path, image_bytes) = match item.image {
            ImageSource::Absent => (None, None),
            ImageSource::Path(path) => (Some(path), None),
            ImageSource::Bytes(bytes) => (None, Some(bytes)),
        };
        let record = Record {
            id: item.id,
            title: item.title,
            description: item.description,
            image_path,
            image_bytes,
            fields: item.fields,
            file: file as u32,
            line: item.location.line,
        };
        let path = partition_path(&self.folder, partition);
        rmp_serde::encode::write(&mut self.partitions[partition as usize], &record)
            .map_err(|source| IndexError::Io { path, source: std::io::Error::other(source) })?;
        self.rows[partition as usize] += 1;
        Ok(())
    }

    /// Flushes everything.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(self) -> Result<Spool, IndexError> {
        let mut digest = blake3::Hasher::new();
        for (partition, mut writer) in (0..).zip(self.partitions) {
            writer
                .flush()
                .map_err(|source| IndexError::Io { path: partition_path(&self.folder, partition), source })?;
            digest.update(writer.get_ref().hasher.finalize().as_bytes());
        }
        Ok(Spool { folder: self.folder, files: self.files, rows: self.rows, digest: digest.finalize() })
    }
}

/// A written spool.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    files: Vec<PathBuf>,
    rows: Vec<u64>,
    digest: blake3::Hash,
}

impl Spool {
    /// Digest of all rows with their places in the catalog, and of how they are spread over the partitions.
    #[must_use]
    pub fn digest(&self) -> blake3::Hash {
        self.digest
    }

    /// Number of partitions.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        self.rows.len() as u32
    }

    /// Rows over all partitions, duplicates included.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows.iter().sum()
    }

    /// Rows of a partition, duplicates included.
    #[must_use]
    pub fn partition_rows(&self, partition: u32) -> u64 {
        self.rows.get(partition as usize).copied().unwrap_or(0)
    }

    /// Reads a partition from its start. Remembers 16 bytes and a location per id, so a partition bounds the memory.
    ///
    /// # Errors
    /// When its file cannot be opened.
    pub fn read(&self, partition: u32) -> Result<SpoolReader<'_>, IndexError> {
        let path = partition_path(&self.folder, partition);
        let file = fs_err::File::open(&path).map_err(IndexError::io(&path))?;
        Ok(SpoolReader {
            files: &self.files,
            reader: BufReader::with_capacity(BUFFER_BYTES, Box::new(file)),
            path,
            left: self.rows[partition as usize],
            seen: HashMap::new(),
        })
    }
}

/// What reading a partition yields.
#[derive(Debug)]
pub enum SpoolRow {
    /// The first row with its id.
    Unique(Item),
    /// A later row with an id that was seen before.
    Duplicate(Rejection),
}

/// Reads one partition.
pub struct SpoolReader<'a> {
    files: &'a [PathBuf],
    reader: BufReader<Box<dyn Read + Send>>,
    path: PathBuf,
    left: u64,
    seen: HashMap<[u8; 16], (u32, u64)>,
}

impl SpoolReader<'_> {
    fn location(&self, file: u32, line: u64) -> Location {
        Location { file: self.files.get(file as usize).cloned().unwrap_or_default(), line }
    }
}

impl Iterator for SpoolReader<'_> {
    type Item = Result<SpoolRow, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let record: Record = match rmp_serde::decode::from_read(&mut self.reader) {
            Ok(record) => record,
            Err(source) => {
                self.left = 0;
                return Some(Err(IndexError::Io { path: self.path.clone(), source: std::io::Error::other(source) }));
            }
        };
        let location = self.location(record.file, record.line);
        let key = schemas::ContentHash::of(record.id.as_bytes()).0;
        if let Some((file, line)) = self.seen.get(&key) {
            let first = self.location(*file, *line);
            let reason = RejectReason::DuplicateId { first };
            return Some(Ok(SpoolRow::Duplicate(Rejection { location, id: Some(record.id), reason })));
        }
        self.seen.insert(key, (record.file, record.line));
        let image = match (record.image_path, record.image_bytes) {
            (Some(path), _) => ImageSource::Path(path),
            (None, Some(bytes)) => ImageSource::Bytes(bytes),
            (None, None) => ImageSource::Absent,
        };
        Some(Ok(SpoolRow::Unique(Item {
            id: record.id,
            title: record.title,
            description: record.description,
            image,
            fields: record.fields,
            location,
        })))
    }
}

fn partition_path(folder: &Path, partition: u32) -> PathBuf {
    folder.join(format!("partition={partition:05}.spool"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: &str, line: u64) -> Item {
        Item {
            id: id.to_owned(),
            title: Some(format!("title {line}")),
            description: None,
            image: if line.is_multiple_of(2) {
                ImageSource::Bytes(vec![1, 2, 255])
            } else {
                ImageSource::Path("a.jpg".into())
            },
            fields: vec![
                Some(FieldValue::Float(3.0)),
                Some(FieldValue::Integer(3)),
                None,
                Some(FieldValue::Strings(vec!["x".into()])),
                Some(FieldValue::Boolean(true)),
            ],
            location: Location { file: PathBuf::from("catalog.jsonl"), line },
        }
    }

    #[test]
    fn every_row_comes_back_once_and_duplicates_are_told_apart() -> Result<(), IndexError> {
        let folder = tempfile::tempdir().map_err(IndexError::io(Path::new("temporary")))?;
        let mut writer = SpoolWriter::create(&folder.path().join("spool"), 3)?;
        let ids = ["a", "b", "c", "a", "d", "b"];
        for (line, id) in (1..).zip(ids) {
            writer.write(item(id, line))?;
        }
        let spool = writer.finish()?;
        assert_eq!(spool.rows(), 6);
        let (mut unique, mut duplicates) = (Vec::new(), Vec::new());
        for partition in 0..spool.partitions() {
            for row in spool.read(partition)? {
                match row? {
                    SpoolRow::Unique(found) => {
                        assert_eq!(partition_of(&found.id, 3), partition);
                        assert_eq!(found, item(&found.id, found.location.line));
                        unique.push((found.location.line, found.id));
                    }
                    SpoolRow::Duplicate(rejection) => {
                        let RejectReason::DuplicateId { first } = rejection.reason else { panic!("wrong reason") };
                        duplicates.push((rejection.location.line, first.line));
                    }
                }
            }
        }
        unique.sort();
        duplicates.sort_unstable();
        assert_eq!(unique, [(1, "a".into()), (2, "b".into()), (3, "c".into()), (5, "d".into())]);
        assert_eq!(duplicates, [(4, 1), (6, 2)]);
        Ok(())
    }
}

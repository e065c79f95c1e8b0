//! A Parquet file whose readers fail at its end. Owns that: the parquet crate reads headers of pages without asking whether
//! anything was read, so that a list of two thousand million numbers beyond the end of a damaged file is read for minutes.
//! Invariant: no read of nothing is taken for a read.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use bytes::Bytes;
use parquet::errors::Result;
use parquet::file::reader::{ChunkReader, Length};

/// An open file.
#[derive(Debug)]
pub(crate) struct EndingFile(pub(super) File);

impl Length for EndingFile {
    fn len(&self) -> u64 {
        Length::len(&self.0)
    }
}

impl ChunkReader for EndingFile {
    type T = BufReader<EndingRead>;

    fn get_read(&self, start: u64) -> Result<BufReader<EndingRead>> {
        let mut file = self.0.try_clone()?;
        file.seek(SeekFrom::Start(start))?;
        Ok(BufReader::new(EndingRead(file)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.0.get_bytes(start, length)
    }
}

/// Reads on to the end, which is an error: behind the last page there is the footer, so that no reader of pages gets there.
#[derive(Debug)]
pub(crate) struct EndingRead(File);

impl Read for EndingRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 if !buffer.is_empty() => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a page goes beyond the end")),
            read => Ok(read),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_beyond_the_end_is_an_error() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("file");
        fs_err::write(&path, b"123456")?;
        let file = EndingFile(File::open(&path)?);
        let mut four = [0; 4];
        let mut reader = file.get_read(2)?;
        reader.read_exact(&mut four)?;
        assert_eq!((file.len(), &four), (6, b"3456"));
        let skipped = io::copy(&mut reader.by_ref().take(8), &mut io::sink());
        assert_eq!(skipped.err().map(|error| error.kind()), Some(io::ErrorKind::UnexpectedEof));
        Ok(())
    }
}

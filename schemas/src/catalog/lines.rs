//! Lines of a text, bounded in length. Owns line numbers and skipping what is too long; not what lines mean.
//! Invariant: memory is bounded by the limit, and every line is counted, whatever it holds.

use std::io::{self, BufRead, Read};

/// Reads lines one by one.
pub(crate) struct LineReader<R> {
    reader: R,
    limit: usize,
    buffer: Vec<u8>,
    number: u64,
}

/// A line without its ending, or that it is longer than the limit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    Bytes(&'a [u8]),
    TooLong,
}

impl<R: BufRead> LineReader<R> {
    pub(crate) fn new(reader: R, limit: usize) -> LineReader<R> {
        LineReader { reader, limit, buffer: Vec::new(), number: 0 }
    }

    /// The next line and its number, from 1.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u64, Line<'_>)>> {
        self.buffer.clear();
        // One byte more than allowed, so that a line of just that length is told from a longer one.
        let most = self.limit as u64 + 1;
        if self.reader.by_ref().take(most).read_until(b'\n', &mut self.buffer)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        if let Some(line) = self.buffer.strip_suffix(b"\n") {
            return Ok(Some((self.number, Line::Bytes(line.strip_suffix(b"\r").unwrap_or(line)))));
        }
        if self.buffer.len() > self.limit {
            self.reader.skip_until(b'\n')?;
            return Ok(Some((self.number, Line::TooLong)));
        }
        Ok(Some((self.number, Line::Bytes(&self.buffer))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str, limit: usize) -> io::Result<Vec<(u64, Option<String>)>> {
        // A tiny buffer, so that every line crosses its border.
        let mut lines = LineReader::new(io::BufReader::with_capacity(2, text.as_bytes()), limit);
        let mut all = Vec::new();
        while let Some((number, line)) = lines.next()? {
            let text = match line {
                Line::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
                Line::TooLong => None,
            };
            all.push((number, text));
        }
        Ok(all)
    }

    fn line(number: u64, text: &str) -> (u64, Option<String>) {
        (number, Some(text.to_owned()))
    }

    #[test]
    fn endings_are_cut_and_every_line_counts() -> io::Result<()> {
        assert_eq!(all("a\r\n\nb\rc\nd", 9)?, [line(1, "a"), line(2, ""), line(3, "b\rc"), line(4, "d")]);
        assert_eq!(all("", 9)?, []);
        assert_eq!(all("a\n", 9)?, [line(1, "a")]);
        Ok(())
    }

    #[test]
    fn a_line_over_the_limit_is_skipped_and_reading_goes_on() -> io::Result<()> {
        assert_eq!(all("123456789\nab\n12345\n", 4)?, [(1, None), line(2, "ab"), (3, None)]);
        assert_eq!(all("1234\n12345", 4)?, [line(1, "1234"), (2, None)]);
        Ok(())
    }
}

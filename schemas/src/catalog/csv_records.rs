//! CSV records, bounded in length, with true line numbers. Owns the parser's buffers and recovery from a broken record;
//! not what cells mean. Built on csv-core and not on csv, which reads a record of any length into memory and takes a
//! quote that is never closed for a long cell. Invariant: memory is bounded, a broken record is reported, and so is or is
//! read every line that it swallowed; no byte is read more than twice.

use std::io::{self, BufRead, Cursor};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

/// Reads records one by one.
pub(super) struct RecordReader<R> {
    /// Lines that an open quote had swallowed, to be read again before the file.
    again: Cursor<Vec<u8>>,
    reader: R,
    parser: Reader,
    limit: usize,
    cell_limit: usize,
    /// Line of the next byte, from 1.
    line: u64,
    /// Cells of the record at hand, one after the other without separators.
    text: Vec<u8>,
    /// End of each cell in `text`.
    ends: Vec<usize>,
    /// The record at hand as it stands in the file, from its second line on.
    later_lines: Vec<u8>,
    /// The first line whose records may have several lines; until then a quote must be closed on its line.
    several_lines_from: u64,
}

/// What was found at a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// So many cells, to be had from [`RecordReader::cell`].
    Cells(usize),
    /// More bytes or cells than allowed; reading goes on at the next line.
    TooLong,
    /// A quote that is never closed, or not within the limit; reading goes on at the next line.
    UnclosedQuote,
}

impl<R: BufRead> RecordReader<R> {
    pub(super) fn new(reader: R, delimiter: u8, limit: usize, cell_limit: usize) -> RecordReader<R> {
        let parser = ReaderBuilder::new().delimiter(delimiter).build();
        RecordReader {
            again: Cursor::new(Vec::new()),
            reader,
            parser,
            limit,
            cell_limit,
            line: 1,
            text: vec![0; 1024],
            ends: vec![0; 64],
            later_lines: Vec::new(),
            several_lines_from: 1,
        }
    }

    /// The next record and the line it starts on; empty lines are no records.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, Record)>> {
        if !self.skip_empty_lines()? {
            return Ok(None);
        }
        let first_line = self.line;
        self.later_lines.clear();
        let (mut bytes, mut cells) = (0, 0);
        loop {
            let one_line = first_line < self.several_lines_from;
            let reader = at_hand(&mut self.again, &mut self.reader);
            let mut input = reader.fill_buf()?;
            let at_end = input.is_empty();
            if at_end {
                // A line ending after the last byte ends every record, unless a quote is open.
                input = b"\n";
            } else if one_line && let Some(end) = input.iter().position(|byte| *byte == b'\n') {
                input = &input[..=end];
            }
            let (result, read, written, ended) =
                self.parser.read_record(input, &mut self.text[bytes..], &mut self.ends[cells..]);
            bytes += written;
            cells += ended;
            if !at_end {
                let input = &input[..read];
                if !one_line {
                    let first_is_over = self.line > first_line;
                    let end = input.iter().position(|byte| *byte == b'\n').map_or(read, |end| end + 1);
                    self.later_lines.extend_from_slice(if first_is_over { input } else { &input[end..] });
                }
                self.line += newlines(input);
                reader.consume(read);
            }
            let line_is_over = at_end || (one_line && self.line > first_line);
            match result {
                ReadRecordResult::Record => return Ok(Some((first_line, Record::Cells(cells)))),
                ReadRecordResult::OutputFull if self.text.len() < self.limit => {
                    self.text.resize((self.text.len() * 2).min(self.limit), 0);
                }
                ReadRecordResult::OutputEndsFull if self.ends.len() < self.cell_limit => {
                    self.ends.resize((self.ends.len() * 2).min(self.cell_limit), 0);
                }
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    self.parser.reset();
                    // Only an open quote leads over the end of a line.
                    if self.line > first_line {
                        self.read_again(first_line);
                        return Ok(Some((first_line, Record::UnclosedQuote)));
                    }
                    self.skip_line()?;
                    return Ok(Some((first_line, Record::TooLong)));
                }
                ReadRecordResult::InputEmpty | ReadRecordResult::End if line_is_over => {
                    self.parser.reset();
                    self.read_again(first_line);
                    return Ok(Some((first_line, Record::UnclosedQuote)));
                }
                ReadRecordResult::InputEmpty | ReadRecordResult::End => {}
            }
        }
    }

    /// A cell of the record that [`RecordReader::next`] gave last.
    pub(super) fn cell(&self, number: usize) -> &[u8] {
        let start = if number == 0 { 0 } else { self.ends[number - 1] };
        &self.text[start..self.ends[number]]
    }

    /// Returns false at the end of the file. The line feed of a `\r\n` counts as an empty line here, because the parser
    /// ends a record at the `\r`.
    fn skip_empty_lines(&mut self) -> io::Result<bool> {
        loop {
            let reader = at_hand(&mut self.again, &mut self.reader);
            let input = reader.fill_buf()?;
            if input.is_empty() {
                return Ok(false);
            }
            let empty = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            let content_follows = empty < input.len();
            self.line += newlines(&input[..empty]);
            reader.consume(empty);
            if content_follows {
                return Ok(true);
            }
        }
    }

    fn skip_line(&mut self) -> io::Result<()> {
        // A line that begins among the swallowed ones may end in the file.
        let mut skipped = 0;
        while self.again.position() < self.again.get_ref().len() as u64 {
            skipped += self.again.skip_until(b'\n')?;
            if self.again.get_ref()[..self.again.position() as usize].ends_with(b"\n") {
                self.line += 1;
                return Ok(());
            }
        }
        skipped += self.reader.skip_until(b'\n')?;
        self.line += u64::from(skipped > 0);
        Ok(())
    }

    /// Goes back to the second line of the record at hand, to read what its open quote had swallowed line by line; the
    /// last of these lines may go on in the file.
    fn read_again(&mut self, first_line: u64) {
        if self.line > first_line && !self.later_lines.is_empty() {
            let swallowed = std::mem::take(&mut self.later_lines);
            self.line = first_line + 1;
            self.several_lines_from = self.line + newlines(&swallowed);
            self.again = Cursor::new(swallowed);
        }
    }
}

/// What is read next: swallowed lines before the file.
fn at_hand<'a, R: BufRead>(again: &'a mut Cursor<Vec<u8>>, reader: &'a mut R) -> &'a mut dyn BufRead {
    if again.get_ref().len() as u64 > again.position() { again } else { reader }
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Found = (u64, Result<Vec<String>, Record>);

    fn all(text: &str, buffer: usize, limit: usize) -> io::Result<Vec<Found>> {
        let input = io::BufReader::with_capacity(buffer, text.as_bytes());
        let mut records = RecordReader::new(input, b',', limit, 8);
        (records.text, records.ends) = (vec![0; 1], vec![0; 1]);
        let mut all = Vec::new();
        while let Some((line, record)) = records.next()? {
            all.push(match record {
                Record::Cells(cells) => {
                    let cell = |number| String::from_utf8_lossy(records.cell(number)).into_owned();
                    (line, Ok((0..cells).map(cell).collect()))
                }
                broken @ (Record::TooLong | Record::UnclosedQuote) => (line, Err(broken)),
            });
        }
        Ok(all)
    }

    fn row(line: u64, cells: &[&str]) -> Found {
        (line, Ok(cells.iter().map(|cell| (*cell).to_owned()).collect()))
    }

    #[test]
    fn line_numbers_are_true_over_quotes_and_empty_lines() -> io::Result<()> {
        for newline in ["\n", "\r\n"] {
            let text = "a,b\n\n\"x\ny\",\"say \"\"hi\"\"\"\n,\n\nlast,row".replace('\n', newline);
            let quoted = format!("x{newline}y");
            let expected =
                [row(1, &["a", "b"]), row(3, &[&quoted, "say \"hi\""]), row(5, &["", ""]), row(7, &["last", "row"])];
            for buffer in [1, 2, 3, 1024] {
                assert_eq!(all(&text, buffer, 64)?, expected);
            }
        }
        Ok(())
    }

    #[test]
    fn a_record_over_a_limit_is_skipped_to_the_end_of_its_line() -> io::Result<()> {
        let text = "1,2,3,4,5,6,7,8,9\na,b\n0123456789,x\nc,d\n";
        let expected = [(1, Err(Record::TooLong)), row(2, &["a", "b"]), (3, Err(Record::TooLong)), row(4, &["c", "d"])];
        assert_eq!(all(text, 1024, 8)?, expected);
        Ok(())
    }

    #[test]
    fn what_an_open_quote_swallowed_is_read_again_line_by_line() -> io::Result<()> {
        let broken = |line| (line, Err(Record::UnclosedQuote));
        let expected = [broken(1), row(2, &["b"]), row(3, &["c"]), row(4, &["d", "e"]), row(5, &["f", "g"])];
        let closed = "\"h\ni\",j\n";
        for buffer in [1, 2, 3, 1024] {
            // Over the limit, and open to the end of the file.
            for limit in [4, 64] {
                assert_eq!(all("\"a\nb\nc\nd,e\nf,g\n", buffer, limit)?, expected, "{buffer} {limit}");
            }
            // Swallowed lines with quotes of their own, one of them open again; after them records have several lines.
            let text = format!("\"a\n\"\"b\"\"\n,\",\nccc\n{closed}");
            let expected = [broken(1), row(2, &["b\"\""]), broken(3), row(4, &["ccc"]), row(5, &["h\ni", "j"])];
            assert_eq!(all(&text, buffer, 5)?, expected, "{buffer}");
        }
        Ok(())
    }

    #[test]
    fn a_quote_that_is_open_at_the_end_is_told() -> io::Result<()> {
        let broken = (2, Err(Record::UnclosedQuote));
        assert_eq!(all("a,b\nc,\"d\ne,f\n", 3, 64)?, [row(1, &["a", "b"]), broken, row(3, &["e", "f"])]);
        assert_eq!(all("a,b\nc,\"d", 3, 64)?, [row(1, &["a", "b"]), (2, Err(Record::UnclosedQuote))]);
        assert_eq!(all("a,\"b\"", 3, 64)?, [row(1, &["a", "b"])]);
        Ok(())
    }

    proptest! {
        #[test]
        fn what_the_csv_crate_writes_is_read_back(
            rows in prop::collection::vec(prop::collection::vec("[a,\"\n\r é]{0,6}", 2..5), 0..6),
            buffer in 1_usize..9,
        ) {
            let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row)?;
            }
            let bytes = writer.into_inner().map_err(|error| TestCaseError::fail(error.to_string()))?;
            let text = String::from_utf8(bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let read: Vec<_> = all(&text, buffer, 1024)?.into_iter().map(|(_, cells)| cells).collect();
            prop_assert_eq!(read, rows.into_iter().map(Ok).collect::<Vec<_>>());
        }

        #[test]
        fn any_text_is_read_to_its_end(text in "[a,\"\n\r]{0,40}", buffer in 1_usize..9, limit in 1_usize..9) {
            let records = all(&text, buffer, limit)?;
            prop_assert!(records.windows(2).all(|pair| pair[0].0 <= pair[1].0));
            // A line that is not empty is in a record: its first, or one that a closed quote leads to.
            let text = text.replace('\r', "");
            let records = all(&text, buffer, limit)?;
            let starts: Vec<u64> = records.iter().map(|(line, _)| *line).collect();
            let cells = records.iter().flat_map(|(_, record)| record.iter().flatten());
            let within: usize = cells.map(|cell| cell.matches('\n').count()).sum();
            let filled = text.split('\n').filter(|line| !line.is_empty()).count();
            prop_assert!(starts.len() + within >= filled, "{starts:?} {within} {filled}");
        }
    }
}

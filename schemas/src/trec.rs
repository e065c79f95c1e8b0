//! Judgments, queries and runs in TREC's formats. Owns parsing and writing; not the metrics. Invariant: what is
//! written as a run is read back equal, and by `trec_eval` and `pytrec_eval` the same.
//!
//! `queries.tsv`: `qid<TAB>text` · `qrels.tsv`: `qid 0 docid grade` (white space) · run: `qid Q0 docid rank score tag`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Write};
use std::path::Path;

use crate::error::SchemaError;

/// One line of a queries file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrecQuery {
    /// Query id.
    pub id: String,
    /// Second column: the text, or a picture's path.
    pub text: String,
    /// Third column, if there is one: the text beside a picture.
    pub second_text: Option<String>,
}

/// Judgments: query id → document id → grade.
pub type Qrels = BTreeMap<String, BTreeMap<String, i64>>;

/// A run: query id → documents with scores, in file order.
pub type Run = BTreeMap<String, Vec<(String, f64)>>;

/// Reads a queries file.
///
/// # Errors
/// When the file cannot be read, a line does not have two or three columns or has an empty id or text, or a query id
/// stands there twice; an empty or `#` line is skipped.
pub fn read_queries(path: &Path) -> Result<Vec<TrecQuery>, SchemaError> {
    let mut queries = Vec::new();
    let mut ids = BTreeSet::new();
    for_each_line(path, |line| {
        if line.starts_with('#') {
            return Ok(());
        }
        let mut columns = line.split('\t').map(str::trim);
        let (id, text, second_text) = (columns.next(), columns.next(), columns.next());
        let (Some(id), Some(text), None) = (id, text, columns.next()) else {
            return Err("expected `qid<TAB>text` or `qid<TAB>picture<TAB>text`".to_owned());
        };
        if id.is_empty() || text.is_empty() {
            return Err("the query's id or text is empty".to_owned());
        }
        if !ids.insert(id.to_owned()) {
            return Err(format!("the query `{id}` stands here twice"));
        }
        let second_text = second_text.filter(|text| !text.is_empty()).map(str::to_owned);
        queries.push(TrecQuery { id: id.to_owned(), text: text.to_owned(), second_text });
        Ok(())
    })?;
    Ok(queries)
}

/// Reads a qrels file.
///
/// # Errors
/// When the file cannot be read, a line does not have four columns with an integer grade, or a document is judged
/// twice with different grades; an empty or `#` line is skipped.
pub fn read_qrels(path: &Path) -> Result<Qrels, SchemaError> {
    let mut qrels = Qrels::new();
    for_each_line(path, |line| {
        if line.starts_with('#') {
            return Ok(());
        }
        let [query, _iteration, document, grade] =
            columns(line).ok_or_else(|| "expected four columns, `qid 0 docid grade`".to_owned())?;
        let grade: i64 = grade.parse().map_err(|_| format!("the grade `{grade}` is no integer"))?;
        let documents = qrels.entry(query.to_owned()).or_default();
        match documents.insert(document.to_owned(), grade) {
            Some(earlier) if earlier != grade => {
                Err(format!("`{document}` has grade {grade} for `{query}` and had {earlier} before"))
            }
            Some(_) | None => Ok(()),
        }
    })?;
    Ok(qrels)
}

/// Reads a run: query id → documents with scores, in file order.
///
/// # Errors
/// When the file cannot be read, a line does not have six columns with an integer rank and a finite score, or a
/// document stands there twice for a query; an empty line is skipped.
pub fn read_run(path: &Path) -> Result<Run, SchemaError> {
    let mut run = Run::new();
    let mut seen = BTreeSet::new();
    for_each_line(path, |line| {
        let [query, _iteration, document, rank, score, _tag] =
            columns(line).ok_or_else(|| "expected six columns, `qid Q0 docid rank score tag`".to_owned())?;
        if rank.parse::<i64>().is_err() {
            return Err(format!("the rank `{rank}` is no integer"));
        }
        let score = score.parse().ok().filter(|score: &f64| score.is_finite());
        let score = score.ok_or_else(|| "the score is no finite number".to_owned())?;
        if !seen.insert((query.to_owned(), document.to_owned())) {
            return Err(format!("`{document}` stands here twice for `{query}`"));
        }
        run.entry(query.to_owned()).or_default().push((document.to_owned(), score));
        Ok(())
    })?;
    Ok(run)
}

/// Writes one query's ranked documents; ranks from 1. `trec_eval` orders by score, and equal scores by document id
/// downwards, whatever the ranks say.
///
/// # Errors
/// When writing fails; with [`std::io::ErrorKind::InvalidInput`] when a name is empty or has white space, or a score is
/// not finite, which no reader of the format would read back.
pub fn write_run(writer: &mut dyn Write, query: &str, documents: &[(String, f64)], tag: &str) -> std::io::Result<()> {
    let names = [query, tag].into_iter().chain(documents.iter().map(|(document, _)| document.as_str()));
    for name in names {
        if name.is_empty() || name.contains(char::is_whitespace) {
            let reason = format!("`{name}` is empty or has white space, which a run cannot hold");
            return Err(std::io::Error::new(ErrorKind::InvalidInput, reason));
        }
    }
    for (rank, (document, score)) in documents.iter().enumerate() {
        if !score.is_finite() {
            let reason = format!("the score of `{document}` is {score}, which a run cannot hold");
            return Err(std::io::Error::new(ErrorKind::InvalidInput, reason));
        }
        writeln!(writer, "{query} Q0 {document} {} {score} {tag}", rank + 1)?;
    }
    Ok(())
}

/// Calls `read` with every line that is not blank; its error gets path and line number.
fn for_each_line(path: &Path, mut read: impl FnMut(&str) -> Result<(), String>) -> Result<(), SchemaError> {
    let bytes = fs_err::read(path).map_err(SchemaError::io(path))?;
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes);
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let read = std::str::from_utf8(line).map_err(|error| error.to_string()).and_then(|line| {
            let line = line.trim_end_matches('\r');
            if line.trim().is_empty() { Ok(()) } else { read(line) }
        });
        read.map_err(|reason| SchemaError::Line { path: path.to_owned(), line: number, reason })?;
    }
    Ok(())
}

/// The columns of a line if there are just so many.
fn columns<const COUNT: usize>(line: &str) -> Option<[&str; COUNT]> {
    line.split_whitespace().collect::<Vec<&str>>().try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    fn file(text: &[u8]) -> std::io::Result<tempfile::NamedTempFile> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(text)?;
        Ok(file)
    }

    /// The line number and reason of a malformed file.
    fn refusal<T>(read: impl Fn(&Path) -> Result<T, SchemaError>, text: &str) -> Result<(u64, String), String> {
        let file = file(text.as_bytes()).map_err(|error| error.to_string())?;
        match read(file.path()) {
            Err(SchemaError::Line { line, reason, .. }) => Ok((line, reason)),
            Err(other) => Err(other.to_string()),
            Ok(_) => Err("it was read".to_owned()),
        }
    }

    #[test]
    fn queries_have_two_or_three_columns() -> Outcome {
        let file = file("\u{feff}# a comment\nq1\tred mug\r\n\nq2\tpictures/a b.jpg\tin blue\nq3\tx\t\n".as_bytes())?;
        let query = |id: &str, text: &str, second: Option<&str>| TrecQuery {
            id: id.to_owned(),
            text: text.to_owned(),
            second_text: second.map(str::to_owned),
        };
        let expected =
            [query("q1", "red mug", None), query("q2", "pictures/a b.jpg", Some("in blue")), query("q3", "x", None)];
        assert_eq!(read_queries(file.path())?, expected);
        Ok(())
    }

    #[test]
    fn malformed_queries_are_refused_with_their_line() {
        let expected = "expected `qid<TAB>text` or `qid<TAB>picture<TAB>text`";
        assert_eq!(refusal(read_queries, "q1\ta\nq2 b\n"), Ok((2, expected.to_owned())));
        assert_eq!(refusal(read_queries, "q1\ta\tb\tc"), Ok((1, expected.to_owned())));
        assert_eq!(refusal(read_queries, "q1\t \n"), Ok((1, "the query's id or text is empty".to_owned())));
        assert_eq!(refusal(read_queries, "q\ta\n\nq\tb"), Ok((3, "the query `q` stands here twice".to_owned())));
    }

    #[test]
    fn qrels_are_four_columns_with_an_integer_grade() -> Outcome {
        let file = file(b"q1 0 a 2\nq1\t0\tb\t-1\r\n\nq2 0 a 0\nq2 0 a 0\n")?;
        let qrels = read_qrels(file.path())?;
        assert_eq!(qrels["q1"], BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), -1)]));
        assert_eq!(qrels["q2"], BTreeMap::from([("a".to_owned(), 0)]));
        let four = "expected four columns, `qid 0 docid grade`".to_owned();
        assert_eq!(refusal(read_qrels, "q1 a 2"), Ok((1, four.clone())));
        assert_eq!(refusal(read_qrels, "q1 0 a b 2"), Ok((1, four)));
        assert_eq!(refusal(read_qrels, "q1 0 a 1.5"), Ok((1, "the grade `1.5` is no integer".to_owned())));
        let twice = "`a` has grade 1 for `q1` and had 2 before".to_owned();
        assert_eq!(refusal(read_qrels, "q1 0 a 2\nq1 0 a 1"), Ok((2, twice)));
        Ok(())
    }

    #[test]
    fn text_that_is_not_utf8_is_refused_with_its_line() -> Outcome {
        let file = file(b"q1 0 a 2\nq1 0 \xff 1\n")?;
        assert!(matches!(read_qrels(file.path()), Err(SchemaError::Line { line: 2, .. })));
        Ok(())
    }

    #[test]
    fn malformed_runs_are_refused_with_their_line() {
        let six = "expected six columns, `qid Q0 docid rank score tag`".to_owned();
        assert_eq!(refusal(read_run, "q Q0 a 1 0.5"), Ok((1, six)));
        assert_eq!(refusal(read_run, "q Q0 a x 0.5 t"), Ok((1, "the rank `x` is no integer".to_owned())));
        assert_eq!(refusal(read_run, "q Q0 a 1 NaN t"), Ok((1, "the score is no finite number".to_owned())));
        let twice = "`a` stands here twice for `q`".to_owned();
        assert_eq!(refusal(read_run, "q Q0 a 1 2 t\nq Q0 a 2 1 t"), Ok((2, twice)));
    }

    #[test]
    fn what_no_run_can_hold_is_not_written() {
        let write = |query: &str, document: &str, score: f64, tag: &str| {
            write_run(&mut Vec::new(), query, &[(document.to_owned(), score)], tag).map_err(|error| error.kind())
        };
        assert_eq!(write("q", "a", 1.0, "t"), Ok(()));
        let cases = [("q 1", "a", 1.0, "t"), ("q", "", 1.0, "t"), ("q", "a", f64::NAN, "t"), ("q", "a", 1.0, "t\n")];
        for (query, document, score, tag) in cases {
            assert_eq!(write(query, document, score, tag), Err(ErrorKind::InvalidInput));
        }
    }

    proptest! {
        #[test]
        fn a_run_is_read_back_equal(
            run in prop::collection::btree_map(
                "[a-z#0-9é:/-]{1,6}",
                prop::collection::btree_map("[a-zA-Z0-9é_.-]{1,6}", -1e300..1e300_f64, 1..5),
                0..4,
            ),
        ) {
            let run: Run = run.into_iter().map(|(query, documents)| (query, documents.into_iter().collect())).collect();
            let mut text = Vec::new();
            for (query, documents) in &run {
                write_run(&mut text, query, documents, "catalens")?;
            }
            prop_assert_eq!(read_run(file(&text)?.path()).map_err(|error| TestCaseError::fail(error.to_string()))?, run);
        }
    }
}

//! How a catalog's value becomes a field's value. Owns the coercions, all of them lossless; not the catalog's formats.
//! Invariant: a value that would change its meaning is refused, never rounded or guessed.
//!
//! | declared | JSON and Parquet | CSV cell |
//! | --- | --- | --- |
//! | string | string | the cell |
//! | strings | list of strings (nulls in it are dropped), or one string | the cell split at the list separator |
//! | integer | integer, or a number without fraction | the same, written out |
//! | float | finite number; an integer when a float can hold it | the same, written out |
//! | boolean | true, false | true, false, yes, no, 1, 0 in any case |
//! | category | string | the cell |
//!
//! A null, a blank CSV cell and a category without a level are absent values.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::{FieldSpec, FieldType, FieldValue};

mod json;

/// Strings of a list at most: a short line can hold millions, and each costs more memory than its bytes.
pub const MAX_LIST_STRINGS: usize = 1 << 16;
/// Characters of a wrong value that its message quotes.
const QUOTED_CHARACTERS: usize = 40;
/// Below this every integer is a float of its own.
const EXACT_FLOAT_LIMIT: f64 = 9_007_199_254_740_992.0;

/// A value that does not fit its declared type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongType {
    /// The declared type.
    pub expected: String,
    /// What was found, in words.
    pub got: String,
}

impl fmt::Display for WrongType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "expected {}, got {}", self.expected, self.got)
    }
}

impl std::error::Error for WrongType {}

/// One value of a catalog, before its declared type is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Cell {
    #[default]
    Absent,
    Text(String),
    Texts(Vec<String>),
    Integer(i64),
    /// Only above `i64::MAX`.
    Unsigned(u64),
    Float(f64),
    Boolean(bool),
    Bytes(Vec<u8>),
    /// Of a type that no field has, or too much of it; in words.
    Other(String),
}

impl Cell {
    /// The value in words, for messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            Cell::Absent => "nothing".to_owned(),
            Cell::Text(text) => match text.char_indices().nth(QUOTED_CHARACTERS) {
                Some((end, _)) => format!("the string {:?}…", &text[..end]),
                None => format!("the string {text:?}"),
            },
            Cell::Texts(texts) => format!("a list of {} strings", texts.len()),
            Cell::Integer(number) => format!("the number {number}"),
            Cell::Unsigned(number) => format!("the number {number}"),
            Cell::Float(number) => format!("the number {number}"),
            Cell::Boolean(truth) => truth.to_string(),
            Cell::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Cell::Other(words) => words.clone(),
        }
    }

    /// A list with more than [`MAX_LIST_STRINGS`] strings.
    pub(crate) fn too_long_list() -> Cell {
        Cell::Other(format!("a list of more than {MAX_LIST_STRINGS} strings"))
    }

    /// Bytes of text in it.
    pub(crate) fn text_bytes(&self) -> usize {
        match self {
            Cell::Text(text) => text.len(),
            Cell::Texts(texts) => texts.iter().map(String::len).sum(),
            Cell::Absent
            | Cell::Integer(_)
            | Cell::Unsigned(_)
            | Cell::Float(_)
            | Cell::Boolean(_)
            | Cell::Bytes(_)
            | Cell::Other(_) => 0,
        }
    }

    /// That this value is not what is expected.
    pub(crate) fn wrong(&self, expected: &str) -> WrongType {
        WrongType { expected: expected.to_owned(), got: self.describe() }
    }
}

impl FieldSpec {
    /// The value of this field in a JSON value; `None` for null.
    ///
    /// # Errors
    /// When the value does not fit the declared type.
    pub fn parse_json(&self, value: &Value) -> Result<Option<FieldValue>, WrongType> {
        self.parse_cell(Cell::deserialize(value).unwrap_or_else(|error| Cell::Other(error.to_string())))
    }

    /// The value of this field in a text, such as a CSV cell; `None` when it is blank.
    ///
    /// # Errors
    /// When the text cannot be read as the declared type.
    pub fn parse_text(&self, text: &str, list_separator: char) -> Result<Option<FieldValue>, WrongType> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Ok(None);
        }
        let wrong = || Cell::Text(text.to_owned()).wrong(self.r#type.name());
        let cell = match self.r#type {
            FieldType::String | FieldType::Category => Cell::Text(text.to_owned()),
            FieldType::Strings => {
                let elements = text.split(list_separator).map(str::trim).filter(|element| !element.is_empty());
                let texts: Vec<String> = elements.take(MAX_LIST_STRINGS + 1).map(str::to_owned).collect();
                if texts.len() > MAX_LIST_STRINGS { Cell::too_long_list() } else { Cell::Texts(texts) }
            }
            FieldType::Integer | FieldType::Float => match trimmed.parse() {
                Ok(integer) => Cell::Integer(integer),
                Err(_) => Cell::Float(trimmed.parse().map_err(|_| wrong())?),
            },
            FieldType::Boolean => match trimmed.to_ascii_lowercase().as_str() {
                "true" | "yes" | "1" => Cell::Boolean(true),
                "false" | "no" | "0" => Cell::Boolean(false),
                _ => return Err(wrong()),
            },
        };
        if matches!(cell, Cell::Other(_)) {
            return self.parse_cell(cell);
        }
        // The message quotes the text as it stands, not the number it was read as.
        self.parse_cell(cell).map_err(|_| wrong())
    }

    pub(crate) fn parse_cell(&self, cell: Cell) -> Result<Option<FieldValue>, WrongType> {
        let value = match (self.r#type, cell) {
            (_, Cell::Absent) => return Ok(None),
            (FieldType::String, Cell::Text(text)) => FieldValue::String(text),
            (FieldType::Category, Cell::Text(text)) => {
                return Ok(normalise_category(&text).map(FieldValue::String));
            }
            (FieldType::Strings, Cell::Texts(texts)) => FieldValue::Strings(texts),
            (FieldType::Strings, Cell::Text(text)) => FieldValue::Strings(vec![text]),
            (FieldType::Integer, Cell::Integer(number)) => FieldValue::Integer(number),
            #[expect(clippy::cast_possible_truncation, reason = "the guard leaves only whole numbers below 2^53")]
            (FieldType::Integer, Cell::Float(number)) if number.fract() == 0.0 && number.abs() < EXACT_FLOAT_LIMIT => {
                FieldValue::Integer(number as i64)
            }
            (FieldType::Float, Cell::Float(number)) if number.is_finite() => FieldValue::Float(number),
            #[expect(clippy::cast_precision_loss, reason = "the guard leaves only numbers below 2^53")]
            (FieldType::Float, Cell::Integer(number)) if number.unsigned_abs() < EXACT_FLOAT_LIMIT as u64 => {
                FieldValue::Float(number as f64)
            }
            (FieldType::Boolean, Cell::Boolean(truth)) => FieldValue::Boolean(truth),
            (expected, cell) => return Err(cell.wrong(expected.name())),
        };
        Ok(Some(value))
    }
}

/// A category path with one space on each side of every `>`; levels without text are dropped, and `None` means that no
/// level is left.
#[must_use]
pub fn normalise_category(text: &str) -> Option<String> {
    let levels: Vec<&str> = text.split('>').map(str::trim).filter(|level| !level.is_empty()).collect();
    (!levels.is_empty()).then(|| levels.join(" > "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(r#type: FieldType) -> FieldSpec {
        FieldSpec { name: "field".to_owned(), r#type, searched: false }
    }

    fn string(text: &str) -> FieldValue {
        FieldValue::String(text.to_owned())
    }

    fn strings(texts: &[&str]) -> FieldValue {
        FieldValue::Strings(texts.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn json_is_read_by_the_declared_type() {
        let read = [
            (FieldType::String, json!("a"), Some(string("a"))),
            (FieldType::String, json!(null), None),
            (FieldType::Strings, json!(["a", null, "b"]), Some(strings(&["a", "b"]))),
            (FieldType::Strings, json!("a"), Some(strings(&["a"]))),
            (FieldType::Integer, json!(3), Some(FieldValue::Integer(3))),
            (FieldType::Integer, json!(3.0), Some(FieldValue::Integer(3))),
            (FieldType::Float, json!(3), Some(FieldValue::Float(3.0))),
            (FieldType::Float, json!(3.5), Some(FieldValue::Float(3.5))),
            (FieldType::Boolean, json!(false), Some(FieldValue::Boolean(false))),
            (FieldType::Category, json!("Home>Kitchen >  Mugs"), Some(string("Home > Kitchen > Mugs"))),
            (FieldType::Category, json!(" > "), None),
        ];
        for (field_type, value, expected) in read {
            assert_eq!(spec(field_type).parse_json(&value), Ok(expected), "{field_type} {value}");
        }
    }

    #[test]
    fn json_that_would_lose_something_is_refused() {
        let refused = [
            (FieldType::String, json!(3), "expected string, got the number 3"),
            (FieldType::String, json!({"a": 1}), "expected string, got an object"),
            (FieldType::Strings, json!(["a", 3]), "expected strings, got a list with the number 3"),
            (FieldType::Integer, json!(3.5), "expected integer, got the number 3.5"),
            (FieldType::Integer, json!("3"), "expected integer, got the string \"3\""),
            (FieldType::Integer, json!(u64::MAX), "expected integer, got the number 18446744073709551615"),
            (FieldType::Integer, json!(1e300), "expected integer, got the number 1"),
            (FieldType::Float, json!(9_007_199_254_740_993_i64), "expected float, got the number 9007199254740993"),
            (FieldType::Boolean, json!(1), "expected boolean, got the number 1"),
            (FieldType::Category, json!(["Home"]), "expected category, got a list of 1 strings"),
        ];
        for (field_type, value, message) in refused {
            let got = spec(field_type).parse_json(&value).map_err(|wrong| wrong.to_string());
            assert!(matches!(&got, Err(got) if got.starts_with(message)), "{value}: {got:?}");
        }
    }

    #[test]
    fn text_is_read_by_the_declared_type() {
        let read = [
            (FieldType::String, " a ", Some(string(" a "))),
            (FieldType::String, "  ", None),
            (FieldType::Strings, "a| b ||c", Some(strings(&["a", "b", "c"]))),
            (FieldType::Integer, " -3 ", Some(FieldValue::Integer(-3))),
            (FieldType::Integer, "3.0", Some(FieldValue::Integer(3))),
            (FieldType::Float, "3", Some(FieldValue::Float(3.0))),
            (FieldType::Float, "1e3", Some(FieldValue::Float(1000.0))),
            (FieldType::Boolean, "YES", Some(FieldValue::Boolean(true))),
            (FieldType::Boolean, "0", Some(FieldValue::Boolean(false))),
            (FieldType::Category, "Home>Kitchen", Some(string("Home > Kitchen"))),
        ];
        for (field_type, text, expected) in read {
            assert_eq!(spec(field_type).parse_text(text, '|'), Ok(expected), "{field_type} {text}");
        }
        let refused = [
            (FieldType::Integer, "3.5"),
            (FieldType::Float, "NaN"),
            (FieldType::Float, "inf"),
            (FieldType::Boolean, "2"),
        ];
        for (field_type, text) in refused {
            let message = format!("expected {field_type}, got the string {text:?}");
            let got = spec(field_type).parse_text(text, '|').map_err(|wrong| wrong.to_string());
            assert_eq!(got, Err(message));
        }
    }

    #[test]
    fn a_long_wrong_value_is_cut_at_a_character() {
        let long = "é".repeat(1000);
        let wrong = spec(FieldType::Float).parse_text(&long, '|').map_err(|wrong| wrong.got);
        assert_eq!(wrong, Err(format!("the string \"{}\"…", "é".repeat(40))));
    }
}

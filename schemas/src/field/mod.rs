//! Declared columns beside id, title, description and image. Owns their types and values; reading them from a
//! catalog is `catalog`'s work, storing them `items`'. Invariant: a value always has its field's declared type.

mod parse;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

pub(crate) use parse::Cell;
pub use parse::{MAX_LIST_STRINGS, WrongType, normalise_category};

/// Names of the columns that every item has; a declared field cannot have one of them.
pub const RESERVED_NAMES: [&str; 4] = ["id", "title", "description", "image"];

/// Type of a declared field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// One string.
    String,
    /// A list of strings.
    Strings,
    /// A 64-bit signed integer.
    Integer,
    /// A 64-bit floating point number; NaN and infinities are rejected.
    Float,
    /// true or false.
    Boolean,
    /// A path in a category tree, written `Home > Kitchen > Mugs`; one space on each side of `>` after reading.
    Category,
}

/// A declared field: what the catalog's column is called, its type, and what it is used for. Every declared field is
/// stored and can be filtered, faceted and sorted on: one column of `items.arrow` serves all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldSpec {
    /// Name in queries, filters and results.
    pub name: String,
    /// Type of the values.
    pub r#type: FieldType,
    /// Whether keyword search looks into it. Allowed for `String`, `Strings` and `Category`.
    pub searched: bool,
}

/// Value of a declared field. In JSON it is written as it is, without a tag; read it back with
/// [`FieldSpec::parse_json`], which knows the declared type: `3` is an integer by itself and 3.0 in a `Float` field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FieldValue {
    /// Of a [`FieldType::Boolean`] field.
    Boolean(bool),
    /// Of a [`FieldType::Integer`] field.
    Integer(i64),
    /// Of a [`FieldType::Float`] field.
    Float(f64),
    /// Of a [`FieldType::String`] or [`FieldType::Category`] field.
    String(String),
    /// Of a [`FieldType::Strings`] field.
    Strings(Vec<String>),
}

impl FieldType {
    /// The name in configuration, files and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FieldType::String => "string",
            FieldType::Strings => "strings",
            FieldType::Integer => "integer",
            FieldType::Float => "float",
            FieldType::Boolean => "boolean",
            FieldType::Category => "category",
        }
    }

    /// Whether keyword search can look into fields of this type.
    #[must_use]
    pub fn is_text(self) -> bool {
        match self {
            FieldType::String | FieldType::Strings | FieldType::Category => true,
            FieldType::Integer | FieldType::Float | FieldType::Boolean => false,
        }
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FieldValue {
    /// Whether a field of that type can have this value.
    #[must_use]
    pub fn fits(&self, field_type: FieldType) -> bool {
        match self {
            FieldValue::Boolean(_) => field_type == FieldType::Boolean,
            FieldValue::Integer(_) => field_type == FieldType::Integer,
            FieldValue::Float(number) => field_type == FieldType::Float && number.is_finite(),
            FieldValue::String(_) => matches!(field_type, FieldType::String | FieldType::Category),
            FieldValue::Strings(_) => field_type == FieldType::Strings,
        }
    }
}

/// As it stands in a table: a list's elements are separated by `, `.
impl fmt::Display for FieldValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldValue::Boolean(truth) => write!(formatter, "{truth}"),
            FieldValue::Integer(number) => write!(formatter, "{number}"),
            FieldValue::Float(number) => write!(formatter, "{number}"),
            FieldValue::String(text) => formatter.write_str(text),
            FieldValue::Strings(texts) => formatter.write_str(&texts.join(", ")),
        }
    }
}

/// Checks that declared fields can live beside each other: names not empty, not reserved, not used twice, and only
/// text searched. The error says what to change.
///
/// # Errors
/// When a field breaks one of these rules.
pub fn check_fields(fields: &[FieldSpec]) -> Result<(), String> {
    let mut names: BTreeSet<&str> = RESERVED_NAMES.into();
    for field in fields {
        if field.name.trim().is_empty() {
            return Err("a field has an empty name".to_owned());
        }
        if !names.insert(&field.name) {
            return Err(format!("the field name `{}` is taken; give the field another one", field.name));
        }
        if field.searched && !field.r#type.is_text() {
            return Err(format!("the field `{}` is of type {} and cannot be searched", field.name, field.r#type));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, r#type: FieldType, searched: bool) -> FieldSpec {
        FieldSpec { name: name.to_owned(), r#type, searched }
    }

    #[test]
    fn values_are_shown_plainly() {
        let shown = [
            (FieldValue::Boolean(true), "true"),
            (FieldValue::Integer(-3), "-3"),
            (FieldValue::Float(3.0), "3"),
            (FieldValue::Float(0.1), "0.1"),
            (FieldValue::String("Home > Kitchen".to_owned()), "Home > Kitchen"),
            (FieldValue::Strings(vec!["red".to_owned(), "blue".to_owned()]), "red, blue"),
            (FieldValue::Strings(Vec::new()), ""),
        ];
        for (value, text) in shown {
            assert_eq!(value.to_string(), text);
        }
    }

    #[test]
    fn json_is_untagged_and_keeps_integers_and_floats_apart() -> Result<(), serde_json::Error> {
        let texts = [
            (FieldValue::Boolean(false), "false"),
            (FieldValue::Integer(3), "3"),
            (FieldValue::Integer(i64::MIN), "-9223372036854775808"),
            (FieldValue::Float(3.0), "3.0"),
            (FieldValue::Float(1e300), "1e+300"),
            (FieldValue::String("3".to_owned()), "\"3\""),
            (FieldValue::Strings(vec!["a".to_owned()]), "[\"a\"]"),
        ];
        for (value, text) in texts {
            assert_eq!(serde_json::to_string(&value)?, text);
            assert_eq!(serde_json::from_str::<FieldValue>(text)?, value);
        }
        Ok(())
    }

    #[test]
    fn a_value_fits_its_own_type_only() {
        let text = FieldValue::String(String::new());
        assert!(text.fits(FieldType::String) && text.fits(FieldType::Category));
        assert!(!text.fits(FieldType::Strings));
        assert!(!FieldValue::Integer(1).fits(FieldType::Float));
        assert!(!FieldValue::Float(f64::NAN).fits(FieldType::Float));
    }

    #[test]
    fn fields_that_collide_are_refused() {
        let brand = spec("brand", FieldType::String, true);
        assert_eq!(check_fields(&[brand.clone(), spec("price", FieldType::Float, false)]), Ok(()));
        let refused = [
            (vec![brand.clone(), brand], "the field name `brand` is taken; give the field another one"),
            (vec![spec("id", FieldType::String, false)], "the field name `id` is taken; give the field another one"),
            (vec![spec(" ", FieldType::String, false)], "a field has an empty name"),
            (vec![spec("price", FieldType::Float, true)], "the field `price` is of type float and cannot be searched"),
        ];
        for (fields, message) in refused {
            assert_eq!(check_fields(&fields), Err(message.to_owned()));
        }
    }
}

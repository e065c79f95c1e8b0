//! A catalog's cell from JSON. Owns reading a value without building what no field can hold: objects, nested lists and
//! endless lists are passed over as they are read. Invariant: memory is bounded by the strings that are kept, and no nesting
//! is too deep.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Cell, MAX_LIST_STRINGS};

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Cell, D::Error> {
        deserializer.deserialize_any(CellVisitor)
    }
}

struct CellVisitor;

impl<'de> Visitor<'de> for CellVisitor {
    type Value = Cell;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Cell, E> {
        Ok(Cell::Absent)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Cell, E> {
        Ok(Cell::Boolean(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Cell, E> {
        Ok(Cell::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Cell, E> {
        Ok(i64::try_from(number).map_or(Cell::Unsigned(number), Cell::Integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Cell, E> {
        Ok(Cell::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cell, E> {
        Ok(Cell::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Cell, E> {
        Ok(Cell::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Cell, A::Error> {
        let mut texts = Vec::new();
        let mut refused = None;
        while let Some(element) = elements.next_element()? {
            match element {
                Element::Null => {}
                Element::Text(text) if texts.len() < MAX_LIST_STRINGS => texts.push(text),
                Element::Text(_) => refused = Some(Cell::too_long_list()),
                Element::Other(words) => refused = Some(Cell::Other(format!("a list with {words}"))),
            }
            if refused.is_some() {
                while elements.next_element::<IgnoredAny>()?.is_some() {}
                break;
            }
        }
        Ok(refused.unwrap_or(Cell::Texts(texts)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Cell, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Cell::Other("an object".to_owned()))
    }
}

/// An element of a list.
enum Element {
    Null,
    Text(String),
    /// What no list can have, in words.
    Other(String),
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Element, D::Error> {
        deserializer.deserialize_any(ElementVisitor)
    }
}

struct ElementVisitor;

impl<'de> Visitor<'de> for ElementVisitor {
    type Value = Element;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an element of a list")
    }

    fn visit_unit<E>(self) -> Result<Element, E> {
        Ok(Element::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Element, E> {
        Ok(Element::Other(truth.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Element, E> {
        Ok(Element::Other(format!("the number {number}")))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Element, E> {
        Ok(Element::Other(format!("the number {number}")))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Element, E> {
        Ok(Element::Other(format!("the number {number}")))
    }

    fn visit_str<E>(self, text: &str) -> Result<Element, E> {
        Ok(Element::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Element, E> {
        Ok(Element::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Element, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Element::Other("a list".to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Element, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Element::Other("an object".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(json: &str) -> Result<Cell, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_read_and_what_no_field_holds_is_told_in_words() {
        let other = |words: &str| Ok(Cell::Other(words.to_owned()));
        assert_eq!(cell("null"), Ok(Cell::Absent));
        assert_eq!(cell("9223372036854775807"), Ok(Cell::Integer(i64::MAX)));
        assert_eq!(cell("9223372036854775808"), Ok(Cell::Unsigned(1 << 63)));
        assert_eq!(cell("-0.5"), Ok(Cell::Float(-0.5)));
        assert_eq!(cell(r#"["a", null, "b"]"#), Ok(Cell::Texts(vec!["a".to_owned(), "b".to_owned()])));
        assert_eq!(cell(r#"{"a": {"b": [1, {}]}}"#), other("an object"));
        assert_eq!(cell(r#"["a", [1, ["x"]], 7]"#), other("a list with a list"));
        assert_eq!(cell(r#"["a", 7, {}]"#), other("a list with the number 7"));
        assert!(cell(r#"["a", {]"#).is_err());
    }

    #[test]
    fn a_list_is_read_to_its_bound() {
        let list = |count: usize| format!("[{}\"\"]", "\"\",".repeat(count - 1));
        assert!(matches!(cell(&list(MAX_LIST_STRINGS)), Ok(Cell::Texts(texts)) if texts.len() == MAX_LIST_STRINGS));
        assert_eq!(cell(&list(MAX_LIST_STRINGS + 1)), Ok(Cell::too_long_list()));
    }

    #[test]
    fn no_nesting_exhausts_the_stack() {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let deep = format!("{}1{}", open.repeat(1_000_000), close.repeat(1_000_000));
            assert!(matches!(cell(&deep), Ok(Cell::Other(_))), "{open}");
        }
    }
}

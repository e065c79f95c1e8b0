//! A filter from a field's name and a value as a shopper writes it (`brand:Daybird`). Owns which comparison suits a type;
//! not the comparisons. Invariant: what it gives parses as the filter expression that the search team would write.

use schemas::{FieldSpec, FieldType};

use super::Filter;
use crate::error::SearchError;

impl Filter {
    /// Items whose declared field `name` has `value`: equal to it; for a list, containing it; for a category, it or below it.
    ///
    /// # Errors
    /// When there is no such field, or the value does not fit its type.
    pub fn field_has(name: &str, value: &str, fields: &[FieldSpec]) -> Result<Filter, SearchError> {
        let quoted = || format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
        let test = match fields.iter().find(|field| field.name == name).map(|field| field.r#type) {
            Some(FieldType::Category) => format!("under {}", quoted()),
            Some(FieldType::Integer | FieldType::Float | FieldType::Boolean) => format!("= {value}"),
            Some(FieldType::String | FieldType::Strings) | None => format!("= {}", quoted()),
        };
        Filter::parse(&format!("`{name}` {test}"), fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_its_comparison() {
        let field = |name: &str, r#type| FieldSpec { name: name.to_owned(), r#type, searched: false };
        let fields = [
            field("brand", FieldType::String),
            field("tags", FieldType::Strings),
            field("price", FieldType::Float),
            field("new", FieldType::Boolean),
            field("category", FieldType::Category),
        ];
        for (name, value, same) in [
            ("brand", "Day \"bird\\", "brand = 'Day \"bird\\\\'"),
            ("tags", "eco", "tags = 'eco'"),
            ("price", "20", "price = 20"),
            ("new", "true", "new = true"),
            ("category", "Home > Kitchen", "category under 'Home > Kitchen'"),
        ] {
            let expected = Filter::parse(same, &fields).unwrap();
            assert_eq!(Filter::field_has(name, value, &fields).unwrap(), expected, "{name}");
        }
        for (name, value) in [("price", "cheap"), ("price", "20 or exists(brand)x"), ("colour", "red"), ("new", "1")] {
            assert!(Filter::field_has(name, value, &fields).is_err(), "{name}:{value}");
        }
    }
}

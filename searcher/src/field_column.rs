//! A field by its name, and its value in a row. Owns which names filters, sorting, facets and collapsing know, what is
//! said of an unknown one, and reading a typed value; not what is done with it. Invariant: a column's values have its
//! field's type.

use std::path::PathBuf;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Float64Type, Int64Type};
use schemas::items::{
    DESCRIPTION_COLUMN, FIRST_FIELD_COLUMN, ID_COLUMN, IMAGE_COLUMN, ITEMS_FILE, ItemsReader, TITLE_COLUMN,
};
use schemas::{FieldSpec, FieldType, Row, SchemaError};

use crate::nearest_name::nearest_name;

/// Fields that every item has beside the declared ones, all strings, with their columns.
const BUILT_IN_FIELDS: [(&str, usize); 4] =
    [("id", ID_COLUMN), ("title", TITLE_COLUMN), ("description", DESCRIPTION_COLUMN), ("image", IMAGE_COLUMN)];

/// A field that a query names.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KnownField {
    pub(crate) name: String,
    /// Number of its column in `items.arrow`.
    pub(crate) column: usize,
    pub(crate) r#type: FieldType,
}

impl KnownField {
    /// The field of that name: one of an item's own or a declared one. The error says which there are, and which is
    /// probably meant.
    pub(crate) fn named(name: &str, fields: &[FieldSpec]) -> Result<KnownField, String> {
        let built_in = BUILT_IN_FIELDS.into_iter().map(|(name, column)| (name, column, FieldType::String));
        let declared = (FIRST_FIELD_COLUMN..).zip(fields);
        let all = built_in.chain(declared.map(|(column, field)| (field.name.as_str(), column, field.r#type)));
        if let Some((_, column, r#type)) = all.clone().find(|(known, ..)| *known == name) {
            return Ok(KnownField { name: name.to_owned(), column, r#type });
        }
        let names = all.map(|(known, ..)| known);
        let guess = match nearest_name(name, names.clone()) {
            Some(near) => format!(", did you mean `{near}`?"),
            None => ";".to_owned(),
        };
        let names: Vec<String> = names.map(|known| format!("`{known}`")).collect();
        Err(format!("unknown field `{name}`{guess} the fields are {}", names.join(", ")))
    }
}

/// A type in a message.
pub(crate) fn shown_type(r#type: FieldType) -> &'static str {
    match r#type {
        FieldType::String => "a string",
        FieldType::Strings => "a list of strings",
        FieldType::Integer => "an integer",
        FieldType::Float => "a number",
        FieldType::Boolean => "a truth value",
        FieldType::Category => "a category",
    }
}

/// The values of a field, by row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FieldColumn<'a> {
    items: &'a ItemsReader,
    field: &'a KnownField,
}

/// A value as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StoredValue<'a> {
    /// Of a string or category field.
    Text(&'a str),
    /// Of a list of strings.
    Texts(Vec<&'a str>),
    /// Of an integer field.
    Integer(i64),
    /// Of a float field; finite.
    Float(f64),
    /// Of a Boolean field.
    Boolean(bool),
}

impl<'a> FieldColumn<'a> {
    pub(crate) fn new(items: &'a ItemsReader, field: &'a KnownField) -> FieldColumn<'a> {
        FieldColumn { items, field }
    }

    /// The value of a row, if it has one. O(1) but for lists.
    pub(crate) fn value(&self, row: Row) -> Result<Option<StoredValue<'a>>, SchemaError> {
        let (batch, place) = self.items.locate(row)?;
        let (_, values) = self.items.column(batch, self.field.column)?;
        if values.is_null(place) {
            return Ok(None);
        }
        let found = stored_value(values, place, self.field.r#type);
        // The types were compared when the file was opened, so this error is never seen.
        let wrong = || SchemaError::Invalid {
            path: PathBuf::from(ITEMS_FILE),
            reason: format!("field `{}` is {}, not {}", self.field.name, values.data_type(), self.field.r#type),
        };
        found.map(Some).ok_or_else(wrong)
    }
}

/// The value at a valid place; `None` when the array is not of that type.
fn stored_value(values: &ArrayRef, place: usize, r#type: FieldType) -> Option<StoredValue<'_>> {
    Some(match r#type {
        FieldType::String | FieldType::Category => StoredValue::Text(values.as_string_opt::<i32>()?.value(place)),
        FieldType::Strings => {
            let lists = values.as_list_opt::<i32>()?;
            let strings = lists.values().as_string_opt::<i32>()?;
            let bounds = &lists.value_offsets()[place..=place + 1];
            let elements = (bounds[0]..bounds[1]).filter_map(|element| usize::try_from(element).ok());
            let valid = elements.filter(|element| strings.is_valid(*element));
            StoredValue::Texts(valid.map(|element| strings.value(element)).collect())
        }
        FieldType::Integer => StoredValue::Integer(values.as_primitive_opt::<Int64Type>()?.value(place)),
        FieldType::Float => StoredValue::Float(values.as_primitive_opt::<Float64Type>()?.value(place)),
        FieldType::Boolean => StoredValue::Boolean(values.as_boolean_opt()?.value(place)),
    })
}

#[cfg(test)]
mod tests {
    use schemas::MappedFile;

    use super::*;
    use crate::example;

    #[test]
    fn values_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        example::write_snapshot(folder.path(), &example::items()).unwrap();
        let fields = example::fields();
        let items = ItemsReader::open(MappedFile::open(&folder.path().join(ITEMS_FILE)).unwrap(), &fields).unwrap();
        let value = |name: &str, row: Row| {
            let field = KnownField::named(name, &fields).unwrap();
            format!("{:?}", FieldColumn::new(&items, &field).value(row).unwrap())
        };
        assert_eq!(value("id", 0), "Some(Text(\"mug-red\"))");
        assert_eq!(value("description", 1), "None");
        assert_eq!(value("price", 0), "Some(Float(9.5))");
        assert_eq!(value("stock", 2), "Some(Integer(0))");
        assert_eq!(value("new", 0), "Some(Boolean(true))");
        assert_eq!(value("category", 3), "Some(Text(\"Home > Living room\"))");
        assert_eq!(value("tags", 0), "Some(Texts([\"gift\", \"sale\"]))");
        assert_eq!(value("tags", 3), "Some(Texts([]))");
        assert_eq!(value("tags", 4), "None");
        let field = KnownField::named("id", &fields).unwrap();
        FieldColumn::new(&items, &field).value(6).unwrap_err();
    }

    #[test]
    fn an_unknown_name_comes_with_a_guess() {
        let message = |name: &str| KnownField::named(name, &example::fields()).unwrap_err();
        assert_eq!(
            message("prise"),
            "unknown field `prise`, did you mean `price`? the fields are `id`, `title`, `description`, `image`, `brand`, \
             `price`, `stock`, `new`, `category`, `tags`"
        );
        assert!(message("weight").starts_with("unknown field `weight`; the fields are `id`, "));
    }
}

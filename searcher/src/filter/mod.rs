//! Filter expressions over an item's id, texts and declared fields. Owns the language, its types and its evaluation to
//! a set of rows; not what is done with the set. Invariant: a filter that parses can be evaluated on every item of the
//! snapshot; the result depends on the items alone.
//!
//! ```text
//! brand = "Daybird" and price < 50 and category in ["Footwear", "Bags"]
//! category under "Home > Kitchen" and not (tags = "used" or exists(discount))
//! ```
//!
//! | form | for | means |
//! | --- | --- | --- |
//! | `f = v`, `f != v` | every type | equal, not equal; a list of strings: contains, does not contain |
//! | `f < v`, `<=`, `>`, `>=` | numbers | compared exactly, integers with floating point numbers too |
//! | `f in [v, …]` | every type but Boolean | equal to one of the values; a list: contains one of them |
//! | `f all [v, …]` | lists of strings | contains all of the values |
//! | `f prefix "Day"` | strings, lists, categories | begins so, compared as it is stored; a list: one element begins so |
//! | `f under "A > B"` | categories | that category or one below it |
//! | `exists(f)` | every type | the item has a value |
//! | `not`, `and`, `or`, `( )` | expressions | in this order of strength |
//!
//! `in`, `all`, `prefix` and `under` may have a `not` before them.
//! `id`, `title`, `description` and `image` (the picture's path) are strings. Strings stand in `"` or `'`, with `\` before a
//! quote or a `\` in them, and are compared as they are, capital letters included. Keywords may be written in capitals.
//! A field name with other characters than letters, digits, `_`, `-` and `.` stands in backquotes.
//!
//! An absent value is treated as in SQL: a comparison with it is neither true nor false, and neither is its `not`. Such
//! an item matches only through another side of an `or`, or through `not exists(f)`.

mod condition;
mod evaluate;
mod field_value;
mod lexer;
mod parser;

use schemas::FieldSpec;
use schemas::items::ItemsReader;

use crate::error::SearchError;
use crate::row_set::RowSet;

/// Deepest nesting of parentheses and `not` that is accepted.
pub const MAX_NESTING: usize = 64;

/// A filter expression that fits the fields of a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    expression: condition::Expression,
}

impl Filter {
    /// Parses an expression over the declared `fields`.
    ///
    /// # Errors
    /// [`SearchError::Filter`] with the character position and what would fit there.
    pub fn parse(text: &str, fields: &[FieldSpec]) -> Result<Filter, SearchError> {
        let expression = parser::parse(text, fields)?;
        Ok(Filter { expression })
    }

    /// The rows that match. Reads the columns it names of every item: O(items × conditions).
    ///
    /// # Errors
    /// When the items cannot be read.
    pub fn evaluate(&self, items: &ItemsReader) -> Result<RowSet, SearchError> {
        evaluate::evaluate(&self.expression, items)
    }
}

//! A filter as a tree of typed conditions. Owns the tree and what one condition says of one value; not parsing, nor
//! where values come from. Invariant: a condition's test fits the type of its column.

use std::cmp::Ordering;
use std::collections::HashSet;

/// A filter expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    /// All of them.
    And(Vec<Expression>),
    /// One of them.
    Or(Vec<Expression>),
    /// Not it.
    Not(Box<Expression>),
    /// The item has a value in that column of `items.arrow`.
    Exists(usize),
    /// What a column's value must be like.
    Condition {
        /// Number of the column in `items.arrow`.
        column: usize,
        /// The test.
        test: Test,
    },
}

/// What a value must be like.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    /// A string that is one of these, or a list of strings with one of these.
    OneOf(HashSet<String>),
    /// A list of strings with all of these.
    AllOf(HashSet<String>),
    /// A string that begins so, or a list of strings with one that does.
    Prefix(String),
    /// A category that is this one or below it.
    Under(String),
    /// A number that stands so to this one.
    Number(Comparison, Number),
    /// A number that is one of these.
    OneOfNumbers(Vec<Number>),
    /// This truth value.
    Boolean(bool),
}

/// How two numbers stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A finite number of either type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Integer(i64),
    Float(f64),
}

impl Test {
    pub(super) fn matches_string(&self, value: &str) -> bool {
        match self {
            Test::OneOf(wanted) => wanted.contains(value),
            Test::AllOf(wanted) => wanted.iter().all(|wanted| wanted == value),
            Test::Prefix(prefix) => value.starts_with(prefix.as_str()),
            Test::Under(category) => {
                value.strip_prefix(category.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(" > "))
            }
            Test::Number(..) | Test::OneOfNumbers(_) | Test::Boolean(_) => false,
        }
    }

    /// What the test says of a list, whose elements it is asked for as often as it likes.
    pub(super) fn matches_strings<'a>(&self, mut values: impl Iterator<Item = &'a str> + Clone) -> bool {
        match self {
            Test::AllOf(wanted) => wanted.iter().all(|wanted| values.clone().any(|value| value == wanted)),
            Test::OneOf(_)
            | Test::Prefix(_)
            | Test::Under(_)
            | Test::Number(..)
            | Test::OneOfNumbers(_)
            | Test::Boolean(_) => values.any(|value| self.matches_string(value)),
        }
    }

    pub(super) fn matches_number(&self, value: Number) -> bool {
        match self {
            Test::Number(comparison, wanted) => comparison.holds(value.compare(*wanted)),
            Test::OneOfNumbers(wanted) => wanted.iter().any(|wanted| Comparison::Equal.holds(value.compare(*wanted))),
            Test::OneOf(_) | Test::AllOf(_) | Test::Prefix(_) | Test::Under(_) | Test::Boolean(_) => false,
        }
    }

    pub(super) fn matches_boolean(&self, value: bool) -> bool {
        *self == Test::Boolean(value)
    }
}

impl Comparison {
    fn holds(self, ordering: Option<Ordering>) -> bool {
        ordering.is_some_and(|ordering| match self {
            Comparison::Equal => ordering.is_eq(),
            Comparison::Less => ordering.is_lt(),
            Comparison::LessOrEqual => ordering.is_le(),
            Comparison::Greater => ordering.is_gt(),
            Comparison::GreaterOrEqual => ordering.is_ge(),
        })
    }
}

impl Number {
    /// Compares by value, without rounding an integer to a float; `None` for NaN.
    fn compare(self, other: Number) -> Option<Ordering> {
        match (self, other) {
            (Number::Integer(left), Number::Integer(right)) => Some(left.cmp(&right)),
            (Number::Float(left), Number::Float(right)) => left.partial_cmp(&right),
            (Number::Integer(left), Number::Float(right)) => compare_mixed(left, right),
            (Number::Float(left), Number::Integer(right)) => compare_mixed(right, left).map(Ordering::reverse),
        }
    }
}

fn compare_mixed(integer: i64, float: f64) -> Option<Ordering> {
    /// 2^63, the first float above every `i64`; its negative is `i64::MIN` itself.
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if float.is_nan() {
        None
    } else if float >= BEYOND {
        Some(Ordering::Less)
    } else if float < -BEYOND {
        Some(Ordering::Greater)
    } else {
        let whole = float.trunc() as i64; // in range by the two checks above
        let fraction = float - float.trunc();
        Some(integer.cmp(&whole).then_with(|| 0.0.partial_cmp(&fraction).unwrap_or(Ordering::Equal)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_floats_compare_by_value() {
        let cases = [
            (5, 5.0, Ordering::Equal),
            (5, 5.5, Ordering::Less),
            (-5, -5.5, Ordering::Greater),
            (i64::MAX, 9_223_372_036_854_775_807.0, Ordering::Less), // the float is 2^63
            (i64::MIN, -9_223_372_036_854_775_808.0, Ordering::Equal),
            ((1 << 53) + 1, 9_007_199_254_740_992.0, Ordering::Greater),
            (0, f64::NEG_INFINITY, Ordering::Greater),
        ];
        for (integer, float, expected) in cases {
            assert_eq!(Number::Integer(integer).compare(Number::Float(float)), Some(expected), "{integer} {float}");
            assert_eq!(Number::Float(float).compare(Number::Integer(integer)), Some(expected.reverse()));
        }
        assert_eq!(Number::Integer(1).compare(Number::Float(f64::NAN)), None);
    }

    #[test]
    fn under_takes_whole_names() {
        let test = Test::Under("Home > Kitchen".to_owned());
        assert!(test.matches_string("Home > Kitchen"));
        assert!(test.matches_string("Home > Kitchen > Mugs"));
        assert!(!test.matches_string("Home > Kitchenware"));
        assert!(!test.matches_string("Home"));
    }
}

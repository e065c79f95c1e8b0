//! `VALUE^WEIGHT` on the command line. Owns that syntax. Invariant: a value without a weight stays as it is, whatever
//! characters it has.

use std::path::{Path, PathBuf};

use searcher::query::{DEFAULT_NEGATIVE_ITEM_WEIGHT, DEFAULT_NEGATIVE_TEXT_WEIGHT, DEFAULT_PART_WEIGHT};

/// A value and its weight: `shoe.jpg^0.5`. What stands after the last `^` is a weight only if it is a number, so that
/// `c^d` is a value; a value that ends so itself is written with a weight: `c^2^1`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Weighted {
    /// The argument as it was given.
    whole: String,
    /// The value without the weight.
    pub(crate) value: String,
    pub(crate) weight: f32,
}

impl Weighted {
    /// Never fails, but clap wants a result.
    pub(crate) fn parse(text: &str) -> Result<Weighted, String> {
        let (value, weight) = split(text);
        let weight = weight.unwrap_or(DEFAULT_PART_WEIGHT);
        Ok(Weighted { whole: text.to_owned(), value: value.to_owned(), weight })
    }

    /// A text that hits should not be like: the weight, which must be above 0, is taken as a negative one.
    pub(crate) fn parse_negative_text(text: &str) -> Result<Weighted, String> {
        Weighted::parse_negative(text, DEFAULT_NEGATIVE_TEXT_WEIGHT)
    }

    /// As [`Weighted::parse_negative_text`], for an item.
    pub(crate) fn parse_negative_item(text: &str) -> Result<Weighted, String> {
        Weighted::parse_negative(text, DEFAULT_NEGATIVE_ITEM_WEIGHT)
    }

    fn parse_negative(text: &str, default: f32) -> Result<Weighted, String> {
        let (value, weight) = split(text);
        let weight = weight.unwrap_or(default);
        if weight <= 0.0 {
            return Err(format!("the weight {weight} is not above 0; how much to stay away is a positive number"));
        }
        Ok(Weighted { whole: text.to_owned(), value: value.to_owned(), weight: -weight })
    }

    /// The value as a file: a file that exists under the whole argument's name is taken before one with a weight.
    pub(crate) fn file(&self) -> (PathBuf, f32) {
        if self.whole != self.value && Path::new(&self.whole).is_file() {
            (PathBuf::from(&self.whole), DEFAULT_PART_WEIGHT)
        } else {
            (PathBuf::from(&self.value), self.weight)
        }
    }
}

fn split(text: &str) -> (&str, Option<f32>) {
    let split = text.rsplit_once('^').and_then(|(value, weight)| Some((value, parse_weight(weight)?)));
    split.map_or((text, None), |(value, weight)| (value, Some(weight)))
}

/// A decimal number; not `inf` or `nan`, which Rust would parse too.
fn parse_weight(text: &str) -> Option<f32> {
    let is_decimal =
        text.chars().all(|character| character.is_ascii_digit() || matches!(character, '+' | '-' | '.' | 'e' | 'E'));
    text.parse().ok().filter(|weight: &f32| is_decimal && weight.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, f32) {
        let weighted = Weighted::parse(text).unwrap();
        (weighted.value, weighted.weight)
    }

    #[test]
    fn a_number_after_the_last_caret_is_a_weight() {
        let expect = |text, value: &str, weight| assert_eq!(parsed(text), (value.to_owned(), weight), "{text}");
        expect("shoe.jpg", "shoe.jpg", 1.0);
        expect("shoe.jpg^0.5", "shoe.jpg", 0.5);
        expect("red^-2", "red", -2.0);
        expect("c^2^.5", "c^2", 0.5);
        expect("c^d", "c^d", 1.0);
        expect("c^", "c^", 1.0);
        expect("c^nan", "c^nan", 1.0);
        expect("c^inf", "c^inf", 1.0);
        expect("c^1e99", "c^1e99", 1.0);
    }

    #[test]
    fn what_to_stay_away_from_has_a_negative_weight() {
        let weight = |text| Weighted::parse_negative_text(text).map(|weighted| (weighted.value, weighted.weight));
        assert_eq!(weight("red^0.25"), Ok(("red".to_owned(), -0.25)));
        assert_eq!(weight("c^d"), Ok(("c^d".to_owned(), -DEFAULT_NEGATIVE_TEXT_WEIGHT)));
        assert_eq!(Weighted::parse_negative_item("p1").map(|item| item.weight), Ok(-DEFAULT_NEGATIVE_ITEM_WEIGHT));
        for wrong in ["red^0", "red^-1"] {
            assert!(weight(wrong).unwrap_err().contains("not above 0"), "{wrong}");
        }
    }
}

//! `VALUE^WEIGHT` on the command line. Owns that syntax. Invariant: a value without a weight stays as it is, whatever
//! characters it has.

use std::path::{Path, PathBuf};

use searcher::query::DEFAULT_PART_WEIGHT;

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
        let (value, weight) =
            text.rsplit_once('^').and_then(|(value, weight)| Some((value, parse_weight(weight)?))).unzip();
        Ok(Weighted {
            whole: text.to_owned(),
            value: value.unwrap_or(text).to_owned(),
            weight: weight.unwrap_or(DEFAULT_PART_WEIGHT),
        })
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
}

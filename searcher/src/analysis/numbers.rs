//! Numbers of a text in one spelling. Owns where a number ends and what it is written as; not what is measured by it.
//! Invariant: spellings of one number give one text, and a text with several dots or commas that is no number is left
//! as its groups of digits.
//!
//! Read are `1234`, `1,234.50` and `1.234,50` (both 1234.5), `2,5` (2.5), `½`, `1/2` and `1½` (0.5, 0.5, 1.5). A comma
//! before exactly three digits separates thousands, a dot there is a decimal point: `1,234` is 1234 and `1.234` is 1.234.
//! Groups with a leading zero (`007`, `05.12`) are names of things and stay as they are.

use super::fold::FoldedChar;

/// Groups of digits between dots and commas that are read as one number; with more it is an address or a list.
const MAX_GROUPS: usize = 6;
/// Digits of a group that is read as part of a number.
const MAX_GROUP_DIGITS: usize = 15;
/// Denominators of fractions that are read: those that measures have.
const DENOMINATORS: [u32; 9] = [2, 3, 4, 5, 6, 8, 16, 32, 64];
/// U+2044, which `½` has between its digits after NFKC.
const FRACTION_SLASH: char = '\u{2044}';

/// A number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Number {
    /// Digits with at most one dot; a fraction without a finite decimal form as `1/3`.
    pub(super) text: String,
    /// The character after it.
    pub(super) end: usize,
    /// Whether a comma in it was read as a decimal point, so that it could also be a list of two.
    pub(super) list: bool,
}

/// Where a number stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At the start of a word.
    Start,
    /// After letters: only a decimal point is read, and only where no letter follows (`usb3.0`).
    AfterLetters,
}

/// The number whose first digit is at `at`, which must be a digit with none before it.
pub(super) fn number(chars: &[FoldedChar], at: usize, place: Place) -> Number {
    let whole = digits(chars, at);
    let plain = || Number { text: text(chars, at, whole), end: whole, list: false };
    // A group inside a chain of groups is no number of its own: the chain was refused at its head.
    let in_chain = at >= 2 && is_separator(chars[at - 1].value) && chars[at - 2].value.is_ascii_digit();
    if in_chain || whole - at > MAX_GROUP_DIGITS || !may_go_on(chars, whole) {
        return plain();
    }
    let separated = || separated(chars, at, whole);
    match place {
        Place::Start => fraction(chars, at).or_else(|| mixed(chars, at, whole)).or_else(separated),
        Place::AfterLetters => separated()
            .filter(|found| !found.list && !letter_at(chars, found.end) && !text(chars, at, found.end).contains(',')),
    }
    .unwrap_or_else(plain)
}

/// The digits after a leading decimal point at `at`, as in `.5`.
pub(super) fn after_point(chars: &[FoldedChar], at: usize) -> Option<Number> {
    let end = digits(chars, at + 1);
    let alone = at == 0 || chars[at - 1].value.is_whitespace();
    let chained = chars.get(end).is_some_and(|next| is_separator(next.value)) && digits(chars, end + 1) > end + 1;
    if !alone || chained || end == at + 1 || end - at > MAX_GROUP_DIGITS {
        return None;
    }
    Some(Number { text: decimal("0", &text(chars, at + 1, end)), end, list: false })
}

/// Whether what stands at `whole`, behind digits, can belong to their number: most numbers end there.
fn may_go_on(chars: &[FoldedChar], whole: usize) -> bool {
    match chars.get(whole).map(|next| next.value) {
        Some('.' | ',' | '/' | FRACTION_SLASH) => true,
        Some(' ' | '-') => chars.get(whole + 1).is_some_and(|after| after.value.is_ascii_digit()),
        Some(other) => other.is_ascii_digit(),
        None => false,
    }
}

/// Groups of digits with dots and commas between them.
fn separated(chars: &[FoldedChar], at: usize, whole: usize) -> Option<Number> {
    if !chars.get(whole).is_some_and(|next| is_separator(next.value)) {
        return None;
    }
    let mut groups = vec![text(chars, at, whole)];
    let mut separators = Vec::new();
    let mut end = whole;
    while let Some(separator) = chars.get(end).map(|next| next.value).filter(|value| is_separator(*value)) {
        let next = digits(chars, end + 1);
        if next == end + 1 {
            break;
        }
        if groups.len() == MAX_GROUPS || next - end > MAX_GROUP_DIGITS {
            return None;
        }
        separators.push(separator);
        groups.push(text(chars, end + 1, next));
        end = next;
    }
    let (last, before) = groups.split_last()?;
    let (point, thousands) = separators.split_last()?;
    let is_named = before[0].len() > 1 && before[0].starts_with('0');
    let thousands_fit = |groups: &[String]| groups[0].len() <= 3 && groups[1..].iter().all(|group| group.len() == 3);
    if is_named || vulgar_at(chars, end) {
        return None;
    }
    let number = |text, list| Some(Number { text, end, list });
    match thousands {
        [] if *point == '.' => number(decimal(&before[0], last), false),
        [] if last.len() == 3 && before[0].len() <= 3 && before[0] != "0" => number(groups.concat(), false),
        [] if last.len() <= 2 || before[0] == "0" => number(decimal(&before[0], last), true),
        [] => None,
        [first, rest @ ..] if rest.iter().any(|other| other != first) => None,
        [first, ..] if first == point => {
            thousands_fit(&groups).then(|| groups.concat()).and_then(|text| number(text, false))
        }
        [..] if thousands_fit(before) => number(decimal(&before.concat(), last), false),
        [..] => None,
    }
}

/// `1/2` and `½`: proper, in lowest terms, with a denominator that measures have.
fn fraction(chars: &[FoldedChar], at: usize) -> Option<Number> {
    let slash = digits(chars, at);
    let end = digits(chars, slash + 1);
    let is_slash = match chars.get(slash)?.value {
        FRACTION_SLASH => true,
        '/' => at == 0 || !matches!(chars[at - 1].value, '/' | '.' | ',' | '-'),
        _ => false,
    };
    if !is_slash || slash - at > 2 || end == slash + 1 || end - slash > 3 {
        return None;
    }
    if chars.get(end).is_some_and(|next| next.value == '/') || vulgar_at(chars, end) {
        return None;
    }
    let parse = |from, to| text(chars, from, to).parse::<u32>().ok();
    let (numerator, denominator) = (parse(at, slash)?, parse(slash + 1, end)?);
    let proper = 0 < numerator && numerator < denominator && DENOMINATORS.contains(&denominator);
    if !proper || common_divisor(numerator, denominator) > 1 {
        return None;
    }
    let text = if denominator % 3 == 0 {
        format!("{numerator}/{denominator}")
    } else {
        // Sixty-fourths and fifths have at most six decimals.
        decimal("0", &format!("{:06}", numerator * 1_000_000 / denominator))
    };
    Some(Number { text, end, list: false })
}

/// A whole number with a fraction: `1½`, and `1 1/2` or `1-1/2`.
fn mixed(chars: &[FoldedChar], at: usize, whole: usize) -> Option<Number> {
    let start = match chars.get(whole) {
        Some(next) if next.value.is_ascii_digit() => whole,
        Some(next) if next.value == ' ' || next.value == '-' => whole + 1,
        Some(_) | None => return None,
    };
    if whole - at > 3
        || !chars.get(start)?.value.is_ascii_digit()
        || (start > whole && chars[whole].value == '-' && at > 0 && chars[at - 1].value == '-')
    {
        return None;
    }
    // The fraction is looked at as if it stood alone: the hyphen before it belongs to the number.
    let found = fraction(&chars[start..], 0)?;
    let decimals = found.text.strip_prefix("0.")?;
    Some(Number { text: decimal(&text(chars, at, whole), decimals), end: start + found.end, list: false })
}

/// The character after the digits from `at`; the digits of `½` are not those of a number before it.
fn digits(chars: &[FoldedChar], at: usize) -> usize {
    let mut end = at;
    while chars.get(end).is_some_and(|next| next.value.is_ascii_digit()) && (end == at || !vulgar_at(chars, end)) {
        end += 1;
    }
    end
}

/// Whether a fraction of one character, `½`, begins at `at`.
fn vulgar_at(chars: &[FoldedChar], at: usize) -> bool {
    let Some(first) = chars.get(at) else { return false };
    let is_first = at == 0 || chars[at - 1].start != first.start;
    let together = chars[at..].iter().take(3).take_while(|next| next.start == first.start);
    is_first && together.skip(1).any(|next| next.value == FRACTION_SLASH)
}

/// A number with its decimals, without the zeros that change nothing.
fn decimal(whole: &str, decimals: &str) -> String {
    match decimals.trim_end_matches('0') {
        "" => whole.to_owned(),
        decimals => format!("{whole}.{decimals}"),
    }
}

fn text(chars: &[FoldedChar], start: usize, end: usize) -> String {
    chars[start..end].iter().map(|folded| folded.value).collect()
}

fn is_separator(value: char) -> bool {
    matches!(value, '.' | ',')
}

fn letter_at(chars: &[FoldedChar], at: usize) -> bool {
    chars.get(at).is_some_and(|next| next.value.is_alphabetic())
}

fn common_divisor(one: u32, other: u32) -> u32 {
    if other == 0 { one } else { common_divisor(other, one % other) }
}

#[cfg(test)]
mod tests {
    use super::super::fold::fold;
    use super::*;

    fn read(written: &str) -> (String, usize) {
        let chars = fold(written);
        let found = number(&chars, 0, Place::Start);
        (found.text, chars.len() - found.end)
    }

    #[test]
    fn one_number_has_one_text() {
        let cases = [
            ("1234", "1234"),
            ("12,345.67", "12345.67"),
            ("12.345,67", "12345.67"),
            ("1.234.567", "1234567"),
            ("1,234", "1234"),
            ("1.234", "1.234"),
            ("2,5", "2.5"),
            ("2.50", "2.5"),
            ("3.0", "3"),
            ("0,125", "0.125"),
            ("½", "0.5"),
            ("1/2", "0.5"),
            ("1½", "1.5"),
            ("1 1/2", "1.5"),
            ("1-1/2", "1.5"),
            ("12¾", "12.75"),
            ("7/64", "0.109375"),
            ("⅓", "1/3"),
            ("1/3", "1/3"),
            ("１２．５", "12.5"),
        ];
        for (written, expected) in cases {
            assert_eq!(read(written), (expected.to_owned(), 0), "{written}");
        }
    }

    #[test]
    fn what_is_no_number_stays_its_digits() {
        let cases = [
            ("007", "007", 0),
            ("05.12", "05", 3),
            ("1.2.3.4", "1", 6),
            ("10,20,30", "10", 6),
            ("1234,567", "1234", 4),
            ("24/7", "24", 2),
            ("2/4", "2", 2),
            ("1/2/2020", "1", 7),
            ("5.", "5", 1),
            ("1,234,56", "1", 7),
        ];
        for (written, expected, rest) in cases {
            assert_eq!(read(written), (expected.to_owned(), rest), "{written}");
        }
    }

    #[test]
    fn a_leading_point_is_read_where_it_stands_alone() {
        let read = |written: &str, at| after_point(&fold(written), at).map(|number| number.text);
        assert_eq!(read(".50 inch", 0), Some("0.5".to_owned()));
        assert_eq!(read("a.5", 1), None);
        assert_eq!(read(".5.1", 0), None);
    }
}

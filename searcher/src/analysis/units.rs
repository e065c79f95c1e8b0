//! Units of measure. Owns their spellings, each unit's one name, and where a unit stands behind a number; not numbers.
//! Invariant: a name is the commonest symbol in lower case, so that `500GB` as one word is its own measure; only the inch
//! is called `inch`, because `in` is a word.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::fold::{Class, FoldedChar, class};
use super::han;

/// Spellings in letters, by unit.
const LETTER_UNITS: &[(&str, &[&str])] = &[
    ("inch", &["in", "inch", "inches", "zoll"]),
    ("ft", &["ft", "foot", "feet"]),
    ("mm", &["mm", "millimeter", "millimeters", "millimetre", "millimetres"]),
    ("cm", &["cm", "centimeter", "centimeters", "centimetre", "centimetres"]),
    ("m", &["m", "meter", "meters", "metre", "metres"]),
    ("km", &["km", "kilometer", "kilometers", "kilometre", "kilometres"]),
    ("m2", &["m2", "sqm"]),
    ("mg", &["mg", "milligram", "milligrams"]),
    ("g", &["g", "gr", "gram", "grams", "gramme", "grammes", "gramm"]),
    ("kg", &["kg", "kgs", "kilogram", "kilograms", "kilo", "kilos"]),
    ("lb", &["lb", "lbs", "pound", "pounds"]),
    ("oz", &["oz", "ounce", "ounces"]),
    ("ml", &["ml", "milliliter", "milliliters", "millilitre", "millilitres"]),
    ("cl", &["cl", "centiliter", "centiliters", "centilitre", "centilitres"]),
    ("l", &["l", "liter", "liters", "litre", "litres"]),
    ("w", &["w", "watt", "watts"]),
    ("kw", &["kw", "kilowatt", "kilowatts"]),
    ("wh", &["wh"]),
    ("kwh", &["kwh"]),
    ("v", &["v", "volt", "volts"]),
    ("mv", &["mv"]),
    ("ma", &["ma"]),
    ("amp", &["amp", "amps", "ampere", "amperes"]),
    ("ah", &["ah"]),
    ("mah", &["mah"]),
    ("hz", &["hz", "hertz"]),
    ("khz", &["khz", "kilohertz"]),
    ("mhz", &["mhz", "megahertz"]),
    ("ghz", &["ghz", "gigahertz"]),
    ("kb", &["kb", "kilobyte", "kilobytes"]),
    ("mb", &["mb", "megabyte", "megabytes"]),
    ("gb", &["gb", "gigabyte", "gigabytes"]),
    ("tb", &["tb", "terabyte", "terabytes"]),
    ("mbps", &["mbps"]),
    ("gbps", &["gbps"]),
    ("mp", &["mp", "megapixel", "megapixels"]),
    ("dpi", &["dpi"]),
    ("rpm", &["rpm"]),
    ("db", &["db", "decibel", "decibels"]),
    ("lm", &["lm", "lumen", "lumens"]),
];

static UNITS_BY_SPELLING: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| {
    LETTER_UNITS.iter().flat_map(|(name, spellings)| spellings.iter().map(move |spelling| (*spelling, *name))).collect()
});

/// Spellings in Han characters, longer ones before those they begin with.
const HAN_UNITS: &[(&str, &str)] = &[
    ("英寸", "inch"),
    ("英吋", "inch"),
    ("吋", "inch"),
    ("寸", "inch"),
    ("英尺", "ft"),
    ("毫米", "mm"),
    ("厘米", "cm"),
    ("公分", "cm"),
    ("千米", "km"),
    ("公里", "km"),
    ("平方米", "m2"),
    ("米", "m"),
    ("毫克", "mg"),
    ("千克", "kg"),
    ("公斤", "kg"),
    ("克", "g"),
    ("磅", "lb"),
    ("盎司", "oz"),
    ("毫升", "ml"),
    ("升", "l"),
    ("千瓦", "kw"),
    ("瓦", "w"),
    ("伏", "v"),
    ("毫安时", "mah"),
    ("毫安", "mah"),
    ("兆赫", "mhz"),
    ("赫兹", "hz"),
    ("分贝", "db"),
    ("流明", "lm"),
];

/// Characters of the longest spelling in letters.
const LONGEST: usize = 11;

/// A unit behind a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnitAfter {
    /// The unit's name.
    pub(super) name: &'static str,
    /// How it is written.
    pub(super) spelling: UnitSpelling,
    /// First character of the unit, and the one after it.
    pub(super) start: usize,
    pub(super) end: usize,
}

/// How a unit is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnitSpelling {
    /// `15.6"`.
    Sign,
    /// `500gb`.
    Attached,
    /// `500 gb`, `15.6-inch`.
    Word,
    /// `500毫升`; a run of Han characters may go on behind it.
    Han,
}

/// The unit behind the number that ends at `at`. `quoted`: a quotation mark was opened before, so that the next one closes it.
pub(super) fn unit_after(chars: &[FoldedChar], at: usize, quoted: bool) -> Option<UnitAfter> {
    let next = chars.get(at)?.value;
    let sign = |length| Some(UnitAfter { name: "inch", spelling: UnitSpelling::Sign, start: at, end: at + length });
    match next {
        '"' | '\u{201D}' if !quoted => return sign(1),
        // Two primes are what NFKC makes of a double one.
        '\'' | '\u{2032}' | '\u{2019}' if chars.get(at + 1).is_some_and(|second| second.value == next) => {
            return sign(2);
        }
        _ => {}
    }
    if class(next) == Class::Word {
        return letters(chars, at, UnitSpelling::Attached);
    }
    if matches!(next, '-' | '\u{2010}' | '\u{2011}') {
        return letters(chars, at + 1, UnitSpelling::Word);
    }
    let start = at + chars[at..].iter().take_while(|after| after.value.is_whitespace()).count();
    if start == at + 1
        && let Some(found) = letters(chars, start, UnitSpelling::Word)
    {
        return Some(found);
    }
    han_unit(chars, start)
}

fn letters(chars: &[FoldedChar], start: usize, spelling: UnitSpelling) -> Option<UnitAfter> {
    let length = chars[start..].iter().take(LONGEST + 1).take_while(|next| is_of_word(next.value)).count();
    if length == 0 || length > LONGEST {
        return None;
    }
    let end = start + length;
    let mut bytes = [0; LONGEST];
    for (byte, folded) in bytes.iter_mut().zip(&chars[start..end]) {
        // No spelling in letters has others than ASCII's, so they are as long in bytes.
        *byte = u8::try_from(folded.value).ok()?;
    }
    let written = std::str::from_utf8(&bytes[..length]).ok()?;
    let name = *UNITS_BY_SPELLING.get(written)?;
    // `2 in 1` is no length.
    let is_preposition = written == "in"
        && spelling == UnitSpelling::Word
        && chars.get(end + 1).is_some_and(|after| after.value.is_ascii_digit());
    (!is_preposition).then_some(UnitAfter { name, spelling, start, end })
}

/// Han characters are a unit unless the dictionary has a longer word that begins with them: `2升` but not `2升级`.
fn han_unit(chars: &[FoldedChar], start: usize) -> Option<UnitAfter> {
    let mut places = (start..chars.len()).filter(|at| !chars[*at].value.is_whitespace());
    let mut run = [(0, ' '); 4];
    let mut length = 0;
    while let Some(at) = places.next().filter(|at| length < run.len() && class(chars[*at].value) == Class::Han) {
        run[length] = (at, chars[at].value);
        length += 1;
    }
    if length == 0 {
        return None;
    }
    let text: String = run[..length].iter().map(|(_, value)| *value).collect();
    let (spelling, name) = HAN_UNITS.iter().find(|(spelling, _)| text.starts_with(spelling))?;
    let count = spelling.chars().count();
    let longer = (count < length).then(|| text.chars().take(count + 1).collect::<String>());
    if longer.is_some_and(|longer| han::is_dictionary_word(&longer)) {
        return None;
    }
    Some(UnitAfter { name, spelling: UnitSpelling::Han, start, end: run[count - 1].0 + 1 })
}

fn is_of_word(value: char) -> bool {
    class(value) == Class::Word
}

#[cfg(test)]
mod tests {
    use super::super::fold::fold;
    use super::*;

    fn unit(text: &str) -> Option<(&'static str, UnitSpelling)> {
        let chars = fold(text);
        let at = chars.iter().take_while(|next| next.value.is_ascii_digit()).count();
        unit_after(&chars, at, false).map(|found| (found.name, found.spelling))
    }

    #[test]
    fn units_are_found_however_they_are_written() {
        let cases = [
            ("15\"", Some(("inch", UnitSpelling::Sign))),
            ("15''", Some(("inch", UnitSpelling::Sign))),
            ("15″", Some(("inch", UnitSpelling::Sign))),
            ("15in", Some(("inch", UnitSpelling::Attached))),
            ("15-Inches", Some(("inch", UnitSpelling::Word))),
            ("5㎏", Some(("kg", UnitSpelling::Attached))),
            ("500 毫升装", Some(("ml", UnitSpelling::Han))),
            ("2升级", None),
            ("2升级版", None),
            ("2 in 1", None),
            ("2in1", None),
            ("5 gbs", None),
            ("5, g", None),
            ("5", None),
        ];
        for (text, expected) in cases {
            assert_eq!(unit(text), expected, "{text}");
        }
    }

    #[test]
    fn a_closing_quotation_mark_is_no_inch() {
        assert_eq!(unit_after(&fold("13\" case"), 2, true), None);
    }

    #[test]
    fn spellings_belong_to_one_unit() {
        let mut all: Vec<&str> = LETTER_UNITS.iter().flat_map(|(_, spellings)| spellings.iter().copied()).collect();
        assert!(all.iter().all(|spelling| spelling.len() <= LONGEST));
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}

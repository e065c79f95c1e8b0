//! Folding of characters before they are split into words. Owns normalisation and character classes; not words.
//! Invariant: every folded character knows the bytes of the text it came from, and those are whole characters.
//!
//! A base character and the marks after it are folded together: NFKC and lower case (full-width `Ａ` → `a`, `㎏` → `kg`,
//! `ﾊﾞ` → `バ`); marks are dropped from Latin and Greek letters (`é` → `e`) and letters without a decomposition are
//! spelt out (`ß` → `ss`, `ø` → `o`). Invisible characters inside words (soft hyphen, joiners, variation selectors) go.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// A character after folding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FoldedChar {
    /// The character.
    pub(super) value: char,
    /// Start, in the text's bytes, of what it was folded from.
    pub(super) start: usize,
    /// Its end, exclusive.
    pub(super) end: usize,
}

/// How a character takes part in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Letter or digit of a script that separates words.
    Word,
    /// Continues a word.
    Mark,
    /// Han character: words by dictionary.
    Han,
    /// Kana or hangul: words by pairs of characters.
    Pair,
    /// Separates words.
    Break,
}

/// Folds a text.
pub(super) fn fold(text: &str) -> Vec<FoldedChar> {
    let mut folded = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut start = 0;
    while let Some(byte) = bytes.get(start) {
        // Nothing goes on with a character that one of ASCII follows.
        if byte.is_ascii() && bytes.get(start + 1).is_none_or(u8::is_ascii) {
            folded.push(FoldedChar { value: char::from(byte.to_ascii_lowercase()), start, end: start + 1 });
            start += 1;
            continue;
        }
        let mut chars = text[start..].char_indices().skip(1);
        let end = chars.find(|(_, next)| !continues(*next)).map_or(text.len(), |(at, _)| start + at);
        if byte.is_ascii() && end == start + 1 {
            folded.push(FoldedChar { value: char::from(byte.to_ascii_lowercase()), start, end });
        } else {
            fold_cluster(&text[start..end], |value| folded.push(FoldedChar { value, start, end }));
        }
        start = end;
    }
    folded
}

/// Folds a base character with its marks.
fn fold_cluster(cluster: &str, mut push: impl FnMut(char)) {
    let loses_marks = cluster.nfkd().next().is_some_and(loses_marks);
    let mut push_lower = |value: char| match spelt_out(value) {
        Some(letters) => letters.chars().for_each(&mut push),
        None => value.to_lowercase().for_each(&mut push),
    };
    if loses_marks {
        cluster.nfkd().filter(|value| !is_combining_mark(*value) && !is_invisible(*value)).for_each(&mut push_lower);
    } else {
        cluster.nfkc().filter(|value| !is_invisible(*value)).for_each(&mut push_lower);
    }
}

/// Whether a character is folded together with the one before it: marks, invisible characters, conjoining hangul
/// vowels and finals, half-width voicing marks.
fn continues(value: char) -> bool {
    !value.is_ascii()
        && (is_combining_mark(value)
            || is_invisible(value)
            || matches!(value, '\u{1160}'..='\u{11FF}' | '\u{FF9E}' | '\u{FF9F}'))
}

/// Soft hyphen, joiners, byte order mark, variation selectors.
fn is_invisible(value: char) -> bool {
    matches!(
        value,
        '\u{AD}' | '\u{200C}' | '\u{200D}' | '\u{2060}' | '\u{FEFF}' | '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}'
    )
}

/// ASCII, Latin and Greek.
fn loses_marks(base: char) -> bool {
    base.is_ascii() || matches!(base, '\u{C0}'..='\u{24F}' | '\u{370}'..='\u{3FF}' | '\u{1E00}'..='\u{1FFF}')
}

/// Letters that have no decomposition but a customary spelling without them.
fn spelt_out(value: char) -> Option<&'static str> {
    Some(match value {
        'ß' | 'ẞ' => "ss",
        'æ' | 'Æ' => "ae",
        'œ' | 'Œ' => "oe",
        'ø' | 'Ø' => "o",
        'ł' | 'Ł' => "l",
        'đ' | 'Đ' | 'ð' | 'Ð' => "d",
        'þ' | 'Þ' => "th",
        'ı' => "i",
        'ς' => "σ",
        _ => return None,
    })
}

/// The class of a folded character.
#[inline]
pub(super) fn class(value: char) -> Class {
    match value {
        'a'..='z' | '0'..='9' | 'A'..='Z' => Class::Word,
        '\0'..='\u{7F}' => Class::Break,
        '\u{2E80}'..='\u{2FDF}'
        | '\u{3005}'
        | '\u{3007}'
        | '\u{3400}'..='\u{4DBF}'
        | '\u{4E00}'..='\u{9FFF}'
        | '\u{F900}'..='\u{FAFF}'
        | '\u{20000}'..='\u{323AF}' => Class::Han,
        '\u{3041}'..='\u{3096}'
        | '\u{309D}'..='\u{309F}'
        | '\u{30A1}'..='\u{30FA}'
        | '\u{30FC}'..='\u{30FF}'
        | '\u{3105}'..='\u{312F}'
        | '\u{3131}'..='\u{318E}'
        | '\u{31F0}'..='\u{31FF}'
        | '\u{1100}'..='\u{11FF}'
        | '\u{AC00}'..='\u{D7A3}' => Class::Pair,
        value if is_combining_mark(value) => Class::Mark,
        value if value.is_alphanumeric() => Class::Word,
        _ => Class::Break,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> String {
        fold(text).into_iter().map(|folded| folded.value).collect()
    }

    #[test]
    fn folds_case_width_and_diacritics() {
        let cases = [
            ("Crème BRÛLÉE", "creme brulee"),
            ("cafe\u{301}", "cafe"),
            ("ＵＳＢ㎏", "usbkg"),
            ("Straße Ørsted Łódź İstanbul", "strasse orsted lodz istanbul"),
            ("ΠΟΔΉΛΑΤΟΣ ποδήλατος", "ποδηλατοσ ποδηλατοσ"),
            ("Йод", "йод"),
            ("ﾊﾞﾝﾄﾞ", "バンド"),
            ("wire\u{AD}less \u{1F468}\u{200D}\u{1F4BB}", "wireless \u{1F468}\u{1F4BB}"),
            ("1\u{FE0F}\u{20E3}", "1"),
            ("\u{1112}\u{1161}\u{11AB}", "\u{D55C}"),
        ];
        for (text, expected) in cases {
            assert_eq!(folded(text), expected, "{text}");
        }
    }

    #[test]
    fn offsets_are_those_of_the_text() {
        let found = fold("é㎏x");
        assert_eq!(
            found.iter().map(|folded| (folded.start, folded.end)).collect::<Vec<_>>(),
            [(0, 2), (2, 5), (2, 5), (5, 6)]
        );
    }
}

//! A shopper's text: what of it is syntax. Owns quotes, minus and `field:value`; not what they find. Invariants: any text can
//! be read, and what only looks like syntax is text; a text keeps at least one word to look for.
//!
//! * `"red mug"`: items must have these words next to each other. The quotes must open before a word and close before white
//!   space or the end, so that `15.6" laptop` is a size.
//! * `-word`, `-"a phrase"`: items must not have it. The minus must stand before a letter or a quote and after white space,
//!   so that `-20 °C` and `wi-fi` are text.
//! * `field:value`, `field:"a value"`: the item's field must have it. The field must be searched or declared; else, as in
//!   `http://…` or `ratio 16:9`, it is text.
//!
//! Quoted words and the values of searched fields are looked for like all others too. Where nothing would be left to look
//! for (`-mug`), all of the text is text.

/// What a text asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueryText {
    /// The words to look for, without syntax: what keyword search scores and encoders embed.
    pub plain: String,
    /// What every hit must have, or must not have.
    pub clauses: Vec<Clause>,
}

/// A condition that a text sets.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Clause {
    /// Words, next to each other.
    pub words: String,
    /// The field that is meant; `None`: any searched one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Whether hits must not have them.
    pub excluded: bool,
}

/// Reads a text. `is_field` says which names are fields; `is_searched` which of them keyword search looks into.
#[must_use]
pub fn read(text: &str, is_field: impl Fn(&str) -> bool, is_searched: impl Fn(&str) -> bool) -> QueryText {
    let mut found = QueryText::default();
    let mut rest = text;
    let mut word_before = false;
    while let Some(first) = rest.chars().next() {
        if !word_before && let Some((clause, after)) = clause(rest, &is_field) {
            if !clause.excluded && clause.field.as_deref().is_none_or(&is_searched) {
                push_words(&mut found.plain, &clause.words);
            }
            found.clauses.push(clause);
            rest = after;
            continue;
        }
        found.plain.push(first);
        word_before = !first.is_whitespace() && first != '(';
        rest = &rest[first.len_utf8()..];
    }
    if found.plain.trim().is_empty() {
        return QueryText { plain: text.to_owned(), clauses: Vec::new() };
    }
    found
}

fn push_words(plain: &mut String, words: &str) {
    if !plain.is_empty() && !plain.ends_with(char::is_whitespace) {
        plain.push(' ');
    }
    plain.push_str(words);
}

/// The clause that `text` begins with, and what follows it.
fn clause<'a>(text: &'a str, is_field: &impl Fn(&str) -> bool) -> Option<(Clause, &'a str)> {
    let (excluded, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => (true, unsigned),
        None => (false, text),
    };
    if let Some((words, after)) = quoted(unsigned) {
        return Some((Clause { words: words.to_owned(), field: None, excluded }, after));
    }
    let end = unsigned.find(char::is_whitespace).unwrap_or(unsigned.len());
    let (word, after) = unsigned.split_at(end);
    if let Some((name, value)) = word.split_once(':').filter(|(name, value)| is_field(name) && !value.is_empty()) {
        let (words, after) = quoted(&unsigned[name.len() + 1..]).unwrap_or((value, after));
        if words.contains(char::is_alphanumeric) {
            return Some((Clause { words: words.to_owned(), field: Some(name.to_owned()), excluded }, after));
        }
    }
    let is_word = word.chars().next().is_some_and(char::is_alphabetic);
    (excluded && is_word).then(|| (Clause { words: word.to_owned(), field: None, excluded }, after))
}

/// The content of the quotes that `text` begins with, and what follows them; nothing where they do not close before white
/// space or hold no word.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let opening = text.chars().next()?;
    let closing = match opening {
        '"' => '"',
        '“' | '„' => '”',
        '「' => '」',
        '『' => '』',
        _ => return None,
    };
    let inside = &text[opening.len_utf8()..];
    let ends = |at: &usize| {
        let after = &inside[at + closing.len_utf8()..];
        after.chars().next().is_none_or(|next| next.is_whitespace() || next == ')' || opening != '"')
    };
    let end = inside.match_indices(closing).map(|(at, _)| at).find(ends)?;
    let words = &inside[..end];
    let is_phrase = words.contains(char::is_alphanumeric) && !words.starts_with(char::is_whitespace);
    is_phrase.then(|| (words, &inside[end + closing.len_utf8()..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_text(text: &str) -> QueryText {
        read(text, |name| ["title", "brand", "price"].contains(&name), |name| name != "price")
    }

    fn clauses(text: &str) -> (String, Vec<(String, Option<String>, bool)>) {
        let QueryText { plain, clauses } = read_text(text);
        let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
        (plain, clauses.into_iter().map(|clause| (clause.words, clause.field, clause.excluded)).collect())
    }

    fn clause_of(words: &str, field: Option<&str>, excluded: bool) -> (String, Option<String>, bool) {
        (words.to_owned(), field.map(str::to_owned), excluded)
    }

    #[test]
    fn quotes_minus_and_fields() {
        assert_eq!(clauses(r#""red mug" tea"#), ("red mug tea".to_owned(), vec![clause_of("red mug", None, false)]));
        assert_eq!(clauses("mug -red"), ("mug".to_owned(), vec![clause_of("red", None, true)]));
        assert_eq!(clauses(r#"mug -"tea cup""#), ("mug".to_owned(), vec![clause_of("tea cup", None, true)]));
        assert_eq!(
            clauses("mug brand:Daybird"),
            ("mug Daybird".to_owned(), vec![clause_of("Daybird", Some("brand"), false)])
        );
        assert_eq!(
            clauses(r#"brand:"Day bird" mug -title:red price:20"#),
            (
                "Day bird mug".to_owned(),
                vec![
                    clause_of("Day bird", Some("brand"), false),
                    clause_of("red", Some("title"), true),
                    clause_of("20", Some("price"), false)
                ]
            )
        );
        assert_eq!(
            clauses("「蓝牙耳机」 黑色"),
            ("蓝牙耳机 黑色".to_owned(), vec![clause_of("蓝牙耳机", None, false)])
        );
    }

    #[test]
    fn what_only_looks_like_syntax_is_text() {
        for text in [
            "15.6\" laptop 17\" bag",
            "\"",
            "\"\" mug",
            "wi-fi -20 °C - mug",
            "-mug",
            "-\"red mug\"",
            "price:20",
            "ratio 16:9 http://a.b colour:red",
            "brand: mug",
            "brand:!! mug",
            "a\"b c\"d",
            "5'11\" \"unclosed",
            "AND OR NOT ( ) [ ] { } ^ ~ * ? \\ / + && || !",
        ] {
            let found = read_text(text);
            assert_eq!((found.plain.as_str(), found.clauses.len()), (text, 0), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "\\PC*|[-\": a-c“”「」(]{0,16}|(brand:|-|\"|price:){0,4}[a-c ]{0,6}") {
            let found = read_text(&text);
            prop_assert!(found.clauses.is_empty() || !found.plain.trim().is_empty());
            prop_assert!(found.clauses.iter().all(|clause| clause.words.contains(char::is_alphanumeric)));
        }
    }
}

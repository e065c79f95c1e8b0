//! Filter text → tokens. Owns characters, quoting and numbers; not grammar. Invariant: every token knows the character
//! position it starts at, from 1.

use super::condition::Number;
use crate::error::SearchError;

/// A token and where it starts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) position: usize,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    /// A bare word: a keyword or a field name.
    Word(String),
    /// A field name in backquotes.
    Field(String),
    /// A string in quotes.
    String(String),
    /// A number.
    Number(Number),
    /// `=`, `!=`, `<`, `<=`, `>`, `>=`, `(`, `)`, `[`, `]` or `,`.
    Symbol(&'static str),
    /// After the last character.
    End,
}

impl TokenKind {
    /// The token in a message.
    pub(super) fn shown(&self) -> String {
        match self {
            TokenKind::Word(word) | TokenKind::Field(word) => format!("`{word}`"),
            TokenKind::String(text) => format!("the string {text:?}"),
            TokenKind::Number(Number::Integer(number)) => format!("the number {number}"),
            TokenKind::Number(Number::Float(number)) => format!("the number {number}"),
            TokenKind::Symbol(symbol) => format!("`{symbol}`"),
            TokenKind::End => "the end".to_owned(),
        }
    }
}

const SYMBOLS: [&str; 12] = ["!=", "<=", ">=", "<>", "=", "<", ">", "(", ")", "[", "]", ","];

/// Splits `text`; the last token is [`TokenKind::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, SearchError> {
    let characters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&character) = characters.get(at) {
        let start = at;
        let fail = |reason: String| SearchError::Filter { position: start + 1, reason };
        let kind = if character.is_whitespace() {
            at += 1;
            continue;
        } else if is_word_start(character) {
            at = end_of(&characters, at, is_word_part);
            TokenKind::Word(characters[start..at].iter().collect())
        } else if character.is_ascii_digit() || starts_number(&characters[at..]) {
            at = end_of_number(&characters, at);
            let number: String = characters[start..at].iter().collect();
            TokenKind::Number(parse_number(&number).ok_or_else(|| fail(format!("`{number}` is not a number")))?)
        } else if matches!(character, '"' | '\'' | '`') {
            let (content, end) = quoted(&characters, at).ok_or_else(|| fail(format!("{character} is never closed")))?;
            at = end;
            if character == '`' { TokenKind::Field(content) } else { TokenKind::String(content) }
        } else if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| starts_with(&characters[at..], symbol)) {
            at += symbol.len(); // all symbols are ASCII
            TokenKind::Symbol(if symbol == "<>" { "!=" } else { symbol })
        } else {
            return Err(fail(format!("{character:?} has no meaning here; strings stand in quotes")));
        };
        tokens.push(Token { kind, position: start + 1 });
    }
    tokens.push(Token { kind: TokenKind::End, position: characters.len() + 1 });
    Ok(tokens)
}

fn is_word_start(character: char) -> bool {
    character.is_alphabetic() || character == '_'
}

fn is_word_part(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '-' | '.')
}

fn starts_with(characters: &[char], symbol: &str) -> bool {
    symbol.chars().enumerate().all(|(offset, wanted)| characters.get(offset) == Some(&wanted))
}

fn starts_number(characters: &[char]) -> bool {
    let unsigned = match characters {
        ['-' | '+', rest @ ..] | rest => rest,
    };
    match unsigned {
        ['.', digit, ..] | [digit, ..] => digit.is_ascii_digit(),
        [] => false,
    }
}

/// The end of the run of characters for which `belongs` holds, from `at`.
fn end_of(characters: &[char], at: usize, belongs: fn(char) -> bool) -> usize {
    let run = characters[at..].iter().take_while(|character| belongs(**character)).count();
    at + run
}

/// The end of a number with its sign and exponent; letters that follow at once belong to it, so that `5kg` is one
/// malformed number and not two tokens.
fn end_of_number(characters: &[char], at: usize) -> usize {
    let mut end = at + 1;
    while let Some(&character) = characters.get(end) {
        let after_exponent = matches!(characters[end - 1], 'e' | 'E') && matches!(character, '-' | '+');
        if !(character.is_alphanumeric() || matches!(character, '.' | '_') || after_exponent) {
            break;
        }
        end += 1;
    }
    end
}

fn parse_number(text: &str) -> Option<Number> {
    let integer = text.parse().ok().map(Number::Integer);
    let float = || text.parse().ok().filter(|number: &f64| number.is_finite()).map(Number::Float);
    integer.or_else(float)
}

/// The content of a quoted run that starts at `at`, and the place after its closing quote.
fn quoted(characters: &[char], at: usize) -> Option<(String, usize)> {
    let quote = characters[at];
    let mut content = String::new();
    let mut place = at + 1;
    loop {
        match *characters.get(place)? {
            character if character == quote => return Some((content, place + 1)),
            '\\' => {
                content.push(*characters.get(place + 1)?);
                place += 2;
            }
            character => {
                content.push(character);
                place += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind> {
        tokens(text).unwrap().into_iter().map(|token| token.kind).collect()
    }

    fn message(text: &str) -> String {
        tokens(text).unwrap_err().to_string()
    }

    #[test]
    fn splits_words_strings_numbers_and_symbols() {
        let word = |text: &str| TokenKind::Word(text.to_owned());
        let integer = |number| TokenKind::Number(Number::Integer(number));
        assert_eq!(
            kinds("price<=-5 AND 价格!=1.5e-3"),
            [
                word("price"),
                TokenKind::Symbol("<="),
                integer(-5),
                word("AND"),
                word("价格"),
                TokenKind::Symbol("!="),
                TokenKind::Number(Number::Float(1.5e-3)),
                TokenKind::End,
            ]
        );
        let string = |text: &str| TokenKind::String(text.to_owned());
        assert_eq!(kinds(r#""a \"b\" \\ c" 'it"s'"#), [string(r#"a "b" \ c"#), string("it\"s"), TokenKind::End]);
        assert_eq!(kinds("`net weight`>.5")[0], TokenKind::Field("net weight".to_owned()));
        assert_eq!(kinds("9223372036854775808")[0], TokenKind::Number(Number::Float(9_223_372_036_854_775_808.0)));
    }

    #[test]
    fn positions_count_characters() {
        let positions: Vec<usize> = tokens("价 = \"é\" x").unwrap().iter().map(|token| token.position).collect();
        assert_eq!(positions, [1, 3, 5, 9, 10]);
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(message("brand = \"Day"), "filter, position 9: \" is never closed");
        assert_eq!(message("price < 5kg"), "filter, position 9: `5kg` is not a number");
        assert_eq!(message("price < 1e999"), "filter, position 9: `1e999` is not a number");
        assert_eq!(message("a & b"), "filter, position 3: '&' has no meaning here; strings stand in quotes");
    }
}

//! Other people's text on a terminal. Owns which characters are harmless there, in lines, in several lines and in JSON; not
//! what is printed. Invariant: what these functions return holds no character that commands a terminal or changes the
//! direction of text, but for line feeds where several lines are asked for.
//!
//! Titles, ids, file names and error messages that quote them come from shops and from the internet: an escape sequence in
//! them could retitle the window, hide what stands before it, or type for the reader.

use std::fmt::Write as _;

/// Text for one line: line breaks and tabs as blanks, what could command the terminal or turn the writing direction round
/// as its number.
#[must_use]
pub fn line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\r' | '\t' => shown.push(' '),
            _ if is_harmful(character) => shown.extend(character.escape_unicode()),
            _ => shown.push(character),
        }
    }
    shown
}

/// As [`line()`], with the line feeds left as they are: for text made of lines of our own.
#[must_use]
pub fn lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(line).collect();
    lines.join("\n")
}

/// JSON that reads back equal, with the characters escaped that [`line()`] escapes and the format itself allows in strings.
#[must_use]
pub fn json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        // Between strings there are only ASCII characters, and of the harmful ones only line breaks and tabs.
        if is_harmful(character) && !matches!(character, '\n' | '\r' | '\t') {
            // All harmful characters are in the basic plane. Writing to a string does not fail.
            let _ = write!(escaped, "\\u{:04x}", u32::from(character));
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Control characters (C0, DEL, C1), marks that change the direction of the text around them, Unicode's own line breaks,
/// and the invisible marks that some terminals interpret.
fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_commands_the_terminal() {
        assert_eq!(line("a\u{1b}[2J\u{9b}31m\u{202e}b\nc\u{7f}"), "a\\u{1b}[2J\\u{9b}31m\\u{202e}b c\\u{7f}");
        assert_eq!(line("蓝色 👩‍🍳 é"), "蓝色 👩‍🍳 é");
        assert_eq!(lines("a\tb\u{7}\nc\r\n"), "a b\\u{7}\nc \n");
    }

    proptest! {
        #[test]
        fn no_harmful_character_is_left(text in any::<String>(), harmful in "[\u{0}-\u{1f}\u{7f}-\u{9f}\u{202a}-\u{202e}\u{2066}-\u{2069}]{0,9}") {
            let text = text + &harmful;
            prop_assert!(!line(&text).chars().any(is_harmful));
            prop_assert!(!lines(&text).chars().any(|character| is_harmful(character) && character != '\n'));
            let printed = json(&serde_json::to_string(&text).map_err(|error| TestCaseError::fail(error.to_string()))?);
            prop_assert!(!printed.chars().any(is_harmful));
            prop_assert_eq!(serde_json::from_str::<String>(&printed).ok(), Some(text));
        }
    }
}

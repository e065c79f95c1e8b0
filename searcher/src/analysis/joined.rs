//! Spellings of several words as one: `dv7-1211ea` as `dv71211ea`. Owns which words are joined; not where words begin.
//! Invariant: what an item's compound is joined to is among the joined spellings of the same compound in a query.
//!
//! The idea of Lucene's `WordDelimiterGraphFilter` with `catenateAll`, but joined across spaces in queries, where it costs
//! a look-up, and not in items, where it would cost a posting for every two words.

use super::MAX_TERM_CHARACTERS;
use super::fold::FoldedChar;
use super::tokens::{Gap, Token, gap};

/// Words of a compound (`dv7-1211ea` has two) that are joined; a chain of more is an address or a list.
const MAX_COMPOUND_WORDS: usize = 6;
/// Words that stand apart in a query and are joined.
const MAX_WINDOW_WORDS: usize = 4;

/// A joined spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Joined {
    pub(super) text: String,
    /// Whether it is all letters, so that it has a stem.
    pub(super) is_letters: bool,
    /// The token after the last joined one.
    pub(super) end: usize,
}

/// The joined spelling of the compound that begins at token `first`, if one does: words with hyphens between them, or
/// letters and digits with slashes, dots or underscores.
pub(super) fn compound(chars: &[FoldedChar], tokens: &[Token], first: usize) -> Option<Joined> {
    if first > 0 && is_linked(gap(chars, &tokens[first - 1], &tokens[first])) && tokens[first - 1].joint().is_some() {
        return None;
    }
    let mut end = first + 1;
    let mut only_hyphens = true;
    while end < tokens.len() && tokens[end].joint().is_some() {
        match gap(chars, &tokens[end - 1], &tokens[end]) {
            Gap::Hyphen | Gap::Nothing => {}
            Gap::Sign => only_hyphens = false,
            Gap::Space | Gap::Other => break,
        }
        end += 1;
        if end - first > MAX_COMPOUND_WORDS {
            return None;
        }
    }
    if end - first == 1 {
        return None;
    }
    let (joined, mixed) = join(&tokens[first..end], end)?;
    (only_hyphens || mixed).then_some(joined)
}

/// A letter that stands alone before or after the word at `first`, joined with it: `usb c`, `t shirt`.
pub(super) fn lone_letter(chars: &[FoldedChar], tokens: &[Token], first: usize) -> Option<Joined> {
    let [before, after] = tokens.get(first..first + 2)? else { return None };
    if gap(chars, before, after) != Gap::Space {
        return None;
    }
    let letter = |token: &Token| {
        let joint = token.joint()?;
        let mut values = joint.text.chars();
        let only = values.next().filter(|only| only.is_alphabetic() && values.next().is_none())?;
        // Words of English and of its neighbours.
        (!matches!(only, 'a' | 'e' | 'i' | 'o' | 's' | 'y')).then_some(only)
    };
    let is_word =
        |token: &Token| token.joint().is_some_and(|joint| !joint.has_digits && joint.text.chars().nth(1).is_some());
    let pair = (letter(before).is_some() && is_word(after)) || (is_word(before) && letter(after).is_some());
    if pair { join(&tokens[first..first + 2], first + 2).map(|(joined, _)| joined) } else { None }
}

/// The joined spellings in a query that begin at token `first`: of up to four words with letters and digits among them,
/// of a lone letter and a word, and of its compound. Not of any two words of letters: `mouse pad` as `mousepad` too cost
/// 0.44 nDCG@10 of that query on chorus.
pub(super) fn windows(chars: &[FoldedChar], tokens: &[Token], first: usize) -> Vec<Joined> {
    let mut found = Vec::new();
    for end in first + 2..=(first + MAX_WINDOW_WORDS).min(tokens.len()) {
        if gap(chars, &tokens[end - 2], &tokens[end - 1]) == Gap::Other {
            break;
        }
        let Some((joined, mixed)) = join(&tokens[first..end], end) else { break };
        if mixed || (end - first == 2 && lone_letter(chars, tokens, first).is_some()) {
            found.push(joined);
        }
    }
    if let Some(compound) = compound(chars, tokens, first)
        && !found.contains(&compound)
    {
        found.push(compound);
    }
    found
}

/// Tokens as one word, and whether it has both letters and digits; nothing where it would have to be cut.
fn join(tokens: &[Token], end: usize) -> Option<(Joined, bool)> {
    let mut text = String::new();
    let (mut has_letters, mut has_digits) = (false, false);
    for token in tokens {
        let joint = token.joint()?;
        text.push_str(joint.text);
        has_letters |= joint.has_letters;
        has_digits |= joint.has_digits;
    }
    let fits = text.len() <= MAX_TERM_CHARACTERS;
    fits.then_some((Joined { text, is_letters: !has_digits, end }, has_letters && has_digits))
}

fn is_linked(gap: Gap) -> bool {
    match gap {
        Gap::Hyphen | Gap::Sign | Gap::Nothing => true,
        Gap::Space | Gap::Other => false,
    }
}

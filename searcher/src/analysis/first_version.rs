//! The first version of the analyzers, for snapshots that were indexed with it. Owns its rules, which never change; not
//! folding, stemming and dictionaries, which it shares. Invariant: a text has the terms that version 0.1 gave it.
//!
//! A word is a run of letters and digits, so `15.6` is `15` and `6`; nothing is joined and no unit is known.

use super::fold::{Class, FoldedChar};
use super::stem::Stems;
use super::{Script, Side, Term, han, is_possessive, pairs, term};

/// The terms of a text.
pub(super) fn terms(text: &str, chars: &[FoldedChar], script: Script, stems: &Stems, side: Side) -> Vec<Term> {
    let mut terms = Vec::with_capacity(chars.len() / 5);
    let mut position = 0;
    let mut at = 0;
    while at < chars.len() {
        let class = script.class(chars[at]);
        let mut end = at + 1;
        match class {
            Class::Break | Class::Mark => {}
            Class::Word => {
                while end < chars.len() && matches!(script.class(chars[end]), Class::Word | Class::Mark) {
                    end += 1;
                }
                if !(stems.drops_possessive() && is_possessive(chars, at, end)) {
                    let mut word = term(&chars[at..end], position);
                    word.text = stems.stem(word.text, &text[word.start..word.end]);
                    terms.push(word);
                    position += 1;
                }
            }
            Class::Pair => {
                while end < chars.len() && script.class(chars[end]) == Class::Pair {
                    end += 1;
                }
                position = pairs(&chars[at..end], position, &mut terms);
            }
            Class::Han => {
                let (run, after) = han::run(chars, at);
                end = after;
                match side {
                    Side::Item => han::item_terms(&run, position, &mut terms),
                    Side::Query => han::query_terms(&run, position, &mut terms),
                }
                position += run.len();
            }
        }
        at = end;
    }
    terms
}

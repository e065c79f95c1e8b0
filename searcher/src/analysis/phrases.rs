//! A query's words next to each other, in every spelling. Owns where a word stands when those before it are written
//! otherwise; not the spellings (`query.rs`). Invariant: the first phrase has the query's own words, and every phrase stands
//! in an item that is written so.
//!
//! `wh1000xm4 black` is looked for in two places, in `WH-1000XM4 black` it takes three: a spelling has its own width.

use super::query::Reading;

/// Phrases of a query, at most. Bounds what a text of many codes costs.
pub const MAX_PHRASES: usize = 64;
/// Words of a text up to which other spellings than its own are looked for next to each other.
pub const MAX_PHRASE_WORDS: usize = 16;

/// A phrase: terms with their places, from 0.
type Phrase = Vec<(usize, String)>;

/// The phrases of a query.
pub(super) fn phrases(reading: &Reading) -> Vec<Phrase> {
    if reading.words.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    if reading.words.len() <= MAX_PHRASE_WORDS {
        go_on(reading, 0, 0, &mut Vec::new(), &mut found);
    } else {
        let own = Reading { spellings: Vec::new(), ..reading.clone() };
        go_on(&own, 0, 0, &mut Vec::new(), &mut found);
    }
    found
}

/// Adds every phrase that begins with `before` and goes on with the word of that number at `place`.
fn go_on(reading: &Reading, number: usize, place: usize, before: &mut Phrase, found: &mut Vec<Phrase>) {
    if found.len() == MAX_PHRASES {
        return;
    }
    let Some(word) = reading.words.get(number) else {
        if !found.contains(before) {
            found.push(before.clone());
        }
        return;
    };
    let length = before.len();
    // Words of a Han run may begin at the same place.
    let own_width = reading.words.get(number + 1).map_or(1, |next| next.position.saturating_sub(word.position));
    before.push((place, word.term.clone()));
    go_on(reading, number + 1, place + own_width, before, found);
    before.truncate(length);
    for run in reading.spellings.iter().filter(|run| run.words.start == number) {
        before.extend(run.spelling.terms.iter().map(|(at, term)| (place + at, term.clone())));
        go_on(reading, run.words.end, place + run.width, before, found);
        before.truncate(length);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use schemas::manifest::AnalyzerKind;

    use super::super::Analyzer;
    use super::*;

    /// Whether the item has all of some phrase's terms in their places.
    fn stands_in(phrases: &[Phrase], item: &str) -> bool {
        let terms = Analyzer::new(AnalyzerKind::English).terms(item);
        let has = |at: usize, term: &str| terms.iter().any(|found| found.position == at && found.text == term);
        let ends = terms.last().map_or(0, |last| last.position + 1);
        phrases.iter().any(|phrase| (0..ends).any(|start| phrase.iter().all(|(at, term)| has(start + at, term))))
    }

    #[test]
    fn model_numbers_among_other_words_are_found_by_any_spelling() {
        let spellings = ["WH-1000XM4", "wh1000xm4", "WH 1000XM4", "wh 1000 xm4"];
        for asked in spellings {
            let phrases = Analyzer::new(AnalyzerKind::English).query_phrases(&format!("Sony {asked} black"));
            for written in spellings {
                let has = |item: &str| stands_in(&phrases, item);
                assert!(has(&format!("new Sony {written} black case")), "{asked} in {written}");
                assert!(!has(&format!("Sony {written} in black")), "{asked} in {written}: not next to each other");
                assert!(!has(&format!("black Sony {written}")), "{asked} in {written}: another order");
            }
        }
    }

    #[test]
    fn phrases_are_bounded_and_the_first_is_the_querys_own() {
        let analyzer = Analyzer::new(AnalyzerKind::English);
        let codes = vec!["a1b2c3d4"; MAX_PHRASE_WORDS];
        assert_eq!(analyzer.query_phrases(&codes.join(" ")).len(), MAX_PHRASES);
        assert_eq!(analyzer.query_phrases(&format!("{} more", codes.join(" "))).len(), 1);
        assert!(analyzer.query_phrases("!!").is_empty());
        let own = [(0, "red".to_owned()), (1, "mug".to_owned())];
        assert_eq!(analyzer.query_phrases("red mugs"), [own]);
    }

    proptest! {
        #[test]
        fn a_text_stands_in_itself(words in prop::collection::vec(prop::sample::select(
            vec!["red", "mug", "dv7-1211ea", "iphone13", "usb", "c", "15.6\"", "蓝牙耳机", "wi-fi", "38,40"]), 1..5)) {
            let text = words.join(" ");
            prop_assert!(stands_in(&Analyzer::new(AnalyzerKind::English).query_phrases(&text), &text));
        }
    }
}

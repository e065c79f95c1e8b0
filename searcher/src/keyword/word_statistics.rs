//! What keyword search knows of a query's words: how many there are, what they look like, and how common they are. Owns
//! counting that; not what is made of it. Invariant: it depends on the texts, the settings and the index alone, and every
//! share and rarity is from 0 to 1.

use super::bm25f;
use super::index::KeywordIndex;
use super::query::KeywordQuery;
use super::words::Word;

/// Counts of a query's distinct words, found or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AskedWords {
    /// Words that weigh something.
    count: usize,
    /// Those of them with a digit.
    with_digit: usize,
}

/// Figures of a query's distinct words, as keyword search reads them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WordStatistics {
    /// How many there are.
    pub count: usize,
    /// Share of them that has a digit.
    pub digits: f32,
    /// Share of them that no item has, neither as asked for nor in another spelling nor as a synonym; words beyond the first
    /// [`MAX_QUERY_TERMS`](super::MAX_QUERY_TERMS) that items have count as such.
    pub unknown: f32,
    /// Mean of the rarities of the words that items have: `idf` divided by that of a word that one item has. 0 where
    /// items have none.
    pub mean_rarity: f32,
    /// The least of these rarities; 0 where items have none of the words.
    pub least_rarity: f32,
}

impl AskedWords {
    pub(super) fn of(words: &[Word]) -> AskedWords {
        let asked = || words.iter().filter(|word| word.weight != 0.0);
        let has_digit = |word: &&Word| {
            let terms = word.writings.first().map(|writing| writing.terms.as_slice()).unwrap_or_default();
            terms.iter().any(|term| term.text.contains(char::is_numeric))
        };
        AskedWords { count: asked().count(), with_digit: asked().filter(has_digit).count() }
    }
}

impl KeywordIndex {
    /// The figures of a query that this index analysed. Cost: O(words), nothing is read.
    #[must_use]
    pub fn word_statistics(&self, query: &KeywordQuery) -> WordStatistics {
        let AskedWords { count, with_digit } = query.asked;
        let share = |words: usize| if count == 0 { 0.0 } else { words as f32 / count as f32 };
        let rarest = bm25f::idf(self.row_count(), 1);
        let rarities =
            || query.words.iter().filter(|word| !word.is_fuzzy).map(|word| (word.idf / rarest).clamp(0.0, 1.0));
        let known = rarities().count();
        let mean_rarity = if known == 0 { 0.0 } else { rarities().sum::<f32>() / known as f32 };
        WordStatistics {
            count,
            digits: share(with_digit),
            unknown: share(count.saturating_sub(known)),
            mean_rarity,
            least_rarity: rarities().reduce(f32::min).unwrap_or(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Synonyms;
    use super::super::tests::{build, item, manifest, open};
    use super::*;

    #[test]
    fn figures_are_those_of_a_hand_calculation() {
        let titles = ["red cup", "red shoe", "blue cup 250ml", "red tea cup", "lamp"];
        let items: Vec<_> = titles.iter().map(|title| item(title, title, "", &[])).collect();
        let folder = build(&items, usize::MAX);
        let index = open(&folder);
        let statistics = |text: &str| index.word_statistics(&index.analyze(&[(text, 1.0)]).unwrap());
        // In 3, 1 and none of five items; `cup` stands twice.
        let found = statistics("cup lamp cup xyzzyx12");
        let idf = |frequency: f32| (1.0 + (5.0 - frequency + 0.5) / (frequency + 0.5)).ln();
        assert_eq!((found.count, found.digits, found.unknown), (3, 1.0 / 3.0, 1.0 / 3.0));
        assert!((found.mean_rarity - f32::midpoint(1.0, idf(3.0) / idf(1.0))).abs() < 1e-6, "{found:?}");
        assert!((found.least_rarity - idf(3.0) / idf(1.0)).abs() < 1e-6, "{found:?}");
        let nothing = WordStatistics { count: 1, unknown: 1.0, ..WordStatistics::default() };
        assert_eq!(statistics("xyzzyx"), nothing);
        assert_eq!(statistics("lampp"), nothing, "a similar word is not the word");
        assert_eq!(statistics("  ,"), WordStatistics::default());
        assert_eq!(statistics("250 ml").digits, 1.0);
    }

    #[test]
    fn a_synonym_that_items_have_makes_a_word_known() {
        let folder = build(&[item("1", "sofa", "", &[])], usize::MAX);
        let index = open(&folder);
        let synonyms = Synonyms::parse("sofa, couch\n").unwrap();
        let unknown = |synonyms| {
            let query = index.analyze_with(&[("couch", 1.0)], &manifest(), synonyms).unwrap();
            index.word_statistics(&query).unknown
        };
        assert_eq!((unknown(None), unknown(Some(&synonyms))), (1.0, 0.0));
    }
}

//! Words of a query → what the index has of them. Owns looking terms, phrases and similar words up; not scores.
//! Invariants: what is found depends on the text, the settings and the index alone; a word that any item has as it was asked
//! for is never replaced by a similar one.

use std::collections::HashSet;
use std::sync::Arc;

use schemas::Row;
use schemas::manifest::KeywordManifest;
use tantivy::schema::IndexRecordOption;
use tantivy::{TantivyError, Term};

use super::bm25f;
use super::fuzzy::{self, MAX_FUZZY_WORDS, SimilarTo};
use super::index::{KeywordIndex, SearchedField};
use super::phrase::{self, PlacedPostings};
use super::query::{FoundPostings, FoundWriting, KeywordQuery, MAX_QUERY_TERMS, QueryWord};
use super::synonyms::Synonyms;
use super::word_statistics::AskedWords;
use super::words::{self, Neighbours, PlacedTerm, Word, Writing, WritingOrigin};
use crate::error::SearchError;

impl KeywordIndex {
    /// As [`KeywordIndex::analyze_with`] the snapshot's own settings and no synonyms.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn analyze(&self, texts: &[(&str, f32)]) -> Result<KeywordQuery, SearchError> {
        self.analyze_with(texts, self.settings(), None)
    }

    /// Analyses text parts with their weights into one query; any text will do. Of more than [`MAX_QUERY_TERMS`]
    /// distinct words the first ones are kept. `settings` are the snapshot's with other numbers, its fields in the same order.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn analyze_with(
        &self,
        texts: &[(&str, f32)],
        settings: &KeywordManifest,
        synonyms: Option<&Synonyms>,
    ) -> Result<KeywordQuery, SearchError> {
        let factors = self.fields.iter().zip(&settings.fields).map(|(field, settings)| {
            debug_assert_eq!(field.name, settings.name, "the fields' order is the snapshot's");
            bm25f::field_factors(settings.weight, settings.b, field.average_length)
        });
        let factors = factors.collect();
        let asked = words::words(texts, self.analyzers(), synonyms);
        self.no_panic(|| {
            let mut found = Vec::new();
            let mut forgiven = 0;
            // The number in `found` of each word asked for.
            let mut numbers = vec![None; asked.words.len()];
            for (number, word) in asked.words.iter().enumerate().filter(|(_, word)| word.weight != 0.0) {
                if let Some(word) = self.look_up(word, &mut forgiven)? {
                    numbers[number] = Some(found.len());
                    found.push(word);
                }
                if found.len() == MAX_QUERY_TERMS {
                    break;
                }
            }
            let neighbours = asked.neighbours.iter().filter_map(|pair| {
                let (left, right) = (numbers[pair.left]?, numbers[pair.right]?);
                Some(Neighbours { left, right, distance: pair.distance })
            });
            Ok(KeywordQuery {
                asked: AskedWords::of(&asked.words),
                neighbours: neighbours.collect(),
                k1: settings.k1,
                proximity: settings.proximity,
                required: settings.matching.required(found.len()),
                is_exact: found.iter().any(|word| !word.is_fuzzy),
                words: found,
                factors,
            })
        })
    }

    /// A word as the index has it, if it does; `forgiven` counts the words that similar ones were looked for.
    fn look_up(&self, word: &Word, forgiven: &mut usize) -> Result<Option<QueryWord>, SearchError> {
        let mut writings = Vec::new();
        let mut known = HashSet::new();
        for writing in &word.writings {
            for (number, field) in self.fields_of(writing.analyzer) {
                if known.insert((number, &writing.terms)) {
                    writings.extend(self.found(writing, number, field)?);
                }
            }
        }
        let is_fuzzy = writings.is_empty();
        if is_fuzzy && *forgiven < MAX_FUZZY_WORDS {
            *forgiven += 1;
            writings = self.similar(word)?;
        }
        let frequencies = writings.iter().map(|writing| writing.postings.document_frequency());
        let (Some(first), Some(document_frequency)) = (writings.first(), frequencies.max()) else { return Ok(None) };
        Ok(Some(QueryWord {
            text: first.text.clone(),
            weight: word.weight,
            document_frequency,
            idf: bm25f::idf(self.row_count(), document_frequency),
            is_fuzzy,
            writings,
        }))
    }

    /// A writing as a field has it, if it does.
    fn found(
        &self,
        writing: &Writing,
        number: usize,
        field: &SearchedField,
    ) -> Result<Option<FoundWriting>, SearchError> {
        let postings = match writing.terms.as_slice() {
            [only] => self.term_info(field, &only.text)?.map(FoundPostings::Term),
            terms => {
                let rows = self.phrase_rows(field, terms)?;
                (!rows.is_empty()).then(|| FoundPostings::Phrase(Arc::new(rows)))
            }
        };
        let text = || writing.terms.iter().map(|term| term.text.as_str()).collect::<Vec<_>>().join(" ");
        let Writing { factor, origin, .. } = *writing;
        Ok(postings.map(|postings| FoundWriting { text: text(), origin, factor, field: number, postings }))
    }

    /// Similar words in the fields, in place of one that no item has.
    fn similar(&self, word: &Word) -> Result<Vec<FoundWriting>, SearchError> {
        let mut similar = Vec::new();
        let exact = |writing: &&Writing| writing.origin == WritingOrigin::Exact && writing.terms.len() == 1;
        let mut known = HashSet::new();
        for writing in word.writings.iter().filter(exact) {
            let text = &writing.terms[0].text;
            let Some(wanted) = SimilarTo::new(text).map_err(|error| self.error(error))? else { continue };
            for (number, field) in self.fields_of(writing.analyzer) {
                if known.insert((number, text)) {
                    let found = wanted.found_in(&field.postings).map_err(|error| self.error(error))?;
                    similar.extend(found.into_iter().map(|term| (number, term)));
                }
            }
        }
        similar.sort_by_key(|(number, term)| (term.distance, std::cmp::Reverse(term.info.doc_freq), *number));
        // The same words in every field: those that come first in any.
        let mut texts: Vec<String> = Vec::new();
        for (_, term) in &similar {
            if !texts.contains(&term.text) {
                texts.push(term.text.clone());
            }
        }
        texts.truncate(fuzzy::MAX_FUZZY_TERMS);
        similar.retain(|(_, term)| texts.contains(&term.text));
        let writings = similar.into_iter().map(|(field, term)| FoundWriting {
            factor: term.factor(),
            origin: WritingOrigin::Fuzzy,
            field,
            postings: FoundPostings::Term(term.info),
            text: term.text,
        });
        Ok(writings.collect())
    }

    /// The rows in which a field has every term in its place, and how often.
    pub(super) fn phrase_rows(
        &self,
        field: &SearchedField,
        terms: &[PlacedTerm],
    ) -> Result<Vec<(Row, u32)>, SearchError> {
        let mut placed = Vec::with_capacity(terms.len());
        for PlacedTerm { text, place } in terms {
            let term = Term::from_field_text(field.field, text);
            let postings = field.postings.read_postings(&term, IndexRecordOption::WithFreqsAndPositions);
            let postings = postings.map_err(|error: std::io::Error| self.error(TantivyError::from(error)))?;
            let Some(postings) = postings else { return Ok(Vec::new()) };
            placed.push(PlacedPostings { place: *place, postings });
        }
        Ok(phrase::rows(placed))
    }
}

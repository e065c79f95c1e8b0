//! The opened keyword index. Owns opening, checking, and looking terms and ids up; not the walk over postings.
//! Invariant: an index that opened has one segment (or none), every field of the manifest with its analyzer, and
//! documents numbered by row.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemas::Row;
use schemas::manifest::KeywordManifest;
use schemas::map::MapOptions;
use tantivy::error::DataCorruption;
use tantivy::fieldnorm::FieldNormReader;
use tantivy::postings::{SegmentPostings, TermInfo};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocSet, Index, InvertedIndexReader, SegmentReader, TantivyError, Term};

use super::bm25f::{FieldCursor, Occurrences, WordCursor};
use super::directory::ReadOnlyDirectory;
use super::guard;
use super::layout::{self, ID_FIELD, ROW_FIELD, Statistics};
use super::query::{FoundPostings, KeywordQuery};
use super::tokenizer;
use crate::analysis::Analyzer;
use crate::error::SearchError;

/// An opened keyword index. `Send + Sync`.
pub struct KeywordIndex {
    folder: PathBuf,
    /// The snapshot's own settings.
    settings: KeywordManifest,
    row_count: u64,
    /// Distinct analyzers of the fields.
    analyzers: Vec<Analyzer>,
    /// Searched fields in the manifest's order; none where the index has no row.
    pub(super) fields: Vec<SearchedField>,
    ids: Option<(Field, Arc<InvertedIndexReader>)>,
}

/// What retrieval needs of a searched field.
pub(super) struct SearchedField {
    pub(super) name: String,
    pub(super) field: Field,
    /// Numbers among the index's analyzers: its own, and those of items' languages.
    analyzers: Vec<usize>,
    pub(super) postings: Arc<InvertedIndexReader>,
    pub(super) norms: FieldNormReader,
    pub(super) average_length: f32,
}

impl std::fmt::Debug for KeywordIndex {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = formatter.debug_struct("KeywordIndex");
        debug.field("folder", &self.folder).field("row_count", &self.row_count).finish_non_exhaustive()
    }
}

impl KeywordIndex {
    /// Opens the index in a snapshot without writing anything into its folder (no lock files).
    ///
    /// # Errors
    /// When files are missing, damaged, or do not fit the manifest.
    pub fn open(folder: &Path, manifest: &KeywordManifest) -> Result<KeywordIndex, SearchError> {
        KeywordIndex::open_with(folder, manifest, MapOptions::default())
    }

    /// As [`KeywordIndex::open`]; `maps` say how its files are mapped.
    ///
    /// # Errors
    /// As [`KeywordIndex::open`], and when they cannot be mapped so.
    pub fn open_with(folder: &Path, manifest: &KeywordManifest, maps: MapOptions) -> Result<KeywordIndex, SearchError> {
        guard::no_panic(folder, || {
            KeywordIndex::try_open(folder, manifest, maps)
                .map_err(|source| SearchError::Keyword { path: folder.to_owned(), source })
        })
    }

    fn try_open(folder: &Path, manifest: &KeywordManifest, maps: MapOptions) -> Result<KeywordIndex, TantivyError> {
        let index = Index::open(ReadOnlyDirectory::new(folder, maps))?;
        let schema = index.schema();
        let payload = index.load_metas()?.payload;
        let damaged = |what: &str| TantivyError::SchemaError(format!("`meta.json` {what}"));
        let payload = payload.ok_or_else(|| damaged("has no payload; the index was not finished"))?;
        let statistics: Statistics =
            serde_json::from_str(&payload).map_err(|error| damaged(&format!("has a foreign payload: {error}")))?;

        let mut analyzers = Vec::new();
        let mut named = Vec::with_capacity(manifest.fields.len());
        for searched in &manifest.fields {
            let field = layout::text_field(&schema, &searched.name, &tokenizer::name(searched.analyzer, manifest))?;
            let statistics = statistics
                .get(&layout::text_field_name(&searched.name))
                .ok_or_else(|| damaged(&format!("has no statistics of field `{}`", searched.name)))?;
            let mut own: Vec<usize> = Vec::new();
            for analyzer in tokenizer::analyzers(searched.analyzer, manifest) {
                let number = analyzers.iter().position(|known| *known == analyzer).unwrap_or_else(|| {
                    analyzers.push(analyzer);
                    analyzers.len() - 1
                });
                if !own.contains(&number) {
                    own.push(number);
                }
            }
            let lengths = layout::length_field(&schema, &searched.name, manifest.analysis)?;
            named.push((searched.name.clone(), field, lengths, own, statistics.average_length()));
        }
        let id = schema.get_field(ID_FIELD)?;

        let segments = index.searchable_segments()?;
        let [segment] = segments.as_slice() else {
            if !segments.is_empty() {
                return Err(damaged(&format!("lists {} segments, not 1", segments.len())));
            }
            return Ok(KeywordIndex {
                folder: folder.to_owned(),
                settings: manifest.clone(),
                row_count: 0,
                analyzers,
                fields: Vec::new(),
                ids: None,
            });
        };
        let reader = SegmentReader::open(segment)?;
        check_rows(&reader)?;
        let mut fields = Vec::with_capacity(named.len());
        for (name, field, lengths, analyzers, average_length) in named {
            let norms = reader.get_fieldnorms_reader(lengths)?;
            if norms.num_docs() != reader.max_doc() {
                return Err(TantivyError::SchemaError(format!("field `{name}` has {} norms", norms.num_docs())));
            }
            let postings = reader.inverted_index(field)?;
            fields.push(SearchedField { name, field, analyzers, postings, norms, average_length });
        }
        Ok(KeywordIndex {
            folder: folder.to_owned(),
            settings: manifest.clone(),
            row_count: u64::from(reader.max_doc()),
            analyzers,
            fields,
            ids: Some((id, reader.inverted_index(id)?)),
        })
    }

    /// Number of rows.
    #[must_use]
    pub fn row_count(&self) -> u64 {
        self.row_count
    }

    pub(super) fn settings(&self) -> &KeywordManifest {
        &self.settings
    }

    /// Distinct analyzers of the fields.
    pub(super) fn analyzers(&self) -> &[Analyzer] {
        &self.analyzers
    }

    /// The searched fields that an analyzer writes, with their numbers.
    pub(super) fn fields_of(&self, analyzer: usize) -> impl Iterator<Item = (usize, &SearchedField)> {
        self.fields.iter().enumerate().filter(move |(_, field)| field.analyzers.contains(&analyzer))
    }

    /// A term's place in a field's postings, if the field has it.
    pub(super) fn term_info(&self, field: &SearchedField, text: &str) -> Result<Option<TermInfo>, SearchError> {
        let term = Term::from_field_text(field.field, text);
        field.postings.get_term_info(&term).map_err(|error| self.error(error))
    }

    /// The row of an item id.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn row_of(&self, id: &str) -> Result<Option<Row>, SearchError> {
        let Some((field, postings)) = &self.ids else { return Ok(None) };
        let term = Term::from_field_text(*field, id);
        self.no_panic(|| {
            let found = postings.read_postings(&term, IndexRecordOption::Basic).map_err(|error| self.error(error))?;
            Ok(found.map(|postings| postings.doc()).filter(|row| u64::from(*row) < self.row_count))
        })
    }

    /// The error of an index that does not fit the other files of its snapshot.
    pub(crate) fn contradiction(&self, what: &str) -> SearchError {
        let advice = format!("{what}; run `indexer verify`, restore or roll back");
        self.error(TantivyError::DataCorruption(DataCorruption::comment_only(advice)))
    }

    /// Cursors at the first occurrences of a query's words.
    pub(super) fn cursors<'a>(&'a self, query: &'a KeywordQuery) -> Result<Vec<WordCursor<'a>>, SearchError> {
        let mut cursors = Vec::with_capacity(query.words.len());
        for (word, query_word) in query.words.iter().enumerate() {
            let mut fields = Vec::with_capacity(query_word.writings.len());
            for (number, writing) in query_word.writings.iter().enumerate() {
                let settings = self.fields.get(writing.field).zip(query.factors.get(writing.field));
                let Some((field, factors)) = settings else { continue };
                let postings = match &writing.postings {
                    FoundPostings::Term(info) => {
                        Occurrences::Term(Box::new(self.read_postings(field, info, IndexRecordOption::WithFreqs)?))
                    }
                    FoundPostings::Phrase(rows) => Occurrences::Phrase { rows, at: 0 },
                };
                let (norms, factor) = (&field.norms, writing.factor);
                fields.push(FieldCursor { writing: number, postings, norms, factors, factor });
            }
            let weight = query_word.weight * query_word.idf;
            let finds = !(query.is_exact && query_word.is_fuzzy);
            cursors.push(WordCursor { word, weight, finds, fields });
        }
        Ok(cursors)
    }

    pub(super) fn read_postings(
        &self,
        field: &SearchedField,
        info: &TermInfo,
        option: IndexRecordOption,
    ) -> Result<SegmentPostings, SearchError> {
        field.postings.read_postings_from_terminfo(info, option).map_err(|error| self.error(error))
    }

    /// Runs what reads the index; see [`guard`].
    pub(super) fn no_panic<T>(&self, read: impl FnOnce() -> Result<T, SearchError>) -> Result<T, SearchError> {
        guard::no_panic(&self.folder, read)
    }

    pub(super) fn error(&self, source: impl Into<TantivyError>) -> SearchError {
        SearchError::Keyword { path: self.folder.clone(), source: source.into() }
    }
}

/// That documents are numbered by row: the writer proved it of each; here the bounds and the middle are looked at.
fn check_rows(reader: &SegmentReader) -> Result<(), TantivyError> {
    let rows = reader.fast_fields().u64(ROW_FIELD)?;
    let last = reader.max_doc().saturating_sub(1);
    let as_numbered = |document| rows.first(document) == Some(u64::from(document));
    if rows.num_docs() != reader.max_doc()
        || rows.max_value() != u64::from(last)
        || ![0, last / 2, last].into_iter().all(as_numbered)
        || reader.has_deletes()
    {
        return Err(TantivyError::SchemaError("documents are not numbered by row".to_owned()));
    }
    Ok(())
}

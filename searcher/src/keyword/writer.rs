//! Building the keyword index. Owns the order of rows, the merge into one segment, and what is left in the folder; not
//! when it is built. Invariant: rows are numbered in the order written and a document's number is its row.

use std::path::{Path, PathBuf};

use schemas::items::StoredItem;
use schemas::manifest::{KeywordLanguages, KeywordManifest};
use schemas::{FieldSpec, FieldValue};
use tantivy::directory::{INDEX_WRITER_LOCK, META_LOCK};
use tantivy::index::SegmentId;
use tantivy::indexer::NoMergePolicy;
use tantivy::schema::Field;
use tantivy::{Index, IndexWriter, SegmentReader, TantivyDocument, TantivyError};

use super::layout::{self, FieldStatistics, ID_FIELD, ROW_FIELD, Statistics};
use super::tokenizer;
use crate::error::SearchError;

/// Memory for postings before they are flushed as a segment; segments are merged at the end. Enough for some hundred
/// thousand products in one segment; more memory saves merging, which costs about as much as writing.
pub const WRITER_MEMORY_BYTES: usize = 256 << 20;

/// Files that tantivy writes for its own user alone, as temporary files are; those who search may be others.
const PRIVATE_FILES: [&str; 2] = [".managed.json", "meta.json"];
/// Bytes of text after which writing waits for analysis: what waits is in memory, and tantivy lets ten thousand items wait,
/// however long they are. About what fills the memory for postings, so that it makes no more segments than that.
pub const MAX_WAITING_TEXT_BYTES: usize = 256 << 20;

/// Builds the keyword index in row order. Analysis and writing run on a thread of their own, so that
/// [`KeywordWriter::write`] returns early.
pub struct KeywordWriter {
    folder: PathBuf,
    writer: IndexWriter,
    id: Field,
    row: Field,
    text: Vec<SearchedField>,
    languages: Option<Languages>,
    next_row: u64,
    /// Bytes of text since analysis was last waited for.
    waiting_bytes: usize,
}

/// Where an item's language is.
struct Languages {
    manifest: KeywordLanguages,
    /// Number among the declared fields.
    field: usize,
}

impl Languages {
    /// The mark of the analyzer of an item's language.
    fn mark(&self, item: &StoredItem) -> char {
        let code = match item.fields.get(self.field) {
            Some(Some(FieldValue::String(code))) => self.manifest.position(code),
            Some(_) | None => None,
        };
        // The first one is the field's own.
        tokenizer::mark(code.map_or(0, |number| number + 1))
    }
}

/// A field that is written.
struct SearchedField {
    text: Field,
    /// Where its words are counted; the same field in the first version.
    lengths: Field,
    source: Source,
}

/// Where a searched field's text is in a [`StoredItem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Title,
    Description,
    Declared(usize),
}

impl std::fmt::Debug for KeywordWriter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = formatter.debug_struct("KeywordWriter");
        debug.field("folder", &self.folder).field("next_row", &self.next_row).finish_non_exhaustive()
    }
}

impl KeywordWriter {
    /// Starts an empty index in `folder` (created). `fields` are the declared fields of the snapshot, to find the
    /// searched ones' values in a [`StoredItem`].
    ///
    /// # Errors
    /// When the folder cannot be written, has an index already, or a field of the manifest is not declared.
    pub fn create(
        folder: &Path,
        manifest: &KeywordManifest,
        fields: &[FieldSpec],
    ) -> Result<KeywordWriter, SearchError> {
        let at = |source| SearchError::Keyword { path: folder.to_owned(), source };
        fs_err::create_dir_all(folder).map_err(|source| at(TantivyError::from(source)))?;
        let schema = layout::schema(manifest);
        let declared = |name: &str, what: &str| {
            let undeclared = || TantivyError::SchemaError(format!("{what} `{name}` is not declared"));
            fields.iter().position(|field| field.name == name).ok_or_else(undeclared)
        };
        let text = manifest.fields.iter().map(|searched| {
            let source = match searched.name.as_str() {
                "title" => Source::Title,
                "description" => Source::Description,
                name => Source::Declared(declared(name, "searched field")?),
            };
            let text = schema.get_field(&layout::text_field_name(&searched.name))?;
            Ok(SearchedField {
                text,
                lengths: layout::length_field(&schema, &searched.name, manifest.analysis)?,
                source,
            })
        });
        let text = text.collect::<Result<_, TantivyError>>().map_err(at)?;
        let languages = manifest.languages.clone().map(|manifest| {
            let field = declared(&manifest.field, "the field of languages")?;
            Ok(Languages { manifest, field })
        });
        let languages = languages.transpose().map_err(at)?;
        let (id, row) = (schema.get_field(ID_FIELD).map_err(at)?, schema.get_field(ROW_FIELD).map_err(at)?);
        let index = Index::create_in_dir(folder, schema).map_err(at)?;
        tokenizer::register(&index, manifest);
        // One thread, because several would number documents in an order of their own.
        let writer: IndexWriter = index.writer_with_num_threads(1, WRITER_MEMORY_BYTES).map_err(at)?;
        writer.set_merge_policy(Box::new(NoMergePolicy));
        Ok(KeywordWriter { folder: folder.to_owned(), writer, id, row, text, languages, next_row: 0, waiting_bytes: 0 })
    }

    /// Adds the next row: 0, 1, 2, ….
    ///
    /// # Errors
    /// When writing fails.
    pub fn write(&mut self, item: &StoredItem) -> Result<(), SearchError> {
        let mut document = TantivyDocument::default();
        document.add_text(self.id, &item.id);
        self.waiting_bytes += item.id.len();
        let mark = self.languages.as_ref().map(|languages| languages.mark(item));
        let mut add = |field: &SearchedField, text: &str| {
            let text = match mark {
                Some(mark) => format!("{mark}{text}"),
                None => text.to_owned(),
            };
            if field.lengths != field.text {
                document.add_text(field.lengths, &text);
                self.waiting_bytes += text.len();
            }
            self.waiting_bytes += text.len();
            document.add_text(field.text, text);
        };
        for field in &self.text {
            match field.source {
                Source::Title => item.title.iter().for_each(|text| add(field, text)),
                Source::Description => item.description.iter().for_each(|text| add(field, text)),
                Source::Declared(number) => {
                    for text in item.fields.get(number).and_then(Option::as_ref).map(values).unwrap_or_default() {
                        add(field, text);
                    }
                }
            }
        }
        document.add_u64(self.row, self.next_row);
        if let Err(source) = self.writer.add_document(document) {
            // It only says that the writing thread has ended; what it ended with comes with the next commit.
            let cause = self.writer.prepare_commit().map(drop).err().unwrap_or(source);
            return Err(self.error(cause));
        }
        self.next_row += 1;
        if self.waiting_bytes >= MAX_WAITING_TEXT_BYTES {
            self.waiting_bytes = 0;
            self.writer.commit().map_err(|source| self.error(source))?;
        }
        Ok(())
    }

    /// Writes and merges everything into one segment; leaves no lock file. Returns the number of rows.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(mut self) -> Result<u64, SearchError> {
        let rows = self.next_row;
        let folder = self.folder.clone();
        let at = |source| SearchError::Keyword { path: folder.clone(), source };
        self.write_segment().map_err(at)?;
        self.writer.wait_merging_threads().map_err(at)?;
        for lock in [&*INDEX_WRITER_LOCK, &*META_LOCK] {
            match fs_err::remove_file(folder.join(&lock.filepath)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(at(TantivyError::from(error)));
                }
                Ok(()) | Err(_) => {}
            }
        }
        for name in PRIVATE_FILES {
            share(&folder.join(name)).map_err(|error| at(TantivyError::from(error)))?;
        }
        Ok(rows)
    }

    fn write_segment(&mut self) -> Result<(), TantivyError> {
        self.writer.commit()?;
        let segments = self.segments_in_row_order()?;
        if segments.len() > 1 {
            self.writer.merge(&segments).wait()?;
        }
        let statistics = self.statistics()?;
        let payload = serde_json::to_string(&statistics)
            .map_err(|error| TantivyError::InternalError(format!("statistics: {error}")))?;
        let mut commit = self.writer.prepare_commit()?;
        commit.set_payload(&payload);
        commit.commit()?;
        self.writer.garbage_collect_files().wait()?;
        Ok(())
    }

    /// Segments by the row of their first document; tantivy lists them by size.
    fn segments_in_row_order(&self) -> Result<Vec<SegmentId>, TantivyError> {
        let mut segments = Vec::new();
        for segment in self.writer.index().searchable_segments()? {
            let rows = SegmentReader::open(&segment)?.fast_fields().u64(ROW_FIELD)?;
            segments.push((rows.min_value(), segment.id()));
        }
        segments.sort_unstable_by_key(|(first, _)| *first);
        Ok(segments.into_iter().map(|(_, id)| id).collect())
    }

    /// Counts the fields' texts and proves that documents are numbered by row.
    fn statistics(&self) -> Result<Statistics, TantivyError> {
        let schema = self.writer.index().schema();
        let mut statistics: Statistics = self
            .text
            .iter()
            .map(|field| (schema.get_field_name(field.text).to_owned(), FieldStatistics::default()))
            .collect();
        for segment in self.writer.index().searchable_segments()? {
            let reader = SegmentReader::open(&segment)?;
            let rows = reader.fast_fields().u64(ROW_FIELD)?;
            if u64::from(reader.max_doc()) != self.next_row
                || (0..reader.max_doc()).any(|document| rows.first(document) != Some(u64::from(document)))
            {
                return Err(TantivyError::InternalError("documents are not numbered by row".to_owned()));
            }
            for field in &self.text {
                let norms = reader.get_fieldnorms_reader(field.lengths)?;
                let documents =
                    (0..reader.max_doc()).filter(|document| norms.fieldnorm_id(*document) > 0).count() as u64;
                let terms = reader.inverted_index(field.lengths)?.total_num_tokens();
                statistics.insert(schema.get_field_name(field.text).to_owned(), FieldStatistics { documents, terms });
            }
        }
        Ok(statistics)
    }

    fn error(&self, source: TantivyError) -> SearchError {
        SearchError::Keyword { path: self.folder.clone(), source }
    }

    /// Ends a segment, as running out of memory does.
    #[cfg(test)]
    pub(super) fn end_segment(&mut self) -> Result<(), TantivyError> {
        self.writer.commit().map(|_| ())
    }
}

/// Writes a file anew, with the rights that files of this process have.
fn share(path: &Path) -> std::io::Result<()> {
    let bytes = fs_err::read(path)?;
    fs_err::remove_file(path)?;
    fs_err::write(path, bytes)
}

/// The texts of a declared field. Values of a list and steps of a category stay apart, so that no phrase spans two.
fn values(value: &FieldValue) -> Vec<&str> {
    match value {
        FieldValue::String(text) => text.split(" > ").collect(),
        FieldValue::Strings(texts) => texts.iter().map(String::as_str).collect(),
        FieldValue::Boolean(_) | FieldValue::Integer(_) | FieldValue::Float(_) => Vec::new(),
    }
}

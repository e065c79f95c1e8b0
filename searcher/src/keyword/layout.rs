//! What stands where in tantivy's files. Owns the tantivy schema and the statistics in the commit's payload; not their
//! use. Invariant: reader and writer agree, because both come from here.
//!
//! Fields: `id` (untokenised), `row` (fast), and `text.<name>` for each searched field, with frequencies, positions and
//! field norms; `length.<name>` beside it, whose field norms are its lengths (`tokenizer.rs`). The payload of `meta.json` holds a [`FieldStatistics`] for each searched field, as JSON by name.

use std::collections::BTreeMap;

use schemas::manifest::{AnalysisVersion, KeywordManifest};
use serde::{Deserialize, Serialize};
use tantivy::TantivyError;
use tantivy::schema::{FAST, Field, IndexRecordOption, STRING, Schema, TextFieldIndexing, TextOptions};

use super::tokenizer;

/// The field of ids.
pub(super) const ID_FIELD: &str = "id";
/// The fast field of row numbers.
pub(super) const ROW_FIELD: &str = "row";

/// Exact sums over the field's texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FieldStatistics {
    /// Documents with at least one word in the field.
    pub(super) documents: u64,
    /// Words in all of them.
    pub(super) terms: u64,
}

impl FieldStatistics {
    /// Words per document that has any.
    pub(super) fn average_length(self) -> f32 {
        if self.documents == 0 { 1.0 } else { (self.terms as f64 / self.documents as f64) as f32 }
    }
}

/// Statistics by field name.
pub(super) type Statistics = BTreeMap<String, FieldStatistics>;

/// The name of a searched field's text; prefixed, so that no declared name meets one of ours.
pub(super) fn text_field_name(name: &str) -> String {
    format!("text.{name}")
}

/// The name of the field whose norms are a searched field's lengths; in the first version it is the field itself.
pub(super) fn length_field_name(name: &str, version: AnalysisVersion) -> Option<String> {
    match version {
        AnalysisVersion::V1 => None,
        AnalysisVersion::V2 => Some(format!("length.{name}")),
    }
}

/// The field whose norms are a searched field's lengths.
pub(super) fn length_field(schema: &Schema, name: &str, version: AnalysisVersion) -> Result<Field, TantivyError> {
    schema.get_field(&length_field_name(name, version).unwrap_or_else(|| text_field_name(name)))
}

/// The schema for a manifest.
pub(super) fn schema(manifest: &KeywordManifest) -> Schema {
    let mut builder = Schema::builder();
    builder.add_text_field(ID_FIELD, STRING);
    builder.add_u64_field(ROW_FIELD, FAST);
    for field in &manifest.fields {
        let indexing = TextFieldIndexing::default()
            .set_tokenizer(&tokenizer::name(field.analyzer, manifest))
            .set_index_option(IndexRecordOption::WithFreqsAndPositions)
            .set_fieldnorms(true);
        let options = TextOptions::default().set_indexing_options(indexing);
        builder.add_text_field(&text_field_name(&field.name), options);
        if let Some(name) = length_field_name(&field.name, manifest.analysis) {
            let indexing = TextFieldIndexing::default()
                .set_tokenizer(&tokenizer::length_name(field.analyzer, manifest))
                .set_index_option(IndexRecordOption::Basic)
                .set_fieldnorms(true);
            builder.add_text_field(&name, TextOptions::default().set_indexing_options(indexing));
        }
    }
    builder.build()
}

/// A field of the schema, and that it was built with what the manifest says.
pub(super) fn text_field(schema: &Schema, name: &str, expected_tokenizer: &str) -> Result<Field, TantivyError> {
    let field = schema.get_field(&text_field_name(name))?;
    let tantivy::schema::FieldType::Str(options) = schema.get_field_entry(field).field_type() else {
        return Err(TantivyError::SchemaError(format!("field `{name}` is not a text field")));
    };
    match options.get_indexing_options() {
        Some(indexing) if indexing.tokenizer() == expected_tokenizer => Ok(field),
        Some(indexing) => {
            let got = indexing.tokenizer();
            Err(TantivyError::SchemaError(format!("field `{name}` has analyzer `{got}`, not `{expected_tokenizer}`")))
        }
        None => Err(TantivyError::SchemaError(format!("field `{name}` is not indexed"))),
    }
}

//! Reading the JSON files of a checkpoint. Owns lookup with defaults and the words of the errors; which keys exist and
//! what their defaults are belongs to the readers of each file. Invariant: a value of the wrong kind is an error that
//! names file and key, never a silent default; a missing key and `null` are the same, as in transformers.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::EncoderError;

/// A JSON object and the file it is from.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    path: PathBuf,
    value: Value,
}

impl Section {
    /// Reads a file that must be a JSON object.
    pub(crate) fn read(path: &Path) -> Result<Section, EncoderError> {
        let bytes = fs_err::read(path).map_err(EncoderError::io(path))?;
        let value: Value =
            serde_json::from_slice(&bytes).map_err(|error| EncoderError::config(path, format!("not JSON: {error}")))?;
        if !value.is_object() {
            return Err(EncoderError::config(path, "not a JSON object"));
        }
        Ok(Section { path: path.to_path_buf(), value })
    }

    /// Reads a file if it is there.
    pub(crate) fn read_optional(path: &Path) -> Result<Option<Section>, EncoderError> {
        if path.is_file() { Section::read(path).map(Some) } else { Ok(None) }
    }

    /// An object without keys, for a file that may be absent.
    pub(crate) fn empty(path: &Path) -> Section {
        Section { path: path.to_path_buf(), value: Value::Object(serde_json::Map::new()) }
    }

    /// The value of a key, if there is one that is not `null`.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.value.get(key).filter(|value| !value.is_null())
    }

    /// An object below a key; an empty one where there is none.
    pub(crate) fn section(&self, key: &str) -> Result<Section, EncoderError> {
        match self.get(key) {
            None => Ok(Section::empty(&self.path)),
            Some(value) if value.is_object() => Ok(Section { path: self.path.clone(), value: value.clone() }),
            Some(_) => Err(self.wrong(key, "an object")),
        }
    }

    /// The same object with the keys of another laid over it.
    pub(crate) fn overlaid(mut self, over: &Section) -> Section {
        if let (Value::Object(base), Value::Object(over)) = (&mut self.value, &over.value) {
            base.extend(over.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        self
    }

    /// Text.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>, EncoderError> {
        self.get(key).map(|value| value.as_str().ok_or_else(|| self.wrong(key, "text"))).transpose()
    }

    /// A whole number.
    pub(crate) fn count(&self, key: &str) -> Result<Option<usize>, EncoderError> {
        let whole = |value: &Value| {
            // Tokenizer configs write "no limit" as 1e30: saturate.
            let float = value.as_f64().filter(|float| *float >= 0.0 && float.fract() == 0.0);
            value
                .as_u64()
                .map(|count| usize::try_from(count).unwrap_or(usize::MAX))
                .or(float.map(|float| float as usize))
        };
        self.get(key).map(|value| whole(value).ok_or_else(|| self.wrong(key, "a whole number"))).transpose()
    }

    /// A number.
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, EncoderError> {
        self.get(key).map(|value| value.as_f64().ok_or_else(|| self.wrong(key, "a number"))).transpose()
    }

    /// A truth value.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, EncoderError> {
        self.get(key).map(|value| value.as_bool().ok_or_else(|| self.wrong(key, "true or false"))).transpose()
    }

    /// An error about this file.
    pub(crate) fn error(&self, reason: impl Into<String>) -> EncoderError {
        EncoderError::config(&self.path, reason)
    }

    fn wrong(&self, key: &str, expected: &str) -> EncoderError {
        let got = self.value.get(key).map(ToString::to_string).unwrap_or_default();
        self.error(format!("`{key}` should be {expected}, got {got}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(json: &str) -> Section {
        Section { path: PathBuf::from("config.json"), value: serde_json::from_str(json).unwrap() }
    }

    #[test]
    fn null_and_missing_are_the_same_and_a_wrong_kind_is_an_error() {
        let config = section(r#"{"a": null, "layers": 12, "limit": 1e30, "name": "x", "bad": "12"}"#);
        assert_eq!(config.count("a").unwrap(), None);
        assert_eq!(config.count("b").unwrap(), None);
        assert_eq!(config.count("layers").unwrap(), Some(12));
        assert_eq!(config.count("limit").unwrap(), Some(usize::MAX));
        assert_eq!(config.text("name").unwrap(), Some("x"));
        let error = config.count("bad").unwrap_err().to_string();
        assert_eq!(error, "`config.json`: `bad` should be a whole number, got \"12\"");
    }

    #[test]
    fn overlay_replaces_keys_and_keeps_others() {
        let merged = section(r#"{"a": 1, "b": 2}"#).overlaid(&section(r#"{"b": 3}"#));
        assert_eq!((merged.count("a").unwrap(), merged.count("b").unwrap()), (Some(1), Some(3)));
    }
}

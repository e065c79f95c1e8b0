//! The version that every file of ours carries. Owns the check; each format owns its number. Invariant: a file of a
//! newer format is refused with advice, never half understood.

use std::path::Path;

use crate::error::SchemaError;

/// Key of the version in the metadata of Arrow and Parquet files.
pub const FORMAT_VERSION_KEY: &str = "catalens.format_version";

/// Refuses versions other than 1 to `newest`.
pub(crate) fn check(path: &Path, newest: u32, got: u32) -> Result<(), SchemaError> {
    match got {
        0 => Err(SchemaError::invalid(path, "it has format version 0, which does not exist")),
        got if got > newest => Err(SchemaError::NewerFormat { path: path.to_owned(), expected: newest, got }),
        _ => Ok(()),
    }
}

/// As [`check`], of a metadata value.
pub(crate) fn check_text(path: &Path, newest: u32, got: Option<&str>) -> Result<(), SchemaError> {
    match got.map(str::parse) {
        Some(Ok(got)) => check(path, newest, got),
        Some(Err(_)) => Err(SchemaError::invalid(path, format!("its metadata `{FORMAT_VERSION_KEY}` is no number"))),
        None => Err(SchemaError::invalid(path, format!("its metadata has no `{FORMAT_VERSION_KEY}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_versions_pass() {
        let path = Path::new("items.arrow");
        assert!(check_text(path, 2, Some("1")).is_ok());
        assert!(check_text(path, 2, Some("2")).is_ok());
        assert!(matches!(check_text(path, 2, Some("3")), Err(SchemaError::NewerFormat { expected: 2, got: 3, .. })));
        for text in [None, Some("0"), Some(""), Some("-1"), Some("1.0")] {
            assert!(matches!(check_text(path, 2, text), Err(SchemaError::Invalid { .. })), "{text:?}");
        }
    }

    #[test]
    fn a_newer_version_says_what_to_do() {
        let message = check(Path::new("manifest.json"), 1, 7).map_err(|error| error.to_string());
        let expected = "`manifest.json` has format version 7, this version reads up to 1; update Catalens or roll back";
        assert_eq!(message, Err(expected.to_owned()));
    }
}

//! Languages of items: `catalog.language` and `[keyword.languages]`. Owns their checks and the field that holds the codes;
//! not the analyzers. Invariant: there are languages exactly where there is a field to read them from.

use schemas::manifest::KeywordLanguages;

use super::file::value;
use super::*;

/// The languages, whose column becomes a field of the snapshot unless one of `fields` has it already.
pub(super) fn resolve(
    column: Option<String>,
    analyzers: &BTreeMap<String, AnalyzerKind>,
    fields: &mut Vec<CatalogField>,
) -> Result<Option<KeywordLanguages>, IndexError> {
    let column = match (column, analyzers.is_empty()) {
        (None, true) => return Ok(None),
        (None, false) => {
            return Err(value(
                "keyword.languages",
                "needs `catalog.language`, the column with an item's language code",
            ));
        }
        (Some(_), true) => {
            return Err(value("catalog.language", "needs `[keyword.languages]`, such as `de = \"german\"`"));
        }
        (Some(column), false) => column,
    };
    if let Some(code) = analyzers.keys().find(|code| code.is_empty() || **code != code.to_lowercase().replace('_', "-"))
    {
        let reason = "a language code is written in lower case with `-`, such as `de` or `pt-br`";
        return Err(value(&format!("keyword.languages.{code}"), reason));
    }
    let field = match fields.iter().find(|field| field.column == column) {
        Some(field) if field.spec.r#type == FieldType::String => field.spec.name.clone(),
        Some(field) => {
            let reason = format!("field `{}` must be of type string to hold language codes", field.spec.name);
            return Err(value("catalog.language", &reason));
        }
        None if is_taken(&column) || fields.iter().any(|field| field.spec.name == column) => {
            let reason = format!(
                "`{column}` is the name of another field; declare `[catalog.fields.NAME]` with `column = \"{column}\"`"
            );
            return Err(value("catalog.language", &reason));
        }
        None => {
            let spec = FieldSpec { name: column.clone(), r#type: FieldType::String, searched: false };
            fields.push(CatalogField { column: column.clone(), spec });
            column
        }
    };
    Ok(Some(KeywordLanguages { field, analyzers: analyzers.clone() }))
}

/// Names that no declared field may have.
pub(super) fn is_taken(name: &str) -> bool {
    name.is_empty() || ["id", "title", "description", "image", "row"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANGUAGES: &str = "[keyword.languages]\nde = 'german'\nzh = 'chinese'\n";

    fn parse(catalog: &str, rest: &str) -> Result<IndexConfig, String> {
        let text = format!("[store]\npath = 's'\n[catalog]\npath = 'c.csv'\n{catalog}{rest}");
        IndexConfig::parse(Path::new("c.toml"), Path::new("/shop"), &text, &Overrides::default())
            .map_err(|error| crate::error::chain(&error))
    }

    #[test]
    fn the_column_becomes_a_field_unless_it_is_one() -> Result<(), String> {
        let config = parse("language = 'lang'\n", LANGUAGES)?;
        assert_eq!(config.keyword.languages.as_ref().map(|languages| languages.field.as_str()), Some("lang"));
        assert_eq!(config.catalog.fields.iter().map(|field| field.column.as_str()).collect::<Vec<_>>(), ["lang"]);
        let declared = format!("{LANGUAGES}[catalog.fields.tongue]\ntype = 'string'\ncolumn = 'lang'\n");
        let config = parse("language = 'lang'\n", &declared)?;
        assert_eq!(config.keyword.languages.as_ref().map(|languages| languages.field.as_str()), Some("tongue"));
        assert_eq!(config.catalog.fields.len(), 1);
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let wrong = [
            ("", LANGUAGES, "catalog.language"),
            ("language = 'lang'\n", "", "[keyword.languages]"),
            ("language = 'title'\n", LANGUAGES, "another field"),
            ("language = 'lang'\n", "[keyword.languages]\npt_BR = 'portuguese'\n", "pt_BR"),
            ("language = 'lang'\n", "[keyword.languages]\nde = 'klingon'\n", "klingon"),
            (
                "language = 'lang'\n",
                "[keyword.languages]\nde = 'german'\n[catalog.fields.lang]\ntype = 'float'\n",
                "type string",
            ),
        ];
        for (catalog, rest, expected) in wrong {
            let message = parse(catalog, rest).expect_err(expected);
            assert!(message.contains(expected), "`{message}` does not name `{expected}`");
        }
    }
}

//! Quotes identifiers and literals in SQL text.

use crate::model::ids::{ColumnName, TableName};

/// Returns the identifier quoted, so that any name that Postgres allows is safe in SQL text.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns the column's name quoted.
pub(crate) fn column(name: &ColumnName) -> String {
    identifier(name.as_str())
}

/// Returns the table's name quoted, with its schema.
pub(crate) fn table(name: &TableName) -> String {
    format!(
        "{}.{}",
        identifier(name.schema.as_str()),
        identifier(name.table.as_str())
    )
}

/// Returns a text literal, whatever `standard_conforming_strings` is.
pub(crate) fn literal(text: &str) -> String {
    if text.contains('\\') {
        format!(" E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// Returns a `text[]` literal's content: `{"a","b"}`.
pub(crate) fn text_array<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = texts
        .into_iter()
        .map(|text| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
        .collect();
    format!("{{{}}}", quoted.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_name_is_quoted() {
        assert_eq!(
            identifier(r#"a"; drop table b; --"#),
            r#""a""; drop table b; --""#
        );
        assert_eq!(literal(r"it's \ here"), r" E'it''s \\ here'");
        assert_eq!(
            text_array([r#"a"b"#, r"c\d", "e,f"]),
            r#"{"a\"b","c\\d","e,f"}"#
        );
    }
}

//! Quotes identifiers and literals in SQL text.

use crate::model::ids::{ColumnName, TableName};

/// Returns the identifier quoted, so that any name that Postgres allows is safe in SQL text.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns the identifier as a person would write it: quoted only where it must be.
pub(crate) fn readable(name: &str) -> String {
    let starts = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
    let rest = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if starts && rest && !RESERVED.lines().any(|word| word == name) {
        name.to_owned()
    } else {
        identifier(name)
    }
}

/// The key words that no column or table may have as its name without quotes (Postgres documentation, "SQL Key Words":
/// reserved, and reserved except for functions and types).
const RESERVED: &str = include_str!("reserved_words.txt");

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

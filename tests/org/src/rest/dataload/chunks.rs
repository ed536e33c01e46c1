//! Primary key chunking: a query over a large object as several queries over ranges of ids.
//!
//! Source: Bulk API 2.0 and Bulk API Developer Guide, "PK Chunking Header".

use crate::Org;
use crate::model::id::RecordId;
use crate::rest::message::Request;
use crate::soql;

/// Number of records in a chunk, unless the header names one.
const CHUNK_ROWS: u32 = 100_000;

/// Maximum number of records in a chunk.
const CHUNK_ROWS_MAX: u32 = 250_000;

/// Returns the size of the chunks that a request for a query job asks for.
pub(super) fn chunk_rows(request: &Request) -> Option<u32> {
    let header = request.get("sforce-enable-pkchunking")?.trim();
    if header.eq_ignore_ascii_case("false") {
        return None;
    }
    let mut options = header.split(';').map(str::trim);
    let asked = options.find_map(|option| option.strip_prefix("chunkSize="));
    let rows = asked.and_then(|rows| rows.trim().parse().ok());
    Some(rows.unwrap_or(CHUNK_ROWS).clamp(1, CHUNK_ROWS_MAX))
}

impl Org {
    /// Returns a statement for each range of ids, or none for a statement that cannot be split.
    /// Deleted records count, so a chunk can return fewer rows than its size.
    pub(super) fn chunks(&self, text: &str, rows: u32) -> Vec<String> {
        let Ok(query) = soql::parse(text) else {
            return Vec::new();
        };
        let splits = query.order.is_empty() && query.limit.is_none() && query.group.is_empty();
        let Some(object) = self.model.schema.find(&query.from).filter(|_| splits) else {
            return Vec::new();
        };
        let prefix = self.model.object(object).key_prefix;
        let records = self.model.table(object).next_row();
        let starts = (0..records).step_by(rows as usize);
        let bounds = starts.map(|start| {
            let from = RecordId::numbered(prefix, start);
            let to = RecordId::numbered(prefix, start.saturating_add(rows));
            format!("Id >= '{from}' AND Id < '{to}'")
        });
        bounds.map(|bounds| bounded(text, &bounds)).collect()
    }
}

/// Adds a condition to a statement without clauses after WHERE.
fn bounded(text: &str, condition: &str) -> String {
    match main_where(text) {
        Some(at) => {
            let (head, rest) = text.split_at(at);
            let known = &rest["WHERE".len()..];
            format!("{head}WHERE {condition} AND ({})", known.trim())
        }
        None => format!("{} WHERE {condition}", text.trim()),
    }
}

/// Returns the position of the WHERE that is in no parentheses and no text.
fn main_where(text: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'\'' => quoted = !quoted,
            _ if quoted => {}
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'w' | b'W' if depth == 0 => {
                let word = text.get(at..at + "WHERE".len());
                let alone = text[..at].ends_with(char::is_whitespace);
                if alone && word.is_some_and(|word| word.eq_ignore_ascii_case("WHERE")) {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::bounded;

    #[test]
    fn bounds_join_the_condition_of_the_statement() {
        assert_eq!(
            bounded("SELECT Id FROM A ", "x"),
            "SELECT Id FROM A WHERE x"
        );
        assert_eq!(
            bounded("SELECT Id FROM A where n = 'a where b' OR m = 1", "x"),
            "SELECT Id FROM A WHERE x AND (n = 'a where b' OR m = 1)"
        );
        assert_eq!(
            bounded("SELECT Id, (SELECT Id FROM B WHERE c = 1) FROM A", "x"),
            "SELECT Id, (SELECT Id FROM B WHERE c = 1) FROM A WHERE x"
        );
    }
}

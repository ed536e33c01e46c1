//! Does a part of the engine know something that another part alone may know?
//!
//! SQL belongs to the store; Salesforce's addresses, queries and error codes belong to its client. That
//! the planner has no clock and no I/O is checked by Cargo and Clippy, not here. Unit tests and folders
//! of tests are not checked: a test may know more than what it tests.

use crate::tokens::{Kind, Token, code};
use crate::{Source, Violation};

const STORE: &str = "core/src/store";
const SALESFORCE: &str = "core/src/salesforce";

/// Where the walls stand: the crates that ship, without their folders of tests.
const SHIPPED: [&str; 5] = [
    "core/src/",
    "core/planner/src/",
    "functions/src/",
    "cli/src/",
    "planner-wasm/src/",
];

pub(crate) fn violations(source: &Source) -> Vec<Violation> {
    let is_shipped = SHIPPED.iter().any(|folder| source.path.starts_with(folder));
    if !is_shipped || is_test_file(&source.path) {
        return Vec::new();
    }
    let tokens = code(&source.text);
    let mut found = Vec::new();
    if is_in(&source.path, STORE) {
        for (line, text) in texts(&tokens).filter(|(_, text)| is_query(text) || is_statement(text))
        {
            found.extend(shouted_keywords(source, text, line));
        }
    } else {
        found.extend(sql(source, &tokens));
    }
    if !is_in(&source.path, SALESFORCE) {
        found.extend(salesforce(source, &tokens));
    }
    found
}

/// Returns whether a path is the module `part`: its file, or a file in its folder.
fn is_in(path: &str, part: &str) -> bool {
    path.strip_prefix(part)
        .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

pub(crate) fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

fn texts(tokens: &[Token]) -> impl Iterator<Item = (usize, &str)> {
    tokens.iter().filter_map(|token| match &token.kind {
        Kind::Text(text) => Some((token.line, text.as_str())),
        Kind::Word(_) | Kind::Mark(_) | Kind::Open | Kind::Close => None,
    })
}

// --- SQL

fn sql(source: &Source, tokens: &[Token]) -> Vec<Violation> {
    let may_query = is_in(&source.path, SALESFORCE);
    let rule = format!("SQL is written in {STORE} alone");
    let written = texts(tokens)
        .filter(|(_, text)| is_statement(text) || (is_query(text) && !may_query))
        .map(|(line, _)| line);
    let called = paths(tokens, "sqlx")
        .filter(|(_, part)| is_sqlx_query(part))
        .map(|(line, _)| line);
    written
        .chain(called)
        .map(|line| source.violation(line, rule.clone()))
        .collect()
}

fn is_sqlx_query(part: &str) -> bool {
    part.starts_with("query") || part == "raw_sql" || part == "QueryBuilder"
}

/// Returns whether a text reads: SQL and SOQL look alike here.
fn is_query(text: &str) -> bool {
    let words = lowercase_words(text);
    words.first().is_some_and(|word| word == "select") && words.iter().any(|word| word == "from")
        || begins(&words, &["with"]) && words.iter().any(|word| word == "select")
}

/// Returns whether a text changes something in a database.
fn is_statement(text: &str) -> bool {
    let words = lowercase_words(text);
    let updates = begins(&words, &["update"]) && words.get(2).is_some_and(|word| word == "set");
    let others: [&[&str]; 9] = [
        &["insert", "into"],
        &["delete", "from"],
        &["truncate", "table"],
        &["create", "table"],
        &["create", "trigger"],
        &["create", "schema"],
        &["create", "or", "replace"],
        &["alter", "table"],
        &["drop", "table"],
    ];
    updates || others.iter().any(|start| begins(&words, start))
}

fn begins(words: &[String], start: &[&str]) -> bool {
    words.len() > start.len() && words.iter().zip(start).all(|(word, wanted)| word == wanted)
}

fn lowercase_words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_lowercase).collect()
}

/// The keywords that are most often shouted; a type or a name in capitals is left alone.
const KEYWORDS: [&str; 28] = [
    "SELECT",
    "FROM",
    "WHERE",
    "INSERT",
    "INTO",
    "VALUES",
    "UPDATE",
    "SET",
    "DELETE",
    "CREATE",
    "ALTER",
    "DROP",
    "TABLE",
    "INDEX",
    "PRIMARY",
    "REFERENCES",
    "CONSTRAINT",
    "UNIQUE",
    "DEFAULT",
    "JOIN",
    "ORDER",
    "GROUP",
    "RETURNING",
    "CONFLICT",
    "TRIGGER",
    "FUNCTION",
    "BEGIN",
    "RETURNS",
];

/// Finds keywords in capitals, outside of comments and quoted text.
pub(crate) fn shouted_keywords(source: &Source, sql: &str, first_line: usize) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut quote = None;
    for (line, text) in (first_line..).zip(sql.lines()) {
        let bare = unquoted(text, &mut quote);
        let mut words = bare.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        if let Some(word) = words.find(|word| KEYWORDS.contains(word)) {
            found.push(source.violation(line, format!("SQL is lowercase: {word}")));
        }
    }
    found
}

/// Returns a line without its comment and its quoted parts; a quotation may span lines.
fn unquoted(line: &str, quote: &mut Option<char>) -> String {
    let mut bare = String::new();
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match quote {
            Some(open) if *open == letter => *quote = None,
            Some(_) => {}
            None if letter == '-' && letters.peek() == Some(&'-') => break,
            None if letter == '\'' || letter == '"' => *quote = Some(letter),
            None => bare.push(letter),
        }
    }
    bare
}

// --- Salesforce

const ENDPOINTS: [&str; 5] = [
    "/services/data",
    "/services/oauth2",
    "/services/async",
    "/services/apexrest",
    "/data/ChangeEvents",
];

/// Codes that stand in no other vocabulary.
const ERROR_CODES: [&str; 14] = [
    "UNABLE_TO_LOCK_ROW",
    "ENTITY_IS_DELETED",
    "ENTITY_IS_LOCKED",
    "REQUEST_LIMIT_EXCEEDED",
    "INVALID_SESSION_ID",
    "DUPLICATE_VALUE",
    "DUPLICATES_DETECTED",
    "INVALID_FIELD_FOR_INSERT_UPDATE",
    "FIELD_CUSTOM_VALIDATION_EXCEPTION",
    "REQUIRED_FIELD_MISSING",
    "STRING_TOO_LONG",
    "INVALID_CROSS_REFERENCE_KEY",
    "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
    "SERVER_UNAVAILABLE",
];

fn salesforce(source: &Source, tokens: &[Token]) -> Vec<Violation> {
    let rule = format!("Salesforce's addresses and error codes are known in {SALESFORCE} alone");
    texts(tokens)
        .filter(|(_, text)| {
            ENDPOINTS.iter().any(|endpoint| text.contains(endpoint)) || ERROR_CODES.contains(text)
        })
        .map(|(line, _)| source.violation(line, rule.clone()))
        .collect()
}

/// Returns what follows `root::`, each element of a group for itself.
pub(crate) fn paths<'a>(
    tokens: &'a [Token],
    root: &'a str,
) -> impl Iterator<Item = (usize, &'a str)> {
    let starts = tokens
        .windows(3)
        .enumerate()
        .filter_map(move |(at, window)| {
            let is_root = window[0].kind == Kind::Word(root.to_owned());
            let is_path = window[1].kind == Kind::Mark(':') && window[2].kind == Kind::Mark(':');
            (is_root && is_path).then_some(at + 3)
        });
    starts.flat_map(|start| heads(&tokens[start..]))
}

/// Returns the first word of a path, or the first word of every element if it begins with a group.
fn heads(tokens: &[Token]) -> Vec<(usize, &str)> {
    let Some(Token { line, kind }) = tokens.first() else {
        return Vec::new();
    };
    if let Kind::Word(word) = kind {
        return vec![(*line, word)];
    }
    let (mut depth, mut expected, mut found) = (0_usize, true, Vec::new());
    for token in tokens {
        match &token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth -= 1,
            Kind::Mark(',') if depth == 1 => expected = true,
            Kind::Word(word) if expected => {
                found.push((token.line, word.as_str()));
                expected = false;
            }
            Kind::Word(_) | Kind::Text(_) | Kind::Mark(_) => {}
        }
        if depth == 0 {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::Source;

    /// The lines on which a file breaks a wall.
    fn broken(path: &str, text: &str) -> Vec<usize> {
        let source = Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        super::violations(&source)
            .into_iter()
            .map(|found| found.line)
            .collect()
    }

    const SELECT: &str = "fn a() {\n    run(\"select id\n  from account\");\n}";
    const INSERT: &str = "fn a() {\n    run(\"insert into account values (1)\");\n}";

    #[test]
    fn sql_stands_in_the_store_alone() {
        for path in [
            "core/src/engine.rs",
            "core/src/apply/rows.rs",
            "cli/src/main.rs",
        ] {
            assert_eq!(broken(path, SELECT), [2], "{path}");
            assert_eq!(broken(path, INSERT), [2], "{path}");
            assert_eq!(
                broken(path, "fn a() {\n sqlx::query_as(Q);\n}"),
                [2],
                "{path}"
            );
        }
        for path in [
            "core/src/store.rs",
            "core/src/store/task.rs",
            "tests/e2e/src/lib.rs",
        ] {
            assert!(broken(path, SELECT).is_empty(), "{path}");
            assert!(broken(path, INSERT).is_empty(), "{path}");
        }
    }

    #[test]
    fn prose_is_not_sql() {
        for prose in [
            "select a tenant",
            "update the row",
            "with care",
            "deleted from the org",
        ] {
            assert!(
                broken(
                    "cli/src/main.rs",
                    &format!("fn a() {{ say(\"{prose}\"); }}")
                )
                .is_empty()
            );
        }
    }

    #[test]
    fn a_neighbour_whose_name_begins_alike_is_not_the_store() {
        assert_eq!(broken("core/src/storeroom.rs", SELECT), [2]);
    }

    #[test]
    fn the_client_may_query_salesforce_but_change_no_table() {
        assert!(broken("core/src/salesforce/query.rs", SELECT).is_empty());
        assert_eq!(broken("core/src/salesforce/query.rs", INSERT), [2]);
    }

    #[test]
    fn the_store_does_not_shout() {
        let sql = "fn a() {\n    run(\"select id\n        FROM account\n        where name = 'FROM' -- FROM\");\n}";
        assert_eq!(broken("core/src/store/task.rs", sql), [3]);
    }

    #[test]
    fn endpoints_and_error_codes_stand_in_the_client_alone() {
        let endpoint = "fn a() {\n    get(\"/services/data/v68.0/limits\");\n}";
        let code = "fn a() {\n    x == \"UNABLE_TO_LOCK_ROW\"\n}";
        assert_eq!(broken("core/src/apply.rs", endpoint), [2]);
        assert_eq!(broken("functions/src/lib.rs", code), [2]);
        assert!(broken("core/src/salesforce.rs", endpoint).is_empty());
        assert!(broken("tests/org/src/rest.rs", code).is_empty());
    }

    #[test]
    fn unit_tests_and_documentation_may_name_what_their_module_may_not() {
        let text = "//! Of UNABLE_TO_LOCK_ROW.\n#[cfg(test)]\nmod tests {\n    const A: &str = \"UNABLE_TO_LOCK_ROW\";\n}";
        assert!(broken("core/src/apply.rs", text).is_empty());
    }
}

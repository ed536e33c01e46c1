//! The same language as the usual parser's.

use std::collections::BTreeMap;

use super::{Item, Table, Value, parse};

/// A value as both parsers know it.
#[derive(Debug, PartialEq)]
enum Known {
    Text(String),
    Flag(bool),
    Whole(Option<u32>),
    Other,
    List(Vec<Known>),
    Table(BTreeMap<String, Known>),
}

fn ours(item: &Item) -> Known {
    match &item.value {
        Value::Text(text) => Known::Text(text.clone()),
        Value::Flag(flag) => Known::Flag(*flag),
        Value::Whole(number) => Known::Whole(*number),
        Value::Other => Known::Other,
        Value::List(items) | Value::Tables(items) => Known::List(items.iter().map(ours).collect()),
        Value::Table(table) => our_table(table),
    }
}

fn our_table(table: &Table) -> Known {
    let entries = table.entries.iter();
    Known::Table(
        entries
            .map(|(name, entry)| (name.clone(), ours(&entry.item)))
            .collect(),
    )
}

fn theirs(value: &::toml::Value) -> Known {
    match value {
        ::toml::Value::String(text) => Known::Text(text.clone()),
        ::toml::Value::Boolean(flag) => Known::Flag(*flag),
        ::toml::Value::Integer(number) => Known::Whole(u32::try_from(*number).ok()),
        ::toml::Value::Float(_) | ::toml::Value::Datetime(_) => Known::Other,
        ::toml::Value::Array(items) => Known::List(items.iter().map(theirs).collect()),
        ::toml::Value::Table(table) => their_table(table),
    }
}

fn their_table(table: &::toml::Table) -> Known {
    let entries = table.iter();
    Known::Table(
        entries
            .map(|(name, value)| (name.clone(), theirs(value)))
            .collect(),
    )
}

fn has_other(known: &Known) -> bool {
    match known {
        Known::Other => true,
        // A number that fits nowhere is refused by one parser and none for the other.
        Known::Whole(number) => number.is_none(),
        Known::Text(_) | Known::Flag(_) => false,
        Known::List(items) => items.iter().any(has_other),
        Known::Table(table) => table.values().any(has_other),
    }
}

fn check(text: &str) {
    let (root, broken) = parse(text);
    let ours = our_table(&root);
    match text.parse::<::toml::Table>() {
        Ok(root) => {
            assert!(broken.is_empty(), "{text:?}: {broken:?}");
            assert_eq!(ours, their_table(&root), "{text:?}");
        }
        // No key takes a value of the other kinds, so what is wrong within one need not be known.
        Err(error) => assert!(!broken.is_empty() || has_other(&ours), "{text:?}: {error}"),
    }
}

const TEXTS: &[&str] = &[
    "a = 1\nb.c = \"x\"\nb.d = 'y' # said\n[t]\n\"q k\" = true\n'l'=[1,\n 2,#x\n]\r\n[[l]]\nx=1\n[[l]]\n[l.m]\ny=2\n",
    "[a.b]\nx=1\n[a]\ny=2\n[a.c.d]\n[a.c]\n",
    "i = { a.b = 1, a.c = 2, d = [ {}, { e = \"\" } ], }\n",
    "s = \"\"\"\none \\\n   two\"\" \\u00e9 \\U0001F388\\t\\x41\\e\"\"\"\"\nt = '''\na''b\\''''\n",
    "n = [0, +1, -1, 1_000, 0xFF, 0o17, 0b11, 4294967295, 4294967296, 1.5, 1e3, -inf, nan]",
    "d = [1979-05-27, 07:32:00, 1979-05-27T07:32:00Z, 1979-05-27 07:32:00.5-07:00]",
    "[a]\nb.c = 1\n[a.b]\n",
    "[a]\nb.c = 1\n[a.b.d]\n",
    "[a.b]\n[a]\nb.c = 1\n",
    "[a.b.c]\n[a]\nb.x = 1\n",
    "[a]\n[a]\n",
    "[a]\n[[a]]\n",
    "[[a]]\n[a]\n",
    "[[a.b]]\n[a]\n[[a]]\n",
    "a = [{}]\n[[a]]\n",
    "a = {}\n[a.b]\n",
    "a = {}\na.b = 1\n",
    "a = 1\na = 2\n",
    "a = 1\na.b = 2\n",
    "a.b = 1\na.b.c = 2\n",
    "a = \"x\ny\"",
    "a = \"\\q\"",
    "a = 01",
    "a = 1__0",
    "a = 0x_1",
    "a = +0x1",
    "a = tru",
    "a = ",
    "a",
    "= 1",
    "a = 1 b = 2",
    "[a",
    "[a]]",
    "[[a]",
    "[]",
    "[a.]",
    "a. = 1",
    "a = [1 2]",
    "a = [,]",
    "a = {,}",
    "a = { b = 1",
    "a = { b = 1 b = 2 }",
    "a = { b = 1, b = 2 }",
    "a = 'x",
    "a = \"\"\"x",
    "a = \"\\ud800\"",
    "# \u{1}\n",
    "a = \"\u{7f}\"",
    "\u{feff}a = 1",
    "a = 1\r",
    "\u{e4} = 1",
];

#[test]
fn the_same_texts_are_toml_and_hold_the_same() {
    for text in TEXTS {
        check(text);
    }
}

/// Every beginning of each text, and each with one letter less or twice.
#[test]
fn broken_texts_are_broken_for_both() {
    for text in TEXTS {
        for (at, dead_letter) in text.char_indices() {
            let rest = &text[at + dead_letter.len_utf8()..];
            check(&text[..at]);
            check(&format!("{}{rest}", &text[..at]));
            check(&format!("{}{dead_letter}{dead_letter}{rest}", &text[..at]));
        }
    }
}

#[test]
fn depth_is_bounded() {
    for text in [
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}", "{a=".repeat(100_000)),
        format!("[{}a]", "a.".repeat(100_000)),
    ] {
        assert_eq!(parse(&text).1.len(), 1);
    }
}

#[test]
fn what_is_wrong_is_told_line_by_line() {
    let (root, broken) = parse("a = \nb = 1\n[c\nd = 2\n[e]\nf = 3\n");
    let places: Vec<usize> = broken.iter().map(|broken| broken.at).collect();
    assert_eq!(places, [4, 13], "{broken:?}");
    let names: Vec<&String> = root.entries.keys().collect();
    assert_eq!(names, ["b", "e"]);
}

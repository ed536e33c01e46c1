//! Reads TOML against the tables of keys: unknown, missing and mistyped keys become mistakes.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{Key, Kind};
use super::mistake::Mistake;

/// Collects mistakes while a file is read.
pub(super) struct Reader {
    /// Where each line but the first begins.
    lines: Vec<usize>,
    pub(super) mistakes: Vec<Mistake>,
}

/// A section of the file with its place in it.
#[derive(Clone, Copy)]
pub(super) struct Section<'t> {
    table: &'t DeTable<'t>,
    pub(super) at: usize,
}

/// One text of the file with its place in it.
#[derive(Clone, Copy)]
pub(super) struct Text<'t> {
    pub(super) text: &'t str,
    pub(super) at: usize,
}

impl Reader {
    pub(super) fn new(text: &str) -> Self {
        Self {
            lines: text.match_indices('\n').map(|(at, _)| at + 1).collect(),
            mistakes: Vec::new(),
        }
    }

    pub(super) fn mistake(
        &mut self,
        at: usize,
        path: &str,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.mistakes.push(Mistake {
            line: 1 + self.lines.partition_point(|begin| *begin <= at),
            path: path.to_owned(),
            problem: problem.into(),
            fix: fix.into(),
        });
    }

    /// Notes every key of the section that is unknown, missing or of another kind, at any depth.
    pub(super) fn check(&mut self, path: &str, section: Section<'_>, keys: &'static [Key]) {
        for (name, value) in section.table {
            let path = below(path, name.get_ref());
            match keys.iter().find(|key| key.name == name.get_ref().as_ref()) {
                Some(key) => self.check_kind(&path, value, &key.kind),
                None => {
                    let fix = unknown_key_fix(name.get_ref(), keys);
                    self.mistake(name.span().start, &path, "this key is unknown", fix);
                }
            }
        }
        for key in keys.iter().filter(|key| key.required) {
            if !section.table.contains_key(key.name) {
                let path = below(path, key.name);
                self.mistake(
                    section.at,
                    &path,
                    "this key is missing",
                    lead_lower(key.doc),
                );
            }
        }
    }

    fn check_kind(&mut self, path: &str, value: &Spanned<DeValue<'_>>, kind: &'static Kind) {
        let at = value.span().start;
        match (kind, value.get_ref()) {
            (Kind::Text | Kind::Secret, DeValue::String(text)) if !text.trim().is_empty() => {}
            (Kind::Flag, DeValue::Boolean(_)) => {}
            (Kind::Whole(least, most), DeValue::Integer(_))
                if whole(value).is_some_and(|number| (*least..=*most).contains(&number)) => {}
            (Kind::OneOf(words), DeValue::String(word)) => {
                if !words.contains(&word.as_ref()) {
                    let problem = format!("{:?} is not one of its words", word.as_ref());
                    self.mistake(at, path, problem, format!("write one of {}", quoted(words)));
                }
            }
            (Kind::Section(keys), DeValue::Table(table)) => {
                self.check(path, Section { table, at }, keys);
            }
            (Kind::Named(keys), DeValue::Table(table)) => self.check_named(path, at, table, keys),
            (Kind::List(keys), DeValue::Array(items)) => {
                for (place, item) in items.iter().enumerate() {
                    self.check_item(path, place, item, keys);
                }
            }
            (_, _) => self.mistake(at, path, format!("it is not {}", wanted(kind)), shape(kind)),
        }
    }

    fn check_named(&mut self, path: &str, at: usize, table: &DeTable<'_>, keys: &'static [Key]) {
        if table.is_empty() {
            self.mistake(at, path, "it is empty", "name at least one");
        }
        for (name, value) in table {
            let path = below(path, name.get_ref());
            match value.get_ref() {
                DeValue::Table(table) => {
                    let at = name.span().start;
                    self.check(&path, Section { table, at }, keys);
                }
                DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_)
                | DeValue::Array(_) => self.mistake(
                    value.span().start,
                    &path,
                    "it is not a section",
                    format!("write {{ {} = … }}", keys[0].name),
                ),
            }
        }
    }

    fn check_item(
        &mut self,
        path: &str,
        place: usize,
        item: &Spanned<DeValue<'_>>,
        keys: &'static [Key],
    ) {
        let at = item.span().start;
        match item.get_ref() {
            DeValue::Table(table) => {
                let section = Section { table, at };
                let path = item_path(path, place, section);
                self.check(&path, section, keys);
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => {
                let fix = format!("write [[{path}]]");
                self.mistake(at, path, "it is not a section", fix);
            }
        }
    }
}

impl<'t> Section<'t> {
    pub(super) fn of(root: &'t Spanned<DeTable<'t>>) -> Self {
        Self {
            table: root.get_ref(),
            at: 0,
        }
    }

    pub(super) fn text(self, key: &str) -> Option<Text<'t>> {
        let value = self.table.get(key)?;
        let text = value.get_ref().as_str()?.trim();
        (!text.is_empty()).then_some(Text {
            text,
            at: value.span().start,
        })
    }

    pub(super) fn flag(self, key: &str) -> Option<bool> {
        self.table.get(key)?.get_ref().as_bool()
    }

    pub(super) fn whole(self, key: &str) -> Option<u32> {
        whole(self.table.get(key)?)
    }

    pub(super) fn section(self, key: &str) -> Option<Section<'t>> {
        let value = self.table.get(key)?;
        let table = value.get_ref().as_table()?;
        let at = value.span().start;
        Some(Section { table, at })
    }

    /// The named sections below `key`, each with its name.
    pub(super) fn named(self, key: &str) -> Vec<(Text<'t>, Section<'t>)> {
        let Some(named) = self.section(key) else {
            return Vec::new();
        };
        named
            .table
            .iter()
            .filter_map(|(name, value)| {
                let Range { start: at, .. } = name.span();
                let text = name.get_ref().as_ref();
                let table = value.get_ref().as_table()?;
                Some((Text { text, at }, Section { table, at }))
            })
            .collect()
    }

    /// The sections of the list `key`.
    pub(super) fn list(self, key: &str) -> Vec<Section<'t>> {
        self.table
            .get(key)
            .and_then(|value| value.get_ref().as_array())
            .into_iter()
            .flatten()
            .filter_map(|item| {
                let table = item.get_ref().as_table()?;
                let at = item.span().start;
                Some(Section { table, at })
            })
            .collect()
    }

    /// Where the value of `key` stands, else the section.
    pub(super) fn place(self, key: &str) -> usize {
        self.table
            .get(key)
            .map_or(self.at, |value| value.span().start)
    }
}

/// An item of a list is named by the object it maps, where it says so.
pub(super) fn item_path(path: &str, place: usize, section: Section<'_>) -> String {
    section.text("object").map_or_else(
        || format!("{path}[{place}]"),
        |object| below(path, object.text),
    )
}

pub(super) fn below(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn whole(value: &Spanned<DeValue<'_>>) -> Option<u32> {
    let number = value.get_ref().as_integer()?;
    u32::from_str_radix(number.as_str(), number.radix()).ok()
}

fn wanted(kind: &Kind) -> &'static str {
    match kind {
        Kind::Text => "a text that is not empty",
        Kind::Secret => "the place of a secret",
        Kind::OneOf(_) => "a text",
        Kind::Flag => "true or false",
        Kind::Whole(_, _) => "a whole number in its range",
        Kind::Section(_) | Kind::Named(_) => "a section",
        Kind::List(_) => "a list of sections",
    }
}

fn shape(kind: &Kind) -> String {
    match kind {
        Kind::Text => "write it in quotes".to_owned(),
        Kind::Secret => SECRET_FIX.to_owned(),
        Kind::OneOf(words) => format!("write one of {}", quoted(words)),
        Kind::Flag => "write true or false, without quotes".to_owned(),
        Kind::Whole(least, most) => format!("write a number from {least} to {most}"),
        Kind::Section(keys) | Kind::Named(keys) => format!("write {{ {} = … }}", keys[0].name),
        Kind::List(_) => "write it in double brackets".to_owned(),
    }
}

/// How a secret is named.
pub(super) const SECRET_FIX: &str = "write env:NAME, secretsmanager:ID, ssm:/name or file:path";

fn quoted(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    quoted.join(", ")
}

fn lead_lower(doc: &str) -> String {
    format!("add it: {}", doc.trim_end_matches('.'))
}

fn unknown_key_fix(name: &str, keys: &[Key]) -> String {
    let nearest = keys
        .iter()
        .map(|key| (edits(name, key.name), key.name))
        .min()
        .filter(|(edits, _)| *edits <= 2);
    match nearest {
        Some((_, known)) => format!("did you mean `{known}`?"),
        None => {
            let known: Vec<&str> = keys.iter().map(|key| key.name).collect();
            format!("known here: {}", known.join(", "))
        }
    }
}

/// Returns how many letters must be put in, taken out or replaced to make `one` of `other`.
fn edits(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (column, expected) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *expected);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

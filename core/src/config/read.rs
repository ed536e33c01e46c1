//! Reads TOML against the tables of keys: unknown, missing and mistyped keys become mistakes.

use super::keys::{Key, Kind};
use super::mistake::Mistake;
use super::toml::{Item, Table, Value};

/// Collects mistakes while a file is read.
pub(super) struct Reader {
    /// Where each line but the first begins.
    lines: Vec<usize>,
    pub(super) mistakes: Vec<Mistake>,
}

/// A section of the file with its place in it.
#[derive(Clone, Copy)]
pub(super) struct Section<'t> {
    table: &'t Table,
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
        for (name, entry) in &section.table.entries {
            let path = below(path, name);
            match keys.iter().find(|key| key.name == name) {
                Some(key) => self.check_kind(&path, &entry.item, &key.kind),
                None => {
                    let fix = unknown_key_fix(name, keys);
                    self.mistake(entry.name_at, &path, "this key is unknown", fix);
                }
            }
        }
        for key in keys.iter().filter(|key| key.required) {
            if !section.table.entries.contains_key(key.name) {
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

    fn check_kind(&mut self, path: &str, item: &Item, kind: &'static Kind) {
        let at = item.at;
        match (kind, &item.value) {
            (Kind::Text | Kind::Secret, Value::Text(text)) if !text.trim().is_empty() => {}
            (Kind::Flag, Value::Flag(_)) => {}
            (Kind::Whole(least, most), Value::Whole(Some(number)))
                if (*least..=*most).contains(number) => {}
            (Kind::OneOf(words), Value::Text(word)) => {
                if !words.contains(&word.as_str()) {
                    let problem = format!("\"{word}\" is not one of its words");
                    self.mistake(at, path, problem, format!("write one of {}", quoted(words)));
                }
            }
            (Kind::Section(keys), Value::Table(table)) => {
                self.check(path, Section { table, at }, keys);
            }
            (Kind::Named(keys), Value::Table(table)) => self.check_named(path, at, table, keys),
            (Kind::List(keys), Value::List(items) | Value::Tables(items)) => {
                for (place, item) in items.iter().enumerate() {
                    self.check_item(path, place, item, keys);
                }
            }
            (_, _) => self.mistake(at, path, format!("it is not {}", wanted(kind)), shape(kind)),
        }
    }

    fn check_named(&mut self, path: &str, at: usize, table: &Table, keys: &'static [Key]) {
        if table.entries.is_empty() {
            self.mistake(at, path, "it is empty", "name at least one");
        }
        for (name, entry) in &table.entries {
            let path = below(path, name);
            match entry.item.table() {
                Some(table) => {
                    let at = entry.name_at;
                    self.check(&path, Section { table, at }, keys);
                }
                None => self.mistake(
                    entry.item.at,
                    &path,
                    "it is not a section",
                    format!("write {{ {} = … }}", keys[0].name),
                ),
            }
        }
    }

    fn check_item(&mut self, path: &str, place: usize, item: &Item, keys: &'static [Key]) {
        let at = item.at;
        match item.table() {
            Some(table) => {
                let section = Section { table, at };
                let path = item_path(path, place, section);
                self.check(&path, section, keys);
            }
            None => {
                let fix = format!("write [[{path}]]");
                self.mistake(at, path, "it is not a section", fix);
            }
        }
    }
}

impl<'t> Section<'t> {
    pub(super) fn of(root: &'t Table) -> Self {
        Self { table: root, at: 0 }
    }

    fn item(self, key: &str) -> Option<&'t Item> {
        self.table.entries.get(key).map(|entry| &entry.item)
    }

    pub(super) fn text(self, key: &str) -> Option<Text<'t>> {
        let item = self.item(key)?;
        let Value::Text(text) = &item.value else {
            return None;
        };
        let text = text.trim();
        (!text.is_empty()).then_some(Text { text, at: item.at })
    }

    pub(super) fn flag(self, key: &str) -> Option<bool> {
        let Value::Flag(flag) = self.item(key)?.value else {
            return None;
        };
        Some(flag)
    }

    pub(super) fn whole(self, key: &str) -> Option<u32> {
        let Value::Whole(number) = self.item(key)?.value else {
            return None;
        };
        number
    }

    pub(super) fn section(self, key: &str) -> Option<Section<'t>> {
        let item = self.item(key)?;
        let (table, at) = (item.table()?, item.at);
        Some(Section { table, at })
    }

    /// The named sections below `key`, each with its name.
    pub(super) fn named(self, key: &str) -> Vec<(Text<'t>, Section<'t>)> {
        let Some(named) = self.section(key) else {
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (text, entry) in &named.table.entries {
            let at = entry.name_at;
            if let Some(table) = entry.item.table() {
                sections.push((Text { text, at }, Section { table, at }));
            }
        }
        sections
    }

    /// The sections of the list `key`.
    pub(super) fn list(self, key: &str) -> Vec<Section<'t>> {
        let mut sections = Vec::new();
        if let Some(Value::List(items) | Value::Tables(items)) =
            self.item(key).map(|item| &item.value)
        {
            for item in items {
                let at = item.at;
                if let Some(table) = item.table() {
                    sections.push(Section { table, at });
                }
            }
        }
        sections
    }

    /// Where the value of `key` stands, else the section.
    pub(super) fn place(self, key: &str) -> usize {
        self.item(key).map_or(self.at, |item| item.at)
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
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
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
    for (line, dead_letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (column, expected) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(dead_letter != *expected);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

//! Reads TOML with the tables of keys: reports unknown and missing keys and values of another kind.

use strsim::levenshtein;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue, Error as TomlError};

use super::keys::{Key, Kind};
use super::mistake::Mistake;

/// Most syntax errors that are reported for one file.
const SYNTAX_ERRORS_MAX: usize = 20;

/// Collects mistakes while a file is read.
pub(super) struct Reader<'t> {
    file: &'t str,
    /// Where each line but the first begins.
    lines: Vec<usize>,
    pub(super) mistakes: Vec<Mistake>,
}

/// A section of the file with its position.
#[derive(Clone, Copy)]
pub(super) struct Section<'t> {
    table: &'t DeTable<'t>,
    pub(super) at: usize,
}

/// One text of the file with its position.
#[derive(Clone, Copy)]
pub(super) struct Text<'t> {
    pub(super) text: &'t str,
    pub(super) at: usize,
}

impl<'t> Reader<'t> {
    pub(super) fn new(file: &'t str) -> Self {
        Self {
            file,
            lines: file.match_indices('\n').map(|(at, _)| at + 1).collect(),
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
            line: self.line(at),
            path: path.to_owned(),
            problem: problem.into(),
            fix: fix.into(),
        });
    }

    /// Reports the first syntax error of each line: the others of a line mostly follow from the first.
    pub(super) fn syntax_errors(&mut self, errors: &[TomlError]) {
        let mut errors: Vec<(usize, &str)> = errors
            .iter()
            .map(|error| (error.span().map_or(0, |span| span.start), error.message()))
            .collect();
        errors.sort_unstable();
        errors.dedup_by_key(|(at, _)| self.line(*at));
        for (at, message) in errors.into_iter().take(SYNTAX_ERRORS_MAX) {
            let problem = format!("this is not TOML, at column {}: {message}", self.column(at));
            let fix = "correct the line (the format: https://toml.io)";
            self.mistake(at, "syncline.toml", problem, fix);
        }
    }

    fn line(&self, at: usize) -> usize {
        1 + self.lines.partition_point(|begin| *begin <= at)
    }

    /// Returns the column of a position, in characters and counted from 1.
    fn column(&self, at: usize) -> usize {
        let line = self.line(at);
        let begin = line.checked_sub(2).map_or(0, |before| self.lines[before]);
        let before = self.file.get(begin..at).unwrap_or_default();
        1 + before.chars().count()
    }

    /// Reports every key of the section that is unknown, missing or of another kind, at any depth.
    pub(super) fn check(&mut self, path: &str, section: Section<'_>, keys: &'static [Key]) {
        for (name, item) in section.table {
            let path = below(path, name.get_ref());
            match keys.iter().find(|key| key.name == name.get_ref()) {
                Some(key) => self.check_kind(&path, item, &key.kind),
                None => {
                    let fix = unknown_key_fix(name.get_ref(), keys);
                    self.mistake(start(name), &path, "this key is unknown", fix);
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

    fn check_kind(&mut self, path: &str, item: &Spanned<DeValue<'_>>, kind: &'static Kind) {
        let at = start(item);
        match (kind, item.get_ref()) {
            (Kind::Text | Kind::Secret | Kind::Fence, DeValue::String(text))
                if !text.trim().is_empty() => {}
            (Kind::Flag, DeValue::Boolean(_)) => {}
            (Kind::Whole(least, most), value)
                if whole(value).is_some_and(|number| (*least..=*most).contains(&number)) => {}
            (Kind::OneOf(words), DeValue::String(word)) => {
                if !words.contains(&word.as_ref()) {
                    let problem = format!("\"{word}\" is not one of its values");
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
        for (name, item) in table {
            let path = below(path, name.get_ref());
            match item.get_ref().as_table() {
                Some(table) => {
                    let at = start(name);
                    self.check(&path, Section { table, at }, keys);
                }
                None => self.mistake(
                    start(item),
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
        let at = start(item);
        match item.get_ref().as_table() {
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
    pub(super) fn of(root: &'t DeTable<'t>) -> Self {
        Self { table: root, at: 0 }
    }

    fn item(self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.table.get(key)
    }

    fn value(self, key: &str) -> Option<&'t DeValue<'t>> {
        self.item(key).map(Spanned::get_ref)
    }

    pub(super) fn text(self, key: &str) -> Option<Text<'t>> {
        let item = self.item(key)?;
        let text = item.get_ref().as_str()?.trim();
        let at = start(item);
        (!text.is_empty()).then_some(Text { text, at })
    }

    pub(super) fn flag(self, key: &str) -> Option<bool> {
        self.value(key)?.as_bool()
    }

    pub(super) fn whole(self, key: &str) -> Option<u32> {
        whole(self.value(key)?)
    }

    pub(super) fn section(self, key: &str) -> Option<Section<'t>> {
        let item = self.item(key)?;
        let table = item.get_ref().as_table()?;
        let at = start(item);
        Some(Section { table, at })
    }

    /// Returns the named sections below `key`, each with its name.
    pub(super) fn named(self, key: &str) -> Vec<(Text<'t>, Section<'t>)> {
        let Some(named) = self.section(key) else {
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (name, item) in named.table {
            let text: &DeString<'t> = name.get_ref();
            let at = start(name);
            if let Some(table) = item.get_ref().as_table() {
                sections.push((Text { text, at }, Section { table, at }));
            }
        }
        sections
    }

    /// Returns the sections of the list `key`.
    pub(super) fn list(self, key: &str) -> Vec<Section<'t>> {
        let items = self.value(key).and_then(DeValue::as_array);
        let mut sections = Vec::new();
        for item in items.into_iter().flat_map(|items| items.iter()) {
            let at = start(item);
            if let Some(table) = item.get_ref().as_table() {
                sections.push(Section { table, at });
            }
        }
        sections
    }

    /// Returns the position of the value of `key`, else of the section.
    pub(super) fn place(self, key: &str) -> usize {
        self.item(key).map_or(self.at, start)
    }
}

fn start<T>(item: &Spanned<T>) -> usize {
    item.span().start
}

/// Returns a value as an unsigned 32-bit number, if it is one.
fn whole(value: &DeValue<'_>) -> Option<u32> {
    let number = value.as_integer()?;
    let number = i64::from_str_radix(number.as_str(), number.radix()).ok()?;
    u32::try_from(number).ok()
}

/// Returns the path of an item of a list: with the object it maps, or with its index.
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
        Kind::Secret => "the address of a secret",
        Kind::Fence => "the address of a fence",
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
        Kind::Fence => FENCE_FIX.to_owned(),
        Kind::OneOf(words) => format!("write one of {}", quoted(words)),
        Kind::Flag => "write true or false, without quotes".to_owned(),
        Kind::Whole(least, most) => format!("write a number from {least} to {most}"),
        Kind::Section(keys) | Kind::Named(keys) => format!("write {{ {} = … }}", keys[0].name),
        Kind::List(_) => "write it in double brackets".to_owned(),
    }
}

/// The forms of a secret's address.
pub(super) const SECRET_FIX: &str = "write env:NAME, secretsmanager:ID, ssm:/name or file:path";

/// The forms of a fence's address.
pub(super) const FENCE_FIX: &str = "write ssm:/name, or file:path on one machine";

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
        .map(|key| (levenshtein(name, key.name), key.name))
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

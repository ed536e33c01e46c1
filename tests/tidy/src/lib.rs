//! Which house rules does a file of this repository break?
//!
//! The rules that the compiler and Clippy do not know: how long a file may be, what it opens with,
//! which names and words are not used, and which part of the engine may contain SQL or Salesforce's
//! codes. A rule reads one file as text; it does not know what the code means.

mod floors;
pub mod pages;
mod text;
mod tokens;
mod walls;
mod words;

use std::fmt;
use std::path::{Path, PathBuf};

/// One file, as the rules see it.
#[derive(Debug, Clone)]
pub struct Source {
    /// Relative to the root of the repository, with `/` between the parts.
    pub path: String,
    /// The whole text.
    pub text: String,
}

/// One rule, broken in one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The path of the [`Source`].
    pub path: String,
    /// Counted from 1.
    pub line: usize,
    /// What the rule asks for.
    pub rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.path, self.line, self.rule)
    }
}

impl Source {
    /// Returns every violation in this file, in the order of its lines.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        let mut found = text::violations(self);
        found.extend(words::violations(self));
        if self.has_extension("rs") {
            found.extend(walls::violations(self));
            found.extend(floors::violations(self));
        }
        found.sort();
        found
    }

    fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|its| its == extension)
    }

    fn violation(&self, line: usize, rule: impl Into<String>) -> Violation {
        Violation {
            path: self.path.clone(),
            line,
            rule: rule.into(),
        }
    }
}

/// Folders that are not checked: build output, installed tools, packages of others.
const FOREIGN: [&str; 5] = ["target", ".tools", ".git", "node_modules", "dist"];

/// Reads every text file under the root of the repository.
///
/// # Errors
///
/// Fails if a folder or a file cannot be read.
pub fn sources(root: &Path) -> std::io::Result<Vec<Source>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let foreign = FOREIGN.iter().any(|foreign| name == *foreign);
            let kind = entry.file_type()?;
            if kind.is_dir() && !foreign {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.extend(source(root, &entry.path())?);
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Reads one file; `None` if it is not text.
fn source(root: &Path, path: &PathBuf) -> std::io::Result<Option<Source>> {
    let relative = path.strip_prefix(root).expect("the walk began at the root");
    let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
    let bytes = std::fs::read(path)?;
    Ok(String::from_utf8(bytes).ok().map(|text| Source {
        path: parts.join("/"),
        text,
    }))
}

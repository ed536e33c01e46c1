//! Does every link of the documentation lead somewhere, and does the book have every page?

use std::collections::BTreeSet;
use std::path::Path;

use super::{Source, Violation};

/// The table of contents of the book.
const CONTENTS: &str = "docs/SUMMARY.md";

/// Returns links whose file or heading does not exist, and pages under `docs` that the book leaves out.
///
/// Only pages that people read from the root or from the book: what is beside a part of the code has its own tests.
#[must_use]
pub fn violations(root: &Path, sources: &[Source]) -> Vec<Violation> {
    let is_page = |source: &&Source| {
        source.has_extension("md")
            && (source.path.starts_with("docs/") || !source.path.contains('/'))
    };
    let mut found = Vec::new();
    let mut contents = BTreeSet::new();
    for page in sources.iter().filter(is_page) {
        for (line, target) in links(&page.text) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = resolved(&page.path, file);
            if page.path == CONTENTS {
                contents.insert(path.clone());
            }
            if !root.join(&path).exists() {
                found.push(page.violation(line, format!("{target} leads to nothing")));
            } else if !heading.is_empty() && path.ends_with(".md") {
                let known = sources.iter().find(|source| source.path == path);
                if !known.is_some_and(|known| headings(&known.text).any(|one| one == heading)) {
                    found.push(page.violation(line, format!("{path} has no heading #{heading}")));
                }
            }
        }
    }
    let in_book = |source: &&Source| source.path.starts_with("docs/") && source.path != CONTENTS;
    let pages = sources.iter().filter(is_page).filter(in_book);
    let missing = pages.filter(|page| !contents.contains(&page.path));
    found.extend(
        missing.map(|page| page.violation(1, format!("{CONTENTS} does not list this page"))),
    );
    found
}

/// Returns the lines of a page that are no code, numbered from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        (!in_code && !is_fence).then_some((index + 1, line))
    })
}

/// Returns the targets of links within the repository, each with its line.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    prose(text)
        .flat_map(|(number, line)| {
            line.split("](")
                .skip(1)
                .filter_map(move |rest| Some((number, rest.split_once(')')?.0)))
        })
        .filter(|(_, target)| !target.contains("://") && !target.starts_with("mailto:"))
}

/// Returns where a link of a page leads, from the root of the repository.
fn resolved(page: &str, target: &str) -> String {
    if target.is_empty() {
        return page.to_owned();
    }
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.split('/').filter(|part| !part.is_empty()) {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// Returns the names by which a page's headings are linked: lower case, hyphens for blanks, no other signs.
fn headings(text: &str) -> impl Iterator<Item = String> {
    let headings = prose(text).filter_map(|(_, line)| line.strip_prefix('#'));
    headings.map(|heading| {
        heading
            .trim_start_matches('#')
            .trim()
            .to_lowercase()
            .chars()
            .filter_map(|one| match one {
                ' ' => Some('-'),
                one if one.is_alphanumeric() || one == '-' || one == '_' => Some(one),
                _ => None,
            })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(pages: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<Source> = pages
            .iter()
            .map(|(path, text)| Source {
                path: (*path).to_owned(),
                text: (*text).to_owned(),
            })
            .collect();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let found = violations(&folder, &sources).into_iter();
        found
            .map(|one| format!("{}: {}", one.line, one.rule))
            .collect()
    }

    #[test]
    fn link_to_nothing_is_named() {
        let page = "see [it](no-such.md)\n[here](https://example.com) and [there](../Makefile)";
        let contents = "- [A](a.md)";
        assert_eq!(
            rules(&[("docs/a.md", page), (CONTENTS, contents)]),
            ["1: no-such.md leads to nothing", "1: a.md leads to nothing"]
        );
    }

    #[test]
    fn link_to_a_missing_heading_is_named() {
        let page = "# Two words, one `sign`\n[up](#two-words-one-sign)\n```\n# code\n[x](y)\n```\n[down](#code)";
        assert_eq!(
            rules(&[("SECURITY.md", page)]),
            ["7: SECURITY.md has no heading #code"]
        );
    }

    #[test]
    fn page_that_the_book_leaves_out_is_named() {
        let found = rules(&[("docs/json.md", "x"), (CONTENTS, "- [C](comparing.md)")]);
        assert_eq!(found, ["1: docs/SUMMARY.md does not list this page"]);
    }
}

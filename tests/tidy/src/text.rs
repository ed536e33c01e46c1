//! Which rules does a file break by its name and its lines alone?

use crate::{Source, Violation, walls};

const FILE_LINES_MAX: usize = 700;

/// Extensions of what is written by hand and read as code.
const CODE: [&str; 5] = ["rs", "py", "js", "ts", "mjs"];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 8] = [
    "utils", "util", "common", "helpers", "helper", "types", "manager", "service",
];

/// Words of unfinished work, taken apart so that this file does not break its own rule.
const UNFINISHED: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];

pub(crate) fn violations(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    found.extend(too_long(source));
    found.extend(empty_name(source));
    found.extend(unfinished(source));
    if source.has_extension("rs") {
        found.extend(no_opening(source));
    }
    if source.has_extension("md") {
        found.extend(headings(source));
    }
    if source.has_extension("sql") && source.path.starts_with("migrations/") {
        found.extend(walls::shouted_keywords(source, &source.text, 1));
    }
    found
}

fn too_long(source: &Source) -> Option<Violation> {
    let lines = source.text.lines().count();
    let code = CODE.iter().any(|extension| source.has_extension(extension));
    (code && lines > FILE_LINES_MAX).then(|| {
        source.violation(
            lines,
            format!("a file has at most {FILE_LINES_MAX} lines, this one {lines}"),
        )
    })
}

fn empty_name(source: &Source) -> Option<Violation> {
    let empty = source.path.split('/').find(|part| {
        let stem = part.split('.').next().unwrap_or(part);
        EMPTY_NAMES.contains(&stem)
    })?;
    Some(source.violation(
        1,
        format!("\"{empty}\" names nothing: call it what it is about"),
    ))
}

fn unfinished(source: &Source) -> Vec<Violation> {
    let is_word = |line: &str| {
        line.split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| UNFINISHED.contains(&word))
    };
    (1..)
        .zip(source.text.lines())
        .filter(|(_, line)| is_word(line))
        .map(|(line, _)| source.violation(line, "unfinished work is not left in a file"))
        .collect()
}

fn no_opening(source: &Source) -> Option<Violation> {
    let opens = source
        .text
        .lines()
        .find(|line| !line.trim().is_empty())?
        .starts_with("//!");
    (!opens).then(|| source.violation(1, "a file opens with //! and the question that it answers"))
}

/// Headings outside of fenced code: a page has one title.
fn headings(source: &Source) -> Vec<Violation> {
    let mut fenced = false;
    let mut titles = Vec::new();
    for (line, text) in (1..).zip(source.text.lines()) {
        if text.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced && text.starts_with("# ") {
            titles.push(line);
        }
    }
    match titles.as_slice() {
        [] => vec![source.violation(1, "a page has a title: one line that begins with \"# \"")],
        [_, more @ ..] => {
            let rule = "a page has one title: use ## below it";
            more.iter()
                .map(|line| source.violation(*line, rule))
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Source;

    fn rules_broken(path: &str, text: &str) -> Vec<(usize, String)> {
        let source = Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        super::violations(&source)
            .into_iter()
            .map(|found| (found.line, found.rule))
            .collect()
    }

    #[track_caller]
    fn breaks(path: &str, text: &str, line: usize, rule: &str) {
        let broken = rules_broken(path, text);
        assert!(broken.len() == 1, "{broken:?}");
        assert!(
            broken[0].0 == line && broken[0].1.contains(rule),
            "{broken:?}"
        );
    }

    #[test]
    fn a_tidy_file_breaks_nothing() {
        assert!(
            rules_broken(
                "core/planner/src/record.rs",
                "//! What to do about one record.\n"
            )
            .is_empty()
        );
        assert!(rules_broken("README.md", "# One\n```sh\n# a comment\n```\n## Two\n").is_empty());
    }

    #[test]
    fn a_file_of_701_lines_is_too_long_and_one_of_700_is_not() {
        let text = format!("//! Long.\n{}", "// line\n".repeat(699));
        assert!(rules_broken("core/src/a.rs", &text).is_empty());
        breaks(
            "core/src/a.rs",
            &format!("{text}// line\n"),
            701,
            "at most 700",
        );
    }

    #[test]
    fn names_that_say_nothing_are_refused_for_folders_and_files() {
        breaks("core/src/utils/a.rs", "//! A.\n", 1, "names nothing");
        breaks("core/src/types.rs", "//! A.\n", 1, "names nothing");
        assert!(rules_broken("core/src/types_of_rain.rs", "//! A.\n").is_empty());
    }

    #[test]
    fn unfinished_work_is_found_in_any_text_but_only_as_a_word() {
        let word = super::UNFINISHED[0];
        breaks(
            "infra/template.yaml",
            &format!("a: 1\n# {word}: later\n"),
            2,
            "unfinished",
        );
        assert!(rules_broken("infra/template.yaml", &format!("a: METH{word}")).is_empty());
    }

    #[test]
    fn a_rust_file_without_an_opening_is_refused() {
        breaks("core/src/a.rs", "\nuse std::fmt;\n", 1, "opens with //!");
    }

    #[test]
    fn a_page_has_exactly_one_title() {
        breaks("README.md", "# One\ntext\n# Two\n", 3, "one title");
        breaks("README.md", "text\n", 1, "has a title");
    }

    #[test]
    fn migrations_do_not_shout() {
        breaks(
            "migrations/0001_a.sql",
            "create table a ();\nCREATE table b ();\n",
            2,
            "lowercase",
        );
    }
}

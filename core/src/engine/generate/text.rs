//! The text of mappings and tables: TOML to add to `syncline.toml`, and SQL to run.

use super::{Draft, Generated};
use crate::store::table_definition;

impl Generated {
    /// Returns the sections of `syncline.toml`, with what is left out as comments.
    pub fn mapping(&self) -> String {
        let mut parts: Vec<String> = self
            .objects
            .iter()
            .map(|draft| self.section(draft))
            .collect();
        if !self.skipped.is_empty() {
            let lines = self.not_mapped();
            let lines = lines.iter().map(|line| format!("  {line}"));
            parts.push(comments("#", "Not mapped:", lines));
        }
        parts.join("\n")
    }

    /// Returns a line for each reason why objects are not mapped, with what to do about it.
    pub fn not_mapped(&self) -> Vec<String> {
        let lines = self.skipped.iter().map(|skipped| {
            let why = match &skipped.fix {
                Some(fix) => format!("{}; {fix}", skipped.why),
                None => skipped.why.clone(),
            };
            (skipped.object.as_str(), why)
        });
        by_reason(lines)
    }

    fn section(&self, draft: &Draft) -> String {
        let table = &draft.sync.table;
        let state = match draft.new_table {
            Some(_) => "new",
            None => "existing",
        };
        let heading = format!(
            "{}: {} fields, {state} table {}.{}",
            draft.sync.object,
            draft.sync.fields.len() + 1,
            table.schema,
            table.table
        );
        let notes = draft.notes.iter().map(|note| format!("  {note}"));
        let mut section = comments("#", &heading, notes);
        section.push_str(&draft.sync.to_toml(&self.tenant, &self.schema));
        if !draft.left_out.is_empty() {
            let left_out = draft.left_out.iter();
            let left_out = left_out.map(|left| (left.field.as_str(), left.why.clone()));
            let lines = by_reason(left_out);
            let lines = lines.iter().map(|line| format!("  {line}"));
            section.push_str(&comments("#", "Left out:", lines));
        }
        if !draft.spare_columns.is_empty() {
            let lines = draft.spare_columns.iter().map(|spare| match &spare.like {
                Some(like) => format!("  {} (is it {like}?)", spare.column),
                None => format!("  {}", spare.column),
            });
            section.push_str(&comments("#", "Columns without a field:", lines));
        }
        if !draft.problems.is_empty() {
            let lines = draft
                .problems
                .iter()
                .map(|problem| format!("  {}: {}", problem.what, problem.fix));
            section.push_str(&comments("#", "To be mended:", lines));
        }
        section
    }

    /// Returns the SQL that creates the new tables in one transaction. What would mend existing tables follows as
    /// comments: a person decides about it.
    pub fn sql(&self) -> String {
        let tables = self.objects.iter().filter_map(|draft| {
            let table = draft.new_table.as_ref()?;
            let heading = comments("--", draft.sync.object.as_str(), []);
            Some(format!(
                "{heading}{}",
                table_definition::create_table(table)
            ))
        });
        let tables: Vec<String> = tables.collect();
        let mut sql = match tables.is_empty() {
            true => String::new(),
            false => table_definition::transaction(&tables),
        };
        for draft in self
            .objects
            .iter()
            .filter(|draft| draft.new_table.is_none())
        {
            let table = &draft.sync.table;
            for (purpose, statements) in [
                ("to mend it", draft.mending()),
                ("to map further fields", draft.extending()),
            ] {
                if !statements.is_empty() {
                    let heading = format!("{}.{} exists; {purpose}:", table.schema, table.table);
                    let lines = statements.iter().map(|line| format!("  {line}"));
                    sql.push_str(&comments("--", &heading, lines));
                }
            }
        }
        sql
    }
}

impl Draft {
    /// Returns the statements that mend an existing table: what does not fit.
    pub fn mending(&self) -> Vec<String> {
        let problems = self.problems.iter();
        problems.filter_map(|problem| problem.sql.clone()).collect()
    }

    /// Returns the statements after which fields could be mapped that are left out.
    pub fn extending(&self) -> Vec<String> {
        let left_out = self.left_out.iter();
        left_out.filter_map(|left| left.sql.clone()).collect()
    }
}

/// Returns a line for each reason, with the names that have it, in the order of their first name.
fn by_reason<'n>(names: impl IntoIterator<Item = (&'n str, String)>) -> Vec<String> {
    let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
    for (name, why) in names {
        let known = reasons.iter_mut().find(|(known, _)| *known == why);
        match known {
            Some((_, names)) => names.push(name),
            None => reasons.push((why, vec![name])),
        }
    }
    let lines = reasons.iter();
    lines
        .map(|(why, names)| format!("{}: {why}", names.join(", ")))
        .collect()
}

/// Columns of a line of comments in the mapping.
const WIDTH: usize = 110;

/// Returns comments, one a line. A name may have any character, and none may end the comment. Prose is wrapped; a
/// statement stays in its line.
fn comments(mark: &str, heading: &str, lines: impl IntoIterator<Item = String>) -> String {
    let lines = std::iter::once(heading.to_owned()).chain(lines);
    let mut written = String::new();
    for line in lines {
        let line: String = line
            .chars()
            .map(|letter| if letter.is_control() { ' ' } else { letter })
            .collect();
        let width = if mark == "#" { WIDTH } else { usize::MAX };
        for line in wrapped(&line, width) {
            written.push_str(&format!("{mark} {line}\n"));
        }
    }
    written
}

/// Returns the words of a line in lines that are no wider, if the words are not; further lines are indented more.
fn wrapped(line: &str, width: usize) -> Vec<String> {
    let words = line.trim_start();
    let indent = " ".repeat(line.len() - words.len());
    let mut lines = vec![indent.clone()];
    for (place, word) in words.split(' ').enumerate() {
        let current = lines.last_mut().expect("there is a first line");
        if place > 0 && current.chars().count() + 1 + word.chars().count() > width {
            lines.push(format!("{indent}    {word}"));
            continue;
        }
        if place > 0 {
            current.push(' ');
        }
        current.push_str(word);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_ends_a_comment_and_prose_is_wrapped() {
        let name = "a\nb\r--".to_owned();
        assert_eq!(comments("--", "T", [name]), "-- T\n-- a b --\n");
        let long = "  word".to_owned() + &" word".repeat(30);
        let written = comments("#", "T", [long]);
        let lines: Vec<&str> = written.lines().collect();
        assert_eq!(lines.len(), 3, "{written}");
        assert!(
            lines.iter().all(|line| line.len() <= WIDTH + 2),
            "{written}"
        );
        assert!(lines[2].starts_with("#       word word"), "{written}");
    }
}

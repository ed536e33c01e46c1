//! Long-text changes in change events: a unified diff with the digest of the result.
//!
//! The format is that of the Change Data Capture guide, "Sending Data Differences for Fields of
//! Updated Records": lines without context, and `+++` followed by the SHA-256 of the new text.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use similar::{Algorithm, DiffOp, DiffTag, capture_diff_slices};

use crate::unconfirmed::EMPTY_DIFF_SIDE_NAMES_NEXT_LINE;

/// Minimum length for a diff, in characters. A shorter new text is sent whole.
const TEXT_CHARS_MIN: usize = 1_000;

/// Maximum change of the length for a diff, in percent.
const LENGTH_CHANGE_PERCENT_MAX: usize = 50;

/// Maximum share of changed lines for a diff, over old and new lines together, in percent.
const CHANGED_LINES_PERCENT_MAX: usize = 25;

/// Returns the diff from `old` to `new`, or `None` if the guide requires the whole text.
pub(crate) fn unified(old: &str, new: &str) -> Option<String> {
    let (old_chars, new_chars) = (old.chars().count(), new.chars().count());
    let too_different = old_chars.abs_diff(new_chars) * 100 > old_chars * LENGTH_CHANGE_PERCENT_MAX;
    if new_chars < TEXT_CHARS_MIN || too_different {
        return None;
    }
    let (old, new_lines) = (lines(old), lines(new));
    let operations = capture_diff_slices(Algorithm::Myers, &old, &new_lines);
    let edits: Vec<&DiffOp> = operations
        .iter()
        .filter(|operation| operation.tag() != DiffTag::Equal)
        .collect();
    let changed: usize = edits
        .iter()
        .map(|edit| edit.old_range().len() + edit.new_range().len())
        .sum();
    if changed * 100 > (old.len() + new_lines.len()) * CHANGED_LINES_PERCENT_MAX {
        return None;
    }
    let mut diff = format!("--- \n+++ {}", digest(new));
    for edit in edits {
        push_hunk(&mut diff, edit, &old, &new_lines);
    }
    (diff.len() < new.len()).then_some(diff)
}

/// Returns the SHA-256 of a text as lower-case hexadecimal.
fn digest(text: &str) -> String {
    let bytes = Sha256::digest(text.as_bytes());
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Splits a text at its line breaks, without the breaks.
fn lines(text: &str) -> Vec<&str> {
    text.split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .collect()
}

fn push_hunk(out: &mut String, edit: &DiffOp, old: &[&str], new: &[&str]) {
    let (before, after) = (edit.old_range(), edit.new_range());
    let start = |range: &std::ops::Range<usize>| {
        let next_line = !range.is_empty() || EMPTY_DIFF_SIDE_NAMES_NEXT_LINE;
        range.start + usize::from(next_line)
    };
    let _ = write!(
        out,
        "\n@@ -{},{} +{},{} @@",
        start(&before),
        before.len(),
        start(&after),
        after.len()
    );
    for line in &old[before] {
        let _ = write!(out, "\n-{line}");
    }
    for line in &new[after] {
        let _ = write!(out, "\n+{line}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{digest, lines, unified};

    /// Does what the guide asks of a subscriber: apply the hunks, then compare the digest.
    fn applied(old: &str, diff: &str) -> (String, String) {
        let mut result: Vec<String> = Vec::new();
        let old = lines(old);
        let mut taken = 0;
        let mut head = diff.split('\n');
        assert_eq!(head.next(), Some("--- "));
        let hash = head.next().unwrap().strip_prefix("+++ ").unwrap();
        for line in head {
            if let Some(hunk) = line.strip_prefix("@@ -") {
                let start: usize = hunk.split(',').next().unwrap().parse().unwrap();
                result.extend(old[taken..start - 1].iter().map(|l| (*l).to_owned()));
                taken = start - 1;
            } else if let Some(removed) = line.strip_prefix('-') {
                assert_eq!(old[taken], removed);
                taken += 1;
            } else {
                result.push(line.strip_prefix('+').unwrap().to_owned());
            }
        }
        result.extend(old[taken..].iter().map(|l| (*l).to_owned()));
        (result.join("\n"), hash.to_owned())
    }

    fn text(lines: usize) -> String {
        let line = |n| format!("line {n} keeps some text that is long enough for it");
        (0..lines).map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn one_changed_line_is_sent_as_a_diff() {
        let old = text(40);
        let new = old.replace("line 7 keeps", "line 7 shows");
        let diff = unified(&old, &new).unwrap();
        assert_eq!(
            diff,
            format!(
                "--- \n+++ {}\n@@ -8,1 +8,1 @@\n-line 7 keeps some text that is long enough \
                 for it\n+line 7 shows some text that is long enough for it",
                digest(&new)
            )
        );
        assert_eq!(
            digest("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn short_or_mostly_changed_texts_are_sent_whole() {
        let old = text(40);
        assert_eq!(unified("a\nb", "a\nc"), None, "short");
        assert_eq!(
            unified(&text(10), &text(40)),
            None,
            "grew by more than half"
        );
        assert_eq!(
            unified(&old, &old.replace("keeps", "loses")),
            None,
            "every line changed"
        );
        let one_line = "x".repeat(3_000);
        assert_eq!(
            unified(&one_line, &format!("{one_line}y")),
            None,
            "the diff is longer"
        );
    }

    proptest! {
        #[test]
        fn applying_a_diff_gives_the_new_text_and_digest(
            edits in prop::collection::vec((0..60_usize, 0..3_u8), 0..6),
        ) {
            let old = text(60);
            let mut edited: Vec<String> = old.split('\n').map(str::to_owned).collect();
            for (at, kind) in edits {
                let at = at % edited.len();
                match kind {
                    0 => edited[at].push('!'),
                    1 => drop(edited.remove(at)),
                    _ => edited.insert(at, "new".to_owned()),
                }
            }
            let new = edited.join("\n");
            if let Some(diff) = unified(&old, &new) {
                prop_assert_eq!(applied(&old, &diff), (new.clone(), digest(&new)));
            }
        }
    }
}

//! Does a part of the engine use only what stands below it?
//!
//! The parts of `core/src` stand on floors. Code of one part may name another part only if that stands on
//! a lower floor. So no circle can arise, and no handler can use another handler.

use crate::tokens::code;
use crate::walls::{is_test_file, paths};
use crate::{Source, Violation};

/// The parts, from the ground up. Parts of one floor do not know each other.
const FLOORS: [&[&str]; 7] = [
    &["planner", "model", "config"],
    &["ports"],
    &["store", "salesforce", "job"],
    &["observe", "migrate"],
    &["apply", "capture", "reconcile"],
    &["engine"],
    &["force_sync", "host"],
];

const CORE: &str = "core/src/";

pub(crate) fn violations(source: &Source) -> Vec<Violation> {
    let Some(part) = part_of(&source.path) else {
        return Vec::new();
    };
    if is_test_file(&source.path) {
        return Vec::new();
    }
    let Some(floor) = floor_of(part) else {
        let rule = format!("{part} stands on a floor, named in tests/tidy/src/floors.rs");
        return vec![source.violation(1, rule)];
    };
    let tokens = code(&source.text);
    let used = paths(&tokens, "crate").filter(|(_, used)| *used != part);
    used.filter_map(|(line, used)| {
        let is_below = match floor_of(used) {
            Some(other) => other < floor,
            // What the root of the crate names comes from every floor.
            None => floor == FLOORS.len() - 1,
        };
        let rule = format!("{part} uses only what stands below it: not {used}");
        (!is_below).then(|| source.violation(line, rule))
    })
    .collect()
}

/// Returns the part of `core/src` that a file belongs to; none for the root of the crate.
fn part_of(path: &str) -> Option<&str> {
    let path = path.strip_prefix(CORE)?.strip_suffix(".rs")?;
    let part = path.split('/').next()?;
    (part != "lib").then_some(part)
}

fn floor_of(part: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&part))
}

#[cfg(test)]
mod tests {
    use crate::Source;

    /// Returns how many uses a file makes of what does not stand below it.
    fn broken(path: &str, text: &str) -> usize {
        super::violations(&Source {
            path: path.to_owned(),
            text: text.to_owned(),
        })
        .len()
    }

    #[test]
    fn handlers_do_not_use_each_other() {
        let file = "core/src/apply/refresh.rs";
        assert_eq!(broken(file, "use crate::capture::events::stream;"), 1);
        assert_eq!(broken(file, "use crate::engine::SyncEngine;"), 1);
        assert_eq!(broken(file, "use crate::{job::Job, reconcile};"), 1);
        assert_eq!(broken(file, "use crate::observe::read_by_id;"), 0);
        assert_eq!(broken(file, "use crate::apply::ApplyReport;"), 0);
    }

    #[test]
    fn implementations_know_only_the_ports() {
        for file in ["core/src/store.rs", "core/src/salesforce/read.rs"] {
            assert_eq!(broken(file, "use crate::ports::StoreError;"), 0);
            assert_eq!(broken(file, "use crate::model::value::Value;"), 0);
            assert_eq!(broken(file, "use crate::job::Job;"), 1);
            assert_eq!(broken(file, "use crate::apply::ApplyReport;"), 1);
        }
    }

    #[test]
    fn only_the_top_floor_uses_the_root() {
        let text = "fn a() -> crate::Error { b() }";
        assert_eq!(broken("core/src/force_sync/engine.rs", text), 0);
        assert_eq!(broken("core/src/engine.rs", text), 1);
        assert_eq!(broken("core/src/lib.rs", text), 0);
    }

    #[test]
    fn a_new_part_needs_a_floor() {
        assert_eq!(broken("core/src/cellar.rs", ""), 1);
        assert_eq!(broken("cli/src/main.rs", "use crate::cellar;"), 0);
    }
}

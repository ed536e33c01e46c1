//! The page with the table of planted bugs.

use std::fmt::Write as _;

use super::played::Ending;
use super::search::{Found, Results, Search};

const HEAD: &str = "# Planted bugs

Each line is a rule of the engine that was removed (`tests/sim/planted.toml`), and the first simulated world that showed it.
";

/// Returns the page.
pub fn page(search: &Search, results: &Results) -> String {
    let bugs = &results.bugs;
    let shown = bugs.iter().filter(|found| found.shown.is_some()).count();
    let (worlds, all) = (search.worlds.clone().count(), bugs.len());
    let mut page = HEAD.to_owned();
    // A String takes every line.
    let _ = write!(
        page,
        "`make planted WORLDS={worlds}` writes this page.\n\n\
        {worlds} worlds from seed {} show {shown} of {all} bugs. A world that never reaches a rule cannot show that it is\n\
        removed, and is not played with its bug: \"reached\" counts the others.\n\n\
        | bug | what a user would see | world | broken | reached |\n| --- | --- | --- | --- | --- |\n",
        search.worlds.start
    );
    for found in bugs {
        page.push_str(&line(search, found));
    }
    let mut unseen = bugs
        .iter()
        .filter_map(|found| Some((&found.bug.name, found.bug.unseen.as_ref()?)))
        .peekable();
    if unseen.peek().is_some() {
        page.push_str("\n## What no world can show\n\n");
    }
    for (name, reason) in unseen {
        // A String takes every line.
        let _ = writeln!(page, "- {name}: {reason}");
    }
    page
}

fn line(search: &Search, found: &Found) -> String {
    let place = |seed: u64| seed - search.worlds.start + 1;
    let (world, broken) = match (&found.shown, found.open) {
        (Some(played), _) => {
            let broken = match &played.ending {
                Ending::Broke { invariant, .. } => invariant.as_str(),
                Ending::Failed(reason) => reason.lines().next().unwrap_or_default(),
                Ending::Well => "",
            };
            (place(played.seed).to_string(), broken)
        }
        (None, Some(open)) => (format!("not in {} yet", place(open) - 1), ""),
        (None, None) => (format!("not in {}", search.worlds.clone().count()), ""),
    };
    format!(
        "| {} | {} | {world} | {broken} | {} |\n",
        found.bug.name, found.bug.why, found.reached
    )
}

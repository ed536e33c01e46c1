//! Edits in Salesforce that become known after a delete of ours: each that the delete overwrote is logged once.

use syncline_planner::model::intent::IntentState;
use syncline_planner::model::link::Presence;

use crate::fixture::value;
use crate::story::{Story, id};

/// A step after the delete was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Its answer is settled.
    Answer,
    /// The event of a person's edit, made just before the delete.
    Edit,
    /// The event of the delete.
    Delete,
}

use Step::{Answer, Delete, Edit};

const ORDERS: [[Step; 3]; 6] = [
    [Answer, Edit, Delete],
    [Answer, Delete, Edit],
    [Edit, Answer, Delete],
    [Edit, Delete, Answer],
    [Delete, Answer, Edit],
    [Delete, Edit, Answer],
];

/// What a read finds of the deleted record.
const READS: [&str; 3] = ["deleted F=3 @7s", "missing @7s", "unreadable @7s"];

fn takes(story: &mut Story, step: Step, times: [&str; 2]) {
    match step {
        Answer => story.settles(0),
        Edit => {
            story.sees(&format!("changed F=3 @{}", times[0]));
        }
        Delete => {
            story.sees(&format!("deleted ours @{}", times[1]));
        }
    }
}

/// The record was read last in second 4.
fn deleting() -> Story {
    let mut story = Story::agreed("F=1");
    story.sees("refresh F=1 @4s");
    story.writes(IntentState::Open, "delete");
    story
}

#[test]
fn edit_under_our_delete_is_logged_once_in_every_order() {
    for times in [["5", "6"], ["4.5", "4.6"], ["4.5", "6"]] {
        for (order, read) in ORDERS
            .iter()
            .flat_map(|order| READS.map(|read| (order, read)))
        {
            let case = format!("{order:?} at {times:?}, read: {read}");
            let mut story = deleting();
            for step in order {
                takes(&mut story, *step, times);
            }
            if story.needs_refresh {
                story.sees(read);
            }
            // Either way it becomes known again: a comparison, a poll, another read.
            story.sees("deleted F=3 @7s");
            story.sees("changed F=3 @5");
            assert_eq!(story.overwritten, [value("3")], "{case}");
            assert_eq!(
                story.link.remote_state.presence,
                Presence::Deleted,
                "{case}"
            );
        }
    }
}

#[test]
fn edit_under_an_update_before_our_delete_is_logged() {
    let mut story = Story::agreed("F=1");
    story.sees("refresh F=1 @2s");
    story.writes(IntentState::Open, "update F=2");
    story.settles(0);
    story.writes(IntentState::Open, "delete");
    story.sees("changed F=3 @3");
    story.sees("changed ours F=2 @5");
    story.settles(1);
    story.sees("deleted ours @6");
    assert_eq!(story.overwritten, [value("3")]);
}

#[test]
fn values_seen_before_our_delete_are_not_logged() {
    for event in [
        "changed F=2 @3",
        "changed F=1 @4.9",
        "snapshot F=1 @5s",
        "created ours F=1 @1",
        "deleted F=1 @7s",
    ] {
        let mut story = deleting();
        story.settles(0);
        story.sees(event);
        story.sees("deleted ours @6");
        assert!(story.overwritten.is_empty(), "{event}");
    }
}

#[test]
fn echo_of_our_write_after_our_delete_is_no_edit() {
    let mut story = Story::agreed("F=1");
    story.writes(IntentState::Open, "update F=2");
    story.settles(0);
    story.writes(IntentState::Open, "delete");
    story.settles(1);
    assert!(!story.sees("changed ours F=2 @5").needs_refresh);
    story.sees("deleted ours @6");
    story.sees("changed ours F=2 @5");
    assert!(story.overwritten.is_empty());
}

#[test]
fn edit_of_an_undeleted_record_is_not_logged() {
    for alive in ["undeleted F=3 @7", "refresh F=3 @9s", "refresh F=5 @9s"] {
        let mut story = deleting();
        story.settles(0);
        assert!(story.sees("changed F=3 @8").needs_refresh, "{alive}");
        story.sees(alive);
        assert!(story.overwritten.is_empty(), "{alive}");
        assert_eq!(
            story.link.remote_state.presence,
            Presence::Present,
            "{alive}"
        );
    }
}

#[test]
fn late_edit_of_a_deleted_record_spares_its_successor() {
    let mut story = deleting();
    story.settles(0);
    story.link.salesforce_id = None;
    story.sees("created id=001000000000009 F=7 @8");
    story.needs_refresh = false;
    let absorbed = story.sees("changed F=3 @5").clone();
    assert!(!absorbed.needs_refresh);
    assert_eq!(story.overwritten, [value("3")]);
    assert_eq!(story.link.salesforce_id, Some(id("001000000000009")));
    assert_eq!(story.remote_state(), "F=7");
}

#[test]
fn edit_seen_before_a_refused_delete_is_not_logged() {
    let mut story = deleting();
    assert!(story.sees("changed F=3 @5").dirty);
    story.intents[0].state = IntentState::Refused;
    story.sees("changed F=4 @6");
    assert!(story.overwritten.is_empty());
    assert_eq!(story.remote_state(), "F=4");
}

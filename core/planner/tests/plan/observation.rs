//! What observations of Salesforce do to a record, by example.

use std::collections::BTreeMap;

use syncline_planner::model::intent::IntentState;
use syncline_planner::model::link::Presence;
use syncline_planner::observation::AbsorbStatus;

use crate::fixture::{field, listed, value, word};
use crate::story::{ACCOUNT, Story, id};

#[test]
fn an_edit_updates_the_remote_state_and_adds_work() {
    let mut story = Story::agreed("Phone=1");
    let absorbed = story.sees("changed Phone=2 @1");
    assert_eq!(
        (absorbed.status, absorbed.dirty, absorbed.needs_refresh),
        (AbsorbStatus::Taken, true, false)
    );
    assert_eq!(story.remote_state(), "Phone=2");
    assert_eq!(
        story.sees("changed Phone=2 @1").status,
        AbsorbStatus::Unchanged
    );
}

#[test]
fn unreadable_field_is_known_as_such_until_it_is_read() {
    let mut story = Story::agreed("Phone=1");
    let absorbed = story.sees("snapshot Phone=unreadable @1s");
    assert_eq!(
        (absorbed.status, absorbed.dirty),
        (AbsorbStatus::Taken, true)
    );
    assert_eq!(story.link.remote_state.unreadable.len(), 1);
    assert_eq!(
        story.remote_state(),
        "Phone=1",
        "what was known stays known"
    );
    assert!(!story.sees("snapshot Phone=unreadable @2s").dirty);
    assert!(story.sees("snapshot Phone=1 @3s").dirty);
    assert!(story.link.remote_state.unreadable.is_empty());
}

#[test]
fn absence_without_evidence_is_no_delete_and_ends_when_it_is_seen() {
    let mut story = Story::agreed("Phone=1");
    let absorbed = story.sees("unreadable @0s");
    assert_eq!(
        (absorbed.status, absorbed.dirty),
        (AbsorbStatus::Taken, true)
    );
    assert_eq!(story.link.remote_state.presence, Presence::Unreadable);
    assert_eq!(story.remote_state(), "Phone=1");
    assert!(!story.sees("unreadable @0s").dirty);
    story.sees("refresh Phone=2 @9s");
    assert_eq!(story.link.remote_state.presence, Presence::Present);
    assert_eq!(story.remote_state(), "Phone=2");

    // What was deleted before, by an event or by a person, stays deleted.
    story.sees("deleted @12");
    story.sees("unreadable @0s");
    assert_eq!(story.link.remote_state.presence, Presence::Deleted);
}

#[test]
fn absence_after_our_delete_is_that_delete() {
    let mut story = Story::agreed("Phone=1");
    story.writes(IntentState::Unknown, "delete");
    story.sees("unreadable @0s");
    assert_eq!(story.link.remote_state.presence, Presence::Deleted);
    assert_eq!(story.intents[0].state, IntentState::Confirmed);
}

#[test]
fn older_is_superseded_unordered_needs_a_refresh() {
    let mut story = Story::agreed("Phone=1");
    story.sees("changed Phone=2 @5");
    assert_eq!(
        story.sees("snapshot Phone=1 @4s").status,
        AbsorbStatus::Superseded
    );
    assert_eq!(story.remote_state(), "Phone=2");
    let absorbed = story.sees("snapshot Phone=3 @5s");
    assert_eq!(
        (absorbed.status, absorbed.needs_refresh),
        (AbsorbStatus::NeedsRefresh, true)
    );
    assert_eq!(story.remote_state(), "Phone=2");
    story.sees("refresh Phone=3 @5s");
    assert_eq!(story.remote_state(), "Phone=3");
    assert!(
        !story.sees("refresh Phone=3 @5s").needs_refresh,
        "a second refresh settles it"
    );
}

#[test]
fn an_echo_is_no_work_but_a_later_revert_is() {
    let mut story = Story::agreed("Phone=0");
    let write = story.writes(IntentState::Open, "update Phone=1");
    let absorbed = story.sees("changed ours Phone=1 @1");
    assert_eq!(
        (absorbed.status, absorbed.dirty),
        (AbsorbStatus::Echo, false)
    );
    story.settles(write);
    assert_eq!(story.intents[write].state, IntentState::Confirmed);
    assert_eq!(listed(&story.link.base), " Phone=1");
    assert!(story.sees("changed Phone=0 @2").dirty);
    assert_eq!(story.remote_state(), "Phone=0");
}

#[test]
fn an_edit_before_our_echo_is_logged_not_applied() {
    let mut story = Story::agreed("Phone=1");
    let write = story.writes(IntentState::Open, "update Phone=2");
    story.settles(write);
    assert_eq!(story.remote_state(), "Phone=2");
    let absorbed = story.sees("changed Phone=3 @1");
    assert_eq!(
        (absorbed.status, absorbed.dirty),
        (AbsorbStatus::Superseded, false),
        "the echo will show which came last"
    );
    let absorbed = story.sees("changed ours Phone=2 @2");
    assert_eq!(
        (absorbed.status, absorbed.dirty),
        (AbsorbStatus::Superseded, true),
        "the edit is to be decided"
    );
    assert_eq!(
        (story.remote_state(), story.lost()),
        ("Phone=2".to_owned(), vec![value("3")])
    );
    assert_eq!(story.intents[write].state, IntentState::Confirmed);
}

#[test]
fn an_edit_after_our_echo_that_arrives_first_stands() {
    let edit = "changed Phone=3 @2";
    let echo = "changed ours Phone=2 @1";
    for steps in [
        ["settle", edit, echo],
        [edit, "settle", echo],
        [edit, echo, "settle"],
    ] {
        let mut story = Story::agreed("Phone=1");
        let write = story.writes(IntentState::Open, "update Phone=2");
        for step in steps {
            match step {
                "settle" => story.settles(write),
                seen => {
                    story.sees(seen);
                }
            }
        }
        assert_eq!(
            (story.remote_state(), story.lost(), story.dirty),
            ("Phone=3".to_owned(), vec![], true),
            "{steps:?}"
        );
        assert_eq!(listed(&story.link.base), " Phone=2", "{steps:?}");
        assert_eq!(
            story.intents[write].state,
            IntentState::Confirmed,
            "{steps:?}"
        );
    }
}

#[test]
fn an_edit_under_our_write_is_lost_once_when_its_event_comes_last() {
    for outcome in [IntentState::Unknown, IntentState::Applied] {
        let mut story = Story::agreed("Phone=1");
        let write = story.writes(IntentState::Open, "update Phone=3");
        match outcome {
            IntentState::Applied => story.settles(write),
            _ => story.intents[write].state = outcome,
        }
        story.sees("refresh ours Phone=3 @9s");
        assert_eq!(story.lost(), [], "{outcome:?}");
        assert!(story.sees("changed Phone=2 @7").dirty);
        story.sees("changed Phone=2 @7");
        story.sees("changed ours Phone=3 @9");
        assert_eq!(story.lost(), [value("2")], "{outcome:?}");
        let remote = &story.link.remote_state.fields[&field("Phone")];
        let edit = remote.overwritten.as_ref().unwrap();
        assert_eq!(edit.base, Some(value("1")), "it was made from this");
        assert_eq!(story.remote_state(), "Phone=3");
    }
}

#[test]
fn late_event_of_an_edit_that_a_read_showed_is_no_loss() {
    for orders in [
        ["changed Phone=2 @5.4", "changed ours Phone=3 @8"],
        ["changed ours Phone=3 @8", "changed Phone=2 @5.4"],
    ] {
        let mut story = Story::agreed("Phone=1");
        story.sees("refresh Phone=2 @5s");
        // The plan decides against 2 and logs it.
        let write = story.writes(IntentState::Open, "update Phone=3");
        story.settles(write);
        for event in orders {
            story.sees(event);
        }
        assert_eq!(story.lost(), [], "{orders:?}");
        assert_eq!(story.remote_state(), "Phone=3");
    }
    // A value that returns after the read is an edit.
    let mut story = Story::agreed("Phone=1");
    story.sees("refresh Phone=2 @5s");
    let write = story.writes(IntentState::Open, "update Phone=3");
    story.settles(write);
    story.sees("changed Phone=2 @6");
    story.sees("changed ours Phone=3 @8");
    assert_eq!(story.lost(), [value("2")]);
}

#[test]
fn an_edit_that_ends_at_the_base_is_no_loss() {
    let mut story = Story::agreed("Phone=1");
    story.writes(IntentState::Unknown, "update Phone=3");
    story.sees("refresh ours Phone=3 @9s");
    story.sees("changed Phone=2 @6");
    story.sees("changed Phone=1 @7");
    assert_eq!(story.lost(), []);
}

#[test]
fn an_overwritten_edit_that_a_later_one_replaces_is_logged() {
    let mut story = Story::agreed("Phone=1");
    story.writes(IntentState::Unknown, "update Phone=3");
    story.sees("refresh ours Phone=3 @9s");
    story.sees("changed Phone=2 @7");
    story.sees("changed Phone=4 @10");
    assert_eq!(story.overwritten, [value("2")]);
    assert_eq!(story.remote_state(), "Phone=4");
    story.sees("changed Phone=5 @8");
    assert_eq!(
        story.overwritten,
        [value("2"), value("5")],
        "under our write"
    );
}

#[test]
fn an_edit_of_the_second_of_our_write_is_lost_once_the_write_stands() {
    let agreed = || {
        let mut story = Story::agreed("Phone=1");
        story.writes(IntentState::Unknown, "update Phone=3");
        story.sees("refresh ours Phone=3 @9s");
        assert!(story.sees("changed Phone=2 @9.90").needs_refresh);
        story
    };
    let mut story = agreed();
    assert!(
        story.sees("refresh ours Phone=3 @9s").needs_refresh,
        "this read may be older than the edit"
    );
    story.sees("refresh ours Phone=3 @9s");
    assert_eq!(
        (story.lost(), story.needs_refresh),
        (vec![value("2")], false)
    );

    let mut story = agreed();
    story.sees("refresh Phone=2 @9s");
    assert_eq!(
        (story.lost(), story.remote_state()),
        (vec![], "Phone=2".to_owned()),
        "it came after our write"
    );
}

#[test]
fn overwritten_edit_of_a_record_that_goes_is_logged() {
    for gone in ["deleted @12", "filtered_out @12s"] {
        let mut story = Story::agreed("Phone=1");
        story.writes(IntentState::Unknown, "update Phone=3");
        story.sees("refresh ours Phone=3 @9s");
        story.sees("changed Phone=2 @7");
        story.sees(gone);
        assert_eq!(story.overwritten, [value("2")], "{gone}");
    }
}

#[test]
fn an_echo_of_a_replaced_write_does_not_revert() {
    let mut story = Story::agreed("Phone=1");
    for value in ["2", "3"] {
        let write = story.writes(IntentState::Open, &format!("update Phone={value}"));
        story.settles(write);
    }
    assert_eq!(
        story.sees("changed ours Phone=2 @1").status,
        AbsorbStatus::Echo
    );
    assert_eq!(story.remote_state(), "Phone=3");
    assert_eq!(
        story.sees("changed ours Phone=3 @2").status,
        AbsorbStatus::Echo
    );
    assert_eq!(story.remote_state(), "Phone=3");
}

#[test]
fn our_transaction_may_carry_a_flows_change_beside_the_echo() {
    let mut story = Story::agreed("Phone=1 Rating=Cold");
    let write = story.writes(IntentState::Open, "update Phone=2");
    let absorbed = story.sees("changed ours Phone=2 Rating=Hot @1");
    assert_eq!(
        (absorbed.status, absorbed.dirty),
        (AbsorbStatus::Taken, true)
    );
    assert_eq!(story.remote_state(), "Phone=2 Rating=Hot");
    story.settles(write);
    assert_eq!(listed(&story.link.base), " Phone=2 Rating=Cold");
}

#[test]
fn a_value_that_automation_changes_back_is_counted() {
    let mut story = Story::agreed("Rating=Cold");
    for (round, commit) in [(1, 1), (2, 2)] {
        let write = story.writes(IntentState::Open, "update Rating=Warm");
        story.settles(write);
        story.sees(&format!("changed ours Rating=Hot @{commit}"));
        let automation_override = &story.link.automation_overrides[&field("Rating")];
        assert_eq!(
            (
                automation_override.count,
                word(&automation_override.sent),
                word(&automation_override.stored)
            ),
            (round, "Warm".into(), "Hot".into())
        );
        assert_eq!(story.intents[write].state, IntentState::Confirmed);
    }
    assert_eq!(story.remote_state(), "Rating=Hot");
}

#[test]
fn polling_counts_automation_overrides_too() {
    let mut story = Story::agreed("Rating=Cold");
    let write = story.writes(IntentState::Open, "update Rating=Warm");
    story.settles(write);
    assert!(story.sees("snapshot Rating=Hot @3s").needs_refresh);
    story.sees("refresh ours Rating=Hot @3s");
    assert_eq!(story.link.automation_overrides[&field("Rating")].count, 1);
    assert_eq!(story.remote_state(), "Rating=Hot");
}

#[test]
fn a_late_write_is_marked_an_equal_edit_is_not() {
    let mut story = Story::agreed("Phone=1");
    story.writes(IntentState::Unknown, "update Phone=2");
    story.sees("refresh Phone=1 @0s");
    assert_eq!(story.intents[0].state, IntentState::Abandoned);
    assert!(story.sees("changed ours Phone=2 @4").dirty);
    assert!(story.is_late("Phone"));
    story.sees("refresh ours Phone=2 @5s");
    assert!(story.is_late("Phone"), "a refresh does not undo it");
    story.sees("changed Phone=3 @6");
    story.sees("changed Phone=2 @7");
    assert!(!story.is_late("Phone"), "a person chose the value");
}

#[test]
fn a_refresh_settles_a_write_of_unknown_outcome() {
    let mut story = Story::agreed("Phone=1");
    story.writes(IntentState::Unknown, "update Phone=2");
    let absorbed = story.sees("refresh Phone=2 @3s");
    assert!(absorbed.dirty);
    assert_eq!(story.intents[0].state, IntentState::Confirmed);
    assert_eq!(
        listed(&story.link.base),
        " Phone=2",
        "the base moves with the confirmation"
    );
}

#[test]
fn an_unknown_create_without_effect_is_abandoned() {
    let mut story = Story::agreed("");
    story.writes(IntentState::Unknown, "create Phone=1 id=K1");
    let absorbed = story.sees("missing @9s");
    assert_eq!((absorbed.intents.len(), absorbed.dirty), (1, true));
    assert_eq!(story.intents[0].state, IntentState::Abandoned);
    assert_eq!(story.link.remote_state.presence, Presence::Unseen);
}

#[test]
fn an_event_may_create_the_link_before_the_answer_does() {
    let mut story = Story::agreed("");
    let write = story.writes(IntentState::Open, "create Phone=1");
    let absorbed = story.sees("created ours Phone=1 Rating=null @1");
    assert_eq!(
        (absorbed.status, absorbed.dirty),
        (AbsorbStatus::Echo, false)
    );
    assert_eq!(story.link.salesforce_id, Some(id(ACCOUNT)));
    story.settles(write);
    assert!(story.link.agreed);
}

#[test]
fn a_delete_counts_only_for_the_current_id() {
    let mut story = Story::agreed("Phone=1");
    assert_eq!(
        story.sees("deleted id=001000000000009 @5").status,
        AbsorbStatus::Superseded
    );
    assert_eq!(story.link.remote_state.presence, Presence::Present);
    let absorbed = story.sees("deleted @5");
    assert_eq!(
        (absorbed.status, absorbed.dirty),
        (AbsorbStatus::Taken, true)
    );
    assert_eq!(story.link.remote_state.presence, Presence::Deleted);
    assert_eq!(
        story.sees("changed Phone=2 @4").status,
        AbsorbStatus::Superseded
    );
    story.sees("undeleted Phone=1 @6");
    assert_eq!(story.link.remote_state.presence, Presence::Present);
}

#[test]
fn our_own_delete_coming_back_is_no_work() {
    let mut story = Story::agreed("Phone=1");
    let write = story.writes(IntentState::Open, "delete");
    assert!(!story.sees("deleted ours @5").dirty);
    story.settles(write);
    assert_eq!((story.link.agreed, story.link.base.len()), (false, 0));
    assert_eq!(story.link.remote_state.presence, Presence::Deleted);
}

#[test]
fn an_observation_before_our_delete_revives_nothing() {
    let mut story = Story::agreed("Phone=1");
    let write = story.writes(IntentState::Open, "delete");
    story.settles(write);
    story.link.salesforce_id = None;
    for seen in ["snapshot Phone=1 @3s", "changed Phone=2 @3"] {
        assert!(story.sees(seen).needs_refresh, "{seen}");
        assert_eq!(
            story.link.remote_state.presence,
            Presence::Deleted,
            "{seen}"
        );
    }
    story.sees("deleted ours @5");
    assert_eq!(
        story.sees("created Phone=1 @4").status,
        AbsorbStatus::Superseded
    );
    assert!(story.sees("created id=001000000000009 Phone=1 @6").dirty);
    assert_eq!(story.link.salesforce_id, Some(id("001000000000009")));
}

#[test]
fn an_old_observation_is_not_an_echo() {
    let mut story = Story::agreed("Phone=1");
    story.sees("changed Phone=2 @5");
    let write = story.writes(IntentState::Open, "update Phone=1");
    story.settles(write);
    assert_eq!(
        story.sees("snapshot Phone=1 @4s").status,
        AbsorbStatus::Superseded
    );
    assert_eq!(story.intents[write].state, IntentState::Applied);
}

#[test]
fn a_second_live_record_needs_a_refresh() {
    let mut story = Story::agreed("Phone=1");
    assert!(
        story
            .sees("created id=001000000000009 Phone=2 @5")
            .needs_refresh
    );
    assert_eq!(story.remote_state(), "Phone=1");
    story.sees("deleted @6");
    story.sees("created id=001000000000009 Phone=2 @7");
    assert_eq!(story.link.salesforce_id, Some(id("001000000000009")));
    assert_eq!(story.remote_state(), "Phone=2");
}

#[test]
fn a_gap_is_read_again() {
    let mut story = Story::agreed("Phone=1");
    let absorbed = story.sees("gap @5");
    assert_eq!(
        (absorbed.status, absorbed.needs_refresh, absorbed.dirty),
        (AbsorbStatus::NeedsRefresh, true, true)
    );
}

#[test]
fn a_reference_is_known_by_its_parents_external_id() {
    let parent = id("001000000000007");
    let mut story = Story::agreed("ParentId=null");
    story.parents = BTreeMap::from([(parent.clone(), "K7".to_owned())]);
    story.writes(IntentState::Open, "update ParentId=K7");
    let absorbed = story.sees(&format!("changed ours ParentId={parent} @1"));
    assert_eq!(
        (absorbed.status, absorbed.dirty),
        (AbsorbStatus::Echo, false)
    );
    assert_eq!(story.remote_state(), format!("ParentId={parent}"));
}

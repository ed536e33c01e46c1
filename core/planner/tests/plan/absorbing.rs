//! What an observation leaves of a record where several are possible: found by changing the code.

use std::collections::BTreeMap;

use syncline_planner::model::ids::{ObjectName, SalesforceId};
use syncline_planner::model::intent::IntentState::{Abandoned, Applied, Confirmed, Open, Unknown};
use syncline_planner::model::link::{Presence, RemoteField, Replaced};
use syncline_planner::model::observation::Version;
use syncline_planner::model::value::Payload;
use syncline_planner::observation::{AbsorbStatus, base_after_delete, settle_applied};

use crate::fixture::{field, payload, policy, value};
use crate::story::{ACCOUNT, Story, id, observation};

fn remote<'a>(story: &'a Story, name: &str) -> &'a RemoteField {
    &story.link.remote_state.fields[&field(name)]
}

fn replaced<'a>(story: &'a Story, name: &str) -> &'a Replaced {
    remote(story, name).replaced.as_ref().unwrap()
}

fn version(text: &str) -> Version {
    observation(&format!("changed @{text}")).version
}

fn presence(story: &Story) -> Presence {
    story.link.remote_state.presence
}

/// A record that was read in second 4, and that we delete.
fn deleting() -> Story {
    let mut story = Story::agreed("F=1");
    story.sees("refresh F=1 @4s");
    story.writes(Open, "delete");
    story
}

/// The same after the answer.
fn deleted_by_us() -> Story {
    let mut story = deleting();
    story.settles(0);
    story
}

// After a delete of ours.

#[test]
fn edit_before_our_delete_needs_no_read() {
    let mut story = deleted_by_us();
    story.sees("deleted ours @6");
    let late = story.sees("changed F=3 @5");
    assert!(!late.needs_refresh);
    assert_eq!(story.overwritten, [value("3")]);
    let mut story = deleted_by_us();
    story.link.salesforce_id = None;
    story.sees("created id=001000000000009 F=7 @8");
    assert!(
        !story.sees("changed F=3 @9").needs_refresh,
        "its successor lives"
    );
    assert_eq!(story.overwritten, [value("3")]);
}

#[test]
fn edits_in_the_second_of_the_last_read_are_logged_by_their_events() {
    for (seen, lost) in [
        ("changed F=3 @4.5", vec![value("3")]),
        ("snapshot F=3 @4s", vec![]),
        ("changed ours F=3 @5", vec![]),
        ("changed G=9 @5", vec![value("9")]),
        ("snapshot G=9 @5s", vec![]),
    ] {
        let mut story = deleted_by_us();
        story.sees(seen);
        story.sees("deleted ours @6");
        assert_eq!(story.overwritten, lost, "{seen}");
    }
    let mut story = deleted_by_us();
    story.sees("deleted ours F=3 @7s");
    assert_eq!(story.overwritten, [value("3")], "as the bin shows it");
}

#[test]
fn edit_seen_under_our_delete_is_logged_once() {
    let mut story = deleting();
    story.sees("changed F=3 @5");
    story.sees("deleted ours @6");
    story.sees("deleted ours @7");
    assert_eq!(story.overwritten, [value("3")]);
}

#[test]
fn delete_of_another_record_does_not_hide_an_undelete() {
    let mut story = Story::agreed("Phone=1");
    story.sees("deleted @5");
    story.sees("deleted id=001000000000009 @8");
    story.sees("undeleted Phone=1 @6");
    assert_eq!(presence(&story), Presence::Present);
}

#[test]
fn deleted_record_is_deleted_once() {
    let mut story = Story::agreed("Phone=1");
    assert!(story.sees("deleted @5").dirty);
    let again = story.sees("deleted @6");
    assert_eq!(
        (again.status, again.dirty),
        (AbsorbStatus::Unchanged, false)
    );
}

#[test]
fn persons_delete_under_our_update_is_work() {
    let mut story = Story::agreed("Phone=1");
    story.writes(Open, "update Phone=2");
    let absorbed = story.sees("deleted @5");
    assert_eq!(
        (absorbed.status, absorbed.dirty),
        (AbsorbStatus::Taken, true)
    );
    assert_eq!(story.link.remote_state.before_delete, None);
}

#[test]
fn only_a_deleted_record_shows_that_our_create_failed() {
    let mut story = Story::agreed("");
    story.writes(Unknown, "create Phone=1 id=K1");
    story.sees("deleted @9s");
    assert_eq!(story.intents[0].state, Abandoned);
    let mut linked = Story::agreed("Phone=1");
    linked.link.remote_state.presence = Presence::Unseen;
    linked.writes(Unknown, "update Phone=2");
    linked.sees("deleted id=001000000000009 @9s");
    assert_eq!(linked.intents[0].state, Unknown);
}

// Whether it exists.

#[test]
fn filtered_out_record_stays_so_when_it_cannot_be_read() {
    let mut story = Story::agreed("Phone=1");
    story.sees("filtered_out @5s");
    story.writes(Unknown, "update Phone=2");
    story.sees("unreadable @9s");
    assert_eq!(presence(&story), Presence::FilteredOut);
    assert_eq!(story.intents[0].state, Abandoned);
}

#[test]
fn absence_of_another_record_says_nothing() {
    let mut story = Story::agreed("Phone=1");
    story.writes(Unknown, "update Phone=2");
    story.sees("unreadable id=001000000000009 @9s");
    assert_eq!(presence(&story), Presence::Present);
    assert_eq!(story.intents[0].state, Unknown);
    let mut unlinked = Story::agreed("");
    unlinked.writes(Unknown, "create Phone=1 id=K1");
    unlinked.sees("unreadable @9s");
    assert_eq!(unlinked.intents[0].state, Abandoned);
}

#[test]
fn open_update_does_not_make_an_absence_a_delete() {
    let mut story = Story::agreed("Phone=1");
    story.writes(Open, "update Phone=2");
    story.sees("unreadable @9s");
    assert_eq!(presence(&story), Presence::Unreadable);
}

#[test]
fn deleted_record_outside_the_filter_is_read_once() {
    let mut story = Story::agreed("Phone=1");
    story.sees("deleted @5.3");
    assert!(!story.sees("filtered_out @5s").needs_refresh);
    let mut story = Story::agreed("Phone=1");
    story.sees("deleted @9");
    assert!(!story.sees("filtered_out @5s").needs_refresh);
    let mut story = Story::agreed("Phone=1");
    story.sees("changed Phone=2 @5.3");
    assert!(story.sees("filtered_out @5s").needs_refresh);
}

#[test]
fn record_with_the_old_external_id_keeps_nothing_of_it() {
    let mut read = Story::agreed("Phone=1 Name=Ada");
    read.sees("refresh id=001000000000009 Phone=2 @9s");
    assert_eq!(read.remote_state(), "Phone=2");
    let mut created = Story::agreed("Phone=1 Name=Ada");
    created.sees("deleted @5");
    created.link.salesforce_id = None;
    created.sees("created id=001000000000009 Phone=2 @8");
    assert_eq!(created.remote_state(), "Phone=2");
    let mut polled = Story::agreed("Phone=1 Name=Ada");
    polled.sees("deleted @5");
    polled.sees("snapshot id=001000000000009 Phone=2 @8s");
    assert_eq!(polled.remote_state(), "Phone=2");
    assert_eq!(polled.link.salesforce_id, Some(id("001000000000009")));
}

#[test]
fn content_of_an_unknown_record_revives_nothing_without_a_read() {
    let mut story = Story::agreed("Phone=1");
    story.sees("deleted @5");
    story.link.salesforce_id = None;
    let absorbed = story.sees("changed id=001000000000009 Phone=2 @8");
    assert!(absorbed.needs_refresh);
    assert_eq!(presence(&story), Presence::Deleted);
}

#[test]
fn undelete_is_work_although_an_update_is_open() {
    let mut story = Story::agreed("Phone=1");
    story.sees("deleted @5");
    story.writes(Open, "update Phone=1");
    let absorbed = story.sees("undeleted Phone=1 @6");
    assert_eq!(absorbed.status, AbsorbStatus::Taken);
}

#[test]
fn older_content_does_not_take_the_presence_back() {
    let mut story = Story::agreed("Phone=1");
    story.sees("changed Phone=2 @9");
    story.sees("changed Name=Ada @5");
    assert_eq!(story.link.remote_state.presence_version, version("9"));
    assert_eq!(story.remote_state(), "Name=Ada Phone=2");
}

// Fields.

#[test]
fn our_value_that_is_not_the_sent_one_is_counted_unless_older() {
    let mut story = Story::agreed("Phone=1");
    let write = story.writes(Open, "update Rating=Warm");
    story.settles(write);
    assert!(!story.sees("changed ours Rating=Hot @1").needs_refresh);
    assert_eq!(story.link.automation_overrides[&field("Rating")].count, 1);
    let mut story = Story::agreed("Rating=Cold");
    story.sees("refresh Rating=Cold @4s");
    story.writes(Open, "update Rating=Warm");
    assert!(story.sees("changed ours Rating=Hot @4.5").needs_refresh);
    assert!(story.link.automation_overrides.is_empty());
}

#[test]
fn late_write_stays_one_while_its_value_stays() {
    let mut story = Story::agreed("Phone=1");
    story.writes(Unknown, "update Phone=2");
    story.sees("refresh Phone=1 @0s");
    story.sees("changed ours Name=Bea @3");
    assert!(!story.is_late("Name"), "nothing of it was abandoned");
    story.sees("changed ours Phone=2 @4");
    story.sees("changed Phone=2 @5");
    assert!(story.is_late("Phone"));
}

#[test]
fn first_value_of_a_field_is_work_if_it_says_something_new() {
    let mut story = Story::agreed("Phone=1");
    story.link.base.insert(field("Rating"), value("Cold"));
    assert!(!story.sees("changed Rating=Cold @1").dirty);
    assert!(!story.sees("changed Fax=null @2").dirty);
    assert!(story.sees("changed Name=Ada @3").dirty);
}

#[test]
fn read_of_the_same_second_keeps_the_commit_number() {
    let mut story = Story::agreed("Phone=1");
    story.sees("changed Phone=2 @5");
    story.sees("snapshot Phone=2 @5s");
    assert_eq!(remote(&story, "Phone").version, version("5"));
    story.sees("snapshot Phone=2 @6s");
    assert_eq!(remote(&story, "Phone").version, version("6s"));
}

#[test]
fn echo_is_no_edit_of_salesforce() {
    let mut story = Story::agreed("Phone=1");
    story.writes(Open, "update Phone=2");
    story.sees("changed ours Phone=2 @5");
    assert_eq!(remote(&story, "Phone").edited, None);
    story.sees("changed Phone=3 @6");
    assert!(remote(&story, "Phone").edited.is_some());
}

#[test]
fn event_that_lacks_a_field_of_our_write_is_followed_by_a_read() {
    let mut story = Story::agreed("Phone=1 Rating=Cold");
    story.writes(Open, "update Phone=2 Rating=Hot");
    assert!(story.sees("changed ours Phone=2 @5").needs_refresh);
    let mut second = Story::agreed("Phone=1 Rating=Cold");
    second.writes(Open, "update Phone=2");
    assert!(!second.sees("changed ours Phone=2 @5").needs_refresh);
    second.writes(Open, "update Phone=3 Rating=Hot");
    assert!(second.sees("changed ours Phone=3 @6").needs_refresh);
}

// Edits beside our writes.

#[test]
fn edit_stands_though_the_older_echo_does_not_name_us() {
    for echo in ["changed Phone=2 @1", "changed ours Phone=9 @1"] {
        let mut story = Story::agreed("Phone=1");
        let write = story.writes(Open, "update Phone=2");
        for seen in ["changed Phone=3 @3", echo] {
            story.sees(seen);
        }
        story.settles(write);
        assert_eq!(story.intents[write].state, Confirmed, "{echo}");
        assert_eq!(story.remote_state(), "Phone=3", "{echo}");
        story.sees("changed Phone=4 @2");
        assert_eq!(story.lost(), [], "after our write, and before 3");
    }
}

#[test]
fn edit_under_our_write_is_logged_once_if_its_event_returns() {
    let mut story = Story::agreed("Phone=1");
    story.writes(Unknown, "update Phone=3");
    for seen in ["refresh ours Phone=3 @9s", "changed Phone=4 @10"] {
        story.sees(seen);
    }
    story.sees("changed Phone=5 @8");
    story.sees("changed Phone=5 @8");
    assert_eq!(story.overwritten, [value("5")]);
}

#[test]
fn edit_after_our_write_keeps_its_time_and_what_it_followed() {
    let mut story = Story::agreed("Phone=1");
    let write = story.writes(Open, "update Phone=2");
    story.settles(write);
    story.sees("changed Phone=3 @6");
    story.sees("changed ours Phone=2 @5");
    assert_eq!(story.remote_state(), "Phone=3");
    assert_eq!(
        remote(&story, "Phone").edited.map(|edit| edit.at_ms),
        Some(6_000)
    );
    assert_eq!(replaced(&story, "Phone").before, Some(version("5")));
}

#[test]
fn second_edit_under_an_open_write_changes_nothing_before_it() {
    let mut story = Story::agreed("Phone=1");
    story.writes(Open, "update Phone=2");
    for seen in ["changed Phone=3 @2", "changed Phone=4 @3"] {
        story.sees(seen);
        assert_eq!(replaced(&story, "Phone").after, version("0"), "{seen}");
        assert_eq!(replaced(&story, "Phone").seen, Some(value("1")));
    }
}

#[test]
fn person_who_replaces_our_write_ends_what_it_overwrote() {
    let mut story = Story::agreed("Phone=1");
    story.writes(Unknown, "update Phone=3");
    story.sees("refresh ours Phone=3 @9s");
    story.sees("changed Phone=2 @7");
    let write = story.writes(Open, "update Phone=4");
    story.settles(write);
    assert_eq!(story.intents[write].state, Applied);
    story.sees("refresh Phone=9 @20s");
    assert_eq!(story.overwritten, [value("2")]);
    assert!(story.link.automation_overrides.is_empty());
}

#[test]
fn value_that_automation_made_of_our_write_is_ours() {
    let mut story = Story::agreed("Rating=Cold");
    let write = story.writes(Open, "update Rating=Warm");
    story.settles(write);
    story.sees("refresh ours Rating=Hot @3s");
    assert_eq!(replaced(&story, "Rating").base, Some(value("Warm")));
}

#[test]
fn second_write_replaces_what_the_first_left() {
    let mut story = Story::agreed("Phone=1");
    let write = story.writes(Open, "update Phone=2");
    story.settles(write);
    story.sees("changed ours Phone=2 @5");
    story.writes(Open, "update Phone=3");
    story.sees("changed ours Phone=3 @9");
    assert_eq!(replaced(&story, "Phone").base, Some(value("2")));
}

#[test]
fn event_older_than_what_was_read_before_our_write_is_no_loss() {
    let mut story = Story::agreed("Phone=1");
    story.sees("refresh Phone=1 @4s");
    let write = story.writes(Open, "update Phone=2");
    story.settles(write);
    story.sees("changed ours Phone=2 @9");
    story.sees("changed Phone=7 @3");
    assert_eq!(story.lost(), []);
}

// Answers.

/// Settles a create of `F=7` after what the story shows.
fn created_again(mut story: Story) -> Story {
    story.link.salesforce_id = None;
    let write = story.writes(Open, "create F=7");
    story.settles(write);
    story
}

#[test]
fn new_record_has_nothing_of_the_deleted_one() {
    let ours = created_again(deleted_by_us());
    assert_eq!(presence(&ours), Presence::Present);
    assert!(ours.link.remote_state.before_delete.is_some());
    assert_eq!(ours.remote_state(), "F=7");
    let mut theirs = Story::agreed("F=1 G=2");
    theirs.sees("deleted @5");
    let theirs = created_again(theirs);
    assert_eq!(theirs.remote_state(), "F=7");
    assert_eq!(
        theirs.link.remote_state.presence_version,
        Version::default()
    );
    let mut seen = Story::agreed("");
    seen.sees("changed G=2 @1");
    assert_eq!(created_again(seen).remote_state(), "F=7 G=2");
}

#[test]
fn record_deleted_before_the_answer_stays_deleted() {
    let mut story = Story::agreed("");
    let write = story.writes(Open, "create Phone=1");
    story.sees("created ours Phone=1 @1");
    story.sees("deleted @2");
    story.settles(write);
    assert_eq!(presence(&story), Presence::Deleted);
    assert_eq!(story.intents[write].state, Confirmed);
}

#[test]
fn answer_to_an_update_does_not_make_a_record_readable() {
    let mut story = Story::agreed("Phone=1");
    story.sees("unreadable @1s");
    let write = story.writes(Open, "update Phone=2");
    story.settles(write);
    assert_eq!(presence(&story), Presence::Unreadable);
}

#[test]
fn base_outlasts_only_a_soft_delete() {
    let link = Story::agreed("Phone=1").link;
    assert_eq!(
        base_after_delete(&link, &policy("mode=soft")),
        payload("Phone=1")
    );
    assert_eq!(
        base_after_delete(&link, &policy("mode=propagate")),
        Payload::new()
    );
}

#[test]
fn only_a_new_record_is_null_where_nothing_was_sent() {
    let story = {
        let mut story = Story::agreed("");
        story.writes(Open, "create Phone=1");
        story
    };
    let base = |found: bool| {
        let (link, intent) = (&story.link, &story.intents[0]);
        let answer = (&id(ACCOUNT), found);
        settle_applied(link, &policy(""), intent, answer, &BTreeMap::new()).base
    };
    assert_eq!(base(true), payload("Phone=1"));
    assert_eq!(base(false), payload("Name=null Phone=1 Rating=null"));
}

#[test]
fn sent_lookup_is_kept_as_the_parents_id() {
    let parent = "001000000000007";
    let parents: BTreeMap<SalesforceId, String> = [
        (id("001000000000005"), "K5".to_owned()),
        (id(parent), "K7".to_owned()),
    ]
    .into();
    let mut rules = policy("");
    let lookup = rules.fields.get_mut(&field("Rating")).unwrap();
    lookup.references = Some(ObjectName::parse("Account").unwrap());
    let mut story = Story::agreed("Phone=1 Rating=null");
    story.writes(Open, "update Phone=K7 Rating=K7");
    let answer = (&id(ACCOUNT), false);
    let settled = settle_applied(&story.link, &rules, &story.intents[0], answer, &parents);
    let held = |name: &str| settled.remote_state.fields[&field(name)].value.clone();
    assert_eq!(held("Rating"), value(id(parent).as_str()));
    assert_eq!(held("Phone"), value("K7"), "it is no lookup");
}

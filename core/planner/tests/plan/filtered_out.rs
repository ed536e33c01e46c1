//! The effect of observations of filtered-out records.

use syncline_planner::model::intent::IntentState;
use syncline_planner::model::link::Presence;
use syncline_planner::observation::AbsorbStatus;

use crate::fixture::payload;
use crate::story::Story;

fn presence(story: &Story) -> Presence {
    story.link.remote_state.presence
}

#[test]
fn an_unmatched_change_needs_a_refresh_and_carries_nothing() {
    let mut story = Story::agreed("Phone=1");
    let absorbed = story.sees("unmatched @5");
    assert_eq!(
        (absorbed.status, absorbed.dirty, absorbed.needs_refresh),
        (AbsorbStatus::NeedsRefresh, true, true)
    );
    assert_eq!(
        (presence(&story), story.remote_state()),
        (Presence::Present, "Phone=1".to_owned())
    );
}

#[test]
fn a_filtered_out_refresh_forgets_fields_and_plans_once() {
    let mut story = Story::agreed("Phone=1");
    let absorbed = story.sees("filtered_out Phone=2 @5s");
    assert_eq!(
        (absorbed.status, absorbed.dirty, absorbed.needs_refresh),
        (AbsorbStatus::Taken, true, false)
    );
    assert_eq!(
        (presence(&story), story.remote_state()),
        (Presence::FilteredOut, String::new())
    );
    assert_eq!(
        story.link.base,
        payload("Phone=1"),
        "the base waits for its return"
    );
    let again = story.sees("filtered_out Phone=3 @6s");
    assert_eq!(
        (again.status, again.dirty, again.needs_refresh),
        (AbsorbStatus::Unchanged, false, false)
    );
}

#[test]
fn changes_of_filtered_out_records_are_no_work() {
    for seen in ["unmatched @6", "deleted @6", "missing @6", "deleted @6s"] {
        let mut story = Story::agreed("Phone=1");
        story.sees("filtered_out @5s");
        let absorbed = story.sees(seen);
        assert_eq!(
            (absorbed.dirty, absorbed.needs_refresh),
            (false, false),
            "{seen}"
        );
        assert_eq!(presence(&story), Presence::FilteredOut, "{seen}");
    }
}

#[test]
fn an_overtaken_refresh_is_repeated_and_removes_nothing() {
    let mut story = Story::agreed("Phone=1");
    story.sees("changed Phone=2 @7");
    let absorbed = story.sees("filtered_out @6s");
    assert!(absorbed.needs_refresh);
    assert_eq!(
        (presence(&story), story.remote_state()),
        (Presence::Present, "Phone=2".to_owned())
    );
}

#[test]
fn a_refresh_of_the_same_second_is_taken_and_repeated() {
    let mut story = Story::agreed("Phone=1");
    story.sees("changed Phone=2 @7");
    assert!(story.sees("filtered_out @7s").needs_refresh);
    assert_eq!(presence(&story), Presence::FilteredOut);
    assert!(
        !story.sees("filtered_out @7s").needs_refresh,
        "a second refresh shows the same"
    );
}

#[test]
fn a_record_that_comes_back_is_read_whole() {
    let mut story = Story::agreed("Phone=1 Name=Ada");
    story.sees("filtered_out @5s");
    let absorbed = story.sees("changed Phone=2 @6");
    assert!(absorbed.needs_refresh, "an event carries only what changed");
    assert_eq!(presence(&story), Presence::Present);
    story.sees("refresh Phone=2 Name=Ada @6s");
    assert_eq!(story.remote_state(), "Name=Ada Phone=2");

    let mut story = Story::agreed("Phone=1");
    story.sees("filtered_out @5s");
    let absorbed = story.sees("snapshot Phone=2 @6s");
    assert_eq!((absorbed.dirty, absorbed.needs_refresh), (true, false));
    assert_eq!(
        (presence(&story), story.remote_state()),
        (Presence::Present, "Phone=2".to_owned())
    );
}

#[test]
fn an_observation_before_it_left_revives_nothing() {
    for (seen, needs_refresh) in [
        ("snapshot Phone=1 @4s", false),
        ("changed Phone=1 @4", false),
        // Within one second the order is unknown, and a filter over parents changes without a stamp.
        ("snapshot Phone=1 @5s", true),
        ("created Phone=1 @4", false),
    ] {
        let mut story = Story::agreed("Phone=1");
        story.sees("filtered_out @5s");
        assert_eq!(story.sees(seen).needs_refresh, needs_refresh, "{seen}");
        assert_eq!(presence(&story), Presence::FilteredOut, "{seen}");
    }
}

#[test]
fn a_refresh_settles_writes_to_a_record_that_left() {
    let mut story = Story::agreed("Phone=1");
    let applied = story.writes(IntentState::Applied, "update Phone=2");
    story.sees("filtered_out Phone=2 @5s");
    assert_eq!(
        story.intents[applied].state,
        IntentState::Confirmed,
        "no echo is awaited"
    );

    for (seen, state, base) in [
        (
            "filtered_out Phone=2 @5s",
            IntentState::Confirmed,
            "Phone=2",
        ),
        (
            "filtered_out Phone=1 @5s",
            IntentState::Abandoned,
            "Phone=1",
        ),
    ] {
        let mut story = Story::agreed("Phone=1");
        let unknown = story.writes(IntentState::Unknown, "update Phone=2");
        story.sees(seen);
        assert_eq!(story.intents[unknown].state, state, "{seen}");
        assert_eq!(story.link.base, payload(base), "{seen}");
        assert_eq!(story.remote_state(), "", "{seen}");
    }
}

#[test]
fn a_create_seen_filtered_out_stays_filtered_out() {
    let mut story = Story::agreed("");
    let create = story.writes(IntentState::Open, "create Name=Ada");
    story.sees("filtered_out Name=Ada @5s");
    story.settles(create);
    assert_eq!(
        (presence(&story), story.remote_state()),
        (Presence::FilteredOut, String::new())
    );
    assert!(story.link.agreed, "what left must have been held");
    assert_eq!(story.intents[create].state, IntentState::Confirmed);
}

#[test]
fn only_a_refresh_replaces_a_filtered_out_record() {
    let mut story = Story::agreed("Phone=1");
    story.sees("filtered_out @5s");
    assert!(
        story
            .sees("created id=001000000000009 Phone=2 @6")
            .needs_refresh
    );
    assert_eq!(presence(&story), Presence::FilteredOut);
    story.sees("refresh id=001000000000009 Phone=2 @6s");
    assert_eq!(
        (presence(&story), story.remote_state()),
        (Presence::Present, "Phone=2".to_owned())
    );
}

//! What is known of a record: as it is kept, and as it is planned.

use serde_json::json;
use syncline_planner::model::edit_time::EditTime;
use syncline_planner::model::intent::IntentState;
use syncline_planner::model::link::Presence;
use syncline_planner::{Mapping, Side};

use crate::fixture::{NamedFacts, World, field, intent};
use crate::story::Story;

fn kept(fixture: &str) -> serde_json::Value {
    let mut facts = World::read(fixture).facts();
    facts.clock_skew_ms = 0;
    serde_json::to_value(facts).unwrap()
}

#[test]
fn facts_keep_only_what_is_known() {
    assert_eq!(
        serde_json::to_value(NamedFacts::new("K1".to_owned())).unwrap(),
        json!({"external_id": "K1", "base": null, "postgres": null, "salesforce": null})
    );
    assert_eq!(
        kept("base Phone=1\npg Phone=1\nsf -"),
        json!({
            "external_id": "K1",
            "base": {"Phone": "1", "id": "K1"},
            "postgres": {"Phone": "1", "id": "K1"},
            "salesforce": null,
        })
    );
}

#[test]
fn what_is_known_of_one_side_alone_is_kept() {
    let facts = kept("base Phone=1\npg Phone=1 @5\nsf Phone=1\nedits pg Phone=4");
    assert_eq!(facts["changed_at_ms"], json!({"postgres": 5}));
    assert!(facts["edited"]["postgres"]["Phone"].is_object());
    let facts = kept("base Phone=1\npg Phone=1\nsf ?");
    assert_eq!(facts["presence"], json!({"salesforce": "unseen"}));
    let facts = kept("base -\npg Phone=1\nsf -");
    assert_eq!(facts["presence"], json!({"salesforce": "deleted"}));
}

#[test]
fn absent_side_was_deleted_only_if_it_agreed() {
    let facts = |fixture: &str| World::read(fixture).facts();
    let agreed = facts("base Phone=1\npg Phone=1\nsf -");
    assert_eq!(agreed.presence.salesforce, None);
    assert_eq!(agreed.presence_on(Side::Salesforce), Presence::Deleted);
    let never = facts("base -\npg Phone=1\nsf ?");
    assert_eq!(never.presence.salesforce, None);
    assert_eq!(never.presence_on(Side::Salesforce), Presence::Unseen);
    assert_eq!(never.presence_on(Side::Postgres), Presence::Present);
}

#[test]
fn facts_in_field_places_are_the_named_ones() {
    let world = World::read(
        "base Name=Ada Phone=1
          pg   Name=Ada Phone=2
          sf   Name=Bea Phone=1
          edits pg Phone=4
          override Rating 1 Cold Hot
          open update Phone=2",
    );
    let mapping = Mapping::new(world.policy.clone());
    let facts = world.facts();
    assert!(facts.edited.postgres.get(&field("Phone")) == Some(&EditTime::at(4)));
    assert_eq!(facts.clone().placed(&mapping).named(&mapping), facts);
}

#[test]
fn only_writes_without_an_answer_are_under_way() {
    for (state, is_under_way) in [
        (IntentState::Open, true),
        (IntentState::Unknown, true),
        (IntentState::Applied, false),
        (IntentState::Confirmed, false),
        (IntentState::Refused, false),
        (IntentState::Abandoned, false),
    ] {
        let link = Story::agreed("Phone=1").link;
        let write = intent(state, "update Phone=2");
        let facts = NamedFacts::of(&link, &[write], 0, |name| Some(name.clone()));
        assert_eq!(!facts.under_way.is_empty(), is_under_way, "{state:?}");
        assert_eq!(facts.under_way_action.is_some(), is_under_way, "{state:?}");
    }
}

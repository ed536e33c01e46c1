//! When a record is read in Salesforce before its plan is carried out.

use syncline_planner::Mapping;
use syncline_planner::policy::freshness::{Freshness, must_be_read};
use syncline_planner::record::plan_record;

use crate::fixture::World;

/// Returns whether the record is read: if it was just read, if changes are streamed, and if they may come late.
fn reads(fixture: &str) -> [bool; 3] {
    let world = World::read(fixture);
    let mapping = Mapping::new(world.policy.clone());
    let facts = world.facts().placed(&mapping);
    let plan = plan_record(&mapping, &facts);
    [Freshness::JustRead, Freshness::Streamed, Freshness::Behind]
        .map(|freshness| must_be_read(&mapping, &plan, &facts, freshness))
}

const NEVER: [bool; 3] = [false, false, false];
const IF_BEHIND: [bool; 3] = [false, false, true];
const UNLESS_JUST_READ: [bool; 3] = [false, true, true];

#[test]
fn delete_is_made_only_of_what_was_just_read() {
    let deleted = reads(
        "base Phone=1
          pg   -
          sf   Phone=1",
    );
    assert_eq!(deleted, UNLESS_JUST_READ);
    let deleted_in_salesforce = reads(
        "base Phone=1
          pg   Phone=1
          sf   -",
    );
    assert_eq!(deleted_in_salesforce, NEVER);
}

#[test]
fn update_that_could_replace_an_edit_is_read_if_behind() {
    let edit = "base Name=Ada Phone=1
          pg   Name=Bea Phone=2
          sf   Name=Ada Phone=1";
    assert_eq!(reads(edit), IF_BEHIND);
    let policy = |rules: &str| reads(&format!("rules {rules}\n{edit}"));
    assert_eq!(policy("Phone:postgres"), IF_BEHIND, "Name is shared");
    assert_eq!(policy("Name:postgres Phone:postgres"), NEVER);
    assert_eq!(policy("policy=postgres_wins"), NEVER);
    let inbound = reads(
        "base Phone=1
          pg   Phone=1
          sf   Phone=2",
    );
    assert_eq!(inbound, NEVER, "nothing is written to Salesforce");
}

#[test]
fn value_of_a_field_not_seen_yet_is_read_first() {
    let seen = |row: &str| reads(&format!("base Name=Ada\npg Name=Ada{row}\nsf Name=Ada"));
    assert_eq!(seen(" Phone=1"), UNLESS_JUST_READ);
    assert_eq!(seen(" Phone=null"), NEVER);
    assert_eq!(seen(""), NEVER);
}

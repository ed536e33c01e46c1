//! The two-way façades.

use serde_json::{Value as Json, json};
use syncline_planner::change::PlannerContext;
use syncline_planner::rule::Rule;
use syncline_planner::{
    ApplyLane, ChangeEnvelope, ChangeOperation, MergeOutcome, Side, SourceCursor, SyncKey,
    merge_payload, plan_change,
};

use crate::fixture::policy;

fn merged(rules: &str, current: Option<Json>, incoming: Json) -> MergeOutcome {
    merge_payload(
        &policy(rules),
        current.as_ref(),
        Side::Salesforce,
        &incoming,
    )
}

fn conflict(fields: &[&str]) -> MergeOutcome {
    MergeOutcome::Conflict(fields.iter().map(|&field| field.to_owned()).collect())
}

#[test]
fn merging_takes_the_fields_the_source_may_write() {
    let incoming = json!({"Name": "Ada"});
    assert_eq!(
        merged("", None, incoming.clone()),
        MergeOutcome::Merged(incoming.clone())
    );
    assert_eq!(
        merged("", Some(incoming.clone()), incoming.clone()),
        MergeOutcome::Noop
    );
    assert_eq!(
        merged(
            "Name:salesforce",
            Some(json!({"Name": "Bea", "Phone": "1"})),
            incoming.clone()
        ),
        MergeOutcome::Merged(json!({"Name": "Ada", "Phone": "1"}))
    );
    let held = json!({"Name": "Bea"});
    assert_eq!(
        merged("Name:postgres", Some(held.clone()), incoming.clone()),
        MergeOutcome::Merged(held)
    );
    assert_eq!(
        merged("", Some(json!({"Phone": "1"})), incoming),
        MergeOutcome::Merged(json!({"Name": "Ada", "Phone": "1"}))
    );
}

#[test]
fn all_conflicting_fields_are_listed_nulls_included() {
    let held = Some(json!({"Phone": null, "Name": "Bea", "Rating": "Hot"}));
    let incoming = json!({"Rating": "Hot", "Phone": "1", "Name": "Ada"});
    assert_eq!(merged("", held, incoming), conflict(&["Name", "Phone"]));
    assert_eq!(
        merged("", Some(json!("a")), json!("b")),
        conflict(&["<root>"])
    );
    assert_eq!(
        merged("", Some(json!("a")), json!({})),
        conflict(&["<root>"])
    );
    assert_eq!(merged("", Some(json!(1.0)), json!(1)), MergeOutcome::Noop);
}

fn context(rules: &str, current: Option<Json>, base: Option<Json>) -> PlannerContext {
    PlannerContext {
        object: policy(rules),
        current_payload: current,
        base_payload: base,
        batch_size: 1,
        urgent: false,
        has_dependencies: false,
    }
}

fn envelope(payload: Json) -> ChangeEnvelope {
    ChangeEnvelope {
        key: SyncKey::new("acme", "Account", "K1").expect("a key"),
        source: Side::Postgres,
        operation: ChangeOperation::Update,
        cursor: SourceCursor::OutboxId("1".to_owned()),
        tombstone: payload.is_null(),
        payload,
    }
}

#[test]
fn with_a_base_a_change_is_planned_three_way() {
    let base = Some(json!({"Name": "Ada", "Phone": "1"}));
    let held = Some(json!({"Name": "Bea", "Phone": "1"}));
    let edit = envelope(json!({"Phone": "2"}));
    let decision = plan_change(&context("", held.clone(), base.clone()), &edit);
    assert_eq!(decision.lane, ApplyLane::Rest);
    assert_eq!(decision.payload, Some(json!({"Name": "Bea", "Phone": "2"})));

    let key_conflict = envelope(json!({"Name": "Cid"}));
    let decision = plan_change(&context("", held.clone(), base.clone()), &key_conflict);
    assert_eq!(
        (decision.lane, decision.payload),
        (ApplyLane::Conflict, None)
    );
    assert_eq!(decision.conflicts, ["Name"]);

    let same = envelope(json!({"Name": "Ada"}));
    let decision = plan_change(&context("", held, base), &same);
    assert_eq!((decision.lane, decision.payload), (ApplyLane::Noop, None));
}

#[test]
fn the_lane_follows_dependencies_then_urgency_then_size() {
    let change = envelope(json!({"Phone": "2"}));
    let lane = |has_dependencies, urgent, batch_size| {
        let context = PlannerContext {
            has_dependencies,
            urgent,
            batch_size,
            ..context("", None, None)
        };
        plan_change(&context, &change).lane
    };
    assert_eq!(lane(true, true, 500), ApplyLane::CompositeGraph);
    assert_eq!(lane(false, true, 500), ApplyLane::Rest);
    assert_eq!(lane(false, false, 500), ApplyLane::Bulk);
    assert_eq!(lane(false, false, 499), ApplyLane::Rest);
}

#[test]
fn a_tombstone_deletes_what_was_not_edited() {
    let base = Some(json!({"Phone": "1"}));
    let gone = envelope(Json::Null);
    let lane = |rules: &str, held: Option<Json>| {
        let decision = plan_change(&context(rules, held, base.clone()), &gone);
        (decision.lane, decision.payload)
    };
    assert_eq!(lane("", base.clone()), (ApplyLane::Rest, Some(Json::Null)));
    assert_eq!(lane("", None), (ApplyLane::Noop, None));
    let edited = Some(json!({"Phone": "2"}));
    assert_eq!(lane("", edited.clone()), (ApplyLane::Conflict, None));
    assert_eq!(
        lane("on_edit=delete_wins", edited.clone()),
        (ApplyLane::Rest, Some(Json::Null))
    );
    assert_eq!(
        lane("on_edit=edit_wins", edited.clone()),
        (ApplyLane::Noop, None)
    );
    assert_eq!(lane("mode=ignore", edited), (ApplyLane::Noop, None));
}

#[test]
fn edit_of_what_the_other_side_deleted_follows_its_rule() {
    let planned = |rules: &str, base: Json, sent: Json| {
        let decision = plan_change(&context(rules, None, Some(base)), &envelope(sent));
        (decision.lane, decision.payload)
    };
    let (base, edit) = (json!({"Phone": "1"}), json!({"Phone": "2"}));
    assert_eq!(
        planned("", base.clone(), base.clone()),
        (ApplyLane::Noop, None)
    );
    assert_eq!(
        planned("", base.clone(), edit.clone()),
        (ApplyLane::Conflict, None)
    );
    assert_eq!(
        planned("on_edit=edit_wins", base.clone(), edit.clone()),
        (ApplyLane::Rest, Some(edit.clone()))
    );
    assert_eq!(
        planned("on_edit=delete_wins", base, edit),
        (ApplyLane::Noop, None)
    );
    assert_eq!(planned("", json!("a"), json!("a")).0, ApplyLane::Noop);
    assert_eq!(planned("", json!("a"), json!("b")).0, ApplyLane::Conflict);
}

#[test]
fn payload_without_fields_is_one_value() {
    let lane = |base: &str, held: &str, sent: &str| {
        let context = context("", Some(json!(held)), Some(json!(base)));
        plan_change(&context, &envelope(json!(sent))).lane
    };
    assert_eq!(lane("a", "b", "b"), ApplyLane::Noop);
    assert_eq!(lane("a", "b", "a"), ApplyLane::Noop);
    assert_eq!(lane("a", "a", "b"), ApplyLane::Rest);
    assert_eq!(lane("a", "b", "c"), ApplyLane::Conflict);
}

#[test]
fn missing_field_is_filled_in_and_the_reason_given() {
    let base = Some(json!({"Name": "Ada"}));
    let planned = |held: Json, sent: Json| {
        plan_change(&context("", Some(held), base.clone()), &envelope(sent))
    };
    let filled = planned(json!({"Name": "Ada"}), json!({"Phone": "2"}));
    assert_eq!(filled.payload, Some(json!({"Name": "Ada", "Phone": "2"})));
    assert_eq!(filled.explanation["Phone"], Rule::FilledIn);
    let held = json!({"Name": "Ada", "Phone": "1"});
    let cleared = planned(held.clone(), json!({"Phone": null}));
    assert_eq!(cleared.lane, ApplyLane::Noop);
    assert_eq!(
        planned(held, json!({"Phone": "2"})).lane,
        ApplyLane::Conflict
    );
}

#[test]
fn equal_payloads_of_envelopes_have_equal_hashes() {
    let hash = |payload: Json| envelope(payload).payload_hash();
    let one = hash(json!({"A": 1, "B": 1.50}));
    assert_eq!(one, hash(json!({"B": 1.5, "A": 1})));
    assert_ne!(one, hash(json!({"A": 1})));
    assert_eq!(one.len(), 64);
}

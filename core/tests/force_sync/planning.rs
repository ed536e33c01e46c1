//! Types and functions that need neither an org nor a database.

use chrono::Utc;
use serde_json::{Value as Json, json};
use syncline::force_sync::model::payload_hash;
use syncline::force_sync::{
    ApplyLane, ChangeEnvelope, ChangeOperation, ConflictPolicy, ForceSyncError, MergeOutcome,
    ObjectSync, Owner, PlanDecision, PlannerContext, SalesforceId, SourceCursor, SourceSystem,
    SyncKey, merge_payload, plan_change, project_sync_link, version,
};

fn account() -> ObjectSync {
    ObjectSync::new("Account")
        .external_id("External_Id__c")
        .field_owner("Industry", Owner::Salesforce)
        .field_owner("Rating", Owner::Postgres)
        .field_owner("Phone", Owner::Shared)
}

fn change(source: SourceSystem, operation: ChangeOperation, payload: Json) -> ChangeEnvelope {
    let key = SyncKey::new("acme", "Account", "A-1").unwrap();
    ChangeEnvelope::new(key, source, operation, Utc::now(), payload)
}

fn context(current: Option<Json>) -> PlannerContext {
    PlannerContext {
        object: account(),
        current_payload: current,
        batch_size: 1,
        urgent: false,
        has_dependencies: false,
    }
}

#[test]
fn sync_key_with_an_empty_part_is_an_error() {
    let key = SyncKey::new("acme", "Account", "A-1").unwrap();
    assert_eq!(
        (key.tenant(), key.object_name(), key.external_id()),
        ("acme", "Account", "A-1")
    );
    for (parts, missing) in [
        (["", "Account", "A-1"], "tenant"),
        (["acme", "", "A-1"], "object_name"),
        (["acme", "Account", ""], "external_id"),
    ] {
        let error = SyncKey::new(parts[0], parts[1], parts[2]).unwrap_err();
        assert!(
            matches!(error, ForceSyncError::EmptySyncKeyPart { part } if part == missing),
            "{error}"
        );
    }
}

#[test]
fn envelope_returns_its_parts() {
    let payload = json!({"b": {"y": 1, "x": 2}, "a": 1});
    let cursor = SourceCursor::SalesforceReplayId(42);
    let change = change(
        SourceSystem::Salesforce,
        ChangeOperation::Upsert,
        payload.clone(),
    );
    assert_eq!(change.cursor(), None);
    let change = change.with_cursor(cursor.clone());
    assert_eq!(change.cursor(), Some(&cursor));
    assert_eq!(change.sync_key().external_id(), "A-1");
    assert_eq!(change.source().as_db_value(), "salesforce");
    assert_eq!(change.operation().as_db_value(), "upsert");
    assert_eq!(change.payload(), &payload);
    assert!(change.observed_at() <= Utc::now());
    assert_eq!(change.payload_hash(), payload_hash(&payload));
    assert!(change.payload_hash_matches(&json!({"a": 1, "b": {"x": 2, "y": 1}})));
}

#[test]
fn cursor_text_names_its_source() {
    let written = [
        SourceCursor::SalesforceReplayId(42),
        SourceCursor::PostgresLsn("0/16B3748".to_owned()),
        SourceCursor::Snapshot("first".to_owned()),
    ]
    .map(|cursor| cursor.as_db_value());
    assert_eq!(
        written,
        [
            "salesforce-replay-id:42",
            "postgres-lsn:0/16B3748",
            "snapshot:first"
        ]
    );
}

#[test]
fn mapping_returns_its_settings() {
    let object = account();
    assert_eq!(object.object_name(), "Account");
    assert_eq!(object.external_id_field(), Some("External_Id__c"));
    assert_eq!(object.field_owner_for("Rating"), Some(Owner::Postgres));
    assert_eq!(object.field_owner_for("Name"), None);
    assert_eq!(object.field_ownership().len(), 3);
    assert_eq!(object.conflict_policy(), &ConflictPolicy::ManualReview);
    assert_eq!(object.lane_thresholds().rest_max_batch_size(), 25);
    assert_eq!(object.lane_thresholds().bulk_min_batch_size(), 500);
}

#[test]
fn owners_decide_how_payloads_merge() {
    let current = json!({"Industry": "Energy", "Rating": "Hot", "Phone": "1"});
    let merged =
        |sent: Json| merge_payload(&account(), Some(&current), SourceSystem::Salesforce, &sent);
    assert_eq!(merged(current.clone()), MergeOutcome::Noop);
    assert_eq!(
        merged(json!({"Industry": "Retail", "Rating": "Cold"})),
        MergeOutcome::Merged(json!({"Industry": "Retail", "Rating": "Hot", "Phone": "1"}))
    );
    assert_eq!(
        merged(json!({"Phone": "2"})),
        MergeOutcome::Conflict {
            fields: vec!["Phone".to_owned()]
        }
    );
    let sent = json!({"Phone": "2"});
    assert_eq!(
        merge_payload(&account(), None, SourceSystem::Salesforce, &sent),
        MergeOutcome::Merged(sent)
    );
}

#[test]
fn plan_of_a_change_has_lane_and_payload() {
    let rated = change(
        SourceSystem::Postgres,
        ChangeOperation::Upsert,
        json!({"Rating": "Cold"}),
    );
    let current = Some(json!({"Rating": "Hot"}));
    let alone = plan_change(&context(current.clone()), &rated);
    assert_eq!(
        alone,
        PlanDecision {
            lane: ApplyLane::Rest,
            payload: Some(json!({"Rating": "Cold"})),
            conflicts: Vec::new()
        }
    );
    let many = PlannerContext {
        batch_size: 500,
        ..context(current.clone())
    };
    assert_eq!(plan_change(&many, &rated).lane, ApplyLane::Bulk);
    let urgent = PlannerContext {
        urgent: true,
        ..many.clone()
    };
    assert_eq!(plan_change(&urgent, &rated).lane, ApplyLane::Rest);
    let related = PlannerContext {
        has_dependencies: true,
        ..many
    };
    assert_eq!(
        plan_change(&related, &rated).lane,
        ApplyLane::CompositeGraph
    );
    let equal = context(Some(json!({"Rating": "Cold"})));
    let noop = plan_change(&equal, &rated);
    assert_eq!((noop.lane, noop.payload), (ApplyLane::Noop, None));
    let contested = change(
        SourceSystem::Postgres,
        ChangeOperation::Upsert,
        json!({"Phone": "2"}),
    );
    let conflict = plan_change(&context(Some(json!({"Phone": "1"}))), &contested);
    assert_eq!(conflict.lane, ApplyLane::Conflict);
    assert_eq!(conflict.conflicts, ["Phone"]);
}

#[test]
fn delete_is_planned_without_a_base() {
    let deleted = change(SourceSystem::Postgres, ChangeOperation::Delete, Json::Null);
    assert_eq!(deleted.operation().as_db_value(), "delete");
    let decision = plan_change(&context(Some(json!({"Phone": "1"}))), &deleted);
    assert_eq!(
        (decision.lane, decision.payload),
        (ApplyLane::Rest, Some(Json::Null))
    );
    let absent = plan_change(&context(None), &deleted);
    assert_eq!(absent.lane, ApplyLane::Noop);
}

#[test]
fn link_is_updated_from_the_applied_change() {
    let created = change(
        SourceSystem::Postgres,
        ChangeOperation::Upsert,
        json!({"Name": "Acme"}),
    )
    .with_cursor(SourceCursor::PostgresLsn("7".to_owned()));
    let id = SalesforceId::parse("001000000000001AAA").unwrap();
    let link = project_sync_link(None, &created, Some(&id), false);
    assert_eq!(link.salesforce_id.as_deref(), Some(id.as_str()));
    assert_eq!(link.last_source.as_deref(), Some("postgres"));
    assert_eq!(link.last_source_cursor.as_deref(), Some("postgres-lsn:7"));
    assert_eq!(
        link.last_payload_hash,
        Some(created.payload_hash().to_vec())
    );
    let deleted = change(
        SourceSystem::Salesforce,
        ChangeOperation::Delete,
        Json::Null,
    );
    let gone = project_sync_link(Some(&link), &deleted, None, true);
    assert!(gone.tombstone);
    assert_eq!(gone.salesforce_id, link.salesforce_id);
}

#[test]
fn version_is_the_crate_version() {
    assert_eq!(version(), env!("CARGO_PKG_VERSION"));
}

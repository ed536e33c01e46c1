//! What the planner makes of locked rows and remote states: obstacles, wire forms, automation overrides, triggers.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::*;
use crate::config::Config;
use crate::model::ids::{
    FencingToken, FieldName, Generation, ObjectName, OrgEpoch, RecordId, TenantId,
};
use crate::model::intent::WriteAction;
use crate::model::link::{AutomationOverride, RemoteField, RemoteState, SyncLink};
use crate::model::observation::Version;
use crate::model::schema::{FieldSchema, FieldType, ObjectSchema};
use crate::model::value::Payload;
use crate::planner::identity::KnownRecord;
use crate::planner::policy::{Attempts, Cause, LOOKUP_ATTEMPTS_MAX};
use crate::ports::apply_store::PlannedPostgres;
use crate::ports::record::RefusedValue;

const MAPPING: &str = r#"
[tenant.acme]
salesforce = { login_url = "https://acme.my.salesforce.com", client_id = "id", auth = "client_credentials", secret = "env:SECRET" }
postgres   = { url = "env:DATABASE_URL" }

[[tenant.acme.object]]
object      = "Account"
table       = "account"
external_id = { field = "Key__c", column = "key" }

[tenant.acme.object.fields]
Name     = { column = "name" }
Rating   = { column = "rating", owner = "postgres" }
Score__c = { column = "score" }
ParentId = { column = "parent_key", references = "Account" }
"#;

const PARENT: &str = "001xx000003DGb2AAG";

fn name(text: &str) -> FieldName {
    FieldName::parse(text).unwrap()
}

fn mapped() -> MappedObject {
    let config = Config::parse(MAPPING).unwrap();
    let tenant = TenantId::parse("acme").unwrap();
    let account = ObjectName::parse("Account").unwrap();
    let text = || FieldType::Text { length: 20 };
    let reference = FieldType::Reference {
        to: vec![account.clone()],
        relationship: Some("Parent".to_owned()),
    };
    let fields = [
        ("Key__c", text(), true),
        ("Name", text(), true),
        ("Rating", text(), true),
        ("Score__c", FieldType::Integer, false),
        ("ParentId", reference, true),
    ];
    let schema = ObjectSchema {
        object: account,
        key_prefix: "001".to_owned(),
        fields: fields
            .into_iter()
            .map(|(field, field_type, writeable)| {
                (name(field), schema(field, field_type, writeable))
            })
            .collect(),
        cascades: Vec::new(),
    };
    MappedObject {
        sync: Arc::new(config.tenants[&tenant].objects[0].clone()),
        configured: Arc::new(config.tenants[&tenant].objects[0].clone()),
        schema: Arc::new(schema),
        organization_id: SalesforceId::parse("00D5g00000Ab1cd").unwrap(),
        org_epoch: OrgEpoch(1),
        config_hash: Arc::from("hash"),
        tables: Arc::default(),
        tenant,
    }
}

fn schema(field: &str, field_type: FieldType, writeable: bool) -> FieldSchema {
    FieldSchema {
        name: name(field),
        field_type,
        createable: writeable,
        updateable: writeable,
        nillable: true,
        defaulted_on_create: false,
        external_id: field == "Key__c",
        unique: field == "Key__c",
        case_sensitive: false,
        calculated: !writeable,
        was_updateable: writeable,
    }
}

/// A record that both sides agreed on, as JSON objects of base, row and remote state by field and column.
fn observed(base: Json, rows: &[Json], remote_state: Json) -> ObservedRecord {
    let payload = |json: Json| -> Payload {
        let members = json.as_object().unwrap();
        members
            .iter()
            .map(|(field, value)| (name(field), Value::from_json(value).unwrap()))
            .collect()
    };
    let remote_state = payload(remote_state);
    let tenant = TenantId::parse("acme").unwrap();
    let object = ObjectName::parse("Account").unwrap();
    let seen = !remote_state.is_empty();
    ObservedRecord {
        known: KnownRecord {
            link: SyncLink {
                record_id: RecordId(Uuid::nil()),
                tenant,
                object,
                org_epoch: OrgEpoch(1),
                external_id: "k-1".to_owned(),
                canonical_id: "k-1".to_owned(),
                salesforce_id: seen.then(|| SalesforceId::parse("0015f00002J9YYE").unwrap()),
                local_key: None,
                agreed: seen,
                base: payload(base),
                remote_state: RemoteState {
                    presence: if seen {
                        Presence::Present
                    } else {
                        Presence::Unseen
                    },
                    presence_version: Version::default(),
                    fields: remote_state
                        .into_iter()
                        .map(|(field, value)| (field, remote_field(value)))
                        .collect(),
                    unreadable: BTreeMap::new(),
                    before_delete: None,
                },
                automation_overrides: BTreeMap::new(),
                version: 1,
            },
            generated: false,
            key_conflict: false,
            postgres_presence: match rows.is_empty() {
                true => Presence::Deleted,
                false => Presence::Present,
            },
            postgres_changed_at_ms: None,
            postgres_edited: BTreeMap::new(),
        },
        intents: Vec::new(),
        rows: rows.iter().map(row).collect(),
        row_locked: false,
        parents: BTreeMap::new(),
        external_id_in_use: false,
        clock_skew_ms: 0,
        refused: Vec::new(),
    }
}

fn lease() -> LeasedTask {
    LeasedTask {
        record_id: RecordId(Uuid::nil()),
        token: FencingToken(7),
        generation: Generation(1),
        attempts: Attempts::default(),
        needs_refresh: false,
        salesforce_id: None,
        external_id: "k-1".to_owned(),
    }
}

/// The plan of a record that was just read and can be planned.
fn planned(record: &ObservedRecord) -> PlannedRecord {
    let read = LeasedTask {
        needs_refresh: true,
        ..lease()
    };
    ObjectPlanner::new(&mapped()).plan(&read, record).unwrap()
}

/// How the lease of a record ends that cannot be planned.
fn end(lease: &LeasedTask, record: &ObservedRecord) -> LeaseEnd {
    let planned = ObjectPlanner::new(&mapped()).plan(lease, record);
    planned.unwrap_err()
}

fn remote_field(value: Value) -> RemoteField {
    RemoteField::new(value, Version::default())
}

fn row(columns: &Json) -> PostgresRow {
    let columns: Map<String, Json> = columns.as_object().unwrap().clone();
    PostgresRow {
        external_id: columns["key"].as_str().map(str::to_owned),
        columns,
        identity: Json::Null,
    }
}

fn agreed() -> ObservedRecord {
    observed(
        json!({"Key__c": "k-1", "Name": "Ada", "Rating": "Warm", "Score__c": 1, "ParentId": null}),
        &[json!({"key": "k-1", "name": "Ada", "rating": "Warm", "score": 1, "parent_key": null})],
        json!({"Key__c": "k-1", "Name": "Ada", "Rating": "Warm", "Score__c": 1, "ParentId": null}),
    )
}

fn parked(lease: &LeasedTask, record: &ObservedRecord) -> ParkReason {
    match end(lease, record) {
        LeaseEnd::Park { reason, .. } => reason,
        end @ (LeaseEnd::Done { .. } | LeaseEnd::Later { .. }) => panic!("not parked: {end:?}"),
    }
}

/// What is sent to Salesforce, and which fields are withheld with which code.
fn sent_and_withheld(record: &ObservedRecord) -> (Option<Payload>, Vec<(FieldName, String)>) {
    let planned = planned(record);
    let withheld = planned.withheld.reasons.into_iter();
    (
        planned.intent.map(|intent| intent.fields),
        withheld
            .map(|reason| (reason.field.unwrap(), reason.code))
            .collect(),
    )
}

#[test]
fn an_invalid_value_is_withheld_and_others_are_sent() {
    let mut record = agreed();
    record.rows[0].columns["name"] = json!("x".repeat(21));
    let withheld = vec![(name("Name"), "invalid_value".to_owned())];
    assert_eq!(sent_and_withheld(&record), (None, withheld.clone()));
    record.rows[0].columns["rating"] = json!("Cold");
    let cold = Payload::from([(name("Rating"), Value::text("Cold"))]);
    assert_eq!(sent_and_withheld(&record), (Some(cold), withheld));
}

#[test]
fn unreadable_field_is_written_on_neither_side() {
    let mut record = agreed();
    let reason = "it is masked".to_owned();
    record.known.link.remote_state.unreadable = BTreeMap::from([(name("Name"), reason)]);
    let withheld = vec![(name("Name"), "unreadable_value".to_owned())];
    assert_eq!(sent_and_withheld(&record), (None, withheld.clone()));
    record.rows[0].columns["name"] = json!("Eve");
    record.rows[0].columns["rating"] = json!("Cold");
    let cold = Payload::from([(name("Rating"), Value::text("Cold"))]);
    assert_eq!(sent_and_withheld(&record), (Some(cold), withheld));
    record.known.link.remote_state.fields.remove(&name("Name"));
    let planned = planned(&record);
    let field = planned.rules.mapping.field(&name("Name")).unwrap();
    assert_eq!(planned.postgres, None);
    assert!(!planned.plan.base_advance.contains_key(&field));
}

#[test]
fn a_refused_value_is_withheld_until_it_changes() {
    let mut record = agreed();
    record.rows[0].columns["name"] = json!("Eve");
    record.rows[0].columns["rating"] = json!("Cold");
    record.refused.push(RefusedValue {
        field: name("Name"),
        value: Value::text("Eve"),
        reason: ParkReason {
            code: "NO_EVE".to_owned(),
            field: Some(name("Name")),
            message: "not Eve".to_owned(),
        },
    });
    let (sent, withheld) = sent_and_withheld(&record);
    assert_eq!(
        sent.unwrap().into_keys().collect::<Vec<_>>(),
        [name("Rating")]
    );
    assert_eq!(withheld, [(name("Name"), "NO_EVE".to_owned())]);
    record.rows[0].columns["name"] = json!("Ida");
    let (sent, withheld) = sent_and_withheld(&record);
    assert_eq!((sent.unwrap().len(), withheld.len()), (2, 0));
}

#[test]
fn a_column_left_out_is_neither_agreed_nor_altered() {
    let mut record = agreed();
    for (field, value) in [("Name", "Bob"), ("Rating", "Hot")] {
        let value = remote_field(Value::text(value));
        record
            .known
            .link
            .remote_state
            .fields
            .insert(name(field), value);
    }
    let mut mapped = mapped();
    let mut sync = (*mapped.sync).clone();
    sync.fields.get_mut(&name("Rating")).unwrap().owner = Owner::Shared;
    mapped.sync = Arc::new(sync);
    let planner = ObjectPlanner::new(&mapped);
    let mut planned = planner.plan(&lease(), &record).unwrap();
    let Some(PlannedPostgres::Update(columns)) = &mut planned.postgres else {
        panic!("no row is written: {planned:?}")
    };
    assert!(columns.remove("rating").is_some());
    let holds =
        json!({"key": "k-1", "name": "Bob", "rating": "Warm", "score": 1, "parent_key": null});
    let settled = planner.settle_postgres(&record, &planned, &row(&holds));
    let agreed = Payload::from([(name("Name"), Value::text("Bob"))]);
    assert_eq!((settled.base, settled.altered), (agreed, false));
}

#[test]
fn a_row_with_an_invalid_external_id_parks() {
    let mut record = agreed();
    record.rows[0].columns["key"] = json!("x".repeat(21));
    let reason = parked(&lease(), &record);
    assert_eq!(reason.code, "invalid_value");
    assert_eq!(reason.field, Some(name("Key__c")));
    assert!(reason.message.contains("column key"), "{}", reason.message);
}

#[test]
fn two_rows_of_one_key_park_with_both_names() {
    let mut record = agreed();
    let second = row(&json!({"key": "K-1", "name": "Bob"}));
    record.rows.push(second);
    let reason = parked(&lease(), &record);
    assert_eq!(reason.code, "duplicate_key");
    assert!(
        reason.message.contains("\"k-1\" and \"K-1\""),
        "{}",
        reason.message
    );
}

#[test]
fn a_locked_row_waits_without_counting() {
    let record = ObservedRecord {
        row_locked: true,
        ..agreed()
    };
    let end = end(&lease(), &record);
    assert!(
        matches!(
            end,
            LeaseEnd::Later {
                cause: Some(Cause::RowBusy),
                ..
            }
        ),
        "{end:?}"
    );
}

#[test]
fn unknown_parent_withholds_its_lookup_alone() {
    let mut record = agreed();
    record
        .known
        .link
        .remote_state
        .fields
        .insert(name("ParentId"), remote_field(Value::text(PARENT)));
    let withheld = planned(&record).withheld;
    assert_eq!(withheld.awaits, [PARENT]);
    assert_eq!(withheld.reasons[0].code, "missing_parent");
    assert_eq!(withheld.reasons[0].field, Some(name("ParentId")));

    // A row that does not exist yet waits for its parent first.
    record.rows.clear();
    record.known.link.agreed = false;
    match end(&lease(), &record) {
        LeaseEnd::Later {
            cause: Some(Cause::Lookup),
            awaits,
            ..
        } => assert_eq!(awaits, [PARENT]),
        end => panic!("{end:?}"),
    }
    let last = LeasedTask {
        needs_refresh: true,
        attempts: Attempts::default().with(Cause::Lookup, LOOKUP_ATTEMPTS_MAX),
        ..lease()
    };
    let mapped = mapped();
    let decided = ObjectPlanner::new(&mapped).plan(&last, &record);
    assert_eq!(decided.unwrap().withheld.awaits, [PARENT]);
}

#[test]
fn a_known_parent_is_written_by_its_external_id() {
    let mut record = agreed();
    record
        .known
        .link
        .remote_state
        .fields
        .insert(name("ParentId"), remote_field(Value::text(PARENT)));
    record
        .parents
        .insert(SalesforceId::parse(PARENT).unwrap(), "k-0".to_owned());
    let columns = json!({"parent_key": "k-0"}).as_object().unwrap().clone();
    assert_eq!(
        planned(&record).postgres,
        Some(PlannedPostgres::Update(columns))
    );
}

#[test]
fn an_edit_of_a_read_only_field_is_undone() {
    let mut record = agreed();
    record.rows[0].columns["score"] = json!(2);
    let planned = planned(&record);
    let columns = json!({"score": 1}).as_object().unwrap().clone();
    assert_eq!(planned.postgres, Some(PlannedPostgres::Update(columns)));
    assert_eq!(planned.intent, None);
}

#[test]
fn facts_and_rules_give_the_same_plan() {
    let mut edited = agreed();
    edited.rows[0].columns["name"] = json!("Eve");
    // It is read-only: the rules that are kept say so, not those of the file.
    edited.rows[0].columns["score"] = json!(2);
    let mut deleted = agreed();
    deleted.rows.clear();
    deleted.known.postgres_presence = Presence::Deleted;
    for record in [agreed(), edited, deleted] {
        let planned = planned(&record);
        let read: ObjectSync = serde_json::from_value(planned.rules.to_json()).unwrap();
        let read = PlanRules::of(read);
        assert_eq!(plan_record(&read.mapping, &planned.facts), planned.plan);
        assert_eq!(read.hash, planned.rules.hash);
    }
}

#[test]
fn a_create_leaves_out_what_salesforce_computes() {
    let record = observed(
        json!({}),
        &[json!({"key": "k-1", "name": "Ada", "rating": null, "score": 5, "parent_key": "k-0"})],
        json!({}),
    );
    let intent = planned(&record).intent.unwrap();
    assert_eq!(intent.action, WriteAction::Create);
    assert!(!intent.fields.contains_key(&name("Score__c")));
    assert_eq!(intent.fields[&name("Name")], Value::text("Ada"));
    assert_eq!(intent.fields[&name("ParentId")], Value::text("k-0"));
}

#[test]
fn repeated_writes_count_until_the_owner_changes_the_value() {
    let mut record = agreed();
    record
        .known
        .link
        .remote_state
        .fields
        .insert(name("Rating"), remote_field(Value::text("Hot")));
    let first = planned(&record).automation_overrides;
    assert_eq!(
        first[&name("Rating")],
        AutomationOverride {
            count: 1,
            sent: Value::text("Warm"),
            stored: Value::text("Hot"),
        }
    );
    record.known.link.automation_overrides = first;
    record.rows[0].columns["rating"] = json!("Cold");
    assert_eq!(planned(&record).automation_overrides, BTreeMap::new());
}

#[test]
fn a_triggers_change_to_our_write_is_a_new_edit() {
    let mut record = agreed();
    record
        .known
        .link
        .remote_state
        .fields
        .insert(name("Name"), remote_field(Value::text("Bob")));
    let mapped = mapped();
    let planner = ObjectPlanner::new(&mapped);
    let planned = planner.plan(&lease(), &record).unwrap();
    let returned = |written: &str, rating: &str| {
        row(
            &json!({"key": "k-1", "name": written, "rating": rating, "score": 1, "parent_key": null}),
        )
    };
    let sent = Payload::from([(name("Name"), Value::text("Bob"))]);
    for (written, rating, altered) in [
        ("Bob", "Warm", false),
        ("BOB", "Warm", true),
        ("Bob", "Hot", true),
    ] {
        let settled = planner.settle_postgres(&record, &planned, &returned(written, rating));
        assert_eq!(
            (settled.base, settled.altered),
            (sent.clone(), altered),
            "{written} {rating}"
        );
    }
}

#[test]
fn planning_a_lease_twice_gives_one_intent_id() {
    let mut record = agreed();
    record.rows[0].columns["name"] = json!("Ada Ltd");
    let mapped = mapped();
    let id = |lease: &LeasedTask| {
        let planned = ObjectPlanner::new(&mapped).plan(lease, &record).unwrap();
        planned.intent.unwrap().intent_id
    };
    let first = id(&lease());
    assert_eq!(id(&lease()), first);
    let next = LeasedTask {
        token: FencingToken(8),
        ..lease()
    };
    assert_ne!(id(&next), first);
}

//! Tests of reading relayed events.

use serde_json::json;

use super::*;
use crate::model::schema::FieldType;
use crate::ports::salesforce::Changes;
use crate::salesforce::fixture::{MONEY, TEXT, line_of, mapped, object};

const USER: &str = "0055g00000Xy2zZAAR";
const RECORD: &str = "0015g00000AAAAAAA5";

/// Returns an object with fields of every kind and maps those named here; Key__c is the external id.
fn contact(fields: &[&str]) -> (Arc<ObjectSchema>, Interest) {
    let contact = object(
        "Contact",
        "003",
        &[
            ("Key__c", TEXT),
            ("Name", TEXT),
            ("LastName", TEXT),
            ("MailingCity", TEXT),
            ("MailingStreet", TEXT),
            ("Site__Latitude__s", MONEY),
            ("Amount__c", MONEY),
            ("Active__c", FieldType::Boolean),
            ("Birthdate", FieldType::Date),
            ("LastModifiedDate", FieldType::DateTime),
            ("SystemModstamp", FieldType::DateTime),
            ("Formula__c", TEXT),
        ],
    );
    mapped(contact, fields, Changes::OfFields)
}

fn envelope(change_type: &str, changed: &[&str], body: &Json) -> Json {
    let mut payload = body.clone();
    payload["ChangeEventHeader"] = json!({
        "entityName": "Contact", "recordIds": [RECORD], "changeType": change_type,
        "changeOrigin": "com/salesforce/api/rest/62.0;client=erp",
        "transactionKey": "0006a5f3-d51d-e6c4-1b9c-7a9b1d2e3f40", "sequenceNumber": 3,
        "commitTimestamp": 1_777_627_801_000_i64, "commitNumber": 10_736_437_567_061_i64,
        "commitUser": "005D0000001LjdWIAS", "changedFields": changed,
    });
    json!({
        "version": "0", "id": "7bf73129-1428-4cd3-a780-95db273d1602",
        "detail-type": "ContactChangeEvent",
        "source": "aws.partner/salesforce.com/00D000000000001EAA/0YL5g0000004DfgGAE",
        "account": "123456789012", "time": "2026-05-01T09:30:02Z", "region": "eu-central-1",
        "resources": [],
        "detail": {"payload": payload, "event": {"replayId": 1001}},
    })
}

fn read(mapped: &[&str], envelope: &Json) -> RelayedBatch {
    let event = RelayedEvent::parse(&envelope.to_string()).unwrap();
    let user = SalesforceId::parse(USER).unwrap();
    read_relayed(vec![contact(mapped)], &user, &[event]).unwrap()
}

/// Returns the event's observation as a line: the kind, then the fields.
fn line(mapped: &[&str], envelope: &Json) -> String {
    let batch = read(mapped, envelope);
    let [one] = batch.observations.as_slice() else {
        return format!(
            "needs resync {:?}, {} out of scope",
            batch.needs_resync, batch.out_of_scope
        );
    };
    line_of(one)
}

#[test]
fn update_has_only_the_fields_in_its_header() {
    let body = json!({
        "Name": {"LastName": "Lovelace"}, "MailingAddress": {"City": "Lyon"},
        "Amount__c": 5.50, "Key__c": null, "Active__c": true,
        "LastModifiedDate": "2026-05-01T09:30:00.000Z",
    });
    let changed = [
        "Name.LastName",
        "MailingAddress.City",
        "Amount__c",
        "Key__c",
        "LastModifiedDate",
    ];
    let mapped = [
        "Key__c",
        "LastName",
        "MailingCity",
        "MailingStreet",
        "Amount__c",
        "Active__c",
        "Birthdate",
    ];
    let update = envelope("UPDATE", &changed, &body);
    assert_eq!(
        line(&mapped, &update),
        r#"Changed Amount__c=5.5 Key__c=null LastName="Lovelace" MailingCity="Lyon""#
    );
    let one = &read(&mapped, &update).observations[0];
    assert_eq!(
        one.version.modified_ms,
        Some(1_777_627_800_000),
        "the record's own timestamp"
    );
    assert_eq!(one.version.commit_number, Some(10_736_437_567_061));
}

#[test]
fn create_has_every_mapped_field() {
    let body = json!({
        "Key__c": "c-1", "Name": {"FirstName": "Ada", "LastName": "Lovelace"},
        "Site__c": {"Latitude": 45.76, "Longitude": 4.84}, "Birthdate": "1815-12-10",
        "Active__c": false,
    });
    let create = envelope("CREATE", &[], &body);
    let mapped = [
        "Key__c",
        "LastName",
        "MailingCity",
        "Site__Latitude__s",
        "Birthdate",
        "Active__c",
    ];
    assert_eq!(
        line(&mapped, &create),
        r#"Created Active__c=false Birthdate="1815-12-10" Key__c="c-1" LastName="Lovelace" MailingCity=null Site__Latitude__s=45.76"#
    );
    let batch = read(&mapped, &create);
    assert_eq!(batch.observations[0].external_id.as_deref(), Some("c-1"));
}

#[test]
fn missing_field_is_a_gap() {
    for (why, change_type, mapped, changed, body) in [
        (
            "changed, and not delivered",
            "UPDATE",
            "Key__c",
            "Key__c",
            json!({}),
        ),
        (
            "a formula is never carried",
            "UPDATE",
            "Formula__c",
            "Key__c",
            json!({"Key__c": "x"}),
        ),
        (
            "a create has no formula either",
            "CREATE",
            "Formula__c",
            "",
            json!({"Key__c": "x"}),
        ),
        (
            "system timestamps are never carried",
            "CREATE",
            "SystemModstamp",
            "",
            json!({}),
        ),
    ] {
        let event = envelope(change_type, &[changed], &body);
        assert_eq!(line(&[mapped], &event), "Gap ", "{why}");
    }
}

#[test]
fn ambiguous_event_is_a_gap() {
    for (why, change_type, mapped, changed, body) in [
        (
            "a compound changed, the part is unknown",
            "UPDATE",
            "MailingCity",
            "MailingAddress",
            json!({"MailingAddress": null}),
        ),
        (
            "a name in parts, mapped as a whole",
            "UPDATE",
            "Name",
            "Name.LastName",
            json!({"Name": {"LastName": "x"}}),
        ),
        (
            "a create has the name in parts too",
            "CREATE",
            "Name",
            "",
            json!({"Name": {"LastName": "x"}}),
        ),
        (
            "text in a number",
            "UPDATE",
            "Amount__c",
            "Amount__c",
            json!({"Amount__c": "many"}),
        ),
        ("a gap event", "GAP_UPDATE", "Key__c", "", json!({})),
        (
            "an unknown change type",
            "SNAPSHOT",
            "Key__c",
            "",
            json!({}),
        ),
    ] {
        let event = envelope(change_type, &[changed], &body);
        assert_eq!(line(&[mapped], &event), "Gap ", "{why}");
    }
}

#[test]
fn unmapped_fields_and_objects_are_out_of_scope() {
    let update = envelope("UPDATE", &["Key__c"], &json!({"Key__c": "x"}));
    assert_eq!(
        line(&["Active__c"], &update),
        "needs resync [], 1 out of scope"
    );
    let mut other = envelope("CREATE", &[], &json!({}));
    other["detail"]["payload"]["ChangeEventHeader"]["entityName"] = json!("Lead");
    assert_eq!(line(&["Key__c"], &other), "needs resync [], 1 out of scope");
}

#[test]
fn each_record_of_an_event_is_one_observation() {
    let mut merged = envelope("DELETE", &[], &json!({}));
    merged["detail"]["payload"]["ChangeEventHeader"]["recordIds"] =
        json!([RECORD, "0015g00000BBBBBAA5"]);
    let batch = read(&["Key__c"], &merged);
    let seen: Vec<(i32, &str, ObservationKind)> = batch
        .observations
        .iter()
        .map(|one| (one.ordinal, one.salesforce_id.as_str(), one.kind))
        .collect();
    assert_eq!(
        seen,
        [
            (0, RECORD, ObservationKind::Deleted),
            (1, "0015g00000BBBBBAA5", ObservationKind::Deleted)
        ]
    );
    let place = |envelope: &Json| read(&["Key__c"], envelope).observations[0].cursor.clone();
    let mut replayed = merged.clone();
    replayed["replay-name"] = json!("after an outage");
    replayed["id"] = json!("another");
    assert_eq!(place(&replayed), place(&merged), "a duplicate");
    let mut next = merged.clone();
    next["detail"]["payload"]["ChangeEventHeader"]["sequenceNumber"] = json!(4);
    assert_ne!(place(&next), place(&merged));
}

#[test]
fn unnamed_records_make_the_object_need_a_resync() {
    for (change_type, ids) in [
        ("UPDATE", json!(["003*"])),
        ("GAP_OVERFLOW", json!(["000000000000000AAA"])),
        ("UPDATE", json!([])),
        ("UPDATE", json!([RECORD, 7])),
        ("UPDATE", Json::Null),
    ] {
        let mut wide = envelope(change_type, &["Key__c"], &json!({"Key__c": "x"}));
        wide["detail"]["payload"]["ChangeEventHeader"]["recordIds"] = ids.clone();
        let batch = read(&["Key__c"], &wide);
        assert_eq!(batch.needs_resync.len(), 1, "{change_type} {ids}");
        assert!(batch.observations.is_empty(), "{change_type} {ids}");
    }
}

#[test]
fn our_changes_are_recognised_by_tag_or_user() {
    for (origin, user, ours) in [
        (
            "com/salesforce/api/rest/68.0;client=syncline",
            "005D0000001LjdWIAS",
            true,
        ),
        ("com/salesforce/api/rest/68.0", USER, true),
        (
            "com/salesforce/api/rest/68.0;client=erp",
            "005D0000001LjdWIAS",
            false,
        ),
    ] {
        let mut deleted = envelope("DELETE", &[], &json!({}));
        let header = &mut deleted["detail"]["payload"]["ChangeEventHeader"];
        header["changeOrigin"] = json!(origin);
        header["commitUser"] = json!(user);
        assert_eq!(
            read(&["Key__c"], &deleted).observations[0].ours,
            ours,
            "{origin}"
        );
    }
}

#[test]
fn other_messages_are_refused_with_the_reason() {
    let reason = |text: &str| RelayedEvent::parse(text).expect_err(text).to_string();
    assert!(reason("not json: {").starts_with("it is not JSON"));
    for source in [
        json!(null),
        json!("aws.s3"),
        json!("aws.partner/salesforce.com/"),
        json!("aws.partner/salesforce.com/001D000000IqhSLIAZ/x"),
        json!("aws.partner/appflow/salesforce.com/1234"),
    ] {
        let mut foreign = envelope("CREATE", &[], &json!({}));
        foreign["source"] = source.clone();
        assert!(
            reason(&foreign.to_string()).contains("its source"),
            "{source}"
        );
    }
    for (path, problem) in [
        ("/detail", "is missing"),
        ("/detail/payload", "is missing"),
        ("/detail/payload/ChangeEventHeader", "names no entity"),
        (
            "/detail/payload/ChangeEventHeader/transactionKey",
            "names no transaction",
        ),
        (
            "/detail/payload/ChangeEventHeader/commitNumber",
            "has no commit number",
        ),
        (
            "/detail/payload/ChangeEventHeader/commitTimestamp",
            "has no commit timestamp",
        ),
    ] {
        let mut broken = envelope("CREATE", &[], &json!({}));
        *broken.pointer_mut(path).unwrap() = json!(null);
        assert!(reason(&broken.to_string()).ends_with(problem), "{path}");
    }
}

#[test]
fn source_names_the_org() {
    for source in [
        "aws.partner/salesforce.com/00D000000000001EAA/0YL5g0000004DfgGAE",
        "aws.partner/salesforce.com/00D000000000001/0YL5g0000004DfgGAE",
        "aws.partner/salesforce.com/00D000000000001EAA",
    ] {
        let mut event = envelope("CREATE", &[], &json!({}));
        event["source"] = json!(source);
        let event = RelayedEvent::parse(&event.to_string()).unwrap();
        assert_eq!(event.organization_id().as_str(), "00D000000000001EAA");
    }
}

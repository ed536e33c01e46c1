//! getUpdated and getDeleted on the org's clock.

use salesforce_org::local::PERSON;
use salesforce_org::{Org, RecordId};
use serde_json::{Value as Json, json};

use crate::fixture::Fixture;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// The clock of a new org is at 2026-05-01T09:30:00Z.
fn get(f: &mut Fixture, what: &str, start: &str, end: &str) -> (u16, Json) {
    let window = format!("start={start}&end={end}").replace('+', "%2B");
    let response = f.call("GET", &format!("sobjects/Account/{what}/?{window}"));
    (response.status, response.to_json())
}

#[test]
fn get_updated_returns_changes_and_covered_time() {
    let mut f = Fixture::new();
    let first = f.account(json!({"Name": "first"}));
    f.org.advance_ms(2 * MINUTE_MS);
    let second = f.account(json!({"Name": "second"}));
    let third = f.account(json!({"Name": "third"}));
    f.call("DELETE", &format!("sobjects/Account/{third}"));
    f.org.advance_ms(90_000);
    let (status, json) = get(
        &mut f,
        "updated",
        "2026-05-01T09:30:59Z",
        "2026-05-01T11:32:00+02:00",
    );
    assert_eq!(
        (status, &json["ids"]),
        (200, &json!([first])),
        "seconds are ignored, the end is outside"
    );
    assert_eq!(json["latestDateCovered"], "2026-05-01T09:32:00.000+0000");
    let (_, json) = get(
        &mut f,
        "updated",
        "2026-05-01T09:31:00Z",
        "2026-05-01T10:00:00Z",
    );
    assert_eq!(
        json["ids"],
        json!([second]),
        "a deleted record is not in getUpdated"
    );
    assert_eq!(
        json["latestDateCovered"], "2026-05-01T09:33:00.000+0000",
        "the current minute is not covered"
    );
}

#[test]
fn get_deleted_returns_deletions_but_not_restored_records() {
    let mut f = Fixture::new();
    let gone = f.account(json!({"Name": "gone"}));
    let back = f.account(json!({"Name": "back"}));
    let parent = json!({"LastName": "child", "AccountId": gone});
    f.org.insert_as(PERSON, "Contact", &parent).unwrap();
    f.org.advance_ms(MINUTE_MS);
    for id in [&gone, &back] {
        f.call("DELETE", &format!("sobjects/Account/{id}"));
    }
    f.org
        .undelete_as(PERSON, RecordId::parse(&back).unwrap())
        .unwrap();
    let (status, json) = get(
        &mut f,
        "deleted",
        "2026-05-01T09:30:00Z",
        "2026-05-01T09:45:00Z",
    );
    let expected = json!([{"id": gone, "deletedDate": "2026-05-01T09:31:00.000+0000"}]);
    assert_eq!((status, &json["deletedRecords"]), (200, &expected));
    assert_eq!(
        json["earliestDateAvailable"],
        "2026-05-01T09:30:00.000+0000"
    );
    let children = f.call(
        "GET",
        "sobjects/Contact/deleted?start=2026-05-01T09:30:00Z&end=2026-05-01T09:45:00Z",
    );
    assert_eq!(
        children.to_json()["deletedRecords"]
            .as_array()
            .unwrap()
            .len(),
        1,
        "it was deleted with its account"
    );
}

#[test]
fn two_hourly_purge_moves_the_earliest_date() {
    let mut f = Fixture::of(Org::from_toml("[org]\ndelete_log_max = 1\n").unwrap());
    for _ in 0..3 {
        let id = f.account(json!({"Name": "x"}));
        f.call("DELETE", &format!("sobjects/Account/{id}"));
        f.org.advance_ms(MINUTE_MS);
    }
    let window = ("2026-05-01T09:30:00Z", "2026-05-01T20:00:00Z");
    let (_, json) = get(&mut f, "deleted", window.0, window.1);
    assert_eq!(json["deletedRecords"].as_array().unwrap().len(), 3);
    f.org.advance_ms(4 * HOUR_MS);
    f.token = f.org.open_session(PERSON).unwrap();
    let (_, json) = get(&mut f, "deleted", window.0, window.1);
    assert_eq!(json["deletedRecords"].as_array().unwrap().len(), 1);
    assert_eq!(
        json["earliestDateAvailable"],
        "2026-05-01T09:31:00.000+0000"
    );
}

#[test]
fn deleted_records_are_purged_after_fifteen_days() {
    let mut f = Fixture::new();
    let id = f.account(json!({"Name": "x"}));
    let path = format!("sobjects/Account/{id}");
    f.call("DELETE", &path);
    f.org.advance_ms(15 * DAY_MS);
    f.token = f.org.open_session(PERSON).unwrap();
    assert_eq!(
        f.call("GET", &path).to_json()[0]["errorCode"],
        "ENTITY_IS_DELETED"
    );
    f.org.advance_ms(1_000);
    assert_eq!(f.call("GET", &path).to_json()[0]["errorCode"], "NOT_FOUND");
    let all = f.call("GET", "queryAll?q=SELECT+Id+FROM+Account").to_json();
    assert_eq!(all["totalSize"], json!(0));
    let error = f
        .org
        .undelete_as(PERSON, RecordId::parse(&id).unwrap())
        .unwrap_err();
    assert_eq!(error.code(), "INVALID_CROSS_REFERENCE_KEY");
}

#[test]
fn invalid_windows_are_refused() {
    let mut f = Fixture::new();
    for (what, start, end, code) in [
        (
            "updated",
            "2026-05-01T09:00:00Z",
            "2026-05-01T09:00:59Z",
            "INVALID_REPLICATION_DATE",
        ),
        (
            "updated",
            "2026-05-01T09:10:00Z",
            "2026-05-01T09:00:00Z",
            "INVALID_REPLICATION_DATE",
        ),
        (
            "updated",
            "2026-03-31T09:00:00Z",
            "2026-05-01T09:00:00Z",
            "INVALID_REPLICATION_DATE",
        ),
        (
            "deleted",
            "2026-04-16T09:00:00Z",
            "2026-05-01T09:00:00Z",
            "INVALID_REPLICATION_DATE",
        ),
        (
            "deleted",
            "yesterday",
            "2026-05-01T09:00:00Z",
            "INVALID_REPLICATION_DATE",
        ),
    ] {
        let (status, json) = get(&mut f, what, start, end);
        assert_eq!(
            (status, &json[0]["errorCode"]),
            (400, &json!(code)),
            "{what} {start}"
        );
    }
    assert_eq!(
        get(
            &mut f,
            "updated",
            "2026-04-01T10:00:00Z",
            "2026-05-01T09:00:00Z"
        )
        .0,
        200
    );
    assert_eq!(
        get(
            &mut f,
            "deleted",
            "2026-04-16T10:00:00Z",
            "2026-05-01T09:00:00Z"
        )
        .0,
        200
    );
    let missing = f.call("GET", "sobjects/Account/updated?start=2026-05-01T09:00:00Z");
    assert_eq!(missing.to_json()[0]["errorCode"], "MISSING_ARGUMENT");
}

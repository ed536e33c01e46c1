//! Reads: by id, by external id, page by page, and since a time.

use std::collections::BTreeSet;

use serde_json::json;
use syncline::model::ids::SalesforceId;
use syncline::model::schema::FieldType;
use syncline::model::value::Value;
use syncline::ports::salesforce::{
    Deleted, Disposition, FilterTrial, ReadBy, SalesforcePort, SalesforceRecord,
};

use crate::stand::{Stand, account, applied, field, fields, object, reject, text};

fn by_external_id(values: &[&str]) -> ReadBy {
    ReadBy::ExternalId {
        field: field("External_Id__c"),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    }
}

fn value<'a>(record: &'a SalesforceRecord, name: &str) -> &'a Value {
    &record.fields[&field(name)]
}

#[tokio::test]
async fn log_of_deletes_has_deleted_records_alone() {
    let stand = Stand::new().await;
    let ids = stand.create_accounts(3).await;
    stand.person_deletes(&ids[1]);
    let now_ms = stand.running.with_org(|org| org.now_ms());
    let (since_ms, until_ms) = (now_ms - 86_400_000, now_ms + 120_000);
    let account = object("Account");
    let deleted = stand
        .client
        .deleted_since(&account, since_ms, until_ms)
        .await
        .unwrap();
    assert_eq!(deleted, BTreeSet::from([ids[1].clone()]));
    let too_early = stand
        .client
        .deleted_since(&account, since_ms - 30 * 86_400_000, until_ms)
        .await
        .unwrap_err();
    assert_eq!(too_early.disposition, Disposition::Park);
}

#[tokio::test]
async fn record_is_read_as_canonical_values_with_nulls() {
    let stand = Stand::new().await;
    let id = stand.person_inserts(&json!({
        "Name": "Acme", "AnnualRevenue": 1_234_567.5, "NumberOfEmployees": 12, "Active__c": true,
        "Opened__c": "2026-05-01", "Checked_At__c": "2026-05-01T11:30:00.000+02:00",
        "Tags__c": "small;large"
    }));
    let names = [
        "Name",
        "AnnualRevenue",
        "NumberOfEmployees",
        "Active__c",
        "Opened__c",
        "Checked_At__c",
        "Tags__c",
        "Phone",
        "ParentId",
    ];
    let records = stand
        .client
        .read(
            &object("Account"),
            &ReadBy::Id(vec![id.clone()]),
            &fields(&names),
        )
        .await
        .unwrap();
    let [record] = records.as_slice() else {
        panic!("one record: {records:?}");
    };
    let read: Vec<String> = names
        .iter()
        .map(|name| value(record, name).to_json().to_string())
        .collect();
    assert_eq!(
        read,
        [
            r#""Acme""#,
            "1234567.5",
            "12",
            "true",
            r#""2026-05-01""#,
            r#""2026-05-01T09:30:00.000Z""#,
            r#""large;small""#,
            "null",
            "null"
        ]
    );
    assert_eq!((&record.salesforce_id, record.deleted), (&id, Deleted::No));
    assert!(record.version.modified_ms.is_some());
    assert_eq!(record.modified_by.as_ref().unwrap().key_prefix(), "005");
}

#[tokio::test]
async fn deleted_records_are_read_and_missing_ones_are_absent() {
    let stand = Stand::new().await;
    let id = stand.person_inserts(&json!({"Name": "Acme", "External_Id__c": "a-1"}));
    stand.person_deletes(&id);
    let missing = SalesforceId::parse("0015g00000ZZZZZ").unwrap();
    let reader = &stand.client;
    let account = object("Account");
    let by_id = ReadBy::Id(vec![missing, id.clone()]);
    for by in [by_id, by_external_id(&["a-1", "no-such-id", ""])] {
        let records = reader
            .read(&account, &by, &fields(&["Name"]))
            .await
            .unwrap();
        assert_eq!(records.len(), 1, "{by:?}");
        assert_eq!(records[0].salesforce_id, id);
        assert_eq!(records[0].deleted, Deleted::Yes);
    }
}

#[tokio::test]
async fn external_ids_of_all_shapes_are_found() {
    let stand = Stand::new().await;
    let shapes = [
        "O'Neil", "a\\b", "50%", "a\"b", "é ü", "x', 'y", "a+b", "a&b=c#",
    ];
    let mut expected = BTreeSet::new();
    for shape in shapes {
        let outcomes = stand
            .write(&[account(shape, &[("Name", text("Acme"))])])
            .await;
        expected.insert(applied(&outcomes[0]));
    }
    let records = stand
        .client
        .read(&object("Account"), &by_external_id(&shapes), &[])
        .await
        .unwrap();
    let found: BTreeSet<SalesforceId> = records
        .into_iter()
        .map(|record| record.salesforce_id)
        .collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn many_ids_take_several_queries_and_return_each_once() {
    let stand = Stand::new().await;
    let ids = stand.create_accounts(1_200).await;
    let twice: Vec<SalesforceId> = ids.iter().chain(&ids).cloned().collect();
    let records = stand
        .client
        .read(&object("Account"), &ReadBy::Id(twice), &fields(&["Name"]))
        .await
        .unwrap();
    assert_eq!(records.len(), 1_200);
    assert!(stand.calls("queryAll").await > 1);
}

#[tokio::test]
async fn scan_returns_every_live_record_once_in_id_order() {
    let stand = Stand::new().await;
    let ids = stand.create_accounts(4_100).await;
    stand.person_deletes(&ids[7]);
    let names = fields(&["Name"]);
    let mut scanned: Vec<SalesforceId> = Vec::new();
    let mut pages = 0;
    loop {
        let page = stand
            .client
            .scan(&object("Account"), &names, None, scanned.last())
            .await
            .unwrap();
        pages += 1;
        scanned.extend(page.records.into_iter().map(|record| record.salesforce_id));
        if page.done {
            break;
        }
    }
    let mut expected = ids;
    expected.remove(7);
    expected.sort();
    assert_eq!(pages, 3);
    assert_eq!(scanned, expected);
}

#[tokio::test]
async fn scan_returns_only_records_that_match_the_filter() {
    let stand = Stand::new().await;
    let inside = stand.person_inserts(&json!({"Name": "A", "Type": "Customer"}));
    stand.person_inserts(&json!({"Name": "B", "Type": "Other"}));
    let page = stand
        .client
        .scan(
            &object("Account"),
            &[],
            Some("Type = 'Customer' OR Type = 'Prospect'"),
            None,
        )
        .await
        .unwrap();
    assert!(page.done);
    assert_eq!(page.records.len(), 1);
    assert_eq!(page.records[0].salesforce_id, inside);
}

#[tokio::test]
async fn polling_returns_changed_and_deleted_records() {
    let stand = Stand::new().await;
    let old = stand.person_inserts(&json!({"Name": "Old"}));
    stand.control("clock", json!({"advance_ms": 60_000})).await;
    let edited = stand.person_inserts(&json!({"Name": "New"}));
    let deleted = stand.person_inserts(&json!({"Name": "Gone"}));
    stand.person_deletes(&deleted);
    let since = stand.running.with_org(|org| org.now_ms()) - 30_000;
    let (account, name) = (object("Account"), fields(&["Name"]));
    let poll = |since, after| stand.client.changed_since(&account, &name, since, after);
    let page = poll(since, None).await.unwrap();
    assert!(page.done);
    let seen: Vec<(&SalesforceId, Deleted)> = page
        .records
        .iter()
        .map(|record| (&record.salesforce_id, record.deleted))
        .collect();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen.contains(&(&edited, Deleted::No)), "{seen:?}");
    assert!(seen.contains(&(&deleted, Deleted::Yes)), "{seen:?}");
    assert!(!seen.iter().any(|(id, _)| *id == &old));
    let last = page.records.last().unwrap();
    let rest = poll(last.version.modified_ms.unwrap(), Some(&last.salesforce_id)).await;
    assert_eq!(rest.unwrap().records, []);
}

#[tokio::test]
async fn describe_returns_types_and_external_ids_and_is_cached() {
    let stand = Stand::new().await;
    let schema = stand.client.describe(&object("Account")).await.unwrap();
    assert_eq!(schema.key_prefix, "001");
    let external_id = &schema.fields[&field("External_Id__c")];
    assert!(external_id.external_id && external_id.unique);
    assert_eq!(external_id.field_type, FieldType::Text { length: 255 });
    let revenue = &schema.fields[&field("AnnualRevenue")].field_type;
    assert_eq!(
        revenue,
        &FieldType::Decimal {
            precision: 18,
            scale: 2
        }
    );
    stand.client.describe(&object("Account")).await.unwrap();
    assert_eq!(stand.calls("describe").await, 1, "the second was cached");
    stand.client.forget_schema(&object("Account"));
    stand.client.describe(&object("Account")).await.unwrap();
    assert_eq!(stand.calls("describe").await, 2);
}

#[tokio::test]
async fn error_names_the_missing_field_or_object() {
    let stand = Stand::new().await;
    let by = ReadBy::Id(vec![]);
    let error = stand
        .client
        .read(&object("Account"), &by, &fields(&["Foo__c"]))
        .await
        .unwrap_err();
    assert!(error.message.contains("Foo__c"), "{error}");
    assert_eq!(error.disposition, Disposition::Park);
    let error = stand
        .client
        .describe(&object("Nothing__c"))
        .await
        .unwrap_err();
    assert!(error.message.contains("Nothing__c"), "{error}");
}

#[tokio::test]
async fn quota_is_read_from_every_response() {
    let stand = Stand::new().await;
    stand.client.probe().await.unwrap();
    let usage = stand.client.api_usage().unwrap();
    assert!(usage.used > 0 && usage.used < usage.max, "{usage:?}");
}

#[tokio::test]
async fn filter_trial_returns_the_orgs_message() {
    let stand = Stand::new().await;
    let tried = async |filter: &str| {
        let (account, names) = (object("Account"), fields(&["Name"]));
        let trial = stand.client.try_filter(&account, &names, filter);
        trial.await.unwrap()
    };
    assert_eq!(
        tried("Type = 'Customer'").await,
        FilterTrial::MatchesNothing
    );
    stand.person_inserts(&json!({"Name": "Acme", "Type": "Customer"}));
    assert_eq!(
        tried("Type = 'Customer'").await,
        FilterTrial::MatchesRecords
    );
    let endless = format!("Name = '{}'", "x".repeat(20_000));
    for (filter, expected) in [
        ("Typ = 'Customer'", "INVALID_FIELD: "),
        ("Type = 'Customer", "MALFORMED_QUERY: "),
        ("Type = 'Customer') OR (Type != null", ""),
        (&endless, "too long for a query"),
    ] {
        let FilterTrial::Refused { message } = tried(filter).await else {
            panic!("the org accepts {filter}");
        };
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[tokio::test]
async fn filter_trial_fails_while_the_org_is_down() {
    let stand = Stand::new().await;
    let down = reject(503, "SERVER_UNAVAILABLE", "Service unavailable");
    stand.fault(&down.once().on("query"));
    let account = object("Account");
    let trial = stand.client.try_filter(&account, &[], "Type = 'Customer'");
    let error = trial.await.unwrap_err();
    assert_eq!(error.disposition, Disposition::WaitForOrg);
}

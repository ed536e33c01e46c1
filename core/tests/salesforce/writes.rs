//! Writes and their outcomes.

use std::slice::from_ref;
use std::time::Duration;

use salesforce_org::FaultAction;
use serde_json::json;
use syncline::model::value::{Decimal, Value};
use syncline::ports::salesforce::{
    FieldWrite, Lane, ReadBy, SalesforcePort, Write, WriteOutcome, WriteTarget,
};

use crate::stand::{
    Stand, TIMEOUT, account, applied, by_id, field, locked, object, reject, text, word, words,
};

const COLLECTIONS: &str = "/composite/sobjects";

#[tokio::test]
async fn collection_returns_one_outcome_per_record_in_order() {
    let stand = Stand::new().await;
    let outcomes = stand
        .write(&[
            account("a-1", &[("Name", text("Acme"))]),
            account("a-2", &[("Phone", text("1"))]),
            account("a-3", &[("Name", text("Corp"))]),
        ])
        .await;
    assert_eq!(
        words(&outcomes),
        ["applied", "REQUIRED_FIELD_MISSING Park", "applied"]
    );
    let WriteOutcome::Applied { created, .. } = outcomes[0] else {
        panic!("it was applied");
    };
    assert_eq!(created, Some(true));
    let third = applied(&outcomes[2]);
    assert_eq!(stand.value_of(&third, "Name").as_deref(), Some("Corp"));
    assert_eq!(
        stand.value_of(&third, "External_Id__c").as_deref(),
        Some("a-3")
    );
}

#[tokio::test]
async fn records_are_updated_and_deleted_by_id_in_both_lanes() {
    let stand = Stand::new().await;
    for lane in [Lane::Single, Lane::Collections] {
        let id = stand.person_inserts(&json!({"Name": "Acme", "Phone": "1", "Type": "Other"}));
        let values = [
            ("Phone", text("2")),
            ("Type", FieldWrite::Value(Value::Null)),
        ];
        let update = by_id(WriteTarget::UpdateById(id.clone()), &values);
        let delete = by_id(WriteTarget::DeleteById(id.clone()), &[]);
        let outcomes = stand.client.write(from_ref(&update), lane, TIMEOUT).await;
        assert_eq!(words(&outcomes), ["applied"], "{lane:?}");
        assert_eq!(stand.value_of(&id, "Phone").as_deref(), Some("2"));
        assert_eq!(stand.value_of(&id, "Type"), None);
        let outcomes = stand.client.write(&[delete], lane, TIMEOUT).await;
        assert_eq!(words(&outcomes), ["applied"], "{lane:?}");
        let outcomes = stand.client.write(&[update], lane, TIMEOUT).await;
        assert_eq!(
            words(&outcomes),
            ["ENTITY_IS_DELETED RefreshRecord"],
            "{lane:?}"
        );
    }
}

#[tokio::test]
async fn numbers_keep_their_digits() {
    let stand = Stand::new().await;
    let digits = "1234567890123.45";
    let number = FieldWrite::Value(Value::Number(Decimal::parse(digits).unwrap()));
    let values = [("Name", text("Acme")), ("AnnualRevenue", number)];
    let outcomes = stand.write(&[account("a-1", &values)]).await;
    let id = applied(&outcomes[0]);
    assert_eq!(
        stand.value_of(&id, "AnnualRevenue").as_deref(),
        Some(digits)
    );
}

#[tokio::test]
async fn child_waits_for_its_parent_by_external_id() {
    let stand = Stand::new().await;
    let parent = FieldWrite::Parent {
        relationship: "Parent".to_owned(),
        field: field("External_Id__c"),
        external_id: "p-1".to_owned(),
    };
    let child = account("c-1", &[("Name", text("Child")), ("ParentId", parent)]);
    for lane in [Lane::Single, Lane::Collections] {
        let outcomes = stand.client.write(from_ref(&child), lane, TIMEOUT).await;
        assert_eq!(
            words(&outcomes),
            ["INVALID_FIELD WaitForParent"],
            "{lane:?}"
        );
    }
    let parent = stand
        .write(&[account("p-1", &[("Name", text("Parent"))])])
        .await;
    let outcomes = stand.write(&[child]).await;
    let child = applied(&outcomes[0]);
    let parent = applied(&parent[0]);
    assert_eq!(
        stand.value_of(&child, "ParentId").as_deref(),
        Some(parent.as_str())
    );
    let orphaned = by_id(
        WriteTarget::UpdateById(child.clone()),
        &[("ParentId", FieldWrite::Value(Value::Null))],
    );
    assert_eq!(words(&stand.write(&[orphaned]).await), ["applied"]);
    assert_eq!(stand.value_of(&child, "ParentId"), None);
}

#[tokio::test]
async fn external_ids_of_all_shapes_work_in_both_lanes() {
    let stand = Stand::new().await;
    let shapes = [
        "a b", "50%", "a+b", "é", "O'Neil", "a/b", "x@y.inc", "..", "a?b#c", "a\\b", "%2F",
    ];
    let writes: Vec<Write> = shapes
        .iter()
        .map(|shape| account(shape, &[("Name", text("Acme"))]))
        .collect();
    let created = stand.client.write(&writes, Lane::Single, TIMEOUT).await;
    assert!(
        created.iter().all(|outcome| word(outcome) == "applied"),
        "{created:?}"
    );
    let again = stand.write(&writes).await;
    for ((shape, created), again) in shapes.iter().zip(&created).zip(&again) {
        let id = applied(created);
        assert_eq!(applied(again), id, "{shape}");
        assert_eq!(
            stand.value_of(&id, "External_Id__c").as_deref(),
            Some(*shape)
        );
    }
    assert_eq!(stand.accounts(), shapes.len());
}

#[tokio::test]
async fn lost_connection_leaves_outcome_unknown_and_sends_nothing_again() {
    let stand = Stand::new().await;
    for (lane, path) in [
        (Lane::Collections, COLLECTIONS),
        (Lane::Single, "/sobjects/Account/External_Id__c"),
    ] {
        stand.fault(&FaultAction::FailAfterWrite.once().on(path));
        let write = account(&format!("{lane:?}"), &[("Name", text("Acme"))]);
        let outcomes = stand.client.write(&[write], lane, TIMEOUT).await;
        assert_eq!(words(&outcomes), ["unknown"], "{lane:?}");
    }
    assert_eq!(stand.accounts(), 2, "both had an effect");
    assert_eq!(stand.calls("PATCH").await, 2);
}

#[tokio::test]
async fn request_that_may_have_arrived_is_unknown() {
    let stand = Stand::new().await;
    let answer = |body: &str| FaultAction::Answer {
        status: 200,
        body: body.to_owned(),
    };
    let unreadable = answer("<html>");
    let too_few_results = answer("[]");
    for action in [
        FaultAction::FailBeforeWrite,
        reject(503, "SERVER_UNAVAILABLE", "Service unavailable"),
        unreadable,
        too_few_results,
    ] {
        let fault = action.once().on(COLLECTIONS);
        stand.fault(&fault);
        let write = account("a-1", &[("Name", text("Acme"))]);
        assert_eq!(
            words(&stand.write(&[write]).await),
            ["unknown"],
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn late_call_is_unknown_call_without_time_is_not_sent() {
    let stand = Stand::new().await;
    stand.client.identity().await.unwrap();
    let slow = FaultAction::RespondSlowly { ms: 5_000 };
    stand.fault(&slow.once().on(COLLECTIONS));
    let write = account("a-1", &[("Name", text("Acme"))]);
    let lane = Lane::Collections;
    let outcomes = stand
        .client
        .write(from_ref(&write), lane, Duration::from_millis(300))
        .await;
    assert_eq!(words(&outcomes), ["unknown"]);
    let outcomes = stand.client.write(&[write], lane, Duration::ZERO).await;
    assert_eq!(words(&outcomes), ["no_time_left RetryLater"]);
}

#[tokio::test]
async fn session_that_expires_between_calls_loses_no_record() {
    let stand = Stand::new().await;
    stand.client.identity().await.unwrap();
    stand.fault(&FaultAction::ExpireSession.once().on(COLLECTIONS));
    let ids = stand.create_accounts(450).await;
    assert_eq!(ids.len(), 450);
    assert_eq!(stand.accounts(), 450);
    for (n, id) in ids.iter().enumerate().step_by(77) {
        let name = stand.value_of(id, "Name");
        assert_eq!(name, Some(format!("Account {n}")));
    }
    assert_eq!(stand.calls("/services/oauth2/token").await, 2);
}

#[tokio::test]
async fn record_that_fails_a_whole_call_fails_alone() {
    let stand = Stand::new().await;
    let writes: Vec<Write> = (0..200)
        .map(|n| {
            let mut values = vec![("Name", text("Acme"))];
            if n == 133 {
                values.push(("Opened__c", FieldWrite::Value(Value::Boolean(true))));
            }
            account(&format!("a-{n}"), &values)
        })
        .collect();
    let outcomes = stand.write(&writes).await;
    for (n, outcome) in outcomes.iter().enumerate() {
        assert_eq!(word(outcome) == "applied", n != 133, "{n}: {outcome:?}");
    }
    assert!(matches!(outcomes[133], WriteOutcome::Refused(_)));
    assert_eq!(stand.accounts(), 199);
}

#[tokio::test]
async fn locked_record_is_retried_while_others_are_written() {
    let stand = Stand::new().await;
    stand.fault(&locked("a-1"));
    let name = [("Name", text("Acme"))];
    let outcomes = stand
        .write(&[account("a-0", &name), account("a-1", &name)])
        .await;
    assert_eq!(
        words(&outcomes),
        ["applied", "UNABLE_TO_LOCK_ROW RetryLater"]
    );
}

#[tokio::test]
async fn two_writes_of_one_record_run_in_order() {
    let stand = Stand::new().await;
    let outcomes = stand
        .write(&[
            account("a-1", &[("Name", text("First"))]),
            account("A-1", &[("Name", text("Second"))]),
        ])
        .await;
    let id = applied(&outcomes[1]);
    assert_eq!(applied(&outcomes[0]), id);
    assert_eq!(stand.value_of(&id, "Name").as_deref(), Some("Second"));
}

#[tokio::test]
async fn write_beyond_the_quota_waits_for_it() {
    let stand = Stand::new().await;
    let spent = reject(
        403,
        "REQUEST_LIMIT_EXCEEDED",
        "TotalRequests Limit exceeded.",
    );
    stand.fault(&spent.once().on(COLLECTIONS));
    let outcomes = stand
        .write(&[account("a-1", &[("Name", text("Acme"))])])
        .await;
    assert_eq!(words(&outcomes), ["REQUEST_LIMIT_EXCEEDED WaitForQuota"]);
}

#[tokio::test]
async fn writes_of_two_objects_return_their_own_ids() {
    let stand = Stand::new().await;
    let mut contact = account("c-1", &[("LastName", text("Ito"))]);
    contact.object = object("Contact");
    let outcomes = stand
        .write(&[account("a-1", &[("Name", text("Acme"))]), contact])
        .await;
    assert_eq!(applied(&outcomes[0]).key_prefix(), "001");
    assert_eq!(applied(&outcomes[1]).key_prefix(), "003");
}

#[tokio::test]
async fn single_update_is_refused_if_the_record_has_changed() {
    let stand = Stand::new().await;
    let id = stand.person_inserts(&json!({"Name": "Acme", "Phone": "1"}));
    let seen_ms = async || {
        let by = ReadBy::Id(vec![id.clone()]);
        let read = stand.client.read(&object("Account"), &by, &[]).await;
        read.unwrap()[0].version.modified_ms
    };
    let mut update = by_id(WriteTarget::UpdateById(id.clone()), &[("Phone", text("3"))]);
    update.unmodified_since_ms = seen_ms().await;
    stand.control("clock", json!({"advance_ms": 2_000})).await;
    stand.person_updates(&id, &json!({"Phone": "2"}));
    let write = async |update: &Write| {
        let lane = Lane::Single;
        let outcomes = stand.client.write(from_ref(update), lane, TIMEOUT).await;
        words(&outcomes)
    };
    assert_eq!(write(&update).await, ["PRECONDITION_FAILED RefreshRecord"]);
    assert_eq!(stand.value_of(&id, "Phone").as_deref(), Some("2"));
    update.unmodified_since_ms = seen_ms().await;
    assert_eq!(write(&update).await, ["applied"]);
    assert_eq!(stand.value_of(&id, "Phone").as_deref(), Some("3"));
}

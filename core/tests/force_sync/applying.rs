//! Single writes, without an engine.

use serde_json::{Value as Json, json};
use syncline::force_sync::{ApplyError, RestApplyResult, SalesforceApplier};

use crate::stand::{client, serve};

#[tokio::test]
async fn upsert_creates_then_updates_and_delete_is_repeatable() {
    let org = serve().await;
    let applier = SalesforceApplier::new(client(&org));
    let upsert = async |payload: Json| {
        applier
            .apply_rest_upsert("Account", "External_Id__c", "A-1", &payload)
            .await
    };
    let RestApplyResult {
        salesforce_id,
        created,
    } = upsert(json!({"Name": "Acme"})).await.unwrap();
    assert!(created);
    let again = upsert(json!({"Name": "Acme Ltd"})).await.unwrap();
    assert_eq!(again.salesforce_id, salesforce_id);
    assert!(!again.created);
    let id = salesforce_id.unwrap();
    let records = || org.with_org(|org| org.count("Account"));
    assert_eq!(records(), 1);
    applier.apply_rest_delete("Account", &id).await.unwrap();
    assert_eq!(records(), 0);
    applier.apply_rest_delete("Account", &id).await.unwrap();
}

#[tokio::test]
async fn error_is_retryable_or_permanent() {
    let org = serve().await;
    let applier = SalesforceApplier::new(client(&org));
    for payload in [
        json!({"Phone": "1"}),
        json!({"Name": ["Acme"]}),
        json!("Acme"),
    ] {
        let refused = applier
            .apply_rest_upsert("Account", "External_Id__c", "A-1", &payload)
            .await;
        assert!(
            matches!(refused, Err(ApplyError::Permanent(_))),
            "{payload}"
        );
    }
    drop(org);
    let unreachable = applier
        .apply_rest_upsert("Account", "External_Id__c", "A-1", &json!({"Name": "Acme"}))
        .await;
    assert!(matches!(unreachable, Err(ApplyError::Retryable(_))));
}

//! One change by itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value as Json, json};
use syncline::model::ids::TenantId;
use syncline::{
    ApplyError, ChangeEnvelope, ChangeOperation, RestApplyResult, SalesforceApplier, SourceCursor,
    SourceSystem, SyncKey,
};

use crate::stand::{Stand, client_of, field, locked, object, options_of};

fn change(external_id: &str, operation: ChangeOperation, payload: Json) -> ChangeEnvelope {
    ChangeEnvelope {
        key: SyncKey {
            tenant: TenantId::parse("acme").unwrap(),
            object: object("Account"),
            external_id: external_id.to_owned(),
            canonical_id: external_id.to_owned(),
        },
        source: SourceSystem::Postgres,
        operation,
        cursor: SourceCursor::PostgresLsn("1".to_owned()),
        tombstone: operation == ChangeOperation::Delete,
        payload,
    }
}

fn applier(stand: &Stand) -> SalesforceApplier {
    let client = client_of(options_of(&stand.running));
    let external_ids = BTreeMap::from([(object("Account"), field("External_Id__c"))]);
    SalesforceApplier::new(Arc::new(client), external_ids)
}

#[tokio::test]
async fn a_change_is_upserted_and_a_tombstone_deletes() {
    let stand = Stand::new().await;
    let applier = applier(&stand);
    let insert = change("a-1", ChangeOperation::Insert, json!({"Name": "Acme"}));
    let RestApplyResult::Upserted {
        salesforce_id,
        created,
    } = applier.apply(&insert).await.unwrap()
    else {
        panic!("it was upserted");
    };
    assert_eq!(created, Some(true));
    assert_eq!(
        stand.value_of(&salesforce_id, "Name").as_deref(),
        Some("Acme")
    );
    let delete = change("a-1", ChangeOperation::Delete, Json::Null);
    let deleted = RestApplyResult::Deleted { salesforce_id };
    assert_eq!(applier.apply(&delete).await, Ok(deleted));
    assert_eq!(
        applier.apply(&delete).await,
        Ok(RestApplyResult::AlreadyAbsent)
    );
}

#[tokio::test]
async fn an_error_says_whether_trying_again_can_help() {
    let stand = Stand::new().await;
    let applier = applier(&stand);
    let nameless = change("a-1", ChangeOperation::Insert, json!({"Phone": "1"}));
    let error = applier.apply(&nameless).await.unwrap_err();
    assert!(matches!(error, ApplyError::Permanent { .. }), "{error}");
    let nested = change("a-1", ChangeOperation::Insert, json!({"Name": ["Acme"]}));
    let error = applier.apply(&nested).await.unwrap_err();
    assert!(matches!(error, ApplyError::Permanent { .. }), "{error}");
    stand.fault(&locked("a-1"));
    let insert = change("a-1", ChangeOperation::Insert, json!({"Name": "Acme"}));
    let error = applier.apply(&insert).await.unwrap_err();
    assert!(matches!(error, ApplyError::Retryable { .. }), "{error}");
    assert!(applier.apply(&insert).await.is_ok());
}

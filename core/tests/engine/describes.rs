//! Describes count as API calls: what one process was told, the others of the tenant do not ask again.

use std::sync::Arc;

use salesforce_org::FaultAction;

use crate::stage::Stage;

/// Runs a process that has just started, and returns how many objects it describes.
async fn described_by_a_new_process(stage: &Stage) -> u64 {
    let described = || {
        let calls = stage.org.calls().into_iter();
        let describes = calls.filter(|(call, _)| call.ends_with("/describe"));
        describes.map(|(_, count)| count).sum::<u64>()
    };
    let before = described();
    let client = Arc::new(stage.org.client());
    let worker = stage.worker("another", Arc::new(stage.store.clone()), client);
    worker.sweep(&stage.tenant).await.unwrap();
    described() - before
}

#[tokio::test]
async fn what_one_process_was_told_no_other_asks() {
    let stage = Stage::open().await;
    stage.age_schemas().await;
    let objects = u64::try_from(stage.config.objects.len()).unwrap();
    assert_eq!(described_by_a_new_process(&stage).await, objects);
    assert_eq!(described_by_a_new_process(&stage).await, 0);
    assert_eq!(described_by_a_new_process(&stage).await, 0);

    // Not for ever: the org may have changed.
    stage.age_schemas().await;
    assert_eq!(described_by_a_new_process(&stage).await, objects);
    assert_eq!(described_by_a_new_process(&stage).await, 0);
}

#[tokio::test]
async fn after_a_replay_the_org_is_described_again() {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada')")
        .await;
    let refused = FaultAction::RejectRow {
        external_id: "a-1".to_owned(),
        code: "FIELD_CUSTOM_VALIDATION_EXCEPTION".to_owned(),
        message: "Accounts need a phone".to_owned(),
    };
    stage.org.fault(&refused.once());
    stage.drain().await;
    assert_eq!(described_by_a_new_process(&stage).await, 0);
    let letter = stage.one("select dead_letter_id from syncline.sync_dead_letter");
    let letter = letter.await.as_i64().unwrap();
    let replayed = stage.store.replay_dead_letter(&stage.tenant, letter);
    assert!(replayed.await.unwrap());
    assert!(described_by_a_new_process(&stage).await > 0);
    assert_eq!(described_by_a_new_process(&stage).await, 0);
}

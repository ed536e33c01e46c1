//! Both sides change the same record.

use salesforce_org::FaultAction;
use serde_json::json;
use syncline::Side;
use syncline::ports::MappedObject;
use syncline::store::{ConflictFilter, Resolution, SyncConflict};

use crate::mapping::with_line;
use crate::stage::Stage;

/// Opens a stage with one account that is in sync; returns its Salesforce id.
async fn agreed() -> (Stage, String) {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name, phone, industry, rating) values ('a-1', 'Ada', '1', null, 'Warm')")
        .await;
    stage.drain().await;
    stage.assert_equal().await;
    let id = stage.org.id_of("Account", "a-1").unwrap();
    (stage, id)
}

#[tokio::test]
async fn edits_of_different_fields_merge_without_a_conflict() {
    let (stage, id) = agreed().await;
    stage.sql("update account set name = 'Ada Ltd'").await;
    stage.org.update(&id, json!({"Phone": "2"}));
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.one("select phone from account").await, json!("2"));
    assert_eq!(stage.org.value(&id, "Name").as_deref(), Some("Ada Ltd"));
}

#[tokio::test]
async fn conflicting_field_waits_while_other_fields_are_written() {
    let (stage, id) = agreed().await;
    stage
        .sql("update account set name = 'Here', phone = '2'")
        .await;
    stage
        .org
        .update(&id, json!({"Name": "There", "AnnualRevenue": 5}));
    stage.drain().await;
    assert_eq!(
        stage.conflicts().await,
        vec![
            json!({"field": "Name", "base_value": "Ada", "postgres_value": "Here", "salesforce_value": "There"})
        ]
    );
    assert_eq!(stage.org.value(&id, "Phone").as_deref(), Some("2"));
    assert_eq!(
        stage.one("select revenue::text from account").await,
        json!("5")
    );
    assert_eq!(stage.one("select name from account").await, json!("Here"));
    assert_eq!(stage.org.value(&id, "Name").as_deref(), Some("There"));

    stage.org.update(&id, json!({"Name": "Here"}));
    stage.drain().await;
    assert!(stage.conflicts().await.is_empty(), "equal values close it");
    stage.assert_equal().await;
}

#[tokio::test]
async fn edit_of_field_owned_by_other_side_is_reverted() {
    let (stage, id) = agreed().await;
    stage
        .org
        .update(&id, json!({"Rating": "Hot", "Industry": "Energy"}));
    stage.sql("update account set industry = 'Banking'").await;
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.value(&id, "Rating").as_deref(), Some("Warm"));
    assert_eq!(
        stage.one("select industry from account").await,
        json!("Energy")
    );
}

#[tokio::test]
async fn automation_that_reverts_our_write_is_reported_not_fought() {
    let (stage, id) = agreed().await;
    stage.org.flow(
        json!({"object": "Account", "when_field_changes": "Rating", "set": {"Rating": "Hot"}}),
    );
    let before = stage.org.writing_calls();
    stage.sql("update account set rating = 'Cold'").await;
    stage.drain().await;
    assert_eq!(stage.org.value(&id, "Rating").as_deref(), Some("Hot"));
    let writes = stage.org.writing_calls() - before;
    assert!((1..=3).contains(&writes), "{writes} writes");
    // Without another edit it is not written again.
    stage.drain().await;
    assert_eq!(stage.org.writing_calls() - before, writes);
}

#[tokio::test]
async fn writes_without_effect_do_not_count_as_automation() {
    let (stage, id) = agreed().await;
    stage.org.update(&id, json!({"Rating": "Hot"}));
    stage.capture_salesforce().await;
    let busy = FaultAction::Answer {
        status: 503,
        body: json!([{"errorCode": "SERVER_UNAVAILABLE", "message": "Maintenance"}]).to_string(),
    };
    stage.org.fault(&busy.once().times(3).on("sobjects"));
    for _ in 0..4 {
        stage.apply("Account").await;
        stage.pass_seconds(3_600).await;
    }
    stage.org.end_faults();
    stage.make_due().await;
    stage.drain().await;
    assert_eq!(stage.org.value(&id, "Rating").as_deref(), Some("Warm"));
    stage.assert_equal().await;
}

#[tokio::test]
async fn value_that_salesforce_stores_differently_is_adopted() {
    let (stage, id) = agreed().await;
    stage
        .org
        .flow(json!({"object": "Account", "field": "Name", "transform": "uppercase"}));
    stage.sql("update account set name = 'Ada Ltd'").await;
    stage.drain().await;
    assert_eq!(stage.org.value(&id, "Name").as_deref(), Some("ADA LTD"));
    stage.assert_equal().await;
}

/// Makes a trigger write this column in upper case.
async fn shout(stage: &Stage, column: &str) {
    let trigger = format!(
        "create function shout() returns trigger language plpgsql as $$
        begin new.{column} := upper(new.{column}); return new; end $$;
        create trigger shout before insert or update on account for each row execute function shout()"
    );
    stage.sql(&trigger).await;
}

#[tokio::test]
async fn change_by_before_trigger_counts_as_postgres_edit() {
    let (stage, id) = agreed().await;
    shout(&stage, "name").await;
    stage.org.update(&id, json!({"Name": "Ada Ltd"}));
    stage.drain().await;
    assert_eq!(
        stage.one("select name from account").await,
        json!("ADA LTD")
    );
    assert_eq!(stage.org.value(&id, "Name").as_deref(), Some("ADA LTD"));
    stage.assert_equal().await;
}

#[tokio::test]
async fn trigger_that_changes_an_owned_value_is_reported_not_fought() {
    let (stage, id) = agreed().await;
    shout(&stage, "industry").await;
    // Salesforce owns it, so the changed value is an edit that is written back, which the trigger changes again.
    stage
        .org
        .update(&id, json!({"Industry": "Energy", "Phone": "3"}));
    for _ in 0..6 {
        stage.drain().await;
        stage.make_due().await;
    }
    let tasks = stage.tasks().await;
    assert_eq!(tasks.len(), 1);
    assert_eq!(tasks[0]["code"], "row_altered");
    assert_eq!(
        stage.one("select industry || phone from account").await,
        json!("ENERGY3")
    );
    assert_eq!(stage.org.value(&id, "Industry").as_deref(), Some("Energy"));
}

#[tokio::test]
async fn parked_altered_row_is_woken_by_its_parent() {
    let stage = Stage::with_mapping(&with_line("where = \"Type = 'Customer'\"")).await;
    stage.drain().await;
    shout(&stage, "industry").await;
    let eve = json!({"Name": "Eve", "Type": "Prospect", "External_Id__c": "a-1"});
    let eve = stage.org.insert("Account", eve);
    stage.org.insert(
        "Account",
        json!({
            "Name": "Ada", "Type": "Customer", "Industry": "Energy", "ParentId": eve, "External_Id__c": "a-2",
        }),
    );
    for _ in 0..12 {
        stage.drain().await;
        stage.make_due().await;
    }
    let tasks = "select state, code, awaits from syncline.sync_task";
    assert_eq!(
        stage.rows(tasks).await,
        [json!({"state": "parked", "code": "row_altered", "awaits": [eve]})]
    );

    stage.org.advance_ms(1_000);
    stage.org.update(&eve, json!({"Type": "Customer"}));
    stage.drain().await;
    let parent = "select parent_external_id from account where external_id = 'a-2'";
    assert_eq!(stage.one(parent).await, json!("a-1"));
}

#[tokio::test]
async fn postgres_delete_against_salesforce_edit_waits_for_a_person() {
    let (stage, id) = agreed().await;
    stage.sql("delete from account").await;
    stage.org.update(&id, json!({"Name": "Ada Ltd"}));
    stage.drain().await;
    assert_eq!(stage.org.count("Account"), 1);
    assert_eq!(stage.one("select count(*) from account").await, json!(0));
    let conflicts = stage.conflicts().await;
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0]["field"], json!(null));
}

#[tokio::test]
async fn edit_of_row_deleted_in_salesforce_creates_nothing() {
    let (stage, id) = agreed().await;
    stage.org.delete(&id);
    stage.sql("update account set phone = '2'").await;
    // The edit is captured and applied before the delete is captured.
    stage.capture_postgres().await;
    stage.apply("Account").await;
    stage.drain().await;
    assert_eq!(stage.org.count("Account"), 0, "the record stays deleted");
    assert_eq!(stage.conflicts().await.len(), 1);
    assert_eq!(stage.one("select phone from account").await, json!("2"));
}

#[tokio::test]
async fn reloading_a_table_deletes_nothing() {
    let (stage, id) = agreed().await;
    stage
        .sql(
            "begin;
            create temporary table saved as select external_id, name, phone, rating from account;
            delete from account;
            insert into account (external_id, name, phone, rating) select external_id, name, phone, rating from saved;
            commit",
        )
        .await;
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.id_of("Account", "a-1"), Some(id));
}

#[tokio::test]
async fn undeleted_record_returns_to_its_table() {
    let (stage, id) = agreed().await;
    stage.org.delete(&id);
    stage.drain().await;
    assert_eq!(stage.one("select count(*) from account").await, json!(0));
    stage.org.undelete(&id);
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.one("select name from account").await, json!("Ada"));
    assert_eq!(stage.org.id_of("Account", "a-1"), Some(id));
}

/// Opens a stage with one conflict about Name; returns the record's id, the conflict and the mapped object.
async fn in_conflict() -> (Stage, String, SyncConflict, MappedObject) {
    let (stage, id) = agreed().await;
    stage.sql("update account set name = 'Here'").await;
    stage.org.update(&id, json!({"Name": "There"}));
    stage.drain().await;
    let conflicts = stage
        .store
        .conflicts(&stage.tenant, &ConflictFilter::default(), 10)
        .await
        .unwrap();
    let mapped_objects = stage.engine.mapped_objects(&stage.tenant).await.unwrap();
    (stage, id, conflicts[0].clone(), mapped_objects[0].clone())
}

#[tokio::test]
async fn resolved_conflict_writes_winner_and_logs_loser() {
    for (winner, name) in [(Side::Postgres, "Here"), (Side::Salesforce, "There")] {
        let (stage, _, conflict, mapped) = in_conflict().await;
        let resolution = stage
            .store
            .resolve_conflict(&mapped, conflict.conflict_id, conflict.version, winner)
            .await;
        assert_eq!(resolution.unwrap(), Resolution::Resolved);
        stage.drain().await;
        stage.assert_equal().await;
        assert_eq!(stage.one("select name from account").await, json!(name));
        let lost = if name == "Here" { "There" } else { "Here" };
        let logged = stage
            .rows("select value from syncline.sync_discarded_value")
            .await;
        assert_eq!(logged, vec![json!({"value": lost})]);
    }
}

#[tokio::test]
async fn outdated_decision_does_not_resolve_a_changed_conflict() {
    let (stage, id, conflict, mapped) = in_conflict().await;
    stage.org.update(&id, json!({"Name": "Elsewhere"}));
    stage.drain().await;
    let resolution = stage
        .store
        .resolve_conflict(
            &mapped,
            conflict.conflict_id,
            conflict.version,
            Side::Postgres,
        )
        .await;
    assert_eq!(resolution.unwrap(), Resolution::Moved);
    stage.drain().await;
    assert_eq!(stage.org.value(&id, "Name").as_deref(), Some("Elsewhere"));
    assert_eq!(stage.one("select name from account").await, json!("Here"));
}

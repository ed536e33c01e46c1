//! Objects with a SOQL filter: records that do not match it are left alone, by events, scans and polls.

use serde_json::{Value as Json, json};
use syncline::engine::system::SystemClock;
use syncline::ports::Clock;

use crate::mapping::with_line;
use crate::stage::Stage;

/// Returns a mapping with a filter on an unmapped field, so that events that change it have no mapped field.
fn filtered(on_filter_exit: &str) -> String {
    let deletes = match on_filter_exit {
        "soft_delete" => "deletes = { mode = \"propagate\", column = \"deleted_at\" }\n",
        _ => "",
    };
    with_line(&format!(
        "where = \"Type = 'Customer' or Industry = 'Energy'\"\non_filter_exit = \"{on_filter_exit}\"\n{deletes}"
    ))
}

fn customer(name: &str, external_id: &str) -> Json {
    json!({"Name": name, "Type": "Customer", "External_Id__c": external_id})
}

async fn names(stage: &Stage) -> Json {
    stage
        .one("select coalesce(string_agg(name, ',' order by name), '') from account where deleted_at is null")
        .await
}

/// Opens a stage with one customer in sync, captured from an event; returns its Salesforce id.
async fn with_customer(on_filter_exit: &str) -> (Stage, String) {
    let stage = Stage::with_mapping(&filtered(on_filter_exit)).await;
    stage.drain().await;
    let ada = stage.org.insert("Account", customer("Ada", "a-1"));
    stage.drain().await;
    assert_eq!(names(&stage).await, json!("Ada"));
    (stage, ada)
}

fn leave(stage: &Stage, id: &str) {
    stage.org.update(id, json!({"Type": "Prospect"}));
}

fn come_back(stage: &Stage, id: &str) {
    // A second later: within one second the order is unknown without a refresh.
    stage.org.advance_ms(1_000);
    stage.org.update(id, json!({"Type": "Customer"}));
}

#[tokio::test]
async fn events_of_filtered_out_records_store_nothing() {
    let stage = Stage::with_mapping(&filtered("keep")).await;
    stage.drain().await;
    let eve =
        json!({"Name": "Eve", "Phone": "secret", "Type": "Prospect", "External_Id__c": "a-9"});
    let eve = stage.org.insert("Account", eve);
    stage.org.update(&eve, json!({"Phone": "more secret"}));
    let captured = stage.capture_salesforce().await;
    assert_eq!(
        (captured.counts.out_of_scope, captured.counts.journaled),
        (2, 0),
        "{captured:?}"
    );
    stage.drain().await;
    stage.org.delete(&eve);
    stage.drain().await;
    assert_eq!(names(&stage).await, json!(""));
    assert_eq!(
        stage.one("select count(*) from syncline.sync_link").await,
        json!(0)
    );
    let journaled =
        "select count(*) from syncline.sync_journal where payload::text like '%secret%'";
    assert_eq!(stage.one(journaled).await, json!(0));
}

#[tokio::test]
async fn merged_and_duplicate_events_are_filtered_by_record() {
    let stage = Stage::with_mapping(&filtered("keep")).await;
    stage.drain().await;
    stage.org.duplicate_events();
    let people = [
        ("Ada", "Customer"),
        ("Bob", "Prospect"),
        ("Cid", "Customer"),
    ];
    let ids = people.map(|(name, kind)| {
        let record = json!({"Name": name, "Type": kind, "External_Id__c": name});
        stage.org.insert("Account", record)
    });
    stage.org.update_together(&ids, &json!({"Phone": "7"}));
    stage.drain().await;
    assert_eq!(names(&stage).await, json!("Ada,Cid"));
}

#[tokio::test]
async fn records_of_an_event_batch_are_filtered_by_one_call() {
    let stage = Stage::with_mapping(&filtered("keep")).await;
    stage.drain().await;
    for n in 0..40 {
        let kind = if n % 2 == 0 { "Customer" } else { "Prospect" };
        let record =
            json!({"Name": format!("n-{n}"), "Type": kind, "External_Id__c": format!("a-{n}")});
        stage.org.insert("Account", record);
    }
    let before = stage.org.calls();
    stage.capture_salesforce().await;
    let queries = |calls: &std::collections::BTreeMap<String, u64>| -> u64 {
        let read = calls
            .iter()
            .filter(|(name, _)| name.to_lowercase().contains("query"));
        read.map(|(_, count)| count).sum()
    };
    assert_eq!(queries(&stage.org.calls()) - queries(&before), 1);
    stage.drain().await;
    assert_eq!(stage.one("select count(*) from account").await, json!(20));
}

#[tokio::test]
async fn record_that_enters_the_filter_is_captured_whole() {
    let stage = Stage::with_mapping(&filtered("keep")).await;
    stage.drain().await;
    let eve = json!({"Name": "Eve", "Phone": "7", "Type": "Prospect", "External_Id__c": "a-9"});
    let eve = stage.org.insert("Account", eve);
    stage.drain().await;
    come_back(&stage, &eve);
    stage.drain().await;
    let rows = stage
        .rows("select external_id, name, phone from account")
        .await;
    assert_eq!(
        rows,
        [json!({"external_id": "a-9", "name": "Eve", "phone": "7"})]
    );
    stage.assert_equal().await;
}

#[tokio::test]
async fn kept_row_pauses_while_its_record_is_filtered_out() {
    let (stage, ada) = with_customer("keep").await;
    leave(&stage, &ada);
    stage.drain().await;
    stage.org.update(&ada, json!({"Name": "Ada Outside"}));
    stage.sql("update account set phone = '1'").await;
    stage.drain().await;
    assert_eq!(names(&stage).await, json!("Ada"));
    assert_eq!(
        stage.org.value(&ada, "Phone"),
        None,
        "the row's edit is not sent either"
    );
    let status = "select state || ': ' || reason from syncline.record_status";
    assert_eq!(
        stage.one(status).await,
        json!("filtered_out: outside the filter of the object")
    );
    let status = stage.store.status(&stage.tenant).await.unwrap();
    let accounts = status
        .objects
        .iter()
        .find(|of| of.object.as_str() == "Account")
        .unwrap();
    assert_eq!(
        (accounts.filtered_out, accounts.in_sync, accounts.pending),
        (1, 0, 0)
    );

    come_back(&stage, &ada);
    stage.drain().await;
    assert_eq!(names(&stage).await, json!("Ada Outside"));
    assert_eq!(
        stage.org.value(&ada, "Phone").as_deref(),
        Some("1"),
        "both edits are merged with the base"
    );
    assert_eq!(stage.conflicts().await, Vec::<Json>::new());
    stage.assert_equal().await;
}

#[tokio::test]
async fn record_leaving_the_filter_removes_its_row_only() {
    for on_filter_exit in ["delete", "soft_delete"] {
        let (stage, ada) = with_customer(on_filter_exit).await;
        let writes = stage.org.writing_calls();
        leave(&stage, &ada);
        stage.drain().await;
        assert_eq!(names(&stage).await, json!(""), "{on_filter_exit}");
        let rows = if on_filter_exit == "delete" { 0 } else { 1 };
        assert_eq!(stage.one("select count(*) from account").await, json!(rows));
        assert_eq!(stage.org.count("Account"), 1, "no delete comes back");
        assert_eq!(stage.org.writing_calls(), writes);

        come_back(&stage, &ada);
        stage.drain().await;
        assert_eq!(names(&stage).await, json!("Ada"), "{on_filter_exit}");
        assert_eq!(
            stage.one("select count(*) from account").await,
            json!(1),
            "no duplicate"
        );
        assert_eq!(
            stage.one("select count(*) from syncline.sync_link").await,
            json!(1)
        );
        assert_eq!(
            stage.org.writing_calls(),
            writes,
            "it is linked, not created"
        );
        stage.assert_equal().await;
    }
}

#[tokio::test]
async fn edit_of_a_removed_row_is_logged_and_restorable() {
    let (stage, ada) = with_customer("delete").await;
    stage.sql("update account set phone = '7'").await;
    leave(&stage, &ada);
    // The filter exit is applied first: the edit was not sent.
    stage.capture_salesforce().await;
    stage.apply("Account").await;
    stage.drain().await;
    assert_eq!(names(&stage).await, json!(""));
    let lost = "select field || '=' || (value #>> '{}') || ' by ' || rule from syncline.sync_discarded_value";
    assert_eq!(stage.one(lost).await, json!("Phone=7 by filter_exit"));
}

#[tokio::test]
async fn deleting_kept_row_or_filtered_out_record_deletes_nothing_else() {
    let (stage, ada) = with_customer("keep").await;
    let bob = stage.org.insert("Account", customer("Bob", "a-2"));
    stage.drain().await;
    leave(&stage, &ada);
    leave(&stage, &bob);
    stage.drain().await;
    stage
        .sql("delete from account where external_id = 'a-1'")
        .await;
    stage.org.delete(&bob);
    stage.drain().await;
    assert_eq!(stage.org.id_of("Account", "a-1"), Some(ada.clone()));
    assert_eq!(names(&stage).await, json!("Bob"));

    come_back(&stage, &ada);
    stage.drain().await;
    assert_eq!(
        names(&stage).await,
        json!("Ada,Bob"),
        "the row is created again"
    );
}

#[tokio::test]
async fn delete_of_a_filtered_out_record_keeps_its_row() {
    let (stage, ada) = with_customer("keep").await;
    leave(&stage, &ada);
    stage.org.delete(&ada);
    stage.drain().await;
    assert_eq!(names(&stage).await, json!("Ada"), "keep: its row stays");
}

#[tokio::test]
async fn delete_of_a_matching_record_deletes_its_row() {
    let (stage, ada) = with_customer("keep").await;
    stage.org.delete(&ada);
    stage.drain().await;
    assert_eq!(names(&stage).await, json!(""));
}

#[tokio::test]
async fn row_created_outside_the_filter_is_a_filter_exit() {
    for (on_filter_exit, left) in [("keep", "Zoe"), ("delete", "")] {
        let stage = Stage::with_mapping(&filtered(on_filter_exit)).await;
        stage.drain().await;
        stage
            .sql("insert into account (external_id, name) values ('z-1', 'Zoe')")
            .await;
        stage.drain().await;
        assert_eq!(
            stage.org.count("Account"),
            1,
            "it is created, whatever its values"
        );
        assert_eq!(names(&stage).await, json!(left), "{on_filter_exit}");
        assert_eq!(stage.tasks().await, Vec::<Json>::new());
    }
}

#[tokio::test]
async fn new_row_never_overwrites_a_filtered_out_record() {
    let stage = Stage::with_mapping(&filtered("delete")).await;
    let eve = json!({"Name": "Eve", "Type": "Prospect", "External_Id__c": "a-9"});
    let eve = stage.org.insert("Account", eve);
    stage.drain().await;
    stage
        .sql("insert into account (external_id, name) values ('a-9', 'Mallory')")
        .await;
    stage.drain().await;
    assert_eq!(stage.org.value(&eve, "Name").as_deref(), Some("Eve"));
    assert_eq!(
        names(&stage).await,
        json!("Mallory"),
        "a row that was never linked to it stays"
    );
    assert_eq!(stage.org.count("Account"), 1);
}

#[tokio::test]
async fn our_edit_that_filters_the_record_out_is_settled() {
    let mapping = filtered("delete").replace("Type = 'Customer'", "Phone = '1'");
    let stage = Stage::with_mapping(&mapping).await;
    stage.drain().await;
    stage
        .sql("insert into account (external_id, name, phone) values ('a-1', 'Ada', '1')")
        .await;
    stage.drain().await;
    stage.sql("update account set phone = '2'").await;
    stage.drain().await;
    let id = stage.org.id_of("Account", "a-1").unwrap();
    assert_eq!(stage.org.value(&id, "Phone").as_deref(), Some("2"));
    assert_eq!(names(&stage).await, json!(""));
    let open = "select count(*) from syncline.sync_intent where state <> 'confirmed'";
    assert_eq!(stage.one(open).await, json!(0));
}

#[tokio::test]
async fn poll_applies_the_filter_to_exits_and_returns() {
    let mapping = filtered("delete").replacen(
        "[[tenant.acme.object]]",
        "capture = \"poll\"\n\n[[tenant.acme.object]]",
        1,
    );
    let stage = Stage::with_mapping(&mapping).await;
    stage.org.set_wall_ms(SystemClock.now_ms());
    stage.drain_polling().await;
    let ada = stage.org.insert("Account", customer("Ada", "a-1"));
    let eve = json!({"Name": "Eve", "Type": "Prospect", "External_Id__c": "a-9"});
    stage.org.insert("Account", eve);
    stage.drain_polling().await;
    assert_eq!(names(&stage).await, json!("Ada"));
    stage.org.advance_ms(1_000);
    leave(&stage, &ada);
    stage.drain_polling().await;
    assert_eq!(names(&stage).await, json!(""));
    come_back(&stage, &ada);
    stage.drain_polling().await;
    assert_eq!(names(&stage).await, json!("Ada"));
    assert_eq!(stage.org.count("Account"), 2);
}

#[tokio::test]
async fn kept_and_filtered_out_records_are_not_drift() {
    let (stage, ada) = with_customer("keep").await;
    let eve = json!({"Name": "Eve", "Type": "Prospect", "External_Id__c": "a-9"});
    stage.org.insert("Account", eve);
    leave(&stage, &ada);
    stage.org.update(&ada, json!({"Name": "Ada Outside"}));
    stage.drain().await;
    let drifted = stage
        .engine
        .detect_drift(&stage.tenant, stage.deadline())
        .await;
    assert_eq!(drifted.unwrap(), Vec::new());
    let full = stage
        .engine
        .reconcile_full(&stage.tenant, stage.deadline())
        .await
        .unwrap();
    assert_eq!(
        (full.compared, full.drifted.len(), full.enqueued),
        (1, 0, 0),
        "the row that was kept"
    );
    stage.org.set_wall_ms(SystemClock.now_ms());
    let recent = stage
        .engine
        .reconcile_incremental(&stage.tenant, stage.deadline())
        .await;
    let recent = recent.unwrap();
    assert_eq!(
        (recent.compared, recent.drifted.len(), recent.enqueued),
        (0, 0, 0)
    );
    assert_eq!(names(&stage).await, json!("Ada"));
}

#[tokio::test]
async fn comparison_finds_filter_exits_and_returns_without_events() {
    let (stage, ada) = with_customer("delete").await;
    stage.org.set_wall_ms(SystemClock.now_ms());
    leave(&stage, &ada);
    let recent = stage
        .engine
        .reconcile_incremental(&stage.tenant, stage.deadline())
        .await;
    assert_eq!(recent.unwrap().enqueued, 1);
    stage.apply("Account").await;
    assert_eq!(names(&stage).await, json!(""));

    come_back(&stage, &ada);
    let full = stage
        .engine
        .reconcile_full(&stage.tenant, stage.deadline())
        .await;
    assert_eq!(full.unwrap().enqueued, 1);
    stage.apply("Account").await;
    assert_eq!(names(&stage).await, json!("Ada"));
    stage.drain().await;
    stage.assert_equal().await;
}

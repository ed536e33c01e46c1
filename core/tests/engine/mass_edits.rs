//! Edits of thousands of records in Salesforce.

use serde_json::json;

use crate::mapping::MAPPING;
use crate::stage::Stage;

/// Records of one call, and of its one event.
const CALL_RECORDS: usize = 200;

/// Creates accounts and captures them; returns their Salesforce ids.
async fn captured_accounts(stage: &Stage, count: usize) -> Vec<String> {
    stage.drain().await;
    let ids = (0..count)
        .map(|n| {
            let fields =
                json!({"Name": format!("Account {n}"), "External_Id__c": format!("a-{n}")});
            stage.org.insert("Account", fields)
        })
        .collect();
    stage.capture_salesforce().await;
    ids
}

fn edit_all(stage: &Stage, ids: &[String]) {
    for ids in ids.chunks(CALL_RECORDS) {
        stage.org.update_together(ids, &json!({"Phone": "1"}));
    }
}

#[tokio::test]
async fn mass_edit_is_recorded_in_bounded_parts() {
    let stage = Stage::open().await;
    let ids = captured_accounts(&stage, 2_400).await;
    edit_all(&stage, &ids);
    let captured = stage.capture_salesforce().await;
    assert_eq!(captured.counts.seen, 2_400);
    // Twelve events of 200 records each, which one batch of events would hold.
    assert!(captured.batches >= 2, "{captured:?}");
}

/// Measures each statement that journals changes from now on.
pub(crate) async fn measure_statements(stage: &Stage) {
    stage
        .sql(
            "create table measured (records bigint, bytes bigint);
            create function measure() returns trigger language plpgsql as $$
            begin
                insert into public.measured
                select count(*), sum(octet_length(payload::text)) from added;
                return null;
            end $$;
            create trigger measure after insert on syncline.sync_journal
                referencing new table as added
                for each statement execute function measure()",
        )
        .await;
}

/// Returns the most records and the most bytes of values that one statement has journaled, and all records.
pub(crate) async fn measured(stage: &Stage) -> [u64; 3] {
    let query = "select jsonb_build_array(max(records), max(bytes), sum(records)) from measured";
    serde_json::from_value(stage.one(query).await).unwrap()
}

#[tokio::test]
async fn long_texts_are_recorded_in_parts_of_bounded_bytes() {
    let mapping = MAPPING.replacen(
        "Phone         = { column = \"phone\" }",
        "Phone         = { column = \"phone\" }\nDescription   = { column = \"description\" }",
        1,
    );
    let stage = Stage::prepared(&mapping).await;
    stage
        .sql("alter table account add column description text")
        .await;
    stage.install().await;
    let ids = captured_accounts(&stage, 800).await;
    // Far fewer records than one transaction may have, and 24 MiB of text.
    let text = "x".repeat(32_000);
    for ids in ids.chunks(CALL_RECORDS) {
        stage
            .org
            .update_together(ids, &json!({"Description": text}));
    }
    measure_statements(&stage).await;
    let captured = stage.capture_salesforce().await;
    assert_eq!(captured.counts.journaled, 800);
    let [records, bytes, all] = measured(&stage).await;
    assert!(records < 800 && all == 800, "{records} of {all}");
    // 16 MiB are a part.
    let bounds = 8 * 1024 * 1024..17 * 1024 * 1024;
    assert!(bounds.contains(&bytes), "{bytes} bytes");
}

#[tokio::test]
async fn part_that_postgres_refuses_is_halved() {
    let stage = Stage::open().await;
    let ids = captured_accounts(&stage, 600).await;
    stage
        .sql(
            "create function too_much() returns trigger language plpgsql as $$
            begin
                if (select count(*) from added) > 160 then
                    raise exception 'too much at once' using errcode = '54000';
                end if;
                return null;
            end $$;
            create trigger too_much after insert on syncline.sync_seen
                referencing new table as added
                for each statement execute function too_much()",
        )
        .await;
    edit_all(&stage, &ids);
    let captured = stage.capture_salesforce().await;
    assert_eq!(captured.counts.seen, 600);
    assert!(captured.batches >= 4, "{captured:?}");
    let again = stage.capture_salesforce().await;
    assert_eq!(
        again.counts.seen, 0,
        "the position has moved over all of them"
    );
}

//! The mapping's settings for directions and deletes.

use serde_json::json;

use crate::mapping::with_line;
use crate::stage::Stage;

/// Opens a stage with this line in the configuration of accounts, and one account in sync; returns its
/// Salesforce id.
async fn agreed_under(line: &str) -> (Stage, String) {
    let stage = Stage::with_mapping(&with_line(line)).await;
    let id = stage.org.insert(
        "Account",
        json!({"Name": "Ada", "Phone": "1", "External_Id__c": "a-1"}),
    );
    stage.drain().await;
    assert_eq!(stage.one("select name from account").await, json!("Ada"));
    (stage, id)
}

/// Opens a stage whose accounts are synchronised in one direction only, without field owners.
async fn one_way(direction: &str) -> Stage {
    let mapping = with_line(&format!("direction = \"{direction}\""))
        .replace(", owner = \"salesforce\"", "")
        .replace(", owner = \"postgres\"", "");
    Stage::with_mapping(&mapping).await
}

#[tokio::test]
async fn row_edit_is_undone_where_salesforce_wins() {
    let stage = one_way("to_postgres").await;
    let id = stage
        .org
        .insert("Account", json!({"Name": "Ada", "External_Id__c": "a-1"}));
    stage.drain().await;
    stage.sql("update account set name = 'Here'").await;
    stage.drain().await;
    assert_eq!(stage.one("select name from account").await, json!("Ada"));
    stage.org.update(&id, json!({"Name": "There"}));
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.writing_calls(), 0);
}

#[tokio::test]
async fn salesforce_edit_is_undone_where_postgres_wins() {
    let stage = one_way("to_salesforce").await;
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada')")
        .await;
    stage.drain().await;
    let id = stage.org.id_of("Account", "a-1").unwrap();
    stage.org.update(&id, json!({"Name": "There"}));
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.value(&id, "Name").as_deref(), Some("Ada"));
}

#[tokio::test]
async fn soft_delete_fills_the_column_undelete_clears_it() {
    let (stage, id) = agreed_under("deletes = { mode = \"soft\", column = \"deleted_at\" }").await;
    let deleted = "select deleted_at is not null from account";
    stage.org.delete(&id);
    stage.drain().await;
    assert_eq!(stage.one(deleted).await, json!(true));
    stage.org.undelete(&id);
    stage.drain().await;
    assert_eq!(stage.one(deleted).await, json!(false));
    stage.assert_equal().await;
}

#[tokio::test]
async fn undelete_meets_the_edit_of_the_marked_row() {
    let soft = "deletes = { mode = \"soft\", column = \"deleted_at\" }";
    let (stage, id) = agreed_under(soft).await;
    stage.org.delete(&id);
    stage.drain().await;
    stage
        .sql("update account set phone = '2', name = 'Here'")
        .await;
    stage.drain().await;
    stage.org.undelete(&id);
    stage.org.update(&id, json!({"Phone": "3"}));
    stage.drain().await;
    let conflict = json!({
        "field": "Phone", "base_value": "1", "postgres_value": "2", "salesforce_value": "3"
    });
    assert_eq!(stage.conflicts().await, [conflict]);
    assert_eq!(stage.org.value(&id, "Name").as_deref(), Some("Here"));
    let row = stage
        .one("select phone || ', ' || (deleted_at is null) from account")
        .await;
    assert_eq!(row, json!("2, true"));
}

#[tokio::test]
async fn soft_deleted_row_is_deleted_in_salesforce() {
    let (stage, _) = agreed_under("deletes = { mode = \"soft\", column = \"deleted_at\" }").await;
    stage.sql("update account set deleted_at = now()").await;
    stage.drain().await;
    assert_eq!(stage.org.count("Account"), 0);
}

#[tokio::test]
async fn ignored_delete_ends_the_link_and_restores_nothing() {
    let (stage, id) = agreed_under("deletes = { mode = \"ignore\" }").await;
    stage.sql("delete from account").await;
    stage.drain().await;
    assert_eq!(stage.org.count("Account"), 1);
    assert_eq!(stage.one("select count(*) from account").await, json!(0));
    stage.org.update(&id, json!({"Phone": "2"}));
    stage.drain().await;
    assert_eq!(stage.org.count("Account"), 1);
}

#[tokio::test]
async fn policy_decides_between_delete_and_edit() {
    for (policy, rows) in [("delete_wins", 0), ("edit_wins", 1)] {
        let (stage, id) = agreed_under(&format!(
            "deletes = {{ mode = \"propagate\", on_edit = \"{policy}\" }}"
        ))
        .await;
        stage.org.update(&id, json!({"Phone": "2"}));
        stage.sql("delete from account").await;
        stage.drain().await;
        stage.assert_equal().await;
        assert_eq!(
            stage.one("select count(*) from account").await,
            json!(rows),
            "{policy}"
        );
    }
}

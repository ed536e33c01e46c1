//! The changes of the account C-1042, from its creation to its deletion.

use serde_json::{Value as Json, json};

use crate::scene::Scene;

/// Makes all changes and returns the output of `syncline explain --json`.
pub(crate) async fn history() -> Json {
    let scene = Scene::set().await;
    created_in_postgres(&scene).await;
    edited_on_each_side(&scene).await;
    conflict_and_resolution(&scene).await;
    refused_and_replayed(&scene).await;
    deleted(&scene).await;
    let printed = scene.syncline(&["explain", "c-1042", "--json"]).await;
    serde_json::from_str(&printed).expect("it prints JSON")
}

async fn created_in_postgres(scene: &Scene) {
    scene
        .sql(
            "insert into account (external_id, name, phone, rating, revenue)
            values ('C-1042', 'Northwind Traders', '+1 555 0100', 'Warm', 1250000.50)",
        )
        .await;
    scene.drain().await;
}

/// Edits different fields: both edits are written to the other side.
async fn edited_on_each_side(scene: &Scene) {
    scene.sql("update account set phone = '+1 555 0199'").await;
    scene.edit(json!({"Name": "Northwind Traders Inc.", "Industry": "Retail"}));
    scene.drain().await;
}

/// Edits the same field on both sides, and one that Salesforce owns in Postgres; a person resolves the
/// conflict.
async fn conflict_and_resolution(scene: &Scene) {
    scene
        .sql("update account set phone = '+1 555 0142', industry = 'Wholesale'")
        .await;
    scene.edit(json!({"Phone": "+1 555 0177", "AnnualRevenue": 1_400_000}));
    scene.drain().await;
    scene
        .syncline(&["conflicts", "resolve", "1", "--winner", "postgres"])
        .await;
    scene.drain().await;
}

/// Salesforce refuses a write; the operator replays it once the cause is corrected.
async fn refused_and_replayed(scene: &Scene) {
    scene.refuse_next_write(
        "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        "Only sales may make an account hot",
    );
    scene.sql("update account set rating = 'Hot'").await;
    scene.drain().await;
    scene.syncline(&["deadletters", "replay", "1"]).await;
    scene.drain().await;
}

async fn deleted(scene: &Scene) {
    scene.sql("delete from account").await;
    scene.drain().await;
}

//! What happens to the account C-1042, from its birth to its end.

use serde_json::{Value as Json, json};

use crate::scene::Scene;

/// Plays the story and returns what `syncline explain --json` prints of it.
pub(crate) async fn told() -> Json {
    let scene = Scene::set().await;
    born_in_postgres(&scene).await;
    edited_on_each_side(&scene).await;
    disputed_and_decided(&scene).await;
    refused_and_tried_again(&scene).await;
    deleted(&scene).await;
    let printed = scene.syncline(&["explain", "c-1042", "--json"]).await;
    serde_json::from_str(&printed).expect("it prints JSON")
}

async fn born_in_postgres(scene: &Scene) {
    scene
        .sql(
            "insert into account (external_id, name, phone, rating, revenue)
            values ('C-1042', 'Northwind Traders', '+1 555 0100', 'Warm', 1250000.50)",
        )
        .await;
    scene.come_to_rest().await;
}

/// Different fields: nothing to decide, both edits travel.
async fn edited_on_each_side(scene: &Scene) {
    scene.sql("update account set phone = '+1 555 0199'").await;
    scene.edit(json!({"Name": "Northwind Traders Inc.", "Industry": "Retail"}));
    scene.come_to_rest().await;
}

/// The same field on both sides, beside one that is not Postgres's to change; a person decides.
async fn disputed_and_decided(scene: &Scene) {
    scene
        .sql("update account set phone = '+1 555 0142', industry = 'Wholesale'")
        .await;
    scene.edit(json!({"Phone": "+1 555 0177", "AnnualRevenue": 1_400_000}));
    scene.come_to_rest().await;
    scene
        .syncline(&["conflicts", "resolve", "1", "--winner", "postgres"])
        .await;
    scene.come_to_rest().await;
}

/// Salesforce refuses a write; the operator has its cause mended and lets it go on.
async fn refused_and_tried_again(scene: &Scene) {
    scene.refuse_next_write(
        "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        "Only sales may make an account hot",
    );
    scene.sql("update account set rating = 'Hot'").await;
    scene.come_to_rest().await;
    scene.syncline(&["deadletters", "replay", "1"]).await;
    scene.come_to_rest().await;
}

async fn deleted(scene: &Scene) {
    scene.sql("delete from account").await;
    scene.come_to_rest().await;
}

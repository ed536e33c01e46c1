//! A field that is mapped newly: its values are read for all records at once, `seed` decides, and edits travel.

use serde_json::{Value as Json, json};
use syncline::config::{Config, Seed, TenantConfig};
use syncline::engine::SyncEngine;
use syncline::model::ids::ObjectName;

use crate::mapping::{MAPPING, without_field};
use crate::stage::Stage;

/// Opens a stage that does not map the phone yet. Three accounts are in sync but for it: one has a phone in
/// Salesforce, one in Postgres, one on both sides.
async fn without_phone() -> Stage {
    let stage = Stage::with_mapping(&without_field("Phone")).await;
    for n in 1..=4 {
        let account = json!({"Name": format!("A{n}"), "External_Id__c": format!("a-{n}")});
        stage.org.insert("Account", account);
    }
    stage.drain().await;
    for (external_id, phone) in [("a-1", "1"), ("a-3", "3")] {
        let id = stage.org.id_of("Account", external_id).unwrap();
        stage.org.update(&id, json!({"Phone": phone}));
    }
    stage
        .sql(
            "update account set phone = '2' where external_id = 'a-2';
            update account set phone = '4' where external_id = 'a-3'",
        )
        .await;
    stage.drain().await;
    stage
}

fn with_phone(seed: Seed) -> TenantConfig {
    let config = Config::parse(MAPPING).unwrap();
    let mut config = config.tenants.into_values().next().unwrap();
    for object in &mut config.objects {
        object.seed = seed;
    }
    config
}

/// Installs the mapping with the phone, and does all work.
async fn mapped(stage: &mut Stage, seed: Seed) {
    let config = with_phone(seed);
    stage.engine = stage.engine_of(config.clone());
    stage.config = config;
    stage.install().await;
    stage.drain().await;
}

async fn phones(stage: &Stage) -> (Json, Vec<Option<String>>) {
    let here = stage
        .one("select jsonb_agg(phone order by external_id) from account")
        .await;
    let there = (1..=4).map(|n| {
        let id = stage.org.id_of("Account", &format!("a-{n}")).unwrap();
        stage.org.value(&id, "Phone")
    });
    (here, there.collect())
}

fn there(phones: [&str; 3]) -> Vec<Option<String>> {
    let phones = phones.iter().map(|phone| Some((*phone).to_owned()));
    phones.chain([None]).collect()
}

#[tokio::test]
async fn empty_side_gets_the_value_and_seed_decides() {
    for (seed, third) in [(Seed::Salesforce, "3"), (Seed::Postgres, "4")] {
        let mut stage = without_phone().await;
        mapped(&mut stage, seed).await;
        let expected = (json!(["1", "2", third, null]), there(["1", "2", third]));
        assert_eq!(phones(&stage).await, expected, "{seed:?}");
        stage.assert_equal().await;
    }
}

#[tokio::test]
async fn refused_seed_asks_a_person() {
    let mut stage = without_phone().await;
    mapped(&mut stage, Seed::Refuse).await;
    let (here, _) = phones(&stage).await;
    assert_eq!(here, json!(["1", "2", "4", null]));
    assert_eq!(stage.conflicts().await.len(), 1);
}

#[tokio::test]
async fn edits_of_a_newly_mapped_field_travel() {
    let mut stage = without_phone().await;
    mapped(&mut stage, Seed::Salesforce).await;
    stage
        .sql("update account set phone = '5' where external_id = 'a-4'")
        .await;
    let id = stage.org.id_of("Account", "a-1").unwrap();
    stage.org.update(&id, json!({"Phone": "6"}));
    stage.drain().await;
    let (here, _) = phones(&stage).await;
    assert_eq!(here, json!(["6", "2", "3", "5"]));
    stage.assert_equal().await;
}

#[tokio::test]
async fn newly_mapped_field_is_not_in_step_before_it_is_read() {
    let mut stage = without_phone().await;
    let config = with_phone(Seed::Salesforce);
    stage.engine = stage.engine_of(config.clone());
    stage.install().await;
    let status = stage.store.status(&stage.tenant).await.unwrap();
    let account = ObjectName::parse("Account").unwrap();
    let of = status
        .objects
        .iter()
        .find(|of| of.object == account)
        .unwrap();
    assert_eq!((of.in_sync, of.pending), (0, 4));

    // Nothing is planned again by a worker that finds the same fields.
    stage.config = config.clone();
    stage.drain().await;
    let worker: SyncEngine = stage.engine_of(config);
    worker.mapped_objects(&stage.tenant).await.unwrap();
    assert_eq!(stage.tasks().await, Vec::<Json>::new());
}

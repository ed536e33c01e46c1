//! A schema that changes under a running engine: its describe is up to ten minutes old.

use salesforce_org::Org;
use serde_json::json;

use super::world::World;
use crate::local_org::LocalOrg;
use crate::mapping::MAPPING;
use crate::stage::Stage;

/// The default mapping with one more field.
fn mapping(field: &str) -> String {
    let phone = "Phone         = { column = \"phone\" }";
    MAPPING.replace(phone, &format!("{phone}\n{field}"))
}

const ORG: &str = r#"
[[object]]
name = "Account"
  [[object.field]]
  name = "Score__c"
  type = "string"
  length = 40
"#;

async fn world_with(field: &str) -> World {
    let org = LocalOrg::of(Org::from_toml(ORG).unwrap());
    let stage = Stage::of(org, &mapping(field)).await;
    stage
        .sql("alter table account add column region text, add column score text")
        .await;
    stage.install().await;
    World::of(stage).await
}

#[tokio::test]
async fn field_added_later_is_synchronised_by_the_running_engine() {
    let mut world = world_with("Region__c = { column = \"region\" }").await;
    let id = world.account("a-1");
    world
        .sql("update account set region = 'north', phone = 'here' where external_id = 'a-1'")
        .await;
    world.live(2).await;
    let withheld = world.status().await.withheld;
    assert_eq!(withheld.len(), 1, "{withheld:?}");
    assert_eq!(withheld[0].field, "Region__c");
    world.assert_both(&id, "Phone", "here").await;

    let field = json!({"name": "Region__c", "type": "string", "length": 40});
    world
        .stage
        .org
        .administer("Account", json!({"add_field": field}));
    let a_2 = world.account("a-2");
    world.stage.org.update(&a_2, json!({"Region__c": "south"}));
    let before = world.calls();
    world.live(12).await;
    world.recover().await;
    let made = world.calls() - before;
    assert!(made <= 120, "{made} calls");
    world.assert_both(&id, "Region__c", "north").await;
    world.assert_both(&a_2, "Region__c", "south").await;
}

#[tokio::test]
async fn changed_type_stops_unfit_values_and_no_others() {
    let mut world = world_with("Score__c = { column = \"score\" }").await;
    let [a_1, a_2, a_3] = ["a-1", "a-2", "a-3"].map(|name| world.account(name));
    world.sql("update account set score = '1'").await;
    world.live(1).await;
    // The conversion loses the stored values, and one event covers all records.
    let number = json!({"name": "Score__c", "type": "double", "precision": 10, "scale": 2});
    world.stage.org.convert("Account", number);
    world
        .sql(
            "update account set score = 'many', name = 'Here' where external_id = 'a-1';
            update account set score = '7' where external_id = 'a-2'",
        )
        .await;
    world.stage.org.update(&a_3, json!({"Score__c": 3.5}));
    let before = world.calls();
    world.live(30).await;
    let made = world.calls() - before;
    assert!(made <= 200, "{made} calls");
    world.assert_both(&a_1, "Name", "Here").await;
    assert_eq!(
        world
            .stage
            .one("select score from account where external_id = 'a-1'")
            .await,
        json!("many")
    );
    // The conversion cleared what both rows had replaced meanwhile: a person decides.
    let mut conflicts = world.stage.conflicts().await;
    conflicts.sort_by_key(|conflict| conflict["postgres_value"].to_string());
    let conflict = |value: &str| json!({"field": "Score__c", "base_value": "1", "postgres_value": value, "salesforce_value": null});
    assert_eq!(conflicts, [conflict("7"), conflict("many")]);
    assert_eq!(world.stopped().await, [] as [String; 0]);
    world.assert_both(&a_3, "Score__c", "3.5").await;

    for (id, name, score) in [(a_1, "a-1", "9"), (a_2, "a-2", "7")] {
        world
            .stage
            .org
            .update(&id, json!({"Score__c": score.parse::<f64>().unwrap()}));
        let row = format!("update account set score = '{score}' where external_id = '{name}'");
        world.sql(&row).await;
        world.rest().await;
        let stored = format!("{score}.0");
        assert_eq!(
            world.both(&id, "Score__c").await,
            [json!(score), json!(stored)]
        );
    }
    world.recover().await;
}

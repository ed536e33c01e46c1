//! Answers to single writes: rows locked for minutes, writes that are ignored, rules and required fields that were
//! added later.

use salesforce_org::Org;
use serde_json::{Value as Json, json};

use super::world::World;
use crate::local_org::LocalOrg;
use crate::mapping::MAPPING;
use crate::stage::Stage;

const RULE: &str = "Accounts with this name need a phone number.";

/// An org in which writes of an account's phone are answered and ignored while its fax is set.
const IGNORING: &str = r#"
[[object]]
name = "Account"
  [[object.field]]
  name = "Phone"
  type = "phone"
  ignored_while = "NOT(ISBLANK(Fax))"
"#;

#[tokio::test]
async fn rows_locked_for_minutes_delay_no_other_row() {
    let mut world = World::open().await;
    let ids = ["a-1", "a-2"].map(|name| world.account(name));
    for id in &ids {
        let lock = json!({"id": id, "ms": 10 * 60_000});
        world.stage.org.order("locks", &lock);
    }
    world.sql("update account set phone = 'here'").await;
    let before = world.calls();
    world.live(1).await;
    assert_eq!(
        world
            .stage
            .org
            .value(&world.account("a-3"), "Phone")
            .as_deref(),
        Some("here")
    );
    let status = world.status().await;
    let accounts = status
        .objects
        .iter()
        .find(|one| one.object.as_str() == "Account");
    assert_eq!(accounts.unwrap().pending, 2, "{accounts:?}");
    world.live(8).await;
    assert_eq!(world.stopped().await, [] as [String; 0]);
    assert_eq!(
        world.stage.org.value(&ids[0], "Phone").as_deref(),
        Some("0")
    );

    let minutes = world.recover().await;
    let made = world.calls() - before;
    assert!(minutes <= 8, "{minutes} minutes");
    assert!(made <= 70, "{made} calls");
    world.assert_both(&ids[0], "Phone", "here").await;
}

#[tokio::test]
async fn parent_locked_for_minutes_delays_its_children_alone() {
    let mut world = World::open().await;
    let lock = json!({"id": world.account("a-2"), "ms": 5 * 60_000});
    world.stage.org.order("locks", &lock);
    world
        .sql(
            "update contact set account_external_id = 'a-2' where external_id in ('c-1', 'c-2');
            update contact set account_external_id = 'a-3' where external_id = 'c-3'",
        )
        .await;
    let before = world.calls();
    world.live(1).await;
    let waiting =
        "select string_agg(external_id, ', ' order by external_id) from syncline.sync_task
        join syncline.sync_link using (record_id)";
    assert_eq!(world.stage.one(waiting).await, json!("c-1, c-2"));
    world.recover().await;
    let made = world.calls() - before;
    assert!(made <= 60, "{made} calls");
}

#[tokio::test]
async fn ignored_write_comes_back_at_once_and_is_logged() {
    let stage = Stage::of(LocalOrg::of(Org::from_toml(IGNORING).unwrap()), MAPPING).await;
    stage.install().await;
    let mut world = World::of(stage).await;
    let id = world.account("a-1");
    world.stage.org.update(&id, json!({"Fax": "1"}));
    world.live(1).await;
    world
        .sql("update account set phone = 'here', name = 'Here' where external_id in ('a-1', 'a-2')")
        .await;
    let before = world.stage.org.writing_calls();
    // The event of the write names the other field alone.
    world.live(3).await;
    world.assert_both(&id, "Phone", "0").await;
    world.assert_both(&id, "Name", "Here").await;
    assert_eq!(world.discarded().await, ["a-1 Phone postgres here"]);

    // The event of this write names no mapped field.
    world
        .sql("update account set phone = 'again' where external_id = 'a-1'")
        .await;
    world.live(3).await;
    world.assert_both(&id, "Phone", "0").await;
    // The first one of this record was made alone, because its fax had been edited unseen.
    assert_eq!(world.stage.org.writing_calls() - before, 3);
    world.recover().await;
    let a_2 = world.account("a-2");
    world.assert_both(&a_2, "Phone", "here").await;
}

/// An administrator adds a rule that old records break.
fn add_rule(world: &World) {
    let rule = json!({
        "name": "Phone", "formula": "Name = 'Bad' && ISBLANK(Phone)", "message": RULE, "field": "Phone",
    });
    world
        .stage
        .org
        .administer("Account", json!({"add_validation_rule": rule}));
}

#[tokio::test]
async fn rule_added_later_parks_its_records_until_it_is_gone() {
    let mut world = World::open().await;
    add_rule(&world);
    world
        .sql(
            "update account set name = 'Bad', phone = null where external_id = 'a-1';
            update account set name = 'Good' where external_id = 'a-2';
            insert into account (external_id, name) values ('a-8', 'Bad'), ('a-9', 'Good')",
        )
        .await;
    let before = world.calls();
    world.live(30).await;
    let made = world.calls() - before;
    assert!(made <= 120, "{made} calls");
    let stopped = world.stopped().await;
    assert_eq!(stopped.len(), 2, "{stopped:?}");
    for (stopped, name) in stopped.iter().zip(["a-1", "a-8"]) {
        let expected = format!("{name} Phone FIELD_CUSTOM_VALIDATION_EXCEPTION: ");
        assert!(
            stopped.starts_with(&expected) && stopped.contains(RULE),
            "{stopped}"
        );
    }
    let a_2 = world.account("a-2");
    world.assert_both(&a_2, "Name", "Good").await;
    let names =
        "select string_agg(external_id || ' ' || name, ', ' order by external_id) from account";
    assert_eq!(
        world.stage.one(names).await,
        json!("a-1 Bad, a-2 Good, a-3 Account 3, a-4 Account 4, a-8 Bad, a-9 Good")
    );

    world
        .stage
        .org
        .administer("Account", json!({"remove_validation_rule": "Phone"}));
    world.replay_all().await;
    world.recover().await;
    assert_eq!(world.stage.org.count("Account"), 6);
    let id = world.account("a-1");
    world.assert_both(&id, "Name", "Bad").await;
    let cleared = "select coalesce(phone, '') from account where external_id = 'a-1'";
    assert_eq!(world.stage.one(cleared).await, "");
}

#[tokio::test]
async fn corrected_row_passes_a_rule_that_was_added_later() {
    let mut world = World::open().await;
    add_rule(&world);
    world
        .sql("update account set name = 'Bad', phone = null where external_id = 'a-1'")
        .await;
    world.live(3).await;
    assert_eq!(world.stopped().await.len(), 1);
    world
        .sql("update account set phone = '7' where external_id = 'a-1'")
        .await;
    world.recover().await;
}

#[tokio::test]
async fn required_field_added_later_parks_new_records_alone() {
    let mut world = World::open().await;
    let field = |required: bool| json!({"name": "Region__c", "type": "string", "length": 40, "required": required});
    world
        .stage
        .org
        .administer("Contact", json!({"add_field": field(true)}));
    world
        .sql(
            "insert into contact (external_id, last_name) values ('c-9', 'New here');
            insert into account (external_id, name) values ('a-9', 'New here');
            delete from contact where external_id = 'c-4'",
        )
        .await;
    let before = world.calls();
    world.live(30).await;
    let made = world.calls() - before;
    assert!(made <= 120, "{made} calls");
    let stopped = world.stopped().await;
    assert_eq!(stopped.len(), 1, "{stopped:?}");
    let expected = "c-9 Region__c REQUIRED_FIELD_MISSING: ";
    assert!(stopped[0].starts_with(expected), "{stopped:?}");
    assert_eq!(
        (
            world.stage.org.count("Account"),
            world.stage.org.count("Contact")
        ),
        (5, 3)
    );
    let rows: Vec<Json> = world.stage.rows("select external_id from contact").await;
    assert_eq!(rows.len(), 4);

    world.stage.org.convert("Contact", field(false));
    world.replay_all().await;
    world.recover().await;
    assert_eq!(world.stage.org.count("Contact"), 4);
}

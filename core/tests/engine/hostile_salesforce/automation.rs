//! Automation that answers each of our writes with another edit: it never becomes a fight without end.

use serde_json::{Value as Json, json};

use super::world::{ALWAYS, World};

/// Automation of another user sets a field in a transaction of its own after each of our writes of an account.
fn answer_each_write(world: &World, set: &Json) {
    let rule = json!({
        "action": "user_edit", "when": "before_answer", "user": salesforce_org::local::PERSON,
        "match": {"path_contains": "sobjects", "method": "PATCH", "object": "Account"},
        "set": set, "count": ALWAYS,
    });
    world.stage.org.order("faults", &rule);
}

async fn overridden(world: &World) -> i64 {
    let status = world.status().await;
    let objects = status.objects.iter();
    objects.map(|one| one.automation_overrides).sum()
}

#[tokio::test]
async fn flow_in_our_transaction_wins_a_shared_field_at_once() {
    let mut world = World::open().await;
    world
        .stage
        .org
        .flow(json!({"object": "Account", "set": {"Phone": "auto"}}));
    world
        .sql("update account set phone = 'here' where external_id in ('a-1', 'a-2')")
        .await;
    let before = world.stage.org.writing_calls();
    world.live(30).await;
    assert_eq!(world.stage.org.writing_calls() - before, 1);
    world.recover().await;
    let id = world.account("a-1");
    world.assert_both(&id, "Phone", "auto").await;
    // The other field of the same records is still written.
    world.sql("update account set name = 'Here'").await;
    world.recover().await;
    world.assert_both(&id, "Name", "Here").await;
}

#[tokio::test]
async fn flow_in_our_transaction_stops_writes_of_an_owned_field() {
    let mut world = World::open().await;
    world
        .stage
        .org
        .flow(json!({"object": "Account", "set": {"Rating": "Hot"}}));
    world
        .sql("update account set rating = 'Warm' where external_id = 'a-1'")
        .await;
    let before = world.stage.org.writing_calls();
    world.live(60).await;
    let made = world.stage.org.writing_calls() - before;
    assert!((1..=3).contains(&made), "{made} writes");
    assert_eq!(overridden(&world).await, 1);
    let id = world.account("a-1");
    assert_eq!(
        world.both(&id, "Rating").await,
        [json!("Warm"), json!("Hot")]
    );

    // An edit is written again.
    world
        .sql("update account set rating = 'Cold' where external_id = 'a-1'")
        .await;
    world.live(10).await;
    assert!(world.stage.org.writing_calls() > before + made);
    assert!(world.stage.org.writing_calls() <= before + 2 * made);
}

#[tokio::test]
async fn later_automation_wins_a_shared_field() {
    let mut world = World::open().await;
    answer_each_write(&world, &json!({"Phone": "auto"}));
    world
        .sql("update account set phone = 'here' where external_id = 'a-1'")
        .await;
    let before = world.stage.org.writing_calls();
    world.live(30).await;
    assert_eq!(world.stage.org.writing_calls() - before, 1);
    world.recover().await;
    let id = world.account("a-1");
    world.assert_both(&id, "Phone", "auto").await;
}

#[tokio::test]
async fn later_automation_stops_writes_of_an_owned_field() {
    let mut world = World::open().await;
    answer_each_write(&world, &json!({"Rating": "Hot"}));
    world
        .sql("update account set rating = 'Warm', name = 'Here' where external_id = 'a-1'")
        .await;
    let before = world.stage.org.writing_calls();
    world.live(60).await;
    let made = world.stage.org.writing_calls() - before;
    assert!((1..=4).contains(&made), "{made} writes");
    assert_eq!(overridden(&world).await, 1);
    let id = world.account("a-1");
    assert_eq!(
        world.both(&id, "Rating").await,
        [json!("Warm"), json!("Hot")]
    );
    world.assert_both(&id, "Name", "Here").await;

    // Once it has stopped, the next edit arrives.
    world.stage.org.end_faults();
    world
        .sql("update account set rating = 'Cold' where external_id = 'a-1'")
        .await;
    world.recover().await;
    world.assert_both(&id, "Rating", "Cold").await;
}

//! What our user may see and do changes under a running engine, and is given back; and another org answers.

use salesforce_org::{Org, in_process};
use serde_json::{Value as Json, json};

use super::world::World;
use crate::crashes::pausing_worker;
use crate::pausing::PauseAt;

/// An org with another id, as a refreshed sandbox has.
const OTHER_ORG: &str = "[org]\nid = \"00D5g00000Zz9zz\"\n";

#[tokio::test]
async fn hidden_field_is_withheld_by_the_running_engine() {
    let mut world = World::open().await;
    let id = world.account("a-1");
    world.restrict(&json!({"hidden_fields": ["Account.Phone"]}));
    world.stage.org.update(&id, json!({"Industry": "Media"}));
    world.sql("update account set name = name || '!', phone = 'here' where external_id in ('a-1', 'a-2')")
        .await;
    let before = world.calls();
    world.live(30).await;
    let made = world.calls() - before;
    assert!(made <= 150, "{made} calls");
    world.assert_both(&id, "Industry", "Media").await;
    world.assert_both(&id, "Name", "Account 1!").await;
    assert_eq!(world.stage.org.value(&id, "Phone").as_deref(), Some("0"));
    let withheld = world.status().await.withheld;
    assert_eq!(withheld.len(), 1, "{withheld:?}");
    assert_eq!(withheld[0].field, "Phone");
    let stopped = world.stopped().await;
    assert!(
        stopped.iter().all(|text| text.contains(" Phone ")),
        "{stopped:?}"
    );

    world.restrict(&json!({}));
    world.live(12).await;
    world.recover().await;
    world.assert_both(&id, "Phone", "here").await;
}

#[tokio::test]
async fn field_made_read_only_stops_its_edits_alone() {
    let mut world = World::open().await;
    let id = world.account("a-1");
    world.restrict(&json!({"read_only_fields": ["Account.Phone"]}));
    world
        .sql("update account set name = name || '!', phone = 'here' where external_id = 'a-1'")
        .await;
    world
        .stage
        .org
        .update(&world.account("a-2"), json!({"Phone": "there"}));
    let before = world.calls();
    world.live(1).await;
    world.assert_both(&id, "Name", "Account 1!").await;
    let a_2 = world.account("a-2");
    world.assert_both(&a_2, "Phone", "there").await;
    let stopped = world.stopped().await;
    assert_eq!(stopped.len(), 1, "{stopped:?}");
    assert!(stopped[0].starts_with("a-1 Phone "), "{stopped:?}");
    world.live(30).await;
    let made = world.calls() - before;
    assert!(made <= 150, "{made} calls");
    // The edit is neither lost nor undone.
    assert_eq!(world.both(&id, "Phone").await, [json!("here"), json!("0")]);

    world.restrict(&json!({}));
    world.live(12).await;
    world.replay_all().await;
    world.recover().await;
    world.assert_both(&id, "Phone", "here").await;
}

#[tokio::test]
async fn replay_uses_a_permission_that_was_just_given_back() {
    let mut world = World::open().await;
    let id = world.account("a-1");
    world
        .stage
        .org
        .restrict(&json!({"read_only_fields": ["Account.Phone"]}));
    world
        .stage
        .sql("update account set phone = 'here' where external_id = 'a-1'")
        .await;
    // The field is known as read-only afterwards.
    world.live(12).await;
    assert_eq!(world.stopped().await.len(), 1);
    world.stage.org.restrict(&json!({}));
    world.replay_all().await;
    world.recover().await;
    assert_eq!(
        world.both(&id, "Phone").await,
        [json!("here"), json!("here")]
    );
    assert_eq!(world.discarded().await, [] as [String; 0]);
}

#[tokio::test]
async fn running_apply_plans_a_replay_with_the_new_permission() {
    let mut world = World::open().await;
    let id = world.account("a-1");
    world.restrict(&json!({"read_only_fields": ["Account.Phone"]}));
    world
        .sql("update account set phone = 'here' where external_id = 'a-1'")
        .await;
    world.live(12).await;
    assert_eq!(world.stopped().await.len(), 1);
    world
        .sql("update account set name = 'New' where external_id = 'a-2'")
        .await;
    world.stage.capture_postgres().await;
    let (worker, port) = pausing_worker(&world.stage, PauseAt::BeforeWriting);
    let replay = async {
        port.paused.notified().await;
        world.restrict(&json!({}));
        world.replay_all().await;
        loop {
            port.resume.notify_one();
            port.paused.notified().await;
        }
    };
    tokio::select! {
        applied = world.stage.apply_by(&worker, "Account") => assert_eq!(applied.applied, 2, "{applied:?}"),
        () = replay => {}
    }
    world.assert_both(&id, "Phone", "here").await;
    world.recover().await;
}

#[tokio::test]
async fn lost_object_stops_its_own_work_alone() {
    let mut world = World::open().await;
    let id = world.account("a-1");
    let contact = world.stage.org.id_of("Contact", "c-1").unwrap();
    world.restrict(&json!({"no_access": ["Contact"]}));
    world.stage.org.update(&id, json!({"Phone": "there"}));
    world
        .stage
        .org
        .update(&contact, json!({"LastName": "There"}));
    world
        .sql(
            "update account set phone = 'here' where external_id = 'a-2';
            update contact set last_name = 'Here' where external_id = 'c-2';
            delete from contact where external_id = 'c-3'",
        )
        .await;
    let before = world.calls();
    world.live(60).await;
    let made = world.calls() - before;
    assert!(made <= 600, "{made} calls in an hour");
    world.assert_both(&id, "Phone", "there").await;
    assert_eq!(
        world
            .stage
            .org
            .value(&world.account("a-2"), "Phone")
            .as_deref(),
        Some("here")
    );
    // What cannot be seen is not deleted, and not in step.
    assert_eq!(
        world.stage.one("select count(*) from contact").await,
        json!(3)
    );
    assert_eq!(world.stage.org.count("Contact"), 4);
    let status = world.status().await;
    let contacts = status
        .objects
        .iter()
        .find(|one| one.object.as_str() == "Contact");
    let contacts = contacts.unwrap();
    assert!(contacts.in_sync < contacts.records, "{contacts:?}");

    world.restrict(&json!({}));
    world.live(16).await;
    world.replay_all().await;
    world.recover().await;
    assert_eq!(world.stage.org.count("Contact"), 3);
    let names = world
        .stage
        .one("select string_agg(last_name, ', ' order by external_id) from contact")
        .await;
    assert_eq!(names, json!("There, Here, Contact 4"));
}

#[tokio::test]
async fn object_made_read_only_parks_edits_with_the_reason() {
    let mut world = World::open().await;
    let id = world.account("a-1");
    world.restrict(&json!({"cannot_edit": ["Account"]}));
    world
        .stage
        .org
        .update(&world.account("a-3"), json!({"Phone": "there"}));
    world
        .sql(
            "update account set phone = 'here' where external_id in ('a-1', 'a-2');
            update contact set last_name = 'Here' where external_id = 'c-1'",
        )
        .await;
    let before = world.calls();
    world.live(30).await;
    let made = world.calls() - before;
    assert!(made <= 150, "{made} calls");
    let stopped = world.stopped().await;
    assert_eq!(stopped.len(), 2, "{stopped:?}");
    assert!(stopped[0].contains("INSUFFICIENT_ACCESS"), "{stopped:?}");
    let a_3 = world.account("a-3");
    world.assert_both(&a_3, "Phone", "there").await;
    let contact = world.stage.org.id_of("Contact", "c-1").unwrap();
    assert_eq!(
        world.stage.org.value(&contact, "LastName").as_deref(),
        Some("Here")
    );

    world.restrict(&json!({}));
    // What our user may write is described every ten minutes.
    world.live(12).await;
    world.replay_all().await;
    world.recover().await;
    world.assert_both(&id, "Phone", "here").await;
}

#[tokio::test]
async fn records_lost_to_sharing_come_back_with_edits_of_both_sides() {
    let mut world = World::open().await;
    let kim = "select Id from User where Username = 'kim@acme.example'";
    let kim = world.stage.org.query(kim)[0]["Id"].clone();
    for (name, industry) in [
        ("a-1", "Media"),
        ("a-2", "Media"),
        ("a-3", "Energy"),
        ("a-4", "Energy"),
    ] {
        let fields = json!({"Industry": industry, "OwnerId": kim});
        world.stage.org.update(&world.account(name), fields);
    }
    world.live(1).await;
    let shared = json!({"object": "Account", "where": "Industry = 'Media'", "edit": true});
    world.restrict(&json!({"cannot_view_all": ["Account"], "sharing": [shared]}));
    // No event reports that records leave.
    world
        .stage
        .org
        .update(&world.account("a-3"), json!({"Phone": "there"}));
    world
        .sql(
            "update account set phone = 'here' where external_id in ('a-1', 'a-4');
            delete from account where external_id = 'a-3'",
        )
        .await;
    let before = world.calls();
    world.live(60).await;
    let made = world.calls() - before;
    assert!(made <= 600, "{made} calls in an hour");
    let a_1 = world.account("a-1");
    world.assert_both(&a_1, "Phone", "here").await;
    assert_eq!(world.stage.org.count("Account"), 4);
    let status = world.status().await;
    let accounts = status
        .objects
        .iter()
        .find(|one| one.object.as_str() == "Account");
    assert!(accounts.unwrap().in_sync <= 2, "{accounts:?}");

    world.restrict(&json!({}));
    world.live(16).await;
    let compared = world.compare().await;
    assert!(compared, "every record is compared");
    world.rest().await;
    // The delete of a-3's row meets the edit of its record: a person decides.
    let conflicts = world.stage.conflicts().await;
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    let a_4 = world.account("a-4");
    world.assert_both(&a_4, "Phone", "here").await;
    assert_eq!(world.stage.org.count("Account"), 4);
}

#[tokio::test]
async fn another_org_is_never_written_and_the_old_one_recovers() {
    let mut world = World::open().await;
    let mut other = Org::from_toml(OTHER_ORG).unwrap();
    other.set_base_url(in_process::BASE_URL);
    // It knows records with the same names.
    for name in ["a-1", "a-7"] {
        let fields = json!({"Name": "Other", "External_Id__c": name});
        other
            .insert_as(salesforce_org::local::PERSON, "Account", &fields)
            .unwrap();
    }
    let ours = world.stage.org.with(|org| std::mem::replace(org, other));
    world
        .sql(
            "update account set phone = 'here' where external_id = 'a-1';
            delete from account where external_id = 'a-2';
            insert into account (external_id, name) values ('a-9', 'New here')",
        )
        .await;
    world.live(30).await;
    world.restart();
    world.live(30).await;
    assert_eq!(world.stage.org.writing_calls(), 0);
    assert_eq!(world.stage.org.count("Account"), 2);
    let calls = world.calls();
    assert!(calls <= 400, "{calls} calls in an hour");
    let rows =
        "select string_agg(external_id || ' ' || name, ', ' order by external_id) from account";
    assert_eq!(
        world.stage.one(rows).await,
        json!("a-1 Account 1, a-3 Account 3, a-4 Account 4, a-9 New here")
    );
    let status = world.status().await;
    let reason = status.paused.expect("the status names it");
    assert!(reason.contains("00D5g00000Zz9zz"), "{reason}");

    world.stage.org.with(|org| *org = ours);
    world.live(1).await;
    world.recover().await;
    assert_eq!(world.stage.org.count("Account"), 4);
    let a_1 = world.account("a-1");
    world.assert_both(&a_1, "Phone", "here").await;
}

#[tokio::test]
async fn removed_event_selection_is_named_and_edits_still_arrive() {
    let mut world = World::open().await;
    let id = world.account("a-1");
    world
        .stage
        .org
        .administer("Account", json!({"change_events": false}));
    world.stage.org.update(&id, json!({"Phone": "there"}));
    world
        .sql("update account set phone = 'here' where external_id = 'a-2'")
        .await;
    let contact = world.stage.org.id_of("Contact", "c-1").unwrap();
    world
        .stage
        .org
        .update(&contact, json!({"LastName": "There"}));
    let before = world.calls();
    world.live(31).await;
    let made = world.calls() - before;
    assert!(made <= 150, "{made} calls");
    world.assert_both(&id, "Phone", "there").await;
    assert_eq!(
        world
            .stage
            .org
            .value(&world.account("a-2"), "Phone")
            .as_deref(),
        Some("here")
    );
    let status = world.status().await;
    let named: Vec<(&str, bool)> = status
        .objects
        .iter()
        .map(|one| (one.object.as_str(), one.events_missing.is_some()))
        .collect();
    assert_eq!(named, [("Account", true), ("Contact", false)]);
    let found = world.stage.engine.check(&world.stage.tenant).await.unwrap();
    let found: Vec<&str> = found.iter().map(|one| one.what.as_str()).collect();
    assert!(
        found
            .iter()
            .any(|what| what.contains("change events of Account are not enabled")),
        "{found:?}"
    );

    world
        .stage
        .org
        .administer("Account", json!({"change_events": true}));
    world.live(12).await;
    let status = world.status().await;
    assert!(
        status
            .objects
            .iter()
            .all(|one| one.events_missing.is_none())
    );
    world.stage.org.update(&id, json!({"Phone": "again"}));
    world.recover().await;
    world.assert_both(&id, "Phone", "again").await;
    let lost: Vec<Json> = world.stage.conflicts().await;
    assert!(lost.is_empty());
}

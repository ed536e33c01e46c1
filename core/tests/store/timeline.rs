//! The history of one record: complete, in order, with decisions that can be repeated.

use serde_json::{Value as Json, json};
use syncline::config::ObjectSync;
use syncline::model::Side;
use syncline::model::ids::{FieldName, ObjectName};
use syncline::model::observation::ObservationKind::{Changed, Refresh};
use syncline::store::{ConflictFilter, EntryKind, RecordTimeline, TimelineAnswer, TimelineEntry};
use syncline::{Mapping, RecordFacts, RecordPlan};

use super::world::{World, seen, sf_id};

async fn answer(world: &World, name: &str) -> TimelineAnswer {
    world
        .store
        .timeline(&world.mapped.tenant, None, name)
        .await
        .expect("a history is read")
}

async fn timeline(world: &World, name: &str) -> RecordTimeline {
    match answer(world, name).await {
        TimelineAnswer::Found(timeline) => *timeline,
        other => panic!("{name}: {other:?}"),
    }
}

/// Opens a world with a record that was synchronised, changed on both sides, and resolved.
async fn resolved() -> World {
    let mut world = World::new().await;
    world.synced("Key-1", "Ada").await;
    world
        .see(&[seen(Refresh, "Key-1", &[("Name", "Ada")], 5)])
        .await;
    world.apply().await;
    world.sql("update public.account set name = 'Eve'").await;
    world
        .see(&[seen(Changed, "Key-1", &[("Name", "Ida")], 10)])
        .await;
    world.capture().await;
    world.apply().await;
    let conflicts = world
        .store
        .conflicts(&world.mapped.tenant, &ConflictFilter::default(), 10)
        .await
        .expect("conflicts are listed");
    world
        .store
        .resolve_conflict(
            &world.mapped,
            conflicts[0].conflict_id,
            conflicts[0].version,
            Side::Postgres,
        )
        .await
        .expect("a decision is taken");
    let planned = world.apply().await;
    world.settle(&planned).await;
    world
}

fn decisions(timeline: &RecordTimeline) -> Vec<&TimelineEntry> {
    timeline
        .entries
        .iter()
        .filter(|entry| entry.kind == EntryKind::Decided)
        .collect()
}

#[tokio::test]
async fn history_lists_causes_before_effects() {
    let world = resolved().await;
    let timeline = timeline(&world, "Key-1").await;
    let kinds: Vec<EntryKind> = timeline.entries.iter().map(|entry| entry.kind).collect();
    let place = |kind| {
        kinds
            .iter()
            .position(|known| *known == kind)
            .unwrap_or_else(|| panic!("{kind:?} is missing in {kinds:?}"))
    };
    assert_eq!(kinds.first(), Some(&EntryKind::Observed), "{kinds:?}");
    assert!(place(EntryKind::Observed) < place(EntryKind::Decided));
    assert!(place(EntryKind::Decided) < place(EntryKind::WriteRecorded));
    assert!(place(EntryKind::WriteRecorded) < place(EntryKind::WriteEnded));
    assert!(place(EntryKind::ConflictOpened) < place(EntryKind::ConflictClosed));
    assert!(timeline.entries.is_sorted_by_key(|entry| entry.at));
    assert_eq!(timeline.record.state.as_deref(), Some("in_sync"));
    assert!(!timeline.truncated);
    let opened = &timeline.entries[place(EntryKind::ConflictOpened)].particulars;
    assert_eq!(
        [&opened["base"], &opened["postgres"], &opened["salesforce"]],
        [&json!("Ada"), &json!("Eve"), &json!("Ida")]
    );
}

#[tokio::test]
async fn planning_again_repeats_every_decision() {
    let world = resolved().await;
    let timeline = timeline(&world, "Key-1").await;
    let decisions = decisions(&timeline);
    assert!(decisions.len() >= 2, "{decisions:?}");
    let read = |json: &Json| json.to_string();
    for decision in decisions {
        let rules = &timeline.rules[decision.rules().expect("it names its rules")];
        let rules: ObjectSync = serde_json::from_str(&read(rules)).expect("rules");
        let facts = read(&decision.particulars["input"]);
        let facts: RecordFacts<FieldName> = serde_json::from_str(&facts).expect("facts");
        let plan = read(&decision.particulars["plan"]);
        let plan: RecordPlan<FieldName> = serde_json::from_str(&plan).expect("a plan");
        assert_eq!(facts.plan(&Mapping::new(rules)), plan);
    }
    assert_eq!(timeline.rules.len(), 1, "rules are kept once");
}

#[tokio::test]
async fn record_is_found_by_any_of_its_ids() {
    let mut world = resolved().await;
    let record_id = world
        .ask("select record_id::text from syncline.sync_link")
        .await;
    let salesforce_id = sf_id("Key-1").to_string();
    for name in [
        "Key-1",
        " key-1 ",
        &salesforce_id,
        &salesforce_id[..15],
        &record_id,
    ] {
        let found = timeline(&world, name).await.record;
        assert_eq!(found.record_id.to_string(), record_id, "{name}");
        assert_eq!(found.external_id, "Key-1");
    }
    world
        .sql("update public.account set external_id = 'Key-2'")
        .await;
    world.capture().await;
    world.sync().await;
    let renamed = timeline(&world, "Key-1").await.record;
    assert_eq!(
        renamed.record_id.to_string(),
        record_id,
        "by its former external id"
    );
    assert_eq!(renamed.external_id, "Key-2");
}

#[tokio::test]
async fn unknown_and_ambiguous_names_are_reported() {
    let mut world = resolved().await;
    for name in [
        "Key-3",
        "",
        "' or true --",
        "\u{fffd}",
        "001000000000000AAA",
    ] {
        assert_eq!(
            answer(&world, name).await,
            TimelineAnswer::Unknown,
            "{name}"
        );
    }
    world
        .sql(
            "insert into syncline.sync_link (tenant, object, external_id, canonical_id, remote_state)
            select tenant, 'Contact', external_id, canonical_id, remote_state
            from syncline.sync_link",
        )
        .await;
    let TimelineAnswer::Several(records) = answer(&world, "Key-1").await else {
        panic!("two records have this id");
    };
    let objects: Vec<&str> = records.iter().map(|one| one.object.as_str()).collect();
    assert_eq!(objects, ["Account", "Contact"]);
    let contact = ObjectName::parse("Contact").expect("an object");
    let only = world
        .store
        .timeline(&world.mapped.tenant, Some(&contact), "Key-1")
        .await
        .expect("a history is read");
    assert!(matches!(only, TimelineAnswer::Found(_)), "{only:?}");
}

#[tokio::test]
async fn decisions_renew_their_rules() {
    let mut world = resolved().await;
    let count = "select count(*) from syncline.sync_rules";
    assert_eq!(world.ask(count).await, "1");
    world
        .sql("update syncline.sync_rules set last_used_on = syncline.clock()::date - 60")
        .await;
    world.sql("update public.account set phone = '7'").await;
    world.capture().await;
    world.apply().await;
    let used = "select (last_used_on = syncline.clock()::date)::text from syncline.sync_rules";
    assert_eq!(world.ask(used).await, "true", "a decision renews them");
}

#[tokio::test]
async fn what_is_no_longer_mapped_stays_in_base_and_evidence() {
    let mut world = World::new().await;
    world.synced("Key-1", "Ada").await;
    world
        .sql("update syncline.sync_link set base = base || '{\"Fax\": \"1\"}'::jsonb")
        .await;
    world.sql("update public.account set name = 'Eve'").await;
    world.sync().await;
    let base = "select (base ->> 'Name') || (base ->> 'Fax') from syncline.sync_link";
    assert_eq!(world.ask(base).await, "Eve1");
    let timeline = timeline(&world, "Key-1").await;
    let last = decisions(&timeline).pop().expect("a decision");
    assert_eq!(last.particulars["input"]["base"]["Fax"], "1");
    assert_eq!(
        last.particulars["plan"]["explanation"]["fields"]["Fax"],
        Json::Null
    );
}

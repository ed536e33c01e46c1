//! Recording observations: once, ordered by version, with our own writes recognised by value.

use syncline::model::SourceCursor;
use syncline::model::observation::ObservationKind::{Changed, Created, Deleted, Refresh, Snapshot};
use syncline::model::observation::SalesforceObservation;
use syncline::ports::job_store::OrgMatch;
use syncline::ports::{CaptureStore, JobStore};

use super::streams::{event, lease_events, position};
use super::world::{World, field, kinds, seen, sf_id};

#[tokio::test]
async fn event_of_many_records_changes_each_once() {
    let mut world = World::new().await;
    let names: Vec<String> = (0..200).map(|n| format!("K{n}")).collect();
    let created: Vec<_> = names
        .iter()
        .map(|name| seen(Created, name, &[("Name", "old")], 1))
        .collect();
    world.see(&created).await;
    world.apply().await;
    let merged: Vec<SalesforceObservation> = names
        .iter()
        .map(|name| event(seen(Changed, name, &[("Name", "new")], 2), 7))
        .collect();
    let mut lease = lease_events(&world, "one").await;
    let report = world
        .store
        .record_observations(
            world.mapped_objects(),
            &merged,
            Some((&mut lease, position(7))),
        )
        .await
        .unwrap();
    assert_eq!((report.counts.journaled, report.dirty), (200, 200));
    let again = world
        .store
        .record_observations(
            world.mapped_objects(),
            &merged,
            Some((&mut lease, position(8))),
        )
        .await
        .unwrap();
    assert_eq!((again.counts.duplicate, again.dirty), (200, 0));
    assert_eq!(again.counts.seen, again.counts.duplicate);
    world.apply().await;
    assert_eq!(
        world
            .ask("select count(*) from public.account where name = 'new'")
            .await,
        "200"
    );
}

#[tokio::test]
async fn same_position_with_different_content_is_not_a_duplicate() {
    let mut world = World::new().await;
    world.synced("K", "Ada").await;
    let mut lease = lease_events(&world, "one").await;
    for (name, expected) in [("Eve", 1), ("Eve", 0), ("Ida", 1)] {
        let change = event(seen(Changed, "K", &[("Name", name)], 5), 1);
        let report = world
            .store
            .record_observations(
                world.mapped_objects(),
                &[change],
                Some((&mut lease, position(1))),
            )
            .await
            .unwrap();
        assert_eq!(report.counts.journaled, expected, "{name}");
    }
}

#[tokio::test]
async fn echo_of_our_own_write_changes_nothing() {
    let mut world = World::new().await;
    world
        .sql("insert into public.account (external_id, name) values ('K', 'Ada')")
        .await;
    world.capture().await;
    let planned = world.apply().await;
    let mut echo = seen(Created, "K", &[("Name", "Ada")], 5);
    echo.ours = true;
    let early = world.see(&[echo.clone()]).await;
    assert_eq!(
        (early.echoes, early.dirty),
        (1, 0),
        "an echo before the response"
    );
    world.settle(&planned).await;
    assert_eq!(
        world.ask("select count(*) from syncline.sync_task").await,
        "0"
    );
    assert_eq!(
        world
            .ask("select string_agg(state, ',') from syncline.sync_intent")
            .await,
        "confirmed"
    );
}

#[tokio::test]
async fn observation_older_than_the_remote_state_is_superseded() {
    let mut world = World::new().await;
    world.synced("K", "Ada").await;
    world
        .see(&[seen(Refresh, "K", &[("Name", "Ada")], 10)])
        .await;
    world.apply().await;
    world
        .see(&[seen(Changed, "K", &[("Name", "new")], 20)])
        .await;
    world.apply().await;
    let report = world
        .see(&[seen(Snapshot, "K", &[("Name", "old")], 15)])
        .await;
    assert_eq!((report.superseded, report.dirty), (1, 0));
    assert_eq!(world.ask("select name from public.account").await, "new");
}

#[tokio::test]
async fn edit_that_our_write_replaced_unseen_is_decided_once_ordered() {
    let mut world = World::new().await;
    world.synced("K", "Ada").await;
    world
        .see(&[seen(Refresh, "K", &[("Name", "Ada")], 10)])
        .await;
    world.apply().await;
    world.sql("update public.account set name = 'ours'").await;
    world.sync().await;
    let report = world
        .see(&[seen(Changed, "K", &[("Name", "theirs")], 11)])
        .await;
    assert_eq!((report.superseded, report.dirty), (1, 0));
    let report = world
        .see(&[seen(Changed, "K", &[("Name", "ours")], 12)])
        .await;
    assert_eq!((report.superseded, report.dirty), (1, 1));
    assert_eq!(
        world
            .ask(
                "select remote_state #>> '{fields,Name,overwritten,value}' from syncline.sync_link"
            )
            .await,
        "theirs"
    );
    assert_eq!(world.ask("select name from public.account").await, "ours");
}

#[tokio::test]
async fn delete_of_another_salesforce_id_deletes_nothing() {
    let mut world = World::new().await;
    world.synced("K", "Ada").await;
    let mut other = seen(Deleted, "K", &[], 10);
    other.salesforce_id = sf_id("another");
    let report = world.see(&[other]).await;
    assert_eq!(report.dirty, 0);
    assert!(world.lease().await.is_empty());
}

#[tokio::test]
async fn refresh_joins_a_record_seen_without_external_id() {
    let mut world = World::new().await;
    world
        .sql("insert into public.account (external_id, name) values ('K', 'Ada')")
        .await;
    world.capture().await;
    let report = world
        .see(&[seen(Changed, "K", &[("Name", "Eve")], 5)])
        .await;
    assert_eq!(report.dirty, 1, "its external id is not known yet");
    assert_eq!(
        world.ask("select count(*) from syncline.sync_link").await,
        "2"
    );
    let unlinked = world
        .store
        .unlinked(&world.mapped, &[sf_id("K"), sf_id("unlinked")])
        .await
        .unwrap();
    assert_eq!(unlinked, [sf_id("unlinked")]);
    world
        .see(&[seen(Refresh, "K", &[("Name", "Eve")], 6)])
        .await;
    assert_eq!(
        world.ask("select string_agg(external_id || (salesforce_id is not null), ',') from syncline.sync_link").await,
        "Ktrue",
        "it is the record that Postgres has, not a second one"
    );
    assert_eq!(kinds(&world.apply().await), ["settled"]);
}

#[tokio::test]
async fn new_org_ignores_leases_and_versions_of_the_old() {
    let mut world = World::new().await;
    world.synced("K", "Ada").await;
    let other = syncline::model::ids::SalesforceId::parse("00D000000000002AAA").unwrap();
    let tenant = world.mapped.tenant.clone();
    let before = lease_events(&world, "one").await;
    let known = world.mapped.organization_id.clone();
    let met = world.store.register_org(&tenant, &other).await.unwrap();
    assert_eq!(
        met,
        OrgMatch::Other {
            known: known.clone()
        }
    );
    assert!(world.store.control(&tenant).await.unwrap().paused);
    let back = world.store.register_org(&tenant, &known).await.unwrap();
    assert_eq!(back, OrgMatch::Known(world.mapped.org_epoch));
    assert!(!world.store.control(&tenant).await.unwrap().paused);
    assert_eq!(world.store.adopt_org(&tenant).await.unwrap(), None);
    world.store.register_org(&tenant, &other).await.unwrap();
    let (adopted, epoch) = world.store.adopt_org(&tenant).await.unwrap().unwrap();
    assert_eq!((adopted, epoch.0), (other, world.mapped.org_epoch.0 + 1));
    let mut lost = before.clone();
    let moved = world
        .store
        .record_observations(world.mapped_objects(), &[], Some((&mut lost, position(1))))
        .await;
    assert!(
        moved.is_err(),
        "a reader of the old org cannot move the position"
    );
    world.mapped.org_epoch = epoch;
    let mut change = seen(Snapshot, "K", &[("Name", "Eve")], 1);
    change.cursor = SourceCursor::Snapshot("scan".to_owned());
    world.see(&[change]).await;
    assert_eq!(
        world
            .ask("select remote_state -> 'fields' -> 'Name' ->> 'value' from syncline.sync_link")
            .await,
        "Eve",
        "timestamps of different orgs are not compared"
    );
}

#[tokio::test]
async fn observed_numbers_keep_every_digit() {
    let mut world = World::new().await;
    let mut created = seen(Created, "K", &[], 1);
    let digits = syncline::model::value::Decimal::parse("123456789").unwrap();
    created.fields.insert(
        field("NumberOfEmployees"),
        syncline::model::value::Value::Number(digits),
    );
    world.see(&[created]).await;
    world.apply().await;
    assert_eq!(
        world.ask("select employees from public.account").await,
        "123456789"
    );
}

//! Streams: one owner, and a position that moves by compare-and-set. Wake-ups: they do not multiply.

use syncline::model::SourceCursor;
use syncline::model::observation::ObservationKind::Changed;
use syncline::model::observation::SalesforceObservation;
use syncline::ports::capture_store::StreamPosition;
use syncline::ports::job_store::{DelayedWakeUp, NextWakeUp, StreamLease};
use syncline::ports::{CaptureStore, JobStore, ReconcileStore, StoreError, StreamName};

use super::world::{World, seen};

pub(crate) fn replay(id: u8) -> SourceCursor {
    SourceCursor::SalesforceReplayId(vec![0, id])
}

pub(crate) fn position(id: u8) -> StreamPosition {
    StreamPosition {
        cursor: replay(id),
        needs_resync: None,
        out_of_scope: 0,
    }
}

/// Gives the observation the position of an event.
pub(crate) fn event(seen: SalesforceObservation, id: u8) -> SalesforceObservation {
    SalesforceObservation {
        cursor: replay(id),
        ..seen
    }
}

pub(crate) fn events() -> StreamName {
    StreamName::from("events:/data/ChangeEvents")
}

pub(crate) async fn lease_events(world: &World, owner: &str) -> StreamLease {
    try_lease(world, owner).await.expect("the stream is free")
}

async fn try_lease(world: &World, owner: &str) -> Option<StreamLease> {
    world
        .store
        .acquire_stream(&world.mapped.tenant, &events(), owner, 60_000)
        .await
        .expect("the call succeeds")
}

#[tokio::test]
async fn stream_has_one_owner() {
    let mut world = World::new().await;
    let one = lease_events(&world, "one").await;
    assert!(
        one.needs_resync && one.position.is_none(),
        "never read: needs a resync"
    );
    assert!(try_lease(&world, "two").await.is_none());
    assert_eq!(
        lease_events(&world, "one").await.token,
        one.token,
        "renewed"
    );
    world.store.release_stream(&one).await.unwrap();
    let two = lease_events(&world, "two").await;
    assert!(two.token > one.token);
    world.store.release_stream(&one).await.unwrap();
    assert!(
        try_lease(&world, "three").await.is_none(),
        "a lost lease releases nothing"
    );
    world
        .sql("update syncline.sync_checkpoint set lease_until = syncline.clock() - interval '1 second'")
        .await;
    assert!(lease_events(&world, "three").await.token > two.token);
}

#[tokio::test]
async fn reader_that_lost_its_stream_records_nothing() {
    let mut world = World::new().await;
    world.synced("K", "Ada").await;
    let mut slow = lease_events(&world, "slow").await;
    world
        .sql("update syncline.sync_checkpoint set lease_until = syncline.clock() - interval '1 second'")
        .await;
    let mut fast = lease_events(&world, "fast").await;
    let fresh = event(seen(Changed, "K", &[("Name", "new")], 20), 9);
    world
        .store
        .record_observations(
            world.mapped_objects(),
            &[fresh],
            Some((&mut fast, position(9))),
        )
        .await
        .unwrap();
    assert_eq!(fast.position, Some(replay(9)));
    let old = event(seen(Changed, "K", &[("Name", "old")], 10), 8);
    let lost = world
        .store
        .record_observations(
            world.mapped_objects(),
            &[old],
            Some((&mut slow, position(8))),
        )
        .await;
    assert!(matches!(lost, Err(StoreError::LeaseLost(_))));
    let state = world
        .store
        .checkpoint(&world.mapped.tenant, &events())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(state.position, Some(replay(9)));
    assert_eq!(
        world
            .ask("select count(*) from syncline.sync_journal where payload ->> 'Name' = 'old'")
            .await,
        "0",
        "nothing of the batch was recorded"
    );
}

#[tokio::test]
async fn position_moves_only_from_the_expected_position() {
    let world = World::new().await;
    let mut lease = lease_events(&world, "one").await;
    let mut copy = lease.clone();
    let move_to = async |lease: &mut StreamLease, id| {
        world
            .store
            .record_observations(world.mapped_objects(), &[], Some((lease, position(id))))
            .await
    };
    move_to(&mut lease, 5).await.unwrap();
    assert!(
        move_to(&mut copy, 6).await.is_err(),
        "it expects no position"
    );
    move_to(&mut lease, 3).await.unwrap();
    assert_eq!(lease.position, Some(replay(3)), "bytes have no order");
}

#[tokio::test]
async fn conflict_does_not_stop_the_cursor() {
    let mut world = World::new().await;
    world.synced("K", "Ada").await;
    world.sql("update public.account set name = 'Eve'").await;
    world.capture().await;
    let mut lease = lease_events(&world, "one").await;
    let batch = [
        event(seen(Changed, "K", &[("Name", "Ida")], 10), 4),
        SalesforceObservation {
            object: syncline::model::ids::ObjectName::parse("Lead").unwrap(),
            ..event(seen(Changed, "other", &[], 10), 4)
        },
    ];
    let report = world
        .store
        .record_observations(
            world.mapped_objects(),
            &batch,
            Some((
                &mut lease,
                StreamPosition {
                    out_of_scope: 3,
                    needs_resync: Some(false),
                    ..position(4)
                },
            )),
        )
        .await
        .unwrap();
    let counts = report.counts;
    assert_eq!(
        (counts.seen, counts.journaled, counts.out_of_scope),
        (5, 1, 4)
    );
    assert_eq!(
        counts.seen,
        counts.journaled + counts.duplicate + counts.refused + counts.out_of_scope
    );
    world.apply().await;
    assert_eq!(
        world.ask("select state from syncline.record_status").await,
        "conflict"
    );
    assert!(!lease.needs_resync);
    assert_eq!(lease.position, Some(replay(4)));
}

#[tokio::test]
async fn resync_restarts_the_scan() {
    let world = World::new().await;
    let tenant = &world.mapped.tenant;
    let object = &world.mapped.sync.object;
    let scan = StreamName::from("scan:Account");
    let control = world.store.control(tenant).await.unwrap();
    assert!(control.needs_resync.contains(object), "never scanned");
    let mut lease = world
        .store
        .acquire_stream(tenant, &scan, "one", 60_000)
        .await
        .unwrap()
        .unwrap();
    let complete = StreamPosition {
        needs_resync: Some(false),
        ..position(1)
    };
    world
        .store
        .record_observations(world.mapped_objects(), &[], Some((&mut lease, complete)))
        .await
        .unwrap();
    let control = world.store.control(tenant).await.unwrap();
    assert!(control.needs_resync.is_empty());
    world
        .store
        .mark_needs_resync(tenant, std::slice::from_ref(object), "a gap")
        .await
        .unwrap();
    let state = world
        .store
        .checkpoint(tenant, &scan)
        .await
        .unwrap()
        .unwrap();
    assert!(state.needs_resync && state.position.is_none());
    let late = world
        .store
        .record_observations(world.mapped_objects(), &[], Some((&mut lease, position(2))))
        .await;
    assert!(late.is_err(), "a scan begun before does not count");
}

#[tokio::test]
async fn wake_ups_do_not_multiply() {
    let mut world = World::new().await;
    let claim = async |world: &World| {
        world
            .store
            .claim_permits(&world.mapped.tenant, 4, 10, 60_000)
            .await
            .unwrap()
            .into_iter()
            .map(|(_, permit)| permit)
            .collect::<Vec<_>>()
    };
    assert!(claim(&world).await.is_empty(), "no work, no wake-up");
    world
        .sql("insert into public.account (external_id) select 'K' || n from generate_series(1, 25) as n")
        .await;
    world.capture().await;
    assert_eq!(
        claim(&world).await,
        [0, 1, 2],
        "25 tasks need three wake-ups of ten tasks each"
    );
    assert!(claim(&world).await.is_empty(), "they are sent");
    let tenant = world.mapped.tenant.clone();
    let object = world.mapped.sync.object.clone();
    let delayed = DelayedWakeUp {
        permit: 4,
        within_ms: 60_000,
    };
    let keep = async |permit| {
        world
            .store
            .keep_or_free_permit(&tenant, &object, permit, 60_000, delayed)
            .await
            .unwrap()
    };
    assert_eq!(keep(1).await, NextWakeUp::Now, "work remains");
    let leases = world.lease().await;
    assert_eq!(leases.len(), 25);
    assert_eq!(keep(1).await, NextWakeUp::Unneeded, "the permit is free");
    world
        .sql("update syncline.sync_wake_up_permit set expires_at = syncline.clock() - interval '1 second'")
        .await;
    world
        .sql("update syncline.sync_task set lease_until = syncline.clock() - interval '1 second'")
        .await;
    world.store.sweep(world.mapped_objects()).await.unwrap();
    assert_eq!(
        claim(&world).await,
        [0, 1, 2],
        "expired permits are sent again"
    );
}

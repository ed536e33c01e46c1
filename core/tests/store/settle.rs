//! Settling: only under the fencing token; the task stays if new work came; a crashed worker's writes are
//! unknown.

use syncline::model::observation::ObservationKind::{Changed, Refresh};
use syncline::planner::policy::{Cause, NextStep};
use syncline::ports::apply_store::{SettledOutcome, Settlement};
use syncline::ports::job_store::WritesSent;
use syncline::ports::record::{LeaseEnd, ParkReason};
use syncline::ports::salesforce::{Disposition, Refusal};
use syncline::ports::{ApplyStore, JobStore, ReconcileStore};

use super::world::{World, applied, intended, kinds, seen, sf_id, values};

fn refusal(disposition: Disposition) -> Refusal {
    Refusal {
        code: "CODE".to_owned(),
        message: "refused".to_owned(),
        fields: Vec::new(),
        disposition,
    }
}

fn refused(disposition: Disposition, next: NextStep) -> SettledOutcome {
    SettledOutcome::Refused {
        refusal: refusal(disposition),
        sent: true,
        withheld: Vec::new(),
        next,
    }
}

async fn settle_as(world: &World, outcome: SettledOutcome) -> usize {
    let planned = world.apply().await;
    let settlements: Vec<Settlement<'_>> = planned
        .writes
        .iter()
        .map(|write| Settlement {
            write,
            outcome: outcome.clone(),
        })
        .collect();
    world
        .store
        .settle(&world.mapped, &settlements)
        .await
        .expect("writes are settled")
}

#[tokio::test]
async fn edit_during_the_write_keeps_the_task() {
    let mut world = World::new().await;
    world.synced("K", "zero").await;
    world.sql("update public.account set name = 'one'").await;
    world.capture().await;
    let planned = world.apply().await;
    world.sql("update public.account set name = 'zero'").await;
    world.capture().await;
    assert_eq!(world.settle(&planned).await, 0);
    assert_eq!(
        world
            .ask("select base ->> 'Name' from syncline.sync_link")
            .await,
        "one",
        "the base advances although the record has new work"
    );
    let reverted = world.apply().await;
    assert_eq!(
        intended(&reverted)[0].1.fields,
        values(&[("Name", "zero")]),
        "the revert is written"
    );
}

#[tokio::test]
async fn worker_that_lost_its_lease_settles_nothing() {
    let mut world = World::new().await;
    world
        .sql("insert into public.account (external_id, name) values ('K', 'Ada')")
        .await;
    world.capture().await;
    let planned = world.apply().await;
    world
        .sql("update syncline.sync_task set lease_until = syncline.clock() - interval '1 second'")
        .await;
    let report = world.store.sweep(world.mapped_objects()).await.unwrap();
    assert_eq!((report.leases_expired, report.intents_unknown), (1, 1));
    assert_eq!(world.settle(&planned).await, 1, "the lease is lost");
    assert_eq!(
        world.ask("select base::text from syncline.sync_link").await,
        "{}"
    );
    let leases = world.lease().await;
    assert!(
        leases[0].needs_refresh,
        "the outcome of the write is unknown: refresh"
    );
    world
        .see(&[seen(Refresh, "K", &[("Name", "Ada")], 5)])
        .await;
    assert_eq!(
        kinds(&world.plan(&leases).await),
        ["settled"],
        "it had an effect: no second create"
    );
    assert_eq!(
        world
            .ask("select string_agg(state, ',') from syncline.sync_intent")
            .await,
        "confirmed"
    );
    assert_eq!(
        world
            .ask("select salesforce_id from syncline.sync_link")
            .await,
        sf_id("K").to_string()
    );
}

#[tokio::test]
async fn record_with_an_open_write_is_not_leased() {
    let mut world = World::new().await;
    world
        .sql("insert into public.account (external_id) values ('K')")
        .await;
    world.capture().await;
    world.apply().await;
    world
        .sql(
            "update syncline.sync_task set state = 'ready', lease_owner = null, lease_until = null",
        )
        .await;
    assert!(world.lease().await.is_empty());
}

#[tokio::test]
async fn transient_refusals_retry_permanent_ones_park() {
    let mut world = World::new().await;
    world
        .sql("insert into public.account (external_id) values ('K')")
        .await;
    world.capture().await;
    let later = NextStep::Wait {
        delay_ms: 60_000,
        cause: Some(Cause::Refused),
    };
    settle_as(&world, refused(Disposition::RetryLater, later)).await;
    assert!(world.lease().await.is_empty(), "not due yet");
    assert_eq!(
        world
            .ask("select attempts::text from syncline.sync_task")
            .await,
        r#"{"refused": 1}"#
    );
    world
        .sql("update syncline.sync_task set due_at = syncline.clock()")
        .await;
    let quota = NextStep::Wait {
        delay_ms: 0,
        cause: None,
    };
    settle_as(&world, refused(Disposition::WaitForQuota, quota)).await;
    assert_eq!(
        world
            .ask("select attempts::text from syncline.sync_task")
            .await,
        r#"{"refused": 1}"#
    );
    settle_as(&world, refused(Disposition::Park, NextStep::Park)).await;
    assert_eq!(
        world
            .ask("select state || code from syncline.sync_task")
            .await,
        "parkedCODE"
    );
    let dead_letters = world
        .store
        .dead_letters(&world.mapped.tenant, None, 9)
        .await
        .unwrap();
    assert_eq!(
        (dead_letters.len(), dead_letters[0].message.as_str()),
        (1, "refused")
    );
    world.sql("update public.account set name = 'fixed'").await;
    world.capture().await;
    assert_eq!(
        world
            .ask("select state || attempts::text from syncline.sync_task")
            .await,
        "ready{}"
    );
    let dead_letters = world
        .store
        .dead_letters(&world.mapped.tenant, None, 9)
        .await
        .unwrap();
    assert!(
        dead_letters.is_empty(),
        "a new change closes the dead letter"
    );
}

#[tokio::test]
async fn unknown_write_is_refreshed_and_not_repeated() {
    let mut world = World::new().await;
    world.synced("K", "Ada").await;
    world
        .see(&[seen(Refresh, "K", &[("Name", "Ada")], 5)])
        .await;
    world.apply().await;
    world.sql("update public.account set name = 'two'").await;
    world.capture().await;
    let unknown = SettledOutcome::Unknown {
        next: NextStep::Refresh {
            delay_ms: 0,
            cause: Cause::Unknown,
        },
    };
    settle_as(&world, unknown).await;
    let leases = world.lease().await;
    assert!(leases[0].needs_refresh);
    world
        .see(&[seen(Refresh, "K", &[("Name", "three")], 6)])
        .await;
    let planned = world.plan(&leases).await;
    assert!(
        intended(&planned).is_empty(),
        "the user's value is not overwritten by a repeated write"
    );
    assert_eq!(
        world.ask("select state from syncline.record_status").await,
        "conflict"
    );
    assert_eq!(
        world.ask("select string_agg(distinct state, ',') from syncline.sync_intent where fields ->> 'Name' = 'two'").await,
        "abandoned"
    );
}

#[tokio::test]
async fn response_with_another_records_id_parks_the_record() {
    let mut world = World::new().await;
    world.synced("K1", "Ada").await;
    world
        .sql("insert into public.account (external_id) values ('K2')")
        .await;
    world.capture().await;
    let planned = world.apply().await;
    let settlement = applied(&planned.writes[0], sf_id("K1"));
    world
        .store
        .settle(&world.mapped, &[settlement])
        .await
        .unwrap();
    assert_eq!(
        world.ask("select code from syncline.sync_task").await,
        "duplicate_key"
    );
}

#[tokio::test]
async fn released_lease_is_due_after_its_delay() {
    let mut world = World::new().await;
    world
        .sql("insert into public.account (external_id) values ('K')")
        .await;
    world.capture().await;
    let lease = world.lease().await.remove(0);
    let wait = LeaseEnd::wait(0, None, "no time left");
    world
        .store
        .release_tasks(&world.mapped, &[(lease.clone(), wait)])
        .await
        .unwrap();
    let again = world.lease().await;
    assert_eq!((again.len(), again[0].attempts.any()), (1, false));
    let park = LeaseEnd::park(ParkReason {
        code: "attempts_exhausted".to_owned(),
        field: None,
        message: "tried too often".to_owned(),
    });
    world
        .store
        .release_tasks(&world.mapped, &[(lease, park.clone())])
        .await
        .unwrap();
    assert_eq!(
        world.ask("select state from syncline.sync_task").await,
        "leased",
        "a lost lease parks nothing"
    );
    world
        .store
        .release_tasks(&world.mapped, &[(again[0].clone(), park)])
        .await
        .unwrap();
    assert_eq!(
        world.ask("select state from syncline.sync_task").await,
        "parked"
    );
}

#[tokio::test]
async fn missing_echo_causes_a_refresh() {
    let mut world = World::new().await;
    world
        .sql("insert into public.account (external_id, name) values ('K', 'Ada')")
        .await;
    world.sync().await;
    assert_eq!(
        world
            .store
            .sweep(world.mapped_objects())
            .await
            .unwrap()
            .echoes_missing,
        0
    );
    world
        .sql("update syncline.sync_intent set updated_at = syncline.clock() - interval '1 hour'")
        .await;
    assert_eq!(
        world
            .store
            .sweep(world.mapped_objects())
            .await
            .unwrap()
            .echoes_missing,
        1
    );
    assert!(world.lease().await[0].needs_refresh);
}

#[tokio::test]
async fn paused_tenant_captures_but_leases_nothing() {
    let mut world = World::new().await;
    let tenant = world.mapped.tenant.clone();
    world
        .store
        .set_paused(&tenant, true, Some("maintenance"))
        .await
        .unwrap();
    world
        .sql("insert into public.account (external_id) values ('K')")
        .await;
    assert_eq!(world.capture().await.counts.journaled, 1);
    assert!(world.lease().await.is_empty());
    assert!(
        world
            .store
            .claim_permits(&tenant, 1, 1, 1)
            .await
            .unwrap()
            .is_empty()
    );
    let status = world.store.status(&tenant).await.unwrap();
    assert_eq!(status.paused.as_deref(), Some("maintenance"));
    world.store.set_paused(&tenant, false, None).await.unwrap();
    assert!(!world.store.control(&tenant).await.unwrap().paused);
    assert_eq!(world.lease().await.len(), 1);
    world.see(&[seen(Changed, "other", &[], 1)]).await;
}

#[tokio::test]
async fn unsent_write_is_refreshed_when_its_worker_gives_up() {
    let mut world = World::new().await;
    world
        .sql("insert into public.account (external_id, name) values ('K', 'Ada')")
        .await;
    world.capture().await;
    let planned = world.apply().await;
    let leases: Vec<_> = intended(&planned)
        .into_iter()
        .map(|(lease, _)| lease.clone())
        .collect();
    let give_up = |writes_sent| {
        world
            .store
            .abandon_tasks(&world.mapped, &leases, writes_sent)
    };

    give_up(WritesSent::Maybe).await.expect("leases are ended");
    assert!(
        world.lease().await.is_empty(),
        "the write may have been sent"
    );

    give_up(WritesSent::No).await.expect("leases are ended");
    give_up(WritesSent::No)
        .await
        .expect("an ended lease is left alone");
    let again = world.lease().await;
    assert_eq!(
        (
            again.len(),
            again[0].needs_refresh,
            again[0].attempts.of(Cause::Abandoned)
        ),
        (1, true, 1)
    );
    assert_eq!(
        world.settle(&planned).await,
        1,
        "the old lease settles nothing"
    );
}

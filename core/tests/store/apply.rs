//! Planning and writing: only locked rows, one transaction, an invalid row stops no other.

use std::time::{Duration, Instant};
use syncline::ports::{ApplyStore, CaptureStore, ReconcileStore};

use syncline::model::observation::ObservationKind::{Changed, Created, Deleted, Snapshot};

use super::world::{Planner, World, execute, intended, kinds, seen, values};

#[tokio::test]
async fn new_row_is_created_in_salesforce_once() {
    let mut world = World::new().await;
    world
        .sql("insert into public.account (external_id, name) values ('K', 'Ada')")
        .await;
    world.capture().await;
    let planned = world.apply().await;
    assert_eq!(kinds(&planned), ["intended"]);
    assert!(
        world.lease().await.is_empty(),
        "it is leased and its intent is open"
    );
    assert_eq!(world.settle(&planned).await, 0, "no lease was lost");
    assert_eq!(
        world.ask("select count(*) from syncline.sync_task").await,
        "0"
    );
    assert_eq!(
        world
            .ask("select base ->> 'Name' from syncline.sync_link where agreed")
            .await,
        "Ada"
    );
}

#[tokio::test]
async fn record_created_in_salesforce_is_inserted_but_not_captured() {
    let mut world = World::new().await;
    world
        .see(&[seen(Created, "K", &[("Name", "Ada")], 1)])
        .await;
    assert_eq!(kinds(&world.apply().await), ["settled"]);
    assert_eq!(world.ask("select name from public.account").await, "Ada");
    assert_eq!(
        world.ask("select count(*) from syncline.sync_outbox").await,
        "0"
    );
    assert_eq!(
        world.ask("select count(*) from syncline.engine_tx").await,
        "0"
    );
    assert_eq!(
        world.ask("select state from syncline.record_status").await,
        "in_sync"
    );
}

#[tokio::test]
async fn writes_of_customer_triggers_after_ours_are_captured() {
    let mut world = World::new().await;
    world
        .sql(
            "create function shout() returns trigger language plpgsql as $$
            begin
                new.name := upper(new.name);
                return new;
            end $$;
            create trigger shout before insert or update on public.account
            for each row execute function shout();
            create function follow() returns trigger language plpgsql as $$
            begin
                if new.external_id = 'K' then
                    update public.account set phone = new.phone where external_id = 'other';
                end if;
                return null;
            end $$;
            insert into public.account (external_id, name) values ('other', 'OTHER');
            create trigger follow after insert or update on public.account
            for each row execute function follow();",
        )
        .await;
    world.sync().await;
    world
        .see(&[seen(Created, "K", &[("Name", "Ada"), ("Phone", "7")], 1)])
        .await;
    // The trigger changed the row, so that it is planned again.
    assert_eq!(kinds(&world.apply().await), ["requeued"]);
    assert_eq!(
        world
            .ask("select string_agg(external_id, ',') from syncline.sync_outbox")
            .await,
        "other",
        "the nested change, not our own"
    );
    let planned = world.apply().await;
    let writes = intended(&planned);
    assert_eq!(
        writes[0].1.fields,
        values(&[("Name", "ADA")]),
        "the rewritten value is an edit"
    );
}

#[tokio::test]
async fn row_locked_by_a_user_is_requeued_not_overwritten() {
    let mut world = World::new().await;
    world.synced("K1", "Ada").await;
    world.synced("K2", "Bob").await;
    world
        .see(&[
            seen(Changed, "K1", &[("Name", "from Salesforce")], 10),
            seen(Changed, "K2", &[("Name", "from Salesforce")], 10),
        ])
        .await;
    let mut other = world.database.connect().await;
    execute(
        &mut other,
        "begin; update public.account set name = 'from a user' where external_id = 'K1'",
    )
    .await;
    let began = Instant::now();
    assert_eq!(kinds(&world.apply().await), ["requeued", "settled"]);
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "one locked row delays no other"
    );
    execute(&mut other, "commit").await;
    world.capture().await;
    world
        .sql("update syncline.sync_task set due_at = syncline.clock()")
        .await;
    assert_eq!(kinds(&world.apply().await), ["settled"]);
    assert_eq!(
        world
            .ask("select name from public.account where external_id = 'K1'")
            .await,
        "from a user"
    );
    let conflicts = world
        .store
        .conflicts(&world.mapped.tenant, &Default::default(), 10)
        .await
        .unwrap();
    assert_eq!(conflicts.len(), 1, "both edits are in the conflict");
}

#[tokio::test]
async fn moving_a_row_between_partitions_is_not_a_delete() {
    let table = "create table public.account (
        id bigint generated always as identity,
        external_id text,
        name text,
        phone text,
        employees integer,
        parent_external_id text,
        region text not null default 'a',
        primary key (id, region)
    ) partition by list (region);
    create table public.account_a partition of public.account for values in ('a');
    create table public.account_b partition of public.account for values in ('b');
    create index on public.account (external_id)";
    let mut world = World::with(table, super::world::account()).await;
    world.synced("K", "Ada").await;
    world.sql("update public.account set region = 'b'").await;
    assert_eq!(
        world.ask("select count(*) from syncline.sync_outbox").await,
        "0",
        "no mapped column changed"
    );
    // Logical replication fires the triggers of rows, which see two changes.
    world
        .sql(
            "set session_replication_role = replica;
            update public.account set region = 'a';
            reset session_replication_role",
        )
        .await;
    assert_eq!(
        world
            .ask("select string_agg(operation, ',' order by outbox_id) from syncline.sync_outbox")
            .await,
        "delete,insert"
    );
    let report = world
        .store
        .capture_outbox(world.mapped_objects(), 1)
        .await
        .unwrap();
    assert_eq!(report.counts.journaled, 1, "the batch ends between them");
    assert_eq!(
        kinds(&world.apply().await),
        ["settled"],
        "the row still exists: nothing to do"
    );
    world.capture().await;
    assert_eq!(kinds(&world.apply().await), ["settled"]);
}

#[tokio::test]
async fn only_refused_columns_of_a_row_are_parked() {
    let mut world = World::new().await;
    let names: Vec<String> = (0..20).map(|n| format!("K{n}")).collect();
    let mut seen_all: Vec<_> = names
        .iter()
        .map(|name| seen(Created, name, &[("Name", name)], 1))
        .collect();
    seen_all.push(seen(
        Created,
        "long",
        &[("Phone", "more than twenty characters long")],
        1,
    ));
    seen_all.push({
        let mut negative = seen(Created, "negative", &[], 1);
        let five = syncline::model::value::Decimal::parse("-5").unwrap();
        negative.fields.insert(
            super::world::field("NumberOfEmployees"),
            syncline::model::value::Value::Number(five),
        );
        negative
    });
    world.see(&seen_all).await;
    let decisions = kinds(&world.apply().await);
    assert_eq!(
        decisions.iter().filter(|kind| *kind == "settled").count(),
        20
    );
    assert_eq!(
        decisions[..2],
        ["parked:constraint_violation", "parked:invalid_value"]
    );
    assert_eq!(world.ask("select count(*) from public.account").await, "22");
    assert_eq!(
        world
            .ask("select count(*) from public.account where phone is null and employees is null")
            .await,
        "22"
    );
    let dead_letters = world
        .store
        .dead_letters(&world.mapped.tenant, None, 10)
        .await
        .unwrap();
    let named = dead_letters
        .iter()
        .any(|dead_letter| dead_letter.message.contains("account_employees_check"));
    assert!(named, "the constraint is named: {dead_letters:?}");
    assert_eq!(
        world
            .ask("select string_agg(distinct state, ',') from syncline.record_status")
            .await,
        "in_sync,parked"
    );
}

#[tokio::test]
async fn child_waits_for_its_parent() {
    let mut world = World::new().await;
    let parent = super::world::sf_id("parent");
    world
        .see(&[seen(Created, "parent", &[("Name", "P")], 1)])
        .await;
    let leases = world.lease().await;
    let mut child = seen(Created, "child", &[("Name", "C")], 1);
    child.fields.insert(
        super::world::field("ParentId"),
        syncline::model::value::Value::text(parent.as_str()),
    );
    world.see(&[child]).await;
    assert_eq!(
        kinds(&world.apply().await),
        ["requeued"],
        "the parent's row does not exist yet"
    );
    world.plan(&leases).await;
    assert_eq!(kinds(&world.apply().await), ["settled"]);
    assert_eq!(
        world
            .ask("select parent_external_id from public.account where external_id = 'child'")
            .await,
        "parent"
    );
}

#[tokio::test]
async fn row_that_appears_during_insert_is_planned_again() {
    let mut world = World::new().await;
    world
        .see(&[seen(Created, "K", &[("Name", "from Salesforce")], 1)])
        .await;
    let mut other = world.database.connect().await;
    execute(
        &mut other,
        "begin; insert into public.account (external_id, name) values ('K', 'from a user')",
    )
    .await;
    let leases = world.lease().await;
    let planner = Planner::new(&world.mapped);
    let planning = world.store.plan_and_write(&world.mapped, &leases, &planner);
    let committing = async {
        // The insert waits for the user's transaction; a third connection sees that it waits.
        let mut third = world.database.connect().await;
        let waiting = "select exists (
            select from pg_locks as lock
            join pg_stat_activity as session using (pid)
            where not lock.granted
            and session.datname = current_database()
        )";
        while super::world::ask(&mut third, waiting).await != "true" {
            tokio::task::yield_now().await;
        }
        execute(&mut other, "commit").await;
    };
    let (planned, ()) = tokio::join!(planning, committing);
    assert_eq!(kinds(&planned.unwrap()), ["requeued"]);
    assert_eq!(
        world.ask("select name from public.account").await,
        "from a user"
    );
}

#[tokio::test]
async fn deletes_of_either_side_end_the_link() {
    let mut world = World::new().await;
    world.synced("K1", "Ada").await;
    world.synced("K2", "Bob").await;
    world.see(&[seen(Deleted, "K1", &[], 10)]).await;
    assert_eq!(kinds(&world.apply().await), ["settled"]);
    assert_eq!(
        world
            .ask("select string_agg(external_id, ',') from public.account")
            .await,
        "K2"
    );
    world.sql("delete from public.account").await;
    let planned = world.sync().await;
    assert_eq!(kinds(&planned), ["intended"]);
    assert_eq!(
        world
            .ask(
                "select count(*) from syncline.sync_link where agreed or salesforce_id is not null"
            )
            .await,
        "0"
    );
    assert_eq!(
        world
            .ask("select count(*) from syncline.record_status")
            .await,
        "0"
    );
}

#[tokio::test]
async fn expired_lease_plans_nothing() {
    let mut world = World::new().await;
    world
        .sql("insert into public.account (external_id) values ('K')")
        .await;
    world.capture().await;
    let expired = world.lease().await;
    world
        .sql("update syncline.sync_task set lease_until = syncline.clock() - interval '1 second'")
        .await;
    assert!(
        kinds(&world.plan(&expired).await).is_empty(),
        "it has expired"
    );
    world.store.sweep(world.mapped_objects()).await.unwrap();
    let fresh = world.lease().await;
    assert!(fresh[0].token > expired[0].token);
    assert!(
        kinds(&world.plan(&expired).await).is_empty(),
        "another worker has the lease"
    );
    assert_eq!(kinds(&world.plan(&fresh).await), ["intended"]);
}

#[tokio::test]
async fn conflict_withholds_only_its_field() {
    let mut world = World::new().await;
    world.synced("K", "Ada").await;
    world
        .sql("update public.account set name = 'Eve', phone = '1'")
        .await;
    world
        .see(&[seen(Changed, "K", &[("Name", "Ida")], 10)])
        .await;
    world.capture().await;
    let planned = world.apply().await;
    let writes = intended(&planned);
    assert_eq!(writes[0].1.fields, values(&[("Phone", "1")]));
    let unchanged = seen(Snapshot, "K", &[("Name", "Ida")], 10);
    world.settle(&planned).await;
    assert_eq!(
        world.ask("select state from syncline.record_status").await,
        "conflict"
    );
    assert_eq!(world.see(&[unchanged]).await.counts.journaled, 1);
}

#[tokio::test]
async fn external_id_renamed_in_salesforce_renames_the_row() {
    let mut world = World::new().await;
    world.synced("K1", "Ada").await;
    let renamed = seen(Changed, "K1", &[("External_Id__c", "K9")], 10);
    world.see(&[renamed]).await;
    let planned = world.apply().await;
    assert_eq!((planned.settled, planned.rows_written), (1, 1));
    assert_eq!(
        world.ask("select external_id from public.account").await,
        "K9"
    );
    assert_eq!(
        world
            .ask("select string_agg(canonical_id, ',') from syncline.sync_link")
            .await,
        "k9"
    );
    world.sql("update public.account set name = 'Eve'").await;
    assert_eq!(
        kinds(&world.sync().await),
        ["intended"],
        "it is still the same record"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_workers_create_each_record_once() {
    const RECORDS: usize = 240;
    let mut world = World::new().await;
    let mut users = world.database.connect().await;
    let editing = async {
        for chunk in 0..RECORDS / 20 {
            let insert = format!(
                "insert into public.account (external_id, name)
                select 'K' || n, 'Ada' from generate_series({}, {}) as n;
                update public.account set phone = '1' where id % 7 = {};",
                chunk * 20,
                chunk * 20 + 19,
                chunk % 7
            );
            execute(&mut users, &insert).await;
        }
    };
    let agreed = "select count(*) from syncline.sync_link where agreed";
    let capturing = async |connection: &mut sqlx::PgConnection| {
        while super::world::ask(connection, agreed).await != RECORDS.to_string() {
            world.capture().await;
        }
    };
    let working = async |name: &str, connection: &mut sqlx::PgConnection| {
        while super::world::ask(connection, agreed).await != RECORDS.to_string() {
            let leases = world
                .store
                .lease_tasks(&world.mapped, 30, name, 60_000)
                .await
                .expect("tasks are leased");
            let planned = world.plan(&leases).await;
            assert_eq!(world.settle(&planned).await, 0, "no lease is lost");
        }
    };
    let mut own = Vec::new();
    for _ in 0..4 {
        own.push(world.database.connect().await);
    }
    let [one, two, three, four] = own.as_mut_slice() else {
        panic!("four connections");
    };
    tokio::join!(
        editing,
        capturing(one),
        capturing(two),
        working("one", three),
        working("two", four),
    );
    world.sync().await;
    assert_eq!(
        world
            .ask("select count(*) from syncline.sync_intent where action = 'create'")
            .await,
        RECORDS.to_string()
    );
    assert_eq!(
        world
            .ask("select count(distinct salesforce_id) from syncline.sync_link")
            .await,
        RECORDS.to_string()
    );
}

//! Capture from the outbox: no change is lost or skipped, and renamed rows stay the same records.

use std::sync::Arc;
use std::time::Duration;

use syncline::model::ids::{RecordId, RelationName};
use syncline::model::key::KeyForm;
use syncline::model::schema::FieldType;
use syncline::ports::record::{LeaseEnd, ParkReason};
use syncline::ports::{ApplyStore, CaptureStore, ReconcileStore};

use super::world::{World, account, ask, execute, kinds};

/// Returns the number of waiting outbox rows.
async fn waiting(world: &mut World) -> String {
    world.ask("select count(*) from syncline.sync_outbox").await
}

#[tokio::test]
async fn late_commit_is_not_skipped() {
    let mut world = World::new().await;
    let mut late = world.database.connect().await;
    execute(&mut late, "begin").await;
    execute(
        &mut late,
        "insert into public.account (external_id, name) values ('first-id', 'late')",
    )
    .await;
    world
        .sql("insert into public.account (external_id, name) values ('second-id', 'early')")
        .await;
    assert_eq!(world.capture().await.counts.journaled, 1);
    execute(&mut late, "commit").await;
    assert_eq!(
        world.capture().await.counts.journaled,
        1,
        "the row with the lower id, committed after the higher one was captured"
    );
    assert_eq!(waiting(&mut world).await, "0");
}

#[tokio::test]
async fn edit_of_another_tenant_with_the_same_number_stays() {
    let mut world = World::new().await;
    world
        .sql("insert into public.account (external_id) values ('K')")
        .await;
    // Numbers are in no constraint: a replica that takes over may have given one again.
    world
        .sql(
            "insert into syncline.sync_outbox (outbox_id, tenant, object, operation, external_id, tombstone)
            overriding system value
            select outbox_id, 'other', object, operation, external_id, tombstone
            from syncline.sync_outbox",
        )
        .await;
    assert_eq!(world.capture().await.counts.seen, 1);
    assert_eq!(
        world
            .ask("select string_agg(tenant, ',') from syncline.sync_outbox")
            .await,
        "other"
    );
}

#[tokio::test]
async fn only_one_capture_drains_a_tenant_at_a_time() {
    let mut world = World::new().await;
    world
        .sql("insert into public.account (external_id) select 'K' || n from generate_series(1, 50) as n")
        .await;
    let (one, two) = tokio::join!(
        world.store.capture_outbox(world.mapped_objects(), 50),
        world.store.capture_outbox(world.mapped_objects(), 50),
    );
    let journaled = [one, two].map(|report| report.unwrap().counts.journaled);
    assert_eq!(journaled.iter().sum::<usize>(), 50);
    assert_eq!(
        world.ask("select count(*) from syncline.sync_link").await,
        "50"
    );
}

#[tokio::test]
async fn outbox_rows_with_the_same_cursor_are_all_captured() {
    let mut world = World::new().await;
    for key in ["A", "B", "A"] {
        world
            .sql(&format!(
                "select syncline.emit('Account', 'update', '{key}', '{{\"name\": \"x\"}}', 'lsn-1')"
            ))
            .await;
    }
    world
        .sql("select syncline.emit('Account', 'update', 'A', '{\"name\": \"y\"}', 'lsn-1')")
        .await;
    let report = world.capture().await;
    assert_eq!(report.counts.journaled, 3, "A, B, and A with other content");
    assert_eq!(report.counts.duplicate, 1, "A with the same content");
    assert_eq!(
        report.counts.seen,
        report.counts.journaled + report.counts.duplicate
    );
}

#[tokio::test]
async fn change_that_is_nested_deeply_stops_no_other() {
    let mut world = World::new().await;
    world
        .sql(
            "select syncline.emit('Account', 'update', 'good-1');
            select syncline.emit('Account', 'update', 'deep', (repeat('[', 200) || repeat(']', 200))::jsonb);
            insert into syncline.sync_outbox (tenant, object, operation, local_key, tombstone)
            select 'acme', 'Account', 'update', (repeat('{\"a\":', 200) || '1' || repeat('}', 200))::jsonb, false;
            select syncline.emit('Account', 'update', 'good-2');",
        )
        .await;
    let report = world.capture().await;
    assert_eq!((report.counts.journaled, report.counts.refused), (3, 1));
    assert_eq!(waiting(&mut world).await, "0");
}

#[tokio::test]
async fn only_invalid_outbox_rows_become_dead_letters() {
    let mut world = World::new().await;
    world
        .sql(
            "select syncline.emit('Account', 'update', 'good-1');
            select syncline.emit('Account', 'upsert', 'K');
            select syncline.emit('Account', 'update', '  ');
            select syncline.emit('', 'update', 'K');
            select syncline.emit('Account', 'update', 'K', null, 'snapshot:1');
            select syncline.emit('Lead', 'update', 'K');
            insert into syncline.sync_outbox (tenant, object, operation, external_id, tombstone)
            values ('acme', 'Account', 'delete', 'K', false), (' ', 'Account', 'update', 'K', false);
            select syncline.emit('Account', 'update', 'good-2');",
        )
        .await;
    let report = world.capture().await;
    assert_eq!(report.counts.journaled, 2);
    assert_eq!(report.counts.refused, 6);
    assert_eq!(report.counts.out_of_scope, 1);
    assert_eq!(report.counts.seen, 9);
    let dead_letters = world
        .store
        .dead_letters(&world.mapped.tenant, None, 100)
        .await
        .unwrap();
    assert_eq!(
        dead_letters.len(),
        6,
        "each is visible to the tenant, even the one without a tenant"
    );
    assert!(
        dead_letters
            .iter()
            .all(|dead_letter| dead_letter.payload.is_some())
    );
}

#[tokio::test]
async fn refused_row_can_be_replayed() {
    let mut world = World::new().await;
    world
        .sql("select syncline.emit('Account', 'upsert', 'K')")
        .await;
    world.capture().await;
    let dead_letter = world
        .store
        .dead_letters(&world.mapped.tenant, None, 1)
        .await
        .unwrap()
        .remove(0);
    let tenant = &world.mapped.tenant;
    let id = dead_letter.dead_letter_id;
    assert!(world.store.replay_dead_letter(tenant, id).await.unwrap());
    assert!(!world.store.replay_dead_letter(tenant, id).await.unwrap());
    assert_eq!(
        world.capture().await.counts.refused,
        1,
        "it is still invalid"
    );
}

#[tokio::test]
async fn change_of_unmapped_columns_is_not_captured() {
    let mut world = World::new().await;
    world
        .sql("insert into public.account (external_id) values ('K')")
        .await;
    world.capture().await;
    world.sql("update public.account set note = 'x'").await;
    world.sql("update public.account set name = name").await;
    assert_eq!(waiting(&mut world).await, "0");
}

#[tokio::test]
async fn rename_keeps_the_record_and_its_salesforce_id() {
    let mut world = World::new().await;
    world.synced("K1", "Ada").await;
    let record = world
        .ask("select record_id || salesforce_id from syncline.sync_link")
        .await;
    world
        .sql("update public.account set external_id = 'K2' where external_id = 'K1'")
        .await;
    world.capture().await;
    assert_eq!(
        world
            .ask("select record_id || salesforce_id from syncline.sync_link where canonical_id = 'k2'")
            .await,
        record
    );
    assert_eq!(
        world
            .ask(
                "select string_agg(value, ',' order by valid_from) from syncline.sync_link_alias
                where kind = 'external_id' and valid_to is not null"
            )
            .await,
        "K1",
        "the former external id is kept as an alias"
    );
    let planned = world.apply().await;
    assert_eq!(
        kinds(&planned),
        ["intended"],
        "an update, not a delete and a create"
    );
}

#[tokio::test]
async fn rows_that_swap_external_ids_keep_their_records() {
    let mut world = World::new().await;
    world.synced("K1", "Ada").await;
    world.synced("K2", "Bob").await;
    let of = "select string_agg(external_id || salesforce_id, ',' order by record_id) from syncline.sync_link";
    let before = world.ask(of).await;
    world
        .sql(
            "begin;
            update public.account set external_id = 'swap' where external_id = 'K1';
            update public.account set external_id = 'K1' where external_id = 'K2';
            update public.account set external_id = 'K2' where external_id = 'swap';
            commit",
        )
        .await;
    world.capture().await;
    let after = world.ask(of).await;
    let swapped = before
        .replace("K1", "swap")
        .replace("K2", "K1")
        .replace("swap", "K2");
    assert_eq!(after, swapped);
    assert_eq!(kinds(&world.apply().await), ["intended", "intended"]);
}

#[tokio::test]
async fn rename_not_yet_captured_is_not_a_delete() {
    let mut world = World::new().await;
    world.synced("K1", "Ada").await;
    world.sql("update public.account set name = 'Eve'").await;
    world.capture().await;
    world
        .sql("update public.account set external_id = 'K2'")
        .await;
    let leases = world.lease().await;
    assert_eq!(kinds(&world.plan(&leases).await), ["requeued"]);
    world.capture().await;
    world
        .sql("update syncline.sync_task set due_at = syncline.clock()")
        .await;
    let planned = world.apply().await;
    assert_eq!(kinds(&planned), ["intended"]);
    assert_eq!(
        world
            .ask("select string_agg(action, ',' order by created_at) from syncline.sync_intent")
            .await,
        "create,update"
    );
}

#[tokio::test]
async fn external_ids_that_differ_only_by_case_park() {
    let mut world = World::new().await;
    world
        .sql("insert into public.account (external_id) values ('ab-1'), ('AB-1')")
        .await;
    world.capture().await;
    assert_eq!(
        world.ask("select count(*) from syncline.sync_link").await,
        "1"
    );
    assert_eq!(kinds(&world.apply().await), ["parked:duplicate_key"]);
    let found = world.store.duplicate_keys(&world.mapped, 10).await.unwrap();
    assert_eq!(found[0].external_ids, ["AB-1", "ab-1"]);
    world
        .sql("update public.account set external_id = 'ab-2' where external_id = 'AB-1'")
        .await;
    world.capture().await;
    world.capture().await;
    assert_eq!(
        kinds(&world.apply().await),
        ["intended", "intended"],
        "both continue: each has its own record now"
    );
}

#[tokio::test]
async fn generated_external_id_stays_the_same() {
    let mut world = World::new().await;
    world
        .sql("insert into public.account (name) values ('Ada')")
        .await;
    world.capture().await;
    let generated = world
        .ask("select external_id from syncline.sync_link")
        .await;
    world.sql("update public.account set phone = '1'").await;
    world.capture().await;
    assert_eq!(
        world
            .ask("select string_agg(external_id, ',') from syncline.sync_link")
            .await,
        generated
    );
    let planned = world.apply().await;
    world.settle(&planned).await;
    let again = world.sync().await;
    world.settle(&again).await;
    assert_eq!(
        world.ask("select external_id from public.account").await,
        generated
    );
    assert_eq!(
        waiting(&mut world).await,
        "0",
        "our own write is not captured"
    );
}

#[tokio::test]
async fn truncate_creates_a_task_for_every_record() {
    let mut world = World::new().await;
    world.synced("K1", "Ada").await;
    world.synced("K2", "Bob").await;
    world.sql("truncate public.account").await;
    assert_eq!(world.capture().await.dirty, 2);
    let planned = world.apply().await;
    assert_eq!(kinds(&planned), ["intended", "intended"]);
    world.settle(&planned).await;
    assert_eq!(
        world
            .ask(
                "select count(*) from syncline.sync_link where salesforce_id is null and not agreed"
            )
            .await,
        "2"
    );
}

#[tokio::test]
async fn parked_record_starts_over_with_any_new_work() {
    let mut world = World::new().await;
    world.synced("K", "Ada").await;
    let mut other = world.mapped.clone();
    let mut sync = (*other.sync).clone();
    sync.table.table = RelationName::parse("account_two").unwrap();
    other.sync = Arc::new(sync);
    world
        .sql("create table public.account_two (like public.account including all)")
        .await;
    for way in ["change", "truncate", "another table"] {
        park(&mut world).await;
        match way {
            "change" => world.sql("update public.account set name = 'Eve'").await,
            "truncate" => world.sql("truncate public.account").await,
            _ => world.store.install(&[other.clone()]).await.unwrap(),
        }
        world.capture().await;
        let task =
            "select state || coalesce(code, '') || coalesce(reason, '') from syncline.sync_task";
        assert_eq!(world.ask(task).await, "ready", "{way}");
        let open = "select count(*) from syncline.sync_dead_letter where closed_at is null";
        assert_eq!(world.ask(open).await, "0", "{way}");
        let leases = world.lease().await;
        assert_eq!(
            (leases.len(), leases[0].attempts.any()),
            (1, false),
            "{way}"
        );
        world
            .store
            .release_tasks(
                &world.mapped,
                &[(leases[0].clone(), LeaseEnd::wait(0, None, "test"))],
            )
            .await
            .unwrap();
    }
}

/// Parks the one record of this world.
async fn park(world: &mut World) {
    let record = world.ask("select record_id from syncline.sync_link").await;
    let record = RecordId(record.parse().unwrap());
    world
        .store
        .enqueue_repair(&world.mapped, &[record], &[])
        .await
        .unwrap();
    let leases = world.lease().await;
    let reason = ParkReason {
        code: "attempts_exhausted".to_owned(),
        field: None,
        message: "tried too often".to_owned(),
    };
    let park = (leases[0].clone(), LeaseEnd::park(reason));
    world
        .store
        .release_tasks(&world.mapped, &[park])
        .await
        .unwrap();
    let parked = world.ask("select state from syncline.sync_task").await;
    assert_eq!(parked, "parked");
}

#[tokio::test]
async fn numeric_external_ids_compare_as_doubles() {
    let table = "create table public.account (
        id bigint generated always as identity primary key,
        external_id numeric unique,
        name text not null default '',
        phone varchar(20),
        employees integer,
        parent_external_id numeric,
        note text
    )";
    let mut world = World::with(table, account()).await;
    let mut schema = (*world.mapped.schema).clone();
    let key = &world.mapped.sync.external_id.field;
    schema.fields.get_mut(key).unwrap().field_type = FieldType::Decimal {
        precision: 18,
        scale: 0,
    };
    world.mapped.schema = Arc::new(schema);
    // Different decimals, one double.
    world
        .sql("insert into public.account (external_id) values (9007199254740993), (9007199254740992), (7)")
        .await;
    let found = world.store.duplicate_keys(&world.mapped, 10).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].external_ids,
        ["9007199254740992", "9007199254740993"]
    );
    assert_eq!(
        KeyForm::Numeric.canonical("9007199254740993"),
        Ok(found[0].canonical_id.clone())
    );
}

#[tokio::test]
async fn existing_rows_are_enqueued_page_by_page() {
    let mut world = World::new().await;
    world
        .sql(
            "alter table public.account disable trigger all;
            insert into public.account (external_id) select 'K' || n from generate_series(1, 5) as n;
            insert into public.account (name) values ('no key');
            alter table public.account enable trigger user",
        )
        .await;
    let mut after = None;
    let mut pages = Vec::new();
    loop {
        let page = world
            .store
            .enqueue_existing_rows(&world.mapped, after.as_deref(), 4)
            .await
            .unwrap();
        pages.push(page.0);
        after = page.1;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(pages, [4, 2]);
    assert_eq!(world.capture().await.dirty, 6);
}

#[tokio::test]
async fn capture_does_not_wait_for_an_open_transaction() {
    let mut world = World::new().await;
    world
        .sql("insert into public.account (external_id) values ('K')")
        .await;
    let mut other = world.database.connect().await;
    execute(&mut other, "begin; update public.account set name = 'x'").await;
    let captured = tokio::time::timeout(Duration::from_secs(1), world.capture())
        .await
        .expect("capture does not wait");
    assert_eq!(captured.counts.journaled, 1);
    execute(&mut other, "rollback").await;
    assert_eq!(
        ask(&mut other, "select count(*) from syncline.sync_outbox").await,
        "0"
    );
}

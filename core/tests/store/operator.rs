//! The operator's calls: status, conflicts, history, export.

use syncline::model::ids::{RecordId, TenantId};
use syncline::model::observation::ObservationKind::{Changed, Deleted, Refresh};
use syncline::model::value::Value;
use syncline::model::{ChangeEnvelope, ChangeOperation, Side, SourceCursor, SyncKey};
use syncline::ports::ReconcileStore;
use syncline::ports::comparison::PageRecord;
use syncline::store::{AppendResult, ConflictFilter, Resolution, SyncConflict};

use super::world::{World, execute, intended, kinds, seen, values};

async fn conflicts(world: &World) -> Vec<SyncConflict> {
    world
        .store
        .conflicts(&world.mapped.tenant, &ConflictFilter::default(), 100)
        .await
        .expect("conflicts are listed")
}

/// Opens a world with a record whose name was changed on both sides.
async fn conflicting() -> World {
    let mut world = World::new().await;
    world.synced("K", "Ada").await;
    world
        .see(&[seen(Refresh, "K", &[("Name", "Ada")], 5)])
        .await;
    world.apply().await;
    world.sql("update public.account set name = 'Eve'").await;
    world
        .see(&[seen(Changed, "K", &[("Name", "Ida")], 10)])
        .await;
    world.capture().await;
    world.apply().await;
    world
}

async fn resolve(world: &World, conflict: &SyncConflict, winner: Side) -> Resolution {
    world
        .store
        .resolve_conflict(
            &world.mapped,
            conflict.conflict_id,
            conflict.version,
            winner,
        )
        .await
        .expect("the call succeeds")
}

#[tokio::test]
async fn conflict_has_both_values_and_the_base() {
    let world = conflicting().await;
    let found = conflicts(&world).await;
    let [conflict] = found.as_slice() else {
        panic!("one conflict, not {found:?}");
    };
    assert_eq!(conflict.base, Some(Value::text("Ada")));
    assert_eq!(conflict.postgres, Some(Value::text("Eve")));
    assert_eq!(conflict.salesforce, Some(Value::text("Ida")));
}

#[tokio::test]
async fn resolution_is_written_like_an_edit() {
    for (winner, row, sent) in [
        (Side::Postgres, "Eve", Some("Eve")),
        (Side::Salesforce, "Ida", None),
    ] {
        let mut world = conflicting().await;
        let conflict = conflicts(&world).await.remove(0);
        assert_eq!(
            resolve(&world, &conflict, winner).await,
            Resolution::Resolved
        );
        let planned = world.apply().await;
        let writes = intended(&planned);
        assert_eq!(
            writes.first().map(|(_, intent)| intent.fields.clone()),
            sent.map(|name| values(&[("Name", name)]))
        );
        world.settle(&planned).await;
        assert_eq!(world.ask("select name from public.account").await, row);
        assert_eq!(
            world.ask("select state from syncline.record_status").await,
            "in_sync"
        );
        assert_eq!(resolve(&world, &conflict, winner).await, Resolution::Closed);
        assert_eq!(
            world.ask("select count(*) from syncline.sync_discarded_value where rule = 'resolved_by_a_person'").await,
            "1",
            "the discarded value can be restored"
        );
    }
}

#[tokio::test]
async fn resolution_of_outdated_values_is_refused() {
    let mut world = conflicting().await;
    let conflict = conflicts(&world).await.remove(0);
    let mut other = world.database.connect().await;
    execute(
        &mut other,
        "begin; update public.account set name = 'moving'",
    )
    .await;
    assert_eq!(
        resolve(&world, &conflict, Side::Postgres).await,
        Resolution::Busy
    );
    execute(&mut other, "commit").await;
    assert_eq!(
        resolve(&world, &conflict, Side::Postgres).await,
        Resolution::Moved
    );
    world.capture().await;
    world.apply().await;
    let now = conflicts(&world).await.remove(0);
    assert_eq!(
        (now.conflict_id, now.version),
        (conflict.conflict_id, conflict.version + 1)
    );
    assert_eq!(now.postgres, Some(Value::text("moving")));
    world
        .see(&[seen(Changed, "K", &[("Name", "Zoe")], 20)])
        .await;
    assert_eq!(
        resolve(&world, &now, Side::Postgres).await,
        Resolution::Moved
    );
    world.sql("update public.account set name = 'Zoe'").await;
    world.capture().await;
    world.apply().await;
    assert!(conflicts(&world).await.is_empty(), "equal values close it");
}

#[tokio::test]
async fn conflict_of_delete_and_edit_is_resolved_either_way() {
    for (winner, rows, links) in [(Side::Salesforce, "0", "0"), (Side::Postgres, "1", "1")] {
        let mut world = World::new().await;
        world.synced("K", "Ada").await;
        world.sql("update public.account set name = 'Eve'").await;
        world.see(&[seen(Deleted, "K", &[], 10)]).await;
        world.capture().await;
        assert_eq!(kinds(&world.apply().await), ["settled"]);
        let conflict = conflicts(&world).await.remove(0);
        assert_eq!((&conflict.field, &conflict.salesforce), (&None, &None));
        assert_eq!(
            resolve(&world, &conflict, winner).await,
            Resolution::Resolved
        );
        let planned = world.apply().await;
        world.settle(&planned).await;
        assert_eq!(
            world.ask("select count(*) from public.account").await,
            rows,
            "{winner:?}"
        );
        assert_eq!(
            world
                .ask("select count(*) from syncline.sync_link where agreed")
                .await,
            links,
            "{winner:?}"
        );
    }
}

#[tokio::test]
async fn status_counts_every_record_once() {
    let mut world = World::new().await;
    world.synced("good", "Ada").await;
    world.synced("conflict", "Ada").await;
    world
        .sql("update public.account set name = 'Eve' where external_id = 'conflict'")
        .await;
    world
        .see(&[seen(Changed, "conflict", &[("Name", "Ida")], 10)])
        .await;
    world
        .see(&[seen(
            Changed,
            "new",
            &[("Phone", "longer than twenty characters")],
            10,
        )])
        .await;
    world.capture().await;
    world.apply().await;
    world
        .sql("insert into public.account (external_id) values ('fresh')")
        .await;
    let before = world.store.status(&world.mapped.tenant).await.unwrap();
    assert_eq!(before.outbox.waiting, 1);
    assert!(before.objects[0].needs_resync, "never scanned");
    assert_eq!(before.objects[0].in_sync, 0);
    world.capture().await;
    world
        .sql("insert into syncline.sync_checkpoint (tenant, stream, needs_resync) values ('acme', 'scan:Account', false)")
        .await;
    let status = world.store.status(&world.mapped.tenant).await.unwrap();
    let object = &status.objects[0];
    assert_eq!(
        (object.records, object.in_sync, object.conflicts),
        (4, 1, 1),
        "{object:?}"
    );
    assert_eq!(
        object.records,
        object.in_sync + object.conflicts + object.parked + object.pending
    );
    assert_eq!(object.last_comparison, None, "never compared");
    assert!(object.oldest_work_seconds.is_some());
}

#[tokio::test]
async fn history_is_found_by_any_id_of_the_record() {
    let mut world = World::new().await;
    world.synced("Key-1", "Ada").await;
    let id = super::world::sf_id("Key-1");
    for name in ["Key-1", "KEY-1", id.as_str()] {
        let history = world
            .store
            .record_history(&world.mapped.tenant, &world.mapped.sync.object, name, 10)
            .await
            .unwrap()
            .unwrap_or_else(|| panic!("{name}"));
        let sources: Vec<&str> = history
            .journal
            .iter()
            .map(|line| line.source.as_str())
            .collect();
        assert_eq!(
            sources,
            ["salesforce", "settlement", "decision", "postgres"]
        );
        assert_eq!(history.state.as_deref(), Some("in_sync"));
        let decided = &history.journal[2];
        assert_eq!(
            decided.config_hash.as_deref(),
            Some("hash-of-the-configuration")
        );
    }
}

#[tokio::test]
async fn change_is_appended_once() {
    let world = World::new().await;
    let envelope = |name: &str, cursor: u8| ChangeEnvelope {
        key: SyncKey::new("acme", "Account", "K").unwrap(),
        source: Side::Salesforce,
        operation: ChangeOperation::Update,
        cursor: SourceCursor::SalesforceReplayId(vec![cursor]),
        tombstone: false,
        payload: serde_json::json!({"Name": name}),
    };
    let batch = [
        envelope("Ada", 1),
        envelope("Ada", 1),
        envelope("Eve", 1),
        envelope("Ada", 2),
    ];
    use AppendResult::{Appended, Duplicate};
    let appended = world.store.append(&batch).await.unwrap();
    let [
        Appended { journal_id },
        Duplicate,
        Appended { .. },
        Appended { .. },
    ] = appended[..]
    else {
        panic!("{appended:?}");
    };
    let tenant = TenantId::parse("acme").unwrap();
    let entry = world
        .store
        .journal_entry(&tenant, journal_id)
        .await
        .unwrap();
    let payload = entry.and_then(|entry| entry.payload);
    assert_eq!(payload, Some(serde_json::json!({"Name": "Ada"})));
    assert_eq!(world.store.append(&batch).await.unwrap(), [Duplicate; 4]);
}

#[tokio::test]
async fn reconcile_reads_without_locks_and_writes_only_tasks() {
    let mut world = World::new().await;
    world.synced("K1", "Ada").await;
    world.synced("K2", "Bob").await;
    let ids = ["K1", "K2"].map(super::world::sf_id);
    let mut other = world.database.connect().await;
    execute(&mut other, "begin; update public.account set name = 'x'").await;
    let seen = ids.each_ref().map(|salesforce_id| PageRecord {
        salesforce_id,
        fields: None,
        external_id: None,
    });
    let observed = world.store.observe_page(&world.mapped, &seen, None).await;
    let observed = observed.unwrap().linked;
    execute(&mut other, "rollback").await;
    assert!(
        observed
            .iter()
            .all(|one| one.rows.len() == 1 && !one.row_locked)
    );
    let records: Vec<_> = observed
        .iter()
        .map(|one| one.known.link.record_id)
        .collect();
    let vanished = world
        .store
        .vanished(&world.mapped, None, None, &ids[..1])
        .await
        .unwrap();
    assert_eq!(vanished.len(), 1);
    assert_eq!(pending(&world, &records).await, 0);
    assert_eq!(
        world
            .store
            .enqueue_repair(&world.mapped, &vanished, &[])
            .await
            .unwrap(),
        1
    );
    assert_eq!(pending(&world, &records).await, 1);
    assert!(world.lease().await[0].needs_refresh);
}

/// Counts the records with open work.
async fn pending(world: &World, records: &[RecordId]) -> usize {
    let explained = world.store.explain(&world.mapped, records).await.unwrap();
    let work = explained.work.values();
    work.filter(|work| work.is_pending).count()
}

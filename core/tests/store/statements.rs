//! Cost: a call makes a constant number of statements for any number of records. And the store works
//! without a statement cache, as behind a pooler.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use syncline::ports::comparison::PageRecord;
use syncline::ports::{MappedTable, ReconcileStore};

use secrecy::SecretString;
use syncline::model::observation::ObservationKind::{Changed, Created, Deleted};
use syncline::store::{PgStore, PgStoreOptions};
use tracing::span;
use tracing::{Event, Metadata, Subscriber};

use super::world::{World, kinds, seen, sf_id};

/// Counts the statements that the driver logs on this thread.
struct Statements(Arc<AtomicUsize>);

impl Subscriber for Statements {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

async fn count<T>(call: impl Future<Output = T>) -> (usize, T) {
    let statements = Arc::new(AtomicUsize::new(0));
    let guard = tracing::subscriber::set_default(Statements(Arc::clone(&statements)));
    let done = call.await;
    drop(guard);
    (statements.load(Ordering::Relaxed), done)
}

/// Counts the statements of each call while `records` records are synchronised in each direction.
async fn round(records: usize) -> Vec<(&'static str, usize)> {
    let mut world = World::new().await;
    world
        .sql(&format!(
            "insert into public.account (external_id, name) select 'P' || n, 'Ada' from generate_series(1, {records}) as n"
        ))
        .await;
    let mut counts = Vec::new();
    let (captured, _) = count(world.capture()).await;
    counts.push(("capture", captured));
    let (leased, leases) = count(world.lease()).await;
    counts.push(("lease", leased));
    let (planned, plans) = count(world.plan(&leases)).await;
    counts.push(("plan creates", planned));
    assert_eq!(kinds(&plans), vec!["intended"; records]);
    let (settled, _) = count(world.settle(&plans)).await;
    counts.push(("settle", settled));
    let created: Vec<_> = (0..records)
        .map(|n| seen(Created, &format!("S{n}"), &[("Name", "Ada")], 1))
        .collect();
    let (recorded, _) = count(world.see(&created)).await;
    counts.push(("record", recorded));
    let (inserted, plans) = count(world.apply()).await;
    counts.push(("lease and insert", inserted));
    assert_eq!(kinds(&plans), vec!["settled"; records]);
    let changed: Vec<_> = (0..records)
        .map(|n| seen(Changed, &format!("S{n}"), &[("Name", "Eve")], 2))
        .collect();
    world.see(&changed).await;
    let (updated, plans) = count(world.apply()).await;
    counts.push(("lease and update", updated));
    assert_eq!(kinds(&plans), vec!["settled"; records]);
    let ids: Vec<_> = (0..records).map(|n| sf_id(&format!("S{n}"))).collect();
    let page: Vec<PageRecord<'_>> = ids
        .iter()
        .map(|salesforce_id| PageRecord {
            salesforce_id,
            fields: None,
            external_id: None,
        })
        .collect();
    let now = chrono::Utc::now();
    let (observed, page) = count(world.store.observe_page(&world.mapped, &page, Some(now))).await;
    counts.push(("observe a page of Salesforce", observed));
    let compared: Vec<_> = page.expect("it is observed").linked;
    let compared: Vec<_> = compared
        .iter()
        .map(|one| one.known.link.record_id)
        .collect();
    assert_eq!(compared.len(), records);
    let (explained, _) = count(world.store.explain(&world.mapped, &compared)).await;
    counts.push(("explain differences", explained));
    let (walked, rows) = count(world.store.observe_rows(&world.mapped, now, None, 1_000)).await;
    counts.push(("observe a page of rows", walked));
    let rows = rows.expect("they are walked").rows;
    assert_eq!(rows, 2 * u64::try_from(records).unwrap());
    let (swept, _) = count(world.store.sweep(world.mapped_objects())).await;
    counts.push(("sweep", swept));
    counts
}

#[tokio::test]
async fn number_of_statements_does_not_depend_on_records() {
    let few = round(2).await;
    let many = round(150).await;
    assert_eq!(few, many);
    assert!(
        few.iter().all(|(_, statements)| *statements > 1),
        "they are counted: {few:?}"
    );
}

/// Counts the statements of a delete whose foreign key clears a column of so many rows.
async fn delete_of_a_parent(children: usize) -> usize {
    let mut world = World::new().await;
    let table = MappedTable {
        sync: Arc::clone(&world.mapped.configured),
        schema: Arc::clone(&world.mapped.schema),
    };
    world.mapped.tables = Arc::from([table]);
    world
        .sql(
            "alter table public.account drop constraint account_parent_external_id_fkey;
            alter table public.account add foreign key (parent_external_id)
                references public.account (external_id) on delete set null",
        )
        .await;
    let parent = sf_id("P");
    let child = |n| {
        seen(
            Created,
            &format!("C{n}"),
            &[("ParentId", parent.as_str())],
            1,
        )
    };
    world.see(&[seen(Created, "P", &[], 1)]).await;
    world.apply().await;
    let born: Vec<_> = (0..children).map(child).collect();
    world.see(&born).await;
    world.apply().await;
    let parents = "select count(parent_external_id) from public.account";
    assert_eq!(world.ask(parents).await, children.to_string());
    world.see(&[seen(Deleted, "P", &[], 2)]).await;
    let (statements, _) = count(world.apply()).await;
    assert_eq!(world.ask(parents).await, "0");
    let work = "select count(*) from syncline.sync_task where needs_refresh";
    assert_eq!(world.ask(work).await, children.to_string());
    statements
}

#[tokio::test]
async fn number_of_statements_does_not_depend_on_children() {
    assert_eq!(delete_of_a_parent(2).await, delete_of_a_parent(150).await);
}

#[tokio::test]
async fn store_works_without_a_statement_cache() {
    let mut world = World::new().await;
    world.store = PgStore::open(&PgStoreOptions {
        statement_cache: false,
        connections_max: 1,
        ..PgStoreOptions::new(SecretString::from(world.database.url().to_owned()))
    })
    .unwrap();
    world.synced("K", "Ada").await;
    assert_eq!(
        world
            .ask("select count(*) from syncline.record_status")
            .await,
        "1"
    );
    world.store.sweep(world.mapped_objects()).await.unwrap();
}

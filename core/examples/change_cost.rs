//! Measures what changes cost the engine and its database: time, statements, WAL and storage, from the changes on one side
//! until both sides are equal and the engine has seen its own writes.
//!
//!     change_cost [RECORDS]     20,000 unless given
//!
//! Nothing passes or fails: other work on the machine moves the times. Statements, WAL and storage hardly move.

#![allow(clippy::print_stdout, reason = "it prints what it measures")]
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    reason = "the tests use all of what they share with this"
)]

#[path = "../tests/engine/local_org.rs"]
mod local_org;
#[path = "../tests/engine/mapping.rs"]
mod mapping;
#[path = "../tests/engine/pausing.rs"]
mod pausing;
#[path = "../tests/engine/stage.rs"]
mod stage;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::json;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use stage::Stage;

/// Records changed in Salesforce by one call.
const CALL_RECORDS: usize = 200;

/// Counts the statements that the driver logs.
struct Statements(Arc<AtomicUsize>);

impl Subscriber for Statements {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Brings both sides together after `change`, and prints what that cost.
async fn measure(
    stage: &Stage,
    statements: &AtomicUsize,
    what: &str,
    records: usize,
    change: impl AsyncFnOnce(&Stage),
) {
    change(stage).await;
    let wal = "pg_current_wal_insert_lsn() - '0/0'::pg_lsn";
    let before = stage.one(wal).await.as_f64().unwrap_or_default();
    statements.store(0, Ordering::Relaxed);
    let began = Instant::now();
    stage.drain().await;
    let seconds = began.elapsed().as_secs_f64();
    let ran = statements.load(Ordering::Relaxed);
    let written = stage.one(wal).await.as_f64().unwrap_or_default() - before;
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    let count = records as f64;
    println!(
        "{what:<32} {:>6.0} records/s {:>6.2} statements per 100 records {:>6.0} bytes of WAL a record",
        count / seconds,
        100.0 * f64::from(u32::try_from(ran).unwrap_or(u32::MAX)) / count,
        written / count
    );
}

async fn run(records: usize, statements: &AtomicUsize) {
    let stage = Stage::open().await;
    measure(&stage, statements, "new rows", records, async |stage: &Stage| {
        stage
            .sql(&format!(
                "insert into account (external_id, name, phone, rating, revenue)
                select 'K-' || n, 'Name ' || n, '+1 555 ' || n, 'Hot', n from generate_series(1, {records}) as n"
            ))
            .await;
    })
    .await;
    measure(
        &stage,
        statements,
        "edits of rows",
        records,
        async |stage: &Stage| {
            stage
                .sql("update account set phone = '+1 556 ' || id")
                .await;
        },
    )
    .await;
    measure(
        &stage,
        statements,
        "edits in Salesforce",
        records,
        async |stage: &Stage| {
            let known = stage
                .rows("select salesforce_id as id from syncline.sync_link")
                .await;
            let ids: Vec<String> = known
                .iter()
                .filter_map(|row| row["id"].as_str().map(str::to_owned))
                .collect();
            for (place, ids) in ids.chunks(CALL_RECORDS).enumerate() {
                stage
                    .org
                    .update_together(ids, &json!({"Phone": format!("+1 557 {place}")}));
            }
        },
    )
    .await;
    stage.sql("vacuum").await;
    let tables = "select relname as name, pg_total_relation_size(oid) as bytes
        from pg_class
        where relnamespace = 'syncline'::regnamespace
        and relkind in ('r', 'p')
        and pg_total_relation_size(oid) > 1000000
        order by bytes desc";
    for table in stage.rows(tables).await {
        let bytes = table["bytes"].as_f64().unwrap_or_default();
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
        let count = records as f64;
        println!(
            "{:<32} {:>6.0} bytes a record after the three changes",
            table["name"].as_str().unwrap_or_default(),
            bytes / count
        );
    }
}

fn main() {
    let records = std::env::args().nth(1).and_then(|given| given.parse().ok());
    let statements = Arc::new(AtomicUsize::new(0));
    tracing::subscriber::set_global_default(Statements(Arc::clone(&statements)))
        .expect("nothing else has set one");
    tokio::runtime::Runtime::new()
        .expect("a runtime starts")
        .block_on(run(records.unwrap_or(20_000), &statements));
}

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

/// What is measured.
struct Measured<'a> {
    stage: &'a Stage,
    statements: &'a AtomicUsize,
    what: &'a str,
    records: usize,
}

impl Measured<'_> {
    /// Brings both sides together after `change`, and prints what that cost.
    async fn measure(self, change: impl AsyncFnOnce(&Stage)) {
        change(self.stage).await;
        let wal = "pg_current_wal_insert_lsn() - '0/0'::pg_lsn";
        let before = self.stage.one(wal).await.as_f64().unwrap_or_default();
        self.statements.store(0, Ordering::Relaxed);
        let began = Instant::now();
        self.stage.drain().await;
        let seconds = began.elapsed().as_secs_f64();
        let ran = self.statements.load(Ordering::Relaxed);
        let written = self.stage.one(wal).await.as_f64().unwrap_or_default() - before;
        let count = as_f64(self.records);
        println!(
            "{:<32} {:>6.0} records/s {:>6.2} statements per 100 records {:>6.0} bytes of WAL a record",
            self.what,
            count / seconds,
            100.0 * as_f64(ran) / count,
            written / count
        );
    }
}

async fn run(records: usize, statements: &AtomicUsize) {
    let stage = Stage::open().await;
    let of = |what| Measured {
        stage: &stage,
        statements,
        what,
        records,
    };
    of("new rows")
        .measure(async |stage: &Stage| insert(stage, records).await)
        .await;
    of("edits of rows").measure(edit_rows).await;
    of("edits in Salesforce").measure(edit_records).await;
    print_storage(&stage, records).await;
}

async fn insert(stage: &Stage, records: usize) {
    stage
        .sql(&format!(
            "insert into account (external_id, name, phone, rating, revenue)
            select 'K-' || n, 'Name ' || n, '+1 555 ' || n, 'Hot', n from generate_series(1, {records}) as n"
        ))
        .await;
}

async fn edit_rows(stage: &Stage) {
    stage
        .sql("update account set phone = '+1 556 ' || id")
        .await;
}

async fn edit_records(stage: &Stage) {
    let known = stage
        .rows("select salesforce_id as id from syncline.sync_link")
        .await;
    let ids: Vec<String> = known
        .iter()
        .filter_map(|row| row["id"].as_str().map(str::to_owned))
        .collect();
    for (place, ids) in ids.chunks(CALL_RECORDS).enumerate() {
        let phone = json!({"Phone": format!("+1 557 {place}")});
        stage.org.update_together(ids, &phone);
    }
}

/// Prints what the tables of the control plane hold for each record.
async fn print_storage(stage: &Stage, records: usize) {
    stage.sql("vacuum").await;
    let tables = "select relname as name, pg_total_relation_size(oid) as bytes
        from pg_class
        where relnamespace = 'syncline'::regnamespace
        and relkind in ('r', 'p')
        and pg_total_relation_size(oid) > 1000000
        order by bytes desc";
    for table in stage.rows(tables).await {
        let bytes = table["bytes"].as_f64().unwrap_or_default();
        println!(
            "{:<32} {:>6.0} bytes a record after the three changes",
            table["name"].as_str().unwrap_or_default(),
            bytes / as_f64(records)
        );
    }
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
fn as_f64(count: usize) -> f64 {
    count as f64
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

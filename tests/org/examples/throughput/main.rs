//! Measures the throughput of one org over real sockets: single upserts, collections, change
//! events, bulk jobs, memory.
//!
//! `scripts/bench` starts the org and this client. To run it by hand: `throughput HTTP_URL GRPC_URL
//! PID [MILLION_RECORDS]`. It prints goals and measured values side by side: the org's items per
//! second, and its CPU time per item. The CPU time is also reliable on a busy machine and when this
//! client is the slower side.

mod airport;
mod bulk;
mod events;
mod neighbour;
mod table;
mod target;
mod writes;

use events::Subscriber;
use neighbour::Neighbour;
use table::Table;
use target::Target;

/// Calls of one record each.
const SINGLES: usize = 20_000;

/// Calls of [`RECORDS`] records each.
const COLLECTIONS: usize = 500;

/// Maximum number of records that one collections call may have.
const RECORDS: usize = 200;

/// What one org on one core must handle, so that it never slows its tests down.
mod goal {
    pub(crate) const SINGLES_PER_S: f64 = 4_000.0;
    pub(crate) const COLLECTION_RECORDS_PER_S: f64 = 40_000.0;
    pub(crate) const EVENTS_PER_S: f64 = 20_000.0;
    pub(crate) const MILLION_RECORDS_MIB: f64 = 1.5 * 1024.0;
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [http, grpc, pid, rest @ ..] = arguments.as_slice() else {
        anyhow::bail!("usage: throughput HTTP_URL GRPC_URL PID [MILLION_RECORDS]");
    };
    let millions: usize = rest.first().map_or(Ok(1), |text| text.parse())?;
    let org = Target::open(http, pid).await?;
    let table = Table::new(&org);
    table.head();
    small(&org, &table).await?;
    streaming(&org, &table, grpc).await?;
    if millions > 0 {
        large(&org, &table, millions * 1_000_000).await?;
    }
    Ok(())
}

/// Measures calls with one record and with many.
async fn small(org: &Target, table: &Table<'_>) -> anyhow::Result<()> {
    for (pass, what) in [("new", "created"), ("again", "updated")] {
        let title = format!("single upserts, records {what}");
        let row = table.row(&title, Some(goal::SINGLES_PER_S));
        writes::singles(org, SINGLES, pass).await?;
        row.done(SINGLES);
    }
    for (pass, what) in [("new", "created"), ("again", "updated")] {
        let title = format!("collections of {RECORDS}, records {what}");
        let row = table.row(&title, Some(goal::COLLECTION_RECORDS_PER_S));
        writes::collections(org, COLLECTIONS, (pass, "c")).await?;
        row.done(COLLECTIONS * RECORDS);
    }
    Ok(())
}

/// Measures a subscriber that catches up, and one that reads during the writes.
async fn streaming(org: &Target, table: &Table<'_>, grpc: &str) -> anyhow::Result<()> {
    let published = org.events_published().await?;
    let mut subscriber = Subscriber::open(org, grpc).await?;
    let row = table.row("change events, caught up with", Some(goal::EVENTS_PER_S));
    subscriber.read(published).await?;
    row.done(published);

    let row = table.row(
        "change events, written and delivered",
        Some(goal::EVENTS_PER_S),
    );
    let writing = writes::collections(org, COLLECTIONS, ("along", "c"));
    let reading = subscriber.read(COLLECTIONS * RECORDS);
    tokio::try_join!(writing, reading)?;
    row.done(COLLECTIONS * RECORDS);
    Ok(())
}

/// Measures an org with many records: collections, bulk jobs, and memory.
async fn large(org: &Target, table: &Table<'_>, records: usize) -> anyhow::Result<()> {
    let goal = goal::COLLECTION_RECORDS_PER_S;
    let row = table.row(&format!("{records} records created"), Some(goal));
    writes::collections(org, records / RECORDS, ("new", airport::MANY)).await?;
    row.done(records);
    let goal_mib = goal::MILLION_RECORDS_MIB * (records / 1_000_000) as f64;
    table.memory("memory with these records and their events", Some(goal_mib));

    let neighbour = Neighbour::start(org);
    let row = table.row(&format!("Bulk 2.0 upsert of {records} rows"), None);
    let jobs = bulk::upsert(org, records).await?;
    row.done(records);
    table.wait(neighbour.stop());
    table.memory("memory with these jobs and their events", None);
    let neighbour = Neighbour::start(org);
    let row = table.row("results of these jobs read, rows", None);
    bulk::results(org, &jobs, records).await?;
    row.done(records);
    table.wait(neighbour.stop());

    let neighbour = Neighbour::start(org);
    let row = table.row("Bulk 2.0 query of all records", None);
    let found = bulk::query(org).await?;
    row.done(found);
    table.wait(neighbour.stop());
    table.memory("memory with the result", None);
    Ok(())
}

//! Drains the outbox that the triggers fill.

use std::time::Duration;

use crate::job::Job;
use crate::job::error::Error;

use super::window::Window;
use super::{CaptureOptions, CaptureReport, wake_up_for};

/// Outbox rows of one transaction.
const OUTBOX_BATCH: usize = 2_000;

/// Existing rows enqueued in one transaction.
const EXISTING_ROWS_BATCH: usize = 5_000;

/// How long a polling capture waits between two reads of the outbox: short after a change, doubled while
/// nothing comes. A read is one probe of a partial index.
const POLL_MS_MIN: u64 = 100;
const POLL_MS_MAX: u64 = 1_000;

/// Drains the outbox batch by batch and wakes apply after each; then keeps polling.
pub(crate) async fn capture(
    job: &Job<'_>,
    options: &CaptureOptions,
) -> Result<CaptureReport, Error> {
    let window = Window::open(job, options).await?;
    let mut report = CaptureReport::default();
    let mut poll = Duration::from_millis(POLL_MS_MIN);
    while window.is_open(job) {
        let batch = job
            .store()
            .capture_outbox(job.mapped_objects(), OUTBOX_BATCH)
            .await?;
        report.add_outbox(&batch);
        wake_up_for(job, batch.dirty, &mut report).await?;
        if batch.more {
            continue;
        }
        poll = if batch.counts.seen > 0 {
            Duration::from_millis(POLL_MS_MIN)
        } else {
            (poll * 2).min(Duration::from_millis(POLL_MS_MAX))
        };
        match window.wait(job, options, poll) {
            Some(wait) => job.shared.pause(wait).await,
            None => break,
        }
    }
    tracing::info!(
        tenant = %job.id(),
        side = "postgres",
        seen = report.counts.seen,
        journaled = report.counts.journaled,
        refused = report.counts.refused,
        dirty = report.dirty,
        "captured changes of Postgres"
    );
    Ok(report)
}

/// Captures one batch of at most `limit` rows.
pub(crate) async fn capture_once(job: &Job<'_>, limit: usize) -> Result<CaptureReport, Error> {
    let mut report = CaptureReport::default();
    let batch = job
        .store()
        .capture_outbox(job.mapped_objects(), limit)
        .await?;
    report.add_outbox(&batch);
    wake_up_for(job, batch.dirty, &mut report).await?;
    Ok(report)
}

/// Enqueues every row as if it had just been inserted, of each table whose rows are not enqueued yet since its
/// triggers were installed.
pub(crate) async fn enqueue_existing_rows(job: &Job<'_>) -> Result<usize, Error> {
    let captured = job.store().captured_objects(job.id()).await?;
    let waiting = job
        .mapped_objects()
        .iter()
        .filter(|mapped| captured.get(&mapped.sync.object) != Some(&true));
    let mut enqueued = 0;
    for mapped in waiting {
        let mut after: Option<String> = None;
        loop {
            let (count, next) = job
                .store()
                .enqueue_existing_rows(mapped, after.as_deref(), EXISTING_ROWS_BATCH)
                .await?;
            enqueued += count;
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        tracing::info!(
            tenant = %job.id(), object = %mapped.sync.object, count = enqueued,
            "enqueued rows that are older than the table's triggers"
        );
    }
    Ok(enqueued)
}

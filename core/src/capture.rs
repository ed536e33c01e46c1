//! Capture: records the changes of both sides in journal, remote states and tasks. A change is durable
//! before it is acknowledged.
//!
//! [`postgres`] drains the outbox, [`events`] the change-event subscription, [`poll`] the window of
//! recent changes. [`backfill`] reads all records of objects that need a resync, [`enrich`] reads the
//! values that events lack. They decide nothing about a record: they observe, record and wake apply.

pub(crate) mod backfill;
pub(crate) mod enrich;
pub(crate) mod events;
mod parts;
pub(crate) mod poll;
pub(crate) mod postgres;
mod window;

use std::time::Duration;

use crate::config::CaptureMode;
use crate::job::Job;
use crate::job::deadline::Deadline;
use crate::job::error::Error;
use crate::job::patience::Patience;
use crate::job::shared::Shared;
use crate::model::ids::TenantId;
use crate::ports::capture_store::{CaptureCounts, ObservationReport, OutboxReport};

/// How long a capture may work, and how long it waits for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaptureOptions {
    /// When it must end.
    pub deadline: Deadline,
    /// How long it waits for more changes after everything is drained; zero: it does not wait.
    pub keep_polling: Duration,
    /// Whether it keeps polling for an idle tenant.
    pub idle: Idle,
}

impl CaptureOptions {
    /// Returns the options of a capture that drains the waiting changes, then returns.
    pub fn draining(deadline: Deadline) -> Self {
        Self {
            deadline,
            keep_polling: Duration::ZERO,
            idle: Idle::Return,
        }
    }
}

/// What a capture does for a tenant without recent changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// Returns at once: an idle tenant costs no more than its schedules.
    Return,
    /// Keeps polling.
    Stay,
}

/// What a capture did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CaptureReport {
    /// How many changes were journaled, duplicate, refused or out of scope.
    pub counts: CaptureCounts,
    /// Records with new work.
    pub dirty: usize,
    /// Observations that contain only our own writes.
    pub echoes: usize,
    /// Observations older than the remote state.
    pub superseded: usize,
    /// Records read because their object needed a resync.
    pub scanned: usize,
    /// Transactions.
    pub batches: usize,
    /// Wake-ups sent.
    pub sent: usize,
    /// Another worker has leased the stream: nothing was done.
    pub leased_elsewhere: bool,
}

impl CaptureReport {
    fn add_counts(&mut self, counts: &CaptureCounts) {
        self.counts.seen += counts.seen;
        self.counts.journaled += counts.journaled;
        self.counts.duplicate += counts.duplicate;
        self.counts.refused += counts.refused;
        self.counts.out_of_scope += counts.out_of_scope;
        self.batches += 1;
    }

    fn add_outbox(&mut self, report: &OutboxReport) {
        self.add_counts(&report.counts);
        self.dirty += report.dirty;
    }

    fn add_observations(&mut self, report: &ObservationReport) {
        self.add_counts(&report.counts);
        self.dirty += report.dirty;
        self.echoes += report.echoes;
        self.superseded += report.superseded;
    }
}

/// Begins the run of a capture, patiently.
pub(crate) async fn begin<'a>(
    shared: &'a Shared,
    tenant: &TenantId,
    options: &CaptureOptions,
) -> Result<Job<'a>, Error> {
    Patience::WhileRunning
        .attempt(shared, tenant, options.deadline, |_| {
            Job::begin(shared, tenant)
        })
        .await
}

/// Runs a capture again while Postgres is out of reach, within the capture's own time. What was not committed is
/// read again from the stored position.
pub(crate) async fn patiently<F>(
    job: &Job<'_>,
    options: &CaptureOptions,
    capture: impl Fn() -> F,
) -> Result<CaptureReport, Error>
where
    F: Future<Output = Result<CaptureReport, Error>>,
{
    let capture = &capture;
    Patience::WhileRunning
        .attempt(
            job.shared,
            job.id(),
            options.deadline,
            |retries| async move {
                if retries > 0 {
                    // Another server may answer now.
                    job.tenant.enter_database(&*job.shared.ids).await?;
                }
                capture().await
            },
        )
        .await
}

/// Captures the org's changes in the configured mode.
pub(crate) async fn salesforce(
    job: &Job<'_>,
    options: &CaptureOptions,
) -> Result<CaptureReport, Error> {
    let report = match job.tenant.config.capture {
        CaptureMode::Pubsub => events::capture(job, options).await?,
        CaptureMode::Poll => poll::capture(job, options).await?,
        // The events come through a queue. Objects that need a resync are still read here.
        CaptureMode::Relay => backfill::capture(job, options).await?,
    };
    tracing::info!(
        tenant = %job.id(),
        side = "salesforce",
        seen = report.counts.seen,
        journaled = report.counts.journaled,
        duplicate = report.counts.duplicate,
        refused = report.counts.refused,
        out_of_scope = report.counts.out_of_scope,
        dirty = report.dirty,
        echoes = report.echoes,
        scanned = report.scanned,
        leased_elsewhere = report.leased_elsewhere,
        "captured changes of Salesforce"
    );
    Ok(report)
}

/// Wakes apply if a batch left new work, and marks the tenant as active.
async fn wake_up_for(job: &Job<'_>, dirty: usize, report: &mut CaptureReport) -> Result<(), Error> {
    if dirty > 0 {
        job.tenant.note_activity(job.now_ms()).await;
        report.sent += job.wake_up_for_due_work().await?;
    }
    Ok(())
}

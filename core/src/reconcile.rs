//! Reconcile: the sweep, and the comparison of both live sides.
//!
//! Reconcile never writes a record. It enqueues records, to be read on both sides. A difference is drift
//! only if a second read shows it too and the record has no open work.

pub(crate) mod compare;
pub(crate) mod drift;
mod events;
pub(crate) mod full;
mod page;

use crate::job::Job;
use crate::job::deadline::Deadline;
use crate::job::error::Error;
use crate::ports::comparison::{CountedRecord, RecordClass};
use crate::ports::reconcile_store::SweepReport;
use crate::ports::{MappedObject, StoreError};

pub use compare::DriftItem;
pub(crate) use drift::{detect, incremental, repair};
pub use full::{CompareOptions, OnProgress};
pub(crate) use full::{FULL_EVERY, full};

/// The result of a sweep, and the wake-ups that it sent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SweepOutcome {
    /// What the store found.
    pub found: SweepReport,
    /// Why of which objects no change events arrive.
    pub events_missing: Vec<String>,
    /// Wake-ups sent for due work.
    pub sent: usize,
}

/// The result of comparing both live sides.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReconcileReport {
    /// Records compared.
    pub compared: u64,
    /// Records that also differed on a second read and have no open work.
    pub drifted: Vec<DriftItem>,
    /// Records that are not equal, and something explains that.
    pub allowed: u64,
    /// Records enqueued to be read on both sides.
    pub enqueued: usize,
    /// Every record of every object was compared; false if the deadline was reached first, or if another worker
    /// compares an object.
    pub complete: bool,
}

impl ReconcileReport {
    fn count(&mut self, finding: &CountedRecord) {
        self.compared += u64::from(finding.rows > 0 || finding.in_salesforce);
        let is_allowed = finding.class != RecordClass::Equal && !finding.class.is_unexplained();
        self.allowed += u64::from(is_allowed);
    }
}

/// Sweeps, then wakes apply for due work.
pub(crate) async fn sweep(job: &Job<'_>) -> Result<SweepOutcome, Error> {
    let found = job.store().sweep(job.mapped_objects()).await?;
    job.probe_org().await?;
    for broken in &found.capture_broken {
        tracing::error!(
            tenant = %job.id(), broken,
            "capture of a table is broken; what names no other fix is repaired by `syncline install`"
        );
    }
    let events_missing = events::missing(job).await?;
    let sent = job.wake_up_for_due_work().await?;
    tracing::info!(
        tenant = %job.id(),
        leases_expired = found.leases_expired,
        intents_unknown = found.intents_unknown,
        echoes_missing = found.echoes_missing,
        capture_broken = found.capture_broken.len(),
        events_missing = events_missing.len(),
        rows_removed = found.rows_removed,
        sent,
        "swept"
    );
    Ok(SweepOutcome {
        found,
        events_missing,
        sent,
    })
}

/// The objects whose tables could not be compared.
#[derive(Default)]
struct Failures {
    first: Option<Error>,
}

impl Failures {
    /// Returns the result, or nothing if the object's own table stopped it: the other objects are compared all the
    /// same, and the job fails at its end.
    fn of_table<T>(
        &mut self,
        mapped: &MappedObject,
        result: Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        match result {
            Err(error @ Error::Store(StoreError::Mapping(_))) => {
                tracing::error!(
                    tenant = %mapped.tenant, object = %mapped.sync.object, %error,
                    "an object cannot be compared"
                );
                self.first.get_or_insert(error);
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    fn end(self, report: ReconcileReport) -> Result<ReconcileReport, Error> {
        match self.first {
            Some(error) => Err(error),
            None => Ok(report),
        }
    }
}

/// Returns true while there is time for another page.
fn has_time(job: &Job<'_>, deadline: Deadline) -> bool {
    const PAGE_TIME_MIN: std::time::Duration = std::time::Duration::from_secs(10);
    !job.shared.stopping() && deadline.remaining(job.now_ms()) >= PAGE_TIME_MIN
}

fn log(job: &Job<'_>, kind: &str, report: &ReconcileReport) {
    tracing::info!(
        tenant = %job.id(),
        kind,
        compared = report.compared,
        drifted = report.drifted.len(),
        allowed = report.allowed,
        enqueued = report.enqueued,
        complete = report.complete,
        "compared both live sides"
    );
}

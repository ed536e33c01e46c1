//! Records observations in parts that one transaction can take, however many records a batch has.

use crate::job::Job;
use crate::job::error::Error;
use crate::model::observation::SalesforceObservation;
use crate::ports::StoreError;
use crate::ports::capture_store::StreamPosition;
use crate::ports::job_store::StreamLease;

use super::CaptureReport;

/// Most records of one transaction.
const PART_RECORDS_MAX: usize = 2_000;

/// Most bytes of text in one transaction, by a rough count: far below the 256 MB that one value of Postgres may
/// have.
const PART_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Some observations, and whether the stream's position moves with them.
struct Part {
    observations: Vec<SalesforceObservation>,
    is_last: bool,
}

/// Records the observations part by part, and moves the stream's position with the last part. A part that
/// Postgres refuses is halved, because the same part would fail again. Returns the records with new work.
///
/// If it fails in between, the recorded parts come again: as duplicates, which change nothing.
pub(super) async fn record_in_parts(
    job: &Job<'_>,
    observations: Vec<SalesforceObservation>,
    mut stream: Option<(&mut StreamLease, StreamPosition)>,
    report: &mut CaptureReport,
) -> Result<usize, Error> {
    let mut dirty = 0;
    let mut waiting = parts_of(observations);
    waiting.reverse();
    while let Some(part) = waiting.pop() {
        let moved = stream.as_mut().and_then(|(lease, position)| {
            let position = match part.is_last {
                true => position.clone(),
                false => staying(lease)?,
            };
            Some((&mut **lease, position))
        });
        let recorded = job
            .store()
            .record_observations(job.mapped_objects(), &part.observations, moved)
            .await;
        match recorded {
            Ok(recorded) => {
                report.add_observations(&recorded);
                dirty += recorded.dirty;
            }
            Err(error @ StoreError::Database { .. }) if part.observations.len() > 1 => {
                tracing::warn!(
                    tenant = %job.id(), %error, records = part.observations.len(),
                    "Postgres refused a part of the changes; it is halved"
                );
                let (first, second) = part.halves();
                waiting.extend([second, first]);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(dirty)
}

/// Returns the lease's own position, with which the stream stays where it is; none if it never had one.
fn staying(lease: &StreamLease) -> Option<StreamPosition> {
    Some(StreamPosition {
        cursor: lease.position.clone()?,
        needs_resync: None,
        out_of_scope: 0,
    })
}

/// Divides observations by number and size, in order. There is always a last part.
fn parts_of(observations: Vec<SalesforceObservation>) -> Vec<Part> {
    let mut parts = Vec::new();
    let (mut part, mut bytes) = (Vec::new(), 0);
    for observation in observations {
        let size = observation.rough_bytes();
        if part.len() >= PART_RECORDS_MAX || (bytes + size > PART_BYTES_MAX && !part.is_empty()) {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += size;
        part.push(observation);
    }
    parts.push(part);
    let last = parts.len() - 1;
    parts
        .into_iter()
        .enumerate()
        .map(|(place, observations)| Part {
            observations,
            is_last: place == last,
        })
        .collect()
}

impl Part {
    fn halves(mut self) -> (Self, Self) {
        let second = self.observations.split_off(self.observations.len() / 2);
        let first = Self {
            observations: self.observations,
            is_last: false,
        };
        let second = Self {
            observations: second,
            is_last: self.is_last,
        };
        (first, second)
    }
}

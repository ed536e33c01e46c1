//! Drains the change-event subscription. It has one owner, and its position moves only in the transaction
//! that records the events before it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::job::Job;
use crate::job::error::Error;
use crate::job::guard::StreamGuard;
use crate::job::tenant::interest_of;
use crate::model::cursor::SourceCursor;
use crate::model::ids::ObjectName;
use crate::model::observation::SalesforceObservation;
use crate::ports::StreamName;
use crate::ports::capture_store::StreamPosition;
use crate::ports::job_store::StreamLease;
use crate::ports::salesforce::{EventBatch, EventStream, Interest, ReplayFrom, StreamEnd};
use crate::salesforce::{ALL_CHANGES_TOPIC, RelayedBatch, RelayedEvent, read_relayed};

use super::backfill::Backfill;
use super::enrich::{Arrival, complete};
use super::parts::record_in_parts;
use super::window::Window;
use super::{CaptureOptions, CaptureReport, wake_up_for};

/// Most events of one batch: as many as a transaction can absorb without long locks.
const EVENTS_MAX: usize = 1_000;

/// How long a capture waits for the first events of a subscription: opening it takes some round trips.
const FIRST_WAIT: Duration = Duration::from_secs(2);

/// How long a drained capture waits to be sure that no other event is on its way.
const DRAINED_AFTER: Duration = Duration::from_millis(400);

/// How long a capture waits for the stream of another one: longer than a schedule lets two of them overlap.
const HANDOVER_MAX_MS: i64 = 20_000;

/// How often it tries to acquire the stream meanwhile.
const HANDOVER_WAIT: Duration = Duration::from_millis(500);

/// Longest single wait of a polling capture, so that it notices a stop.
const POLL_WAIT: Duration = Duration::from_secs(1);

/// How long to wait for events between two pages of a backfill.
const BACKFILL_WAIT: Duration = Duration::from_millis(20);

/// How often a closed subscription is opened again in one run.
const REOPENED_MAX: usize = 5;

/// How long Salesforce keeps events (Pub/Sub API guide, "Event Message Durability").
const RETENTION_MS: i64 = 72 * 60 * 60 * 1_000;

/// A stream that was read to its end within this time has lost nothing, even if its position has aged out: all
/// events since then are still kept. On a quiet topic a newer position comes only after a longer wait than a
/// function may listen.
const READ_AGE_MAX_MS: i64 = RETENTION_MS / 3 * 2;

/// Returns the name of the tenant's event stream.
pub(super) fn stream() -> StreamName {
    StreamName::Events(ALL_CHANGES_TOPIC.to_owned())
}

/// Acquires the stream's lease and drains the stream. Between batches it reads objects that need a resync.
pub(super) async fn capture(
    job: &Job<'_>,
    options: &CaptureOptions,
) -> Result<CaptureReport, Error> {
    let window = Window::open(job, options).await?;
    let Some(lease) = acquire(job, options, &window).await? else {
        return Ok(CaptureReport {
            leased_elsewhere: true,
            ..CaptureReport::default()
        });
    };
    let mut drain = Drain {
        job,
        options,
        window,
        backfill: Backfill::of_all(job),
        report: CaptureReport::default(),
        from: replay_from(&lease),
        lease,
        opened: 0,
        received: false,
    };
    let ended = match drain.resync_if_incomplete().await {
        Ok(()) => drain.run().await,
        Err(error) => Err(error),
    };
    let Drain {
        backfill,
        report,
        lease,
        ..
    } = drain;
    backfill.close(job).await;
    job.release(lease).await;
    ended.map(|()| report)
}

/// Acquires the stream's lease. While the capture before this one ends, waits for it: a schedule starts each a
/// little before the other is over, so that one always listens.
async fn acquire(
    job: &Job<'_>,
    options: &CaptureOptions,
    window: &Window,
) -> Result<Option<StreamGuard>, Error> {
    let begun_ms = job.now_ms();
    loop {
        if let Some(lease) = job.acquire(&stream()).await? {
            return Ok(Some(lease));
        }
        let has_waited = job.now_ms() - begun_ms >= HANDOVER_MAX_MS;
        match window.wait(job, options, HANDOVER_WAIT) {
            Some(wait) if !has_waited => job.shared.pause(wait).await,
            Some(_) | None => return Ok(None),
        }
    }
}

/// Returns where to subscribe: strictly after the stored position. A stream without a position starts at
/// the oldest event kept, so that no event is lost between the subscription and the backfill.
fn replay_from(lease: &StreamLease) -> ReplayFrom {
    match &lease.position {
        Some(SourceCursor::SalesforceReplayId(bytes)) => ReplayFrom::After(bytes.clone()),
        Some(SourceCursor::OutboxId(_) | SourceCursor::Snapshot(_)) | None => ReplayFrom::Earliest,
    }
}

/// One run over the stream.
struct Drain<'a> {
    job: &'a Job<'a>,
    options: &'a CaptureOptions,
    window: Window,
    backfill: Backfill,
    report: CaptureReport,
    from: ReplayFrom,
    lease: StreamGuard,
    opened: usize,
    /// The open subscription has delivered a batch.
    received: bool,
}

/// What to do with the subscription next.
enum Next {
    Same,
    Reopen,
    Done,
}

impl Drain<'_> {
    /// Reads every object again if the stream has no position and was not read for so long that events may
    /// have been deleted unread.
    async fn resync_if_incomplete(&mut self) -> Result<(), Error> {
        match self.lease.position {
            None if !self.was_read_lately() => {
                self.start_over("the event stream was not read").await
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Returns whether the stream was read to its end so lately that all events since then are still kept. A
    /// new stream has missed nothing.
    fn was_read_lately(&self) -> bool {
        self.lease.age_ms.is_none_or(|age| age < READ_AGE_MAX_MS)
    }

    async fn run(&mut self) -> Result<(), Error> {
        loop {
            self.opened += 1;
            self.received = false;
            let mut stream = self.subscribe().await?;
            loop {
                match self.step(&mut *stream).await? {
                    Next::Same => {}
                    Next::Reopen => break,
                    Next::Done => return Ok(()),
                }
            }
        }
    }

    async fn subscribe(&self) -> Result<Box<dyn EventStream>, Error> {
        let objects: BTreeMap<ObjectName, Interest> = self
            .job
            .mapped_objects()
            .iter()
            .map(|mapped| (mapped.sync.object.clone(), interest_of(&mapped.sync)))
            .collect();
        let stream = self
            .job
            .salesforce()
            .subscribe(ALL_CHANGES_TOPIC, &self.from, &objects)
            .await?;
        Ok(stream)
    }

    /// Records one batch, or one page of the backfill, or both.
    async fn step(&mut self, stream: &mut dyn EventStream) -> Result<Next, Error> {
        if !self.window.is_open(self.job) || !self.job.keep(&mut self.lease).await? {
            return Ok(Next::Done);
        }
        let wait = self.patience();
        let quiet = match stream.next(EVENTS_MAX, wait).await {
            Ok(Some(batch)) => {
                self.received = true;
                // A batch without events is a keep-alive: its position is the newest, so nothing waits behind it.
                let is_keep_alive = batch.events == 0;
                self.record(batch).await?;
                is_keep_alive
            }
            Ok(None) => true,
            Err(end) => {
                self.ended(end).await?;
                return Ok(Next::Reopen);
            }
        };
        if self.backfill.is_pending() {
            self.backfill.step(self.job, &mut self.report).await?;
            return Ok(Next::Same);
        }
        let keeps_polling = self.window.wait(self.job, self.options, POLL_WAIT);
        self.lease.drained = quiet;
        Ok(if quiet && keeps_polling.is_none() {
            Next::Done
        } else {
            Next::Same
        })
    }

    /// Returns how long to wait for the next events.
    fn patience(&self) -> Duration {
        if self.backfill.is_pending() {
            return BACKFILL_WAIT;
        }
        let drained = if self.received {
            DRAINED_AFTER
        } else {
            FIRST_WAIT
        };
        self.window
            .wait(self.job, self.options, POLL_WAIT)
            .map_or(drained, |keep_polling| keep_polling.max(drained))
    }

    /// Makes a batch durable and moves the position over it, in one transaction.
    async fn record(&mut self, batch: EventBatch) -> Result<(), Error> {
        if !batch.needs_resync.is_empty() {
            self.mark_needs_resync(&batch.needs_resync, "events of the object were lost")
                .await?;
        }
        let observations = complete(self.job, Arrival::InOrder, batch.observations).await?;
        let position = StreamPosition {
            cursor: batch.position.clone(),
            needs_resync: Some(false),
            out_of_scope: batch.out_of_scope,
        };
        let stream = Some((&mut *self.lease, position));
        let dirty = record_in_parts(self.job, observations, stream, &mut self.report).await?;
        self.from = replay_from(&self.lease);
        wake_up_for(self.job, dirty, &mut self.report).await
    }

    /// Decides where to reopen a closed subscription.
    async fn ended(&mut self, end: StreamEnd) -> Result<(), Error> {
        if self.opened > REOPENED_MAX {
            return Err(end.into());
        }
        match end {
            StreamEnd::PositionLost(reason) => {
                tracing::warn!(tenant = %self.job.id(), reason, "the stored replay position is lost");
                self.start_over("the stored replay position was lost").await
            }
            StreamEnd::Closed(reason) => {
                tracing::info!(tenant = %self.job.id(), reason, "the subscription is opened again");
                Ok(())
            }
            StreamEnd::Refused(error) => Err(error.into()),
        }
    }

    /// Starts at the oldest event kept. If events may have been deleted unread, every object is read again. One
    /// transaction, so that a resync that is done is not done again.
    async fn start_over(&mut self, reason: &str) -> Result<(), Error> {
        let mapped_objects = self.job.mapped_objects().iter();
        let missed: Vec<ObjectName> = match self.was_read_lately() {
            true => Vec::new(),
            false => mapped_objects
                .map(|mapped| mapped.sync.object.clone())
                .collect(),
        };
        let store = self.job.store();
        store
            .clear_position(&mut self.lease, &missed, reason)
            .await?;
        self.backfill.add(&missed);
        self.from = ReplayFrom::Earliest;
        Ok(())
    }

    async fn mark_needs_resync(
        &mut self,
        objects: &[ObjectName],
        reason: &str,
    ) -> Result<(), Error> {
        self.job
            .store()
            .mark_needs_resync(self.job.id(), objects, reason)
            .await?;
        self.backfill.add(objects);
        Ok(())
    }
}

/// Reads relayed events with the current mapping, and records them.
pub(crate) async fn record_envelopes(
    job: &Job<'_>,
    events: &[RelayedEvent],
) -> Result<CaptureReport, Error> {
    let batch = read_events(job, events)?;
    let mut report = record_relayed(job, batch.observations, &batch.needs_resync).await?;
    report.counts.seen += batch.out_of_scope;
    report.counts.out_of_scope += batch.out_of_scope;
    tracing::info!(
        tenant = %job.id(),
        events = events.len(),
        seen = report.counts.seen,
        journaled = report.counts.journaled,
        duplicate = report.counts.duplicate,
        refused = report.counts.refused,
        out_of_scope = report.counts.out_of_scope,
        needs_resync = batch.needs_resync.len(),
        dirty = report.dirty,
        echoes = report.echoes,
        "captured relayed events"
    );
    Ok(report)
}

/// Records one event of a stream that the caller reads itself, and moves the stream's position over it.
pub(crate) async fn record_streamed(
    job: &Job<'_>,
    event: &RelayedEvent,
    lease: &mut StreamLease,
    cursor: SourceCursor,
) -> Result<CaptureReport, Error> {
    let batch = read_events(job, std::slice::from_ref(event))?;
    let position = StreamPosition {
        cursor,
        needs_resync: None,
        out_of_scope: batch.out_of_scope,
    };
    let stream = Some((lease, position));
    record_unordered(job, batch.observations, &batch.needs_resync, stream).await
}

fn read_events(job: &Job<'_>, events: &[RelayedEvent]) -> Result<RelayedBatch, Error> {
    let objects = job
        .mapped_objects()
        .iter()
        .map(|mapped| (Arc::clone(&mapped.schema), interest_of(&mapped.sync)))
        .collect();
    Ok(read_relayed(objects, &job.loaded().user, events)?)
}

/// Records events without a stream position.
pub(crate) async fn record_relayed(
    job: &Job<'_>,
    observations: Vec<SalesforceObservation>,
    needs_resync: &[ObjectName],
) -> Result<CaptureReport, Error> {
    record_unordered(job, observations, needs_resync, None).await
}

async fn record_unordered(
    job: &Job<'_>,
    observations: Vec<SalesforceObservation>,
    needs_resync: &[ObjectName],
    stream: Option<(&mut StreamLease, StreamPosition)>,
) -> Result<CaptureReport, Error> {
    let mut report = CaptureReport::default();
    if !needs_resync.is_empty() {
        job.store()
            .mark_needs_resync(job.id(), needs_resync, "events of the object were lost")
            .await?;
    }
    let observations = complete(job, Arrival::Unordered, observations).await?;
    let dirty = record_in_parts(job, observations, stream, &mut report).await?;
    wake_up_for(job, dirty, &mut report).await?;
    Ok(report)
}

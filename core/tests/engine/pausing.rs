//! A Salesforce port that pauses where a test needs it, and never waits for a quiet stream.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use salesforce_org::Position;
use syncline::model::cursor::SourceCursor;
use syncline::model::ids::{FieldName, ObjectName, SalesforceId};
use syncline::model::schema::{Cascade, ObjectSchema};
use syncline::ports::salesforce::{
    ApiUsage, ChangeEvents, EventBatch, EventStream, FilterTrial, Interest, Lane, ListedObject,
    ObjectAccess, OrgClock, OrgIdentity, ReadBy, ReplayFrom, SalesforceError, SalesforcePort,
    SalesforceRecord, ScanPage, StreamEnd, Write, WriteOutcome,
};
use tokio::sync::Notify;

use crate::local_org::LocalOrg;

/// An action of a test just before a write.
type Action = Box<dyn FnOnce() + Send>;

/// Forwards every call, and pauses some.
pub(crate) struct PausingSalesforce {
    inner: Arc<dyn SalesforcePort>,
    org: LocalOrg,
    pause: PauseAt,
    before: Mutex<Option<Action>>,
    /// Subscriptions that panic.
    panics: AtomicUsize,
    /// Notified when a call pauses.
    pub(crate) paused: Notify,
    /// Resumes a paused call.
    pub(crate) resume: Notify,
}

/// Where calls pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PauseAt {
    /// Nowhere.
    Never,
    /// Records or a stream are leased; nothing is read yet.
    BeforeReading,
    /// The intent is committed; nothing is sent.
    BeforeWriting,
    /// Salesforce has committed; the response has not arrived.
    AfterWriting,
}

impl PausingSalesforce {
    /// Wraps a port for this org.
    pub(crate) fn new(inner: Arc<dyn SalesforcePort>, org: &LocalOrg, pause: PauseAt) -> Arc<Self> {
        Arc::new(Self {
            inner,
            org: org.clone(),
            pause,
            before: Mutex::new(None),
            panics: AtomicUsize::new(0),
            paused: Notify::new(),
            resume: Notify::new(),
        })
    }

    /// Runs an action just before the next write is sent.
    pub(crate) fn before_next_write(&self, action: impl FnOnce() + Send + 'static) {
        *self.before.lock().unwrap() = Some(Box::new(action));
    }

    /// Lets the next subscriptions panic, as a fault of the engine does.
    pub(crate) fn panic_at_subscriptions(&self, count: usize) {
        self.panics.store(count, Ordering::Relaxed);
    }

    /// Returns how many subscriptions are still to panic.
    pub(crate) fn panics_left(&self) -> usize {
        self.panics.load(Ordering::Relaxed)
    }

    async fn pause_at(&self, place: PauseAt) {
        if self.pause == place {
            self.paused.notify_one();
            self.resume.notified().await;
        }
    }
}

#[async_trait]
impl SalesforcePort for PausingSalesforce {
    async fn identity(&self) -> Result<OrgIdentity, SalesforceError> {
        self.inner.identity().await
    }

    async fn sign_in_again(&self) -> Result<(), SalesforceError> {
        self.inner.sign_in_again().await
    }

    fn use_org(&self, organization: &SalesforceId) {
        self.inner.use_org(organization);
    }

    fn clock(&self) -> Option<OrgClock> {
        self.inner.clock()
    }

    fn api_usage(&self) -> Option<ApiUsage> {
        self.inner.api_usage()
    }

    fn require_allowance(&self) -> Result<(), SalesforceError> {
        self.inner.require_allowance()
    }

    fn ask_usage_again(&self) {
        self.inner.ask_usage_again();
    }

    async fn deleted_since(
        &self,
        object: &ObjectName,
        since_ms: i64,
        until_ms: i64,
    ) -> Result<BTreeSet<SalesforceId>, SalesforceError> {
        self.inner.deleted_since(object, since_ms, until_ms).await
    }

    async fn describe(&self, object: &ObjectName) -> Result<ObjectSchema, SalesforceError> {
        self.inner.describe(object).await
    }

    async fn describe_with_access(
        &self,
        object: &ObjectName,
    ) -> Result<(ObjectSchema, ObjectAccess), SalesforceError> {
        self.inner.describe_with_access(object).await
    }

    async fn objects(&self) -> Result<Vec<ListedObject>, SalesforceError> {
        self.inner.objects().await
    }

    fn know_schema(&self, schema: &ObjectSchema) {
        self.inner.know_schema(schema);
    }

    fn forget_schema(&self, object: &ObjectName) {
        self.inner.forget_schema(object);
    }

    async fn write(&self, writes: &[Write], lane: Lane, timeout: Duration) -> Vec<WriteOutcome> {
        if let Some(action) = self.before.lock().unwrap().take() {
            action();
        }
        self.pause_at(PauseAt::BeforeWriting).await;
        let outcomes = self.inner.write(writes, lane, timeout).await;
        self.pause_at(PauseAt::AfterWriting).await;
        outcomes
    }

    async fn read(
        &self,
        object: &ObjectName,
        by: &ReadBy,
        fields: &[FieldName],
    ) -> Result<Vec<SalesforceRecord>, SalesforceError> {
        self.pause_at(PauseAt::BeforeReading).await;
        self.inner.read(object, by, fields).await
    }

    async fn modified_at(
        &self,
        object: &ObjectName,
        ids: &[SalesforceId],
    ) -> Result<BTreeMap<SalesforceId, i64>, SalesforceError> {
        self.inner.modified_at(object, ids).await
    }

    async fn referenced(
        &self,
        lookup: &Cascade,
        filter: Option<&str>,
        ids: &[SalesforceId],
    ) -> Result<BTreeSet<SalesforceId>, SalesforceError> {
        self.inner.referenced(lookup, filter, ids).await
    }

    async fn scan(
        &self,
        object: &ObjectName,
        fields: &[FieldName],
        filter: Option<&str>,
        after: Option<&SalesforceId>,
    ) -> Result<ScanPage, SalesforceError> {
        self.pause_at(PauseAt::BeforeReading).await;
        self.inner.scan(object, fields, filter, after).await
    }

    async fn try_filter(
        &self,
        object: &ObjectName,
        fields: &[FieldName],
        filter: &str,
    ) -> Result<FilterTrial, SalesforceError> {
        self.inner.try_filter(object, fields, filter).await
    }

    async fn sees_encrypted_text(&self) -> Result<Option<bool>, SalesforceError> {
        self.inner.sees_encrypted_text().await
    }

    async fn changed_since(
        &self,
        object: &ObjectName,
        fields: &[FieldName],
        since_ms: i64,
        after: Option<&SalesforceId>,
    ) -> Result<ScanPage, SalesforceError> {
        self.inner
            .changed_since(object, fields, since_ms, after)
            .await
    }

    async fn subscribe(
        &self,
        topic: &str,
        from: &ReplayFrom,
        objects: &BTreeMap<ObjectName, Interest>,
    ) -> Result<Box<dyn EventStream>, SalesforceError> {
        let left = self.panics.load(Ordering::Relaxed);
        self.panics.store(left.saturating_sub(1), Ordering::Relaxed);
        assert_eq!(left, 0, "the test lets it panic");
        let inner = self.inner.subscribe(topic, from, objects).await?;
        Ok(Box::new(PromptStream {
            inner,
            org: self.org.clone(),
            topic: topic.to_owned(),
            position: match from {
                ReplayFrom::After(position) => Some(position.clone()),
                ReplayFrom::Earliest => None,
            },
        }))
    }

    async fn count(
        &self,
        object: &ObjectName,
        filter: Option<&str>,
        empty: Option<&FieldName>,
    ) -> Result<u64, SalesforceError> {
        self.inner.count(object, filter, empty).await
    }

    async fn change_events(&self, object: &ObjectName) -> Result<ChangeEvents, SalesforceError> {
        self.inner.change_events(object).await
    }

    async fn probe(&self) -> Result<(), SalesforceError> {
        self.inner.probe().await
    }
}

/// A subscription that returns at once when the org has no more events for it.
///
/// The client alone would wait in real time, since it cannot know that there are no more events.
struct PromptStream {
    inner: Box<dyn EventStream>,
    org: LocalOrg,
    topic: String,
    position: Option<Vec<u8>>,
}

impl PromptStream {
    /// Returns whether the caller has everything: up to the newest position, or all events if no position
    /// comes without one.
    fn is_quiet(&self) -> bool {
        if !self.org.keeps_alive {
            let from = self
                .position
                .clone()
                .map_or(Position::Earliest, Position::After);
            let next = self.org.with(|org| org.fetch(&self.topic, &from, 1));
            return next.is_ok_and(|next| next.events.is_empty());
        }
        let head = self
            .org
            .with(|org| org.fetch(&self.topic, &Position::Latest, 0));
        head.is_ok_and(|head| Some(head.latest_replay_id) == self.position)
    }
}

#[async_trait]
impl EventStream for PromptStream {
    async fn next(
        &mut self,
        events_max: usize,
        wait: Duration,
    ) -> Result<Option<EventBatch>, StreamEnd> {
        while !self.is_quiet() {
            let Some(batch) = self.inner.next(events_max, wait).await? else {
                return Ok(None);
            };
            let SourceCursor::SalesforceReplayId(position) = &batch.position else {
                panic!("a position of the event bus: {:?}", batch.position);
            };
            let known = self.position.replace(position.clone());
            // A keep-alive sent before the events of the last batch has no new position.
            if batch.events > 0 || !batch.needs_resync.is_empty() || known != self.position {
                return Ok(Some(batch));
            }
        }
        // A real stream waits and lets other futures run. Without this, a capture that polls in a loop
        // would block its thread.
        tokio::task::yield_now().await;
        Ok(None)
    }
}

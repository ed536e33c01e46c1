//! A Salesforce port that can be stopped at the exact moment a test needs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use syncline::model::ids::{FieldName, ObjectName, SalesforceId};
use syncline::model::schema::ObjectSchema;
use syncline::ports::salesforce::{
    EventStream, FilterTrial, Interest, OrgIdentity, OrgLimits, ReadBy, ReplayFrom,
    SalesforceError, SalesforcePort, SalesforceRecord, ScanPage, Write, WriteLane, WriteOutcome,
};
use tokio::sync::Notify;

/// Something a test does in the middle of a write.
type Deed = Box<dyn FnOnce() + Send>;

/// Passes everything on, but holds calls where it was told to.
pub(crate) struct PausingSalesforce {
    inner: Arc<dyn SalesforcePort>,
    hold: PauseAt,
    before: Mutex<Option<Deed>>,
    /// Told once a call is held.
    pub(crate) held: Notify,
    /// Lets a held call go on.
    pub(crate) release: Notify,
}

/// Where calls are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PauseAt {
    /// Nowhere.
    Never,
    /// Records are leased, or a stream is, and nothing is known of them yet.
    BeforeReading,
    /// The intent is committed, nothing has left.
    BeforeWriting,
    /// Salesforce has committed, the answer has not arrived.
    AfterWriting,
}

impl PausingSalesforce {
    /// Wraps a port.
    pub(crate) fn new(inner: Arc<dyn SalesforcePort>, hold: PauseAt) -> Arc<Self> {
        Arc::new(Self {
            inner,
            hold,
            before: Mutex::new(None),
            held: Notify::new(),
            release: Notify::new(),
        })
    }

    /// Does `deed` just before the next write leaves.
    pub(crate) fn before_next_write(&self, deed: impl FnOnce() + Send + 'static) {
        *self.before.lock().unwrap() = Some(Box::new(deed));
    }

    async fn pause_at(&self, place: PauseAt) {
        if self.hold == place {
            self.held.notify_one();
            self.release.notified().await;
        }
    }
}

#[async_trait]
impl SalesforcePort for PausingSalesforce {
    async fn identity(&self) -> Result<OrgIdentity, SalesforceError> {
        self.inner.identity().await
    }

    async fn describe(&self, object: &ObjectName) -> Result<ObjectSchema, SalesforceError> {
        self.inner.describe(object).await
    }

    fn forget_schema(&self, object: &ObjectName) {
        self.inner.forget_schema(object);
    }

    async fn write(
        &self,
        writes: &[Write],
        lane: WriteLane,
        timeout: Duration,
    ) -> Vec<WriteOutcome> {
        if let Some(deed) = self.before.lock().unwrap().take() {
            deed();
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
        self.inner.subscribe(topic, from, objects).await
    }

    async fn limits(&self) -> Result<OrgLimits, SalesforceError> {
        self.inner.limits().await
    }
}

//! The Salesforce client: the only place that speaks HTTP, gRPC or SOQL to an org.
//!
//! [`HttpSalesforce`] implements [`SalesforcePort`]. Below it: [`Transport`] carries requests and
//! answers, over the network or within the process; `auth` obtains and shares the session, `rest` makes
//! calls, `classify` says what errors mean, `write`, `read` and `describe` are the REST resources,
//! `pubsub` is the event stream with `avro`, `bitmap` and `event` to decode it, `relay` reads the same
//! events where EventBridge brings them. Nothing here decides what to write; it reports what happened.

mod advice;
mod allowance;
mod auth;
mod avro;
mod bitmap;
mod classify;
mod clock;
mod describe;
mod event;
#[cfg(test)]
mod fixture;
mod pubsub;
mod read;
mod relay;
mod rest;
mod soql;
mod transport;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use secrecy::SecretString;

use self::allowance::Allowance;
use self::auth::SessionCache;
use self::describe::Schemas;
use self::pubsub::{EventBus, EventFilter};
use self::read::Reader;
use self::rest::RestClient;
use self::transport::Network;
use self::write::Writer;
use crate::config::{AuthFlow, SalesforceConfig};
use crate::model::ids::{FieldName, ObjectName, SalesforceId};
use crate::model::schema::{Cascade, ObjectSchema};
use crate::ports::SecretSource;
use crate::ports::salesforce::{
    ApiUsage, ChangeEvents, EventStream, FilterTrial, Interest, Lane, ListedObject, ObjectAccess,
    OrgClock, OrgIdentity, ReadBy, ReplayFrom, SalesforceError, SalesforcePort, SalesforceRecord,
    ScanPage, Write, WriteOutcome,
};

pub use self::advice::advice;
pub use self::auth::{Login, MemoryTokenStore, Session, TokenStore, TokenStoreError};
pub use self::classify::Fault;
pub use self::relay::{RelayError, RelayedBatch, RelayedEvent, read_relayed};
pub use self::transport::{GrpcBody, GrpcFailure, HttpFailure, Transport};

/// How to reach an org and log in to it.
#[derive(Debug, Clone)]
pub struct SalesforceOptions {
    /// Login or My Domain URL.
    pub login_url: String,
    /// Pub/Sub endpoint; `http://` connects without TLS.
    pub pubsub_url: String,
    /// REST API version, as `68.0`.
    pub api_version: String,
    /// Consumer key.
    pub client_id: String,
    /// How to log in.
    pub login: Login,
    /// Where the secret of the login is read again if the org refuses it, because it was replaced.
    pub secret_source: Option<SecretSource>,
    /// The tag that our writes carry, by which change events show that a change was ours.
    pub client_tag: String,
    /// Most concurrent calls, for writes and for reads.
    pub calls_in_flight: usize,
    /// Rows of one page of a scan; at most what one query response holds.
    pub page_rows: usize,
    /// Percent of the org's API requests of 24 hours that are left to its other users; 0 to 90.
    pub reserve_percent: u32,
}

/// The global endpoint of the Pub/Sub API.
pub const PUBSUB_URL: &str = "https://api.pubsub.salesforce.com:7443";

/// The channel with the change events of every object selected in the org. It needs one subscription and
/// one stored position.
pub const ALL_CHANGES_TOPIC: &str = "/data/ChangeEvents";

/// The tag that our writes carry in `Sforce-Call-Options`.
pub const CLIENT_TAG: &str = "syncline";

/// Rows of one page of a scan: the most that one query response holds (SOQL reference, "batchSize").
const PAGE_ROWS: usize = 2_000;

/// Concurrent calls: enough to hide a round trip, and far below the 25 long-running ones that an org
/// allows for all its clients together.
const CALLS_IN_FLIGHT: usize = 4;

impl SalesforceOptions {
    /// Returns the options for an org, with defaults for everything else.
    pub fn new(login_url: &str, client_id: &str, login: Login, api_version: &str) -> Self {
        Self {
            login_url: login_url.to_owned(),
            pubsub_url: PUBSUB_URL.to_owned(),
            api_version: api_version.to_owned(),
            client_id: client_id.to_owned(),
            login,
            secret_source: None,
            client_tag: CLIENT_TAG.to_owned(),
            calls_in_flight: CALLS_IN_FLIGHT,
            page_rows: PAGE_ROWS,
            reserve_percent: 0,
        }
    }

    /// Returns the options that a tenant's configuration gives, with the secret it points to: the
    /// private key (PEM) or the client secret.
    pub fn from_config(config: &SalesforceConfig, api_version: &str, secret: SecretString) -> Self {
        let login = match &config.auth {
            AuthFlow::Jwt { username } => Login::JwtBearer {
                username: username.clone(),
                private_key: secret,
                audience: None,
            },
            AuthFlow::ClientCredentials => Login::ClientCredentials { secret },
        };
        Self {
            pubsub_url: config.pubsub_url.clone(),
            ..Self::new(&config.login_url, &config.client_id, login, api_version)
        }
    }
}

/// One org.
pub struct HttpSalesforce {
    rest: RestClient,
    sessions: Arc<SessionCache>,
    schemas: Schemas,
    events: EventBus,
    calls_in_flight: usize,
    page_rows: usize,
}

impl HttpSalesforce {
    /// Prepares a client over the network; nothing is sent yet. Fails if the private key or the Pub/Sub
    /// address is invalid.
    pub fn new(
        options: SalesforceOptions,
        tokens: Arc<dyn TokenStore>,
    ) -> Result<Self, SalesforceError> {
        let network = Network::new(&options.pubsub_url)?;
        Self::over(Arc::new(network), options, tokens)
    }

    /// Prepares a client over another transport; nothing is sent yet. Fails if the private key is
    /// invalid.
    pub fn over(
        transport: Arc<dyn Transport>,
        options: SalesforceOptions,
        tokens: Arc<dyn TokenStore>,
    ) -> Result<Self, SalesforceError> {
        let sessions = SessionCache::new(
            Arc::clone(&transport),
            &options.login_url,
            &options.client_id,
            options.login,
            tokens,
        )?;
        let sessions = Arc::new(sessions.with_secret_source(options.secret_source));
        Ok(Self {
            rest: RestClient::new(
                Arc::clone(&transport),
                Arc::clone(&sessions),
                &options.api_version,
                &options.client_tag,
                Allowance::new(options.reserve_percent),
            ),
            events: EventBus::new(transport, &options.client_tag, Arc::clone(&sessions)),
            sessions,
            schemas: Schemas::default(),
            calls_in_flight: options.calls_in_flight.max(1),
            page_rows: options.page_rows.max(1),
        })
    }

    fn reader(&self) -> Reader<'_> {
        Reader {
            rest: &self.rest,
            schemas: &self.schemas,
            calls_in_flight: self.calls_in_flight,
            page_rows: self.page_rows,
        }
    }
}

impl fmt::Debug for HttpSalesforce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSalesforce")
            .field("usage", &self.api_usage())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl SalesforcePort for HttpSalesforce {
    async fn identity(&self) -> Result<OrgIdentity, SalesforceError> {
        Ok(self.sessions.of_any_org().await?.identity())
    }

    async fn sign_in_again(&self) -> Result<(), SalesforceError> {
        self.sessions.replace().await
    }

    fn use_org(&self, organization: &SalesforceId) {
        self.sessions.expect(organization);
    }

    fn clock(&self) -> Option<OrgClock> {
        self.rest.clock()
    }

    fn api_usage(&self) -> Option<ApiUsage> {
        self.rest.allowance.usage()
    }

    fn require_allowance(&self) -> Result<(), SalesforceError> {
        self.rest.allowance.require("the next call")
    }

    fn ask_usage_again(&self) {
        self.rest.allowance.ask_again();
    }

    async fn deleted_since(
        &self,
        object: &ObjectName,
        since_ms: i64,
        until_ms: i64,
    ) -> Result<BTreeSet<SalesforceId>, SalesforceError> {
        self.reader()
            .deleted_since(object, since_ms, until_ms)
            .await
    }

    async fn describe(&self, object: &ObjectName) -> Result<ObjectSchema, SalesforceError> {
        let schema = self.schemas.get(&self.rest, object).await?;
        Ok(ObjectSchema::clone(&schema))
    }

    async fn describe_with_access(
        &self,
        object: &ObjectName,
    ) -> Result<(ObjectSchema, ObjectAccess), SalesforceError> {
        let (schema, access) = describe::with_access(&self.rest, object).await?;
        self.schemas.know(&schema);
        Ok((schema, access))
    }

    async fn objects(&self) -> Result<Vec<ListedObject>, SalesforceError> {
        describe::objects(&self.rest).await
    }

    fn forget_schema(&self, object: &ObjectName) {
        self.schemas.forget(object);
    }

    fn know_schema(&self, schema: &ObjectSchema) {
        self.schemas.know(schema);
    }

    async fn write(&self, writes: &[Write], lane: Lane, timeout: Duration) -> Vec<WriteOutcome> {
        let writer = Writer {
            rest: &self.rest,
            schemas: &self.schemas,
            calls_in_flight: self.calls_in_flight,
            deadline: Instant::now() + timeout,
        };
        writer.write(writes, lane).await
    }

    async fn read(
        &self,
        object: &ObjectName,
        by: &ReadBy,
        fields: &[FieldName],
    ) -> Result<Vec<SalesforceRecord>, SalesforceError> {
        self.reader().by(object, by, fields).await
    }

    async fn modified_at(
        &self,
        object: &ObjectName,
        ids: &[SalesforceId],
    ) -> Result<BTreeMap<SalesforceId, i64>, SalesforceError> {
        self.reader().modified_at(object, ids).await
    }

    async fn referenced(
        &self,
        lookup: &Cascade,
        filter: Option<&str>,
        ids: &[SalesforceId],
    ) -> Result<BTreeSet<SalesforceId>, SalesforceError> {
        self.reader().referenced(lookup, filter, ids).await
    }

    async fn scan(
        &self,
        object: &ObjectName,
        fields: &[FieldName],
        filter: Option<&str>,
        after: Option<&SalesforceId>,
    ) -> Result<ScanPage, SalesforceError> {
        self.reader().page(object, fields, filter, after).await
    }

    async fn try_filter(
        &self,
        object: &ObjectName,
        fields: &[FieldName],
        filter: &str,
    ) -> Result<FilterTrial, SalesforceError> {
        self.reader().try_filter(object, fields, filter).await
    }

    async fn sees_encrypted_text(&self) -> Result<Option<bool>, SalesforceError> {
        self.reader().sees_encrypted_text().await
    }

    async fn changed_since(
        &self,
        object: &ObjectName,
        fields: &[FieldName],
        since_ms: i64,
        after: Option<&SalesforceId>,
    ) -> Result<ScanPage, SalesforceError> {
        self.reader()
            .changed_since(object, fields, since_ms, after)
            .await
    }

    async fn subscribe(
        &self,
        topic: &str,
        from: &ReplayFrom,
        objects: &BTreeMap<ObjectName, Interest>,
    ) -> Result<Box<dyn EventStream>, SalesforceError> {
        let mut mapped = EventFilter::default();
        for (object, interest) in objects {
            let schema = self.schemas.get(&self.rest, object).await?;
            mapped.add(schema, interest)?;
        }
        let stream = self.events.subscribe(topic, from, mapped).await?;
        Ok(Box::new(stream))
    }

    async fn count(
        &self,
        object: &ObjectName,
        filter: Option<&str>,
        empty: Option<&FieldName>,
    ) -> Result<u64, SalesforceError> {
        self.reader().count(object, filter, empty).await
    }

    async fn change_events(&self, object: &ObjectName) -> Result<ChangeEvents, SalesforceError> {
        self.events.change_events(object).await
    }

    async fn probe(&self) -> Result<(), SalesforceError> {
        self.reader().probe().await
    }
}

//! The local org in this process, a client for it, and actions of its users.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use salesforce_org::in_process::{BASE_URL, InProcess};
use salesforce_org::server::{self, Running};
use salesforce_org::{Fault, FaultAction, Org, RecordId, Request, local};
use secrecy::SecretString;
use serde_json::{Value as Json, json};
use syncline::salesforce::{
    GrpcBody, GrpcFailure, HttpFailure, HttpSalesforce, Login, MemoryTokenStore, SalesforceOptions,
    Transport,
};

/// Base path of the REST API.
pub(crate) const BASE: &str = "/services/data/v62.0";

/// How soon a quiet subscription gets the newest position: at once, so that no test waits.
const KEEP_ALIVE: Duration = Duration::from_millis(1);

/// How soon a quiet subscription gets the newest position in Salesforce.
const LONG_KEEP_ALIVE: Duration = Duration::from_secs(270);

/// Rows of one page of a scan: few, so that tests with some records read several pages.
const PAGE_ROWS: usize = 50;

/// More deliveries than any test has.
const EVERY_DELIVERY: u32 = 1_000_000;

/// The org, shared with the test that acts as its users.
#[derive(Clone)]
pub(crate) struct LocalOrg {
    access: Access,
    /// A quiet subscription gets the newest position.
    pub(crate) keeps_alive: bool,
}

/// How the org is reached.
#[derive(Clone)]
enum Access {
    /// By function calls in this process.
    InProcess(InProcess),
    /// Over the network.
    Network(Arc<Running>),
}

impl LocalOrg {
    /// Returns the built-in org without records.
    pub(crate) fn new() -> Self {
        Self::of(Org::default())
    }

    /// Returns this org in this process.
    pub(crate) fn of(org: Org) -> Self {
        Self {
            access: Access::InProcess(InProcess::new(org, KEEP_ALIVE)),
            keeps_alive: true,
        }
    }

    /// Returns the built-in org as a function sees it that never listens long enough for a keep-alive.
    pub(crate) fn without_keep_alives() -> Self {
        Self {
            access: Access::InProcess(InProcess::new(Org::default(), LONG_KEEP_ALIVE)),
            keeps_alive: false,
        }
    }

    /// Returns the same org, reached over the network.
    pub(crate) async fn served() -> Self {
        let running = server::start(Org::default(), &server::Options::default()).await;
        Self {
            access: Access::Network(Arc::new(running.unwrap())),
            keeps_alive: true,
        }
    }

    /// Returns a client that logs in as the integration user at its first call.
    pub(crate) fn client(&self) -> HttpSalesforce {
        self.client_leaving(0)
    }

    /// Returns a client that leaves this percentage of the org's API requests to others.
    pub(crate) fn client_leaving(&self, reserve_percent: u32) -> HttpSalesforce {
        let options = |url: &str| {
            let secret = SecretString::from(local::CLIENT_SECRET);
            let login = Login::ClientCredentials { secret };
            SalesforceOptions {
                reserve_percent,
                ..SalesforceOptions::new(url, local::CLIENT_ID, login, "62.0")
            }
        };
        let tokens = Arc::new(MemoryTokenStore::default());
        let client = match &self.access {
            Access::InProcess(org) => {
                let transport = Arc::new(OrgTransport(org.clone()));
                let options = SalesforceOptions {
                    page_rows: PAGE_ROWS,
                    ..options(BASE_URL)
                };
                HttpSalesforce::over(transport, options, tokens)
            }
            Access::Network(running) => {
                let options = SalesforceOptions {
                    pubsub_url: running.grpc_url(),
                    ..options(&running.http_url())
                };
                HttpSalesforce::new(options, tokens)
            }
        };
        client.unwrap()
    }

    /// Runs a function on the org itself.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Org) -> T) -> T {
        match &self.access {
            Access::InProcess(org) => org.with_org(act),
            Access::Network(running) => running.with_org(act),
        }
    }

    /// Delivers every event twice from now on.
    pub(crate) fn duplicate_events(&self) {
        let always = FaultAction::DuplicateEvents.once().times(EVERY_DELIVERY);
        self.fault(&always);
    }

    /// Updates several accounts as a user, in one transaction: Salesforce merges it into one event.
    pub(crate) fn update_together(&self, ids: &[String], fields: &Json) {
        let records: Vec<Json> = ids
            .iter()
            .map(|id| {
                let mut record = fields.clone();
                record["attributes"] = json!({"type": "Account"});
                record["id"] = json!(id);
                record
            })
            .collect();
        let target = format!("{BASE}/composite/sobjects");
        let body = json!({"allOrNone": true, "records": records});
        let answer = self.with(|org| {
            let token = org.open_session(local::PERSON).unwrap();
            org.request(&Request::new("PATCH", &target).bearer(&token).json(&body))
        });
        assert_eq!(answer.status, 200, "{:?}", answer.to_json());
    }

    /// Creates a record as a user.
    pub(crate) fn insert(&self, object: &str, fields: Json) -> String {
        let id = self.with(|org| org.insert_as(local::PERSON, object, &fields));
        id.unwrap().to_string()
    }

    /// Updates a record as a user.
    pub(crate) fn update(&self, id: &str, fields: Json) {
        let id = RecordId::parse(id).unwrap();
        self.with(|org| org.update_as(local::PERSON, id, &fields))
            .unwrap();
    }

    /// Deletes a record as a user.
    pub(crate) fn delete(&self, id: &str) {
        let id = RecordId::parse(id).unwrap();
        self.with(|org| org.delete_as(local::PERSON, id)).unwrap();
    }

    /// Merges one record into another as a user.
    pub(crate) fn merge(&self, master: &str, loser: &str) {
        let order = json!({"user": local::PERSON, "master": master, "merged": [loser]});
        self.control("POST", "merge", &order);
    }

    /// Restores a record from the recycle bin as a user.
    pub(crate) fn undelete(&self, id: &str) {
        let id = RecordId::parse(id).unwrap();
        self.with(|org| org.undelete_as(local::PERSON, id)).unwrap();
    }

    /// Returns the value of a field as text.
    pub(crate) fn value(&self, id: &str, field: &str) -> Option<String> {
        self.with(|org| org.value_of(RecordId::parse(id).unwrap(), field))
    }

    /// Counts the live records of an object.
    pub(crate) fn count(&self, object: &str) -> usize {
        self.with(|org| org.count(object))
    }

    /// Returns the id of the live record with this external id.
    pub(crate) fn id_of(&self, object: &str, external_id: &str) -> Option<String> {
        let soql = format!("select Id from {object} where External_Id__c = '{external_id}'");
        let rows = self.query(&soql);
        rows.first()
            .map(|row| row["Id"].as_str().unwrap().to_owned())
    }

    /// Reads live records without faults and call counters.
    pub(crate) fn query(&self, soql: &str) -> Vec<Json> {
        let target = format!("{BASE}/query?q={}", encoded(soql));
        let answer = self.with(|org| {
            let token = org.open_session(local::PERSON).unwrap();
            org.request(&Request::new("GET", &target).bearer(&token))
        });
        answer.to_json()["records"].as_array().unwrap().clone()
    }

    /// Moves the org's clock forward.
    pub(crate) fn advance_ms(&self, ms: i64) {
        self.with(|org| org.advance_ms(ms));
    }

    /// Sets the org's clock to that of the machine: polls query by time.
    pub(crate) fn set_wall_ms(&self, ms: i64) {
        self.with(|org| org.set_wall_ms(ms));
    }

    /// Makes the org fail in this way.
    pub(crate) fn fault(&self, fault: &Fault) {
        self.with(|org| org.declare(fault));
    }

    /// Ends every fault that was declared, every planned refusal of the event bus, and every lock.
    pub(crate) fn end_faults(&self) {
        for what in ["faults", "pubsub/refusals", "locks"] {
            self.control("DELETE", what, &json!({}));
        }
    }

    /// An administrator changes the schema of an object: its validation rules, its fields, its events.
    pub(crate) fn administer(&self, object: &str, change: Json) {
        let mut order = change;
        order["object"] = json!(object);
        self.control("POST", "schema", &order);
    }

    /// Makes the org do what this control endpoint offers.
    pub(crate) fn order(&self, endpoint: &str, order: &Json) {
        self.control("POST", endpoint, order);
    }

    /// Adds automation.
    pub(crate) fn flow(&self, flow: Json) {
        self.control("POST", "flow", &flow);
    }

    /// An administrator changes the type of a field.
    pub(crate) fn convert(&self, object: &str, field: Json) {
        self.administer(object, json!({"convert_field": field}));
    }

    /// An administrator replaces the restrictions of our user.
    pub(crate) fn restrict(&self, permissions: &Json) {
        let mut order = permissions.clone();
        order["user"] = json!(local::INTEGRATION_USER);
        self.control("POST", "permissions", &order);
    }

    /// Ends every session.
    pub(crate) fn expire_sessions(&self) {
        self.control("POST", "sessions/expire", &json!({}));
    }

    /// Returns the number of calls by method and resource.
    pub(crate) fn calls(&self) -> BTreeMap<String, u64> {
        let stats = self.control("GET", "stats", &json!({}));
        let calls = stats["calls"].as_object().unwrap();
        calls
            .iter()
            .map(|(name, count)| (name.clone(), count.as_u64().unwrap()))
            .collect()
    }

    /// Returns the number of calls that write records.
    pub(crate) fn writing_calls(&self) -> u64 {
        self.calls()
            .iter()
            .filter(|(name, _)| !name.starts_with("GET") && name.contains("sobjects"))
            // Reads by a list of ids.
            .filter(|(name, _)| !(name.starts_with("POST") && name.contains("composite/sobjects")))
            .map(|(_, count)| count)
            .sum()
    }

    fn control(&self, method: &str, rest: &str, body: &Json) -> Json {
        let request = Request::new(method, &format!("/_org/{rest}")).json(body);
        let answer = self.with(|org| org.request(&request));
        assert_eq!(answer.status, 200, "{:?}", answer.to_json());
        answer.to_json()
    }
}

/// Sends the client's requests to an org in this process.
struct OrgTransport(InProcess);

#[async_trait]
impl Transport for OrgTransport {
    async fn send(
        &self,
        request: http::Request<Bytes>,
        timeout: Duration,
    ) -> Result<http::Response<Bytes>, HttpFailure> {
        match tokio::time::timeout(timeout, self.0.send(request)).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(HttpFailure::broken(
                "the connection closed without an answer",
            )),
            Err(_) => Err(HttpFailure::timed_out()),
        }
    }

    async fn open(
        &self,
        request: http::Request<GrpcBody>,
    ) -> Result<http::Response<GrpcBody>, GrpcFailure> {
        Ok(self.0.open(request).await)
    }
}

/// Percent-encodes a text as a query parameter.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

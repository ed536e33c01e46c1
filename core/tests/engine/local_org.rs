//! The local org in this process, the client that speaks to it, and what people do in the org.

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

/// Where REST resources live.
pub(crate) const BASE: &str = "/services/data/v62.0";

/// After how long a quiet subscription is told the newest position: at once, so that no test waits.
const KEEP_ALIVE: Duration = Duration::from_millis(1);

/// Rows of one page of a scan: few, so that tests with some records read several pages.
const PAGE_ROWS: usize = 50;

/// More deliveries than any test has.
const EVERY_DELIVERY: u32 = 1_000_000;

/// The org, shared with the test that plays its people.
#[derive(Clone)]
pub(crate) struct LocalOrg {
    place: Place,
}

/// Where the org lives.
#[derive(Clone)]
enum Place {
    /// In this process, reached by function calls.
    Alone(InProcess),
    /// Behind its servers.
    Served(Arc<Running>),
}

impl LocalOrg {
    /// Returns the built-in org without records.
    pub(crate) fn new() -> Self {
        Self {
            place: Place::Alone(InProcess::new(Org::default(), KEEP_ALIVE)),
        }
    }

    /// Returns the same behind its servers.
    pub(crate) async fn served() -> Self {
        let running = server::start(Org::default(), &server::Options::default()).await;
        Self {
            place: Place::Served(Arc::new(running.unwrap())),
        }
    }

    /// Returns a client that enters as the integration user at its first call.
    pub(crate) fn client(&self) -> HttpSalesforce {
        let options = |url: &str| {
            let secret = SecretString::from(local::CLIENT_SECRET);
            let login = Login::ClientCredentials { secret };
            SalesforceOptions::new(url, local::CLIENT_ID, login, "62.0")
        };
        let tokens = Arc::new(MemoryTokenStore::default());
        let client = match &self.place {
            Place::Alone(org) => {
                let transport = Arc::new(OrgTransport(org.clone()));
                let options = SalesforceOptions {
                    page_rows: PAGE_ROWS,
                    ..options(BASE_URL)
                };
                HttpSalesforce::over(transport, options, tokens)
            }
            Place::Served(running) => {
                let options = SalesforceOptions {
                    pubsub_url: running.grpc_url(),
                    ..options(&running.http_url())
                };
                HttpSalesforce::new(options, tokens)
            }
        };
        client.unwrap()
    }

    /// Does something with the org itself.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Org) -> T) -> T {
        match &self.place {
            Place::Alone(org) => org.with_org(act),
            Place::Served(running) => running.with_org(act),
        }
    }

    /// From now on every event is delivered twice.
    pub(crate) fn duplicate_events(&self) {
        let always = FaultAction::DuplicateEvents.once().times(EVERY_DELIVERY);
        self.fault(&always);
    }

    /// A person edits several accounts alike in one transaction, which Salesforce makes one event of.
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

    /// A person creates a record.
    pub(crate) fn insert(&self, object: &str, fields: Json) -> String {
        let id = self.with(|org| org.insert_as(local::PERSON, object, &fields));
        id.unwrap().to_string()
    }

    /// A person edits a record.
    pub(crate) fn update(&self, id: &str, fields: Json) {
        let id = RecordId::parse(id).unwrap();
        self.with(|org| org.update_as(local::PERSON, id, &fields))
            .unwrap();
    }

    /// A person deletes a record.
    pub(crate) fn delete(&self, id: &str) {
        let id = RecordId::parse(id).unwrap();
        self.with(|org| org.delete_as(local::PERSON, id)).unwrap();
    }

    /// A person takes a record out of the recycle bin.
    pub(crate) fn undelete(&self, id: &str) {
        let id = RecordId::parse(id).unwrap();
        self.with(|org| org.undelete_as(local::PERSON, id)).unwrap();
    }

    /// What a field holds, as text.
    pub(crate) fn value(&self, id: &str, field: &str) -> Option<String> {
        self.with(|org| org.value_of(RecordId::parse(id).unwrap(), field))
    }

    /// Live records of an object.
    pub(crate) fn count(&self, object: &str) -> usize {
        self.with(|org| org.count(object))
    }

    /// The id of the live record with this external id.
    pub(crate) fn id_of(&self, object: &str, external_id: &str) -> Option<String> {
        let soql = format!("select Id from {object} where External_Id__c = '{external_id}'");
        let rows = self.query(&soql);
        rows.first()
            .map(|row| row["Id"].as_str().unwrap().to_owned())
    }

    /// Reads live records as an onlooker, past faults and counters.
    pub(crate) fn query(&self, soql: &str) -> Vec<Json> {
        let target = format!("{BASE}/query?q={}", encoded(soql));
        let answer = self.with(|org| {
            let token = org.open_session(local::PERSON).unwrap();
            org.request(&Request::new("GET", &target).bearer(&token))
        });
        answer.to_json()["records"].as_array().unwrap().clone()
    }

    /// Lets time pass in the org.
    pub(crate) fn advance_ms(&self, ms: i64) {
        self.with(|org| org.advance_ms(ms));
    }

    /// Puts the org's clock to that of the machine: a poll asks by time.
    pub(crate) fn set_wall_ms(&self, ms: i64) {
        self.with(|org| org.set_wall_ms(ms));
    }

    /// Declares what goes wrong next.
    pub(crate) fn fault(&self, fault: &Fault) {
        self.with(|org| org.declare(fault));
    }

    /// Declares automation.
    pub(crate) fn flow(&self, order: Json) {
        self.control("POST", "flow", &order);
    }

    /// Ends every session.
    pub(crate) fn expire_sessions(&self) {
        self.control("POST", "sessions/expire", &json!({}));
    }

    /// Calls by method and resource.
    pub(crate) fn calls(&self) -> BTreeMap<String, u64> {
        let stats = self.control("GET", "stats", &json!({}));
        let calls = stats["calls"].as_object().unwrap();
        calls
            .iter()
            .map(|(name, count)| (name.clone(), count.as_u64().unwrap()))
            .collect()
    }

    /// Calls that write records.
    pub(crate) fn writing_calls(&self) -> u64 {
        self.calls()
            .iter()
            .filter(|(name, _)| !name.starts_with("GET") && name.contains("sobjects"))
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

/// Carries the client's requests to an org in this process.
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

/// Returns the text as a query parameter holds it.
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

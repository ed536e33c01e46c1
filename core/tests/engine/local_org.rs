//! The local org and what people do in it, with or without servers in front of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use salesforce_org::server::{self, Running};
use salesforce_org::{Org, RecordId, Request, local};
use serde_json::{Value as Json, json};

/// Where REST resources live.
pub(crate) const BASE: &str = "/services/data/v62.0";

/// The org behind the port, shared with the test that plays its people.
#[derive(Clone)]
pub(crate) struct LocalOrg {
    place: Place,
    /// The model's port delivers every batch of events twice.
    pub(crate) duplicates: Arc<AtomicBool>,
    /// The model's port delivers each batch as one event of many records.
    pub(crate) merges: Arc<AtomicBool>,
}

/// Where the org lives.
#[derive(Clone)]
enum Place {
    /// In this process, reached by function calls.
    Alone(Arc<Mutex<Org>>),
    /// Behind its servers.
    Served(Arc<Running>),
}

impl LocalOrg {
    /// Returns the built-in org with nobody's records.
    pub(crate) fn new() -> Self {
        Self {
            place: Place::Alone(Arc::new(Mutex::new(Org::default()))),
            duplicates: Arc::default(),
            merges: Arc::default(),
        }
    }

    /// Returns the same behind its servers, with their addresses.
    pub(crate) async fn served() -> (Self, Arc<Running>) {
        let running = server::start(Org::default(), &server::Options::default()).await;
        let running = Arc::new(running.unwrap());
        let org = Self {
            place: Place::Served(Arc::clone(&running)),
            duplicates: Arc::default(),
            merges: Arc::default(),
        };
        (org, running)
    }

    /// Does something with the org itself.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Org) -> T) -> T {
        match &self.place {
            Place::Alone(org) => act(&mut org.lock().unwrap()),
            Place::Served(running) => running.with_org(act),
        }
    }

    /// From now on the model's port delivers every event twice.
    pub(crate) fn duplicate_events(&self) {
        self.duplicates.store(true, Ordering::Relaxed);
    }

    /// From now on what is delivered together is one event of many records, as Salesforce makes of
    /// equal changes in one transaction.
    pub(crate) fn merge_events(&self) {
        self.merges.store(true, Ordering::Relaxed);
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
    pub(crate) fn fault(&self, rule: Json) {
        self.control("POST", "faults", &rule);
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

/// Returns the text as a query parameter holds it.
pub(crate) fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

//! An org without sockets, with a session and control calls.

use salesforce_org::local::INTEGRATION_USER;
use salesforce_org::{DecodedEvent, Org, Position, RecordId, Request, Response};
use serde_json::{Value as Json, json};

/// An org with one session.
pub(crate) struct Stand {
    pub(crate) org: Org,
    token: String,
}

impl Stand {
    pub(crate) fn new() -> Self {
        let mut org = Org::default();
        let token = org.open_session(INTEGRATION_USER).unwrap();
        Self { org, token }
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) fn call(&mut self, method: &str, path: &str, body: &Json) -> Response {
        let target = format!("/services/data/v62.0/{path}");
        let mut request = Request::new(method, &target)
            .bearer(&self.token)
            .header("Sforce-Call-Options", "client=ours");
        if !body.is_null() {
            request = request.json(body);
        }
        self.org.request(&request)
    }

    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.call("GET", path, &Json::Null)
    }

    pub(crate) fn control(&mut self, method: &str, path: &str, body: &Json) -> Response {
        let request = Request::new(method, &format!("/_org/{path}")).json(body);
        self.org.request(&request)
    }

    /// Declares faults.
    pub(crate) fn faults(&mut self, rules: Json) {
        let answer = self.control("POST", "faults", &rules);
        assert_eq!(answer.status, 200, "{}", answer.to_json());
    }

    /// Returns the report of a rule from the statistics.
    pub(crate) fn report(&mut self, rule: usize) -> Json {
        let stats = self.control("GET", "stats", &Json::Null).to_json();
        stats["faults"][rule].clone()
    }

    /// Upserts an account by its external id and returns its id.
    pub(crate) fn account(&mut self, key: &str) -> RecordId {
        let response = self.upsert(key, &json!({"Name": key}));
        RecordId::parse(response.to_json()["id"].as_str().unwrap()).unwrap()
    }

    pub(crate) fn upsert(&mut self, key: &str, fields: &Json) -> Response {
        let path = format!("sobjects/Account/External_Id__c/{key}");
        self.call("PATCH", &path, fields)
    }

    /// Upserts accounts in one collections call and returns the error code of each, or "".
    pub(crate) fn upsert_all(&mut self, keys: &[String]) -> Vec<String> {
        let record = |key: &String| json!({"attributes": {"type": "Account"}, "External_Id__c": key, "Name": key});
        let records: Vec<Json> = keys.iter().map(record).collect();
        let path = "composite/sobjects/Account/External_Id__c";
        codes(&self.call("PATCH", path, &json!({"records": records})))
    }

    /// Creates contacts under these accounts in one collections call.
    pub(crate) fn contacts(&mut self, parents: &[RecordId]) -> Response {
        let record = |parent: &RecordId| {
            json!({"attributes": {"type": "Contact"}, "LastName": "Ito",
                   "AccountId": parent.to_string()})
        };
        let records: Vec<Json> = parents.iter().map(record).collect();
        self.call("POST", "composite/sobjects", &json!({"records": records}))
    }

    pub(crate) fn value(&self, id: RecordId, field: &str) -> String {
        self.org.value_of(id, field).unwrap_or_default()
    }

    /// Returns all events so far.
    pub(crate) fn events(&self) -> Vec<DecodedEvent> {
        let all = self
            .org
            .fetch("/data/ChangeEvents", &Position::Earliest, 1_000);
        let events = all.unwrap().events;
        events.iter().map(|event| self.org.decode(event)).collect()
    }
}

/// Returns the error code of each result, or "".
pub(crate) fn codes(response: &Response) -> Vec<String> {
    let results = response.to_json();
    let code = |result: &Json| {
        let code = result["errors"][0]["statusCode"].as_str();
        code.unwrap_or_default().to_owned()
    };
    results.as_array().unwrap().iter().map(code).collect()
}

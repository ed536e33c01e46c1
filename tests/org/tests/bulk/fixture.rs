//! An org with a session, and jobs in one line.

use salesforce_org::local::INTEGRATION_USER;
use salesforce_org::{ChangeEvent, DecodedEvent, Org, Position, RecordId, Request, Response};
use serde_json::{Value as Json, json};

/// Longer than any job of these tests.
const LONG_MS: i64 = 60_000;

/// An org with one session.
pub(crate) struct Fixture {
    pub(crate) org: Org,
    token: String,
}

/// How a job ended.
pub(crate) struct Ended {
    pub(crate) id: String,
    pub(crate) info: Json,
    pub(crate) successful: String,
    pub(crate) failed: String,
    pub(crate) unprocessed: String,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::of(Org::default())
    }

    pub(crate) fn of(mut org: Org) -> Self {
        let token = org.open_session(INTEGRATION_USER).unwrap();
        Self { org, token }
    }

    /// Opens a new session, for tests that last longer than one.
    pub(crate) fn log_in(&mut self) {
        self.token = self.org.open_session(INTEGRATION_USER).unwrap();
    }

    pub(crate) fn call_version(&mut self, version: &str, method: &str, path: &str) -> Response {
        let target = format!("/services/data/{version}/{path}");
        let request = Request::new(method, &target).bearer(&self.token);
        self.org.request(&request)
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> Request {
        let target = format!("/services/data/v62.0/{path}");
        Request::new(method, &target)
            .bearer(&self.token)
            .header("Sforce-Call-Options", "client=syncline")
    }

    pub(crate) fn call(&mut self, method: &str, path: &str) -> Response {
        let request = self.request(method, path);
        self.org.request(&request)
    }

    pub(crate) fn send(&mut self, method: &str, path: &str, body: &Json) -> Response {
        let request = self.request(method, path).json(body);
        self.org.request(&request)
    }

    pub(crate) fn control(&mut self, path: &str, body: &Json) {
        let request = Request::new("POST", &format!("/_org/{path}")).json(body);
        let response = self.org.request(&request);
        assert_eq!(response.status, 200, "{}", response.to_json());
    }

    pub(crate) fn account(&mut self, fields: &Json) -> String {
        let response = self.send("POST", "sobjects/Account", fields);
        assert_eq!(response.status, 201, "{}", response.to_json());
        response.to_json()["id"].as_str().unwrap().to_owned()
    }

    /// Creates a job and returns its id.
    pub(crate) fn open(&mut self, body: &Json) -> String {
        let response = self.send("POST", "jobs/ingest", body);
        assert_eq!(response.status, 200, "{}", response.to_json());
        response.to_json()["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn put(&mut self, id: &str, csv: impl Into<Vec<u8>>) -> Response {
        let request = self.request("PUT", &format!("jobs/ingest/{id}/batches"));
        self.org.request(&request.body("text/csv", csv))
    }

    pub(crate) fn set_state(&mut self, id: &str, state: &str) -> Response {
        self.send(
            "PATCH",
            &format!("jobs/ingest/{id}"),
            &json!({"state": state}),
        )
    }

    /// Uploads, closes and returns the id of the waiting job.
    pub(crate) fn submit(&mut self, body: &Json, csv: impl Into<Vec<u8>>) -> String {
        let id = self.open(body);
        assert_eq!(self.put(&id, csv).status, 201);
        let closed = self.set_state(&id, "UploadComplete");
        assert_eq!(closed.to_json()["state"], "UploadComplete");
        id
    }

    /// Runs a job to its end.
    pub(crate) fn run(&mut self, body: &Json, csv: impl Into<Vec<u8>>) -> Ended {
        let id = self.submit(body, csv);
        self.org.advance_ms(LONG_MS);
        self.ended(&id)
    }

    pub(crate) fn info(&mut self, id: &str) -> Json {
        self.call("GET", &format!("jobs/ingest/{id}")).to_json()
    }

    pub(crate) fn ended(&mut self, id: &str) -> Ended {
        let mut set = |name: &str| {
            let response = self.call("GET", &format!("jobs/ingest/{id}/{name}"));
            assert_eq!(response.status, 200, "{}", response.to_json());
            assert_eq!(
                response.header("content-type"),
                Some("text/csv; charset=UTF-8")
            );
            String::from_utf8_lossy(&response.body).into_owned()
        };
        let (successful, failed) = (set("successfulResults"), set("failedResults"));
        let unprocessed = set("unprocessedrecords");
        Ended {
            id: id.to_owned(),
            info: self.info(id),
            successful,
            failed,
            unprocessed,
        }
    }

    /// Returns the column `sf__Error` of the failed rows.
    pub(crate) fn errors(&mut self, body: &Json, csv: &str) -> Vec<String> {
        let ended = self.run(body, csv);
        assert_eq!(ended.info["state"], "JobComplete", "{}", ended.info);
        column(&ended.failed, "sf__Error")
    }

    pub(crate) fn value(&self, id: &str, field: &str) -> Option<String> {
        self.org.value_of(RecordId::parse(id).unwrap(), field)
    }

    pub(crate) fn events(&self) -> Vec<DecodedEvent> {
        let events = self.raw_events();
        events.iter().map(|event| self.org.decode(event)).collect()
    }

    /// Returns all change events undecoded, for tests that decode only some of many.
    pub(crate) fn raw_events(&self) -> Vec<ChangeEvent> {
        let fetched = self
            .org
            .fetch("/data/ChangeEvents", &Position::Earliest, 10_000);
        fetched.unwrap().events
    }
}

/// A job that inserts accounts.
pub(crate) fn insert() -> Json {
    json!({"object": "Account", "operation": "insert"})
}

/// A job that upserts accounts by their external id.
pub(crate) fn upsert() -> Json {
    json!({"object": "Account", "operation": "upsert", "externalIdFieldName": "External_Id__c"})
}

/// A job for accounts with another operation.
pub(crate) fn job(operation: &str) -> Json {
    json!({"object": "Account", "operation": operation})
}

/// Returns one column of a CSV in the default dialect.
pub(crate) fn column(csv: &str, name: &str) -> Vec<String> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let place = reader.headers().unwrap().iter().position(|h| h == name);
    let place = place.unwrap();
    let rows = reader.records().map(|row| row.unwrap()[place].to_owned());
    rows.collect()
}

/// Returns the status and the error array.
pub(crate) fn refused(response: &Response) -> (u16, Json) {
    (response.status, response.to_json())
}

pub(crate) fn error(status: u16, code: &str, message: &str) -> (u16, Json) {
    (status, json!([{"message": message, "errorCode": code}]))
}

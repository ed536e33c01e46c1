//! An org with a session, and short calls for tests.

use salesforce_org::local::INTEGRATION_USER;
use salesforce_org::{DecodedEvent, Org, Position, Request, Response};
use serde_json::{Value as Json, json};

const CLIENT: &str = "client=syncline";

/// An org with one session.
pub(crate) struct Fixture {
    pub(crate) org: Org,
    pub(crate) token: String,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::of(Org::default())
    }

    pub(crate) fn of(mut org: Org) -> Self {
        let token = org.open_session(INTEGRATION_USER).unwrap();
        Self { org, token }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> Request {
        let target = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/services/data/v62.0/{path}")
        };
        Request::new(method, &target)
            .bearer(&self.token)
            .header("Sforce-Call-Options", CLIENT)
    }

    pub(crate) fn call(&mut self, method: &str, path: &str) -> Response {
        let request = self.request(method, path);
        self.org.request(&request)
    }

    pub(crate) fn send(&mut self, method: &str, path: &str, body: &Json) -> Response {
        let request = self.request(method, path).json(body);
        self.org.request(&request)
    }

    pub(crate) fn account(&mut self, fields: Json) -> String {
        let response = self.send("POST", "sobjects/Account", &fields);
        assert_eq!(response.status, 201, "{}", response.to_json());
        response.to_json()["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn query(&mut self, soql: &str) -> Json {
        let q = soql
            .replace('%', "%25")
            .replace(' ', "+")
            .replace('\'', "%27");
        self.call("GET", &format!("query?q={q}")).to_json()
    }

    pub(crate) fn events(&self) -> Vec<DecodedEvent> {
        let fetched = self
            .org
            .fetch("/data/ChangeEvents", &Position::Earliest, 1_000)
            .unwrap();
        fetched
            .events
            .iter()
            .map(|event| self.org.decode(event))
            .collect()
    }
}

pub(crate) fn error(status: u16, code: &str, message: &str) -> (u16, Json) {
    (status, json!([{"errorCode": code, "message": message}]))
}

/// Returns the status, and the error array without its fields.
pub(crate) fn refused(response: &Response) -> (u16, Json) {
    let mut json = response.to_json();
    for one in json.as_array_mut().into_iter().flatten() {
        one.as_object_mut().unwrap().remove("fields");
    }
    (response.status, json)
}

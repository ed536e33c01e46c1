//! An org without sockets, with short calls for tests.

use salesforce_org::local::{INTEGRATION_USER, PERSON};
use salesforce_org::{DecodedEvent, Org, Position, RecordId, Request, Response};
use serde_json::{Value as Json, json};

/// An org with one session.
pub(crate) struct Stage {
    pub(crate) org: Org,
    token: String,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::of(Org::default())
    }

    pub(crate) fn with(toml: &str) -> Self {
        Self::of(Org::from_toml(toml).unwrap())
    }

    /// An org in which all equal changes of a transaction share an event.
    pub(crate) fn merging() -> Self {
        Self::with("[org]\nunconfirmed = { merged_events = \"always\" }\n")
    }

    fn of(mut org: Org) -> Self {
        let token = org.open_session(INTEGRATION_USER).unwrap();
        Self { org, token }
    }

    pub(crate) fn call(&mut self, method: &str, path: &str, body: &Json) -> Response {
        let target = format!("/services/data/v62.0/{path}");
        let mut request = Request::new(method, &target).bearer(&self.token);
        if !body.is_null() {
            request = request.json(body);
        }
        self.org.request(&request)
    }

    /// Makes a control call that has to succeed.
    pub(crate) fn control(&mut self, path: &str, body: &Json) -> Json {
        let answer = self.order(path, body);
        assert_eq!(answer.status, 200, "{}", answer.to_json());
        answer.to_json()
    }

    /// Makes a control call.
    pub(crate) fn order(&mut self, path: &str, body: &Json) -> Response {
        self.org
            .request(&Request::new("POST", &format!("/_org/{path}")).json(body))
    }

    pub(crate) fn insert(&mut self, object: &str, fields: Json) -> String {
        self.org
            .insert_as(PERSON, object, &fields)
            .unwrap()
            .to_string()
    }

    pub(crate) fn account(&mut self, name: &str) -> String {
        self.insert("Account", json!({"Name": name}))
    }

    pub(crate) fn update(&mut self, id: &str, fields: Json) {
        self.org.update_as(PERSON, id_of(id), &fields).unwrap();
    }

    pub(crate) fn delete(&mut self, id: &str) {
        self.org.delete_as(PERSON, id_of(id)).unwrap();
    }

    /// Updates several records in one transaction.
    pub(crate) fn update_together(&mut self, object: &str, ids: &[String], fields: &Json) {
        let record = |id: &String| {
            let mut record = fields.clone();
            record["attributes"] = json!({"type": object});
            record["Id"] = json!(id);
            record
        };
        let records: Vec<Json> = ids.iter().map(record).collect();
        let answer = self.call("PATCH", "composite/sobjects", &json!({"records": records}));
        let saved = answer.to_json();
        assert!(
            saved
                .as_array()
                .unwrap()
                .iter()
                .all(|r| r["success"] == true),
            "{saved}"
        );
    }

    /// Returns the position of a subscriber that starts now.
    pub(crate) fn now(&self) -> Position {
        let fetched = self
            .org
            .fetch("/data/ChangeEvents", &Position::Latest, 0)
            .unwrap();
        Position::After(fetched.latest_replay_id)
    }

    pub(crate) fn since(&self, position: &Position) -> Vec<DecodedEvent> {
        self.of_topic("/data/ChangeEvents", position)
    }

    pub(crate) fn of_topic(&self, topic: &str, position: &Position) -> Vec<DecodedEvent> {
        let fetched = self.org.fetch(topic, position, 100_000).unwrap();
        fetched
            .events
            .iter()
            .map(|event| self.org.decode(event))
            .collect()
    }
}

pub(crate) fn id_of(text: &str) -> RecordId {
    RecordId::parse(text).unwrap()
}

/// Returns the change types of events, in order.
pub(crate) fn kinds(events: &[DecodedEvent]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event.change_type.as_str())
        .collect()
}

/// Returns the object and change type of events, in order.
pub(crate) fn steps(events: &[DecodedEvent]) -> Vec<(&str, &str)> {
    events
        .iter()
        .map(|event| (event.entity.as_str(), event.change_type.as_str()))
        .collect()
}

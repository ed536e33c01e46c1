//! The roads into the org and out of it.

use salesforce_org::local::INTEGRATION_USER;
use salesforce_org::{DecodedEvent, Org, Position, Request, Response};
use serde_json::{Value as Json, json};

/// Longer than any job of these tests.
const LONG_MS: i64 = 60_000;

/// How a write enters the org.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Road {
    Row,
    ExternalId,
    Composite,
    Collection,
    Bulk,
    BulkOne,
}

pub(crate) const ROADS: [Road; 6] = [
    Road::Row,
    Road::ExternalId,
    Road::Composite,
    Road::Collection,
    Road::Bulk,
    Road::BulkOne,
];

/// How a value leaves the org.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Row,
    Retrieve,
    Query,
    BulkQuery,
    Event,
}

pub(crate) const READINGS: [Reading; 5] = [
    Reading::Row,
    Reading::Retrieve,
    Reading::Query,
    Reading::BulkQuery,
    Reading::Event,
];

/// An org with an object, and a caller with a session.
pub(crate) struct Caller {
    pub(crate) org: Org,
    pub(crate) token: String,
    keys: u32,
}

impl Caller {
    pub(crate) fn new(org_file: &str) -> Self {
        let mut org = Org::from_toml(org_file).unwrap();
        let token = org.open_session(INTEGRATION_USER).unwrap();
        Self {
            org,
            token,
            keys: 0,
        }
    }

    /// Returns the caller's org as text.
    pub(crate) fn dumped(&self) -> String {
        let mut text = Vec::new();
        self.org.dump(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    /// Returns the same caller with a new org that was restored from a dump of its org.
    pub(crate) fn restored(&self, org_file: &str) -> Self {
        let mut org = Org::from_toml(org_file).unwrap();
        org.restore(&mut self.dumped().as_bytes()).unwrap();
        Self {
            org,
            token: self.token.clone(),
            keys: self.keys,
        }
    }

    pub(crate) fn call(&mut self, method: &str, path: &str, body: Option<&Json>) -> Response {
        let target = format!("/services/data/v62.0/{path}");
        let mut request = Request::new(method, &target).bearer(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.org.request(&request)
    }

    pub(crate) fn control(&mut self, path: &str, body: &Json) {
        let request = Request::new("POST", &format!("/_org/{path}")).json(body);
        let response = self.org.request(&request);
        assert_eq!(response.status, 200, "{}", response.to_json());
    }

    pub(crate) fn query(&mut self, soql: &str) -> Response {
        let q = soql.replace('%', "%25").replace(' ', "+");
        let q = q.replace('\'', "%27");
        self.call("GET", &format!("query?q={q}"), None)
    }

    /// Creates a record with a new key, and returns its id or the code of the refusal.
    pub(crate) fn create(
        &mut self,
        road: Road,
        object: &str,
        fields: &Json,
    ) -> Result<String, String> {
        self.keys += 1;
        let key = format!("k{}", self.keys);
        let mut keyed = fields.clone();
        keyed["Key__c"] = key.clone().into();
        match road {
            Road::Row => one(&self.call("POST", &format!("sobjects/{object}"), Some(&keyed))),
            Road::ExternalId => {
                let path = format!("sobjects/{object}/Key__c/{key}");
                one(&self.call("PATCH", &path, Some(fields)))
            }
            Road::Composite => {
                let url = format!("/services/data/v62.0/sobjects/{object}");
                self.composite("POST", &url, &keyed)
            }
            Road::Collection => {
                keyed["attributes"] = json!({"type": object});
                let body = json!({"records": [keyed]});
                saved(&self.call("POST", "composite/sobjects", Some(&body)))
            }
            Road::Bulk => self.bulk(object, "insert", &keyed),
            Road::BulkOne => self.bulk_one(object, "insert", &keyed),
        }
    }

    /// Updates a record, and returns its id or the code of the refusal.
    pub(crate) fn update(
        &mut self,
        road: Road,
        object: &str,
        (id, key): (&str, &str),
        fields: &Json,
    ) -> Result<String, String> {
        let mut named = json!({"Id": id});
        let members = fields.as_object().unwrap().clone();
        named.as_object_mut().unwrap().extend(members);
        match road {
            Road::Row => {
                let path = format!("sobjects/{object}/{id}");
                one(&self.call("PATCH", &path, Some(fields)))
            }
            Road::ExternalId => {
                let path = format!("sobjects/{object}/Key__c/{key}");
                one(&self.call("PATCH", &path, Some(fields)))
            }
            Road::Composite => {
                let url = format!("/services/data/v62.0/sobjects/{object}/{id}");
                self.composite("PATCH", &url, fields)
            }
            Road::Collection => {
                named["attributes"] = json!({"type": object});
                let body = json!({"records": [named]});
                saved(&self.call("PATCH", "composite/sobjects", Some(&body)))
            }
            Road::Bulk => self.bulk(object, "update", &named),
            Road::BulkOne => self.bulk_one(object, "update", &named),
        }
    }

    /// Deletes a record, and returns its id or the code of the refusal.
    pub(crate) fn delete(
        &mut self,
        road: Road,
        object: &str,
        (id, key): (&str, &str),
    ) -> Result<String, String> {
        match road {
            Road::Row => one(&self.call("DELETE", &format!("sobjects/{object}/{id}"), None)),
            Road::ExternalId => {
                let path = format!("sobjects/{object}/Key__c/{key}");
                one(&self.call("DELETE", &path, None))
            }
            Road::Composite => {
                let url = format!("/services/data/v62.0/sobjects/{object}/{id}");
                self.composite("DELETE", &url, &Json::Null)
            }
            Road::Collection => {
                let path = format!("composite/sobjects?ids={id}");
                saved(&self.call("DELETE", &path, None))
            }
            Road::Bulk => self.bulk(object, "delete", &json!({"Id": id})),
            Road::BulkOne => self.bulk_one(object, "delete", &json!({"Id": id})),
        }
    }

    /// Returns the key of the newest record.
    pub(crate) fn last_key(&self) -> String {
        format!("k{}", self.keys)
    }

    fn composite(&mut self, method: &str, url: &str, body: &Json) -> Result<String, String> {
        let mut part = json!({"method": method, "url": url, "referenceId": "a"});
        if !body.is_null() {
            part["body"] = body.clone();
        }
        let body = json!({"compositeRequest": [part]});
        let answer = self.call("POST", "composite", Some(&body)).to_json();
        let part = &answer["compositeResponse"][0];
        match part["body"][0]["errorCode"].as_str() {
            Some(code) => Err(code.to_owned()),
            None => Ok(text(&part["body"]["id"])),
        }
    }

    fn bulk(&mut self, object: &str, operation: &str, fields: &Json) -> Result<String, String> {
        let body = json!({"object": object, "operation": operation});
        let answer = self.call("POST", "jobs/ingest", Some(&body));
        let job = format!("jobs/ingest/{}", one(&answer)?);
        let target = format!("/services/data/v62.0/{job}/batches");
        let put = Request::new("PUT", &target).bearer(&self.token);
        self.org.request(&put.body("text/csv", csv(fields)));
        self.call("PATCH", &job, Some(&json!({"state": "UploadComplete"})));
        self.org.advance_ms(LONG_MS);
        let info = self.call("GET", &job, None).to_json();
        if info["state"] != "JobComplete" {
            return Err(text(&info["errorMessage"]));
        }
        let answer = self.call("GET", &format!("{job}/failedResults"), None);
        if let Some(error) = cell(&answer, "sf__Error") {
            return Err(error.split(':').next().unwrap().to_owned());
        }
        let answer = self.call("GET", &format!("{job}/successfulResults"), None);
        Ok(cell(&answer, "sf__Id").unwrap())
    }

    fn bulk_one(&mut self, object: &str, operation: &str, fields: &Json) -> Result<String, String> {
        let send = |org: &mut Org, path: &str, kind: &str, body: &str| {
            let target = format!("/services/async/61.0/{path}");
            let request = Request::new(if body.is_empty() { "GET" } else { "POST" }, &target)
                .header("X-SFDC-Session", &self.token)
                .header("Accept", "application/json");
            org.request(&request.body(kind, body))
        };
        let body = json!({"object": object, "operation": operation, "contentType": "CSV"});
        let org = &mut self.org;
        let answer = send(org, "job", "application/json", &body.to_string());
        if answer.status != 201 {
            return Err(text(&answer.to_json()["exceptionCode"]));
        }
        let job = text(&answer.to_json()["id"]);
        let answer = send(org, &format!("job/{job}/batch"), "text/csv", &csv(fields));
        let batch = String::from_utf8_lossy(&answer.body).into_owned();
        let (_, batch) = batch.split_once("<id>").unwrap();
        let batch = batch.split('<').next().unwrap().to_owned();
        org.advance_ms(LONG_MS);
        let path = format!("job/{job}/batch/{batch}");
        let info = send(org, &path, "text/csv", "");
        let info = String::from_utf8_lossy(&info.body).into_owned();
        if let Some((_, message)) = info.split_once("<stateMessage>") {
            return Err(message.split('<').next().unwrap().to_owned());
        }
        let answer = send(org, &format!("{path}/result"), "text/csv", "");
        match cell(&answer, "Error").filter(|error| !error.is_empty()) {
            Some(error) => Err(error.split(':').next().unwrap().to_owned()),
            None => Ok(cell(&answer, "Id").unwrap()),
        }
    }

    /// Returns a field of a record as JSON, or the code of the refusal.
    pub(crate) fn read(
        &mut self,
        reading: Reading,
        object: &str,
        id: &str,
        field: &str,
    ) -> Result<Json, String> {
        let soql = format!("SELECT {field} FROM {object} WHERE Id = '{id}'");
        match reading {
            Reading::Row => {
                let path = format!("sobjects/{object}/{id}?fields={field}");
                let answer = self.call("GET", &path, None);
                one(&answer)?;
                Ok(answer.to_json()[field].clone())
            }
            Reading::Retrieve => {
                let path = format!("composite/sobjects/{object}?ids={id}&fields={field}");
                let answer = self.call("GET", &path, None);
                one(&answer)?;
                Ok(answer.to_json()[0][field].clone())
            }
            Reading::Query => {
                let answer = self.query(&soql);
                one(&answer)?;
                Ok(answer.to_json()["records"][0][field].clone())
            }
            Reading::BulkQuery => {
                let answer = self.bulk_query(&soql)?;
                Ok(cell(&answer, field).map_or(Json::Null, Json::String))
            }
            Reading::Event => {
                let events = self.events();
                let last = events.iter().rev().find(|event| {
                    event.record_ids.contains(&id.to_owned()) && event.fields.contains_key(field)
                });
                Ok(last.map_or(Json::Null, |event| event.fields[field].clone()))
            }
        }
    }

    pub(crate) fn bulk_query(&mut self, soql: &str) -> Result<Response, String> {
        let body = json!({"operation": "query", "query": soql});
        let answer = self.call("POST", "jobs/query", Some(&body));
        let job = format!("jobs/query/{}", one(&answer)?);
        self.org.advance_ms(LONG_MS);
        Ok(self.call("GET", &format!("{job}/results"), None))
    }

    /// Returns all change events.
    pub(crate) fn events(&self) -> Vec<DecodedEvent> {
        let topic = "/data/ChangeEvents";
        let fetched = self.org.fetch(topic, &Position::Earliest, 10_000).unwrap();
        let decoded = fetched.events.iter().map(|event| self.org.decode(event));
        decoded.collect()
    }
}

fn text(json: &Json) -> String {
    json.as_str().unwrap_or_default().to_owned()
}

/// Returns the id in an answer, or the code of its refusal.
fn one(answer: &Response) -> Result<String, String> {
    if answer.status >= 300 {
        return Err(text(&answer.to_json()[0]["errorCode"]));
    }
    if answer.body.is_empty() {
        return Ok(String::new());
    }
    Ok(text(&answer.to_json()["id"]))
}

/// Returns the id of the only record of a collection, or the code of its refusal.
fn saved(answer: &Response) -> Result<String, String> {
    one(answer)?;
    let result = answer.to_json();
    match result[0]["errors"][0]["statusCode"].as_str() {
        Some(code) => Err(code.to_owned()),
        None => Ok(text(&result[0]["id"])),
    }
}

/// Returns one record as CSV. Strings keep their text, null is the null word, everything else its JSON.
fn csv(fields: &Json) -> String {
    let members = fields.as_object().unwrap();
    let names: Vec<&str> = members.keys().map(String::as_str).collect();
    let cells: Vec<String> = members
        .values()
        .map(|value| {
            let plain = match value {
                Json::String(text) => text.clone(),
                Json::Null => "#N/A".to_owned(),
                other => other.to_string(),
            };
            format!("\"{}\"", plain.replace('"', "\"\""))
        })
        .collect();
    format!("{}\n{}\n", names.join(","), cells.join(","))
}

/// Returns a cell of the first row of a CSV, if it has a row.
fn cell(answer: &Response, name: &str) -> Option<String> {
    let mut reader = csv::Reader::from_reader(&answer.body[..]);
    let headers = reader.headers().unwrap().clone();
    let place = headers.iter().position(|header| header == name).unwrap();
    let row = reader.records().next()?.unwrap();
    Some(row[place].to_owned())
}

//! The REST API as a function of a request and the org.

mod batch;
pub(crate) mod bulk;
pub(crate) mod collections;
mod composite;
mod condition;
pub(crate) mod dataload;
pub(crate) mod describe;
pub(crate) mod discovery;
pub(crate) mod duplicates;
pub(crate) mod events;
mod graph;
pub(crate) mod message;
pub(crate) mod oauth;
mod pretty;
pub(crate) mod query;
mod reference;
mod replication;
pub(crate) mod resource;
pub(crate) mod save;
pub(crate) mod session;
mod soap;
pub(crate) mod sobjects;
mod tree;
pub(crate) mod usage;

use serde_json::{Map, Value as Json};

use crate::Org;
use crate::control;
use crate::faults::{CallFaults, Moment};
use crate::model::error::SfError;
use crate::model::transaction::Transaction;
use crate::model::value::push_json_text;
use crate::model::{Actor, Model};
use crate::unconfirmed::RETIRED_VERSION_CODE;
use crate::unconfirmed::switches::ClientTagOnComposite;
use message::{Delivery, Request, Response, decode_segment};
use resource::{Container, Resource};

/// The oldest and newest supported API versions. Older ones are retired.
pub(crate) const VERSION_MIN: u32 = 31;
pub(crate) const VERSION_MAX: u32 = 68;

/// The oldest version that answers 410 as retired.
const VERSION_RETIRED_MIN: u32 = 21;

/// Maximum size of a URL, and of a URL with all headers, in bytes.
const EDGE_BYTES_MAX: usize = 16_384;

/// One authenticated call.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) request: &'a Request,
    pub(crate) method: String,
    /// `v62.0`, as the request wrote it.
    pub(crate) version: String,
    pub(crate) version_number: u32,
    pub(crate) actor: Actor,
    /// The transaction that contains this call; `None` if the call has its own.
    pub(crate) outer: Option<Transaction>,
}

impl Call<'_> {
    /// Ends the writes of the call: commits them, or adds them to the containing transaction.
    pub(crate) fn conclude(&mut self, model: &mut Model, tx: Transaction) {
        match &mut self.outer {
            Some(outer) => {
                model.recalculate(&tx.touched());
                outer.absorb(tx);
            }
            None => model.commit(tx, &self.actor),
        }
    }

    /// Returns the JSON body.
    pub(crate) fn json(&self) -> Result<Json, SfError> {
        let body = &self.request.body;
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(SfError::new(
                "JSON_PARSER_ERROR",
                "The HTTP entity body is required, but this request has no entity body.",
            ));
        }
        let kind = self
            .request
            .get("content-type")
            .unwrap_or("application/json");
        if !kind.to_ascii_lowercase().starts_with("application/json") {
            return Err(SfError::new(
                "UNSUPPORTED_MEDIA_TYPE",
                format!("Content-Type {kind} is not supported by this resource"),
            ));
        }
        serde_json::from_slice(body).map_err(|error| unreadable(body, &error))
    }

    /// Returns the JSON body, which has to be an object.
    pub(crate) fn members(&self) -> Result<Map<String, Json>, SfError> {
        members_of(self.json()?)
    }

    /// Returns the URL of a record.
    pub(crate) fn record_url(&self, object: &str, id: impl std::fmt::Display) -> String {
        format!("/services/data/{}/sobjects/{object}/{id}", self.version)
    }
}

/// Returns the members of a JSON text, which has to be an object.
pub(crate) fn read_members(text: &[u8]) -> Result<Map<String, Json>, SfError> {
    members_of(serde_json::from_slice(text).map_err(|error| unreadable(text, &error))?)
}

fn members_of(json: Json) -> Result<Map<String, Json>, SfError> {
    match json {
        Json::Object(members) => Ok(members),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
            Err(SfError::new(
                "JSON_PARSER_ERROR",
                "Can not deserialize SObject out of this token at [line:1, column:1]",
            ))
        }
    }
}

/// Returns the error for a body that is not JSON, with the character and its position.
fn unreadable(body: &[u8], error: &serde_json::Error) -> SfError {
    let (line, column) = (error.line(), error.column());
    let at = format!("[line:{line}, column:{column}]");
    let found = String::from_utf8_lossy(body)
        .lines()
        .nth(line.saturating_sub(1))
        .and_then(|text| text.chars().nth(column.saturating_sub(1)));
    let message = match found {
        Some(found) if !error.is_eof() => format!(
            "Unexpected character ('{found}' (code {})): expected a valid value at {at}",
            u32::from(found)
        ),
        Some(_) | None => format!("Unexpected end-of-input: expected close marker at {at}"),
    };
    SfError::new("JSON_PARSER_ERROR", message)
}

/// Returns an error array.
pub(crate) fn refusal(error: &SfError) -> Response {
    if error.status() == 300 {
        let mut body = String::from("[");
        for (place, url) in error.related().iter().enumerate() {
            if place > 0 {
                body.push(',');
            }
            push_json_text(&mut body, url);
        }
        body.push(']');
        return Response::json(300, body);
    }
    let mut body = String::from("[");
    push_error(&mut body, error, "errorCode");
    body.push(']');
    Response::json(error.status(), body)
}

/// Appends one error; `code_key` is `errorCode` in error arrays and `statusCode` in save results.
pub(crate) fn push_error(out: &mut String, error: &SfError, code_key: &str) {
    out.push_str("{\"message\":");
    push_json_text(out, error.message());
    out.push_str(&format!(",\"{code_key}\":"));
    push_json_text(out, error.code());
    let save_result = code_key == "statusCode";
    if let Some(result) = error.duplicates() {
        out.push_str(",\"duplicateResult\":");
        out.push_str(result);
    }
    if let Some(fields) = error.fields().or(save_result.then_some(&[])) {
        out.push_str(",\"fields\":[");
        for (place, field) in fields.iter().enumerate() {
            if place > 0 {
                out.push(',');
            }
            push_json_text(out, field);
        }
        out.push(']');
    }
    out.push('}');
}

impl Org {
    /// Handles one REST, OAuth or control request.
    pub fn request(&mut self, request: &Request) -> Response {
        if !request.secure {
            return self.request_by_address(request);
        }
        // The answer contains the addresses of the protocol that the call used.
        std::mem::swap(&mut self.base_url, &mut self.other_url);
        let response = self.request_by_address(request);
        std::mem::swap(&mut self.base_url, &mut self.other_url);
        response
    }

    fn request_by_address(&mut self, request: &Request) -> Response {
        if let Some(rest) = request.path.strip_prefix("/_org/") {
            return control::answer(self, request, rest.trim_end_matches('/'));
        }
        let fired = self.faults.fire(request, self.now_ms());
        if fired.drop_before {
            return Response {
                delivery: Delivery::Dropped,
                ..Response::default()
            };
        }
        let mut response = match too_long(request) {
            Some(refusal) => refusal,
            None => self.answer_with_faults(request, &fired),
        };
        self.faults.end_call();
        response.delay_ms += fired.delay_ms;
        response.hold = fired.hold;
        if fired.drop_after {
            response.delivery = Delivery::Dropped;
        }
        if request.method == "HEAD" {
            response.body.clear();
        }
        let kind = response.header("content-type").unwrap_or_default();
        if request.get("x-prettyprint") == Some("1") && kind.starts_with("application/json") {
            response.body = pretty::pretty(&response.body);
        }
        response
    }

    /// Releases the record locks of a call whose answer was sent or never will be.
    pub fn answered(&mut self, response: &Response) {
        if let Some(call) = response.in_flight {
            self.locks.leave(call);
        }
    }

    fn answer_with_faults(&mut self, request: &Request, fired: &CallFaults) -> Response {
        if let Some((status, body)) = &fired.answer {
            self.usage.spend(self.now_ms());
            self.count_call("(fault)", &request.method);
            return Response::json(*status, body.clone());
        }
        let in_flight = fired.contend.then(|| self.locks.enter());
        if let Some(call) = in_flight {
            self.faults.contend_as(call);
        }
        self.make_user_edits(Moment::BeforeWork, fired, request, None);
        (self.model.late_ms, self.model.grain_ms) = (fired.late_ms, fired.grain_ms);
        let mut response = self.answer(request, fired);
        (self.model.late_ms, self.model.grain_ms) = (0, 0);
        self.make_user_edits(Moment::BeforeAnswer, fired, request, Some(&response));
        response.in_flight = in_flight;
        response
    }

    fn answer(&mut self, request: &Request, fired: &CallFaults) -> Response {
        let path = request.path.trim_end_matches('/');
        if fired.expire_token
            && let Some(token) = session::token_of(request)
        {
            self.sessions.close(token);
        }
        if let Some(outcome) = self.oauth(request, path) {
            return outcome;
        }
        if let Some(answer) = self.soap(request, path) {
            return answer;
        }
        if let Some(answer) = self.dataload(request, path) {
            return answer;
        }
        match path {
            "/services/data" => {
                self.count_call("/services/data", &request.method);
                discovery::versions()
            }
            _ => match path.strip_prefix("/services/data/") {
                Some(rest) => self.data(request, rest),
                None => refusal(&SfError::not_found()),
            },
        }
    }

    /// Handles a path below `/services/data/`.
    fn data(&mut self, request: &Request, rest: &str) -> Response {
        let target = match Target::read(rest) {
            Ok(target) => target,
            Err(error) => return refusal(&error),
        };
        let user = match self.user_of(request) {
            Ok(user) => user,
            Err(error) => return refusal(&error),
        };
        let method = effective_method(request);
        let within = self.usage.spend(self.now_ms());
        let parts = target.parts();
        let resource = Resource::of(&parts);
        self.count_call(
            resource.as_ref().map_or("(unknown)", Resource::template),
            &method,
        );
        let outcome = if within {
            let actor = Actor {
                user,
                origin: origin(
                    request,
                    &target.version[1..],
                    resource.as_ref(),
                    self.model.switches.client_tag_on_composite,
                ),
            };
            let mut call = Call {
                request,
                method,
                version: target.version.clone(),
                version_number: target.number,
                actor,
                outer: None,
            };
            let outcome = self.dispatch(&mut call, resource);
            outcome.map_err(|error| located(request, error))
        } else {
            Err(allowance_spent())
        };
        let response = outcome.unwrap_or_else(|error| refusal(&error));
        let (used, max) = (self.reported_usage(), self.usage.max);
        response.with_header("sforce-limit-info", &format!("api-usage={used}/{max}"))
    }

    /// Handles a request inside another one, if its resource is allowed there.
    fn within(&mut self, call: &mut Call<'_>, request: &Request, container: Container) -> Response {
        let path = request.path.trim_end_matches('/');
        let rest = path.strip_prefix("/services/data/");
        let target = match rest.ok_or_else(SfError::not_found).and_then(Target::read) {
            Ok(target) => target,
            Err(error) => return refusal(&error),
        };
        let parts = target.parts();
        let mut inner = Call {
            request,
            method: effective_method(request),
            version: target.version.clone(),
            version_number: target.number,
            actor: call.actor.clone(),
            outer: call.outer.take(),
        };
        let resource = Resource::of(&parts).filter(|resource| resource.fits_in(container));
        let outcome = self.dispatch(&mut inner, resource);
        call.outer = inner.outer;
        outcome
            .map_err(|error| located(request, error))
            .unwrap_or_else(|error| refusal(&error))
    }

    fn dispatch(
        &mut self,
        call: &mut Call<'_>,
        resource: Option<Resource<'_>>,
    ) -> Result<Response, SfError> {
        let resource = resource
            .filter(|resource| resource.since() <= call.version_number)
            .ok_or_else(SfError::not_found)?;
        let method = if call.method == "HEAD" {
            "GET"
        } else {
            call.method.as_str()
        };
        match (resource, method) {
            (Resource::Root, "GET") => Ok(discovery::resources(call)),
            (Resource::Limits, "GET") => Ok(self.limits()),
            (Resource::RecordCount, "GET") => Ok(self.record_count(call)),
            (Resource::Objects, "GET") => self.describe_global(call),
            (Resource::Object(object), "GET") => self.describe_basic(call, object),
            (Resource::Describe(object), "GET") => self.describe(call, object),
            (Resource::Object(event), "POST") if event.ends_with("__e") => {
                self.publish_row(call, event)
            }
            (Resource::Events(resource), method) if resource.allowed().contains(&method) => {
                self.events(call, resource, method)
            }
            (Resource::Object(object), "POST") => self.create_row(call, object),
            (Resource::Row(object, id), "GET") => self.read_row(call, object, id),
            (Resource::Row(object, id), "PATCH") => self.update_row(call, object, id),
            (Resource::Row(object, id), "DELETE") => self.delete_row(call, object, id),
            (Resource::Row(object, id), "POST") if id.eq_ignore_ascii_case("Id") => {
                self.create_row(call, object)
            }
            (Resource::ByExternalId(key), "GET") => self.read_by_external_id(call, &key),
            (Resource::ByExternalId(key), "PATCH") => self.upsert_by_external_id(call, &key),
            (Resource::ByExternalId(key), "DELETE") => self.delete_by_external_id(call, &key),
            (Resource::Updated(object), "GET") => self.updated(call, object),
            (Resource::Deleted(object), "GET") => self.deleted(call, object),
            (Resource::Composite, "POST") => self.composite(call),
            (Resource::Batch, "POST") => self.batch(call),
            (Resource::Graph, "POST") => self.graphs(call),
            (Resource::Tree(object), "POST") => self.trees(call, object),
            (Resource::Collection, "POST") => self.create_many(call),
            (Resource::Collection, "PATCH") => self.update_many(call),
            (Resource::Collection, "DELETE") => self.delete_many(call),
            (Resource::CollectionOf(object), "GET" | "POST") => self.retrieve_many(call, object),
            (Resource::CollectionUpsert(object, field), "PATCH") => {
                self.upsert_many(call, object, field)
            }
            (Resource::Query { with_deleted }, "GET") => self.query(call, with_deleted),
            (Resource::QueryMore { locator }, "GET") => self.query_more(call, locator),
            (Resource::Bulk(resource), method) => self.bulk_call(call, resource, method),
            (resource, method) => Err(method_not_allowed(method, &resource)),
        }
    }

    fn count_call(&mut self, template: &str, method: &str) {
        *self
            .stats
            .calls
            .entry(format!("{method} {template}"))
            .or_default() += 1;
    }
}

/// Refuses a request whose URL, or URL with headers, is longer than Salesforce accepts. Source:
/// REST API Developer Guide, "Status Codes and Error Responses".
fn too_long(request: &Request) -> Option<Response> {
    let address = request.path.len() + request.query.len() + 1;
    let headers = request.headers.iter();
    let headers: usize = headers.map(|(name, value)| name.len() + value.len()).sum();
    if address > EDGE_BYTES_MAX {
        return Some(Response::empty(414));
    }
    (address + headers > EDGE_BYTES_MAX).then(|| Response::empty(431))
}

/// The version and resource of a path below `/services/data/`.
struct Target {
    /// `v62.0`, as the request wrote it.
    version: String,
    number: u32,
    segments: Vec<String>,
}

impl Target {
    fn read(rest: &str) -> Result<Self, SfError> {
        let (version, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let segments: Option<Vec<String>> = rest
            .split('/')
            .filter(|part| !part.is_empty())
            .map(decode_segment)
            .collect();
        Ok(Self {
            number: api_version(version)?,
            version: version.to_owned(),
            segments: segments.ok_or_else(SfError::not_found)?,
        })
    }

    fn parts(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }
}

fn allowance_spent() -> SfError {
    SfError::new("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
}

/// Adds the position in the body to a type error.
fn located(request: &Request, error: SfError) -> SfError {
    if error.code() != "JSON_PARSER_ERROR" || !error.message().starts_with("Cannot deserialize") {
        return error;
    }
    let text = String::from_utf8_lossy(&request.body);
    let value = error.message().split("value ").nth(1).unwrap_or_default();
    let value = value.split(" or request").next().unwrap_or_default();
    let at = text.find(value).unwrap_or(0);
    let line = text[..at].matches('\n').count() + 1;
    let column = at - text[..at].rfind('\n').map_or(0, |newline| newline + 1) + 1;
    let message = format!("{} at [line:{line}, column:{column}]", error.message());
    SfError::new("JSON_PARSER_ERROR", message)
}

pub(crate) fn method_not_allowed(method: &str, resource: &Resource<'_>) -> SfError {
    let allowed = resource.allowed().join(",");
    let message = format!("HTTP Method '{method}' not allowed. Allowed are {allowed}");
    SfError::new("METHOD_NOT_ALLOWED", message)
}

/// Parses `v62.0`.
fn api_version(text: &str) -> Result<u32, SfError> {
    let number = text
        .strip_prefix('v')
        .and_then(|rest| rest.strip_suffix(".0"))
        .and_then(|digits| digits.parse::<u32>().ok())
        .ok_or_else(SfError::not_found)?;
    match number {
        VERSION_MIN..=VERSION_MAX => Ok(number),
        VERSION_RETIRED_MIN..VERSION_MIN => {
            let message = format!("The requested API version {text} has been retired");
            Err(SfError::new(RETIRED_VERSION_CODE, message).with_status(410))
        }
        _ => Err(SfError::not_found()),
    }
}

/// Returns the method. A POST with `_HttpMethod=PATCH` is a PATCH.
fn effective_method(request: &Request) -> String {
    if request.method != "POST" {
        return request.method.clone();
    }
    request
        .param("_HttpMethod")
        .map_or_else(|| "POST".to_owned(), |m| m.to_ascii_uppercase())
}

/// Returns the client name in the call options.
fn client_tag(request: &Request) -> Option<&str> {
    let options = request.get("sforce-call-options")?;
    let mut options = options.split(',');
    options.find_map(|option| option.trim().strip_prefix("client="))
}

/// Returns the change origin of writes made by this call.
fn origin(
    request: &Request,
    version: &str,
    resource: Option<&Resource<'_>>,
    on_composite: ClientTagOnComposite,
) -> String {
    let honoured = resource.is_none_or(|resource| resource.honours_client_tag(on_composite));
    match client_tag(request).filter(|_| honoured) {
        Some(client) => format!("com/salesforce/api/rest/{version};client={client}"),
        None => format!("com/salesforce/api/rest/{version}"),
    }
}

//! Serializes jobs, batches and refusals as JSON or XML.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::Refusal;
use crate::model::stamp;
use crate::rest::message::{Request, Response};
use crate::rest::soap::escaped;

const NAMESPACE: &str = "http://www.force.com/2009/06/asyncapi/dataload";

/// The members of a job, in the order of its XML.
const JOB: [&str; 24] = [
    "id",
    "operation",
    "object",
    "createdById",
    "createdDate",
    "systemModstamp",
    "state",
    "externalIdFieldName",
    "concurrencyMode",
    "contentType",
    "assignmentRuleId",
    "numberBatchesQueued",
    "numberBatchesInProgress",
    "numberBatchesCompleted",
    "numberBatchesFailed",
    "numberBatchesTotal",
    "numberRecordsProcessed",
    "numberRetries",
    "apiVersion",
    "numberRecordsFailed",
    "totalProcessingTime",
    "apiActiveProcessingTime",
    "apexProcessingTime",
    "fastPathEnabled",
];

/// The members of a batch, in the order of its XML.
const BATCH: [&str; 11] = [
    "id",
    "jobId",
    "state",
    "stateMessage",
    "createdDate",
    "systemModstamp",
    "numberRecordsProcessed",
    "numberRecordsFailed",
    "totalProcessingTime",
    "apiActiveProcessingTime",
    "apexProcessingTime",
];

/// The notation of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Notation {
    Json,
    Xml,
}

impl Notation {
    /// Returns the notation of a request, if its headers name one.
    pub(super) fn of(request: &Request) -> Option<Self> {
        let named = |name: &str| {
            let kind = request.get(name)?.to_ascii_lowercase();
            let parts = [("json", Self::Json), ("xml", Self::Xml)];
            let found = parts.into_iter().find(|(word, _)| kind.contains(word));
            found.map(|(_, notation)| notation)
        };
        named("content-type").or_else(|| named("accept"))
    }
}

/// Returns a job resource.
pub(super) fn job(status: u16, notation: Notation, info: &Json) -> Response {
    match notation {
        Notation::Json => in_json(status, info),
        Notation::Xml => in_xml(status, &element("jobInfo", NAMESPACE, &JOB, info)),
    }
}

/// Returns a batch resource.
pub(super) fn batch(status: u16, notation: Notation, info: &Json) -> Response {
    match notation {
        Notation::Json => in_json(status, info),
        Notation::Xml => in_xml(status, &element("batchInfo", NAMESPACE, &BATCH, info)),
    }
}

/// Returns all batches of a job.
pub(super) fn batches(notation: Notation, infos: &[Json]) -> Response {
    match notation {
        Notation::Json => in_json(200, &json!({"batchInfo": infos})),
        Notation::Xml => {
            let all = infos
                .iter()
                .map(|info| element("batchInfo", "", &BATCH, info));
            let all: String = all.collect();
            let list = format!("<batchInfoList xmlns=\"{NAMESPACE}\">{all}</batchInfoList>");
            in_xml(200, &list)
        }
    }
}

/// Returns the list of a query's results.
pub(super) fn result_list(notation: Notation, result: &str) -> Response {
    match notation {
        Notation::Json => in_json(200, &json!([result])),
        Notation::Xml => in_xml(
            200,
            &format!("<result-list xmlns=\"{NAMESPACE}\"><result>{result}</result></result-list>"),
        ),
    }
}

/// Returns a refusal.
pub(super) fn refusal(notation: Notation, Refusal(status, code, message): Refusal) -> Response {
    let error = json!({"exceptionCode": code, "exceptionMessage": message});
    match notation {
        Notation::Json => in_json(status, &error),
        Notation::Xml => {
            let order = ["exceptionCode", "exceptionMessage"];
            in_xml(status, &element("error", NAMESPACE, &order, &error))
        }
    }
}

/// Returns an element with its non-null members. In a list only the list itself has the namespace.
fn element(name: &str, namespace: &str, order: &[&str], members: &Json) -> String {
    let mut xml = format!("<{name}");
    let mut put = |text: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _ = xml.write_fmt(text);
    };
    if !namespace.is_empty() {
        put(format_args!(" xmlns=\"{namespace}\""));
    }
    put(format_args!(">"));
    for member in order {
        match &members[*member] {
            Json::Null => {}
            // Dates have another suffix than in JSON.
            Json::String(text) if member.ends_with("Date") || *member == "systemModstamp" => {
                let text = text.replace("+0000", "Z");
                put(format_args!("<{member}>{text}</{member}>"));
            }
            Json::String(text) => put(format_args!("<{member}>{}</{member}>", escaped(text))),
            other => put(format_args!("<{member}>{other}</{member}>")),
        }
    }
    put(format_args!("</{name}>"));
    xml
}

/// Returns a time in JSON form.
pub(super) fn moment(ms: i64) -> String {
    let mut text = String::new();
    stamp::push_datetime(&mut text, stamp::floor_to_second(ms));
    text
}

/// The header has no character set, because clients compare it as a whole.
fn in_json(status: u16, json: &Json) -> Response {
    bytes(status, "application/json", json.to_string())
}

fn in_xml(status: u16, xml: &str) -> Response {
    let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{xml}");
    bytes(status, "application/xml", text)
}

/// Returns the data of a batch.
pub(super) fn bytes(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Response {
    Response {
        status,
        body: body.into(),
        ..Response::default()
    }
    .with_header("content-type", kind)
}

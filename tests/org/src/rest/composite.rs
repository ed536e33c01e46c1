//! Composite: several calls in one request. A call can use the answers of earlier ones; calls that do
//! not refer to each other may run in any order.

mod order;

use std::collections::HashSet;

use serde_json::{Map, Value as Json};

use super::message::{Request, Response};
use super::reference::Answers;
use super::resource::{Container, Resource};
use super::{Call, refusal};
use crate::Org;
use crate::model::error::SfError;
use crate::model::transaction::Transaction;
use crate::model::value::push_json_text;
use crate::unconfirmed::switches::ConditionsInComposite;
use crate::unconfirmed::{
    COMPOSITE_FORM_CODE, COMPOSITE_HEAVY_MAX, COMPOSITE_LIMIT_CODE, COMPOSITE_REFERENCE_CODE,
};

/// Maximum number of subrequests of one composite call.
const SUBREQUESTS_MAX: usize = 25;

/// One call of a composite request or a graph.
pub(super) struct Node {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) reference: String,
    pub(super) body: Option<Json>,
    headers: Vec<(String, String)>,
}

/// Nodes and how they run.
pub(super) struct Sequence<'a> {
    pub(super) nodes: &'a [Node],
    /// The places of the nodes, in the order in which they run.
    pub(super) order: Vec<usize>,
    pub(super) all_or_none: bool,
    pub(super) container: Container,
}

/// The result of running nodes.
pub(super) struct Run {
    pub(super) responses: Vec<Response>,
    /// Whether a failed node rolled back all of them.
    pub(super) undone: bool,
}

impl Org {
    /// Handles `POST /composite`.
    pub(super) fn composite(&mut self, call: &mut Call<'_>) -> Result<Response, SfError> {
        let body = call.members()?;
        let all_or_none = flag(&body, "allOrNone")?;
        let asked = optional_flag(&body, "collateSubrequests")?;
        let nodes = read_nodes(body.get("compositeRequest"), SUBREQUESTS_MAX)?;
        let heavy = nodes.iter().filter(|node| node.is_heavy());
        if heavy.count() > COMPOSITE_HEAVY_MAX {
            let message = format!(
                "The composite request has more than {COMPOSITE_HEAVY_MAX} query or sObject \
                 collections operations"
            );
            return Err(SfError::new(COMPOSITE_LIMIT_CODE, message).with_status(400));
        }
        let order = if order::collates(call.version_number, asked) {
            order::collated(&nodes, &mut self.model.random)
        } else {
            (0..nodes.len()).collect()
        };
        let sequence = Sequence {
            nodes: &nodes,
            order,
            all_or_none,
            container: Container::Composite,
        };
        let run = self.run_nodes(call, &sequence);
        let mut out = String::from("{\"compositeResponse\":");
        push_responses(&mut out, &nodes, &run.responses);
        out.push('}');
        Ok(Response::json(200, out))
    }

    /// Runs nodes. With `all_or_none`, the first failure stops the run and rolls everything back.
    pub(super) fn run_nodes(&mut self, call: &mut Call<'_>, sequence: &Sequence<'_>) -> Run {
        let Sequence {
            nodes, all_or_none, ..
        } = *sequence;
        call.outer = all_or_none.then(Transaction::default);
        let mut answers = Answers::default();
        let mut responses: Vec<Response> = nodes.iter().map(|_| rolled_back()).collect();
        let mut failed_at = None;
        for place in sequence.order.iter().copied() {
            let node = &nodes[place];
            let response = match node.request(&answers) {
                Ok(mut request) => {
                    let switches = self.model.switches;
                    if switches.conditions_in_composite == ConditionsInComposite::Ignored {
                        request.drop_header("if-unmodified-since");
                    }
                    self.within(call, &request, sequence.container)
                }
                Err(error) => refusal(&error),
            };
            let failed = response.status >= 400 || response.status == 300;
            answers.note(&node.reference, &response);
            responses[place] = response;
            if failed && all_or_none {
                failed_at = Some(place);
                break;
            }
        }
        if let Some(tx) = call.outer.take() {
            if failed_at.is_some() {
                self.model.roll_back(tx);
            } else {
                self.model.commit(tx, &call.actor);
            }
        }
        if let Some(failed_at) = failed_at {
            for (place, response) in responses.iter_mut().enumerate() {
                if place != failed_at {
                    *response = rolled_back();
                }
            }
        }
        Run {
            responses,
            undone: failed_at.is_some(),
        }
    }
}

impl Node {
    fn read(json: &Json) -> Result<Self, SfError> {
        let Json::Object(members) = json else {
            return Err(malformed("A subrequest is a JSON object"));
        };
        let text = |name: &str| match members.get(name) {
            Some(Json::String(text)) if !text.is_empty() => Ok(text.clone()),
            _ => Err(malformed(&format!("A subrequest needs the member {name}"))),
        };
        let reference = text("referenceId")?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !reference.chars().all(plain) || reference.starts_with('_') {
            let message = format!(
                "Provided referenceId ('{reference}') must start with a letter or a number, and \
                 it can contain only letters, numbers and underscores ('_')."
            );
            return Err(SfError::new(COMPOSITE_REFERENCE_CODE, message).with_status(400));
        }
        let headers = match members.get("httpHeaders") {
            None | Some(Json::Null) => Vec::new(),
            Some(Json::Object(headers)) => headers
                .iter()
                .map(|(name, value)| {
                    let value = value.as_str();
                    let value = value.ok_or_else(|| malformed("A header value is text"))?;
                    Ok((name.to_ascii_lowercase(), value.to_owned()))
                })
                .collect::<Result<_, SfError>>()?,
            Some(_) => return Err(malformed("httpHeaders is a JSON object")),
        };
        Ok(Self {
            method: text("method")?.to_ascii_uppercase(),
            url: text("url")?,
            reference,
            body: members.get("body").filter(|body| !body.is_null()).cloned(),
            headers,
        })
    }

    /// Returns the node as a call, with its references replaced.
    fn request(&self, answers: &Answers) -> Result<Request, SfError> {
        let url = answers.fill_url(&self.url)?;
        let mut request = Request::new(&self.method, &url);
        for (name, value) in &self.headers {
            request = request.header(name, &answers.fill_text(value)?);
        }
        match &self.body {
            Some(body) => Ok(request.json(&answers.fill(body)?)),
            None => Ok(request),
        }
    }

    /// Returns whether a composite request limits the number of such nodes.
    fn is_heavy(&self) -> bool {
        let parts = self.parts();
        Resource::of(parts.get(1..).unwrap_or_default()).is_some_and(|resource| resource.is_heavy())
    }

    /// Returns the version and the path segments after `/services/data/`, not decoded.
    pub(super) fn parts(&self) -> Vec<&str> {
        let path = self.url.split('?').next().unwrap_or_default();
        let rest = path.strip_prefix("/services/data/").unwrap_or_default();
        rest.split('/').filter(|part| !part.is_empty()).collect()
    }
}

/// Reads the nodes of a composite request or a graph.
pub(super) fn read_nodes(json: Option<&Json>, max: usize) -> Result<Vec<Node>, SfError> {
    let Some(Json::Array(items)) = json else {
        return Err(malformed("compositeRequest is required and is an array"));
    };
    if items.is_empty() {
        return Err(malformed("compositeRequest has no subrequest"));
    }
    if items.len() > max {
        let message = format!("compositeRequest has more than {max} subrequests");
        return Err(SfError::new(COMPOSITE_LIMIT_CODE, message).with_status(400));
    }
    let nodes: Vec<Node> = items.iter().map(Node::read).collect::<Result<_, _>>()?;
    let mut known = HashSet::new();
    if let Some(twice) = nodes.iter().find(|node| !known.insert(&node.reference)) {
        let message = format!("Duplicate referenceId: {}", twice.reference);
        return Err(SfError::new(COMPOSITE_REFERENCE_CODE, message).with_status(400));
    }
    Ok(nodes)
}

/// Returns the error for a body that is JSON of the wrong form.
pub(super) fn malformed(message: &str) -> SfError {
    SfError::new(COMPOSITE_FORM_CODE, message).with_status(400)
}

/// Reads a boolean member that is false by default.
pub(super) fn flag(members: &Map<String, Json>, name: &str) -> Result<bool, SfError> {
    Ok(optional_flag(members, name)?.unwrap_or(false))
}

fn optional_flag(members: &Map<String, Json>, name: &str) -> Result<Option<bool>, SfError> {
    match members.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Bool(on)) => Ok(Some(*on)),
        Some(_) => Err(malformed(&format!("{name} is true or false"))),
    }
}

fn rolled_back() -> Response {
    let message = "The transaction was rolled back since another operation in the same \
                   transaction failed.";
    refusal(&SfError::new("PROCESSING_HALTED", message))
}

/// Appends the responses of nodes in the form of `compositeResponse`.
pub(super) fn push_responses(out: &mut String, nodes: &[Node], responses: &[Response]) {
    out.push('[');
    for (place, (node, response)) in nodes.iter().zip(responses).enumerate() {
        if place > 0 {
            out.push(',');
        }
        out.push_str("{\"body\":");
        push_body(out, response);
        out.push_str(",\"httpHeaders\":{");
        let mut first = true;
        for (name, shown) in [
            ("etag", "ETag"),
            ("last-modified", "Last-Modified"),
            ("location", "Location"),
        ] {
            if let Some(value) = response.header(name) {
                out.push_str(if first { "\"" } else { ",\"" });
                out.push_str(shown);
                out.push_str("\":");
                push_json_text(out, value);
                first = false;
            }
        }
        out.push_str(&format!("}},\"httpStatusCode\":{}", response.status));
        out.push_str(",\"referenceId\":");
        push_json_text(out, &node.reference);
        out.push('}');
    }
    out.push(']');
}

/// Appends the body of a contained response, or null if it has no body.
pub(super) fn push_body(out: &mut String, response: &Response) {
    let text = std::str::from_utf8(&response.body).unwrap_or_default();
    out.push_str(if text.is_empty() { "null" } else { text });
}

//! Composite graphs: independent groups of calls. Each group succeeds or fails as a whole.

use std::collections::{HashMap, HashSet};

use serde_json::Value as Json;

use super::composite::{Node, Sequence, malformed, push_responses, read_nodes};
use super::message::Response;
use super::reference::references;
use super::resource::{Container, Resource};
use super::{Call, refusal};
use crate::Org;
use crate::model::error::SfError;
use crate::model::value::push_json_text;
use crate::unconfirmed::{COMPOSITE_LIMIT_CODE, COMPOSITE_REFERENCE_CODE};

/// Maximum number of graphs in a request.
const GRAPHS_MAX: usize = 75;

/// Maximum number of nodes in a request, and so in a graph.
const NODES_MAX: usize = 500;

/// Maximum length of a chain of nodes that refer to each other.
const DEPTH_MAX: usize = 15;

/// Maximum number of kinds of nodes (version, method and object) in a request.
const KINDS_MAX: usize = 15;

/// Maximum number of failed graphs. After more failures the remaining graphs do not run.
const FAILURES_MAX: usize = 14;

struct Graph {
    id: String,
    nodes: Vec<Node>,
}

impl Org {
    /// Handles `POST /composite/graph`.
    pub(super) fn graphs(&mut self, call: &mut Call<'_>) -> Result<Response, SfError> {
        let graphs = read_graphs(call.members()?.get("graphs"))?;
        let mut failures = 0;
        let mut out = String::from("{\"graphs\":[");
        for (place, graph) in graphs.iter().enumerate() {
            let (responses, successful) = if failures > FAILURES_MAX {
                (graph.nodes.iter().map(|_| halted()).collect(), false)
            } else {
                let sequence = Sequence {
                    nodes: &graph.nodes,
                    order: (0..graph.nodes.len()).collect(),
                    all_or_none: true,
                    container: Container::Graph,
                };
                let run = self.run_nodes(call, &sequence);
                failures += usize::from(run.undone);
                (run.responses, !run.undone)
            };
            out.push_str(if place > 0 {
                ",{\"graphId\":"
            } else {
                "{\"graphId\":"
            });
            push_json_text(&mut out, &graph.id);
            out.push_str(",\"graphResponse\":{\"compositeResponse\":");
            push_responses(&mut out, &graph.nodes, &responses);
            out.push_str(&format!("}},\"isSuccessful\":{successful}}}"));
        }
        out.push_str("]}");
        Ok(Response::json(200, out))
    }
}

fn halted() -> Response {
    let message = "Processing was halted since too many graphs of the request failed.";
    refusal(&SfError::new("PROCESSING_HALTED", message))
}

fn too_much(message: String) -> SfError {
    SfError::new(COMPOSITE_LIMIT_CODE, message).with_status(400)
}

fn read_graphs(json: Option<&Json>) -> Result<Vec<Graph>, SfError> {
    let Some(Json::Array(items)) = json else {
        return Err(malformed("graphs is required and is an array"));
    };
    if items.is_empty() {
        return Err(malformed("graphs has no graph"));
    }
    if items.len() > GRAPHS_MAX {
        return Err(too_much(format!(
            "The request has more than {GRAPHS_MAX} graphs"
        )));
    }
    let graphs: Vec<Graph> = items.iter().map(read_graph).collect::<Result<_, _>>()?;
    let mut known = HashSet::new();
    if let Some(twice) = graphs.iter().find(|graph| !known.insert(&graph.id)) {
        let message = format!("Duplicate graphId: {}", twice.id);
        return Err(SfError::new(COMPOSITE_REFERENCE_CODE, message).with_status(400));
    }
    let nodes = || graphs.iter().flat_map(|graph| &graph.nodes);
    if nodes().count() > NODES_MAX {
        return Err(too_much(format!(
            "The request has more than {NODES_MAX} nodes"
        )));
    }
    let kinds: HashSet<String> = nodes().map(kind).collect();
    if kinds.len() > KINDS_MAX {
        return Err(too_much(format!(
            "The request has more than {KINDS_MAX} different kinds of nodes"
        )));
    }
    if let Some(deep) = graphs.iter().find(|graph| depth(&graph.nodes) > DEPTH_MAX) {
        return Err(too_much(format!(
            "Graph {} is deeper than {DEPTH_MAX}",
            deep.id
        )));
    }
    Ok(graphs)
}

fn read_graph(json: &Json) -> Result<Graph, SfError> {
    let Some(Json::String(id)) = json.get("graphId") else {
        return Err(malformed("A graph needs the member graphId"));
    };
    if !id.starts_with(|c: char| c.is_ascii_alphanumeric()) || id.chars().count() >= 40 {
        let message = format!(
            "graphId '{id}' must start with a letter or a number and be shorter than 40 characters"
        );
        return Err(SfError::new(COMPOSITE_REFERENCE_CODE, message).with_status(400));
    }
    Ok(Graph {
        id: id.clone(),
        nodes: read_nodes(json.get("compositeRequest"), NODES_MAX)?,
    })
}

/// Returns the kind of a node: version, method and object.
fn kind(node: &Node) -> String {
    let parts = node.parts();
    let object = Resource::of(parts.get(1..).unwrap_or_default())
        .and_then(|resource| resource.object())
        .unwrap_or_default();
    let version = parts.first().copied().unwrap_or_default();
    format!("{version} {} {}", node.method, object.to_lowercase())
}

/// Returns the length of the longest chain of references.
fn depth(nodes: &[Node]) -> usize {
    let mut depths: HashMap<&str, usize> = HashMap::new();
    for node in nodes {
        let body = node.body.as_ref().map(Json::to_string).unwrap_or_default();
        let above = references(&node.url)
            .into_iter()
            .chain(references(&body))
            .filter_map(|name| depths.get(name))
            .max();
        let own = above.copied().unwrap_or_default() + 1;
        depths.insert(&node.reference, own);
    }
    depths.into_values().max().unwrap_or_default()
}

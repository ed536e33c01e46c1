//! The order in which the calls of a composite request run.
//!
//! Source: REST API Developer Guide, "Composite Request Body", collateSubrequests.

use super::Node;
use crate::model::Random;
use crate::rest::reference::references;

/// The first API version that can collate, and the first one that does so by default.
const COLLATES_SINCE: u32 = 48;
const COLLATES_BY_DEFAULT_SINCE: u32 = 49;

/// Returns whether Salesforce chooses the order of a request of this version.
pub(super) fn collates(version: u32, asked: Option<bool>) -> bool {
    version >= COLLATES_SINCE && asked.unwrap_or(version >= COLLATES_BY_DEFAULT_SINCE)
}

/// Returns the places of the nodes in the order in which they run: any order in which a node comes
/// after those that it refers to. A node that cannot be collated keeps its place.
pub(super) fn collated(nodes: &[Node], random: &mut Random) -> Vec<usize> {
    let ordered = |a: usize, b: usize| {
        let fixed = !nodes[a].can_be_collated() || !nodes[b].can_be_collated();
        fixed || nodes[a].refers_to(&nodes[b]) || nodes[b].refers_to(&nodes[a])
    };
    let mut waiting: Vec<usize> = (0..nodes.len()).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while !waiting.is_empty() {
        let is_free = |place: &usize| {
            let mut earlier = waiting.iter().take_while(|other| *other < place);
            !earlier.any(|other| ordered(*other, *place))
        };
        // The first one is always free.
        let free: Vec<usize> = waiting.iter().copied().filter(is_free).collect();
        let chosen = free[random.next() as usize % free.len()];
        waiting.retain(|place| *place != chosen);
        order.push(chosen);
    }
    order
}

impl Node {
    /// Salesforce collates calls below `/sobjects` without headers of their own.
    fn can_be_collated(&self) -> bool {
        self.headers.is_empty() && self.parts().get(1) == Some(&"sobjects")
    }

    fn refers_to(&self, other: &Self) -> bool {
        let body = self.body.as_ref().map(ToString::to_string);
        let texts = [self.url.as_str(), body.as_deref().unwrap_or_default()];
        let mut names = texts.into_iter().flat_map(references);
        names.any(|name| name == other.reference)
    }
}

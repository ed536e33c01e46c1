//! Merges two payloads without a base.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::config::{ObjectSync, Owner};
use crate::model::Side;
use crate::model::hash::canonical_json;

/// What merging two payloads gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case", tag = "outcome", content = "value")]
pub enum MergeOutcome {
    /// Both hold the same.
    Noop,
    /// The merged payload.
    Merged(#[cfg_attr(feature = "typescript", ts(type = "Json"))] Json),
    /// The fields that both have and that differ, sorted; `<root>` for payloads that are not objects.
    Conflict(Vec<String>),
}

/// What a conflict between two whole payloads is called.
pub const ROOT: &str = "<root>";

/// Merges the payload that `source` sent into the payload of the other side, without a base.
///
/// A field that the source owns is taken, one that the other side owns is ignored; any other field
/// is added if `current` lacks it, and conflicts if both have it and differ. A null is a value.
///
/// ```
/// use serde_json::json;
/// use syncline_planner::{MergeOutcome, Side, merge_payload};
/// # let object: syncline_planner::ObjectSync = serde_json::from_value(json!({
/// #     "object": "Account", "table": {"schema": "public", "table": "account"},
/// #     "external_id": {"field": "External_Id__c", "column": "external_id"},
/// #     "fields": {"Name": {"column": "name"}, "Phone": {"column": "phone"}},
/// # })).unwrap();
/// let held = json!({"Name": "Acme"});
/// let sent = json!({"Name": "Acme", "Phone": "1"});
/// let merged = merge_payload(&object, Some(&held), Side::Salesforce, &sent);
/// assert_eq!(merged, MergeOutcome::Merged(sent));
/// ```
pub fn merge_payload(
    object: &ObjectSync,
    current: Option<&Json>,
    source: Side,
    incoming: &Json,
) -> MergeOutcome {
    let Some(current) = current else {
        return MergeOutcome::Merged(incoming.clone());
    };
    if same(current, incoming) {
        return MergeOutcome::Noop;
    }
    let (Json::Object(held), Json::Object(sent)) = (current, incoming) else {
        return MergeOutcome::Conflict(vec![ROOT.to_owned()]);
    };
    let mut merged = held.clone();
    let mut conflicts = Vec::new();
    for (field, value) in sorted(sent) {
        match (owner(object, field).side(), held.get(field)) {
            (Some(side), _) if side != source => {}
            (Some(_), _) | (None, None) => {
                merged.insert(field.clone(), value.clone());
            }
            (None, Some(other)) if same(other, value) => {}
            (None, Some(_)) => conflicts.push(field.clone()),
        }
    }
    if conflicts.is_empty() {
        MergeOutcome::Merged(Json::Object(merged))
    } else {
        MergeOutcome::Conflict(conflicts)
    }
}

/// Returns whether two payloads have equal content: `1.0` is `1`, and the order of keys does not matter.
pub(super) fn same(one: &Json, other: &Json) -> bool {
    canonical_json(one) == canonical_json(other)
}

pub(super) fn owner(object: &ObjectSync, field: &str) -> Owner {
    object
        .fields
        .iter()
        .find(|(name, _)| name.as_str() == field)
        .map_or(Owner::Shared, |(_, sync)| sync.owner)
}

/// Returns the members sorted by name.
pub(super) fn sorted(members: &Map<String, Json>) -> Vec<(&String, &Json)> {
    let mut sorted: Vec<(&String, &Json)> = Vec::with_capacity(members.len());
    for (name, member) in members {
        let place = sorted.partition_point(|(known, _)| *known < name);
        sorted.insert(place, (name, member));
    }
    sorted
}

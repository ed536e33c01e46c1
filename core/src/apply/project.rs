//! What a link becomes once a single change was applied by itself.

use crate::model::change::ChangeEnvelope;
use crate::model::ids::FieldName;
use crate::model::link::{Presence, SyncLink};
use crate::model::value::{Payload, Value};
use crate::salesforce::RestApplyResult;

/// Returns the record's link as it stands once `applied` was applied to Salesforce with `result`: for
/// callers of [`crate::SalesforceApplier`] who keep links without an engine. Pure.
pub fn project_sync_link(
    link: &SyncLink,
    applied: &ChangeEnvelope,
    result: &RestApplyResult,
) -> SyncLink {
    let mut projected = link.clone();
    projected.version += 1;
    match result {
        RestApplyResult::Upserted { salesforce_id, .. } => {
            projected.salesforce_id = Some(salesforce_id.clone());
            projected.remote_state.presence = Presence::Present;
            projected.base.extend(content(applied));
            projected.agreed = true;
        }
        RestApplyResult::Deleted { .. } | RestApplyResult::AlreadyAbsent => {
            projected.salesforce_id = None;
            projected.remote_state.presence = Presence::Deleted;
            projected.remote_state.fields.clear();
            projected.base.clear();
            projected.agreed = false;
        }
    }
    projected
}

fn content(applied: &ChangeEnvelope) -> Payload {
    applied
        .payload
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, json)| Some((FieldName::parse(name).ok()?, Value::from_json(json)?)))
        .collect()
}

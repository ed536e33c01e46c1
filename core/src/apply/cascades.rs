//! Finds the records of other objects that Salesforce would delete together with a record.
//!
//! Nothing would read those records before they go, and their rows may live: each is deleted by a write of its own,
//! or points elsewhere, before the record that it points to is deleted.

use std::collections::{BTreeMap, BTreeSet};

use crate::job::Job;
use crate::job::tenant::mapped_object;
use crate::model::ids::{ObjectName, SalesforceId};
use crate::model::intent::WriteAction;
use crate::ports::MappedObject;
use crate::ports::apply_store::IntendedWrite;
use crate::ports::record::WAITS_FOR_CHILDREN;
use crate::ports::salesforce::{Disposition, Refusal, SalesforceError};

use super::changed::unread;

/// Returns the records whose delete would take records of mapped objects along, or may do so, with the reason why it
/// waits. One read for each lookup by which Salesforce deletes, however many records point to them. Fails only if the
/// org cannot be used: what cannot be read of another object stops no write but the deletes.
pub(super) async fn taking_along(
    job: &Job<'_>,
    mapped: &MappedObject,
    writes: &[IntendedWrite],
) -> Result<BTreeMap<SalesforceId, Refusal>, SalesforceError> {
    let deletes = writes
        .iter()
        .filter(|write| write.intent.action == WriteAction::Delete);
    let ids: Vec<SalesforceId> = deletes
        .filter_map(|write| write.salesforce_id.clone())
        .collect();
    let mut children: BTreeMap<SalesforceId, BTreeSet<&ObjectName>> = BTreeMap::new();
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    for lookup in &mapped.schema.cascades {
        let Some(child) = mapped_object(job.mapped_objects(), &lookup.object) else {
            continue;
        };
        let filter = child.sync.filter.as_deref();
        match job.salesforce().referenced(lookup, filter, &ids).await {
            Ok(referenced) => {
                for id in referenced {
                    children.entry(id).or_default().insert(&lookup.object);
                }
            }
            Err(error) if error.disposition.concerns_tenant() => return Err(error),
            Err(error) => return Ok(ids.into_iter().map(|id| (id, unread(&error))).collect()),
        }
    }
    let refusals = children
        .into_iter()
        .map(|(id, objects)| (id, waits_for(&objects)));
    Ok(refusals.collect())
}

fn waits_for(objects: &BTreeSet<&ObjectName>) -> Refusal {
    let objects: Vec<&str> = objects.iter().map(|object| object.as_str()).collect();
    Refusal {
        code: WAITS_FOR_CHILDREN.to_owned(),
        message: format!(
            "Salesforce would delete records of {} with it: delete them, or let them point to another record",
            objects.join(" and ")
        ),
        fields: Vec::new(),
        disposition: Disposition::WaitForChildren,
    }
}

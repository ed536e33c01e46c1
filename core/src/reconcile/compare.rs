//! Compares one record on both live sides, and distinguishes drift from an allowed difference.
//!
//! Pure. Two sides may differ while there is a conflict, while a rule keeps them apart, or while a write is
//! in flight. They have drifted if a plan from both would write a value.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::fields::FieldId;
use crate::model::ids::{FieldName, ObjectName, RecordId, TenantId};
use crate::model::link::Presence;
use crate::observe::planner::ObjectPlanner;
use crate::observe::sides::{MappedField, named_by_external_id, postgres_side};
use crate::planner::facts::SideState;
use crate::ports::MappedObject;
use crate::ports::record::ObservedRecord;
use crate::ports::salesforce::{Deleted, SalesforceRecord};

/// A record that differs between the sides and should not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftItem {
    /// The tenant.
    pub tenant: TenantId,
    /// The object.
    pub object: ObjectName,
    /// The record.
    pub record_id: RecordId,
    /// Its external id.
    pub external_id: String,
    /// The fields that differ; empty if one side lacks the record.
    pub fields: Vec<FieldName>,
    /// The side that lacks the record, if one does.
    pub absent: Option<&'static str>,
}

/// The result of comparing one record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Comparison {
    /// Both sides are equal.
    Equal,
    /// They differ, and no write is planned: there is a conflict, or a rule keeps them apart.
    Allowed,
    /// They differ and should not.
    Drifted(DriftItem),
}

/// Compares a record's row with the record just read in Salesforce with the object's filter. `None`:
/// Salesforce lacks the record.
pub(crate) fn compare(
    mapped: &MappedObject,
    planner: &ObjectPlanner<'_>,
    observed: &ObservedRecord,
    read: Option<&SalesforceRecord>,
) -> Comparison {
    let fields = planner.fields();
    let drifted = |fields, absent| Comparison::Drifted(item(mapped, observed, fields, absent));
    let live = read.filter(|record| record.deleted == Deleted::No);
    if live.is_some() && observed.known.link.remote_state.presence == Presence::FilteredOut {
        // It matches the filter again, and no event reported that.
        return drifted(Vec::new(), None);
    }
    let unreadable = live.map(|record| &record.unreadable);
    // Apply parks a value that its field cannot hold, and a second row, with the reason.
    let mut postgres = match postgres_side(mapped, fields, observed) {
        Ok((postgres, invalid)) if invalid.is_empty() => postgres,
        Ok(_) | Err(_) => return Comparison::Allowed,
    };
    let named = live.map(|record| {
        named_by_external_id(fields, |name| record.fields.get(name), &observed.parents)
    });
    let salesforce = match (named, live) {
        (Some((named, unknown)), Some(record)) if unknown.is_empty() => SideState {
            presence: Presence::Present,
            fields: named,
            changed_at_ms: record.version.modified_ms,
        },
        // The parent is not the one in the remote state: an event is missing or on its way.
        (Some(_), _) => return drifted(Vec::new(), None),
        (None, _) => SideState {
            presence: if observed.known.link.agreed {
                Presence::Deleted
            } else {
                Presence::Unseen
            },
            ..SideState::default()
        },
    };
    if let Some(unreadable) = unreadable.filter(|unreadable| !unreadable.is_empty()) {
        let readable = |field: &&MappedField| !unreadable.contains_key(&field.name);
        let readable: BTreeSet<FieldId> = fields
            .iter()
            .filter(readable)
            .map(|field| field.id)
            .collect();
        postgres.fields.retain(|id, _| readable.contains(id));
    }
    let differing = differing(fields, &postgres, &salesforce);
    let absent = absent(&postgres, &salesforce);
    if differing.is_empty() && absent.is_none() {
        return if unreadable.is_none_or(BTreeMap::is_empty) {
            Comparison::Equal
        } else {
            Comparison::Allowed
        };
    }
    let plan = planner.plan_sides(observed, postgres, salesforce);
    if plan.writes_nothing() {
        Comparison::Allowed
    } else {
        drifted(differing, absent)
    }
}

/// Returns whether other fields of the record can be read than last time.
pub(crate) fn reads_otherwise(
    planner: &ObjectPlanner<'_>,
    observed: &ObservedRecord,
    read: &SalesforceRecord,
) -> bool {
    let known = &observed.known.link.remote_state.unreadable;
    let mut fields = planner.fields().iter();
    observed.known.link.remote_state.presence == Presence::Present
        && fields.any(|field| known.get(&field.name) != read.unreadable.get(&field.name))
}

fn item(
    mapped: &MappedObject,
    observed: &ObservedRecord,
    fields: Vec<FieldName>,
    absent: Option<&'static str>,
) -> DriftItem {
    DriftItem {
        tenant: mapped.tenant.clone(),
        object: mapped.sync.object.clone(),
        record_id: observed.known.link.record_id,
        external_id: observed.known.link.external_id.clone(),
        fields,
        absent,
    }
}

fn differing(
    fields: &[MappedField],
    postgres: &SideState,
    salesforce: &SideState,
) -> Vec<FieldName> {
    let there = |side: &SideState| side.presence == Presence::Present;
    if !(there(postgres) && there(salesforce)) {
        return Vec::new();
    }
    let mut differing: Vec<FieldName> = fields
        .iter()
        .filter(|field| postgres.fields.contains_key(&field.id))
        .filter(|field| postgres.fields.get(&field.id) != salesforce.fields.get(&field.id))
        .map(|field| field.name.clone())
        .collect();
    differing.sort();
    differing
}

fn absent(postgres: &SideState, salesforce: &SideState) -> Option<&'static str> {
    match (
        postgres.presence == Presence::Present,
        salesforce.presence == Presence::Present,
    ) {
        (true, true) | (false, false) => None,
        (true, false) => Some("Salesforce"),
        (false, true) => Some("Postgres"),
    }
}

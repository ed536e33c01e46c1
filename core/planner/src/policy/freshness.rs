//! Decides when a record is read in Salesforce before its plan is carried out.
//!
//! The remote state is as old as the last event that was captured. Some plans may destroy an edit that it does not
//! show, so they are made again from a read: a delete always, an update if events may be late.

use crate::config::{ConflictPolicy, Owner};
use crate::model::value::Value;

use crate::facts::RecordFacts;
use crate::mapping::Mapping;
use crate::record::{RecordPlan, Rule, SideWrite};

/// A stream counts as read if its owner was seen this recently: owners renew their lease every 40 seconds.
pub const STREAM_AGE_MS_MAX: i64 = 60_000;

/// How recent the remote state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// The record was read for this plan.
    JustRead,
    /// Changes in Salesforce are captured as they are made.
    Streamed,
    /// Changes may have been made that are not captured yet, for example because the worker that captured them
    /// has died.
    Behind,
}

/// Returns whether the record must be read before the plan is carried out.
pub fn must_be_read(
    mapping: &Mapping,
    plan: &RecordPlan,
    facts: &RecordFacts,
    freshness: Freshness,
) -> bool {
    match freshness {
        Freshness::JustRead => false,
        Freshness::Streamed => deletes(plan) || has_value_for_unseen(plan, facts),
        Freshness::Behind => {
            deletes(plan) || has_value_for_unseen(plan, facts) || may_overwrite(mapping, plan)
        }
    }
}

/// A delete cannot be conditional, and takes every field along.
fn deletes(plan: &RecordPlan) -> bool {
    plan.to_salesforce == SideWrite::Delete
}

/// Returns whether the update could replace an edit that would win or must be decided. Fields that Postgres owns,
/// or that it wins anyway, are written whatever Salesforce has.
pub fn may_overwrite(mapping: &Mapping, plan: &RecordPlan) -> bool {
    let SideWrite::Update(values) = &plan.to_salesforce else {
        return false;
    };
    let rules = mapping.rules();
    let is_owned = |name| {
        let field = rules.fields.get(name);
        field.is_some_and(|field| field.owner == Owner::Postgres)
    };
    rules.conflicts != ConflictPolicy::PostgresWins
        && values.keys().any(|field| !is_owned(mapping.name(*field)))
}

/// Returns whether the row has a value for a field that the Salesforce record has not shown yet. A create
/// sends no nulls, so until its event comes, nothing is known of the fields that it did not send.
fn has_value_for_unseen(plan: &RecordPlan, facts: &RecordFacts) -> bool {
    let (Some(row), Some(_), false) = (&facts.postgres, &facts.salesforce, facts.filtered_out)
    else {
        return false;
    };
    plan.explanation.fields.iter().any(|(field, rule)| {
        *rule == Rule::NotSeen && row.get(field).is_some_and(|value| *value != Value::Null)
    })
}

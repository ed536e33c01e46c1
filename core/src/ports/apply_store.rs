//! The store's calls for apply: leasing tasks, planning and writing rows, settling remote writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;

use crate::config::ObjectSync;
use crate::model::hash::canonical_hash;
use crate::model::ids::{FieldName, SalesforceId};
use crate::model::intent::Intent;
use crate::model::link::AutomationOverride;
use crate::model::value::Payload;
use crate::planner::facts::RecordFacts;
use crate::planner::mapping::Mapping;
use crate::planner::policy::NextStep;
use crate::planner::record::RecordPlan;
use crate::planner::route::Routable;

use super::mapped_object::MappedObject;
use super::record::{LeaseEnd, LeasedTask, ObservedRecord, PostgresRow, Withheld};
use super::salesforce::Refusal;
use super::store_error::StoreError;

/// The calls of apply on one tenant's Postgres: control plane and tables.
#[async_trait]
pub trait ApplyStore: Send + Sync {
    /// Leases at most `limit` due tasks of the object, oldest first. Records with an open intent are
    /// not leasable; records with an unknown one are, flagged [`LeasedTask::needs_refresh`].
    async fn lease_tasks(
        &self,
        mapped: &MappedObject,
        limit: usize,
        worker: &str,
        lease_ms: i64,
    ) -> Result<Vec<LeasedTask>, StoreError>;

    /// One transaction: locks the target rows in key order (`for no key update skip locked`), loads links
    /// and intents, plans exactly those with `planner`, and writes the rows, links, bases, conflicts,
    /// journal of decisions, intents and tasks. A row that Postgres refuses is parked, or waits for its
    /// parent; the other rows are written.
    async fn plan_and_write(
        &self,
        mapped: &MappedObject,
        leases: &[LeasedTask],
        planner: &dyn RecordPlanner,
    ) -> Result<PlannedBatch, StoreError>;

    /// Settles remote writes: updates link, base and intent if the fencing token is current. Then deletes the
    /// task if its generation is unchanged, else makes it ready again. Returns how many settlements came too
    /// late and changed nothing.
    async fn settle(
        &self,
        mapped: &MappedObject,
        settlements: &[Settlement<'_>],
    ) -> Result<usize, StoreError>;

    /// Ends leases without a result.
    async fn release_tasks(
        &self,
        mapped: &MappedObject,
        releases: &[(LeasedTask, LeaseEnd)],
    ) -> Result<(), StoreError>;
}

/// Plans locked records. Pure; the engine implements it with [`crate::planner`].
pub trait RecordPlanner: Send + Sync {
    /// Decides what one record needs; or, if it cannot be planned now, how its lease ends.
    fn plan(
        &self,
        lease: &LeasedTask,
        observed: &ObservedRecord,
    ) -> Result<PlannedRecord, LeaseEnd>;

    /// Compares the values that were written with the row after its triggers ran.
    fn settle_postgres(
        &self,
        observed: &ObservedRecord,
        planned: &PlannedRecord,
        returned: &PostgresRow,
    ) -> PostgresSettlement;
}

/// The rules of an object as plans of one round are made by them.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanRules {
    /// Hash of their canonical form: equal rules, equal hash.
    pub hash: String,
    /// The rules.
    pub mapping: Mapping,
}

impl PlanRules {
    /// Returns the rules with their hash.
    pub fn of(rules: ObjectSync) -> Self {
        Self {
            hash: canonical_hash(&rules_json(&rules)),
            mapping: Mapping::new(rules),
        }
    }

    /// Returns the rules, an [`ObjectSync`] as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        rules_json(self.mapping.rules())
    }
}

fn rules_json(rules: &ObjectSync) -> serde_json::Value {
    serde_json::to_value(rules).expect("rules are JSON")
}

/// What the planner decides about one record that can be planned now.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedRecord {
    /// The plan: base, conflicts and discarded values are recorded from it.
    pub plan: RecordPlan,
    /// The write to the row, in wire form.
    pub postgres: Option<PlannedPostgres>,
    /// The write to Salesforce to record now and make after the commit.
    pub intent: Option<Intent>,
    /// Automation overrides afterwards.
    pub automation_overrides: BTreeMap<FieldName, AutomationOverride>,
    /// What was known of the record: kept beside the plan, so that it can be made again.
    pub facts: RecordFacts,
    /// The rules in force, in which Salesforce owns the fields that we may not write.
    pub rules: Arc<PlanRules>,
    /// Fields that the plan would write to Salesforce and that cannot be written: they stop, and
    /// the others go on.
    pub withheld: Withheld,
}

/// A write to a row, values raw for `jsonb_populate_record`. As JSON: the columns that it sets, or null.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum PlannedPostgres {
    /// Insert, `on conflict do nothing`; a conflict means plan again.
    Insert(serde_json::Map<String, serde_json::Value>),
    /// Change these columns of the locked row.
    Update(serde_json::Map<String, serde_json::Value>),
    /// Delete the locked row.
    Delete,
    /// Fill the soft-delete column of the locked row.
    SoftDelete,
}

impl PlannedPostgres {
    /// Returns the columns that it sets; a delete sets none.
    pub fn columns(&self) -> Option<&serde_json::Map<String, serde_json::Value>> {
        match self {
            Self::Insert(columns) | Self::Update(columns) => Some(columns),
            Self::Delete | Self::SoftDelete => None,
        }
    }
}

/// After a row was written.
#[derive(Debug, Clone, PartialEq)]
pub struct PostgresSettlement {
    /// Base values that the write confirms.
    pub base: Payload,
    /// The row holds something else than was sent: a trigger changed it, and that is a change of
    /// Postgres to be planned next.
    pub altered: bool,
}

/// What `plan_and_write` made of the leases.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlannedBatch {
    /// The writes whose intents are committed: make them now.
    pub writes: Vec<IntendedWrite>,
    /// Rows written.
    pub rows_written: usize,
    /// Records without remaining work: the task is gone, or ready again if it grew meanwhile.
    pub settled: usize,
    /// Records that are planned again later.
    pub requeued: usize,
    /// The codes by which records were parked.
    pub parked: Vec<String>,
}

/// A write to Salesforce whose intent is committed.
#[derive(Debug, Clone, PartialEq)]
pub struct IntendedWrite {
    /// The lease it is made under.
    pub lease: LeasedTask,
    /// The intent.
    pub intent: Intent,
    /// The record's Salesforce id for an update or delete.
    pub salesforce_id: Option<SalesforceId>,
    /// Fields that are parked once the write is made, unless new work came.
    pub withheld: Withheld,
    /// The plan as its lane sees it, which is chosen among all writes of the round.
    pub routable: Routable,
    /// When the record last changed in Salesforce, as far as it was seen.
    pub seen_ms: Option<i64>,
}

/// The result of a remote write.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement<'a> {
    /// The write.
    pub write: &'a IntendedWrite,
    /// What is known.
    pub outcome: SettledOutcome,
}

/// What is known of a remote write, and what follows.
#[derive(Debug, Clone, PartialEq)]
pub enum SettledOutcome {
    /// It took effect.
    Applied {
        /// The record's id.
        salesforce_id: SalesforceId,
        /// A create found a record that we did not know: what it holds beside our values is not seen yet.
        found: bool,
    },
    /// It had no effect.
    Refused {
        /// Why.
        refusal: Refusal,
        /// Salesforce refused it; else it was not sent.
        sent: bool,
        /// The fields whose values are the cause: the others are written without them. Never the external id.
        withheld: Vec<FieldName>,
        /// What follows.
        next: NextStep,
    },
    /// The outcome is unknown: the intent becomes unknown, and the record is read before it is planned again, or
    /// stops if that happened too often.
    Unknown {
        /// What follows.
        next: NextStep,
    },
}

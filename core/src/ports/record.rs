//! One record as the store returns it: its lease, its row, how the lease ends, and why it is parked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::ids::{FencingToken, FieldName, Generation, RecordId, SalesforceId};
use crate::model::intent::Intent;
use crate::model::value::Value;
use crate::planner::identity::KnownRecord;
use crate::planner::policy::{Attempts, Cause, NextStep};

/// The right to work on one record.
#[derive(Debug, Clone, PartialEq)]
pub struct LeasedTask {
    /// The record.
    pub record_id: RecordId,
    /// The fencing token.
    pub token: FencingToken,
    /// The work as it was when leased.
    pub generation: Generation,
    /// The failed attempts so far.
    pub attempts: Attempts,
    /// The record must be read in Salesforce before it is planned.
    pub needs_refresh: bool,
    /// Its Salesforce id, if it has one.
    pub salesforce_id: Option<SalesforceId>,
    /// Its external id.
    pub external_id: String,
}

/// How the work of one lease ends.
#[derive(Debug, Clone, PartialEq)]
pub enum LeaseEnd {
    /// No work remains, unless new work came meanwhile or `again` is set.
    Done {
        /// There is more work.
        again: bool,
    },
    /// Try again later.
    Later {
        /// From now.
        delay_ms: i64,
        /// What the attempt failed on, if it counts.
        cause: Option<Cause>,
        /// Read the record in Salesforce first.
        needs_refresh: bool,
        /// A stable code, if there is one.
        code: Option<String>,
        /// Why, in words without values.
        reason: String,
        /// Parents it waits for, by any key: their creation wakes it.
        awaits: Vec<String>,
    },
    /// Park the record, unless new work came meanwhile.
    Park {
        /// Why.
        reason: ParkReason,
        /// Parents it waits for, by any key: their creation makes it ready again.
        awaits: Vec<String>,
    },
}

impl LeaseEnd {
    /// Returns what follows from a decision; `None` if the record stops.
    pub fn after(step: NextStep, reason: &str) -> Option<Self> {
        match step {
            NextStep::Wait { delay_ms, cause } => Some(Self::wait(delay_ms, cause, reason)),
            NextStep::Refresh { delay_ms, cause } => {
                Some(Self::refresh(delay_ms, Some(cause), reason))
            }
            NextStep::Park => None,
        }
    }

    /// Plans the record again later.
    pub fn wait(delay_ms: i64, cause: Option<Cause>, reason: &str) -> Self {
        Self::Later {
            delay_ms,
            cause,
            needs_refresh: false,
            code: None,
            reason: reason.to_owned(),
            awaits: Vec::new(),
        }
    }

    /// Reads the record in Salesforce later and plans it again.
    pub fn refresh(delay_ms: i64, cause: Option<Cause>, reason: &str) -> Self {
        Self::Later {
            delay_ms,
            cause,
            needs_refresh: true,
            code: None,
            reason: reason.to_owned(),
            awaits: Vec::new(),
        }
    }

    /// Parks the record.
    pub fn park(reason: ParkReason) -> Self {
        Self::Park {
            reason,
            awaits: Vec::new(),
        }
    }

    /// Returns a wait after which the record is read in Salesforce first.
    pub fn refreshed(mut self) -> Self {
        match &mut self {
            Self::Later { needs_refresh, .. } => *needs_refresh = true,
            Self::Done { .. } | Self::Park { .. } => {}
        }
        self
    }

    /// Returns a wait with a stable code.
    pub fn coded(mut self, with: &str) -> Self {
        match &mut self {
            Self::Later { code, .. } => *code = Some(with.to_owned()),
            Self::Done { .. } | Self::Park { .. } => {}
        }
        self
    }

    /// Returns a wait, or a stop, that ends early when one of these parents is created: any keys of them.
    pub fn awaiting(mut self, parents: Vec<String>) -> Self {
        match &mut self {
            Self::Later { awaits, .. } | Self::Park { awaits, .. } => *awaits = parents,
            Self::Done { .. } => {}
        }
        self
    }
}

/// A row: JSON as Postgres encodes it, by column name.
#[derive(Debug, Clone, PartialEq)]
pub struct PostgresRow {
    /// The value of the external id column.
    pub external_id: Option<String>,
    /// Mapped columns, the external id column included.
    pub columns: serde_json::Map<String, serde_json::Value>,
    /// What identifies it: its primary key, or its external id, by column. Null in the answer to a write.
    pub identity: serde_json::Value,
}

/// One record as one transaction reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct ObservedRecord {
    /// Its link: ids, remote state and base; and what is known of its row.
    pub known: KnownRecord,
    /// Its writes that are not confirmed or refused.
    pub intents: Vec<Intent>,
    /// The live rows with its key; locked in apply. More than one is a duplicate key.
    pub rows: Vec<PostgresRow>,
    /// Its row exists, but another transaction has locked it.
    pub row_locked: bool,
    /// External ids of the parents that the remote state points to, by Salesforce id, as far as linked.
    pub parents: BTreeMap<SalesforceId, String>,
    /// In Salesforce another record still has its external id, whose row has another one by now.
    pub external_id_in_use: bool,
    /// Milliseconds by which the clocks of the sides may differ.
    pub clock_skew_ms: i64,
    /// Values that Salesforce refused in earlier attempts: they are not sent again, so that
    /// the other fields arrive.
    pub refused: Vec<RefusedValue>,
}

/// The code of a lookup whose parent is not synchronised.
pub const MISSING_PARENT: &str = "missing_parent";

/// The code of a record that is deleted when no record of another object points to it any more.
pub const WAITS_FOR_CHILDREN: &str = "waits_for_children";

/// Why a record or field is parked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkReason {
    /// A stable code: `duplicate_key`, `invalid_value`, `refused`, `attempts_exhausted`, `missing_parent` …
    pub code: String,
    /// The field that caused it, if one did.
    pub field: Option<FieldName>,
    /// What to do about it. May quote values: kept in the dead letter, never logged.
    pub message: String,
}

/// Fields that are not written with the others of their record.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Withheld {
    /// Why, field by field.
    pub reasons: Vec<ParkReason>,
    /// The parents of withheld lookups, by any key: their creation wakes the record.
    pub awaits: Vec<String>,
}

impl Withheld {
    /// Returns why the fields are parked: the code and field of the first, and the messages of all.
    pub fn park_reason(&self) -> Option<ParkReason> {
        let first = self.reasons.first()?;
        let messages = self.reasons.iter().map(|reason| reason.message.as_str());
        Some(ParkReason {
            message: messages.collect::<Vec<&str>>().join("; "),
            ..first.clone()
        })
    }
}

/// A value that Salesforce refused, with its reason.
#[derive(Debug, Clone, PartialEq)]
pub struct RefusedValue {
    /// The field.
    pub field: FieldName,
    /// The value, as it was sent.
    pub value: Value,
    /// Why.
    pub reason: ParkReason,
}

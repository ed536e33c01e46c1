//! One change applied to Salesforce by itself: the façade for callers without an engine.
//!
//! It upserts or deletes by external id and knows nothing of bases, remote states or intents: nothing here
//! protects an edit made meanwhile. The engine does not go this way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::model::change::{ChangeEnvelope, ChangeOperation};
use crate::model::ids::{FieldName, IntentId, ObjectName, SalesforceId};
use crate::model::value::Value;
use crate::ports::salesforce::{
    Deleted, Disposition, FieldWrite, ReadBy, Refusal, SalesforceError, SalesforcePort, Write,
    WriteLane, WriteOutcome, WriteTarget,
};

/// Applies single changes by REST.
#[derive(Clone)]
pub struct SalesforceApplier {
    salesforce: Arc<dyn SalesforcePort>,
    external_ids: BTreeMap<ObjectName, FieldName>,
}

/// What became of an applied change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestApplyResult {
    /// The record holds the payload.
    Upserted {
        /// Its id.
        salesforce_id: SalesforceId,
        /// It was created, where Salesforce said so.
        created: Option<bool>,
    },
    /// The record was deleted.
    Deleted {
        /// Its id.
        salesforce_id: SalesforceId,
    },
    /// There was no such record to delete.
    AlreadyAbsent,
}

/// A change was not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// It may be applied later. After an unknown outcome it may even have been applied: it can be
    /// repeated, because it names the record and all values.
    #[error("Salesforce did not take the change now ({code}): {message}")]
    Retryable {
        /// What Salesforce or the network said, one word.
        code: String,
        /// The same in words. May quote record values.
        message: String,
    },
    /// It will never be applied as it is.
    #[error("Salesforce does not take the change ({code}): {message}")]
    Permanent {
        /// What Salesforce said, one word.
        code: String,
        /// The same in words. May quote record values.
        message: String,
    },
}

/// Longest call.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

impl SalesforceApplier {
    /// Returns an applier over a client, with the external id field of each object.
    pub fn new(
        salesforce: Arc<dyn SalesforcePort>,
        external_ids: BTreeMap<ObjectName, FieldName>,
    ) -> Self {
        Self {
            salesforce,
            external_ids,
        }
    }

    /// Applies a change: a tombstone deletes the record, anything else upserts its payload.
    ///
    /// Errors: permanent where the change names an object without an external id field or a payload
    /// that is no record, or where Salesforce refuses it for good; else retryable.
    pub async fn apply(&self, change: &ChangeEnvelope) -> Result<RestApplyResult, ApplyError> {
        let object = &change.key.object;
        let field = self.external_ids.get(object).ok_or_else(|| {
            permanent(
                "unknown_object",
                format!("{object} has no external id field"),
            )
        })?;
        if change.tombstone || change.operation == ChangeOperation::Delete {
            return self.delete(change, field).await;
        }
        let target = WriteTarget::UpsertByExternalId {
            field: field.clone(),
            value: change.key.external_id.clone(),
        };
        let write = write_of(change, target, fields_of(change)?);
        let (salesforce_id, created) = self.perform(write).await?;
        Ok(RestApplyResult::Upserted {
            salesforce_id,
            created,
        })
    }

    async fn delete(
        &self,
        change: &ChangeEnvelope,
        field: &FieldName,
    ) -> Result<RestApplyResult, ApplyError> {
        let by = ReadBy::ExternalId {
            field: field.clone(),
            values: vec![change.key.external_id.clone()],
        };
        let found = self
            .salesforce
            .read(&change.key.object, &by, &[])
            .await
            .map_err(ApplyError::of_call)?;
        let live = found
            .into_iter()
            .find(|record| record.deleted == Deleted::No);
        let Some(record) = live else {
            return Ok(RestApplyResult::AlreadyAbsent);
        };
        let target = WriteTarget::DeleteById(record.salesforce_id);
        let (salesforce_id, _) = self
            .perform(write_of(change, target, BTreeMap::new()))
            .await?;
        Ok(RestApplyResult::Deleted { salesforce_id })
    }

    async fn perform(&self, write: Write) -> Result<(SalesforceId, Option<bool>), ApplyError> {
        let outcomes = self
            .salesforce
            .write(&[write], WriteLane::Single, CALL_TIMEOUT)
            .await;
        match outcomes.into_iter().next() {
            Some(WriteOutcome::Applied {
                salesforce_id,
                created,
            }) => Ok((salesforce_id, created)),
            Some(WriteOutcome::Refused(refusal)) => Err(ApplyError::of_refusal(refusal)),
            Some(WriteOutcome::Unknown { reason }) => Err(ApplyError::Retryable {
                code: "unknown_outcome".to_owned(),
                message: reason,
            }),
            None => Err(ApplyError::Retryable {
                code: "no_outcome".to_owned(),
                message: "the client said nothing about the write".to_owned(),
            }),
        }
    }
}

impl ApplyError {
    fn of_refusal(refusal: Refusal) -> Self {
        Self::of(refusal.disposition, refusal.code, refusal.message)
    }

    fn of_call(error: SalesforceError) -> Self {
        Self::of(error.disposition, error.code, error.message)
    }

    fn of(disposition: Disposition, code: String, message: String) -> Self {
        match disposition {
            Disposition::Park => Self::Permanent { code, message },
            Disposition::RetryLater
            | Disposition::WaitForQuota
            | Disposition::RefreshSession
            | Disposition::Reread
            | Disposition::WaitForParent => Self::Retryable { code, message },
        }
    }
}

fn write_of(
    change: &ChangeEnvelope,
    target: WriteTarget,
    fields: BTreeMap<FieldName, FieldWrite>,
) -> Write {
    Write {
        intent_id: IntentId(Uuid::nil()),
        object: change.key.object.clone(),
        target,
        fields,
        auto_assign: false,
        allow_duplicates: false,
        unmodified_since_ms: None,
    }
}

fn fields_of(change: &ChangeEnvelope) -> Result<BTreeMap<FieldName, FieldWrite>, ApplyError> {
    let bad_payload = |message: String| permanent("bad_payload", message);
    let payload = change
        .payload
        .as_object()
        .ok_or_else(|| bad_payload("the payload is not a JSON object".to_owned()))?;
    payload
        .iter()
        .map(|(name, json)| {
            let field = FieldName::parse(name).map_err(|error| bad_payload(error.to_string()))?;
            let value = Value::from_json(json)
                .ok_or_else(|| bad_payload(format!("{name} is not a single value")))?;
            Ok((field, FieldWrite::Value(value)))
        })
        .collect()
}

fn permanent(code: &str, message: String) -> ApplyError {
    ApplyError::Permanent {
        code: code.to_owned(),
        message,
    }
}

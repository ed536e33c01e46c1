//! Writing one record to Salesforce, without an engine.
//!
//! It upserts by external id and deletes by id. It has no base, no remote state and no intent, so it can
//! overwrite a concurrent edit. The engine does not use it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use uuid::Uuid;

use crate::model::ids::{FieldName, IntentId, ObjectName};
use crate::model::value::Value;
use crate::ports::SalesforcePort;
use crate::ports::salesforce::{
    Disposition, FieldWrite, Lane, SalesforceError, Write, WriteOutcome, WriteTarget,
};

pub use crate::model::ids::SalesforceId;

/// The time limit of one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A client of one org.
#[derive(Clone)]
pub struct ForceClient {
    pub(super) port: Arc<dyn SalesforcePort>,
}

impl<P: SalesforcePort + 'static> From<P> for ForceClient {
    fn from(port: P) -> Self {
        Self {
            port: Arc::new(port),
        }
    }
}

/// Writes single records.
#[derive(Clone)]
pub struct SalesforceApplier {
    client: ForceClient,
}

/// The result of an upsert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestApplyResult {
    /// The record's id.
    pub salesforce_id: Option<SalesforceId>,
    /// The record is new.
    pub created: bool,
}

/// Why a write failed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It may succeed later. After an unknown outcome it may already have succeeded: repeating it is
    /// safe, because it contains the record's id and all values.
    #[error("Salesforce refused the write for now: {0}")]
    Retryable(SalesforceError),
    /// It cannot succeed unless something is changed.
    #[error("Salesforce refused the write: {0}")]
    Permanent(SalesforceError),
}

impl SalesforceApplier {
    /// Returns an applier over a client.
    pub fn new(client: impl Into<ForceClient>) -> Self {
        Self {
            client: client.into(),
        }
    }

    /// Creates or updates the record with this external id.
    pub async fn apply_rest_upsert(
        &self,
        sobject: &str,
        external_id_field: &str,
        external_id_value: &str,
        payload: &Json,
    ) -> Result<RestApplyResult, ApplyError> {
        let target = WriteTarget::UpsertByExternalId {
            field: FieldName::parse(external_id_field).map_err(ApplyError::invalid)?,
            value: external_id_value.to_owned(),
        };
        let (salesforce_id, created) = self.write(sobject, target, fields_of(payload)?).await?;
        Ok(RestApplyResult {
            salesforce_id: Some(salesforce_id),
            created: created.unwrap_or(false),
        })
    }

    /// Deletes the record. A record that does not exist is a success.
    pub async fn apply_rest_delete(
        &self,
        sobject: &str,
        salesforce_id: &SalesforceId,
    ) -> Result<(), ApplyError> {
        let target = WriteTarget::DeleteById(salesforce_id.clone());
        match self.write(sobject, target, BTreeMap::new()).await {
            Ok(_) => Ok(()),
            Err(ApplyError::Retryable(error))
                if error.disposition == Disposition::RefreshRecord =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn write(
        &self,
        sobject: &str,
        target: WriteTarget,
        fields: BTreeMap<FieldName, FieldWrite>,
    ) -> Result<(SalesforceId, Option<bool>), ApplyError> {
        let write = Write {
            intent_id: IntentId(Uuid::nil()),
            object: ObjectName::parse(sobject).map_err(ApplyError::invalid)?,
            target,
            fields,
            auto_assign: false,
            allow_duplicates: false,
            unmodified_since_ms: None,
        };
        let port = &self.client.port;
        let outcomes = port.write(&[write], Lane::Single, CALL_TIMEOUT).await;
        match outcomes.into_iter().next() {
            Some(WriteOutcome::Applied {
                salesforce_id,
                created,
            }) => Ok((salesforce_id, created)),
            Some(WriteOutcome::Refused(refusal) | WriteOutcome::NotSent(refusal)) => Err(
                ApplyError::of(refusal.code, refusal.message, refusal.disposition),
            ),
            Some(WriteOutcome::Unknown { reason, .. }) => Err(ApplyError::of(
                "UNKNOWN_OUTCOME".to_owned(),
                reason,
                Disposition::RetryLater,
            )),
            None => unreachable!("every write has exactly one outcome"),
        }
    }
}

impl ApplyError {
    fn of(code: String, message: String, disposition: Disposition) -> Self {
        let error = SalesforceError {
            what: "writing a record".to_owned(),
            status: None,
            code,
            message,
            disposition,
        };
        match disposition {
            Disposition::Park => Self::Permanent(error),
            Disposition::RetryLater
            | Disposition::WaitForQuota
            | Disposition::RefreshSession
            | Disposition::RefreshRecord
            | Disposition::WaitForOrg
            | Disposition::WaitForParent
            | Disposition::WaitForValue
            | Disposition::WaitForChildren => Self::Retryable(error),
        }
    }

    /// Returns the error for an invalid name or payload.
    fn invalid(why: impl std::fmt::Display) -> Self {
        Self::of("INVALID".to_owned(), why.to_string(), Disposition::Park)
    }
}

fn fields_of(payload: &Json) -> Result<BTreeMap<FieldName, FieldWrite>, ApplyError> {
    let members = payload
        .as_object()
        .ok_or_else(|| ApplyError::invalid("the payload is not a JSON object"))?;
    let fields = members.iter().map(|(name, json)| {
        let field = FieldName::parse(name).map_err(ApplyError::invalid)?;
        let value = Value::from_json(json)
            .ok_or_else(|| ApplyError::invalid(format!("{name} is not a single value")))?;
        Ok((field, FieldWrite::Value(value)))
    });
    fields.collect()
}

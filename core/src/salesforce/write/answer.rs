//! Reads the response to a write into one outcome per record.

use serde::Deserialize;

use super::batch::{Batch, WriteKind};
use crate::model::ids::SalesforceId;
use crate::ports::salesforce::{Disposition, Refusal, WriteOutcome, WriteTarget};
use crate::salesforce::classify::{Fault, StatedError};
use crate::salesforce::rest::Answer;

/// The result of a collection call.
pub(super) enum BatchAnswer {
    /// One outcome per record, in order.
    Each(Vec<WriteOutcome>),
    /// Salesforce refused the whole call because of a record in it; nothing had an effect.
    RefusedForContent(Fault),
}

impl BatchAnswer {
    /// Returns the same outcome for all records.
    pub(super) fn all(batch: &Batch, outcome: &WriteOutcome) -> Self {
        Self::Each(vec![outcome.clone(); batch.rows.len()])
    }
}

/// Reads the response to a collection call.
///
/// Accepts a list of results with any status: Salesforce has returned rolled-back calls with 400.
pub(super) fn batch_answer(batch: &Batch, answer: &Answer) -> BatchAnswer {
    let results: Option<Vec<SaveResult>> = serde_json::from_slice(&answer.body).ok();
    match results.filter(|results| results.len() == batch.rows.len()) {
        Some(results) => {
            let targets = batch.keys().into_iter().map(|key| match batch.group.kind {
                WriteKind::Update | WriteKind::Delete => SalesforceId::parse(key).ok(),
                // Its key is an external id, even if it looks like the id of a record.
                WriteKind::Upsert(_) => None,
            });
            BatchAnswer::Each(
                results
                    .into_iter()
                    .zip(targets)
                    .map(|(result, target)| result.outcome(target))
                    .collect(),
            )
        }
        None => match without_results(answer) {
            Ok(fault) if is_for_content(&fault) => BatchAnswer::RefusedForContent(fault),
            Ok(fault) => BatchAnswer::all(batch, &WriteOutcome::Refused(fault.into_refusal())),
            Err(unknown) => BatchAnswer::all(batch, &unknown),
        },
    }
}

/// Reads the response to a call for one record.
pub(super) fn single_answer(target: &WriteTarget, answer: &Answer) -> WriteOutcome {
    match (answer.status, target) {
        // More than one record has this external id; nothing was written.
        (300, _) => WriteOutcome::Refused(Refusal {
            code: "DUPLICATE_EXTERNAL_ID".to_owned(),
            message: "several records have this external id".to_owned(),
            fields: Vec::new(),
            disposition: Disposition::Park,
        }),
        (200 | 204, WriteTarget::UpdateById(id) | WriteTarget::DeleteById(id)) => {
            WriteOutcome::Applied {
                salesforce_id: id.clone(),
                created: None,
            }
        }
        (200 | 201, WriteTarget::UpsertByExternalId { .. }) => {
            match serde_json::from_slice::<SaveResult>(&answer.body) {
                Ok(result) => result.outcome(None),
                Err(_) => unreadable(answer.status),
            }
        }
        _ => match without_results(answer) {
            Ok(fault) => WriteOutcome::Refused(fault.into_refusal()),
            Err(unknown) => unknown,
        },
    }
}

/// Returns the fault in a response without results, or an unknown outcome after a 5xx or an unreadable
/// success.
fn without_results(answer: &Answer) -> Result<Fault, WriteOutcome> {
    let fault = Fault::from_body(answer.status, &answer.body);
    match answer.status {
        300..500 => Ok(fault),
        500.. => Err(WriteOutcome::Unknown {
            reason: format!("HTTP {}: {}", answer.status, fault.code),
            disposition: fault.disposition(),
        }),
        _ => Err(unreadable(answer.status)),
    }
}

fn unreadable(status: u16) -> WriteOutcome {
    WriteOutcome::Unknown {
        reason: format!("HTTP {status} with an unreadable body"),
        disposition: Disposition::RetryLater,
    }
}

/// Returns whether a call with fewer records may pass. Salesforce refuses a whole collection if one record
/// has an unknown field or a value of the wrong type, or if the call is too large.
fn is_for_content(fault: &Fault) -> bool {
    match fault.disposition() {
        Disposition::Park
        | Disposition::RefreshRecord
        | Disposition::WaitForParent
        | Disposition::WaitForValue
        | Disposition::WaitForChildren => {
            matches!(fault.status, Some(400 | 413))
        }
        Disposition::RetryLater
        | Disposition::WaitForQuota
        | Disposition::WaitForOrg
        | Disposition::RefreshSession => false,
    }
}

/// The result of one record.
#[derive(Deserialize)]
struct SaveResult {
    #[serde(default)]
    id: Option<String>,
    success: bool,
    #[serde(default)]
    errors: Vec<StatedError>,
    #[serde(default)]
    created: Option<bool>,
}

impl SaveResult {
    /// Returns the record's outcome; `target` is its id if the write was by id.
    fn outcome(self, target: Option<SalesforceId>) -> WriteOutcome {
        if !self.success {
            let stated = self.errors.into_iter().next().unwrap_or_default();
            return WriteOutcome::Refused(Fault::of_record(stated).into_refusal());
        }
        let id = self.id.and_then(|id| SalesforceId::parse(&id).ok());
        let unknown = |reason: &str| WriteOutcome::Unknown {
            reason: reason.to_owned(),
            disposition: Disposition::RetryLater,
        };
        match (id, target) {
            (Some(id), Some(target)) if id != target => unknown("a success of another record"),
            (Some(salesforce_id), _) | (None, Some(salesforce_id)) => WriteOutcome::Applied {
                salesforce_id,
                created: self.created,
            },
            (None, None) => unknown("a success without a record id"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::FieldName;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status,
            body: body.to_owned().into(),
        }
    }

    fn upsert() -> WriteTarget {
        WriteTarget::UpsertByExternalId {
            field: FieldName::parse("External_Id__c").unwrap(),
            value: "a-1".to_owned(),
        }
    }

    fn word(outcome: &WriteOutcome) -> String {
        match outcome {
            WriteOutcome::Applied { created, .. } => format!("applied {created:?}"),
            WriteOutcome::Refused(refusal) | WriteOutcome::NotSent(refusal) => {
                format!("refused {}", refusal.code)
            }
            WriteOutcome::Unknown { .. } => "unknown".to_owned(),
        }
    }

    #[test]
    fn single_response_is_applied_refused_or_unknown() {
        let created = r#"{"id":"001D000000IqhSL","success":true,"errors":[],"created":true}"#;
        let deleted = r#"[{"message":"entity is deleted","errorCode":"ENTITY_IS_DELETED"}]"#;
        let update = WriteTarget::UpdateById(SalesforceId::parse("001D000000IqhSL").unwrap());
        for (target, status, body, expected) in [
            (upsert(), 201, created, "applied Some(true)"),
            (upsert(), 200, created, "applied Some(true)"),
            (upsert(), 200, "<html>", "unknown"),
            (upsert(), 200, r#"{"success":true}"#, "unknown"),
            (upsert(), 204, "", "unknown"),
            (
                upsert(),
                300,
                r#"["/services/data"]"#,
                "refused DUPLICATE_EXTERNAL_ID",
            ),
            (update.clone(), 204, "", "applied None"),
            (update.clone(), 404, deleted, "refused ENTITY_IS_DELETED"),
            (update.clone(), 400, "", "refused HTTP_400"),
            (update.clone(), 503, deleted, "unknown"),
            (update, 500, "", "unknown"),
        ] {
            let outcome = single_answer(&target, &answer(status, body));
            assert_eq!(word(&outcome), expected, "{status} {body}");
        }
    }
}

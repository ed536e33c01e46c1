//! Makes the writes of the recorded intents, each once, and settles their outcomes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::config::{CaptureMode, DuplicateRules};
use crate::job::Job;
use crate::job::deadline::Deadline;
use crate::job::error::Error;
use crate::job::patience::Patience;
use crate::job::tenant::mapped_object;
use crate::model::ids::{FieldName, SalesforceId};
use crate::model::intent::{Intent, WriteAction};
use crate::model::value::Value;
use crate::planner::policy::NextStep;
use crate::planner::route::{Lane, LaneBudget, Routable, route};
use crate::ports::MappedObject;
use crate::ports::apply_store::{IntendedWrite, SettledOutcome, Settlement};
use crate::ports::record::LeasedTask;
use crate::ports::salesforce::{
    Disposition, FieldWrite, Refusal, SalesforceError, Write, WriteOutcome, WriteTarget,
};

use super::ApplyReport;
use super::cascades::taking_along;
use super::changed::{LastModified, changed_since_seen, unread};
use super::outcome::settled;

/// Writes that are sent and settled together, so that no outcome waits long to be recorded.
const CHUNK_WRITES: usize = 1_000;

/// Time of the lease that is reserved for settling after the last response.
const SETTLE_MARGIN: Duration = Duration::from_secs(5);

/// Longest wait for one response: Salesforce ends a synchronous request after two minutes; most take a
/// second.
const CALL_TIME_MAX: Duration = Duration::from_secs(60);

/// With less time no call is made: its outcome would probably be unknown.
const CALL_TIME_MIN: Duration = Duration::from_secs(3);

/// What the writes of one round have in common.
pub(super) struct Batch<'a> {
    pub(super) mapped: &'a MappedObject,
    /// The end of the lease or of the job, whichever comes first.
    pub(super) end: Deadline,
    /// When the refresh of the round began.
    pub(super) refreshed_at_ms: i64,
}

/// Makes the writes lane by lane, chunk by chunk, and settles each chunk before the next is sent.
pub(super) async fn perform(
    job: &Job<'_>,
    batch: &Batch<'_>,
    intended: Vec<IntendedWrite>,
    report: &mut ApplyReport,
) -> Result<(), Error> {
    for (lane, intended) in by_lane(batch, intended) {
        let mut modified = LastModified::default();
        let mut left = intended.as_slice();
        while !left.is_empty() {
            let (chunk, rest) = left.split_at(left.len().min(CHUNK_WRITES));
            let outcomes = send(job, batch, (lane, chunk, left), &mut modified, report).await;
            settle(job, batch, chunk, outcomes, report).await?;
            left = rest;
        }
    }
    Ok(())
}

/// Splits the writes by lane. A record that was refused before is urgent, so that it cannot delay others.
fn by_lane(batch: &Batch<'_>, intended: Vec<IntendedWrite>) -> BTreeMap<Lane, Vec<IntendedWrite>> {
    let routables: Vec<Routable> = intended
        .iter()
        .map(|intended| Routable {
            urgent: intended.lease.attempts.any(),
            ..intended.routable
        })
        .collect();
    let lanes = route(&routables, batch.mapped.sync.lanes, LaneBudget::REST);
    let mut by_lane: BTreeMap<Lane, Vec<IntendedWrite>> = BTreeMap::new();
    for (intended, lane) in intended.into_iter().zip(lanes) {
        by_lane.entry(lane).or_default().push(intended);
    }
    by_lane
}

/// Sends one chunk of the writes that are left. Once the lease has expired or the org cannot be used, nothing is
/// sent, and no write of the chunk had an effect. Neither is one that is kept back.
async fn send(
    job: &Job<'_>,
    batch: &Batch<'_>,
    (lane, chunk, left_to_send): (Lane, &[IntendedWrite], &[IntendedWrite]),
    modified: &mut LastModified,
    report: &mut ApplyReport,
) -> Vec<WriteOutcome> {
    let left = batch
        .end
        .remaining(job.now_ms())
        .saturating_sub(SETTLE_MARGIN);
    if report.org_wait_ms.is_some() {
        return not_sent(chunk, "ORG_UNAVAILABLE", Disposition::WaitForOrg);
    }
    if left < CALL_TIME_MIN {
        return not_sent(chunk, "OUT_OF_TIME", Disposition::RetryLater);
    }
    let kept_back = match kept_back(job, batch, (lane, chunk, left_to_send), modified).await {
        Ok(kept_back) => kept_back,
        Err(error) => {
            let outcomes = vec![WriteOutcome::NotSent(unread(&error)); chunk.len()];
            note_availability(job, &outcomes, report).await;
            return outcomes;
        }
    };
    let kept_back = |intended: &IntendedWrite| kept_back.get(intended.salesforce_id.as_ref()?);
    let writes: Vec<Write> = chunk
        .iter()
        .filter(|intended| kept_back(intended).is_none())
        .map(|intended| Write {
            unmodified_since_ms: unmodified_since(job, intended, lane),
            ..write(job, batch.mapped, intended)
        })
        .collect();
    let outcomes = job
        .salesforce()
        .write(&writes, lane, left.min(CALL_TIME_MAX))
        .await;
    assert_eq!(
        outcomes.len(),
        writes.len(),
        "every write has exactly one outcome"
    );
    count_sent(lane, &outcomes, report);
    note_availability(job, &outcomes, report).await;
    let mut sent = outcomes.into_iter();
    let outcomes = chunk.iter().map(|intended| match kept_back(intended) {
        Some(refusal) => WriteOutcome::NotSent(refusal.clone()),
        None => sent
            .next()
            .expect("every write that was sent has an outcome"),
    });
    outcomes.collect()
}

/// Returns the records of the chunk that are not written now, with the reason: they have changed, or other records
/// would be deleted with them.
async fn kept_back(
    job: &Job<'_>,
    batch: &Batch<'_>,
    (lane, chunk, left_to_send): (Lane, &[IntendedWrite], &[IntendedWrite]),
    modified: &mut LastModified,
) -> Result<BTreeMap<SalesforceId, Refusal>, SalesforceError> {
    // A single call has a condition instead, once the record was read.
    let changed = match lane == Lane::Single {
        true => never_read(job, chunk),
        false => {
            let next = chunk.len();
            modified.changed(job, batch, left_to_send, next).await?
        }
    };
    let mut kept_back = taking_along(job, batch.mapped, chunk).await?;
    kept_back.extend(changed.into_iter().map(|id| (id, changed_since_seen())));
    Ok(kept_back)
}

/// Returns the records that were not read since we created them, if changes are polled: an edit that a write replaces is
/// never seen then, and there is no time yet for its condition.
fn never_read(job: &Job<'_>, chunk: &[IntendedWrite]) -> BTreeSet<SalesforceId> {
    if job.tenant.config.capture != CaptureMode::Poll {
        return BTreeSet::new();
    }
    let updates = chunk.iter().filter(|intended| {
        intended.intent.action == WriteAction::Update && intended.seen_ms.is_none()
    });
    updates
        .filter_map(|intended| intended.salesforce_id.clone())
        .collect()
}

fn count_sent(lane: Lane, outcomes: &[WriteOutcome], report: &mut ApplyReport) {
    let sent = outcomes
        .iter()
        .filter(|outcome| !matches!(outcome, WriteOutcome::NotSent(_)))
        .count();
    match lane == Lane::Single {
        true => report.single += sent,
        false => report.collections += sent,
    }
}

/// Records that the org cannot be used if an outcome shows it, or that it can if all were answered.
async fn note_availability(job: &Job<'_>, outcomes: &[WriteOutcome], report: &mut ApplyReport) {
    let failure = outcomes.iter().find_map(|outcome| match outcome {
        WriteOutcome::Refused(refusal) | WriteOutcome::NotSent(refusal)
            if refusal.disposition.concerns_tenant() =>
        {
            Some((
                refusal.code.as_str(),
                refusal.message.as_str(),
                refusal.disposition,
            ))
        }
        WriteOutcome::Unknown {
            reason,
            disposition,
        } if disposition.concerns_tenant() => Some(("UNANSWERED", reason.as_str(), *disposition)),
        WriteOutcome::Applied { .. }
        | WriteOutcome::Refused(_)
        | WriteOutcome::NotSent(_)
        | WriteOutcome::Unknown { .. } => None,
    });
    match failure {
        Some((code, message, disposition)) => {
            let outage = job.note_outage(code, message, disposition).await;
            report.note_outage(outage, disposition);
        }
        None if report.outage_is_due => {
            let answered =
                |outcome: &WriteOutcome| !matches!(outcome, WriteOutcome::Unknown { .. });
            if outcomes.iter().any(answered) {
                report.outage_is_due = false;
                job.end_outage_or_log().await;
            }
        }
        None => {}
    }
}

fn not_sent(chunk: &[IntendedWrite], code: &str, disposition: Disposition) -> Vec<WriteOutcome> {
    let refusal = Refusal {
        code: code.to_owned(),
        message: "the write was not sent".to_owned(),
        fields: Vec::new(),
        disposition,
    };
    vec![WriteOutcome::NotSent(refusal); chunk.len()]
}

async fn settle(
    job: &Job<'_>,
    batch: &Batch<'_>,
    chunk: &[IntendedWrite],
    outcomes: Vec<WriteOutcome>,
    report: &mut ApplyReport,
) -> Result<(), Error> {
    let settlements: Vec<Settlement<'_>> = chunk
        .iter()
        .zip(outcomes)
        .map(|(intended, outcome)| Settlement {
            write: intended,
            outcome: settled(
                outcome,
                intended,
                &batch.mapped.sync.external_id.field,
                (
                    job.shared.ids.jitter(u64::MAX),
                    report.org_wait_ms.unwrap_or_default(),
                ),
            ),
        })
        .collect();
    for settlement in &settlements {
        count(&settlement.outcome, report);
    }
    report.lost += settle_patiently(job, batch, &settlements).await?;
    Ok(())
}

/// Settles, and tries again while Postgres cannot be reached, because only this process knows the outcomes.
/// Repeating is safe: the fencing token makes a second settlement of the same lease ineffective.
async fn settle_patiently(
    job: &Job<'_>,
    batch: &Batch<'_>,
    settlements: &[Settlement<'_>],
) -> Result<usize, Error> {
    Patience::ToTheEnd
        .attempt(job.shared, job.id(), batch.end, |_| async move {
            Ok(job.store().settle(batch.mapped, settlements).await?)
        })
        .await
}

fn count(outcome: &SettledOutcome, report: &mut ApplyReport) {
    match outcome {
        SettledOutcome::Applied { .. } => report.applied += 1,
        SettledOutcome::Unknown { next } => {
            report.unknown += 1;
            report.parked += usize::from(*next == NextStep::Park);
        }
        SettledOutcome::Refused { sent, next, .. } => {
            report.refused += usize::from(*sent);
            match next {
                NextStep::Park => report.parked += 1,
                NextStep::Wait { .. } | NextStep::Refresh { .. } => report.requeued += 1,
            }
        }
    }
}

/// Returns the If-Unmodified-Since time of a single-record write: it cannot overwrite an edit that we have not seen.
/// When polling, every such write has one, because an edit that is overwritten is never seen.
fn unmodified_since(job: &Job<'_>, intended: &IntendedWrite, lane: Lane) -> Option<i64> {
    let polls = job.tenant.config.capture == CaptureMode::Poll;
    let is_guarded = lane == Lane::Single && (polls || intended.routable.may_overwrite);
    intended.seen_ms.filter(|_| is_guarded)
}

/// Returns the write of an intent.
fn write(job: &Job<'_>, mapped: &MappedObject, intended: &IntendedWrite) -> Write {
    let IntendedWrite {
        lease,
        intent,
        salesforce_id,
        ..
    } = intended;
    let external_id = &mapped.sync.external_id.field;
    let target = match (intent.action, salesforce_id) {
        (WriteAction::Update, Some(id)) => WriteTarget::UpdateById(id.clone()),
        (WriteAction::Delete, Some(id)) => WriteTarget::DeleteById(id.clone()),
        (WriteAction::Create, _) => WriteTarget::UpsertByExternalId {
            field: external_id.clone(),
            value: external_id_to_send(intent, external_id, lease),
        },
        (WriteAction::Update | WriteAction::Delete, None) => {
            unreachable!("the store returns the id of a record that is updated or deleted")
        }
    };
    let is_create = intent.action == WriteAction::Create;
    let fields: BTreeMap<FieldName, FieldWrite> = intent
        .fields
        .iter()
        .filter(|(name, _)| !(is_create && *name == external_id))
        .map(|(name, value)| (name.clone(), field_write(job, mapped, name, value)))
        .collect();
    Write {
        intent_id: intent.intent_id,
        object: mapped.sync.object.clone(),
        target,
        fields,
        auto_assign: mapped.sync.auto_assign,
        allow_duplicates: mapped.sync.duplicate_rules == DuplicateRules::Allow,
        unmodified_since_ms: None,
    }
}

fn external_id_to_send(intent: &Intent, field: &FieldName, lease: &LeasedTask) -> String {
    match intent.fields.get(field) {
        Some(Value::Text(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Null | Value::Boolean(_)) | None => lease.external_id.clone(),
    }
}

/// Returns how a field is written: a mapped lookup by its parent's external id, all others by value.
fn field_write(
    job: &Job<'_>,
    mapped: &MappedObject,
    name: &FieldName,
    value: &Value,
) -> FieldWrite {
    let plain = || FieldWrite::Value(value.clone());
    let Value::Text(external_id) = value else {
        return plain();
    };
    let parent = mapped
        .sync
        .fields
        .get(name)
        .and_then(|field| field.references.as_ref())
        .and_then(|object| mapped_object(job.mapped_objects(), object));
    let relationship = mapped
        .schema
        .fields
        .get(name)
        .and_then(|field| field.field_type.relationship().map(str::to_owned));
    match (parent, relationship) {
        (Some(parent), Some(relationship)) => FieldWrite::Parent {
            relationship,
            field: parent.sync.external_id.field.clone(),
            external_id: external_id.clone(),
        },
        (Some(_), None) | (None, _) => plain(),
    }
}

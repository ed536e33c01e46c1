//! Writes records and returns the outcome of each write.
//!
//! An outcome is applied, refused or unknown. A write that was not sent, or that Salesforce refused, had no
//! effect. After a timeout, a broken connection, a 5xx or an unreadable response it is unknown. This module
//! never repeats a write with an unknown outcome.

mod answer;
mod batch;
mod payload;

use std::time::Instant;

use futures_util::stream::{self, StreamExt};
use http::Method;

use self::answer::{BatchAnswer, batch_answer, single_answer};
use self::batch::{Batch, OrderedBatches, Row, WriteKind, rounds};
use super::describe::Schemas;
use super::rest::{CallFailure, RestCall, RestClient};
use crate::ports::salesforce::{
    Disposition, FieldWrite, Lane, Refusal, Write, WriteOutcome, WriteTarget,
};

/// Writes to one org.
#[derive(Clone, Copy)]
pub(super) struct Writer<'a> {
    pub(super) rest: &'a RestClient,
    pub(super) schemas: &'a Schemas,
    /// Most concurrent calls.
    pub(super) calls_in_flight: usize,
    /// All calls end by then, and no call begins after it.
    pub(super) deadline: Instant,
}

/// How often a refused call may be split in halves to find the record that caused the refusal.
///
/// Eight splits isolate one record of 200; the others are for a second one.
const SPLITS_MAX: usize = 16;

impl Writer<'_> {
    /// Performs the writes and returns one outcome per write, in order.
    pub(super) async fn write(&self, writes: &[Write], lane: Lane) -> Vec<WriteOutcome> {
        let alone =
            |index: &usize| lane == Lane::Single && payload::fits_single_call(&writes[*index]);
        let (single, together): (Vec<usize>, Vec<usize>) = (0..writes.len()).partition(alone);
        let mut outcomes: Vec<Option<WriteOutcome>> = vec![None; writes.len()];
        let mut settle = |settled: Vec<(usize, WriteOutcome)>| {
            for (index, outcome) in settled {
                outcomes[index] = Some(outcome);
            }
        };
        settle(self.write_single(writes, single).await);
        for round in rounds(writes, &together, self.schemas) {
            settle(self.write_round(round).await);
        }
        outcomes
            .into_iter()
            .zip(writes)
            .map(|(outcome, write)| {
                naming_lookups(write, outcome.expect("every write is in exactly one call"))
            })
            .collect()
    }

    async fn write_single(
        &self,
        writes: &[Write],
        indexes: Vec<usize>,
    ) -> Vec<(usize, WriteOutcome)> {
        stream::iter(indexes)
            .map(|index| async move { (index, self.send_single(&writes[index]).await) })
            .buffer_unordered(self.calls_in_flight)
            .collect()
            .await
    }

    async fn write_round(&self, round: Vec<OrderedBatches>) -> Vec<(usize, WriteOutcome)> {
        let settled: Vec<Vec<(usize, WriteOutcome)>> = stream::iter(round)
            .map(|ordered| self.send_ordered(ordered))
            .buffer_unordered(self.calls_in_flight)
            .collect()
            .await;
        settled.into_iter().flatten().collect()
    }

    async fn send_single(&self, write: &Write) -> WriteOutcome {
        let object = &write.object;
        let (method, resource) = match &write.target {
            WriteTarget::UpsertByExternalId { field, value } => {
                let value = payload::path_segment(value);
                (Method::PATCH, format!("/sobjects/{object}/{field}/{value}"))
            }
            WriteTarget::UpdateById(id) => (Method::PATCH, format!("/sobjects/{object}/{id}")),
            WriteTarget::DeleteById(id) => (Method::DELETE, format!("/sobjects/{object}/{id}")),
        };
        let headers = payload::headers(write.auto_assign, write.allow_duplicates);
        let call = RestCall {
            body: (method == Method::PATCH)
                .then(|| payload::single_body(write, self.schemas).into()),
            method,
            path: self.rest.path(&resource),
            headers: headers
                .into_iter()
                .chain(payload::if_unmodified_since(write))
                .collect(),
            deadline: self.deadline,
        };
        match self.rest.perform("the write", &call).await {
            Ok(answer) => single_answer(&write.target, &answer),
            Err(failure) => unanswered(&failure),
        }
    }

    /// Sends ordered batches one after another: they share a parent, which Salesforce locks while it
    /// writes its children.
    async fn send_ordered(&self, ordered: OrderedBatches) -> Vec<(usize, WriteOutcome)> {
        let mut settled = Vec::new();
        for batch in ordered {
            settled.extend(self.send_splitting(batch).await);
        }
        settled
    }

    /// Sends a batch. If Salesforce refuses the whole call because of one record, sends it in halves, so
    /// that one bad record does not stop the others. A refused call had no effect.
    async fn send_splitting(&self, batch: Batch) -> Vec<(usize, WriteOutcome)> {
        let mut settled = Vec::new();
        let mut splits = 0;
        let mut waiting = vec![batch];
        while let Some(batch) = waiting.pop() {
            let fault = match self.send_batch(&batch).await {
                BatchAnswer::Each(outcomes) => {
                    settled.extend(batch.rows.iter().map(|row| row.index).zip(outcomes));
                    continue;
                }
                BatchAnswer::RefusedForContent(fault) => fault,
            };
            let several = batch.rows.len() > 1;
            if several && splits < SPLITS_MAX {
                splits += 1;
                waiting.extend(batch.halves());
                continue;
            }
            let mut refusal = fault.into_refusal();
            if several {
                // Which of them is the bad record is unknown, so none is parked.
                refusal.disposition = Disposition::RetryLater;
            }
            settled.extend(same_for_all(&batch.rows, &WriteOutcome::Refused(refusal)));
        }
        settled
    }

    async fn send_batch(&self, batch: &Batch) -> BatchAnswer {
        let object = &batch.group.object;
        let (method, resource) = match &batch.group.kind {
            WriteKind::Upsert(field) => (
                Method::PATCH,
                format!("/composite/sobjects/{object}/{field}"),
            ),
            WriteKind::Update => (Method::PATCH, "/composite/sobjects".to_owned()),
            WriteKind::Delete => (
                Method::DELETE,
                format!(
                    "/composite/sobjects?ids={}&allOrNone=false",
                    batch.keys().join(",")
                ),
            ),
        };
        let call = RestCall {
            body: (method == Method::PATCH).then(|| batch.body().into()),
            method,
            path: self.rest.path(&resource),
            headers: payload::headers(batch.group.auto_assign, batch.group.allow_duplicates),
            deadline: self.deadline,
        };
        match self.rest.perform("the write", &call).await {
            Ok(answer) => batch_answer(batch, &answer),
            Err(failure) => BatchAnswer::all(batch, &unanswered(&failure)),
        }
    }
}

/// Adds the lookups to a refusal for a missing parent: Salesforce names only the parent's external id.
fn naming_lookups(write: &Write, outcome: WriteOutcome) -> WriteOutcome {
    match outcome {
        WriteOutcome::Refused(mut refusal)
            if refusal.disposition == Disposition::WaitForParent && refusal.fields.is_empty() =>
        {
            let is_named = |field: &FieldWrite| match field {
                FieldWrite::Parent { external_id, .. } => {
                    let unknown = format!(": {external_id} not found");
                    refusal.message.contains(&unknown)
                }
                FieldWrite::Value(_) => false,
            };
            let fields = write.fields.iter().filter(|(_, field)| is_named(field));
            refusal.fields = fields.map(|(name, _)| name.to_string()).collect();
            WriteOutcome::Refused(refusal)
        }
        outcome => outcome,
    }
}

fn same_for_all(rows: &[Row], outcome: &WriteOutcome) -> Vec<(usize, WriteOutcome)> {
    rows.iter()
        .map(|row| (row.index, outcome.clone()))
        .collect()
}

/// Returns the outcome of a write whose call got no complete response.
fn unanswered(failure: &CallFailure) -> WriteOutcome {
    let error = &failure.error;
    match failure.may_have_arrived {
        true => WriteOutcome::Unknown {
            reason: format!("{}: {}", error.code, error.message),
            disposition: error.disposition,
        },
        false => WriteOutcome::Refused(Refusal {
            code: error.code.clone(),
            message: error.message.clone(),
            fields: Vec::new(),
            disposition: error.disposition,
        }),
    }
}

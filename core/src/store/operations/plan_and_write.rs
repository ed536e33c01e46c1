//! Planning and writing one batch of leased records in one transaction.
//!
//! The rows are locked, the plan is made from exactly those rows, and its writes are made before
//! another transaction can change them. A row that Postgres refuses is found by halving the batch: it
//! stops alone, or only those of its columns that Postgres rejects, and its neighbours are written.

use crate::model::intent::WriteAction;
use crate::ports::apply_store::{NewIntent, PlannedPostgres, PlannedRecord, RecordDecision};
use crate::ports::record::{LeasedTask, ObservedRecord, ParkReason};
use crate::ports::{MappedObject, RecordPlanner, StoreError};
use crate::store::error::{RefusalKind, RowRefusal};
use crate::store::mapped_table::read::{FoundRows, Locking, RowError, read_rows};
use crate::store::mapped_table::rejected_columns::{Rejected, rejected_columns};
use crate::store::mapped_table::shape::{TableShape, read_shape};
use crate::store::mapped_table::write::{RowOutcome, RowWrite, write_rows};
use crate::store::operations::candidate::{Candidate, load_candidates};
use crate::store::operations::record_outcomes::{Outcome, Planned, park_reason, record_outcomes};
use crate::store::tables::delete_guard::withheld_by_delete_guard;
use crate::store::tables::engine_tx::{mark_as_ours, unmark};
use crate::store::tables::link::KnownRecord;
use crate::store::transaction::Tx;

/// How often one call waits for locks of others before it puts off what remains.
///
/// Each wait is at most the two seconds of the lock timeout, so a call stays far within its lease.
const LOCK_WAITS_MAX: usize = 8;

/// When to come back to a record whose row was renamed by a change that is not drained yet: capture
/// runs in less.
const RENAME_WAIT_MS: i64 = 500;

/// Plans and writes the records whose leases still stand, and records what came of it.
pub(crate) async fn plan_and_write(
    tx: &mut Tx,
    mapped: &MappedObject,
    leases: &[LeasedTask],
    planner: &dyn RecordPlanner,
) -> Result<Vec<PlannedRecord>, StoreError> {
    mark_as_ours(tx).await?;
    let candidates = load_candidates(tx, mapped, leases).await?;
    let shape = read_shape(tx, mapped).await?;
    let batch: Vec<&Candidate> = candidates.iter().collect();
    let outcomes = write_halving(tx, mapped, &shape, batch, planner).await?;
    let planned = record_outcomes(tx, mapped, outcomes).await?;
    unmark(tx).await?;
    Ok(planned)
}

/// Plans and writes the batch; where Postgres refuses a row, tries the halves.
async fn write_halving<'c>(
    tx: &mut Tx,
    mapped: &MappedObject,
    shape: &TableShape,
    candidates: Vec<&'c Candidate>,
    planner: &dyn RecordPlanner,
) -> Result<Vec<Planned<'c>>, StoreError> {
    let mut planned = Vec::with_capacity(candidates.len());
    let mut batches = vec![candidates];
    let mut lock_waits = 0;
    // Each refusal halves a batch, so there are at most twice as many batches as records.
    while let Some(batch) = batches.pop() {
        if batch.is_empty() {
            continue;
        }
        tx.savepoint().await?;
        let refusal = match write_batch(tx, mapped, shape, &batch, planner).await {
            Ok(written) => {
                tx.keep().await?;
                planned.extend(written);
                continue;
            }
            Err(RowError::Refused(refusal)) => refusal,
            Err(RowError::Store(error)) => return Err(error),
        };
        tx.back().await?;
        lock_waits += usize::from(refusal.kind == RefusalKind::Contended);
        let give_up = refusal.kind == RefusalKind::Contended && lock_waits > LOCK_WAITS_MAX;
        if let ([candidate], false) = (batch.as_slice(), give_up) {
            planned.push(
                write_without_rejected_columns(tx, mapped, shape, (candidate, refusal), planner)
                    .await?,
            );
        } else if give_up {
            planned.extend(batch.into_iter().map(|candidate| Planned {
                candidate,
                outcome: Outcome::Refused(refusal.clone()),
            }));
        } else {
            let (first, second) = batch.split_at(batch.len() / 2);
            batches.push(second.to_vec());
            batches.push(first.to_vec());
        }
    }
    Ok(planned)
}

/// Locks the rows of the batch, asks the planner about each record and writes what it decides.
async fn write_batch<'c>(
    tx: &mut Tx,
    mapped: &MappedObject,
    shape: &TableShape,
    batch: &[&'c Candidate],
    planner: &dyn RecordPlanner,
) -> Result<Vec<Planned<'c>>, RowError> {
    let mut planned = plan_batch(tx, mapped, shape, batch, planner).await?;
    withhold_mass_deletes(tx, mapped, &mut planned).await?;
    let writes: Vec<RowWrite<'_>> = planned.iter().filter_map(PlannedRow::row_write).collect();
    let mut outcomes = write_rows(tx, mapped, shape, &writes).await?;
    Ok(planned
        .into_iter()
        .map(|planned| {
            let row = outcomes.remove(&planned.observed.link.record_id);
            settle_row(planned, row, planner)
        })
        .collect())
}

/// Locks the rows of the batch and asks the planner about each record.
async fn plan_batch<'c>(
    tx: &mut Tx,
    mapped: &MappedObject,
    shape: &TableShape,
    batch: &[&'c Candidate],
    planner: &dyn RecordPlanner,
) -> Result<Vec<PlannedRow<'c>>, RowError> {
    let records: Vec<&KnownRecord> = batch.iter().map(|candidate| &candidate.known).collect();
    let mut found = read_rows(tx, mapped, shape, &records, Locking::Lock).await?;
    let planned = batch.iter();
    Ok(planned
        .map(|candidate| plan_row(candidate, &mut found, planner))
        .collect())
}

/// Withholds the deletes of the batch, on either side, if there were too many lately.
async fn withhold_mass_deletes(
    tx: &mut Tx,
    mapped: &MappedObject,
    planned: &mut [PlannedRow<'_>],
) -> Result<(), RowError> {
    let deletes = planned.iter().filter(|planned| planned.deletes()).count();
    if deletes == 0 {
        return Ok(());
    }
    let deletes = i64::try_from(deletes).unwrap_or(i64::MAX);
    if let Some(reason) = withheld_by_delete_guard(tx, mapped, deletes).await? {
        for planned in planned.iter_mut().filter(|planned| planned.deletes()) {
            planned.decision = RecordDecision::Park(reason.clone());
        }
    }
    Ok(())
}

/// Writes a row that Postgres has refused as a whole without those of its columns that it does not
/// take, if there are any such.
async fn write_without_rejected_columns<'c>(
    tx: &mut Tx,
    mapped: &MappedObject,
    shape: &TableShape,
    (candidate, refusal): (&'c Candidate, RowRefusal),
    planner: &dyn RecordPlanner,
) -> Result<Planned<'c>, StoreError> {
    let refused = |refusal| Planned {
        candidate,
        outcome: Outcome::Refused(refusal),
    };
    match refusal.kind {
        RefusalKind::ValueRejected | RefusalKind::ConstraintRejected => {}
        RefusalKind::ParentMissing | RefusalKind::Contended => return Ok(refused(refusal)),
    }
    tx.savepoint().await?;
    match write_what_is_taken(tx, mapped, shape, (candidate, &refusal), planner).await {
        Ok(Some(planned)) => {
            tx.keep().await?;
            Ok(planned)
        }
        Ok(None) => {
            tx.back().await?;
            Ok(refused(refusal))
        }
        Err(RowError::Refused(refusal)) => {
            tx.back().await?;
            Ok(refused(refusal))
        }
        Err(RowError::Store(error)) => Err(error),
    }
}

/// Finds the columns that Postgres rejects, and writes the row without them. Returns none if no columns
/// alone caused the refusal.
async fn write_what_is_taken<'c>(
    tx: &mut Tx,
    mapped: &MappedObject,
    shape: &TableShape,
    (candidate, refusal): (&'c Candidate, &RowRefusal),
    planner: &dyn RecordPlanner,
) -> Result<Option<Planned<'c>>, RowError> {
    let planned = plan_batch(tx, mapped, shape, &[candidate], planner).await?;
    let Some(mut planned) = planned.into_iter().next() else {
        return Ok(None);
    };
    let Some(write) = planned.row_write() else {
        return Ok(None);
    };
    let rejected = rejected_columns(tx, mapped, shape, &write, refusal).await?;
    if rejected.is_empty() {
        return Ok(None);
    }
    planned.leave_out(mapped, &rejected);
    let row = match planned.row_write() {
        Some(write) => write_rows(tx, mapped, shape, &[write])
            .await?
            .remove(&candidate.lease.record_id),
        None => None,
    };
    Ok(Some(settle_row(planned, row, planner)))
}

/// A record with its rows and the planner's decision.
struct PlannedRow<'c> {
    candidate: &'c Candidate,
    observed: ObservedRecord,
    identity: Option<serde_json::Value>,
    decision: RecordDecision,
}

impl PlannedRow<'_> {
    fn row_write(&self) -> Option<RowWrite<'_>> {
        let RecordDecision::Planned {
            postgres: Some(write),
            ..
        } = &self.decision
        else {
            return None;
        };
        Some(RowWrite {
            record_id: self.observed.link.record_id,
            external_id: &self.observed.link.external_id,
            identity: self.identity.as_ref(),
            write,
        })
    }

    /// Returns whether a row or a Salesforce record goes.
    fn deletes(&self) -> bool {
        let RecordDecision::Planned {
            postgres, intent, ..
        } = &self.decision
        else {
            return false;
        };
        let row_goes = match postgres {
            Some(PlannedPostgres::Delete | PlannedPostgres::SoftDelete) => true,
            Some(PlannedPostgres::Insert(_) | PlannedPostgres::Update(_)) | None => false,
        };
        let deletes = |intent: &NewIntent| intent.action == WriteAction::Delete;
        row_goes || intent.as_ref().is_some_and(deletes)
    }

    /// Takes columns out of the write to the row, and adds the reason why each stops. If no column
    /// remains, the update is dropped.
    fn leave_out(&mut self, mapped: &MappedObject, rejected: &Rejected) {
        let RecordDecision::Planned {
            postgres, withheld, ..
        } = &mut self.decision
        else {
            return;
        };
        let mut is_empty = false;
        if let Some(PlannedPostgres::Insert(columns) | PlannedPostgres::Update(columns)) = postgres
        {
            columns.retain(|column, _| !rejected.contains_key(column));
            is_empty = columns.is_empty();
        }
        if is_empty {
            *postgres = None;
        }
        withheld.extend(rejected.iter().map(|(column, refusal)| {
            let refusal = RowRefusal {
                column: Some(column.clone()),
                place: refusal.place.clone().or_else(|| Some(column.clone())),
                ..refusal.clone()
            };
            park_reason(mapped, &refusal)
        }));
    }
}

fn plan_row<'c>(
    candidate: &'c Candidate,
    found: &mut FoundRows,
    planner: &dyn RecordPlanner,
) -> PlannedRow<'c> {
    let record_id = candidate.known.link.record_id;
    let rows = found.rows.remove(&record_id).unwrap_or_default();
    let identity = rows.first().map(|row| row.identity.clone());
    let observed = ObservedRecord {
        lease: Some(candidate.lease.clone()),
        link: candidate.known.link.clone(),
        intents: candidate.intents.clone(),
        rows: rows.into_iter().map(|found| found.row).collect(),
        row_locked: found.held_elsewhere.contains(&record_id),
        postgres_changed_at_ms: candidate.known.postgres_changed_at_ms,
        parents: candidate.parents.clone(),
        clock_skew_ms: candidate.clock_skew_ms,
        refused: candidate.refused.clone(),
    };
    let decision = if found.being_renamed.contains(&record_id) {
        RecordDecision::Wait {
            reason: "its row was renamed a moment ago".to_owned(),
            delay_ms: RENAME_WAIT_MS,
            counts: false,
        }
    } else if candidate.known.key_conflict && observed.rows.is_empty() {
        RecordDecision::Park(key_conflict(&observed))
    } else {
        planner.plan(&observed)
    };
    PlannedRow {
        candidate,
        observed,
        identity,
        decision,
    }
}

fn key_conflict(observed: &ObservedRecord) -> ParkReason {
    ParkReason {
        code: "duplicate_key".to_owned(),
        field: None,
        message: format!(
            "the row of record {} took the external id of another row that still stands; give one of \
             the two another external id",
            observed.link.external_id
        ),
    }
}

fn settle_row<'c>(
    planned: PlannedRow<'c>,
    row: Option<RowOutcome>,
    planner: &dyn RecordPlanner,
) -> Planned<'c> {
    let settlement = match &row {
        Some(RowOutcome::Stands(returned)) => {
            Some(planner.settle_postgres(&planned.observed, &planned.decision, returned))
        }
        Some(RowOutcome::Gone | RowOutcome::KeyTaken | RowOutcome::Suppressed) | None => None,
    };
    Planned {
        candidate: planned.candidate,
        outcome: Outcome::PlannedRow {
            row_stood: !planned.observed.rows.is_empty(),
            before: planned.observed.rows.into_iter().next(),
            decision: Box::new(planned.decision),
            row,
            settlement,
        },
    }
}

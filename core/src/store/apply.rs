//! Planning and writing one batch of leased records in one transaction.
//!
//! The rows are locked, the plan is made from exactly those rows, and what it says is written before
//! anybody else can change them. A row that Postgres refuses is found by halving the batch: it stops
//! alone, or only those of its columns that Postgres does not take, and its neighbours are written.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::PgStore;
use super::applied::{Outcome, Planned, record_outcomes};
use super::blame::{Blamed, columns_to_blame};
use super::brake::held_by_brake;
use super::error::{CONTENTION_RETRIES_MAX, RefusalKind, RowRefusal, is_contention};
use super::records::{KnownRecord, live_intents, lock_records};
use super::refusals::refused_values;
use super::rows::{FoundRows, Locking, RowError, read_rows};
use super::sightings::{parents_of, references, resolve_parents};
use super::table::{TableShape, read_shape};
use super::transaction::{Tx, recordset};
use super::write_rows::{RowOutcome, RowWrite, write_rows};
use crate::engine::ports::store::{
    LeasedTask, NewIntent, ObservedRecord, ParkReason, PlannedPostgres, PlannedRecord,
    RecordPlanner, RecordVerdict, RefusedValue,
};
use crate::engine::ports::{ObjectScope, StoreError};
use crate::model::ids::{FieldName, LeaseEpoch, RecordId, SalesforceId};
use crate::model::intent::{Intent, WriteAction};

/// How often one call waits for locks of others before it puts off what remains.
///
/// Each wait is at most the two seconds of the lock timeout, so a call stays far within its lease.
const LOCK_WAITS_MAX: usize = 8;

/// When to come back to a record whose row was renamed by a change that is not drained yet: capture
/// runs in less.
const RENAME_WAIT_MS: i64 = 500;

impl PgStore {
    /// See [`crate::engine::ports::StorePort::plan_and_write`].
    pub(super) async fn plan_and_write_rows(
        &self,
        scope: &ObjectScope,
        leases: &[LeasedTask],
        planner: &dyn RecordPlanner,
    ) -> Result<Vec<PlannedRecord>, StoreError> {
        for _ in 0..CONTENTION_RETRIES_MAX {
            match self.plan_once(scope, leases, planner).await {
                Err(error) if is_contention(&error) => {}
                done => return done,
            }
        }
        self.plan_once(scope, leases, planner).await
    }

    async fn plan_once(
        &self,
        scope: &ObjectScope,
        leases: &[LeasedTask],
        planner: &dyn RecordPlanner,
    ) -> Result<Vec<PlannedRecord>, StoreError> {
        let mut tx = self.begin().await?;
        mark_as_ours(&mut tx).await?;
        let candidates = load_candidates(&mut tx, scope, leases).await?;
        let shape = read_shape(&mut tx, scope).await?;
        let batch: Vec<&Candidate> = candidates.iter().collect();
        let outcomes = write_halving(&mut tx, scope, &shape, batch, planner).await?;
        let planned = record_outcomes(&mut tx, scope, outcomes).await?;
        unmark(&mut tx).await?;
        tx.commit().await?;
        Ok(planned)
    }
}

/// Says that this transaction is ours, so that the capture triggers skip what it writes.
async fn mark_as_ours(tx: &mut Tx) -> Result<(), StoreError> {
    tx.run(
        "marking the transaction",
        sqlx::query("insert into syncline.engine_tx (xid) values (pg_current_xact_id())"),
    )
    .await?;
    Ok(())
}

async fn unmark(tx: &mut Tx) -> Result<(), StoreError> {
    tx.run(
        "unmarking the transaction",
        sqlx::query("delete from syncline.engine_tx where xid = pg_current_xact_id()"),
    )
    .await?;
    Ok(())
}

/// A leased record with everything but its rows.
pub(super) struct Candidate {
    /// The lease.
    pub(super) lease: LeasedTask,
    /// The record, locked.
    pub(super) known: KnownRecord,
    /// Its live writes.
    pub(super) intents: Vec<Intent>,
    /// External ids of the parents its image points to.
    pub(super) parents: BTreeMap<SalesforceId, String>,
    /// Measured clock skew.
    pub(super) clock_skew_ms: i64,
    /// Values that Salesforce refused in the tries before this one.
    pub(super) refused: Vec<RefusedValue>,
}

/// Locks links and tasks of the leases that still stand, and loads what belongs to them.
async fn load_candidates(
    tx: &mut Tx,
    scope: &ObjectScope,
    leases: &[LeasedTask],
) -> Result<Vec<Candidate>, StoreError> {
    let ids: Vec<RecordId> = leases.iter().map(|lease| lease.record_id).collect();
    let known = lock_records(tx, &ids).await?;
    let standing = hold_leases(tx, leases).await?;
    let mut intents = live_intents(tx, &ids).await?;
    let mut refused = refused_values(tx, leases).await?;
    let clock_skew_ms = clock_skew(tx, scope).await?;
    let pointed: BTreeSet<_> = known
        .iter()
        .flat_map(|record| {
            let image = &record.link.image.fields;
            references(scope, |field| image.get(field).map(|field| &field.value))
        })
        .collect();
    let parents = resolve_parents(tx, &scope.tenant, &pointed).await?;
    let leases: BTreeMap<RecordId, &LeasedTask> = leases
        .iter()
        .filter(|lease| standing.contains(&(lease.record_id, lease.epoch)))
        .map(|lease| (lease.record_id, lease))
        .collect();
    Ok(known
        .into_iter()
        .filter_map(|known| {
            let lease = (*leases.get(&known.link.record_id)?).clone();
            Some(Candidate {
                intents: intents.remove(&lease.record_id).unwrap_or_default(),
                parents: parents_of(scope, &known, &parents),
                refused: refused.remove(&lease.record_id).unwrap_or_default(),
                lease,
                known,
                clock_skew_ms,
            })
        })
        .collect())
}

/// Returns the clock skew of the tenant.
pub(super) async fn clock_skew(tx: &mut Tx, scope: &ObjectScope) -> Result<i64, StoreError> {
    let skew: Vec<i64> = tx
        .values(
            "reading the clock skew",
            sqlx::query_scalar(
                "select clock_skew_ms
                from syncline.sync_control
                where tenant = $1",
            )
            .bind(scope.tenant.as_str()),
        )
        .await?;
    Ok(skew.first().copied().unwrap_or(0))
}

/// Holds the tasks whose lease still stands. A write is said only under a lease that has time left.
async fn hold_leases(
    tx: &mut Tx,
    leases: &[LeasedTask],
) -> Result<BTreeSet<(RecordId, LeaseEpoch)>, StoreError> {
    #[derive(serde::Serialize)]
    struct Held {
        record_id: RecordId,
        epoch: LeaseEpoch,
    }
    let held: Vec<Held> = leases
        .iter()
        .map(|lease| Held {
            record_id: lease.record_id,
            epoch: lease.epoch,
        })
        .collect();
    let rows: Vec<(Uuid, i64)> = tx
        .rows(
            "holding leases",
            sqlx::query_as(
                "select task.record_id, task.lease_epoch
                from jsonb_to_recordset($1) as held (record_id uuid, epoch bigint)
                join syncline.sync_task as task using (record_id)
                where task.state = 'leased'
                and task.lease_epoch = held.epoch
                and task.lease_until > clock_timestamp()
                order by task.record_id
                -- Excludes the sweep and new work until the verdicts are recorded.
                for update of task",
            )
            .bind(recordset(&held)),
        )
        .await?;
    Ok(rows
        .into_iter()
        .map(|(record, epoch)| (RecordId(record), LeaseEpoch(epoch)))
        .collect())
}

/// Plans and writes the batch; where Postgres refuses a row, tries the halves.
async fn write_halving<'c>(
    tx: &mut Tx,
    scope: &ObjectScope,
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
        let refusal = match write_batch(tx, scope, shape, &batch, planner).await {
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
            planned.push(write_piecemeal(tx, scope, shape, (candidate, refusal), planner).await?);
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

/// Locks the rows of the batch, asks the planner about each record and writes what it says.
async fn write_batch<'c>(
    tx: &mut Tx,
    scope: &ObjectScope,
    shape: &TableShape,
    batch: &[&'c Candidate],
    planner: &dyn RecordPlanner,
) -> Result<Vec<Planned<'c>>, RowError> {
    let mut judged = judge_batch(tx, scope, shape, batch, planner).await?;
    hold_mass_deletes(tx, scope, &mut judged).await?;
    let writes: Vec<RowWrite<'_>> = judged.iter().filter_map(Judged::row_write).collect();
    let mut outcomes = write_rows(tx, scope, shape, &writes).await?;
    Ok(judged
        .into_iter()
        .map(|judged| {
            let row = outcomes.remove(&judged.observed.link.record_id);
            settle_row(judged, row, planner)
        })
        .collect())
}

/// Locks the rows of the batch and asks the planner about each record.
async fn judge_batch<'c>(
    tx: &mut Tx,
    scope: &ObjectScope,
    shape: &TableShape,
    batch: &[&'c Candidate],
    planner: &dyn RecordPlanner,
) -> Result<Vec<Judged<'c>>, RowError> {
    let records: Vec<&KnownRecord> = batch.iter().map(|candidate| &candidate.known).collect();
    let mut found = read_rows(tx, scope, shape, &records, Locking::Lock).await?;
    let judged = batch.iter();
    Ok(judged
        .map(|candidate| judge(candidate, &mut found, planner))
        .collect())
}

/// Stops the deletes of the batch, on either side, if there are too many of them lately.
async fn hold_mass_deletes(
    tx: &mut Tx,
    scope: &ObjectScope,
    judged: &mut [Judged<'_>],
) -> Result<(), RowError> {
    let deletes = judged.iter().filter(|judged| judged.deletes()).count();
    if deletes == 0 {
        return Ok(());
    }
    let deletes = i64::try_from(deletes).unwrap_or(i64::MAX);
    if let Some(reason) = held_by_brake(tx, scope, deletes).await? {
        for judged in judged.iter_mut().filter(|judged| judged.deletes()) {
            judged.verdict = RecordVerdict::Park(reason.clone());
        }
    }
    Ok(())
}

/// Writes a row that Postgres has refused as a whole without those of its columns that it does not
/// take, if there are any such.
async fn write_piecemeal<'c>(
    tx: &mut Tx,
    scope: &ObjectScope,
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
    match write_what_is_taken(tx, scope, shape, (candidate, &refusal), planner).await {
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

/// Finds the columns that Postgres does not take, and writes the row without them. None: no columns
/// alone are to blame.
async fn write_what_is_taken<'c>(
    tx: &mut Tx,
    scope: &ObjectScope,
    shape: &TableShape,
    (candidate, refusal): (&'c Candidate, &RowRefusal),
    planner: &dyn RecordPlanner,
) -> Result<Option<Planned<'c>>, RowError> {
    let judged = judge_batch(tx, scope, shape, &[candidate], planner).await?;
    let Some(mut judged) = judged.into_iter().next() else {
        return Ok(None);
    };
    let Some(write) = judged.row_write() else {
        return Ok(None);
    };
    let blamed = columns_to_blame(tx, scope, shape, &write, refusal).await?;
    if blamed.is_empty() {
        return Ok(None);
    }
    judged.leave_out(scope, &blamed);
    let row = match judged.row_write() {
        Some(write) => write_rows(tx, scope, shape, &[write])
            .await?
            .remove(&candidate.lease.record_id),
        None => None,
    };
    Ok(Some(settle_row(judged, row, planner)))
}

/// A record with its rows and the planner's word.
struct Judged<'c> {
    candidate: &'c Candidate,
    observed: ObservedRecord,
    identity: Option<serde_json::Value>,
    verdict: RecordVerdict,
}

impl Judged<'_> {
    fn row_write(&self) -> Option<RowWrite<'_>> {
        let RecordVerdict::Planned {
            postgres: Some(write),
            ..
        } = &self.verdict
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
        let RecordVerdict::Planned {
            postgres, intent, ..
        } = &self.verdict
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

    /// Takes columns out of the write to the row, and says of each that it stops. An update of which
    /// nothing is left is none.
    fn leave_out(&mut self, scope: &ObjectScope, blamed: &Blamed) {
        let RecordVerdict::Planned { postgres, held, .. } = &mut self.verdict else {
            return;
        };
        let mut is_empty = false;
        if let Some(PlannedPostgres::Insert(columns) | PlannedPostgres::Update(columns)) = postgres
        {
            columns.retain(|column, _| !blamed.contains_key(column));
            is_empty = columns.is_empty();
        }
        if is_empty {
            *postgres = None;
        }
        held.extend(blamed.iter().map(|(column, refusal)| {
            let refusal = RowRefusal {
                column: Some(column.clone()),
                place: refusal.place.clone().or_else(|| Some(column.clone())),
                ..refusal.clone()
            };
            let (code, field, message) = park_reason(scope, &refusal);
            ParkReason {
                code,
                field: field.and_then(|field| FieldName::parse(&field).ok()),
                message,
            }
        }));
    }
}

fn judge<'c>(
    candidate: &'c Candidate,
    found: &mut FoundRows,
    planner: &dyn RecordPlanner,
) -> Judged<'c> {
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
    let verdict = if found.being_renamed.contains(&record_id) {
        RecordVerdict::Wait {
            reason: "its row was renamed a moment ago".to_owned(),
            delay_ms: RENAME_WAIT_MS,
            counts: false,
        }
    } else if candidate.known.clashes && observed.rows.is_empty() {
        RecordVerdict::Park(clash(&observed))
    } else {
        planner.plan(&observed)
    };
    Judged {
        candidate,
        observed,
        identity,
        verdict,
    }
}

fn clash(observed: &ObservedRecord) -> ParkReason {
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
    judged: Judged<'c>,
    row: Option<RowOutcome>,
    planner: &dyn RecordPlanner,
) -> Planned<'c> {
    let settlement = match &row {
        Some(RowOutcome::Stands(returned)) => {
            Some(planner.settle_postgres(&judged.observed, &judged.verdict, returned))
        }
        Some(RowOutcome::Gone | RowOutcome::KeyTaken | RowOutcome::Suppressed) | None => None,
    };
    Planned {
        candidate: judged.candidate,
        outcome: Outcome::Judged {
            row_stood: !judged.observed.rows.is_empty(),
            before: judged.observed.rows.into_iter().next(),
            verdict: Box::new(judged.verdict),
            row,
            settlement,
        },
    }
}

/// Returns what a refused row calls for, in words: the constraint or column is named.
pub(super) fn park_reason(
    scope: &ObjectScope,
    refusal: &RowRefusal,
) -> (String, Option<String>, String) {
    let code = match refusal.kind {
        RefusalKind::ValueRejected => "invalid_value",
        RefusalKind::ConstraintRejected => "constraint_violation",
        RefusalKind::ParentMissing => "missing_parent",
        RefusalKind::Contended => "row_contended",
    };
    let field = scope
        .sync
        .fields
        .iter()
        .find(|(_, mapped)| refusal.column.as_deref() == Some(mapped.column.as_str()))
        .map(|(name, _)| name.to_string());
    let place = refusal
        .place
        .as_ref()
        .map_or_else(String::new, |place| format!(" ({place})"));
    let message = format!(
        "table {}.{} refuses the row{place}: {}",
        scope.sync.table.schema, scope.sync.table.table, refusal.message
    );
    (code.to_owned(), field, message)
}

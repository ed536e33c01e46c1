//! A leased record with its locked rows and the planner's decision about exactly these rows.

use crate::model::ids::RecordId;
use crate::model::intent::{Intent, WriteAction};
use crate::ports::apply_store::{PlannedPostgres, RecordDecision};
use crate::ports::record::{ObservedRecord, ParkReason};
use crate::ports::{MappedObject, RecordPlanner};
use crate::store::error::RowRefusal;
use crate::store::mapped_table::fit::fit_columns;
use crate::store::mapped_table::keys::RowChange;
use crate::store::mapped_table::read::{FoundRows, Locking, RowError, read_rows};
use crate::store::mapped_table::rejected_columns::Rejected;
use crate::store::mapped_table::shape::TableShape;
use crate::store::mapped_table::write::{RowOutcome, RowWrite};
use crate::store::operations::candidate::Candidate;
use crate::store::operations::record_outcomes::{Outcome, Planned, park_reason};
use crate::store::tables::delete_guard::withheld_by_delete_guard;
use crate::store::tables::link::KnownRecord;
use crate::store::transaction::Tx;

/// How long a record waits whose row was renamed by a change that is not captured yet; capture usually runs
/// sooner.
const RENAME_WAIT_MS: i64 = 500;

/// Locks the rows of the batch and plans each record.
pub(super) async fn plan_batch<'c>(
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
        .map(|candidate| {
            let mut planned = plan_row(candidate, &mut found, planner);
            planned.fit(mapped, shape);
            planned
        })
        .collect())
}

/// Withholds the deletes of the batch, on both sides, if there were too many recently.
pub(super) async fn withhold_mass_deletes(
    tx: &mut Tx,
    mapped: &MappedObject,
    planned: &mut [PlannedRow<'_>],
) -> Result<(), RowError> {
    let deletes: Vec<RecordId> = planned
        .iter()
        .filter(|planned| planned.deletes())
        .map(|planned| planned.candidate.lease.record_id)
        .collect();
    if deletes.is_empty() {
        return Ok(());
    }
    if let Some(reason) = withheld_by_delete_guard(tx, mapped, &deletes).await? {
        for planned in planned.iter_mut().filter(|planned| planned.deletes()) {
            planned.decision = RecordDecision::Park(reason.clone());
        }
    }
    Ok(())
}

/// A record with its rows and the planner's decision.
pub(super) struct PlannedRow<'c> {
    /// The record.
    pub(super) candidate: &'c Candidate,
    observed: ObservedRecord,
    identity: Option<serde_json::Value>,
    decision: RecordDecision,
}

impl PlannedRow<'_> {
    /// Returns the write to its row, if there is one.
    pub(super) fn row_write(&self) -> Option<RowWrite<'_>> {
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
            // On the first try a row may just have appeared; the second try shows the reason.
            must_insert: self.candidate.lease.attempt > 0,
        })
    }

    /// Returns the row before and after the write.
    pub(super) fn change(&self) -> RowChange<'_> {
        let patch = match self.row_write().map(|write| write.write) {
            Some(PlannedPostgres::Insert(columns) | PlannedPostgres::Update(columns)) => {
                Some(columns)
            }
            Some(PlannedPostgres::Delete | PlannedPostgres::SoftDelete) | None => None,
        };
        RowChange {
            before: self.observed.rows.first().map(|row| &row.columns),
            identity: self.identity.as_ref(),
            patch,
        }
    }

    /// Returns whether the plan deletes the row.
    pub(super) fn deletes_row(&self) -> bool {
        let write = self.row_write().map(|write| write.write);
        matches!(write, Some(PlannedPostgres::Delete))
    }

    /// Returns whether the plan deletes the row or the Salesforce record.
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
        let deletes = |intent: &Intent| intent.action == WriteAction::Delete;
        row_goes || intent.as_ref().is_some_and(deletes)
    }

    /// Fits the write to the row to the types of its columns. Without those that would not hold their
    /// value it goes on; without its external id it does not.
    fn fit(&mut self, mapped: &MappedObject, shape: &TableShape) {
        let RecordDecision::Planned {
            postgres: Some(PlannedPostgres::Insert(columns) | PlannedPostgres::Update(columns)),
            ..
        } = &mut self.decision
        else {
            return;
        };
        let rejected = fit_columns(mapped, shape, columns);
        match rejected.get(mapped.sync.external_id.column.as_str()) {
            Some(refusal) => self.decision = RecordDecision::Park(park_reason(mapped, refusal)),
            None if rejected.is_empty() => {}
            None => self.leave_out(mapped, &rejected),
        }
    }

    /// Removes columns from the write to the row, and adds the reason why each is parked. If no column
    /// remains, the update is dropped.
    pub(super) fn leave_out(&mut self, mapped: &MappedObject, rejected: &Rejected) {
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
        row_locked: found.locked_elsewhere.contains(&record_id),
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

/// Returns the record with the outcome of its row.
pub(super) fn settle_row<'c>(
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

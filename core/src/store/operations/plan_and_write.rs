//! Plans and writes one batch of leased records in one transaction.
//!
//! The rows are locked, the plans are made from exactly those rows, and their writes are made before
//! another transaction can change them. An error of Postgres for one row stops only that row: a refused
//! batch is divided into groups of rows that depend on each other, the groups are halved, and finally each
//! row of a group is tried alone, without the columns that Postgres rejects.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::ids::{ColumnName, RecordId};
use crate::planner::policy::{NextStep, Obstacle, Tries, decide};
use crate::ports::apply_store::PlannedRecord;
use crate::ports::record::LeasedTask;
use crate::ports::{MappedObject, RecordPlanner, StoreError};
use crate::store::error::{RefusalKind, RowRefusal};
use crate::store::mapped_table::keys::{RowChange, TableKeys, read_keys};
use crate::store::mapped_table::read::RowError;
use crate::store::mapped_table::rejected_columns::rejected_columns;
use crate::store::mapped_table::shape::{TableShape, read_shape};
use crate::store::mapped_table::vacate::vacate;
use crate::store::mapped_table::write::{RowOutcome, RowWrite, write_rows};
use crate::store::operations::candidate::{Candidate, load_candidates};
use crate::store::operations::planned_row::{
    PlannedRow, plan_batch, settle_row, withhold_mass_deletes,
};
use crate::store::operations::record_outcomes::{Outcome, Planned, record_outcomes};
use crate::store::operations::table_identity::require_installed_table;
use crate::store::tables::engine_tx::{mark_as_ours, unmark};
use crate::store::transaction::Tx;

/// How often one call waits for locks of others before it requeues the remaining records.
///
/// Each wait is at most the two seconds of the lock timeout, so a call stays far within its lease.
const LOCK_WAITS_MAX: usize = 8;

/// Plans and writes the records whose leases are still valid, and records the outcomes.
pub(crate) async fn plan_and_write(
    tx: &mut Tx,
    mapped: &MappedObject,
    leases: &[LeasedTask],
    planner: &dyn RecordPlanner,
) -> Result<Vec<PlannedRecord>, StoreError> {
    mark_as_ours(tx).await?;
    let candidates = load_candidates(tx, mapped, leases).await?;
    let shape = read_shape(tx, mapped).await?;
    require_installed_table(tx, mapped, &shape).await?;
    let writing = Writing {
        mapped,
        shape: &shape,
        planner,
        keys: None,
        lock_waits: 0,
        done: Vec::with_capacity(candidates.len()),
    };
    let outcomes = writing.write(tx, candidates.iter().collect()).await?;
    let planned = record_outcomes(tx, mapped, outcomes).await?;
    unmark(tx).await?;
    Ok(planned)
}

/// The batch while it is written.
struct Writing<'a, 'c> {
    mapped: &'a MappedObject,
    shape: &'a TableShape,
    planner: &'a dyn RecordPlanner,
    /// Read at the first refusal.
    keys: Option<TableKeys>,
    lock_waits: usize,
    done: Vec<Planned<'c>>,
}

/// Records that are written together.
enum Part<'c> {
    /// Their dependencies are not known.
    Batch(Vec<&'c Candidate>),
    /// Within each group, they depend on each other.
    Groups(Vec<Vec<&'c Candidate>>),
}

impl<'c> Part<'c> {
    fn records(&self) -> Vec<&'c Candidate> {
        match self {
            Self::Batch(records) => records.clone(),
            Self::Groups(groups) => groups.concat(),
        }
    }
}

/// The result of trying to write some records.
enum Try<'c> {
    Written(Vec<Planned<'c>>),
    /// The try was rolled back. The rows are missing if they could not be read.
    Refused(RowRefusal, Vec<PlannedRow<'c>>),
}

impl<'c> Writing<'_, 'c> {
    async fn write(
        mut self,
        tx: &mut Tx,
        records: Vec<&'c Candidate>,
    ) -> Result<Vec<Planned<'c>>, StoreError> {
        let mut parts = vec![Part::Batch(records)];
        // Each refusal divides a part or finishes its records, so there are at most a few times as many tries
        // as records.
        while let Some(part) = parts.pop() {
            let records = part.records();
            if records.is_empty() {
                continue;
            }
            let (refusal, rows) = match self.attempt(tx, &records, Keys::Kept).await? {
                Try::Written(written) => {
                    self.done.extend(written);
                    continue;
                }
                Try::Refused(refusal, rows) => (refusal, rows),
            };
            self.lock_waits += usize::from(refusal.kind == RefusalKind::Contended);
            if self.lock_waits > LOCK_WAITS_MAX {
                self.refuse(records, &refusal);
                continue;
            }
            let mut groups = match part {
                Part::Batch(records) => self.groups(tx, records, &rows).await?,
                Part::Groups(groups) => groups,
            };
            if groups.len() > 1 {
                let second = groups.split_off(groups.len() / 2);
                parts.push(Part::Groups(second));
                parts.push(Part::Groups(groups));
            } else {
                let rest = self.write_group(tx, records, (refusal, rows)).await?;
                parts.push(Part::Groups(vec![rest]));
            }
        }
        Ok(self.done)
    }

    fn refuse(&mut self, records: Vec<&'c Candidate>, refusal: &RowRefusal) {
        self.done
            .extend(records.into_iter().map(|candidate| Planned {
                candidate,
                outcome: Outcome::Refused(refusal.clone()),
            }));
    }

    /// Tries to write the records, and rolls back if Postgres refuses one.
    async fn attempt(
        &self,
        tx: &mut Tx,
        records: &[&'c Candidate],
        keys: Keys<'_>,
    ) -> Result<Try<'c>, StoreError> {
        tx.savepoint().await?;
        let rows = match self.plan(tx, records).await {
            Ok(rows) => rows,
            Err(RowError::Refused(refusal)) => {
                tx.back().await?;
                return Ok(Try::Refused(refusal, Vec::new()));
            }
            Err(RowError::Store(error)) => return Err(error),
        };
        match self.write_planned(tx, &rows, keys).await {
            Ok(mut outcomes) => {
                tx.keep().await?;
                let settle = |row: PlannedRow<'c>| {
                    let outcome = outcomes.remove(&row.candidate.lease.record_id);
                    settle_row(row, outcome, self.planner)
                };
                Ok(Try::Written(rows.into_iter().map(settle).collect()))
            }
            Err(RowError::Refused(mut refusal)) => {
                tx.back().await?;
                // Postgres reports the same error for both ends of a foreign key.
                if let ([row], RefusalKind::ParentMissing) = (rows.as_slice(), refusal.kind)
                    && row.deletes_row()
                {
                    refusal.kind = RefusalKind::StillReferenced;
                }
                Ok(Try::Refused(refusal, rows))
            }
            Err(RowError::Store(error)) => Err(error),
        }
    }

    async fn plan(
        &self,
        tx: &mut Tx,
        records: &[&'c Candidate],
    ) -> Result<Vec<PlannedRow<'c>>, RowError> {
        let mut rows = plan_batch(tx, self.mapped, self.shape, records, self.planner).await?;
        withhold_mass_deletes(tx, self.mapped, &mut rows).await?;
        Ok(rows)
    }

    async fn write_planned(
        &self,
        tx: &mut Tx,
        rows: &[PlannedRow<'_>],
        keys: Keys<'_>,
    ) -> Result<BTreeMap<RecordId, RowOutcome>, RowError> {
        let mut writes: Vec<RowWrite<'_>> = rows.iter().filter_map(PlannedRow::row_write).collect();
        let moved = match keys {
            Keys::Kept => BTreeMap::new(),
            Keys::PassedOn(columns) => {
                vacate(tx, self.mapped, self.shape, &writes, columns).await?
            }
        };
        for write in &mut writes {
            write.identity = moved.get(&write.record_id).or(write.identity);
        }
        write_rows(tx, self.mapped, self.shape, &writes).await
    }

    /// Divides refused records into groups that depend on each other.
    async fn groups(
        &mut self,
        tx: &mut Tx,
        records: Vec<&'c Candidate>,
        rows: &[PlannedRow<'c>],
    ) -> Result<Vec<Vec<&'c Candidate>>, StoreError> {
        if records.len() == 1 || rows.len() != records.len() {
            return Ok(records.into_iter().map(|record| vec![record]).collect());
        }
        if self.keys.is_none() {
            self.keys = Some(read_keys(tx, self.shape.oid).await?);
        }
        let changes: Vec<RowChange<'_>> = rows.iter().map(PlannedRow::change).collect();
        let groups = self.keys.iter().flat_map(|keys| keys.groups(&changes));
        Ok(groups
            .map(|group| group.into_iter().map(|place| records[place]).collect())
            .collect())
    }

    /// Writes as many rows of a refused group as possible. Returns the records that wait for others of the
    /// group: they are tried once more, without the rest.
    async fn write_group(
        &mut self,
        tx: &mut Tx,
        group: Vec<&'c Candidate>,
        (mut refusal, rows): (RowRefusal, Vec<PlannedRow<'c>>),
    ) -> Result<Vec<&'c Candidate>, StoreError> {
        if let [candidate] = group.as_slice() {
            let planned = self.write_alone(tx, candidate, refusal).await?;
            self.done.push(planned);
            return Ok(Vec::new());
        }
        let passed_on = self.passed_on(&refusal, &rows);
        if !passed_on.is_empty() {
            match self.attempt(tx, &group, Keys::PassedOn(&passed_on)).await? {
                Try::Written(written) => {
                    self.done.extend(written);
                    return Ok(Vec::new());
                }
                Try::Refused(other, _) => refusal = other,
            }
        }
        if refusal.kind == RefusalKind::Contended {
            self.refuse(group, &refusal);
            return Ok(Vec::new());
        }
        let count = group.len();
        let mut waiting = Vec::new();
        for candidate in group {
            match self.attempt(tx, &[candidate], Keys::Kept).await? {
                Try::Written(written) => self.done.extend(written),
                Try::Refused(refusal, _) if waits_for_others(refusal.kind) => {
                    waiting.push((candidate, refusal));
                }
                Try::Refused(refusal, _) => {
                    let planned = self.write_alone(tx, candidate, refusal).await?;
                    self.done.push(planned);
                }
            }
        }
        if waiting.len() < count {
            return Ok(waiting
                .into_iter()
                .map(|(candidate, _)| candidate)
                .collect());
        }
        for (candidate, refusal) in waiting {
            self.refuse(vec![candidate], &refusal);
        }
        Ok(Vec::new())
    }

    /// Returns the columns whose unique values the rows exchange, if the rows were refused because of them.
    fn passed_on(&self, refusal: &RowRefusal, rows: &[PlannedRow<'_>]) -> BTreeSet<ColumnName> {
        let Some(keys) = &self.keys else {
            return BTreeSet::new();
        };
        if refusal.kind != RefusalKind::ValueTaken {
            return BTreeSet::new();
        }
        let changes: Vec<RowChange<'_>> = rows.iter().map(PlannedRow::change).collect();
        keys.passed_on(&changes)
    }

    /// Writes a row that Postgres refused, without its rejected columns, if there are any.
    async fn write_alone(
        &self,
        tx: &mut Tx,
        candidate: &'c Candidate,
        refusal: RowRefusal,
    ) -> Result<Planned<'c>, StoreError> {
        let refused = |refusal| Planned {
            candidate,
            outcome: Outcome::Refused(refusal),
        };
        let lease = &candidate.lease;
        let waits = match refusal.kind {
            RefusalKind::Contended
            | RefusalKind::TimedOut
            | RefusalKind::ParentMissing
            | RefusalKind::StillReferenced => true,
            RefusalKind::ValueTaken => {
                let tries = Tries::of(lease.record_id, lease.attempt);
                decide(Obstacle::ValueTaken, tries) != NextStep::Park
            }
            RefusalKind::ValueRejected | RefusalKind::ConstraintRejected | RefusalKind::Raised => {
                false
            }
        };
        if waits {
            return Ok(refused(refusal));
        }
        tx.savepoint().await?;
        match self.write_what_is_taken(tx, candidate, &refusal).await {
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

    /// Finds the columns that Postgres rejects, and writes the row without them. Returns `None` if the refusal
    /// has another cause.
    async fn write_what_is_taken(
        &self,
        tx: &mut Tx,
        candidate: &'c Candidate,
        refusal: &RowRefusal,
    ) -> Result<Option<Planned<'c>>, RowError> {
        let rows = self.plan(tx, &[candidate]).await?;
        let Some(mut row) = rows.into_iter().next() else {
            return Ok(None);
        };
        let Some(write) = row.row_write() else {
            return Ok(None);
        };
        let rejected = rejected_columns(tx, self.mapped, self.shape, &write, refusal).await?;
        if rejected.is_empty() {
            return Ok(None);
        }
        row.leave_out(self.mapped, &rejected);
        let outcome = match row.row_write() {
            Some(write) => write_rows(tx, self.mapped, self.shape, &[write])
                .await?
                .remove(&candidate.lease.record_id),
            None => None,
        };
        Ok(Some(settle_row(row, outcome, self.planner)))
    }
}

/// How unique values are treated before the write.
#[derive(Clone, Copy)]
enum Keys<'k> {
    /// They are kept.
    Kept,
    /// The values of these columns are released first, because the rows exchange them.
    PassedOn(&'k BTreeSet<ColumnName>),
}

/// Returns whether another row of the group may remove the reason of the refusal.
fn waits_for_others(kind: RefusalKind) -> bool {
    match kind {
        RefusalKind::ParentMissing | RefusalKind::StillReferenced | RefusalKind::ValueTaken => true,
        RefusalKind::ValueRejected
        | RefusalKind::ConstraintRejected
        | RefusalKind::Raised
        | RefusalKind::Contended
        | RefusalKind::TimedOut => false,
    }
}

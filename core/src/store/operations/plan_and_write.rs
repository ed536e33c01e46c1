//! Plans and writes one batch of leased records in one transaction.
//!
//! The rows are locked, the plans are made from exactly those rows, and their writes are made before
//! another transaction can change them. An error of Postgres for one row stops only that row: a refused
//! batch is divided into groups of rows that depend on each other, the groups are halved, and finally each
//! row of a group is tried alone, without the columns that Postgres rejects.

use std::collections::BTreeSet;

use crate::config::Direction;
use crate::model::ids::{ColumnName, FieldName, RecordId};
use crate::planner::policy::{Cause, NextStep, Tries, decide};
use crate::ports::apply_store::PlannedBatch;
use crate::ports::record::{LeaseEnd, LeasedTask};
use crate::ports::{MappedObject, RecordPlanner, StoreError};
use crate::store::error::{RefusalKind, RowRefusal};
use crate::store::mapped_table::keys::{RowChange, TableKeys, read_keys};
use crate::store::mapped_table::read::{Locking, RowError, read_rows};
use crate::store::mapped_table::references::{Reference, read_references};
use crate::store::mapped_table::rejected_columns::rejected_columns;
use crate::store::mapped_table::shape::{TableShape, key_form, read_shape};
use crate::store::mapped_table::write::{RowWrite, write_rows};
use crate::store::operations::children::check_children;
use crate::store::operations::leased_record::{LeasedRecord, load_leased};
use crate::store::operations::parents::follow_renamed_parents;
use crate::store::operations::record_outcomes::record_outcomes;
use crate::store::operations::table_identity::require_installed_table;
use crate::store::tables::capture::skew_and_installed;
use crate::store::tables::clear_guard::withheld_by_clear_guard;
use crate::store::tables::delete_guard::withheld_by_delete_guard;
use crate::store::tables::engine_tx::{mark_as_ours, unmark};
use crate::store::tables::link::KnownRecord;
use crate::store::tables::outbox::{RowName, uncaptured};
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
) -> Result<PlannedBatch, StoreError> {
    mark_as_ours(tx).await?;
    let (clock_skew_ms, installed) = skew_and_installed(tx, mapped).await?;
    let records = load_leased(tx, mapped, leases, clock_skew_ms).await?;
    let shape = read_shape(tx, mapped).await?;
    require_installed_table(mapped, &shape, installed.as_ref())?;
    let mut writing = Writing {
        mapped,
        shape: &shape,
        planner,
        records,
        keys: None,
        references: None,
        lock_waits: 0,
    };
    writing.write(tx).await?;
    let planned = record_outcomes(tx, mapped, planner, writing.records).await?;
    unmark(tx).await?;
    Ok(planned)
}

/// The batch while it is written. Its methods name records by their index.
struct Writing<'a> {
    mapped: &'a MappedObject,
    shape: &'a TableShape,
    planner: &'a dyn RecordPlanner,
    records: Vec<LeasedRecord>,
    /// Read at the first refusal.
    keys: Option<TableKeys>,
    /// Foreign keys to the table, read before the first delete or change of a key.
    references: Option<Vec<Reference>>,
    lock_waits: usize,
}

impl Writing<'_> {
    async fn write(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        // Groups of records that are written together. Within each group, they depend on each other.
        let planned = (0..self.records.len()).filter(|place| !self.records[*place].must_be_read);
        let mut parts: Vec<Vec<Vec<usize>>> = vec![vec![planned.collect()]];
        let mut is_whole_batch = true;
        // Each refusal divides a part or finishes its records, so there are at most a few times as many
        // attempts as records.
        while let Some(mut groups) = parts.pop() {
            let records = groups.concat();
            if records.is_empty() {
                continue;
            }
            let Err(refusal) = self.attempt(tx, &records, &BTreeSet::new()).await? else {
                continue;
            };
            self.lock_waits += usize::from(refusal.kind == RefusalKind::Contended);
            if self.lock_waits > LOCK_WAITS_MAX {
                self.refuse(&records, &refusal);
                continue;
            }
            if is_whole_batch {
                groups = self.groups(tx, &records).await?;
                is_whole_batch = false;
            }
            if groups.len() > 1 {
                let second = groups.split_off(groups.len() / 2);
                parts.push(second);
                parts.push(groups);
            } else {
                let rest = self.write_group(tx, records, refusal).await?;
                parts.push(vec![rest]);
            }
        }
        Ok(())
    }

    fn refuse(&mut self, records: &[usize], refusal: &RowRefusal) {
        for record in records {
            self.records[*record].refuse(self.mapped, refusal);
        }
    }

    /// Plans and writes the records, or rolls back and returns why Postgres refuses a row. The values of
    /// the columns `passed_on` are released first, because the rows exchange them.
    async fn attempt(
        &mut self,
        tx: &mut Tx,
        records: &[usize],
        passed_on: &BTreeSet<ColumnName>,
    ) -> Result<Result<(), RowRefusal>, StoreError> {
        tx.savepoint().await?;
        match self.plan_and_write(tx, records, passed_on).await {
            Ok(()) => {
                tx.release_savepoint().await?;
                Ok(Ok(()))
            }
            Err(RowError::Refused(mut refusal)) => {
                tx.rollback_to_savepoint().await?;
                if refusal.kind == RefusalKind::ParentMissing
                    && self.is_still_referenced(records, &refusal)
                {
                    refusal.kind = RefusalKind::StillReferenced;
                }
                Ok(Err(refusal))
            }
            Err(RowError::Store(error)) => Err(error),
        }
    }

    /// Postgres reports the same error for both ends of a foreign key.
    fn is_still_referenced(&self, records: &[usize], refusal: &RowRefusal) -> bool {
        let mut references = self.references.iter().flatten();
        let from_elsewhere = references.any(|reference| {
            !reference.is_within(self.shape) && refusal.place.as_ref() == Some(&reference.name)
        });
        from_elsewhere || matches!(records, [record] if self.records[*record].deletes_row())
    }

    async fn plan_and_write(
        &mut self,
        tx: &mut Tx,
        records: &[usize],
        passed_on: &BTreeSet<ColumnName>,
    ) -> Result<(), RowError> {
        self.plan(tx, records).await?;
        let planned = records.iter().map(|record| &self.records[*record]);
        let writes: Vec<RowWrite<'_>> = planned.filter_map(LeasedRecord::row_write).collect();
        let mut outcomes = write_rows(tx, self.mapped, self.shape, &writes, passed_on).await?;
        for record in records {
            let record = &mut self.records[*record];
            record.row = outcomes.remove(&record.lease.record_id);
        }
        Ok(())
    }

    /// Locks the rows of the records and plans each. Withholds deletes and cleared values if there were too many
    /// recently.
    async fn plan(&mut self, tx: &mut Tx, records: &[usize]) -> Result<(), RowError> {
        let known: Vec<&KnownRecord> = records
            .iter()
            .map(|record| &self.records[*record].observed.known)
            .collect();
        let mut found = read_rows(tx, self.mapped, self.shape, &known, Locking::Lock).await?;
        found.being_renamed.extend(self.dispossessed(records));
        let waiting = records.iter().map(|record| &self.records[*record].lease);
        let may_write = self.mapped.sync.direction == Direction::Both;
        let waiting = waiting.filter(|lease| may_write && lease.attempts.of(Cause::Parent) > 0);
        let waiting: Vec<RecordId> = waiting.map(|lease| lease.record_id).collect();
        let mut renamed = follow_renamed_parents(tx, self.mapped, &waiting, &mut found).await?;
        for record in records {
            let record = &mut self.records[*record];
            let columns = renamed.remove(&record.lease.record_id);
            record.plan(&mut found, self.planner);
            record.write_sent_lookups(self.mapped, &columns.unwrap_or_default());
            record.fit(self.mapped, self.shape);
        }
        self.await_capture(tx, records).await?;
        self.check_children(tx, records).await?;
        self.withhold_deletes(tx, records).await?;
        self.withhold_clears(tx, records).await
    }

    /// Returns the records whose external id an earlier attempt has given to the row of another record: what is found
    /// under it is not theirs.
    fn dispossessed(&self, records: &[usize]) -> Vec<RecordId> {
        let form = key_form(self.mapped);
        let given = self.records.iter().filter_map(|record| {
            let name = record.returned()?.external_id.as_ref()?;
            let link = &record.observed.known.link;
            let is_new = *name != link.external_id;
            is_new.then(|| form.canonical(name).ok()).flatten()
        });
        let given: BTreeSet<String> = given.collect();
        let links = records
            .iter()
            .map(|record| &self.records[*record].observed.known.link);
        links
            .filter(|link| given.contains(&link.canonical_id))
            .map(|link| link.record_id)
            .collect()
    }

    /// Delays records for which times decided although the last edits of their rows are not captured yet: until
    /// then their times are not known.
    async fn await_capture(&mut self, tx: &mut Tx, records: &[usize]) -> Result<(), RowError> {
        let records = records.iter().map(|record| &self.records[*record]);
        let decided: Vec<RowName<'_>> = records.filter_map(LeasedRecord::decided_by_time).collect();
        if decided.is_empty() {
            return Ok(());
        }
        let uncaptured = uncaptured(tx, self.mapped, &decided).await?;
        for record in &mut self.records {
            if uncaptured.contains(&record.lease.record_id) {
                record.await_capture();
            }
        }
        Ok(())
    }

    /// Withholds the deletes, on both sides, if there were too many recently.
    async fn withhold_deletes(&mut self, tx: &mut Tx, records: &[usize]) -> Result<(), RowError> {
        let deletes = |record: &&usize| self.records[**record].deletes();
        let deletes: Vec<usize> = records.iter().filter(deletes).copied().collect();
        if deletes.is_empty() {
            return Ok(());
        }
        let ids = deletes
            .iter()
            .map(|record| self.records[*record].lease.record_id);
        let ids: Vec<RecordId> = ids.collect();
        if let Some(reason) = withheld_by_delete_guard(tx, self.mapped, &ids).await? {
            for record in deletes {
                self.records[record].plan = Err(LeaseEnd::park(reason.clone()));
            }
        }
        Ok(())
    }

    /// Withholds the fields of which too many values were cleared recently.
    async fn withhold_clears(&mut self, tx: &mut Tx, records: &[usize]) -> Result<(), RowError> {
        let mut clears: Vec<(RecordId, FieldName)> = Vec::new();
        for record in records {
            let record = &self.records[*record];
            let fields = record.clears().into_iter();
            clears.extend(fields.map(|field| (record.lease.record_id, field)));
        }
        let withheld = withheld_by_clear_guard(tx, self.mapped, &clears).await?;
        if withheld.is_empty() {
            return Ok(());
        }
        let clears: BTreeSet<(RecordId, FieldName)> = clears.into_iter().collect();
        for record in records {
            let record = &mut self.records[*record];
            for (field, reason) in &withheld {
                if clears.contains(&(record.lease.record_id, field.clone())) {
                    record.withhold(self.mapped, reason);
                }
            }
        }
        Ok(())
    }

    /// Finds what the planned writes do to rows that reference these, if they are referenced at all.
    async fn check_children(&mut self, tx: &mut Tx, records: &[usize]) -> Result<(), RowError> {
        let shape = self.shape;
        let concerned = |record: &LeasedRecord| record.deletes_row() || record.changes_key(shape);
        if shape.referenced.is_empty()
            || !records
                .iter()
                .any(|record| concerned(&self.records[*record]))
        {
            return Ok(());
        }
        if self.references.is_none() {
            self.references = Some(read_references(tx, self.mapped, shape).await?);
        }
        let references = self.references.as_deref().unwrap_or_default();
        let table = (self.mapped, shape);
        check_children(tx, table, references, &mut self.records, records).await
    }

    fn changes(&self, records: &[usize]) -> Vec<RowChange<'_>> {
        let changes = records.iter().map(|record| self.records[*record].change());
        changes.collect()
    }

    /// Divides refused records into groups that depend on each other.
    async fn groups(
        &mut self,
        tx: &mut Tx,
        records: &[usize],
    ) -> Result<Vec<Vec<usize>>, StoreError> {
        if let [record] = records {
            return Ok(vec![vec![*record]]);
        }
        let keys = read_keys(tx, self.shape.oid).await?;
        let groups = keys.groups(&self.changes(records)).into_iter();
        let groups = groups
            .map(|group| group.into_iter().map(|place| records[place]).collect())
            .collect();
        self.keys = Some(keys);
        Ok(groups)
    }

    /// Writes as many rows of a refused group as possible. Returns the records that wait for others of the
    /// group: they are tried once more, without the rest.
    async fn write_group(
        &mut self,
        tx: &mut Tx,
        group: Vec<usize>,
        mut refusal: RowRefusal,
    ) -> Result<Vec<usize>, StoreError> {
        if let [record] = group.as_slice() {
            self.write_alone(tx, *record, refusal).await?;
            return Ok(Vec::new());
        }
        let passed_on = self.passed_on(&refusal, &group);
        if !passed_on.is_empty() {
            match self.attempt(tx, &group, &passed_on).await? {
                Ok(()) => return Ok(Vec::new()),
                Err(other) => refusal = other,
            }
        }
        if refusal.kind == RefusalKind::Contended {
            self.refuse(&group, &refusal);
            return Ok(Vec::new());
        }
        let mut waiting = Vec::new();
        for record in &group {
            match self.attempt(tx, &[*record], &BTreeSet::new()).await? {
                Ok(()) => {}
                Err(refusal) if waits_for_others(refusal.kind) => {
                    waiting.push((*record, refusal));
                }
                Err(refusal) => self.write_alone(tx, *record, refusal).await?,
            }
        }
        if waiting.len() < group.len() {
            for (record, refusal) in &waiting {
                self.refuse(&[*record], refusal);
            }
            return Ok(waiting.into_iter().map(|(record, _)| record).collect());
        }
        // No other row of the group helps them.
        for (record, refusal) in waiting {
            self.write_alone(tx, record, refusal).await?;
        }
        Ok(Vec::new())
    }

    /// Returns the columns whose unique values the rows exchange, if the rows were refused because of them.
    fn passed_on(&self, refusal: &RowRefusal, records: &[usize]) -> BTreeSet<ColumnName> {
        match &self.keys {
            Some(keys) if refusal.kind == RefusalKind::ValueTaken => {
                keys.passed_on(&self.changes(records))
            }
            Some(_) | None => BTreeSet::new(),
        }
    }

    /// Writes a row that Postgres refused, without its rejected columns, if there are any.
    async fn write_alone(
        &mut self,
        tx: &mut Tx,
        record: usize,
        mut refusal: RowRefusal,
    ) -> Result<(), StoreError> {
        let lease = &self.records[record].lease;
        let waits_longer = |cause| {
            let tries = Tries::of(lease.record_id, &lease.attempts);
            decide(cause, tries) != NextStep::Park
        };
        let waits = match refusal.kind {
            RefusalKind::Contended | RefusalKind::TimedOut | RefusalKind::StillReferenced => true,
            RefusalKind::ParentMissing => waits_longer(Cause::Parent),
            RefusalKind::ValueTaken => waits_longer(Cause::ValueTaken),
            RefusalKind::ValueRejected | RefusalKind::ConstraintRejected | RefusalKind::Raised => {
                false
            }
        };
        if !waits {
            tx.savepoint().await?;
            match self
                .write_without_rejected_columns(tx, record, &refusal)
                .await
            {
                Ok(true) => return tx.release_savepoint().await,
                Ok(false) => {}
                Err(RowError::Refused(other)) => refusal = other,
                Err(RowError::Store(error)) => return Err(error),
            }
            tx.rollback_to_savepoint().await?;
        }
        self.refuse(&[record], &refusal);
        Ok(())
    }

    /// Finds the columns that Postgres rejects, and writes the row without them. Returns false if the refusal
    /// has another cause.
    async fn write_without_rejected_columns(
        &mut self,
        tx: &mut Tx,
        record: usize,
        refusal: &RowRefusal,
    ) -> Result<bool, RowError> {
        self.plan(tx, &[record]).await?;
        let (mapped, shape) = (self.mapped, self.shape);
        let record = &mut self.records[record];
        let Some(write) = record.row_write() else {
            return Ok(false);
        };
        let rejected = rejected_columns(tx, mapped, shape, &write, refusal).await?;
        if rejected.is_empty() {
            return Ok(false);
        }
        record.leave_out(mapped, &rejected);
        let write = record.row_write();
        let mut outcomes =
            write_rows(tx, mapped, shape, write.as_slice(), &BTreeSet::new()).await?;
        record.row = outcomes.remove(&record.lease.record_id);
        Ok(true)
    }
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

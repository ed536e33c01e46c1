//! What our write to a row does to rows that reference it.
//!
//! A delete, or a new key, may change or remove rows of other records, and the capture triggers skip that as they
//! skip everything that we write. So it is found before the write: a row of a live record is never removed by our
//! write to another one, and a column that a foreign key changes is recorded as expected, not as an edit.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::model::canonical;
use crate::model::ids::{ColumnName, FieldName, ObjectName, RecordId};
use crate::model::value::Payload;
use crate::planner::policy::Cause;
use crate::ports::record::{LeaseEnd, LeasedTask, ParkReason, WAITS_FOR_CHILDREN};
use crate::ports::{MappedObject, MappedTable, StoreError};
use crate::store::mapped_table::read::RowError;
use crate::store::mapped_table::references::{
    BatchRow, Reference, ReferencingRow, ReferentialAction, referencing_rows, rows_with,
};
use crate::store::mapped_table::shape::TableShape;
use crate::store::operations::leased_record::LeasedRecord;
use crate::store::operations::refused_row::wait_or_park;
use crate::store::tables::task::work_for;
use crate::store::transaction::{Tx, recordset};

/// Most rows by which a waiting record is woken. Each of them must go before its own row can.
const AWAITED_MAX: usize = 20;

/// A row of another record, and the columns that our write changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Child {
    /// The place of its table among those of the tenant.
    table: usize,
    external_id: String,
    columns: Vec<String>,
}

/// What the write to a record's row does to other rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Children {
    /// Rows that must be repointed or deleted before.
    blocking: Vec<Child>,
    /// Rows of which columns change.
    changed: Vec<Child>,
}

/// Finds the rows that reference the rows of these records, and lets a delete wait for those that would go with it.
pub(super) async fn check_children(
    tx: &mut Tx,
    (mapped, shape): (&MappedObject, &TableShape),
    references: &[Reference],
    records: &mut [LeasedRecord],
    batch: &[usize],
) -> Result<(), RowError> {
    let deleted = |record: &LeasedRecord| record.deletes_row();
    let found = find(
        tx,
        (mapped, shape),
        references,
        (records, batch),
        deleted,
        true,
    )
    .await?;
    let written = written(records, batch);
    let places: BTreeMap<RecordId, usize> = batch
        .iter()
        .map(|place| (records[*place].lease.record_id, *place))
        .collect();
    let mut blocked: BTreeSet<RecordId> = BTreeSet::new();
    let mut along: Vec<(RecordId, RecordId)> = Vec::new();
    for row in found {
        let reference = &references[row.reference];
        let own = row
            .external_id
            .as_deref()
            .filter(|_| reference.is_within(shape));
        let own = own.and_then(|id| written.get(id)).copied();
        let children = &mut records[places[&row.record_id]].children;
        match (own, reference.on_delete, reference.refuses_null) {
            // It goes in the same statement, unless it must wait itself.
            (Some(OwnWrite::Delete(child)), _, _) => along.push((row.record_id, child)),
            (None, ReferentialAction::Replaces, false) => {
                children.changed.extend(child(reference, row));
            }
            (Some(OwnWrite::Other), _, _) | (None, _, _) => {
                blocked.insert(row.record_id);
                children.blocking.extend(child(reference, row));
            }
        }
    }
    block_chains(&mut blocked, &along);
    for record in blocked {
        let record = &mut records[places[&record]];
        record.children.changed.clear();
        record.plan = Err(waits_for_children(
            mapped,
            &record.lease,
            &record.children.blocking,
        ));
    }
    let rekeyed = |record: &LeasedRecord| record.changes_key(shape);
    for row in find(
        tx,
        (mapped, shape),
        references,
        (records, batch),
        rekeyed,
        false,
    )
    .await?
    {
        let reference = &references[row.reference];
        let children = &mut records[places[&row.record_id]].children;
        children.changed.extend(child(reference, row));
    }
    Ok(())
}

/// A row whose child waits waits, too: else the foreign keys between them would remove the child and what it waits
/// for.
fn block_chains(blocked: &mut BTreeSet<RecordId>, along: &[(RecordId, RecordId)]) {
    let mut waiting: Vec<RecordId> = blocked.iter().copied().collect();
    while let Some(child) = waiting.pop() {
        for (parent, _) in along.iter().filter(|(_, of)| *of == child) {
            if blocked.insert(*parent) {
                waiting.push(*parent);
            }
        }
    }
}

async fn find(
    tx: &mut Tx,
    table: (&MappedObject, &TableShape),
    references: &[Reference],
    (records, batch): (&[LeasedRecord], &[usize]),
    is_meant: impl Fn(&LeasedRecord) -> bool,
    deleted: bool,
) -> Result<Vec<ReferencingRow>, RowError> {
    let meant = batch.iter().map(|place| &records[*place]);
    let rows: Vec<BatchRow<'_>> = meant
        .filter(|record| is_meant(record))
        .filter_map(|record| {
            Some(BatchRow {
                record_id: record.lease.record_id,
                identity: &record.observed.rows.first()?.identity,
            })
        })
        .collect();
    let concerns =
        |reference: &Reference| deleted || reference.on_update != ReferentialAction::Refuses;
    referencing_rows(tx, table, references, &rows, deleted, concerns).await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OwnWrite {
    Delete(RecordId),
    Other,
}

/// Returns the rows that the batch itself writes, by external id.
fn written(records: &[LeasedRecord], batch: &[usize]) -> BTreeMap<String, OwnWrite> {
    let own = |record: &LeasedRecord| {
        record.row_write()?;
        let row = record.observed.rows.first()?;
        let write = match record.deletes_row() {
            true => OwnWrite::Delete(record.lease.record_id),
            false => OwnWrite::Other,
        };
        Some((row.external_id.as_ref()?.trim().to_owned(), write))
    };
    batch
        .iter()
        .filter_map(|place| own(&records[*place]))
        .collect()
}

fn child(reference: &Reference, row: ReferencingRow) -> Option<Child> {
    Some(Child {
        table: reference.table?,
        external_id: row.external_id?,
        columns: reference.columns.clone(),
    })
}

/// Returns how the lease of a record ends whose row is deleted after those that reference it. They go by their own
/// changes. One whose lookup Salesforce cannot take stays until a person decides, so the record is parked at last; each
/// of them wakes it.
fn waits_for_children(mapped: &MappedObject, lease: &LeasedTask, blocking: &[Child]) -> LeaseEnd {
    let tables = blocking.iter().map(|child| {
        let table = &mapped.tables[child.table].sync.table;
        format!("{}.{}", table.schema, table.table)
    });
    let tables: BTreeSet<String> = tables.collect();
    let tables: Vec<String> = tables.into_iter().collect();
    // A row without an external id, or of a table that is not mapped, has no name here.
    let rows = match tables.is_empty() {
        true => "rows of other records".to_owned(),
        false => format!("rows of {}", tables.join(", ")),
    };
    let parked = ParkReason {
        code: WAITS_FOR_CHILDREN.to_owned(),
        field: None,
        message: format!("{rows} depend on its row: delete them, or let them point to another row"),
    };
    let reason = "rows of other records reference its row; they are repointed or deleted first";
    let awaited = blocking.iter().take(AWAITED_MAX);
    wait_or_park(lease, Cause::Referenced, reason, parked)
        .awaiting(awaited.map(|child| child.external_id.clone()).collect())
}

/// What a batch did to rows of other records.
#[derive(Default)]
pub(super) struct Consequences {
    blocking: Vec<Child>,
    changed: Vec<Child>,
    renamed: BTreeMap<String, String>,
}

impl Consequences {
    /// Adds those of one record, which was `written` or waits.
    pub(super) fn add(&mut self, children: Children, written: bool) {
        self.blocking.extend(children.blocking);
        if written {
            self.changed.extend(children.changed);
        }
    }

    /// Adds a record whose row has another external id from now on.
    pub(super) fn rename(&mut self, before: &str, now: &str) {
        if before != now {
            self.renamed.insert(before.to_owned(), now.to_owned());
        }
    }

    /// Records what the batch did: the changed columns as expected, and work for every record that it concerns.
    pub(super) async fn record(self, tx: &mut Tx, mapped: &MappedObject) -> Result<(), StoreError> {
        let mut expected = Expected::default();
        expected
            .add_changed(tx, &mapped.tables, &self.changed)
            .await?;
        follow_renames(tx, mapped, &self.renamed, &mut expected).await?;
        for child in &self.blocking {
            expected
                .entry(&mapped.tables[child.table], &child.external_id)
                .needs_refresh = true;
        }
        expected.save(tx, mapped).await
    }
}

/// Adds work for the records whose rows still hold the former external id of a renamed parent.
pub(super) async fn follow(
    tx: &mut Tx,
    mapped: &MappedObject,
    renamed: &BTreeMap<String, String>,
) -> Result<(), StoreError> {
    let mut expected = Expected::default();
    follow_renames(tx, mapped, renamed, &mut expected).await?;
    expected.save(tx, mapped).await
}

/// Adds reads of the records whose rows point to records that are gone in Salesforce: it clears optional lookups to
/// them without an event. Records that it deletes together with them have events of their own.
pub(super) async fn read_cleared(
    tx: &mut Tx,
    mapped: &MappedObject,
    gone: &[&str],
) -> Result<(), StoreError> {
    if gone.is_empty() {
        return Ok(());
    }
    let mut expected = Expected::default();
    for table in mapped.tables.iter() {
        let goes_along = |field: &FieldName| {
            let mut cascades = mapped.schema.cascades.iter();
            cascades.any(|one| one.object == table.sync.object && one.field == *field)
        };
        for (name, field) in &table.sync.fields {
            if field.references.as_ref() != Some(&mapped.sync.object) || goes_along(name) {
                continue;
            }
            let columns = BTreeSet::from([&field.column]);
            for row in rows_with(tx, table, &field.column, gone, &columns).await? {
                expected.entry(table, &row.external_id).needs_refresh = true;
            }
        }
    }
    expected.save(tx, mapped).await
}

/// The row of a child that holds the parent's former external id is planned again: Salesforce's side of it names
/// the parent by the new one.
async fn follow_renames(
    tx: &mut Tx,
    mapped: &MappedObject,
    renamed: &BTreeMap<String, String>,
    expected: &mut Expected,
) -> Result<(), StoreError> {
    if renamed.is_empty() {
        return Ok(());
    }
    let former: Vec<&str> = renamed.keys().map(String::as_str).collect();
    for table in mapped.tables.iter() {
        for field in table.sync.fields.values() {
            if field.references.as_ref() != Some(&mapped.sync.object) {
                continue;
            }
            let columns = BTreeSet::from([&field.column]);
            for row in rows_with(tx, table, &field.column, &former, &columns).await? {
                expected.entry(table, &row.external_id);
            }
        }
    }
    Ok(())
}

/// What is expected of records whose rows we changed.
#[derive(Default)]
struct Expected(BTreeMap<(ObjectName, String), Expectation>);

#[derive(Serialize)]
struct Expectation {
    object: ObjectName,
    external_id: String,
    base: Payload,
    needs_refresh: bool,
}

impl Expected {
    fn entry(&mut self, table: &MappedTable, external_id: &str) -> &mut Expectation {
        let object = &table.sync.object;
        let key = (object.clone(), external_id.to_owned());
        self.0.entry(key).or_insert_with(|| Expectation {
            object: object.clone(),
            external_id: external_id.to_owned(),
            base: Payload::new(),
            needs_refresh: false,
        })
    }

    /// Adds the changed columns of these rows, as they are now.
    async fn add_changed(
        &mut self,
        tx: &mut Tx,
        tables: &[MappedTable],
        changed: &[Child],
    ) -> Result<(), StoreError> {
        for (place, table) in tables.iter().enumerate() {
            let children = changed.iter().filter(|child| child.table == place);
            let names: BTreeSet<&str> = children
                .clone()
                .flat_map(|child| child.columns.iter().map(String::as_str))
                .collect();
            let fields: Vec<(&FieldName, &ColumnName)> = table.fields_of(&names).collect();
            if fields.is_empty() {
                continue;
            }
            let columns = fields.iter().map(|(_, column)| *column).collect();
            let ids: Vec<&str> = children.map(|child| child.external_id.as_str()).collect();
            let key = &table.sync.external_id.column;
            for row in rows_with(tx, table, key, &ids, &columns).await? {
                let expected = self.entry(table, &row.external_id);
                expected.needs_refresh = true;
                for (field, column) in &fields {
                    let json = row.columns.get(column.as_str());
                    let schema = table.schema.fields.get(*field);
                    let value = json
                        .zip(schema)
                        .map(|(json, schema)| canonical::from_postgres(&schema.field_type, json));
                    if let Some(Ok(value)) = value {
                        expected.base.insert((*field).clone(), value);
                    }
                }
            }
        }
        Ok(())
    }

    async fn save(self, tx: &mut Tx, mapped: &MappedObject) -> Result<(), StoreError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let rows: Vec<Expectation> = self.0.into_values().collect();
        tx.run(
            "recording what our write did to other rows",
            sqlx::query(work_for(EXPECT))
                .bind(mapped.tenant.as_str())
                .bind(recordset(&rows)),
        )
        .await?;
        Ok(())
    }
}

/// A parked record that is only in the way stays parked.
const EXPECT: &str = "update syncline.sync_link as link
    set base = link.base || known.base,
        version = link.version + 1,
        updated_at = syncline.clock()
    from (
        select link.record_id, expected.base, expected.needs_refresh
        from jsonb_to_recordset($2) as expected (object text, external_id text, base jsonb, needs_refresh boolean)
        join syncline.sync_link_alias as alias
            on alias.tenant = $1
            and alias.object = expected.object
            and alias.kind = 'external_id'
            and alias.value = expected.external_id
            and alias.is_current
        join syncline.sync_link as link on link.record_id = alias.record_id
        where link.agreed
        and (
            expected.base <> '{}'
            or not expected.needs_refresh
            or not exists (
                select
                from syncline.sync_task as task
                where task.record_id = link.record_id
                and task.state = 'parked'
            )
        )
        order by link.record_id
        -- Excludes other writers of these links.
        for no key update of link
    ) as known
    where link.record_id = known.record_id
    returning link.record_id, known.needs_refresh";

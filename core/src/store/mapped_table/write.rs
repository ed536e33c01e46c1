//! Writes rows of a mapped table in sets: deletes, updates, inserts.
//!
//! Values are sent as JSON, and Postgres casts them to the columns' types. Each write returns the row after
//! the users' BEFORE triggers ran.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sqlx::AssertSqlSafe;
use sqlx::types::Json;
use uuid::Uuid;

use crate::model::ids::{ColumnName, RecordId};
use crate::ports::apply_store::PlannedPostgres;
use crate::ports::record::PostgresRow;
use crate::ports::{MappedObject, StoreError};
use crate::store::error::{RefusalKind, RowRefusal};
use crate::store::mapped_table::read::RowError;
use crate::store::mapped_table::shape::{TableShape, key_form, mapped_columns, picked_json};
use crate::store::mapped_table::vacate::vacate;
use crate::store::quote;
use crate::store::transaction::{Tx, recordset};

type Columns = serde_json::Map<String, serde_json::Value>;

/// A write to one row.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct RowWrite<'a> {
    /// The record.
    pub(crate) record_id: RecordId,
    /// Its external id, to recognise an inserted row.
    #[serde(skip)]
    pub(crate) external_id: &'a str,
    /// The identity of the existing row; absent for an insert.
    pub(crate) identity: Option<&'a serde_json::Value>,
    /// The write.
    #[serde(rename = "patch")]
    pub(crate) write: &'a PlannedPostgres,
    /// An insert whose key is taken is refused with Postgres's own reason. Otherwise it is planned again.
    #[serde(skip)]
    pub(crate) must_insert: bool,
}

/// The outcome of a write.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RowOutcome {
    /// The row exists, with these values.
    Stands(PostgresRow),
    /// The row does not exist any more.
    Gone,
    /// Nothing was written: a row with its key has appeared meanwhile.
    KeyTaken,
    /// Nothing was written: a user's trigger prevented it.
    Suppressed,
}

/// Performs the writes, in at most one statement per kind and set of columns, and returns each record's
/// outcome.
///
/// The rows first release their values of the columns `passed_on`. Deferrable constraints are checked once,
/// after the last write: rows that reference each other can be written in any order, and an error is raised
/// here and not by the commit.
pub(crate) async fn write_rows(
    tx: &mut Tx,
    mapped: &MappedObject,
    shape: &TableShape,
    writes: &[RowWrite<'_>],
    passed_on: &BTreeSet<ColumnName>,
) -> Result<BTreeMap<RecordId, RowOutcome>, RowError> {
    let mut outcomes = BTreeMap::new();
    if writes.is_empty() {
        return Ok(outcomes);
    }
    tx.begin_writes().await?;
    let vacated = vacate(tx, mapped, shape, writes, passed_on).await?;
    let mut sets = Sets::default();
    for write in writes {
        sets.add(RowWrite {
            identity: vacated.get(&write.record_id).or(write.identity),
            ..*write
        });
    }
    if !sets.deletes.is_empty() {
        delete(tx, mapped, shape, &sets.deletes, &mut outcomes).await?;
    }
    if !sets.updates.is_empty() {
        update(tx, mapped, shape, &sets.updates, &mut outcomes).await?;
    }
    if !sets.soft_deletes.is_empty() {
        soft_delete(tx, mapped, shape, &sets.soft_deletes, &mut outcomes).await?;
    }
    for (kind, inserts) in &sets.inserts {
        insert(tx, mapped, shape, kind, inserts, &mut outcomes).await?;
    }
    tx.check_constraints().await?;
    for write in writes {
        outcomes
            .entry(write.record_id)
            .or_insert(RowOutcome::Suppressed);
    }
    for record in vacated.keys() {
        // What was released must be written, or the row would be left without it.
        if outcomes.get(record) == Some(&RowOutcome::Suppressed) {
            return Err(RowError::Refused(exchange_refused()));
        }
    }
    Ok(outcomes)
}

/// Returns why rows cannot exchange values: a trigger of their table took the release of one, and not its write.
fn exchange_refused() -> RowRefusal {
    RowRefusal {
        kind: RefusalKind::ValueTaken,
        place: None,
        column: None,
        message: "a trigger or rule of the table kept a row from taking a value that another row has released"
            .to_owned(),
        key: None,
    }
}

/// The writes by kind.
#[derive(Default)]
struct Sets<'a> {
    deletes: Vec<RowWrite<'a>>,
    updates: Vec<RowWrite<'a>>,
    soft_deletes: Vec<RowWrite<'a>>,
    inserts: BTreeMap<InsertKind<'a>, Vec<RowWrite<'a>>>,
}

/// What inserts of one statement have in common.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct InsertKind<'a> {
    must_insert: bool,
    columns: Vec<&'a str>,
}

impl<'a> Sets<'a> {
    fn add(&mut self, write: RowWrite<'a>) {
        match (write.write, write.identity) {
            (PlannedPostgres::Insert(columns), _) => {
                let kind = InsertKind {
                    must_insert: write.must_insert,
                    columns: columns.keys().map(String::as_str).collect(),
                };
                self.inserts.entry(kind).or_default().push(write);
            }
            (PlannedPostgres::Update(_), Some(_)) => self.updates.push(write),
            (PlannedPostgres::Delete, Some(_)) => self.deletes.push(write),
            (PlannedPostgres::SoftDelete, Some(_)) => self.soft_deletes.push(write),
            // Without a row there is nothing to write.
            (_, None) => {}
        }
    }
}

#[derive(sqlx::FromRow)]
struct StandingRow {
    record_id: Option<Uuid>,
    columns: Json<Columns>,
    external_id: Option<String>,
}

impl StandingRow {
    fn into_outcome(self) -> RowOutcome {
        RowOutcome::Stands(PostgresRow {
            external_id: self.external_id.filter(|id| !id.trim().is_empty()),
            columns: self.columns.0,
            identity: serde_json::Value::Null,
        })
    }
}

/// Returns `key."id" = target."id" and …` and the definition of `key`.
pub(super) fn identity_join(
    mapped: &MappedObject,
    shape: &TableShape,
) -> Result<(String, String), StoreError> {
    let columns = shape.identity(&mapped.sync);
    let condition: Vec<String> = columns
        .iter()
        .map(|column| quote::column(column))
        .map(|name| format!("target.{name} = key.{name}"))
        .collect();
    let definition = shape.definitions(&mapped.sync.table, columns)?;
    Ok((condition.join(" and "), definition))
}

fn returning(mapped: &MappedObject, record: &str) -> String {
    format!(
        "returning
            {record} as record_id,
            {} as columns,
            target.{}::text as external_id",
        picked_json("target", &mapped_columns(&mapped.sync)),
        quote::column(&mapped.sync.external_id.column),
    )
}

async fn delete(
    tx: &mut Tx,
    mapped: &MappedObject,
    shape: &TableShape,
    writes: &[RowWrite<'_>],
    outcomes: &mut BTreeMap<RecordId, RowOutcome>,
) -> Result<(), RowError> {
    let (condition, key) = identity_join(mapped, shape)?;
    let sql = format!(
        "delete from {} as target
        using jsonb_to_recordset($1) as change (record_id uuid, identity jsonb)
        cross join lateral jsonb_to_record(change.identity) as key ({key})
        where {condition}
        returning change.record_id",
        quote::table(&mapped.sync.table)
    );
    let gone: Vec<(Uuid,)> = tx
        .rows_raw(
            "deleting rows",
            sqlx::query_as(AssertSqlSafe(sql)).bind(recordset(writes)),
        )
        .await?;
    outcomes.extend(
        gone.into_iter()
            .map(|(record,)| (RecordId(record), RowOutcome::Gone)),
    );
    Ok(())
}

async fn update(
    tx: &mut Tx,
    mapped: &MappedObject,
    shape: &TableShape,
    writes: &[RowWrite<'_>],
    outcomes: &mut BTreeMap<RecordId, RowOutcome>,
) -> Result<(), RowError> {
    let names: BTreeSet<&str> = writes
        .iter()
        .filter_map(|write| write.write.columns())
        .flat_map(|columns| columns.keys().map(String::as_str))
        .collect();
    let columns = parsed(mapped, names)?;
    // Only columns that some record of the batch changes are assigned; a record that does not change one
    // keeps its value.
    let assignments: Vec<String> = columns
        .iter()
        .map(|column| {
            let name = quote::column(column);
            let key = quote::literal(column.as_str());
            format!(
                "{name} = case when change.patch ? {key} then new.{name} else target.{name} end"
            )
        })
        .collect();
    let (condition, key) = identity_join(mapped, shape)?;
    let sql = format!(
        "update {table} as target
        set {assignments}
        from jsonb_to_recordset($1) as change (record_id uuid, identity jsonb, patch jsonb)
        cross join lateral jsonb_to_record(change.patch) as new ({new})
        cross join lateral jsonb_to_record(change.identity) as key ({key})
        where {condition}
        {returning}",
        table = quote::table(&mapped.sync.table),
        assignments = assignments.join(", "),
        new = shape.definitions(&mapped.sync.table, &columns)?,
        returning = returning(mapped, "change.record_id"),
    );
    standing(tx, sql, recordset(writes), outcomes).await
}

async fn soft_delete(
    tx: &mut Tx,
    mapped: &MappedObject,
    shape: &TableShape,
    writes: &[RowWrite<'_>],
    outcomes: &mut BTreeMap<RecordId, RowOutcome>,
) -> Result<(), RowError> {
    let Some(column) = &mapped.sync.deletes.column else {
        return Err(RowError::Store(StoreError::Mapping(format!(
            "object {} soft-deletes rows but names no column for it",
            mapped.sync.object
        ))));
    };
    let name = quote::column(column);
    let (condition, key) = identity_join(mapped, shape)?;
    let sql = format!(
        "update {table} as target
        set {name} = coalesce(target.{name}, syncline.wall_clock())
        from jsonb_to_recordset($1) as change (record_id uuid, identity jsonb)
        cross join lateral jsonb_to_record(change.identity) as key ({key})
        where {condition}
        {returning}",
        table = quote::table(&mapped.sync.table),
        returning = returning(mapped, "change.record_id"),
    );
    standing(tx, sql, recordset(writes), outcomes).await
}

async fn standing(
    tx: &mut Tx,
    sql: String,
    writes: Json<&[RowWrite<'_>]>,
    outcomes: &mut BTreeMap<RecordId, RowOutcome>,
) -> Result<(), RowError> {
    let rows: Vec<StandingRow> = tx
        .rows_raw(
            "updating rows",
            sqlx::query_as(AssertSqlSafe(sql)).bind(writes),
        )
        .await?;
    for row in rows {
        if let Some(record) = row.record_id {
            outcomes.insert(RecordId(record), row.into_outcome());
        }
    }
    Ok(())
}

async fn insert(
    tx: &mut Tx,
    mapped: &MappedObject,
    shape: &TableShape,
    kind: &InsertKind<'_>,
    inserts: &[RowWrite<'_>],
    outcomes: &mut BTreeMap<RecordId, RowOutcome>,
) -> Result<(), RowError> {
    let columns = parsed(mapped, kind.columns.iter().copied())?;
    let list: Vec<String> = columns.iter().map(quote::column).collect();
    let list = list.join(", ");
    let external = quote::column(&mapped.sync.external_id.column);
    // If a row with the key has appeared meanwhile, the record is planned again. Any other unique
    // constraint refuses the row. If no index makes the key unique by itself (a partitioned table), Postgres
    // cannot distinguish them, and the second try shows the reason.
    let on_conflict = match (kind.must_insert, shape.external_id_unique) {
        (true, _) => String::new(),
        (false, true) => format!("on conflict ({external}) do nothing"),
        (false, false) => "on conflict do nothing".to_owned(),
    };
    let sql = format!(
        "insert into {table} as target ({list})
        select {list}
        from jsonb_to_recordset($1) as new ({definitions})
        order by new.{external}
        {on_conflict}
        {returning}",
        table = quote::table(&mapped.sync.table),
        definitions = shape.definitions(&mapped.sync.table, &columns)?,
        returning = returning(mapped, "null::uuid"),
    );
    let inserts = one_of_each_key(mapped, inserts, outcomes);
    let rows: Vec<&PlannedPostgres> = inserts.iter().map(|insert| insert.write).collect();
    let returned: Vec<StandingRow> = tx
        .rows_raw(
            "inserting rows",
            sqlx::query_as(AssertSqlSafe(sql)).bind(recordset(&rows)),
        )
        .await?;
    match_inserted(mapped, &inserts, returned, outcomes)?;
    // A taken key would have been refused.
    let missing = match kind.must_insert {
        true => RowOutcome::Suppressed,
        false => RowOutcome::KeyTaken,
    };
    for insert in inserts {
        outcomes
            .entry(insert.record_id)
            .or_insert_with(|| missing.clone());
    }
    Ok(())
}

/// Returns the inserts without those whose key another one has: that of two records, of which one is seen under a name
/// that it does not have any more, only one gets the row. The other is planned again.
fn one_of_each_key<'a>(
    mapped: &MappedObject,
    inserts: &[RowWrite<'a>],
    outcomes: &mut BTreeMap<RecordId, RowOutcome>,
) -> Vec<RowWrite<'a>> {
    let mut keys = BTreeSet::new();
    let (first, others): (Vec<RowWrite<'a>>, Vec<RowWrite<'a>>) = inserts
        .iter()
        .partition(|insert| inserted_key(mapped, insert).is_none_or(|key| keys.insert(key)));
    let taken = others.into_iter().map(|insert| insert.record_id);
    outcomes.extend(taken.map(|record| (record, RowOutcome::KeyTaken)));
    first
}

/// Returns the canonical external id of the row that is inserted.
fn inserted_key(mapped: &MappedObject, insert: &RowWrite<'_>) -> Option<String> {
    let form = key_form(mapped);
    let column = mapped.sync.external_id.column.as_str();
    match insert.write.columns()?.get(column) {
        Some(serde_json::Value::String(text)) => form.canonical(text).ok(),
        Some(serde_json::Value::Number(number)) => form.canonical(&number.to_string()).ok(),
        Some(_) | None => form.canonical(insert.external_id).ok(),
    }
}

/// Assigns each returned row to its record. An insert returns only the row itself, so it is matched by the
/// canonical external id that was inserted: a record that was renamed before its first row has another one than its
/// link.
fn match_inserted(
    mapped: &MappedObject,
    inserts: &[RowWrite<'_>],
    returned: Vec<StandingRow>,
    outcomes: &mut BTreeMap<RecordId, RowOutcome>,
) -> Result<(), RowError> {
    let form = key_form(mapped);
    let mut waiting: BTreeMap<String, RecordId> = inserts
        .iter()
        .filter_map(|insert| Some((inserted_key(mapped, insert)?, insert.record_id)))
        .collect();
    for row in returned {
        let key = row
            .external_id
            .as_deref()
            .and_then(|raw| form.canonical(raw).ok());
        match key.and_then(|key| waiting.remove(&key)) {
            Some(record) => {
                outcomes.insert(record, row.into_outcome());
            }
            None => return Err(RowError::Refused(key_rewritten(mapped))),
        }
    }
    Ok(())
}

/// Returns the refusal for a user's trigger that changed the external id of an inserted row: the next plan
/// would not find the row and would insert another one, again and again.
fn key_rewritten(mapped: &MappedObject) -> RowRefusal {
    let column = mapped.sync.external_id.column.as_str();
    RowRefusal {
        kind: RefusalKind::ConstraintRejected,
        place: Some(column.to_owned()),
        column: Some(column.to_owned()),
        message: format!("a trigger changes {column} of new rows; it must keep the inserted value"),
        key: None,
    }
}

fn parsed<'a>(
    mapped: &MappedObject,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<ColumnName>, StoreError> {
    names
        .into_iter()
        .map(|name| {
            ColumnName::parse(name)
                .map_err(|error| StoreError::Mapping(format!("{}: {error}", mapped.sync.object)))
        })
        .collect()
}

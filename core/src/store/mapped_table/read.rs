//! Reads rows of a mapped table by record, with or without locks.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sqlx::AssertSqlSafe;
use sqlx::types::Json;
use uuid::Uuid;

use crate::model::ids::RecordId;
use crate::model::key::KeyForm;
use crate::ports::record::PostgresRow;
use crate::ports::{MappedObject, StoreError};
use crate::store::error::{RowRefusal, row_refusal};
use crate::store::mapped_table::shape::{
    TableShape, canonical_key, key_form, mapped_columns, picked_json,
};
use crate::store::quote;
use crate::store::tables::link::KnownRecord;
use crate::store::transaction::{Tx, recordset};

/// Names of additional columns, which no mapped column is expected to have.
const RECORD: &str = "\"syncline record\"";

const KEY: &str = "\"syncline key\"";

/// Why rows could not be read or written.
#[derive(Debug)]
pub(crate) enum RowError {
    /// Postgres refused some row of the batch.
    Refused(RowRefusal),
    /// Anything else.
    Store(StoreError),
}

impl From<StoreError> for RowError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<sqlx::Error> for RowError {
    fn from(error: sqlx::Error) -> Self {
        match row_refusal(error) {
            Ok(refusal) => Self::Refused(refusal),
            Err(error) => Self::Store(error),
        }
    }
}

/// The rows of some records.
#[derive(Debug, Default)]
pub(crate) struct FoundRows {
    /// By record.
    pub(crate) rows: BTreeMap<RecordId, Vec<PostgresRow>>,
    /// Records of which another transaction has locked a row.
    pub(crate) locked_elsewhere: BTreeSet<RecordId>,
    /// Records whose row has got or lost their external id by a change that is not captured yet: the row that
    /// has it now may be another record's.
    pub(crate) being_renamed: BTreeSet<RecordId>,
}

/// Whether rows are locked when they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Locking {
    /// Locks rows, except those that another transaction has locked.
    Lock,
    /// Locks no rows.
    Refresh,
}

/// Reads the rows with the records' external ids, in any known spelling, or with their primary keys while
/// they have no external id.
pub(crate) async fn read_rows(
    tx: &mut Tx,
    mapped: &MappedObject,
    shape: &TableShape,
    records: &[&KnownRecord],
    locking: Locking,
) -> Result<FoundRows, RowError> {
    let spellings = spellings(tx, records).await?;
    let by_key = Search::by_key(mapped, shape, &spellings)?;
    let by_local_key = Search::by_local_key(mapped, shape, records, Links::Stored)?;
    let mut found = FoundRows::default();
    let mut existing = FoundRows::default();
    for search in [Some(by_key), by_local_key].into_iter().flatten() {
        add_rows(&mut found, search.run(tx, locking).await?);
        if locking == Locking::Lock {
            add_rows(&mut existing, search.run(tx, Locking::Refresh).await?);
        }
    }
    for (record, rows) in &existing.rows {
        let locked = found.rows.get(record).map_or(0, Vec::len);
        if locked < rows.len() {
            found.locked_elsewhere.insert(*record);
        }
    }
    if locking == Locking::Lock && !spellings.is_empty() {
        found.being_renamed = being_renamed(tx, mapped, &spellings).await?;
    }
    Ok(found)
}

/// Whether the control plane exists, so that links may be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// It exists.
    Stored,
    /// It does not: no record is linked.
    None,
}

/// Reads rows as [`read_rows`] does, without locks, and under other usual spellings of the external ids, too: as long as
/// a row is not captured, how it spells its external id is not known.
pub(crate) async fn read_rows_uncaptured(
    tx: &mut Tx,
    mapped: &MappedObject,
    shape: &TableShape,
    records: &[&KnownRecord],
    links: Links,
) -> Result<FoundRows, RowError> {
    let mut spellings = match links {
        Links::Stored => spellings(tx, records).await?,
        Links::None => Vec::new(),
    };
    let form = key_form(mapped);
    for record in records {
        let record_id = record.link.record_id;
        let usual = usual_spellings(form, &record.link.external_id);
        spellings.extend(usual.map(|key| Spelling { record_id, key }));
    }
    let by_key = Search::by_key(mapped, shape, &spellings)?;
    let by_local_key = Search::by_local_key(mapped, shape, records, links)?;
    let mut found = FoundRows::default();
    for search in [Some(by_key), by_local_key].into_iter().flatten() {
        add_rows(&mut found, search.run(tx, Locking::Refresh).await?);
    }
    Ok(found)
}

/// Returns the external id as it is, without blanks around it, and as it is compared or in capitals if case does not count.
fn usual_spellings(form: KeyForm, external_id: &str) -> impl Iterator<Item = String> {
    let mut spellings = BTreeSet::from([external_id.to_owned(), external_id.trim().to_owned()]);
    spellings.extend(form.canonical(external_id));
    if form == KeyForm::CaseFolded {
        spellings.insert(external_id.trim().to_uppercase());
    }
    spellings.into_iter()
}

/// A spelling of a record's external id.
#[derive(Debug, Serialize)]
struct Spelling {
    #[serde(rename = "syncline record")]
    record_id: RecordId,
    #[serde(rename = "syncline key")]
    key: String,
}

async fn spellings(tx: &mut Tx, records: &[&KnownRecord]) -> Result<Vec<Spelling>, StoreError> {
    let ids: Vec<Uuid> = records
        .iter()
        .map(|record| record.link.record_id.0)
        .collect();
    let aliases: Vec<(Uuid, String)> = tx
        .rows(
            "reading external ids as written",
            sqlx::query_as(
                "select record_id, value
                from syncline.sync_link_alias
                where record_id = any($1)
                and kind = 'external_id'
                and is_current",
            )
            .bind(ids),
        )
        .await?;
    let known = records
        .iter()
        .map(|record| (record.link.record_id, record.link.external_id.clone()));
    let spellings: BTreeSet<(RecordId, String)> = aliases
        .into_iter()
        .map(|(record, value)| (RecordId(record), value))
        .chain(known)
        .collect();
    Ok(spellings
        .into_iter()
        .map(|(record_id, key)| Spelling { record_id, key })
        .collect())
}

#[derive(sqlx::FromRow)]
struct RowRow {
    record_id: Uuid,
    columns: Json<serde_json::Map<String, serde_json::Value>>,
    identity: serde_json::Value,
    external_id: Option<String>,
}

/// One way to find rows.
struct Search {
    sql: String,
    wanted: serde_json::Value,
}

impl Search {
    fn by_key(
        mapped: &MappedObject,
        shape: &TableShape,
        spellings: &[Spelling],
    ) -> Result<Self, StoreError> {
        let column = &mapped.sync.external_id.column;
        let key_type = shape.type_of(&mapped.sync.table, column)?;
        let wanted = format!("{RECORD} uuid, {KEY} {key_type}");
        let condition = format!("target.{} = wanted.{KEY}", quote::column(column));
        Ok(Self {
            sql: select_rows(mapped, shape, &wanted, &condition),
            wanted: serde_json::to_value(spellings).unwrap_or_default(),
        })
    }

    fn by_local_key(
        mapped: &MappedObject,
        shape: &TableShape,
        records: &[&KnownRecord],
        links: Links,
    ) -> Result<Option<Self>, StoreError> {
        let wanted: Vec<serde_json::Value> = records
            .iter()
            .filter_map(|record| local_key_row(shape, record))
            .collect();
        if wanted.is_empty() {
            return Ok(None);
        }
        let keys = shape.definitions(&mapped.sync.table, &shape.primary_key)?;
        let mut condition: Vec<String> = shape
            .primary_key
            .iter()
            .map(quote::column)
            .map(|name| format!("target.{name} = wanted.{name}"))
            .collect();
        if links == Links::Stored {
            condition.push(is_of_no_other(mapped));
        }
        Ok(Some(Self {
            sql: select_rows(
                mapped,
                shape,
                &format!("{RECORD} uuid, {keys}"),
                &condition.join(" and "),
            ),
            wanted: serde_json::Value::Array(wanted),
        }))
    }

    async fn run(&self, tx: &mut Tx, locking: Locking) -> Result<Vec<RowRow>, RowError> {
        let lock = match locking {
            // Excludes other writers of the row, but not inserts of rows that reference it. Skips locked
            // rows: one of them must not delay the others.
            Locking::Lock => "for no key update of target skip locked",
            Locking::Refresh => "",
        };
        let sql = format!("{}\n{lock}", self.sql);
        let rows = tx
            .rows_raw(
                "reading rows",
                sqlx::query_as(AssertSqlSafe(sql)).bind(Json(&self.wanted)),
            )
            .await?;
        Ok(rows)
    }
}

/// Returns the SQL of whether a row that is known by its primary key has no external id of another record: a trigger may
/// have named it before the statement that inserted it was captured.
fn is_of_no_other(mapped: &MappedObject) -> String {
    let external = quote::column(&mapped.sync.external_id.column);
    format!(
        "not exists (
            select
            from syncline.sync_link as other
            where other.tenant = {tenant}
            and other.object = {object}
            and other.canonical_id = {canonical}
            and other.record_id <> wanted.{RECORD}
        )",
        tenant = quote::literal(mapped.tenant.as_str()),
        object = quote::literal(mapped.sync.object.as_str()),
        canonical = canonical_key(mapped, &format!("target.{external}::text")),
    )
}

fn local_key_row(shape: &TableShape, record: &KnownRecord) -> Option<serde_json::Value> {
    let local = record.link.local_key.as_ref()?.as_object()?;
    let complete = shape
        .primary_key
        .iter()
        .all(|column| local.contains_key(column.as_str()));
    if shape.primary_key.is_empty() || !complete {
        return None;
    }
    let mut row = local.clone();
    row.insert(
        "syncline record".to_owned(),
        serde_json::Value::String(record.link.record_id.to_string()),
    );
    Some(serde_json::Value::Object(row))
}

fn select_rows(mapped: &MappedObject, shape: &TableShape, wanted: &str, condition: &str) -> String {
    let external = quote::column(&mapped.sync.external_id.column);
    format!(
        "select
            wanted.{RECORD} as record_id,
            {columns} as columns,
            {identity} as identity,
            target.{external}::text as external_id
        from jsonb_to_recordset($1) as wanted ({wanted})
        join {table} as target on {condition}
        order by target.{external}",
        columns = picked_json("target", &mapped_columns(&mapped.sync)),
        identity = picked_json("target", &shape.identity(&mapped.sync)),
        table = quote::table(&mapped.sync.table),
    )
}

fn add_rows(found: &mut FoundRows, rows: Vec<RowRow>) {
    for row in rows {
        let of_record = found.rows.entry(RecordId(row.record_id)).or_default();
        if of_record.iter().any(|known| known.identity == row.identity) {
            continue;
        }
        of_record.push(PostgresRow {
            external_id: row.external_id.filter(|id| !id.trim().is_empty()),
            columns: row.columns.0,
            identity: row.identity,
        });
    }
}

/// Returns the records whose external id a row got or lost by a change that waits in the outbox. The rename and its
/// outbox row were committed together. So a transaction that finds the row by its new external id, or not by its
/// old one, finds the outbox row, until capture has renamed the record.
async fn being_renamed(
    tx: &mut Tx,
    mapped: &MappedObject,
    spellings: &[Spelling],
) -> Result<BTreeSet<RecordId>, StoreError> {
    let rows: Vec<Uuid> = tx
        .values(
            "looking for renames that wait",
            sqlx::query_scalar(
                "with wanted as materialized (
                    select *
                    from jsonb_to_recordset($1) as wanted (\"syncline record\" uuid, \"syncline key\" text)
                ),
                renamed as materialized (
                    select external_id, old_external_id
                    from syncline.sync_outbox
                    where tenant = $2
                    and object = $3
                    and old_external_id is not null
                )
                select wanted.\"syncline record\"
                from wanted
                join renamed on renamed.old_external_id = wanted.\"syncline key\"
                union
                select wanted.\"syncline record\"
                from wanted
                join renamed on renamed.external_id = wanted.\"syncline key\"",
            )
            .bind(recordset(spellings))
            .bind(mapped.tenant.as_str())
            .bind(mapped.sync.object.as_str()),
        )
        .await?;
    Ok(rows.into_iter().map(RecordId).collect())
}

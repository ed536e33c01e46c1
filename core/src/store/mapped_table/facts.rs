//! Queries of the command line on a mapped table: columns, duplicate keys, rows older than the mapping.

use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;

use crate::ports::operator_store::TableFacts;
use crate::ports::{MappedObject, StoreError};
use crate::store::mapped_table::columns::read_columns;
use crate::store::mapped_table::shape::{
    TableShape, canonical_key, mapped_columns, picked_json, read_shape, read_shape_only,
};
use crate::store::mapped_table::triggers::capture_problems;
use crate::store::quote;
use crate::store::transaction::Tx;

/// An external id of several rows that are equal for Salesforce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DuplicateKey {
    /// The external id in the form in which it is compared.
    pub canonical_id: String,
    /// The external ids of the rows.
    pub external_ids: Vec<String>,
}

/// Most pairs of rows with one key that a check names.
const DUPLICATES_SHOWN_MAX: i64 = 5;

/// Reads what the database knows of a mapped table.
pub(crate) async fn table_facts(
    tx: &mut Tx,
    mapped: &MappedObject,
) -> Result<TableFacts, StoreError> {
    let columns = read_columns(tx, &mapped.sync.table).await?;
    let mut facts = TableFacts {
        columns: columns
            .into_iter()
            .map(|column| (column.name, column.facts))
            .collect(),
        ..TableFacts::default()
    };
    let whole = mapped_columns(&mapped.sync)
        .iter()
        .all(|column| facts.columns.contains_key(*column));
    if whole {
        let shape = read_shape_only(tx, mapped).await?;
        facts.external_id_unique = shape.external_id_unique;
        facts.hidden_rows_fix = shape
            .hidden_rows
            .map(|hidden| hidden.fix(&mapped.sync.table));
        facts.triggers_installed = is_installed(tx, mapped).await?;
    }
    if facts.hidden_rows_fix.is_none()
        && facts.columns.contains_key(&mapped.sync.external_id.column)
    {
        facts.duplicate_keys = duplicates(tx, mapped, DUPLICATES_SHOWN_MAX)
            .await?
            .into_iter()
            .filter_map(|duplicate| {
                let mut written = duplicate.external_ids.into_iter();
                Some((written.next()?, written.next()?))
            })
            .collect();
    }
    Ok(facts)
}

/// Returns whether capture is installed. Without a control plane it is not.
async fn is_installed(tx: &mut Tx, mapped: &MappedObject) -> Result<bool, StoreError> {
    let migrated: Vec<bool> = tx
        .values(
            "looking for the control plane",
            sqlx::query_scalar("select to_regclass('syncline.sync_capture') is not null"),
        )
        .await?;
    if migrated != [true] {
        return Ok(false);
    }
    let problems = capture_problems(tx, std::slice::from_ref(mapped)).await?;
    Ok(problems.is_empty())
}

/// Returns external ids of several rows that are equal for Salesforce.
pub(crate) async fn duplicates(
    tx: &mut Tx,
    mapped: &MappedObject,
    limit: i64,
) -> Result<Vec<DuplicateKey>, StoreError> {
    let written = format!("{}::text", quote::column(&mapped.sync.external_id.column));
    let compared = canonical_key(mapped, "written");
    let sql = format!(
        "select compared, array_agg(written order by written) as external_ids
        from (
            select written, {compared} as compared
            from (select {written} as written from {table}) as given
            where btrim(written) <> ''
        ) as keys
        group by compared
        having count(*) > 1
        order by compared
        limit $1",
        table = quote::table(&mapped.sync.table),
    );
    let rows: Vec<(String, Vec<String>)> = tx
        .rows(
            "looking for duplicate keys",
            sqlx::query_as(AssertSqlSafe(sql)).bind(limit),
        )
        .await?;
    Ok(rows
        .into_iter()
        .map(|(canonical_id, external_ids)| DuplicateKey {
            canonical_id,
            external_ids,
        })
        .collect())
}

/// Puts rows after a place in identity order into the outbox. Returns how many, and the next place.
pub(crate) async fn enqueue_rows(
    tx: &mut Tx,
    mapped: &MappedObject,
    after: Option<&str>,
    limit: usize,
) -> Result<(usize, Option<String>), StoreError> {
    let after: Option<serde_json::Value> = after
        .map(|after| {
            serde_json::from_str(after)
                .map_err(|_| StoreError::Mapping("not a position in a table".to_owned()))
        })
        .transpose()?;
    let shape = read_shape(tx, mapped).await?;
    let sql = enqueue_sql(mapped, &shape, after.is_some())?;
    let places: Vec<serde_json::Value> = tx
        .values(
            "enqueueing existing rows",
            sqlx::query_scalar(AssertSqlSafe(sql))
                .bind(mapped.tenant.as_str())
                .bind(mapped.sync.object.as_str())
                .bind(i64::try_from(limit).unwrap_or(i64::MAX))
                .bind(after),
        )
        .await?;
    let next = if places.len() == limit {
        places.last().map(ToString::to_string)
    } else {
        None
    };
    Ok((places.len(), next))
}

/// Rows in identity order after a place, into the outbox, as if they had just been written.
fn enqueue_sql(
    mapped: &MappedObject,
    shape: &TableShape,
    after: bool,
) -> Result<String, StoreError> {
    let columns = shape.identity(&mapped.sync);
    let names: Vec<String> = columns.iter().map(|column| quote::column(column)).collect();
    let of = |alias: &str| {
        let names: Vec<String> = names.iter().map(|name| format!("{alias}.{name}")).collect();
        names.join(", ")
    };
    let (from, condition) = if after {
        (
            format!(
                "cross join jsonb_to_record($4) as place ({})",
                shape.definitions(&mapped.sync.table, columns.iter().copied())?
            ),
            format!("where ({}) > ({})", of("target"), of("place")),
        )
    } else {
        (String::new(), "where $4::jsonb is null".to_owned())
    };
    let external = quote::column(&mapped.sync.external_id.column);
    let local_key = if shape.primary_key.is_empty() {
        "null::jsonb".to_owned()
    } else {
        "page.place".to_owned()
    };
    Ok(format!(
        "with page as materialized (
            select {identity} as place, nullif(btrim(target.{external}::text), '') is null as keyless,
                target.{external}::text as external_id
            from {table} as target
            {from}
            {condition}
            order by {order}
            limit $3
        ),
        enqueued as (
            insert into syncline.sync_outbox (tenant, object, operation, external_id, local_key, tombstone, changed_at)
            select $1, $2, 'backfill', case when not page.keyless then page.external_id end,
                case when page.keyless then {local_key} end, false, null
            from page
        )
        select place
        from page",
        identity = picked_json("target", &columns),
        table = quote::table(&mapped.sync.table),
        order = of("target"),
    ))
}

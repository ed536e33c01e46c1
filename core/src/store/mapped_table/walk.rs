//! Walks all rows of a mapped table, page by page in the order of their identity.

use serde_json::Value as Json;
use sqlx::AssertSqlSafe;

use crate::ports::plan_store::RowPlace;
use crate::ports::{MappedObject, StoreError};
use crate::store::mapped_table::shape::{TableShape, picked_json, read_shape};
use crate::store::quote;
use crate::store::transaction::Tx;

/// One row of a page.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct WalkedRow {
    /// What identifies it.
    pub(crate) place: Json,
    /// Its external id, unless it is blank.
    pub(crate) external_id: Option<String>,
    /// A change of it waits in the outbox.
    pub(crate) is_captured: bool,
}

/// Reads rows after a place in identity order, with whether a change of each waits in the outbox. Both are seen at
/// one moment: a row without an entry was captured before, or never.
pub(crate) async fn rows_after(
    tx: &mut Tx,
    mapped: &MappedObject,
    shape: &TableShape,
    after: Option<&Json>,
    limit: usize,
) -> Result<Vec<WalkedRow>, StoreError> {
    let page = page_sql(mapped, shape, after.is_some())?;
    let sql = format!(
        "with page as materialized (
            {page}
        ),
        waiting as materialized (
            select external_id, local_key
            from syncline.sync_outbox
            where tenant = $1
            and object = $2
        )
        select
            page.place,
            case when not page.keyless then page.external_id end as external_id,
            coalesce(page.external_id in (select external_id from waiting where external_id is not null), false)
                or coalesce(page.place in (select local_key from waiting where local_key is not null), false)
                as is_captured
        from page"
    );
    tx.rows(
        "reading rows in order",
        sqlx::query_as(AssertSqlSafe(sql))
            .bind(mapped.tenant.as_str())
            .bind(mapped.sync.object.as_str())
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .bind(after),
    )
    .await
}

/// Reads rows after a place in identity order. Needs no control plane.
pub(crate) async fn places_after(
    tx: &mut Tx,
    mapped: &MappedObject,
    shape: &TableShape,
    after: Option<&Json>,
    limit: usize,
) -> Result<Vec<RowPlace>, StoreError> {
    let page = page_sql(mapped, shape, after.is_some())?;
    // The page's SQL has its limit as $3, after tenant and object.
    let sql = format!(
        "select page.place, case when not page.keyless then page.external_id end
        from ({page}) as page
        where $1::text is not null
        and $2::text is not null"
    );
    let rows: Vec<(Json, Option<String>)> = tx
        .rows(
            "reading the places of rows",
            sqlx::query_as(AssertSqlSafe(sql))
                .bind(mapped.tenant.as_str())
                .bind(mapped.sync.object.as_str())
                .bind(i64::try_from(limit).unwrap_or(i64::MAX))
                .bind(after),
        )
        .await?;
    let rows = rows.into_iter();
    Ok(rows
        .map(|(identity, external_id)| RowPlace {
            identity,
            external_id,
        })
        .collect())
}

/// Puts rows after a place in identity order into the outbox, as if they had just been written. Returns how many,
/// and the next place.
pub(crate) async fn enqueue_rows(
    tx: &mut Tx,
    mapped: &MappedObject,
    after: Option<&str>,
    limit: usize,
) -> Result<(usize, Option<String>), StoreError> {
    let after: Option<Json> = after
        .map(|after| {
            serde_json::from_str(after)
                .map_err(|_| StoreError::Mapping("not a position in a table".to_owned()))
        })
        .transpose()?;
    let shape = read_shape(tx, mapped).await?;
    let page = page_sql(mapped, &shape, after.is_some())?;
    let sql = format!(
        "with page as materialized (
            {page}
        ),
        enqueued as (
            {insert}
            from page
        )
        select place
        from page",
        insert = insert_sql(&shape),
    );
    let places: Vec<Json> = tx
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

/// Puts these rows into the outbox, as if they had just been written. Returns how many.
pub(crate) async fn enqueue_places(
    tx: &mut Tx,
    mapped: &MappedObject,
    places: &[Json],
) -> Result<u64, StoreError> {
    let shape = read_shape(tx, mapped).await?;
    let columns = shape.identity(&mapped.sync);
    let condition: Vec<String> = columns
        .iter()
        .map(|column| quote::column(column))
        .map(|name| format!("target.{name} = wanted.{name}"))
        .collect();
    let sql = format!(
        "with page as (
            select {row}
            from jsonb_to_recordset($3) as wanted ({definitions})
            join {table} as target on {condition}
        )
        {insert}
        from page
        order by page.place",
        row = row_sql(mapped, &shape),
        definitions = shape.definitions(&mapped.sync.table, columns.iter().copied())?,
        table = quote::table(&mapped.sync.table),
        condition = condition.join(" and "),
        insert = insert_sql(&shape),
    );
    tx.run(
        "enqueueing rows that were never captured",
        sqlx::query(AssertSqlSafe(sql))
            .bind(mapped.tenant.as_str())
            .bind(mapped.sync.object.as_str())
            .bind(sqlx::types::Json(places)),
    )
    .await
}

/// Selects at most `$3` rows in identity order, after the place `$4`.
fn page_sql(mapped: &MappedObject, shape: &TableShape, after: bool) -> Result<String, StoreError> {
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
    Ok(format!(
        "select {row}
        from {table} as target
        {from}
        {condition}
        order by {order}
        limit $3",
        row = row_sql(mapped, shape),
        table = quote::table(&mapped.sync.table),
        order = of("target"),
    ))
}

/// Returns the SQL of a row's place, and of its external id.
fn row_sql(mapped: &MappedObject, shape: &TableShape) -> String {
    let external = quote::column(&mapped.sync.external_id.column);
    format!(
        "{identity} as place,
            nullif(btrim(target.{external}::text), '') is null as keyless,
            target.{external}::text as external_id",
        identity = picked_json("target", &shape.identity(&mapped.sync)),
    )
}

/// Inserts the rows that follow into the outbox.
fn insert_sql(shape: &TableShape) -> String {
    let local_key = if shape.primary_key.is_empty() {
        "null::jsonb"
    } else {
        "page.place"
    };
    format!(
        "insert into syncline.sync_outbox (tenant, object, operation, external_id, local_key, tombstone, changed_at, entered_at)
        select $1, $2, 'backfill', case when not page.keyless then page.external_id end,
            case when page.keyless then {local_key} end, false, null, syncline.wall_clock()"
    )
}

//! Which table the records of an object belong to.
//!
//! What both sides agreed on was agreed with one table. Another table, empty or restored, says nothing about
//! deletes: before its missing rows count, `install` decides whether it is a new mapping.

use sqlx::AssertSqlSafe;

use crate::planner::policy::delete_guard::{DeleteCounts, exceeded};
use crate::ports::{MappedObject, StoreError};
use crate::store::mapped_table::identity::{TableIdentity, other_table};
use crate::store::mapped_table::shape::{TableShape, canonical_key};
use crate::store::quote;
use crate::store::tables::capture::{Installed, installed, other_tenant};
use crate::store::tables::task::work_for;
use crate::store::transaction::Tx;

/// Fails unless capture was installed on the table that is mapped now: before that, no one has looked whether each
/// side recognises the records of the other, and those of another table would count as deleted.
pub(super) fn require_installed_table(
    mapped: &MappedObject,
    shape: &TableShape,
    before: Option<&Installed>,
) -> Result<(), StoreError> {
    let table = &mapped.sync.table;
    let problem = match before {
        None => Some(
            "has no capture yet, so nothing is written: records that the other side has, too, would be created twice"
                .to_owned(),
        ),
        Some(before) => other_table(mapped, shape, before).map(|problem| {
            format!("{problem}, so nothing is written: rows that are missing from it would count as deleted")
        }),
    };
    match problem {
        None => Ok(()),
        Some(problem) => Err(StoreError::Mapping(format!(
            "table {}.{} of {} {problem}. Run `syncline install`",
            table.schema, table.table, mapped.sync.object
        ))),
    }
}

/// Takes the table that is mapped now as the object's own. If it is another one than before, what both
/// sides agreed on is forgotten: rows that it lacks are created, none is deleted.
///
/// Fails if another tenant captures the table, or if the table was recreated or has lost partitions and lacks
/// more rows than may be deleted in an hour, unless `new_table`.
pub(super) async fn adopt_table(
    tx: &mut Tx,
    mapped: &MappedObject,
    shape: &TableShape,
    new_table: bool,
) -> Result<(), StoreError> {
    let table = &mapped.sync.table;
    if let Some(other) = other_tenant(tx, mapped, shape.oid).await? {
        return Err(StoreError::Mapping(format!(
            "table {}.{} is captured for tenant {other}; a table belongs to one tenant. Map another table, or \
             take it from {other} first",
            table.schema, table.table
        )));
    }
    let before = installed(tx, mapped).await?;
    match TableIdentity::of(before.as_ref(), mapped, shape) {
        TableIdentity::Renamed => forget_agreements(tx, mapped).await,
        _ if new_table => forget_agreements(tx, mapped).await,
        TableIdentity::First | TableIdentity::Same => Ok(()),
        TableIdentity::Rebuilt => require_rows(tx, mapped, "was recreated").await,
        TableIdentity::LostPartitions => require_rows(tx, mapped, "has lost a partition").await,
    }
}

/// Fails if more records lack their row than the delete guard lets pass.
async fn require_rows(tx: &mut Tx, mapped: &MappedObject, what: &str) -> Result<(), StoreError> {
    let table = &mapped.sync.table;
    let external = quote::column(&mapped.sync.external_id.column);
    let sql = format!(
        "select count(*), count(*) filter (where not exists (
            select
            from {table} as target
            where {row_key} = {record_key}
        ))
        from syncline.sync_link as link
        where link.tenant = $1
        and link.object = $2
        and link.agreed",
        table = quote::table(table),
        row_key = canonical_key(mapped, &format!("target.{external}::text")),
        record_key = canonical_key(mapped, "link.external_id"),
    );
    let counts: Option<(i64, i64)> = tx
        .row(
            "counting records without a row",
            sqlx::query_as(AssertSqlSafe(sql))
                .bind(mapped.tenant.as_str())
                .bind(mapped.sync.object.as_str()),
        )
        .await?;
    let (records, missing) = counts.unwrap_or_default();
    let lost = DeleteCounts {
        in_hour: missing,
        in_day: missing,
        records,
    };
    if exceeded(&mapped.sync.deletes, lost).is_none() {
        return Ok(());
    }
    let object = &mapped.sync.object;
    Err(StoreError::Mapping(format!(
        "table {}.{} {what} and lacks the rows of {missing} of {records} records of {object}. Restore \
         the rows and run `syncline install` again; or create them from Salesforce with \
         `syncline install --new-table {object}`",
        table.schema, table.table
    )))
}

/// Makes every record of the object one that both sides have never agreed on, and gives it work.
async fn forget_agreements(tx: &mut Tx, mapped: &MappedObject) -> Result<(), StoreError> {
    tx.run(
        "forgetting what was agreed with another table",
        sqlx::query(work_for(
            "update syncline.sync_link
            set base = '{}',
                agreed = false,
                automation_overrides = '{}',
                postgres_presence = 'unseen',
                postgres_changed_at = null,
                postgres_edited = '{}',
                local_key = null,
                key_conflict = false,
                version = version + 1,
                updated_at = syncline.clock()
            where tenant = $1
            and object = $2
            returning record_id, false as needs_refresh",
        ))
        .bind(mapped.tenant.as_str())
        .bind(mapped.sync.object.as_str()),
    )
    .await?;
    Ok(())
}

//! Which table the records of an object belong to.
//!
//! What both sides agreed on was agreed with one table. Another table, empty or restored, says nothing about
//! deletes: before its missing rows count, `install` decides whether it is a new mapping.

use sqlx::AssertSqlSafe;

use crate::planner::policy::delete_guard::{DeleteCounts, exceeded};
use crate::ports::{MappedObject, StoreError};
use crate::store::mapped_table::shape::TableShape;
use crate::store::quote;
use crate::store::tables::capture::{Installed, installed, other_tenant};
use crate::store::transaction::Tx;

/// How the mapped table stands to the one that capture was installed on.
#[derive(Debug, PartialEq, Eq)]
enum TableIdentity {
    /// The same, or the first.
    Same,
    /// The mapping names another table.
    Renamed,
    /// The table of that name was made anew: restored, rebuilt, swapped.
    Rebuilt,
}

impl TableIdentity {
    fn of(installed: Option<&Installed>, mapped: &MappedObject, shape: &TableShape) -> Self {
        let table = &mapped.sync.table;
        match installed {
            None => Self::Same,
            Some(before) if before.oid == shape.oid => Self::Same,
            Some(before)
                if before.schema == table.schema.as_str()
                    && before.table == table.table.as_str() =>
            {
                Self::Rebuilt
            }
            Some(_) => Self::Renamed,
        }
    }
}

/// Fails if the object's records were agreed on with another table than the one that is mapped now.
pub(super) async fn require_installed_table(
    tx: &mut Tx,
    mapped: &MappedObject,
    shape: &TableShape,
) -> Result<(), StoreError> {
    let before = installed(tx, mapped).await?;
    let table = &mapped.sync.table;
    let problem = match TableIdentity::of(before.as_ref(), mapped, shape) {
        TableIdentity::Same => return Ok(()),
        TableIdentity::Renamed => "is not the table that capture is installed on",
        TableIdentity::Rebuilt => "was made anew since capture was installed on it",
    };
    Err(StoreError::Mapping(format!(
        "table {}.{} of {} {problem}, so nothing is written: rows that it lacks would count as deleted. Run \
         `syncline install`",
        table.schema, table.table, mapped.sync.object
    )))
}

/// Takes the table that is mapped now as the object's own. If it is another one than before, what both
/// sides agreed on is forgotten: rows that it lacks are created, none is deleted.
///
/// Fails if another tenant captures the table, or if the table was made anew and lacks more rows than may
/// be deleted in an hour, unless `new_table`.
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
        TableIdentity::Same if !new_table => Ok(()),
        TableIdentity::Same | TableIdentity::Renamed => forget_agreements(tx, mapped).await,
        TableIdentity::Rebuilt if new_table => forget_agreements(tx, mapped).await,
        TableIdentity::Rebuilt => require_rows(tx, mapped).await,
    }
}

/// Fails if more records lack their row than the delete guard lets pass.
async fn require_rows(tx: &mut Tx, mapped: &MappedObject) -> Result<(), StoreError> {
    let table = &mapped.sync.table;
    let sql = format!(
        "select count(*), count(*) filter (where not exists (
            select
            from {table} as target
            where target.{external}::text = link.external_id
        ))
        from syncline.sync_link as link
        where link.tenant = $1
        and link.object = $2
        and link.agreed",
        table = quote::table(table),
        external = quote::column(&mapped.sync.external_id.column),
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
        "table {}.{} was made anew and lacks the rows of {missing} of {records} records of {object}. Restore \
         the rows and run `syncline install` again; or create them from Salesforce with \
         `syncline install --new-table {object}`",
        table.schema, table.table
    )))
}

/// Makes every record of the object one that both sides have never agreed on, and gives it work.
async fn forget_agreements(tx: &mut Tx, mapped: &MappedObject) -> Result<(), StoreError> {
    tx.run(
        "forgetting what was agreed with another table",
        sqlx::query(
            "with forgotten as (
                update syncline.sync_link
                set base = '{}',
                    agreed = false,
                    automation_overrides = '{}',
                    postgres_presence = 'unseen',
                    postgres_changed_at = null,
                    local_key = null,
                    key_conflict = false,
                    version = version + 1,
                    updated_at = syncline.clock()
                where tenant = $1
                and object = $2
                returning record_id, tenant, object
            )
            insert into syncline.sync_task as task (record_id, tenant, object)
            select record_id, tenant, object
            from forgotten
            order by record_id
            -- One task per record: the other table is a new generation of it.
            on conflict (record_id) do update
            set generation = task.generation + 1,
                state = case when task.state = 'leased' then 'leased' else 'ready' end,
                due_at = least(task.due_at, syncline.clock()),
                updated_at = syncline.clock()",
        )
        .bind(mapped.tenant.as_str())
        .bind(mapped.sync.object.as_str()),
    )
    .await?;
    Ok(())
}

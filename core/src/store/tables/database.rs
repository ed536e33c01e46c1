//! The database that a tenant's records belong to.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use sqlx::types::Json;

use crate::model::ids::TenantId;
use crate::ports::StoreError;
use crate::ports::database::{DatabaseIdentity, DatabaseState};
use crate::store::error::corrupt;
use crate::store::transaction::Tx;

/// Two columns of a query: what is known of the tenant `$1`, and the connected database at the endpoint `$2`.
pub(crate) const KNOWN_AND_FOUND: &str = "(
        select to_jsonb(known)
        from syncline.sync_database as known
        where known.tenant = $1
    ) as known_database,
    (
        select to_jsonb(here) || jsonb_build_object('endpoint', $2::text)
        from syncline.this_database() as here
    ) as found_database";

/// The columns of [`KNOWN_AND_FOUND`].
#[derive(sqlx::FromRow)]
pub(crate) struct DatabaseColumns {
    known_database: Option<Json<KnownDatabase>>,
    found_database: Json<DatabaseIdentity>,
}

#[derive(Deserialize)]
struct KnownDatabase {
    #[serde(flatten)]
    identity: DatabaseIdentity,
    copy_since: Option<DateTime<Utc>>,
}

impl DatabaseColumns {
    /// Returns how the connected database stands to the tenant's.
    pub(crate) fn state(self) -> DatabaseState {
        let Some(Json(known)) = self.known_database else {
            return DatabaseState::New;
        };
        let Json(found) = self.found_database;
        if !known.identity.differences(&found).is_empty() {
            return DatabaseState::Changed {
                known: known.identity,
                found,
            };
        }
        match known.copy_since {
            Some(since) => DatabaseState::Copy { since },
            None => DatabaseState::Known,
        }
    }
}

/// Returns how the connected database stands to the tenant's.
pub(crate) async fn database_state(
    tx: &mut Tx,
    tenant: &TenantId,
    endpoint: &str,
) -> Result<(DatabaseState, DatabaseIdentity), StoreError> {
    let columns: Option<DatabaseColumns> = tx
        .row(
            "looking which database this is",
            sqlx::query_as(sqlx::AssertSqlSafe(format!("select {KNOWN_AND_FOUND}")))
                .bind(tenant.as_str())
                .bind(endpoint),
        )
        .await?;
    let columns = columns.ok_or_else(|| corrupt("a database without an identity"))?;
    let found = columns.found_database.0.clone();
    Ok((columns.state(), found))
}

/// Returns whether the control plane is in the database: before the first migration nothing is known.
pub(crate) async fn has_control_plane(tx: &mut Tx) -> Result<bool, StoreError> {
    let found: Vec<bool> = tx
        .values(
            "looking for the control plane",
            sqlx::query_scalar("select to_regclass('syncline.sync_database') is not null"),
        )
        .await?;
    Ok(found == [true])
}

/// Makes the connected database the tenant's, unless it has one.
pub(crate) async fn remember_database(
    tx: &mut Tx,
    tenant: &TenantId,
    endpoint: &str,
) -> Result<(), StoreError> {
    tx.run(
        "remembering which database this is",
        sqlx::query(
            "insert into syncline.sync_database (tenant, system_identifier, database_oid, database_name, endpoint)
            select $1, here.system_identifier, here.database_oid, here.database_name, $2
            from syncline.this_database() as here
            -- Only a person replaces a database that is known.
            on conflict (tenant) do nothing",
        )
        .bind(tenant.as_str())
        .bind(endpoint),
    )
    .await?;
    Ok(())
}

/// Replaces the tenant's database by the connected one, as its own or as a copy.
pub(crate) async fn replace_database(
    tx: &mut Tx,
    tenant: &TenantId,
    endpoint: &str,
    is_copy: bool,
) -> Result<(), StoreError> {
    tx.run(
        "replacing the known database",
        sqlx::query(
            "insert into syncline.sync_database as known
                (tenant, system_identifier, database_oid, database_name, endpoint, copy_since)
            select $1, here.system_identifier, here.database_oid, here.database_name, $2,
                case when $3 then syncline.clock() end
            from syncline.this_database() as here
            -- A person has decided.
            on conflict (tenant) do update
            set system_identifier = excluded.system_identifier,
                database_oid = excluded.database_oid,
                database_name = excluded.database_name,
                endpoint = excluded.endpoint,
                copy_since = excluded.copy_since,
                known_since = syncline.clock()",
        )
        .bind(tenant.as_str())
        .bind(endpoint)
        .bind(is_copy),
    )
    .await?;
    Ok(())
}

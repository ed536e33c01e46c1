//! The database that a tenant's records belong to.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use sqlx::types::Json;

use crate::model::ids::TenantId;
use crate::ports::StoreError;
use crate::ports::database::{DatabaseIdentity, DatabaseState, FoundDatabase};
use crate::ports::fence::{FenceClaim, FenceMove};
use crate::store::error::corrupt;
use crate::store::transaction::{Tx, interval};

/// Two columns of a query: what is known of the tenant `$1`, and the connected database at the endpoint `$2`.
pub(crate) const KNOWN_AND_FOUND: &str = "(
        select to_jsonb(known) || jsonb_build_object(
            'fence_age_ms', (extract(epoch from syncline.wall_clock() - known.fence_moved_at) * 1000)::bigint
        )
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

/// Most values of the fence whose fate is unknown: each needs a lost answer, and after fifteen minutes of those nothing
/// else happens.
const FENCE_VALUES_MAX: i32 = 100;

#[derive(Deserialize)]
struct KnownDatabase {
    #[serde(flatten)]
    identity: DatabaseIdentity,
    copy_since: Option<DateTime<Utc>>,
    fence_lost_at: Option<DateTime<Utc>>,
    fence_lost_to: Option<String>,
    fence_age_ms: Option<i64>,
    fence_problem: Option<String>,
}

impl DatabaseColumns {
    /// Returns how long ago this database moved the fence, in milliseconds.
    pub(crate) fn fence_age_ms(&self) -> Option<i64> {
        self.known_database.as_ref()?.0.fence_age_ms
    }

    /// Returns why the fence cannot be used, if it cannot.
    fn fence_problem(&self) -> Option<String> {
        self.known_database.as_ref()?.0.fence_problem.clone()
    }

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
        match (known.copy_since, known.fence_lost_at) {
            (Some(since), _) => DatabaseState::Copy { since },
            (None, Some(since)) => DatabaseState::Fenced {
                since,
                by: known.fence_lost_to,
            },
            (None, None) => DatabaseState::Known,
        }
    }
}

/// Returns how the connected database stands to the tenant's.
pub(crate) async fn database_state(
    tx: &mut Tx,
    tenant: &TenantId,
    endpoint: &str,
) -> Result<FoundDatabase, StoreError> {
    let columns: Option<DatabaseColumns> = tx
        .row(
            "looking which database this is",
            sqlx::query_as(sqlx::AssertSqlSafe(format!("select {KNOWN_AND_FOUND}")))
                .bind(tenant.as_str())
                .bind(endpoint),
        )
        .await?;
    let columns = columns.ok_or_else(|| corrupt("a database without an identity"))?;
    Ok(FoundDatabase {
        subscriptions: outbox_subscriptions(tx).await?,
        identity: columns.found_database.0.clone(),
        fence_problem: columns.fence_problem(),
        state: columns.state(),
    })
}

/// Returns the subscriptions that replicate the outbox of another database into this one, see
/// `syncline.outbox_is_replicated`. A disabled one counts, too.
async fn outbox_subscriptions(tx: &mut Tx) -> Result<Vec<String>, StoreError> {
    tx.values(
        "looking for subscriptions to the outbox",
        sqlx::query_scalar(
            "select distinct subscription.subname::text
            from pg_subscription_rel as replicated
            -- The view is open to every role, unlike the table of subscriptions.
            join pg_stat_subscription as subscription on subscription.subid = replicated.srsubid
            where replicated.srrelid = to_regclass('syncline.sync_outbox')
            order by 1",
        ),
    )
    .await
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
                known_since = syncline.clock(),
                fence_claimed_at = null,
                fence_moved_at = null,
                fence_problem = null,
                fence_lost_at = null,
                fence_lost_to = null,
                fence_takes_over = true",
        )
        .bind(tenant.as_str())
        .bind(endpoint)
        .bind(is_copy),
    )
    .await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct ClaimRow {
    next: String,
    known: Vec<String>,
    takes_over: bool,
}

/// Claims the right to move the fence. The new value names this database, for a person who finds it.
pub(crate) async fn claim_fence(
    tx: &mut Tx,
    tenant: &TenantId,
    id: &str,
    every_ms: i64,
) -> Result<Option<FenceClaim>, StoreError> {
    let row: Option<ClaimRow> = tx
        .row(
            "claiming the fence",
            sqlx::query_as(
                "with known as materialized (
                    select tenant, fence_known, $2 || ' ' || endpoint as next
                    from syncline.sync_database
                    where tenant = $1
                    and (fence_claimed_at is null or fence_claimed_at <= syncline.wall_clock() - $3)
                    -- One process moves the fence at a time; the others do not wait for it.
                    for update skip locked
                )
                update syncline.sync_database as claimed
                set fence_known = known.fence_known[greatest(1, cardinality(known.fence_known) - $4):] || known.next,
                    fence_claimed_at = syncline.wall_clock()
                from known
                where claimed.tenant = known.tenant
                returning known.next, known.fence_known as known, claimed.fence_takes_over as takes_over",
            )
            .bind(tenant.as_str())
            .bind(id)
            .bind(interval(every_ms))
            .bind(FENCE_VALUES_MAX),
        )
        .await?;
    Ok(row.map(|row| FenceClaim {
        next: row.next,
        known: row.known,
        takes_over: row.takes_over,
    }))
}

/// Records what became of the fence, unless another process has settled it since.
pub(crate) async fn settle_fence(
    tx: &mut Tx,
    tenant: &TenantId,
    claim: &FenceClaim,
    moved: &FenceMove,
) -> Result<(), StoreError> {
    let (outcome, found, problem) = match moved {
        FenceMove::Moved => ("moved", None, None),
        FenceMove::Lost { found } => ("lost", found.as_deref(), None),
        FenceMove::Unread { reason } => ("unread", None, Some(reason.as_str())),
        FenceMove::Unknown { reason } => ("unknown", None, Some(reason.as_str())),
    };
    tx.run(
        "recording the fence",
        sqlx::query(
            "update syncline.sync_database
            set fence_known = case $3
                    when 'moved' then array[$2]
                    when 'unread' then array_remove(fence_known, $2)
                    else fence_known
                end,
                fence_moved_at = case when $3 = 'moved' then syncline.wall_clock() else fence_moved_at end,
                fence_takes_over = fence_takes_over and $3 <> 'moved',
                fence_lost_at = case when $3 = 'lost' then syncline.clock() else fence_lost_at end,
                -- The id in front of the endpoint says nothing to a person.
                fence_lost_to = case when $3 = 'lost' then substring($4 from ' (.*)$') else fence_lost_to end,
                fence_problem = $5
            where tenant = $1
            and $2 = any(fence_known)",
        )
        .bind(tenant.as_str())
        .bind(&claim.next)
        .bind(outcome)
        .bind(found)
        .bind(problem),
    )
    .await?;
    Ok(())
}

//! Dead letters: what stopped, why, and how it goes on.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::PgStore;
use super::records::corrupt;
use super::transaction::{Tx, recordset};
use crate::engine::ports::StoreError;
use crate::model::ids::{FieldName, ObjectName, RecordId, TenantId};

/// What stopped, with its reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its number.
    pub dead_letter_id: i64,
    /// The tenant.
    pub tenant: TenantId,
    /// The object, as it was named: a refused outbox row may name none.
    pub object: String,
    /// The record, where it got that far.
    pub record_id: Option<RecordId>,
    /// The record's external id, where it is known.
    pub external_id: Option<String>,
    /// `outbox`, `observation` or `task`: what stopped.
    pub origin: String,
    /// A stable word.
    pub code: String,
    /// The field to blame, where there is one.
    pub field: Option<FieldName>,
    /// What to do about it. May quote values.
    pub message: String,
    /// The change as it was found.
    pub payload: Option<serde_json::Value>,
    /// How often it was tried.
    pub attempts: i32,
    /// When it stopped.
    pub created_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct DeadLetterRow {
    dead_letter_id: i64,
    tenant: String,
    object: String,
    record_id: Option<Uuid>,
    external_id: Option<String>,
    origin: String,
    code: String,
    field: Option<String>,
    message: String,
    payload: Option<serde_json::Value>,
    attempts: i32,
    created_at: DateTime<Utc>,
}

impl PgStore {
    /// Returns the tenant's open dead letters, oldest first, of one object or of all.
    pub async fn dead_letters(
        &self,
        tenant: &TenantId,
        object: Option<&ObjectName>,
        limit: i64,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let mut tx = self.begin().await?;
        let rows: Vec<DeadLetterRow> = tx
            .rows(
                "listing dead letters",
                sqlx::query_as(
                    "select letter.*, link.external_id
                    from syncline.sync_dead_letter as letter
                    left join syncline.sync_link as link on link.record_id = letter.record_id
                    where letter.tenant = $1
                    and ($2::text is null or letter.object = $2)
                    and letter.closed_at is null
                    order by letter.dead_letter_id
                    limit $3",
                )
                .bind(tenant.as_str())
                .bind(object.map(ObjectName::as_str))
                .bind(limit),
            )
            .await?;
        tx.rollback().await?;
        rows.into_iter().map(DeadLetter::try_from).collect()
    }

    /// Tries again what stopped: a task is ready with its attempts forgotten, a refused outbox row goes
    /// back into the outbox. Returns false if there is no such open dead letter of this tenant.
    pub async fn replay_dead_letter(
        &self,
        tenant: &TenantId,
        dead_letter_id: i64,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let replayed: Vec<i64> = tx
            .values(
                "replaying a dead letter",
                sqlx::query_scalar(REPLAY)
                    .bind(tenant.as_str())
                    .bind(dead_letter_id),
            )
            .await?;
        tx.commit().await?;
        Ok(!replayed.is_empty())
    }
}

/// Closes the letter and does what its origin asks for.
const REPLAY: &str = "with letter as (
        -- Closing it is the claim: of two who replay it, one finds it open.
        update syncline.sync_dead_letter
        set closed_at = now(),
            outcome = 'replayed'
        where tenant = $1
        and dead_letter_id = $2
        and closed_at is null
        returning *
    ),
    task as (
        insert into syncline.sync_task as task (record_id, tenant, object, needs_refresh)
        select link.record_id, link.tenant, link.object, true
        from letter
        join syncline.sync_link as link on link.record_id = letter.record_id
        -- The parked task itself, ready again.
        on conflict (record_id) do update
        set state = case when task.state = 'leased' then 'leased' else 'ready' end,
            generation = task.generation + 1,
            attempts = 0,
            due_at = now(),
            needs_refresh = true,
            code = null,
            reason = null
    ),
    requeued as (
        insert into syncline.sync_outbox (
            tenant, object, operation, external_id, old_external_id, local_key, changed, tombstone, cursor, xid, changed_at
        )
        select
            source.tenant, source.object, source.operation, source.external_id, source.old_external_id,
            source.local_key, source.changed, source.tombstone, source.cursor, source.xid, source.changed_at
        from letter
        cross join lateral jsonb_to_record(letter.payload) as source (
            tenant text, object text, operation text, external_id text, old_external_id text, local_key jsonb,
            changed jsonb, tombstone boolean, cursor text, xid bigint, changed_at timestamptz
        )
        where letter.origin = 'outbox'
    )
    select dead_letter_id
    from letter";

impl TryFrom<DeadLetterRow> for DeadLetter {
    type Error = StoreError;

    fn try_from(row: DeadLetterRow) -> Result<Self, StoreError> {
        Ok(Self {
            dead_letter_id: row.dead_letter_id,
            tenant: TenantId::parse(&row.tenant).map_err(corrupt)?,
            object: row.object,
            record_id: row.record_id.map(RecordId),
            external_id: row.external_id,
            origin: row.origin,
            code: row.code,
            field: row
                .field
                .map(|field| FieldName::parse(&field))
                .transpose()
                .map_err(corrupt)?,
            message: row.message,
            payload: row.payload,
            attempts: row.attempts,
            created_at: row.created_at,
        })
    }
}

/// A dead letter to write.
#[derive(Debug, Clone, Serialize)]
pub(super) struct NewDeadLetter {
    pub(super) tenant: String,
    pub(super) object: String,
    pub(super) record_id: Option<RecordId>,
    pub(super) origin: &'static str,
    pub(super) code: String,
    pub(super) field: Option<String>,
    pub(super) message: String,
    pub(super) payload: Option<serde_json::Value>,
    pub(super) attempts: i32,
}

/// Writes dead letters.
pub(super) async fn insert_dead_letters(
    tx: &mut Tx,
    dead_letters: &[NewDeadLetter],
) -> Result<(), StoreError> {
    if dead_letters.is_empty() {
        return Ok(());
    }
    tx.run(
        "writing dead letters",
        sqlx::query(
            "insert into syncline.sync_dead_letter (
                tenant, object, record_id, origin, code, field, message, payload, attempts
            )
            select tenant, object, record_id, origin, code, field, message, payload, attempts
            from jsonb_to_recordset($1) as letter (
                tenant text, object text, record_id uuid, origin text, code text, field text,
                message text, payload jsonb, attempts integer
            )",
        )
        .bind(recordset(dead_letters)),
    )
    .await?;
    Ok(())
}

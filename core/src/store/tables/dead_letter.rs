//! Dead letters: stopped changes and records, with their reasons.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::ids::{FieldName, RecordId, TenantId};
use crate::ports::StoreError;
use crate::store::error::corrupt;
use crate::store::transaction::{Tx, recordset};

/// A change or record that stopped, with its reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its number.
    pub dead_letter_id: i64,
    /// The tenant.
    pub tenant: TenantId,
    /// The object as written in the change; empty if a refused outbox row does not name one.
    pub object: String,
    /// The record, if it is known.
    pub record_id: Option<RecordId>,
    /// The record's external id, if it is known.
    pub external_id: Option<String>,
    /// The kind of what stopped: `outbox`, `observation` or `task`.
    pub origin: String,
    /// A stable code.
    pub code: String,
    /// The field that caused it, if there is one.
    pub field: Option<FieldName>,
    /// What was refused, and why. May quote values of mapped columns.
    pub message: String,
    /// The original change.
    pub payload: Option<serde_json::Value>,
    /// How often it was tried.
    pub attempts: i32,
    /// When it stopped.
    pub created_at: DateTime<Utc>,
}

/// A row of `sync_dead_letter`, with the external id of its record.
#[derive(sqlx::FromRow)]
pub(crate) struct DeadLetterRow {
    pub(crate) dead_letter_id: i64,
    pub(crate) tenant: String,
    pub(crate) object: String,
    pub(crate) record_id: Option<Uuid>,
    pub(crate) external_id: Option<String>,
    pub(crate) origin: String,
    pub(crate) code: String,
    pub(crate) field: Option<String>,
    pub(crate) message: String,
    pub(crate) payload: Option<serde_json::Value>,
    pub(crate) attempts: i32,
    pub(crate) created_at: DateTime<Utc>,
}

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
pub(crate) struct NewDeadLetter {
    pub(crate) tenant: String,
    pub(crate) object: String,
    pub(crate) record_id: Option<RecordId>,
    pub(crate) origin: &'static str,
    pub(crate) code: String,
    pub(crate) field: Option<String>,
    pub(crate) message: String,
    pub(crate) payload: Option<serde_json::Value>,
    pub(crate) attempts: i32,
}

/// Writes dead letters.
pub(crate) async fn insert_dead_letters(
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

/// Closes the open dead letters of these records' tasks.
pub(crate) async fn close_dead_letters_of(
    tx: &mut Tx,
    records: &[Uuid],
    outcome: &str,
) -> Result<(), StoreError> {
    tx.run(
        "closing dead letters",
        sqlx::query(
            "update syncline.sync_dead_letter
            set closed_at = syncline.clock(),
                outcome = $2
            where record_id = any($1)
            and origin = 'task'
            and closed_at is null",
        )
        .bind(records)
        .bind(outcome),
    )
    .await?;
    Ok(())
}

/// Closes the dead letter, and makes its task ready or returns its row to the outbox.
pub(crate) const REPLAY: &str = "with letter as (
        -- Closing it is the claim: of two who replay it, one finds it open.
        update syncline.sync_dead_letter
        set closed_at = syncline.clock(),
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
            attempts = '{}',
            due_at = syncline.clock(),
            needs_refresh = true,
            code = null,
            reason = null
    ),
    requeued as (
        insert into syncline.sync_outbox (
            tenant, object, operation, external_id, old_external_id, local_key, changed_columns, changed, tombstone,
            cursor, changed_at, nested, entered_at
        )
        select
            source.tenant, source.object, source.operation, source.external_id, source.old_external_id,
            source.local_key, source.changed_columns, source.changed, source.tombstone, source.cursor,
            source.changed_at, source.nested,
            syncline.wall_clock()
        from letter
        cross join lateral jsonb_to_record(letter.payload) as source (
            tenant text, object text, operation text, external_id text, old_external_id text, local_key jsonb,
            changed_columns text[], changed jsonb, tombstone boolean, cursor text, changed_at timestamptz,
            nested boolean
        )
        where letter.origin = 'outbox'
    )
    select dead_letter_id
    from letter";

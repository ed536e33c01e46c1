//! The journal: evidence of what was observed and decided, never the plan's input.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::ids::{ObjectName, RecordId};
use crate::ports::StoreError;
use crate::store::error::corrupt;
use crate::store::transaction::{Tx, recordset};

/// Least retention of the journal, in days.
const JOURNAL_DAYS: i32 = 14;

/// Days after which the journal is dropped even if a change is not settled.
pub(crate) const JOURNAL_DAYS_MAX: i32 = 60;

/// One line of the journal.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct JournalLine {
    /// The tenant.
    pub(crate) tenant: String,
    /// The object.
    pub(crate) object: String,
    /// The record, where it is known.
    pub(crate) record_id: Option<RecordId>,
    /// `postgres`, `salesforce`, `decision` or `settlement`.
    pub(crate) source: &'static str,
    /// What happened.
    pub(crate) operation: String,
    /// The external id it named.
    pub(crate) external_id: Option<String>,
    /// The Salesforce id it named.
    pub(crate) salesforce_id: Option<String>,
    /// The stream it came by.
    pub(crate) stream: Option<String>,
    /// Its place there.
    pub(crate) cursor: Option<String>,
    /// The org epoch it was seen in.
    pub(crate) org_epoch: Option<i64>,
    /// What it carried.
    pub(crate) payload: Option<serde_json::Value>,
    /// What became of it.
    pub(crate) status: Option<String>,
    /// When the source says it happened, milliseconds since the epoch.
    pub(crate) observed_at_ms: Option<i64>,
    /// The configuration it was seen or decided under.
    pub(crate) config_hash: Option<String>,
}

/// Appends to the journal.
pub(crate) async fn write_journal(tx: &mut Tx, lines: &[JournalLine]) -> Result<(), StoreError> {
    if lines.is_empty() {
        return Ok(());
    }
    tx.run(
        "writing the journal",
        sqlx::query(
            "insert into syncline.sync_journal (
                tenant, object, record_id, source, operation, external_id, salesforce_id, stream, cursor,
                org_epoch, payload, status, observed_at, config_hash
            )
            select
                tenant, object, record_id, source, operation, external_id, salesforce_id, stream, cursor,
                org_epoch, payload, status, to_timestamp(observed_at_ms / 1000.0), config_hash
            from jsonb_to_recordset($1) as line (
                tenant text, object text, record_id uuid, source text, operation text, external_id text,
                salesforce_id text, stream text, cursor text, org_epoch bigint, payload jsonb,
                status text, observed_at_ms bigint, config_hash text
            )",
        )
        .bind(recordset(lines)),
    )
    .await?;
    Ok(())
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Its id.
    pub journal_id: i64,
    /// When it was written.
    pub journaled_at: DateTime<Utc>,
    /// The object.
    pub object: ObjectName,
    /// The record, where it is known.
    pub record_id: Option<RecordId>,
    /// `postgres`, `salesforce`, `decision` or `settlement`.
    pub source: String,
    /// What happened.
    pub operation: String,
    /// The external id it named.
    pub external_id: Option<String>,
    /// The Salesforce id it named.
    pub salesforce_id: Option<String>,
    /// The stream it came by.
    pub stream: Option<String>,
    /// Its place there.
    pub cursor: Option<String>,
    /// What it carried: the changed values, or the plan.
    pub payload: Option<serde_json::Value>,
    /// What became of it.
    pub status: Option<String>,
    /// When it happened, by the source.
    pub observed_at: Option<DateTime<Utc>>,
    /// The configuration it was seen or decided under.
    pub config_hash: Option<String>,
}

/// A row of `sync_journal`.
#[derive(sqlx::FromRow)]
pub(crate) struct EntryRow {
    pub(crate) journal_id: i64,
    pub(crate) journaled_at: DateTime<Utc>,
    pub(crate) object: String,
    pub(crate) record_id: Option<Uuid>,
    pub(crate) source: String,
    pub(crate) operation: String,
    pub(crate) external_id: Option<String>,
    pub(crate) salesforce_id: Option<String>,
    pub(crate) stream: Option<String>,
    pub(crate) cursor: Option<String>,
    pub(crate) payload: Option<serde_json::Value>,
    pub(crate) status: Option<String>,
    pub(crate) observed_at: Option<DateTime<Utc>>,
    pub(crate) config_hash: Option<String>,
}

impl TryFrom<EntryRow> for JournalEntry {
    type Error = StoreError;

    fn try_from(row: EntryRow) -> Result<Self, StoreError> {
        Ok(Self {
            journal_id: row.journal_id,
            journaled_at: row.journaled_at,
            object: ObjectName::parse(&row.object).map_err(corrupt)?,
            record_id: row.record_id.map(RecordId),
            source: row.source,
            operation: row.operation,
            external_id: row.external_id,
            salesforce_id: row.salesforce_id,
            stream: row.stream,
            cursor: row.cursor,
            payload: row.payload,
            status: row.status,
            observed_at: row.observed_at,
            config_hash: row.config_hash,
        })
    }
}

/// Returns the journal of one record, newest line first.
pub(crate) async fn record_journal(
    tx: &mut Tx,
    record_id: Uuid,
    limit: i64,
) -> Result<Vec<JournalEntry>, StoreError> {
    let rows: Vec<EntryRow> = tx
        .rows(
            "reading a record's journal",
            sqlx::query_as(
                "select journal.*
                from syncline.sync_journal as journal
                where journal.record_id = $1
                order by journal.journal_id desc
                limit $2",
            )
            .bind(record_id)
            .bind(limit),
        )
        .await?;
    rows.into_iter().map(JournalEntry::try_from).collect()
}

/// Creates the missing partitions of the journal from today to `days_ahead`.
pub(crate) async fn make_partitions(tx: &mut Tx, days_ahead: i32) -> Result<(), StoreError> {
    let _: Vec<i32> = tx
        .values(
            "creating journal partitions",
            sqlx::query_scalar("select syncline.ensure_journal_partitions($1)").bind(days_ahead),
        )
        .await?;
    Ok(())
}

/// Drops the journal's partitions past their retention.
pub(crate) async fn drop_partitions(tx: &mut Tx) -> Result<(), StoreError> {
    let _: Vec<i32> = tx
        .values(
            "dropping journal partitions",
            sqlx::query_scalar(
                "select syncline.drop_journal_partitions(
                    greatest(
                        syncline.clock() - make_interval(days => $2),
                        least(
                            syncline.clock() - make_interval(days => $1),
                            -- A change that is not settled keeps its evidence.
                            (select min(dirty_since) from syncline.sync_task)
                        )
                    )
                )",
            )
            .bind(JOURNAL_DAYS)
            .bind(JOURNAL_DAYS_MAX),
        )
        .await?;
    Ok(())
}

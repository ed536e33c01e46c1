//! Reads one line of the journal, and appends changes that a caller observed.

use serde::{Deserialize, Serialize};

use crate::model::ChangeEnvelope;
use crate::model::ids::{ObjectName, TenantId};
use crate::ports::StoreError;
use crate::store::PgStore;
use crate::store::enum_text::enum_text;
use crate::store::tables::journal::{EntryRow, JournalEntry};
use crate::store::transaction::recordset;

/// The result of appending a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppendResult {
    /// It was appended.
    Appended {
        /// The line.
        journal_id: i64,
    },
    /// The journal has the same change from the same position already.
    Duplicate,
}

#[derive(Serialize)]
struct AppendRow<'a> {
    place: usize,
    tenant: &'a TenantId,
    object: &'a ObjectName,
    external_id: &'a str,
    canonical_id: &'a str,
    source: String,
    operation: String,
    cursor: String,
    payload: &'a serde_json::Value,
    payload_hash: String,
}

impl PgStore {
    /// Returns one line of the tenant's journal, or `None` if there is no such line.
    pub async fn journal_entry(
        &self,
        tenant: &TenantId,
        journal_id: i64,
    ) -> Result<Option<JournalEntry>, StoreError> {
        let mut tx = self.begin().await?;
        let row: Option<EntryRow> = tx
            .row(
                "reading a line of the journal",
                sqlx::query_as(
                    "select journal.*
                    from syncline.sync_journal as journal
                    where journal.tenant = $1
                    and journal.journal_id = $2",
                )
                .bind(tenant.as_str())
                .bind(journal_id),
            )
            .await?;
        tx.rollback().await?;
        row.map(JournalEntry::try_from).transpose()
    }

    /// Appends observed changes to the journal, as evidence. A change with the same position and the same
    /// content is a duplicate; one with the same position and other content is not.
    pub async fn append(
        &self,
        envelopes: &[ChangeEnvelope],
    ) -> Result<Vec<AppendResult>, StoreError> {
        let rows: Vec<AppendRow<'_>> = envelopes
            .iter()
            .enumerate()
            .map(|(place, envelope)| append_row(place, envelope))
            .collect();
        let mut tx = self.begin().await?;
        let appended: Vec<(i64, i64)> = tx
            .rows(
                "appending to the journal",
                sqlx::query_as(APPEND).bind(recordset(&rows)),
            )
            .await?;
        tx.commit().await?;
        let mut results = vec![AppendResult::Duplicate; envelopes.len()];
        for (place, journal_id) in appended {
            if let Some(result) = usize::try_from(place)
                .ok()
                .and_then(|place| results.get_mut(place))
            {
                *result = AppendResult::Appended { journal_id };
            }
        }
        Ok(results)
    }
}

fn append_row(place: usize, envelope: &ChangeEnvelope) -> AppendRow<'_> {
    AppendRow {
        place,
        tenant: &envelope.key.tenant,
        object: &envelope.key.object,
        external_id: &envelope.key.external_id,
        canonical_id: &envelope.key.canonical_id,
        source: enum_text(envelope.source),
        operation: enum_text(envelope.operation),
        cursor: envelope.cursor.to_string(),
        payload: &envelope.payload,
        payload_hash: envelope.payload_hash(),
    }
}

/// Appends changes that were not seen before, and returns their indexes in the batch. A change is identified
/// by its position and its content.
const APPEND: &str = "with given as (
        select given.*, coalesce(control.org_epoch, 0) as org_epoch
        from jsonb_to_recordset($1) as given (
            place bigint, tenant text, object text, external_id text, canonical_id text, source text,
            operation text, cursor text, payload jsonb, payload_hash text
        )
        left join syncline.sync_control as control on control.tenant = given.tenant
    ),
    first as (
        select distinct on (tenant, source, cursor, object, canonical_id, operation, payload_hash) *
        from given
        order by tenant, source, cursor, object, canonical_id, operation, payload_hash, place
    ),
    fresh as (
        insert into syncline.sync_seen (tenant, org_epoch, stream, cursor, object, record, ordinal, payload_hash)
        select
            tenant, org_epoch, 'append:' || source, cursor || ' ' || operation || ' ' || payload_hash, object,
            canonical_id, 0, payload_hash
        from first
        -- Seen before: a duplicate.
        on conflict do nothing
        returning tenant, stream, cursor, object, record
    ),
    appended as (
        select first.*
        from first
        join fresh
            on fresh.tenant = first.tenant
            and fresh.stream = 'append:' || first.source
            and fresh.cursor = first.cursor || ' ' || first.operation || ' ' || first.payload_hash
            and fresh.object = first.object
            and fresh.record = first.canonical_id
    ),
    written as (
        insert into syncline.sync_journal (
            tenant, object, record_id, source, operation, external_id, stream, cursor, org_epoch, payload
        )
        select
            appended.tenant, appended.object, link.record_id, appended.source, appended.operation,
            appended.external_id, 'append', appended.cursor, appended.org_epoch, appended.payload
        from appended
        left join syncline.sync_link as link
            on link.tenant = appended.tenant
            and link.object = appended.object
            and link.canonical_id = appended.canonical_id
        order by appended.place
        returning tenant, object, source, operation, external_id, cursor, payload, journal_id
    )
    select appended.place, written.journal_id
    from appended
    join written
        on written.tenant = appended.tenant
        and written.object = appended.object
        and written.source = appended.source
        and written.operation = appended.operation
        and written.external_id = appended.external_id
        and written.cursor = appended.cursor
        and written.payload is not distinct from appended.payload";

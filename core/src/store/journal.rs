//! The journal: evidence of what was observed and decided, never the plan's input.

use std::sync::Arc;

use serde::Serialize;

use super::transaction::{Tx, recordset};
use crate::engine::ports::StoreError;
use crate::engine::ports::store::PlanRules;
use crate::model::ids::RecordId;

/// One line of the journal.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct JournalLine {
    /// The tenant.
    pub(super) tenant: String,
    /// The object.
    pub(super) object: String,
    /// The record, where it is known.
    pub(super) record_id: Option<RecordId>,
    /// `postgres`, `salesforce`, `decision` or `settlement`.
    pub(super) source: &'static str,
    /// What happened.
    pub(super) operation: String,
    /// The external id it named.
    pub(super) external_id: Option<String>,
    /// The Salesforce id it named.
    pub(super) salesforce_id: Option<String>,
    /// The stream it came by.
    pub(super) stream: Option<String>,
    /// Its place there.
    pub(super) cursor: Option<String>,
    /// The org epoch it was seen in.
    pub(super) org_epoch: Option<i64>,
    /// What it carried.
    pub(super) payload: Option<serde_json::Value>,
    /// Hash of that.
    pub(super) payload_hash: Option<String>,
    /// What became of it.
    pub(super) status: Option<String>,
    /// When the source says it happened, milliseconds since the epoch.
    pub(super) observed_at_ms: Option<i64>,
    /// The configuration it was seen or decided under.
    pub(super) config_hash: Option<String>,
}

/// Appends to the journal.
pub(super) async fn write_journal(tx: &mut Tx, lines: &[JournalLine]) -> Result<(), StoreError> {
    if lines.is_empty() {
        return Ok(());
    }
    tx.run(
        "writing the journal",
        sqlx::query(
            "insert into syncline.sync_journal (
                tenant, object, record_id, source, operation, external_id, salesforce_id, stream, cursor,
                org_epoch, payload, payload_hash, status, observed_at, config_hash
            )
            select
                tenant, object, record_id, source, operation, external_id, salesforce_id, stream, cursor,
                org_epoch, payload, payload_hash, status, to_timestamp(observed_at_ms / 1000.0), config_hash
            from jsonb_to_recordset($1) as line (
                tenant text, object text, record_id uuid, source text, operation text, external_id text,
                salesforce_id text, stream text, cursor text, org_epoch bigint, payload jsonb,
                payload_hash text, status text, observed_at_ms bigint, config_hash text
            )",
        )
        .bind(recordset(lines)),
    )
    .await?;
    Ok(())
}

/// Keeps the rules that decisions were made by, each once.
pub(super) async fn keep_rules(
    tx: &mut Tx,
    rules: impl Iterator<Item = &Arc<PlanRules>>,
) -> Result<(), StoreError> {
    let (hashes, rules): (Vec<&str>, Vec<&serde_json::Value>) = rules
        .map(|rules| (rules.hash.as_str(), &rules.rules))
        .unzip();
    if hashes.is_empty() {
        return Ok(());
    }
    tx.run(
        "keeping the rules of decisions",
        sqlx::query(
            "insert into syncline.sync_rules (rules_hash, rules)
            select rules_hash, rules
            from unnest($1::text[], $2::jsonb[]) as used (rules_hash, rules)
            -- Once a day is enough to know that they are in use. Rules that are known for today are not
            -- even proposed: a conflict would lock their row, and all workers would wait for one another.
            where not exists (
                select
                from syncline.sync_rules as known
                where known.rules_hash = used.rules_hash
                and known.last_used_on = current_date
            )
            order by rules_hash
            on conflict (rules_hash) do update
            set last_used_on = current_date",
        )
        .bind(hashes)
        .bind(rules),
    )
    .await?;
    Ok(())
}

//! Conflicts: one open row per record and field.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::fields::FieldId;
use crate::model::ids::{FieldName, ObjectName, RecordId, SalesforceId, TenantId};
use crate::model::link::RemoteState;
use crate::model::value::Value;
use crate::model::{Side, SyncLink};
use crate::planner::mapping::Mapping;
use crate::planner::record::{FieldConflict, RecordPlan};
use crate::planner::rule::Rule;
use crate::ports::record::PostgresRow;
use crate::ports::{MappedObject, StoreError};
use crate::store::enum_text::enum_text;
use crate::store::error::corrupt;
use crate::store::transaction::{Tx, recordset};

/// A conflict between the two sides, which waits for a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SyncConflict {
    /// Its number.
    pub conflict_id: i64,
    /// The record.
    pub record_id: RecordId,
    /// The tenant.
    pub tenant: TenantId,
    /// The object.
    pub object: ObjectName,
    /// The record's external id.
    pub external_id: String,
    /// The record's Salesforce id.
    pub salesforce_id: Option<SalesforceId>,
    /// The field; absent when one side deleted the record that the other edited.
    pub field: Option<FieldName>,
    /// The base.
    pub base: Option<Value>,
    /// The value in Postgres; absent when it deleted the record.
    pub postgres: Option<Value>,
    /// The value in Salesforce; absent when it deleted the record.
    pub salesforce: Option<Value>,
    /// Grows whenever a side changes; a resolution names the version that the person saw.
    pub version: i64,
    /// When the sides were first seen to differ.
    pub opened_at: DateTime<Utc>,
    /// When a side last changed.
    pub updated_at: DateTime<Utc>,
}

/// Which conflicts to list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConflictFilter {
    /// Only those of this object.
    pub object: Option<ObjectName>,
    /// Only those of this record.
    pub record_id: Option<RecordId>,
    /// Only those after this number, for paging.
    pub after: Option<i64>,
}

/// A row of `sync_conflict`, with the keys of its record.
#[derive(sqlx::FromRow)]
pub(crate) struct ConflictLine {
    pub(crate) conflict_id: i64,
    pub(crate) record_id: Uuid,
    pub(crate) tenant: String,
    pub(crate) object: String,
    pub(crate) external_id: String,
    pub(crate) salesforce_id: Option<String>,
    pub(crate) field: Option<String>,
    pub(crate) base_value: Option<serde_json::Value>,
    pub(crate) postgres_value: Option<serde_json::Value>,
    pub(crate) salesforce_value: Option<serde_json::Value>,
    pub(crate) version: i64,
    pub(crate) opened_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

impl TryFrom<ConflictLine> for SyncConflict {
    type Error = StoreError;

    fn try_from(row: ConflictLine) -> Result<Self, StoreError> {
        Ok(Self {
            conflict_id: row.conflict_id,
            record_id: RecordId(row.record_id),
            tenant: TenantId::parse(&row.tenant).map_err(corrupt)?,
            object: ObjectName::parse(&row.object).map_err(corrupt)?,
            external_id: row.external_id,
            salesforce_id: row
                .salesforce_id
                .map(|id| SalesforceId::parse(&id))
                .transpose()
                .map_err(corrupt)?,
            field: parse_field(row.field.as_deref())?,
            base: row.base_value.as_ref().and_then(Value::from_json),
            postgres: row.postgres_value.as_ref().and_then(Value::from_json),
            salesforce: row.salesforce_value.as_ref().and_then(Value::from_json),
            version: row.version,
            opened_at: row.opened_at,
            updated_at: row.updated_at,
        })
    }
}

/// Parses the field of a conflict; a conflict about the whole record has no field.
pub(crate) fn parse_field(field: Option<&str>) -> Result<Option<FieldName>, StoreError> {
    field.map(FieldName::parse).transpose().map_err(corrupt)
}

/// Returns the record of an open conflict of the object.
pub(crate) async fn record_of(
    tx: &mut Tx,
    mapped: &MappedObject,
    conflict_id: i64,
) -> Result<Option<RecordId>, StoreError> {
    let record: Option<(Uuid,)> = tx
        .row(
            "finding a conflict",
            sqlx::query_as(
                "select record_id
                from syncline.sync_conflict
                where conflict_id = $1
                and tenant = $2
                and object = $3
                and state = 'open'",
            )
            .bind(conflict_id)
            .bind(mapped.tenant.as_str())
            .bind(mapped.sync.object.as_str()),
        )
        .await?;
    Ok(record.map(|(record,)| RecordId(record)))
}

/// A locked conflict.
#[derive(sqlx::FromRow)]
pub(crate) struct OpenConflict {
    pub(crate) field: Option<String>,
    pub(crate) postgres_value: Option<serde_json::Value>,
    pub(crate) salesforce_value: Option<serde_json::Value>,
    pub(crate) postgres_seen: Option<serde_json::Value>,
    pub(crate) salesforce_seen: Option<serde_json::Value>,
    pub(crate) version: i64,
}

/// Locks an open conflict.
pub(crate) async fn lock_conflict(
    tx: &mut Tx,
    conflict_id: i64,
) -> Result<Option<OpenConflict>, StoreError> {
    tx.row(
        "locking a conflict",
        sqlx::query_as(
            "select field, postgres_value, salesforce_value, postgres_seen, salesforce_seen, version
            from syncline.sync_conflict
            where conflict_id = $1
            and state = 'open'
            -- Of two people who resolve it, the second finds it closed.
            for update",
        )
        .bind(conflict_id),
    )
    .await
}

/// Closes a conflict that a person resolved.
pub(crate) async fn close(tx: &mut Tx, conflict_id: i64, winner: Side) -> Result<(), StoreError> {
    tx.run(
        "closing a conflict",
        sqlx::query(
            "update syncline.sync_conflict
            set state = 'resolved',
                resolution = $2,
                closed_at = syncline.clock(),
                updated_at = syncline.clock()
            where conflict_id = $1",
        )
        .bind(conflict_id)
        .bind(enum_text(winner)),
    )
    .await?;
    Ok(())
}

/// A conflict to write.
#[derive(Debug, Serialize)]
pub(crate) struct ConflictRow {
    pub(crate) record_id: RecordId,
    pub(crate) field: Option<FieldName>,
    /// Listed only so that it stays open: a write of the field is in flight.
    pub(crate) stays: bool,
    pub(crate) base: Option<[serde_json::Value; 1]>,
    pub(crate) postgres: Option<[serde_json::Value; 1]>,
    pub(crate) salesforce: Option<[serde_json::Value; 1]>,
    pub(crate) postgres_seen: serde_json::Value,
    pub(crate) salesforce_seen: serde_json::Value,
}

impl ConflictRow {
    /// Returns the conflicts of a plan, and the earlier conflicts that stay open.
    pub(crate) fn all(
        mapped: &MappedObject,
        link: &SyncLink,
        row: Option<&PostgresRow>,
        (mapping, plan): (&Mapping, &RecordPlan),
    ) -> Vec<Self> {
        let of = |field: Option<FieldId>, conflict: Option<&FieldConflict>| {
            let field = field.map(|field| mapping.name(field));
            let wrapped = |value: Option<&Value>| value.map(|value| [value.to_json()]);
            let seen = seen(mapped, &link.remote_state, row, field);
            Self {
                record_id: link.record_id,
                field: field.cloned(),
                stays: conflict.is_none(),
                base: conflict.and_then(|conflict| wrapped(conflict.base.as_ref())),
                postgres: conflict.and_then(|conflict| wrapped(conflict.postgres.as_ref())),
                salesforce: conflict.and_then(|conflict| wrapped(conflict.salesforce.as_ref())),
                postgres_seen: seen.postgres,
                salesforce_seen: seen.salesforce,
            }
        };
        let found = plan
            .conflicts
            .iter()
            .map(|conflict| of(conflict.field, Some(conflict)));
        let waiting = plan
            .explanation
            .fields
            .iter()
            .filter(|(_, rule)| **rule == Rule::WriteUnderWay)
            .map(|(field, _)| of(Some(*field), None));
        found.chain(waiting).collect()
    }
}

/// Opens, updates and closes conflicts of the `planned` records. Conflicts that their plans do not list are
/// closed, because the sides agree again or a rule decides.
pub(crate) async fn write_conflicts(
    tx: &mut Tx,
    mapped: &MappedObject,
    conflicts: &[ConflictRow],
    planned: &[Uuid],
) -> Result<(), StoreError> {
    if planned.is_empty() {
        return Ok(());
    }
    tx.run(
        "closing conflicts",
        sqlx::query(
            "update syncline.sync_conflict as conflict
            set state = 'closed',
                resolution = 'the sides agree',
                closed_at = syncline.clock(),
                updated_at = syncline.clock()
            where conflict.record_id = any($1)
            and conflict.state = 'open'
            and not exists (
                select
                from jsonb_to_recordset($2) as listed (record_id uuid, field text)
                where listed.record_id = conflict.record_id
                and listed.field is not distinct from conflict.field
            )",
        )
        .bind(planned)
        .bind(recordset(conflicts)),
    )
    .await?;
    if conflicts.iter().all(|conflict| conflict.stays) {
        return Ok(());
    }
    tx.run(
        "opening conflicts",
        sqlx::query(OPEN_CONFLICTS)
            .bind(recordset(conflicts))
            .bind(&*mapped.config_hash),
    )
    .await?;
    Ok(())
}

/// Opens conflicts. Values come wrapped in an array, so that a cleared field (JSON null) stays distinct from a missing value.
const OPEN_CONFLICTS: &str = "insert into syncline.sync_conflict as open (
        record_id, tenant, object, field, base_value, postgres_value, salesforce_value,
        postgres_seen, salesforce_seen, config_hash
    )
    select
        link.record_id, link.tenant, link.object, listed.field, listed.base -> 0, listed.postgres -> 0,
        listed.salesforce -> 0, listed.postgres_seen, listed.salesforce_seen, $2
    from jsonb_to_recordset($1) as listed (
        record_id uuid, field text, stays boolean, base jsonb, postgres jsonb, salesforce jsonb,
        postgres_seen jsonb, salesforce_seen jsonb
    )
    join syncline.sync_link as link using (record_id)
    where not listed.stays
    -- One open conflict per record and field: a side that moved updates it.
    on conflict (record_id, coalesce(field, '')) where state = 'open' do update
    set base_value = excluded.base_value,
        postgres_value = excluded.postgres_value,
        salesforce_value = excluded.salesforce_value,
        postgres_seen = excluded.postgres_seen,
        salesforce_seen = excluded.salesforce_seen,
        config_hash = excluded.config_hash,
        version = open.version + 1,
        updated_at = syncline.clock()
    where (open.postgres_seen, open.salesforce_seen)
        is distinct from (excluded.postgres_seen, excluded.salesforce_seen)";

/// Both sides of a conflict, to compare with later.
pub(crate) struct SeenSides {
    pub(crate) postgres: serde_json::Value,
    pub(crate) salesforce: serde_json::Value,
}

/// Returns both sides' values of a field, or of the whole record if `field` is absent.
pub(crate) fn seen(
    mapped: &MappedObject,
    remote_state: &RemoteState,
    row: Option<&PostgresRow>,
    field: Option<&FieldName>,
) -> SeenSides {
    let Some(field) = field else {
        let values: BTreeMap<&FieldName, serde_json::Value> = remote_state
            .fields
            .iter()
            .map(|(name, field)| (name, field.value.to_json()))
            .collect();
        return SeenSides {
            postgres: serde_json::json!([row.map(|row| &row.columns)]),
            salesforce: serde_json::json!([remote_state.presence, values]),
        };
    };
    let column = if *field == mapped.sync.external_id.field {
        Some(&mapped.sync.external_id.column)
    } else {
        mapped.sync.fields.get(field).map(|field| &field.column)
    };
    let shown_row = column.and_then(|column| row?.columns.get(column.as_str()));
    let remote = remote_state.fields.get(field);
    let shown = remote.map(|field| field.value.to_json());
    let overwritten = remote.and_then(|field| field.overwritten.as_ref());
    SeenSides {
        postgres: serde_json::json!([shown_row]),
        salesforce: match overwritten {
            Some(edit) => serde_json::json!([shown, edit.value.to_json()]),
            None => serde_json::json!([shown]),
        },
    }
}

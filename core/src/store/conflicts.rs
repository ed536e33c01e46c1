//! Conflicts: what two sides differ about, until a person says which one stands.
//!
//! Resolving is a compare-and-set on both sides as they were shown. It changes nothing but the base:
//! what loses becomes what both had agreed on, so that only the winner has changed, and its value
//! travels as an ordinary edit.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::PgStore;
use super::applied::end_agreement;
use super::records::{
    KnownRecord, LostValue, corrupt, lock_records, log_lost_values, save_records, word_of,
};
use super::rows::{Locking, RowError, read_rows};
use super::table::read_shape;
use super::tasks::{NewWork, add_work};
use super::transaction::{Tx, recordset};
use crate::engine::ports::store::PostgresRow;
use crate::engine::ports::{MappedObject, StoreError};
use crate::model::ids::{FieldName, ObjectName, RecordId, SalesforceId, TenantId};
use crate::model::link::RemoteState;
use crate::model::value::{Payload, Value};
use crate::model::{SourceSystem, SyncLink};
use crate::planner::record::{FieldConflict, RecordPlan};
use crate::planner::rule::Rule;

/// What two sides differ about, waiting for a person.
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
    /// The field; none when one side deleted the record that the other edited.
    pub field: Option<FieldName>,
    /// What both agreed on last.
    pub base: Option<Value>,
    /// What Postgres holds; none when it deleted the record.
    pub postgres: Option<Value>,
    /// What Salesforce holds; none when it deleted the record.
    pub salesforce: Option<Value>,
    /// Grows whenever a side moves: resolving names the version that was looked at.
    pub version: i64,
    /// When the sides were first seen to differ.
    pub opened_at: DateTime<Utc>,
    /// When a side last moved.
    pub updated_at: DateTime<Utc>,
}

/// Which conflicts to list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConflictFilter {
    /// Of this object alone.
    pub object: Option<ObjectName>,
    /// Of this record alone.
    pub record_id: Option<RecordId>,
    /// After this number, for paging.
    pub after: Option<i64>,
}

/// What came of resolving a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// The winner's value travels now.
    Resolved,
    /// A side has moved since it was looked at: look again. Nothing has changed.
    Moved,
    /// Somebody holds the row right now: try again. Nothing has changed.
    Busy,
    /// There is no such open conflict.
    Closed,
}

#[derive(sqlx::FromRow)]
struct ConflictLine {
    conflict_id: i64,
    record_id: Uuid,
    tenant: String,
    object: String,
    external_id: String,
    salesforce_id: Option<String>,
    field: Option<String>,
    base_value: Option<serde_json::Value>,
    postgres_value: Option<serde_json::Value>,
    salesforce_value: Option<serde_json::Value>,
    version: i64,
    opened_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl PgStore {
    /// Returns the tenant's open conflicts, oldest first.
    pub async fn conflicts(
        &self,
        tenant: &TenantId,
        filter: &ConflictFilter,
        limit: i64,
    ) -> Result<Vec<SyncConflict>, StoreError> {
        let mut tx = self.begin().await?;
        let rows: Vec<ConflictLine> = tx
            .rows(
                "listing conflicts",
                sqlx::query_as(
                    "select conflict.*, link.external_id, link.salesforce_id
                    from syncline.sync_conflict as conflict
                    join syncline.sync_link as link using (record_id)
                    where conflict.tenant = $1
                    and ($2::text is null or conflict.object = $2)
                    and ($3::uuid is null or conflict.record_id = $3)
                    and ($4::bigint is null or conflict.conflict_id > $4)
                    and conflict.state = 'open'
                    order by conflict.conflict_id
                    limit $5",
                )
                .bind(tenant.as_str())
                .bind(filter.object.as_ref().map(ObjectName::as_str))
                .bind(filter.record_id.map(|record| record.0))
                .bind(filter.after)
                .bind(limit),
            )
            .await?;
        tx.rollback().await?;
        rows.into_iter().map(SyncConflict::try_from).collect()
    }

    /// Lets `winner`'s value stand, if both sides still are as they were in `version` of the conflict.
    ///
    /// The value that loses is logged. The scope is the conflict's object.
    pub async fn resolve_conflict(
        &self,
        mapped: &MappedObject,
        conflict_id: i64,
        version: i64,
        winner: SourceSystem,
    ) -> Result<Resolution, StoreError> {
        let mut tx = self.begin().await?;
        let Some(record_id) = record_of(&mut tx, mapped, conflict_id).await? else {
            return Ok(Resolution::Closed);
        };
        let mut known = lock_records(&mut tx, &[record_id]).await?;
        let (Some(mut known), Some(open)) =
            (known.pop(), hold_conflict(&mut tx, conflict_id).await?)
        else {
            return Ok(Resolution::Closed);
        };
        let shape = read_shape(&mut tx, mapped).await?;
        let found = match read_rows(&mut tx, mapped, &shape, &[&known], Locking::Lock).await {
            Ok(found) => found,
            Err(RowError::Refused(_)) => return Ok(Resolution::Moved),
            Err(RowError::Store(error)) => return Err(error),
        };
        if found.held_elsewhere.contains(&record_id) || found.being_renamed.contains(&record_id) {
            return Ok(Resolution::Busy);
        }
        let row = found
            .rows
            .get(&record_id)
            .and_then(|rows| rows.first())
            .map(|found| &found.row);
        let field = parse_field(open.field.as_deref())?;
        let seen = seen(mapped, &known.link.remote_state, row, field.as_ref());
        if open.version != version
            || Some(&seen.postgres) != open.postgres_seen.as_ref()
            || Some(&seen.salesforce) != open.salesforce_seen.as_ref()
        {
            return Ok(Resolution::Moved);
        }
        let lost = let_win(&mut known, &open, field.as_ref(), winner)?;
        save_records(&mut tx, &[known], &mapped.config_hash).await?;
        log_lost_values(&mut tx, &lost, &mapped.config_hash).await?;
        close(&mut tx, conflict_id, winner).await?;
        let work = NewWork {
            record_id,
            needs_refresh: false,
            xid: None,
        };
        add_work(&mut tx, &[work]).await?;
        tx.commit().await?;
        Ok(Resolution::Resolved)
    }
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

fn parse_field(field: Option<&str>) -> Result<Option<FieldName>, StoreError> {
    field.map(FieldName::parse).transpose().map_err(corrupt)
}

async fn record_of(
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

#[derive(sqlx::FromRow)]
struct OpenConflict {
    field: Option<String>,
    postgres_value: Option<serde_json::Value>,
    salesforce_value: Option<serde_json::Value>,
    postgres_seen: Option<serde_json::Value>,
    salesforce_seen: Option<serde_json::Value>,
    version: i64,
}

async fn hold_conflict(tx: &mut Tx, conflict_id: i64) -> Result<Option<OpenConflict>, StoreError> {
    tx.row(
        "holding a conflict",
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

async fn close(tx: &mut Tx, conflict_id: i64, winner: SourceSystem) -> Result<(), StoreError> {
    tx.run(
        "closing a conflict",
        sqlx::query(
            "update syncline.sync_conflict
            set state = 'resolved',
                resolution = $2,
                closed_at = now(),
                updated_at = now()
            where conflict_id = $1",
        )
        .bind(conflict_id)
        .bind(word_of(winner)),
    )
    .await?;
    Ok(())
}

/// What each side shows of a conflict, to compare with later.
struct SeenSides {
    postgres: serde_json::Value,
    salesforce: serde_json::Value,
}

fn seen(
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
    let held = column.and_then(|column| row?.columns.get(column.as_str()));
    let shown = remote_state
        .fields
        .get(field)
        .map(|field| field.value.to_json());
    SeenSides {
        postgres: serde_json::json!([held]),
        salesforce: serde_json::json!([shown]),
    }
}

/// Moves the base so that only the winner has changed, and returns what lost.
fn let_win(
    known: &mut KnownRecord,
    open: &OpenConflict,
    field: Option<&FieldName>,
    winner: SourceSystem,
) -> Result<Vec<LostValue>, StoreError> {
    let loser = winner.other();
    let value = |side| match side {
        SourceSystem::Postgres => open.postgres_value.as_ref().and_then(Value::from_json),
        SourceSystem::Salesforce => open.salesforce_value.as_ref().and_then(Value::from_json),
    };
    let losing: Payload = match (field, value(loser)) {
        (Some(field), Some(value)) => Payload::from([(field.clone(), value)]),
        (None, Some(Value::Text(edited))) => serde_json::from_str(&edited).map_err(corrupt)?,
        (Some(_) | None, _) => Payload::new(),
    };
    let deleted_by_loser = field.is_none() && value(loser).is_none();
    if deleted_by_loser {
        // The edit stands: the record starts anew, and the edited side creates it on the other.
        end_agreement(known);
    } else {
        known.link.base.extend(losing.clone());
    }
    known
        .link
        .automation_overrides
        .retain(|name, _| !losing.contains_key(name));
    Ok(losing
        .into_iter()
        .map(|(field, value)| LostValue {
            record_id: known.link.record_id,
            field,
            side: word_of(loser),
            value: [value.to_json()],
            rule: "resolved_by_a_person".to_owned(),
        })
        .collect())
}

/// A conflict to write.
#[derive(Debug, Serialize)]
pub(super) struct ConflictRow {
    record_id: RecordId,
    field: Option<FieldName>,
    /// It is listed only so that it stays open: a write of the field is under way.
    stays: bool,
    base: Option<[serde_json::Value; 1]>,
    postgres: Option<[serde_json::Value; 1]>,
    salesforce: Option<[serde_json::Value; 1]>,
    postgres_seen: serde_json::Value,
    salesforce_seen: serde_json::Value,
}

impl ConflictRow {
    /// Returns the conflicts of a plan, and what of earlier ones stays as it is.
    pub(super) fn all(
        mapped: &MappedObject,
        link: &SyncLink,
        row: Option<&PostgresRow>,
        plan: &RecordPlan,
    ) -> Vec<Self> {
        let of = |field: Option<&FieldName>, conflict: Option<&FieldConflict>| {
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
            .map(|conflict| of(conflict.field.as_ref(), Some(conflict)));
        let waiting = plan
            .explanation
            .fields
            .iter()
            .filter(|(_, rule)| **rule == Rule::WriteUnderWay)
            .map(|(field, _)| of(Some(field), None));
        found.chain(waiting).collect()
    }
}

/// Opens, updates and closes conflicts: what the plans of `planned` records list is open, all else of
/// theirs is closed, because the sides agree again or a rule decides.
pub(super) async fn write_conflicts(
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
                closed_at = now(),
                updated_at = now()
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

/// Opens conflicts. Values come wrapped in an array, so that a cleared field is not mistaken for none.
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
        updated_at = now()
    where (open.postgres_seen, open.salesforce_seen)
        is distinct from (excluded.postgres_seen, excluded.salesforce_seen)";

//! The history of one record: observations, decisions, writes, refusals and conflicts, in order, with the
//! inputs of each decision.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use crate::model::ids::{ObjectName, RecordId, SalesforceId, TenantId};
use crate::model::key::KeyForm;
use crate::ports::StoreError;
use crate::store::PgStore;
use crate::store::error::corrupt;
use crate::store::transaction::Tx;

/// Most entries of one timeline; a longer one has only the newest.
const ENTRIES_MAX: i64 = 10_000;

/// Most records that one key is resolved to.
const NAMESAKES_MAX: i64 = 20;

/// The result of looking up a record's history by a key.
#[derive(Debug, Clone, PartialEq)]
pub enum TimelineAnswer {
    /// The history of the record that has, or had, this key.
    Found(Box<RecordTimeline>),
    /// Records of several objects have this key.
    Several(Vec<NamedRecord>),
    /// No record has this key.
    Unknown,
}

/// A record with its keys and state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedRecord {
    /// The tenant.
    pub tenant: TenantId,
    /// The object.
    pub object: ObjectName,
    /// Its surrogate identity.
    pub record_id: RecordId,
    /// Its external id.
    pub external_id: String,
    /// Its Salesforce id, if it has one.
    pub salesforce_id: Option<SalesforceId>,
    /// `in_sync`, `pending`, `conflict`, `parked` …; absent if neither side has it.
    pub state: Option<String>,
    /// Why, without values.
    pub reason: Option<String>,
}

/// The history of one record.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecordTimeline {
    /// The record.
    #[serde(flatten)]
    pub record: NamedRecord,
    /// There are older entries than these.
    pub truncated: bool,
    /// What happened, oldest first.
    pub entries: Vec<TimelineEntry>,
    /// The rules of the decisions among the entries, by hash: each an
    /// [`ObjectSync`](crate::config::ObjectSync) as JSON.
    pub rules: BTreeMap<String, Json>,
}

/// One entry of a record's history.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimelineEntry {
    /// When it was recorded, by the database's clock.
    pub at: DateTime<Utc>,
    /// Its kind.
    pub kind: EntryKind,
    /// Its details, see [`EntryKind`].
    #[serde(flatten)]
    pub particulars: Map<String, Json>,
}

/// The kinds of entries, each with its details. Any detail may be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A change was observed: `side`, `operation`, `values` or the names of the changed `columns`, `status` (the
    /// result), `stream`, `cursor`, `external_id`, `salesforce_id`, `observed_at`, `config_hash`.
    Observed,
    /// A plan was made: `plan` (a [`RecordPlan`](crate::planner::record::RecordPlan)), `input` (its
    /// [`RecordFacts`](crate::planner::facts::RecordFacts)), `rules` (the hash of its rules),
    /// `config_hash`. Decisions from before inputs were kept have neither `input` nor `rules`.
    Decided,
    /// A rule discarded a value: `field`, `side`, `value`, `rule`, and `edited`, the
    /// times of both sides' edits if those decided.
    DiscardedValue,
    /// A conflict about a field, or the whole record if `field` is null, was opened: `conflict_id`, `field`,
    /// `base`, `postgres`, `salesforce`.
    ConflictOpened,
    /// A conflict was closed: `conflict_id`, `field`, `state`, `resolution`.
    ConflictClosed,
    /// A write to Salesforce was recorded: `intent_id`, `action`, `fields`, `config_hash`.
    WriteRecorded,
    /// A write has its final state: `intent_id`, `state`, `refusal`.
    WriteEnded,
    /// The outcome of a write was recorded: as for `observed`.
    Settled,
    /// The record was parked with a reason: `dead_letter_id`, `origin`, `code`, `field`, `message`,
    /// `attempts`.
    Stopped,
    /// The record continues after a dead letter: `dead_letter_id`, `outcome`.
    Resumed,
}

#[derive(sqlx::FromRow)]
struct NamedRow {
    object: String,
    record_id: Uuid,
    external_id: String,
    salesforce_id: Option<String>,
    state: Option<String>,
    reason: Option<String>,
}

#[derive(sqlx::FromRow)]
struct EntryRow {
    at: DateTime<Utc>,
    kind: String,
    particulars: sqlx::types::Json<Map<String, Json>>,
}

impl PgStore {
    /// Returns the history of the record with this external id in any spelling, Salesforce id or record id.
    /// A former key counts if no record has it now.
    pub async fn timeline(
        &self,
        tenant: &TenantId,
        object: Option<&ObjectName>,
        name: &str,
    ) -> Result<TimelineAnswer, StoreError> {
        let mut tx = self.begin().await?;
        let mut records = named(&mut tx, tenant, object, name).await?;
        let answer = match (records.pop(), records.is_empty()) {
            (None, _) => TimelineAnswer::Unknown,
            (Some(record), true) => {
                TimelineAnswer::Found(Box::new(history(&mut tx, record).await?))
            }
            (Some(last), false) => {
                records.push(last);
                TimelineAnswer::Several(records)
            }
        };
        tx.rollback().await?;
        Ok(answer)
    }
}

async fn named(
    tx: &mut Tx,
    tenant: &TenantId,
    object: Option<&ObjectName>,
    name: &str,
) -> Result<Vec<NamedRecord>, StoreError> {
    let name = name.trim();
    let salesforce_id = SalesforceId::parse(name).ok();
    // The object and its key form are unknown here, so every form is tried.
    let canonical: Vec<String> = [
        KeyForm::CaseFolded,
        KeyForm::CaseSensitive,
        KeyForm::Numeric,
    ]
    .into_iter()
    .filter_map(|form| form.canonical(name).ok())
    .collect();
    let mut written = vec![name];
    written.extend(salesforce_id.as_ref().map(SalesforceId::as_str));
    let rows: Vec<NamedRow> = tx
        .rows(
            "finding a record by any of its names",
            sqlx::query_as(FIND)
                .bind(tenant.as_str())
                .bind(object.map(ObjectName::as_str))
                .bind(Uuid::parse_str(name).ok())
                .bind(salesforce_id.as_ref().map(SalesforceId::as_str))
                .bind(canonical)
                .bind(written)
                .bind(NAMESAKES_MAX),
        )
        .await?;
    rows.into_iter()
        .map(|row| {
            Ok(NamedRecord {
                tenant: tenant.clone(),
                object: ObjectName::parse(&row.object).map_err(corrupt)?,
                record_id: RecordId(row.record_id),
                external_id: row.external_id,
                salesforce_id: row
                    .salesforce_id
                    .map(|id| SalesforceId::parse(&id))
                    .transpose()
                    .map_err(corrupt)?,
                state: row.state,
                reason: row.reason,
            })
        })
        .collect()
}

async fn history(tx: &mut Tx, record: NamedRecord) -> Result<RecordTimeline, StoreError> {
    let rows: Vec<EntryRow> = tx
        .rows(
            "reading a record's history",
            sqlx::query_as(HISTORY)
                .bind(record.record_id.0)
                .bind(ENTRIES_MAX + 1),
        )
        .await?;
    let shown = usize::try_from(ENTRIES_MAX).unwrap_or(usize::MAX);
    let truncated = rows.len() > shown;
    let mut entries = rows
        .into_iter()
        .take(shown)
        .map(TimelineEntry::try_from)
        .collect::<Result<Vec<_>, _>>()?;
    entries.reverse();
    let hashes: Vec<&str> = entries.iter().filter_map(TimelineEntry::rules).collect();
    let rules: Vec<(String, Json)> = tx
        .rows(
            "reading the rules of decisions",
            sqlx::query_as(
                "select rules_hash, rules
                from syncline.sync_rules
                where rules_hash = any($1)",
            )
            .bind(hashes),
        )
        .await?;
    Ok(RecordTimeline {
        record,
        truncated,
        entries,
        rules: rules.into_iter().collect(),
    })
}

impl TimelineEntry {
    /// Returns the hash of a decision's rules.
    pub fn rules(&self) -> Option<&str> {
        self.particulars.get("rules")?.as_str()
    }
}

impl TryFrom<EntryRow> for TimelineEntry {
    type Error = StoreError;

    fn try_from(row: EntryRow) -> Result<Self, StoreError> {
        Ok(Self {
            at: row.at,
            kind: serde_json::from_value(Json::String(row.kind)).map_err(corrupt)?,
            particulars: row.particulars.0,
        })
    }
}

/// Finds records by a key. Former holders count only if no record has it now.
const FIND: &str = "with found as (
        select link.record_id, true as is_current
        from syncline.sync_link as link
        where link.tenant = $1
        and ($2::text is null or link.object = $2)
        and (link.record_id = $3 or link.salesforce_id = $4 or link.canonical_id = any($5))
        union all
        select alias.record_id, alias.is_current
        from syncline.sync_link_alias as alias
        where alias.tenant = $1
        and ($2::text is null or alias.object = $2)
        and alias.value = any($6)
    )
    select
        link.object, link.record_id, link.external_id, link.salesforce_id, status.state, status.reason
    from syncline.sync_link as link
    left join syncline.record_status as status using (record_id)
    where link.record_id = any(array(
        select found.record_id
        from found
        where found.is_current = (select bool_or(is_current) from found)
    ))
    order by link.object, link.record_id
    limit $7";

/// Reads the history of one record, newest first. Entries of one transaction have the same time; `rank` puts
/// causes before effects.
const HISTORY: &str = "select at, kind, particulars
    from (
        select
            journaled_at as at,
            case source when 'decision' then 1 when 'settlement' then 7 else 0 end as rank,
            journal_id as place,
            case source when 'decision' then 'decided' when 'settlement' then 'settled' else 'observed' end
                as kind,
            case source
                when 'decision' then jsonb_build_object(
                    'plan', payload - 'input' - 'rules', 'input', payload -> 'input',
                    'rules', payload -> 'rules', 'config_hash', config_hash
                )
                else jsonb_build_object(
                    'side', source, 'operation', operation,
                    'values', case when jsonb_typeof(payload) <> 'array' then payload end,
                    'columns', case when jsonb_typeof(payload) = 'array' then payload end,
                    'status', status, 'stream', stream, 'cursor', cursor, 'external_id', external_id,
                    'salesforce_id', salesforce_id, 'observed_at', observed_at, 'config_hash', config_hash
                )
            end as particulars
        from syncline.sync_journal
        where record_id = $1
        union all
        select
            logged_at, 2, discarded_value_id, 'discarded_value',
            jsonb_build_object('field', field, 'side', side, 'value', value, 'rule', rule, 'edited', edited)
        from syncline.sync_discarded_value
        where record_id = $1
        union all
        select
            opened_at, 3, conflict_id, 'conflict_opened',
            jsonb_build_object(
                'conflict_id', conflict_id, 'field', field, 'base', base_value,
                'postgres', postgres_value, 'salesforce', salesforce_value
            )
        from syncline.sync_conflict
        where record_id = $1
        union all
        select
            closed_at, 4, conflict_id, 'conflict_closed',
            jsonb_build_object(
                'conflict_id', conflict_id, 'field', field, 'state', state, 'resolution', resolution
            )
        from syncline.sync_conflict
        where record_id = $1
        and closed_at is not null
        union all
        select
            created_at, 5, 0, 'write_recorded',
            jsonb_build_object(
                'intent_id', intent_id, 'action', action, 'fields', fields,
                'config_hash', config_hash
            )
        from syncline.sync_intent
        where record_id = $1
        union all
        select
            updated_at, 6, 0, 'write_ended',
            jsonb_build_object('intent_id', intent_id, 'state', state, 'refusal', refusal)
        from syncline.sync_intent
        where record_id = $1
        and state <> 'open'
        union all
        select
            created_at, 8, dead_letter_id, 'stopped',
            jsonb_build_object(
                'dead_letter_id', dead_letter_id, 'origin', origin, 'code', code, 'field', field,
                'message', message, 'attempts', attempts
            )
        from syncline.sync_dead_letter
        where record_id = $1
        union all
        select
            closed_at, 9, dead_letter_id, 'resumed',
            jsonb_build_object('dead_letter_id', dead_letter_id, 'outcome', outcome)
        from syncline.sync_dead_letter
        where record_id = $1
        and closed_at is not null
    ) as happened
    order by at desc, rank desc, place desc
    limit $2";

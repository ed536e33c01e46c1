//! Full comparisons of each object: the last finished one, and the one under way.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use crate::model::ids::{FieldName, ObjectName, RecordId, TenantId};
use crate::ports::comparison::{
    Begin, Comparison, Explanations, OpenWork, RecordClass, Sample, Tally, WalkPosition,
};
use crate::ports::job_store::StreamLease;
use crate::ports::{MappedObject, StoreError, StreamName};
use crate::store::error::corrupt;
use crate::store::tables::checkpoint::note_progress;
use crate::store::tables::conflict::parse_field;
use crate::store::transaction::{Tx, interval};

#[derive(sqlx::FromRow)]
struct ComparisonRow {
    object: String,
    started_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
    config_hash: String,
    position: Option<Json<WalkPosition>>,
    row_count: i64,
    in_salesforce: i64,
    pairs: i64,
    rows_met: i64,
    gone: i64,
    classes: Json<BTreeMap<RecordClass, u64>>,
    fields: Json<BTreeMap<FieldName, u64>>,
    samples: Json<Vec<Sample>>,
}

impl TryFrom<ComparisonRow> for Comparison {
    type Error = StoreError;

    fn try_from(row: ComparisonRow) -> Result<Self, StoreError> {
        let count = |number: i64| u64::try_from(number).map_err(corrupt);
        Ok(Self {
            object: ObjectName::parse(&row.object).map_err(corrupt)?,
            started_at: row.started_at,
            finished_at: row.finished_at,
            config_hash: row.config_hash,
            position: row.position.map(|position| position.0),
            tally: Tally {
                rows: count(row.row_count)?,
                in_salesforce: count(row.in_salesforce)?,
                pairs: count(row.pairs)?,
                rows_met: count(row.rows_met)?,
                gone: count(row.gone)?,
                classes: row.classes.0,
                fields: row.fields.0,
                samples: row.samples.0,
            },
        })
    }
}

/// Begins a comparison of the object if it is time, and returns the one under way. One that compares under another
/// configuration starts over.
pub(crate) async fn begin_comparison(
    tx: &mut Tx,
    mapped: &MappedObject,
    begin: Begin,
) -> Result<Option<Comparison>, StoreError> {
    tx.run(
        "starting a comparison over",
        sqlx::query(
            "delete from syncline.sync_comparison
            where tenant = $1
            and object = $2
            and finished_at is null
            and config_hash <> $3",
        )
        .bind(mapped.tenant.as_str())
        .bind(mapped.sync.object.as_str())
        .bind(&*mapped.config_hash),
    )
    .await?;
    let since_last_ms = match begin {
        Begin::Never => None,
        Begin::Now => Some(0),
        Begin::After { ms } => Some(ms),
    };
    if let Some(ms) = since_last_ms {
        tx.run(
            "beginning a comparison",
            sqlx::query(
                "insert into syncline.sync_comparison (tenant, object, config_hash, position)
                select $1, $2, $3, $4
                where not exists (
                    select
                    from syncline.sync_comparison as last
                    where last.tenant = $1
                    and last.object = $2
                    and last.finished_at is not null
                    and last.config_hash = $3
                    and last.started_at > syncline.clock() - $5
                )
                -- The one that is under way goes on.
                on conflict (tenant, object) where finished_at is null do nothing",
            )
            .bind(mapped.tenant.as_str())
            .bind(mapped.sync.object.as_str())
            .bind(&*mapped.config_hash)
            .bind(Json(WalkPosition::Salesforce { after: None }))
            .bind(interval(ms)),
        )
        .await?;
    }
    let comparisons = read_comparisons(tx, &mapped.tenant).await?;
    Ok(comparisons
        .into_iter()
        .find(|one| one.object == mapped.sync.object && one.finished_at.is_none()))
}

/// Returns the tenant's comparisons: of each object the last finished one, and the one under way.
pub(crate) async fn read_comparisons(
    tx: &mut Tx,
    tenant: &TenantId,
) -> Result<Vec<Comparison>, StoreError> {
    let rows: Vec<ComparisonRow> = tx
        .rows(
            "reading comparisons",
            sqlx::query_as(
                "select
                    object, started_at, finished_at, config_hash, position, row_count, in_salesforce, pairs, rows_met,
                    gone, classes, fields, samples
                from syncline.sync_comparison
                where tenant = $1
                order by object, started_at",
            )
            .bind(tenant.as_str()),
        )
        .await?;
    rows.into_iter().map(Comparison::try_from).collect()
}

/// Stores the progress of a comparison under the lease of its stream. Without a position it is finished: it
/// replaces the last one, and the time is returned.
pub(crate) async fn save_comparison(
    tx: &mut Tx,
    lease: &StreamLease,
    comparison: &Comparison,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    note_progress(tx, lease).await?;
    if comparison.position.is_none() {
        tx.run(
            "replacing the last comparison",
            sqlx::query(
                "delete from syncline.sync_comparison
                where tenant = $1
                and object = $2
                and finished_at is not null",
            )
            .bind(lease.tenant.as_str())
            .bind(comparison.object.as_str()),
        )
        .await?;
    }
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let tally = &comparison.tally;
    let saved: Option<(Option<DateTime<Utc>>,)> = tx
        .row(
            "storing the progress of a comparison",
            sqlx::query_as(
                "update syncline.sync_comparison
                set position = $4,
                    finished_at = case when $4 is null then syncline.clock() end,
                    row_count = $5,
                    in_salesforce = $6,
                    pairs = $7,
                    rows_met = $8,
                    gone = $9,
                    classes = $10,
                    fields = $11,
                    samples = $12,
                    updated_at = syncline.clock()
                where tenant = $1
                and object = $2
                and started_at = $3
                and finished_at is null
                returning finished_at",
            )
            .bind(lease.tenant.as_str())
            .bind(comparison.object.as_str())
            .bind(comparison.started_at)
            .bind(comparison.position.as_ref().map(Json))
            .bind(count(tally.rows))
            .bind(count(tally.in_salesforce))
            .bind(count(tally.pairs))
            .bind(count(tally.rows_met))
            .bind(count(tally.gone))
            .bind(Json(&tally.classes))
            .bind(Json(&tally.fields))
            .bind(Json(&tally.samples)),
        )
        .await?;
    // Another worker has begun it again, under another configuration.
    let again = || StoreError::LeaseLost(format!("comparison of {}", comparison.object));
    saved.map(|(finished_at,)| finished_at).ok_or_else(again)
}

#[derive(sqlx::FromRow)]
struct WorkRow {
    record_id: Uuid,
    is_pending: bool,
    parked: Option<String>,
    parked_field: Option<String>,
    conflicts: Vec<Option<String>>,
}

/// Returns what may explain that the sides of these records differ.
///
/// The caller has read the rows before. Capture moves a change from the outbox to a task in one transaction, so
/// looking into the outbox before the tasks misses no change of a row that was read.
pub(crate) async fn explain(
    tx: &mut Tx,
    mapped: &MappedObject,
    records: &[RecordId],
) -> Result<Explanations, StoreError> {
    let ids: Vec<Uuid> = records.iter().map(|record| record.0).collect();
    let waiting: Vec<Uuid> = tx
        .values(
            "finding records whose change waits in the outbox",
            sqlx::query_scalar(WAITING)
                .bind(mapped.tenant.as_str())
                .bind(mapped.sync.object.as_str())
                .bind(&ids),
        )
        .await?;
    let waiting: BTreeSet<Uuid> = waiting.into_iter().collect();
    let rows: Vec<WorkRow> = tx
        .rows(
            "reading what explains a difference",
            sqlx::query_as(OPEN_WORK).bind(&ids),
        )
        .await?;
    let needs_resync: Vec<bool> = tx
        .values(
            "reading whether the object is being read again",
            sqlx::query_scalar(
                "select needs_resync
                from syncline.sync_checkpoint
                where tenant = $1
                and stream = $2",
            )
            .bind(mapped.tenant.as_str())
            .bind(StreamName::Scan(mapped.sync.object.clone()).to_string()),
        )
        .await?;
    let work = rows.into_iter().map(|row| {
        let conflicts = row
            .conflicts
            .iter()
            .map(|field| parse_field(field.as_deref()));
        let work = OpenWork {
            is_pending: row.is_pending || waiting.contains(&row.record_id),
            parked: row.parked,
            // Without its external id nothing of a record can be synchronised.
            parked_field: parse_field(row.parked_field.as_deref())?
                .filter(|field| *field != mapped.sync.external_id.field),
            conflicts: conflicts.collect::<Result<_, _>>()?,
        };
        Ok((RecordId(row.record_id), work))
    });
    Ok(Explanations {
        needs_resync: needs_resync.contains(&true),
        work: work.collect::<Result<_, StoreError>>()?,
    })
}

/// Joins by equality alone, so that a long outbox is read once.
const WAITING: &str = "with named as (
        select alias.record_id, alias.value
        from syncline.sync_link_alias as alias
        where alias.record_id = any($3)
        and alias.kind = 'external_id'
        and alias.is_current
        union
        select link.record_id, link.external_id
        from syncline.sync_link as link
        where link.record_id = any($3)
    ),
    waiting as materialized (
        select external_id, old_external_id, local_key
        from syncline.sync_outbox
        where tenant = $1
        and object = $2
    )
    select named.record_id
    from named
    join waiting on waiting.external_id = named.value
    union
    select named.record_id
    from named
    join waiting on waiting.old_external_id = named.value
    union
    select link.record_id
    from syncline.sync_link as link
    join waiting on waiting.local_key = link.local_key
    where link.record_id = any($3)";

const OPEN_WORK: &str = "select
        link.record_id,
        coalesce(task.state <> 'parked', false) or exists (
            select
            from syncline.sync_intent as intent
            where intent.record_id = link.record_id
            and intent.state in ('open', 'unknown')
        ) as is_pending,
        case when task.state = 'parked' then coalesce(task.code, '') end as parked,
        (
            select letter.field
            from syncline.sync_dead_letter as letter
            where letter.record_id = link.record_id
            and letter.origin = 'task'
            and letter.closed_at is null
            order by letter.dead_letter_id desc
            limit 1
        ) as parked_field,
        array(
            select conflict.field
            from syncline.sync_conflict as conflict
            where conflict.record_id = link.record_id
            and conflict.state = 'open'
        ) as conflicts
    from syncline.sync_link as link
    left join syncline.sync_task as task using (record_id)
    where link.record_id = any($1)";

/// Returns those of `records` that got their Salesforce id after a time.
pub(crate) async fn linked_after(
    tx: &mut Tx,
    records: &[RecordId],
    time: DateTime<Utc>,
) -> Result<BTreeSet<RecordId>, StoreError> {
    let ids: Vec<Uuid> = records.iter().map(|record| record.0).collect();
    let linked: Vec<Uuid> = tx
        .values(
            "finding records that were linked lately",
            sqlx::query_scalar(
                "select alias.record_id
                from syncline.sync_link_alias as alias
                where alias.record_id = any($1)
                and alias.kind = 'salesforce_id'
                and alias.is_current
                and alias.valid_from > $2",
            )
            .bind(ids)
            .bind(time),
        )
        .await?;
    Ok(linked.into_iter().map(RecordId).collect())
}

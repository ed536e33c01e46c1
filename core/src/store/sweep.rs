//! The sweep: finds what died, what was lost and what is over.

use std::collections::BTreeSet;

use super::PgStore;
use super::records::corrupt;
use super::stream::mark_scans_need_resync;
use super::transaction::{Tx, recordset};
use super::triggers::{CaptureProblem, capture_problems};
use crate::engine::ports::store::SweepReport;
use crate::engine::ports::{MappedObject, StoreError};
use crate::model::ids::{ObjectName, TenantId};

/// Most rows of a kind that one sweep touches: the next one comes in a minute.
const ROWS_MAX: i64 = 10_000;

/// How long an applied write may wait for its echo before its record is read. Change events usually
/// take seconds, bulk ones minutes.
const ECHO_MINUTES_MAX: i32 = 15;

/// Days of the journal that are kept at least.
const JOURNAL_DAYS: i32 = 14;

/// Days after which the journal goes even if a change of it is not settled or an export lags.
const JOURNAL_DAYS_MAX: i32 = 60;

/// Days that seen events are remembered: Salesforce replays three (Pub/Sub API guide, "Event Message
/// Durability").
const SEEN_DAYS: i32 = 5;

/// Days that settled writes are kept: a late effect lands within hours.
const INTENT_DAYS: i32 = 7;

/// Days that closed conflicts, dead letters and lost values are kept.
const CLOSED_DAYS: i32 = 90;

/// Days that a record both sides are done with keeps its link and its names.
const TOMBSTONE_DAYS: i32 = 30;

/// Days of journal partitions that stand ready.
const PARTITION_DAYS_AHEAD: i32 = 7;

impl PgStore {
    /// See [`crate::engine::ports::StorePort::sweep`].
    pub(super) async fn sweep(
        &self,
        mapped_objects: &[MappedObject],
    ) -> Result<SweepReport, StoreError> {
        let tenants: BTreeSet<&str> = mapped_objects
            .iter()
            .map(|mapped| mapped.tenant.as_str())
            .collect();
        let tenants: Vec<&str> = tenants.into_iter().collect();
        let mut report = SweepReport::default();
        let mut tx = self.begin().await?;
        (report.leases_expired, report.intents_unknown) = take_expired(&mut tx, &tenants).await?;
        report.intents_unknown += doubt_orphans(&mut tx, &tenants).await?;
        report.echoes_missing = refresh_unsettled(&mut tx, &tenants).await?;
        tx.commit().await?;
        report.capture_broken = self.sweep_capture(mapped_objects).await?;
        report.rows_removed = self.retire(&tenants).await?;
        self.sweep_partitions().await?;
        Ok(report)
    }

    /// Compares capture with what was installed. An object whose capture has just broken is stale.
    async fn sweep_capture(
        &self,
        mapped_objects: &[MappedObject],
    ) -> Result<Vec<String>, StoreError> {
        let mut tx = self.begin().await?;
        let problems = capture_problems(&mut tx, mapped_objects).await?;
        let newly = note_problems(&mut tx, mapped_objects, &problems).await?;
        for (tenant, objects) in newly {
            mark_scans_need_resync(
                &mut tx,
                &tenant,
                &objects,
                "capture of its table was broken",
            )
            .await?;
        }
        tx.commit().await?;
        Ok(problems
            .into_iter()
            .map(|found| format!("{} {}: {}", found.tenant, found.object, found.problem))
            .collect())
    }

    async fn retire(&self, tenants: &[&str]) -> Result<usize, StoreError> {
        let mut tx = self.begin().await?;
        let mut retired = 0;
        for (what, sql, days) in RETIREMENTS {
            retired += tx
                .run(
                    what,
                    sqlx::query(*sql).bind(tenants).bind(*days).bind(ROWS_MAX),
                )
                .await?;
        }
        tx.commit().await?;
        Ok(usize::try_from(retired).unwrap_or(usize::MAX))
    }

    /// Makes the journal's partitions from today to `days_ahead`, those that are missing.
    pub(super) async fn make_journal_partitions(&self, days_ahead: i32) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let _: Vec<i32> = tx
            .values(
                "making journal partitions",
                sqlx::query_scalar("select syncline.ensure_journal_partitions($1)")
                    .bind(days_ahead),
            )
            .await?;
        tx.commit().await
    }

    /// Makes the next days' partitions and drops those that are over, apart from everything else: they
    /// need locks that a long reader may hold.
    async fn sweep_partitions(&self) -> Result<(), StoreError> {
        self.make_journal_partitions(PARTITION_DAYS_AHEAD).await?;
        let mut tx = self.begin().await?;
        let _: Vec<i32> = tx
            .values(
                "dropping journal partitions",
                sqlx::query_scalar(
                    "select syncline.drop_journal_partitions(
                        greatest(
                            now() - make_interval(days => $2),
                            least(
                                now() - make_interval(days => $1),
                                -- A change that is not settled keeps its evidence,
                                (select min(dirty_since) from syncline.sync_task),
                                -- and an export keeps what it has not read.
                                (
                                    select unread.journaled_at
                                    from syncline.sync_journal as unread
                                    where unread.xid >= (select min(xid) from syncline.sync_export_watermark)
                                    order by unread.xid, unread.journal_id
                                    limit 1
                                )
                            )
                        )
                    )",
                )
                .bind(JOURNAL_DAYS)
                .bind(JOURNAL_DAYS_MAX),
            )
            .await?;
        tx.commit().await
    }
}

/// Ends leases that lapsed. What was said under one may have been done: its intent is unknown, never
/// forgotten, and the record is looked at before anything else.
async fn take_expired(tx: &mut Tx, tenants: &[&str]) -> Result<(usize, usize), StoreError> {
    let counts: Vec<(i64, i64)> = tx
        .rows(
            "ending lapsed leases",
            sqlx::query_as(
                "with lapsed as materialized (
                    select record_id
                    from syncline.sync_task
                    where tenant = any($1)
                    and state = 'leased'
                    and lease_until < clock_timestamp()
                    order by record_id
                    limit $2
                    -- A worker that is settling right now is not dead.
                    for update skip locked
                ),
                doubted as (
                    update syncline.sync_intent as intent
                    set state = 'unknown',
                        updated_at = now()
                    from lapsed
                    where intent.record_id = lapsed.record_id
                    and intent.state = 'open'
                    -- The rows of a bulk job are held by the job, not by a lease.
                    and intent.bulk_job is null
                    returning intent.intent_id
                ),
                returned as (
                    update syncline.sync_task as task
                    set state = 'ready',
                        lease_owner = null,
                        lease_until = null,
                        -- The number that the dead worker holds opens nothing any more.
                        fencing_token = default,
                        attempts = task.attempts + 1,
                        due_at = now(),
                        needs_refresh = true,
                        code = 'lease_lapsed',
                        reason = 'its worker did not finish in time',
                        updated_at = now()
                    from lapsed
                    where task.record_id = lapsed.record_id
                    returning task.record_id
                )
                select (select count(*) from returned), (select count(*) from doubted)",
            )
            .bind(tenants)
            .bind(ROWS_MAX),
        )
        .await?;
    let (returned, doubted) = counts.first().copied().unwrap_or_default();
    Ok((count(returned), count(doubted)))
}

/// Doubts open intents that no lease stands behind.
async fn doubt_orphans(tx: &mut Tx, tenants: &[&str]) -> Result<usize, StoreError> {
    let doubted = tx
        .run(
            "doubting orphaned intents",
            sqlx::query(
                "update syncline.sync_intent as intent
                set state = 'unknown',
                    updated_at = now()
                where intent.tenant = any($1)
                and intent.state = 'open'
                and intent.bulk_job is null
                and intent.deadline < clock_timestamp()
                and not exists (
                    select
                    from syncline.sync_task as task
                    where task.record_id = intent.record_id
                    and task.state = 'leased'
                    and task.fencing_token = intent.fencing_token
                )",
            )
            .bind(tenants),
        )
        .await?;
    Ok(usize::try_from(doubted).unwrap_or(usize::MAX))
}

/// Makes sure that records with a write of unknown outcome, or with one whose echo never came, are
/// looked at. Returns the number of the latter.
async fn refresh_unsettled(tx: &mut Tx, tenants: &[&str]) -> Result<usize, StoreError> {
    let echoes: Vec<i64> = tx
        .values(
            "looking at unsettled writes",
            sqlx::query_scalar(
                "with unsettled as (
                    select intent.record_id, bool_or(intent.state = 'applied') as echo
                    from syncline.sync_intent as intent
                    where intent.tenant = any($1)
                    and (
                        intent.state = 'unknown'
                        or intent.state = 'applied' and intent.updated_at < now() - make_interval(mins => $2)
                    )
                    group by intent.record_id
                    order by intent.record_id
                    limit $3
                ),
                looking as (
                    insert into syncline.sync_task (record_id, tenant, object, needs_refresh, code, reason)
                    select link.record_id, link.tenant, link.object, true, 'unsettled_write',
                        'what became of a write is looked at'
                    from unsettled
                    join syncline.sync_link as link using (record_id)
                    order by link.record_id
                    -- A record that has work is looked at anyway if its write is unknown.
                    on conflict (record_id) do nothing
                    returning record_id
                )
                select count(*)
                from looking
                join unsettled using (record_id)
                where unsettled.echo",
            )
            .bind(tenants)
            .bind(ECHO_MINUTES_MAX)
            .bind(ROWS_MAX),
        )
        .await?;
    Ok(count(echoes.first().copied().unwrap_or_default()))
}

fn count(number: i64) -> usize {
    usize::try_from(number).unwrap_or_default()
}

/// Remembers which captures are broken, and returns the objects that were not before.
async fn note_problems(
    tx: &mut Tx,
    mapped_objects: &[MappedObject],
    problems: &[CaptureProblem],
) -> Result<Vec<(TenantId, Vec<ObjectName>)>, StoreError> {
    let tenants: Vec<&str> = mapped_objects
        .iter()
        .map(|mapped| mapped.tenant.as_str())
        .collect();
    let rows: Vec<(String, String)> = tx
        .rows(
            "noting broken captures",
            sqlx::query_as(
                "with found as (
                    select tenant, object, string_agg(problem, '; ' order by problem) as problem
                    from jsonb_to_recordset($2) as found (tenant text, object text, problem text)
                    group by tenant, object
                ),
                changed as (
                    select capture.tenant, capture.object, capture.broken as before, found.problem as now
                    from syncline.sync_capture as capture
                    left join found using (tenant, object)
                    where capture.tenant = any($1)
                    and capture.broken is distinct from found.problem
                ),
                noted as (
                    update syncline.sync_capture as capture
                    set broken = changed.now
                    from changed
                    where capture.tenant = changed.tenant
                    and capture.object = changed.object
                )
                select tenant, object
                from changed
                where before is null",
            )
            .bind(tenants)
            .bind(recordset(problems)),
        )
        .await?;
    rows.into_iter()
        .map(|(tenant, object)| {
            Ok((
                TenantId::parse(&tenant).map_err(corrupt)?,
                vec![ObjectName::parse(&object).map_err(corrupt)?],
            ))
        })
        .collect()
}

/// What is over, oldest kinds of rows by their own ages, in batches. Each takes the tenants, an age in
/// days and a number of rows.
const RETIREMENTS: &[(&str, &str, i32)] = &[
    (
        "forgetting seen events",
        "delete from syncline.sync_seen
        where ctid = any(array(
            select ctid
            from syncline.sync_seen
            where tenant = any($1)
            and seen_at < now() - make_interval(days => $2)
            limit $3
        ))",
        SEEN_DAYS,
    ),
    (
        "retiring intents",
        "delete from syncline.sync_intent
        where intent_id = any(array(
            select intent_id
            from syncline.sync_intent
            where tenant = any($1)
            and state in ('confirmed', 'refused', 'abandoned')
            and updated_at < now() - make_interval(days => $2)
            limit $3
        ))",
        INTENT_DAYS,
    ),
    (
        "retiring conflicts",
        "delete from syncline.sync_conflict
        where conflict_id = any(array(
            select conflict_id
            from syncline.sync_conflict
            where tenant = any($1)
            and state <> 'open'
            and closed_at < now() - make_interval(days => $2)
            limit $3
        ))",
        CLOSED_DAYS,
    ),
    (
        "retiring dead letters",
        "delete from syncline.sync_dead_letter
        where dead_letter_id = any(array(
            select dead_letter_id
            from syncline.sync_dead_letter
            where tenant = any($1)
            and closed_at < now() - make_interval(days => $2)
            limit $3
        ))",
        CLOSED_DAYS,
    ),
    (
        "retiring lost values",
        "delete from syncline.sync_discarded_value
        where discarded_value_id = any(array(
            select discarded_value_id
            from syncline.sync_discarded_value
            where tenant = any($1)
            and logged_at < now() - make_interval(days => $2)
            limit $3
        ))",
        CLOSED_DAYS,
    ),
    (
        "retiring links",
        "delete from syncline.sync_link
        where record_id = any(array(
            select link.record_id
            from syncline.sync_link as link
            where link.tenant = any($1)
            and not link.agreed
            and link.postgres_presence <> 'present'
            and link.remote_state ->> 'presence' <> 'present'
            and link.updated_at < now() - make_interval(days => $2)
            and not exists (
                select
                from syncline.sync_task as task
                where task.record_id = link.record_id
            )
            limit $3
        ))",
        TOMBSTONE_DAYS,
    ),
    (
        // They are nobody's alone: the journal of any tenant may name them, as long as it is kept.
        "retiring rules",
        "delete from syncline.sync_rules
        where rules_hash = any(array(
            select rules_hash
            from syncline.sync_rules
            where cardinality($1::text[]) > 0
            and last_used_on < current_date - $2
            limit $3
        ))",
        JOURNAL_DAYS_MAX + 1,
    ),
    (
        "forgetting lapsed wake-ups",
        "delete from syncline.sync_wake_up_permit
        where tenant = any($1)
        and expires_at < now() - make_interval(days => $2)
        and $3 > 0",
        1,
    ),
];

//! The sweep: ends expired leases, refreshes records with unknown writes, and removes old rows.

use crate::planner::policy::Cause;
use crate::ports::reconcile_store::SweepReport;
use crate::ports::{MappedObject, StoreError};
use crate::store::mapped_table::triggers::capture_problems;
use crate::store::tables::capture::note_problems;
use crate::store::tables::checkpoint::mark_scans_need_resync;
use crate::store::tables::intent::mark_orphans_unknown;
use crate::store::tables::journal::JOURNAL_DAYS_MAX;
use crate::store::transaction::Tx;

/// Most rows of a kind that one sweep handles; the next one runs in a minute.
const ROWS_MAX: i64 = 10_000;

/// How long an applied write may wait for its echo before its record is refreshed. Change events usually take
/// seconds, those of bulk writes minutes.
const ECHO_MINUTES_MAX: i32 = 15;

/// Days that seen events are remembered: Salesforce replays events of three days (Pub/Sub API guide, "Event
/// Message Durability").
const SEEN_DAYS: i32 = 5;

/// Days that settled writes are kept: a late write takes effect within hours.
const INTENT_DAYS: i32 = 7;

/// Days that closed conflicts, dead letters and discarded values are kept.
const CLOSED_DAYS: i32 = 90;

/// Days that a record deleted on both sides keeps its link and aliases.
const TOMBSTONE_DAYS: i32 = 30;

/// Days of journal partitions that are created ahead.
pub(crate) const PARTITION_DAYS_AHEAD: i32 = 7;

/// Ends expired leases, marks writes that no worker makes any more as unknown, and makes sure that records
/// with an unknown write are refreshed.
pub(crate) async fn end_expired_leases(
    tx: &mut Tx,
    tenants: &[&str],
    report: &mut SweepReport,
) -> Result<(), StoreError> {
    (report.leases_expired, report.intents_unknown) = take_expired(tx, tenants).await?;
    report.intents_unknown += mark_orphans_unknown(tx, tenants).await?;
    report.echoes_missing = refresh_unsettled(tx, tenants).await?;
    Ok(())
}

/// Compares capture with what was installed. An object whose capture has just broken needs a resync.
pub(crate) async fn sweep_capture(
    tx: &mut Tx,
    mapped_objects: &[MappedObject],
) -> Result<Vec<String>, StoreError> {
    let problems = capture_problems(tx, mapped_objects).await?;
    let newly = note_problems(tx, mapped_objects, &problems).await?;
    for (tenant, objects) in newly {
        mark_scans_need_resync(tx, &tenant, &objects, "capture of its table was broken").await?;
    }
    Ok(problems
        .into_iter()
        .map(|found| format!("{} {}: {}", found.tenant, found.object, found.problem))
        .collect())
}

/// Removes rows past their retention. Returns how many.
pub(crate) async fn remove_old_rows(tx: &mut Tx, tenants: &[&str]) -> Result<usize, StoreError> {
    let mut removed = 0;
    for (what, sql, days) in REMOVALS {
        removed += tx
            .run(
                what,
                sqlx::query(*sql).bind(tenants).bind(*days).bind(ROWS_MAX),
            )
            .await?;
    }
    Ok(usize::try_from(removed).unwrap_or(usize::MAX))
}

/// Ends expired leases. A write recorded under one may have been made: its intent becomes unknown, and the
/// record is refreshed before it is planned.
async fn take_expired(tx: &mut Tx, tenants: &[&str]) -> Result<(usize, usize), StoreError> {
    let counts: Vec<(i64, i64)> = tx
        .rows(
            "ending expired leases",
            sqlx::query_as(
                "with expired as materialized (
                    select record_id
                    from syncline.sync_task
                    where tenant = any($1)
                    and state = 'leased'
                    and lease_until < syncline.wall_clock()
                    order by record_id
                    limit $2
                    -- A worker that is settling right now is not dead.
                    for update skip locked
                ),
                now_unknown as (
                    update syncline.sync_intent as intent
                    set state = 'unknown',
                        updated_at = syncline.clock()
                    from expired
                    where intent.record_id = expired.record_id
                    and intent.state = 'open'
                    returning intent.intent_id
                ),
                returned as (
                    update syncline.sync_task as task
                    set state = 'ready',
                        lease_owner = null,
                        lease_until = null,
                        -- Invalidates the dead worker's token.
                        fencing_token = default,
                        attempts = task.attempts || jsonb_build_object(
                            'abandoned', coalesce((task.attempts ->> 'abandoned')::integer, 0) + 1
                        ),
                        due_at = syncline.clock() + interval '1 millisecond' * ($3::bigint[])[
                            least(coalesce((task.attempts ->> 'abandoned')::integer, 0) + 1, cardinality($3))
                        ],
                        needs_refresh = true,
                        code = 'lease_expired',
                        reason = 'its worker did not finish in time',
                        updated_at = syncline.clock()
                    from expired
                    where task.record_id = expired.record_id
                    returning task.record_id
                )
                select (select count(*) from returned), (select count(*) from now_unknown)",
            )
            .bind(tenants)
            .bind(ROWS_MAX)
            .bind(Cause::Abandoned.longest_waits_ms()),
        )
        .await?;
    let (returned, unknown) = counts.first().copied().unwrap_or_default();
    Ok((count(returned), count(unknown)))
}

/// Makes sure that records with an unknown write, or with a write whose echo never arrived, are refreshed.
/// Returns the number of the latter.
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
                        or intent.state = 'applied' and intent.updated_at < syncline.clock() - make_interval(mins => $2)
                    )
                    group by intent.record_id
                    order by intent.record_id
                    limit $3
                ),
                refreshed as (
                    insert into syncline.sync_task (record_id, tenant, object, needs_refresh, code, reason)
                    select link.record_id, link.tenant, link.object, true, 'unsettled_write',
                        'the outcome of a write is not known'
                    from unsettled
                    join syncline.sync_link as link using (record_id)
                    order by link.record_id
                    -- A record that has work is refreshed anyway if its write is unknown.
                    on conflict (record_id) do nothing
                    returning record_id
                )
                select count(*)
                from refreshed
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

/// Statements that remove old rows in batches. Each takes the tenants, an age in days and a number of rows.
const REMOVALS: &[(&str, &str, i32)] = &[
    (
        "forgetting seen events",
        "delete from syncline.sync_seen
        where ctid = any(array(
            select ctid
            from syncline.sync_seen
            where tenant = any($1)
            and seen_at < syncline.clock() - make_interval(days => $2)
            limit $3
        ))",
        SEEN_DAYS,
    ),
    (
        "removing old intents",
        "delete from syncline.sync_intent
        where intent_id = any(array(
            select intent_id
            from syncline.sync_intent
            where tenant = any($1)
            and state in ('confirmed', 'refused', 'abandoned')
            and updated_at < syncline.clock() - make_interval(days => $2)
            limit $3
        ))",
        INTENT_DAYS,
    ),
    (
        "removing old conflicts",
        "delete from syncline.sync_conflict
        where conflict_id = any(array(
            select conflict_id
            from syncline.sync_conflict
            where tenant = any($1)
            and state <> 'open'
            and closed_at < syncline.clock() - make_interval(days => $2)
            limit $3
        ))",
        CLOSED_DAYS,
    ),
    (
        "removing old dead letters",
        "delete from syncline.sync_dead_letter
        where dead_letter_id = any(array(
            select dead_letter_id
            from syncline.sync_dead_letter
            where tenant = any($1)
            and closed_at < syncline.clock() - make_interval(days => $2)
            limit $3
        ))",
        CLOSED_DAYS,
    ),
    (
        "removing old discarded values",
        "delete from syncline.sync_discarded_value
        where discarded_value_id = any(array(
            select discarded_value_id
            from syncline.sync_discarded_value
            where tenant = any($1)
            and logged_at < syncline.clock() - make_interval(days => $2)
            limit $3
        ))",
        CLOSED_DAYS,
    ),
    (
        "removing old links",
        "delete from syncline.sync_link
        where record_id = any(array(
            select link.record_id
            from syncline.sync_link as link
            where link.tenant = any($1)
            and not link.agreed
            and link.postgres_presence <> 'present'
            and link.remote_state ->> 'presence' <> 'present'
            and link.updated_at < syncline.clock() - make_interval(days => $2)
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
        // Tenants share rules, and the journal of any tenant may refer to them as long as it is kept.
        "removing old rules",
        "delete from syncline.sync_rules
        where rules_hash = any(array(
            select rules_hash
            from syncline.sync_rules
            where cardinality($1::text[]) > 0
            and last_used_on < syncline.clock()::date - $2
            limit $3
        ))",
        JOURNAL_DAYS_MAX + 1,
    ),
    (
        "forgetting expired wake-ups",
        "delete from syncline.sync_wake_up_permit
        where tenant = any($1)
        and expires_at < syncline.clock() - make_interval(days => $2)
        and $3 > 0",
        1,
    ),
];

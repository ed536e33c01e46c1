-- Observations: the outbox, the journal, and the events that were already recorded.

-- Written inside users' transactions, so an insert must not fail or wait: one table without partitions,
-- no constraint, no foreign key. Capture deletes the rows that it takes.
create table syncline.sync_outbox (
    outbox_id bigint generated always as identity,
    tenant text,
    object text,
    operation text,
    external_id text,
    -- The previous external id, if the change replaced it.
    old_external_id text,
    -- Primary key of a row without an external id before or after the change.
    local_key jsonb,
    -- The mapped columns that were written.
    changed_columns text[],
    -- What an application reported: evidence, never an input of the plan.
    changed jsonb,
    tombstone boolean,
    cursor text,
    changed_at timestamptz,
    -- When a row was entered that is no change of that moment: a row from before the triggers, or a replayed one.
    entered_at timestamptz,
    -- A trigger made the change, before the statement that fired the trigger was captured.
    nested boolean
)
with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- A replica that takes over may number rows from 1 again: so ids are in no constraint, which would refuse the
-- users' own writes.
create index sync_outbox_id_idx
    on syncline.sync_outbox (outbox_id);

-- Without a key, replication needs the whole row to delete it.
alter table syncline.sync_outbox replica identity full;

-- Renames that are not captured yet: if a row is absent under its known external id, it may just have been
-- renamed, which does not count as a delete; and a row under that external id may be another record's.
-- It holds no external id: a long one would not fit into an index, and fail the user's statement.
create index sync_outbox_renamed_idx
    on syncline.sync_outbox (tenant, object)
    where old_external_id is not null;

-- Append-only evidence of observations and decisions, by day. Only the id is unique: sync_seen removes
-- duplicates, and versions ensure correctness.
create table syncline.sync_journal (
    journal_id bigint generated always as identity,
    journaled_at timestamptz not null default syncline.clock(),
    tenant text not null,
    object text not null,
    record_id uuid,
    -- postgres | salesforce | decision | settlement
    source text not null,
    operation text not null,
    external_id text,
    salesforce_id text collate "C",
    stream text,
    cursor text,
    org_epoch bigint,
    payload jsonb,
    status text,
    observed_at timestamptz,
    config_hash text,
    constraint sync_journal_pkey primary key (journaled_at, journal_id)
)
partition by range (journaled_at);

create index sync_journal_record_id_idx
    on syncline.sync_journal (record_id, journal_id);

-- Receives the rows of days without their own partition, so that inserts never fail.
create table syncline.sync_journal_default
    partition of syncline.sync_journal default;

-- Creates the day partitions from today to `days` ahead and returns how many are new.
--
-- It runs as its owner, as the function that drops them does: only the owner of a table may add a partition, and the
-- role that runs the jobs need not own the schema.
create function syncline.ensure_journal_partitions(days integer)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    day date;
    partition text;
    created integer := 0;
begin
    for day in
        select syncline.clock()::date + ahead from generate_series(0, days) as ahead
    loop
        partition := 'sync_journal_' || to_char(day, 'YYYYMMDD');
        continue when to_regclass('syncline.' || partition) is not null;
        begin
            -- Created separately and then attached: attaching blocks only other changes of the parent's
            -- definition, while `create table ... partition of` would block every reader and writer.
            execute format(
                'create table syncline.%I (like syncline.sync_journal including defaults including constraints)',
                partition
            );
            execute format(
                'alter table syncline.sync_journal attach partition syncline.%I for values from (%L) to (%L)',
                partition, day::timestamptz, (day + 1)::timestamptz
            );
            created := created + 1;
        exception
            -- The default partition already has rows of that day, another session was faster, or a long
            -- read has the lock: rows go to the default partition until the next sweep tries again.
            when check_violation or duplicate_table or duplicate_object or unique_violation or lock_not_available then
                null;
        end;
    end loop;
    return created;
end
$$;

-- Drops the day partitions that end before `keep_from` and returns how many.
create function syncline.drop_journal_partitions(keep_from timestamptz)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    partition text;
    dropped integer := 0;
begin
    for partition in
        select child.relname
        from pg_inherits as tie
        join pg_class as child on child.oid = tie.inhrelid
        where tie.inhparent = 'syncline.sync_journal'::regclass
        and child.relname ~ '^sync_journal_\d{8}$'
        and to_date(right(child.relname, 8), 'YYYYMMDD') + 1 <= keep_from::date
        order by child.relname
    loop
        begin
            execute format('drop table syncline.%I', partition);
            dropped := dropped + 1;
        exception
            when undefined_table or lock_not_available or deadlock_detected then
                null;
        end;
    end loop;
    return dropped;
end
$$;

-- The rules of past decisions, each stored once. A decision in the journal refers to them by their hash,
-- so that it can be repeated long after the configuration has changed. Kept as long as the journal.
create table syncline.sync_rules (
    rules_hash text not null,
    rules jsonb not null,
    last_used_on date not null default syncline.clock()::date,
    constraint sync_rules_pkey primary key (rules_hash)
);

-- Events that were already recorded. One event may contain many records, so the key includes the position
-- within the event. The same position with other content is not a duplicate.
create table syncline.sync_seen (
    tenant text not null,
    org_epoch bigint not null,
    stream text not null,
    cursor text not null,
    object text not null,
    record text not null,
    ordinal integer not null,
    payload_hash text not null,
    seen_at timestamptz not null default syncline.clock(),
    constraint sync_seen_pkey primary key (tenant, org_epoch, stream, cursor, object, record, ordinal)
);

create index sync_seen_seen_at_idx
    on syncline.sync_seen (seen_at);

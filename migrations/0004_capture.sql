-- Capture inside users' transactions.
--
-- These functions run in users' transactions: they must not fail, must not wait, and must not trust the
-- session. They run as their owner with a fixed search path, and take tenant and object from their own text or the
-- trigger's arguments, which a user cannot change. `install` creates those that capture rows, for each mapped object.

-- Whether the outbox itself is replicated to this database from another one: the changes that come with it were captured
-- there, and their outbox rows come, too.
create function syncline.outbox_is_replicated()
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select
        from pg_subscription_rel as replicated
        where replicated.srrelid = to_regclass('syncline.sync_outbox')
    )
$$;

-- Whether the partition belongs to a table that has this trigger: one that was detached keeps its own.
create function syncline.is_captured_partition(partition oid, trigger_name name)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select
        from pg_trigger as trigger
        where trigger.tgrelid = pg_partition_root(is_captured_partition.partition)
        and trigger.tgname = is_captured_partition.trigger_name
    )
$$;

-- Returns what changed in a row, nothing if no mapped column did. `install` creates functions that read rows without
-- turning them into JSON, which is slow; they fall back to this one if a column was renamed, dropped or is of another
-- type since.
create function syncline.change_of(
    old_row jsonb,
    new_row jsonb,
    external_column text,
    mapped_columns text[],
    key_columns text[]
)
returns table (external_id text, old_external_id text, local_key jsonb, changed_columns text[])
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    -- The whole text, unchanged; null if it has only blanks.
    anything_but_blank constant text := '^.*[^[:space:][:cntrl:]].*$';
    old_external constant text := substring(old_row ->> external_column from anything_but_blank);
    new_external constant text := substring(new_row ->> external_column from anything_but_blank);
begin
    changed_columns := array(
        select mapped
        from unnest(mapped_columns) as mapped
        where new_row ? mapped
        and (old_row is null or new_row -> mapped is distinct from old_row -> mapped)
    );
    if old_row is not null and new_row is not null and changed_columns = '{}' then
        return;
    end if;
    if new_row is null then
        changed_columns := null;
        external_id := old_external;
    else
        external_id := new_external;
        old_external_id := nullif(old_external, new_external);
    end if;
    if external_id is null or old_row is not null and old_external is null then
        local_key := (
            select jsonb_object_agg(part, coalesce(old_row, new_row) -> part)
            from unnest(key_columns) as part
        );
    end if;
    return next;
end
$$;

-- Statement trigger for truncate. Arguments: tenant, object, and 'partition' if it is on one.
create function syncline.capture_truncate()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Without our outbox, what a subscription writes is a change like any other.
    if current_setting('session_replication_role') = 'replica' and syncline.outbox_is_replicated() then
        return null;
    end if;

    if tg_argv[2] = 'partition' and not syncline.is_captured_partition(tg_relid, tg_name) then
        return null;
    end if;

    -- A control plane that was dropped by hand must not block users; the sweep reports it.
    if to_regclass('syncline.sync_outbox') is null then
        return null;
    end if;
    insert into syncline.sync_outbox (tenant, object, operation, tombstone, changed_at)
    values (tg_argv[0], tg_argv[1], 'truncate', true, syncline.wall_clock());
    return null;
end
$$;

-- Lets an application report that a record changed. It uses the only tenant of the database. If there are
-- several, the row has no tenant, and capture stores it as a dead letter.
create function syncline.emit(
    object text,
    operation text,
    external_id text,
    payload jsonb default null,
    cursor text default null
)
returns bigint
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    insert into syncline.sync_outbox (
        tenant, object, operation, external_id, changed, tombstone, cursor, changed_at
    )
    select
        (
            select min(control.tenant)
            from syncline.sync_control as control
            having count(*) = 1
        ),
        emit.object,
        emit.operation,
        emit.external_id,
        emit.payload,
        emit.operation = 'delete',
        emit.cursor,
        syncline.wall_clock()
    returning outbox_id
$$;

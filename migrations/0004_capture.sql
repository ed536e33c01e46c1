-- Capture inside users' transactions.
--
-- These functions run in users' transactions: they must not fail, must not wait, and must not trust the
-- session. They run as their owner with a fixed search path, and take tenant and object from the
-- trigger's arguments, which a user cannot change.

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

-- Row trigger. Arguments: tenant, object, external id column, mapped columns, primary key columns.
create function syncline.capture_row()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    external_column constant text := tg_argv[2];
    mapped_columns constant text[] := tg_argv[3];
    key_columns constant text[] := tg_argv[4];
    -- The whole text, unchanged; null if it has only blanks.
    anything_but_blank constant text := '^.*[^[:space:][:cntrl:]].*$';
    old_row jsonb;
    new_row jsonb;
    old_external text;
    new_external text;
    the_key jsonb;
    the_change jsonb;
begin
    -- Our own writes are recognized by their transaction, not by a session variable that any user could
    -- set. Only at depth 1: what users' triggers change because of our write is their change.
    if pg_trigger_depth() = 1 and exists (
        select
        from syncline.engine_tx as engine
        where engine.xid = pg_current_xact_id()
    ) then
        return null;
    end if;

    -- Without our outbox, what a subscription writes is a change like any other.
    if current_setting('session_replication_role') = 'replica' and syncline.outbox_is_replicated() then
        return null;
    end if;

    -- Turning a row into JSON can fail (a user-defined cast, a value of more than 256 MB). The block
    -- writes nothing, so its subtransaction needs no transaction id.
    begin
        if tg_op <> 'INSERT' then
            old_row := to_jsonb(old);
            old_external := substring(old_row ->> external_column from anything_but_blank);
        end if;
        if tg_op <> 'DELETE' then
            new_row := to_jsonb(new);
            new_external := substring(new_row ->> external_column from anything_but_blank);
            select jsonb_object_agg(mapped, new_row -> mapped)
            into the_change
            from unnest(mapped_columns) as mapped
            where new_row ? mapped
            and (tg_op = 'INSERT' or new_row -> mapped is distinct from old_row -> mapped);
        end if;
        if tg_op = 'UPDATE' and the_change is null then
            return null;
        end if;
        if new_external is null or (tg_op <> 'INSERT' and old_external is null) then
            select jsonb_object_agg(part, coalesce(old_row, new_row) -> part)
            into the_key
            from unnest(key_columns) as part;
        end if;
        if tg_op = 'DELETE' then
            new_external := old_external;
            if new_external is not null then
                the_key := null;
            end if;
        end if;
    exception
        when others then
            -- Capture stores a row without a key as a dead letter.
            new_external := null;
            old_external := null;
            the_key := null;
            the_change := jsonb_build_object('capture_error', sqlstate);
    end;

    -- A control plane that was dropped by hand must not block users; the sweep reports it.
    if to_regclass('syncline.sync_outbox') is null then
        return null;
    end if;

    insert into syncline.sync_outbox (
        tenant, object, operation, external_id, old_external_id, local_key, changed, tombstone, changed_at
    )
    values (
        tg_argv[0],
        tg_argv[1],
        lower(tg_op),
        new_external,
        case when tg_op = 'UPDATE' and old_external is distinct from new_external then old_external end,
        the_key,
        the_change,
        tg_op = 'DELETE',
        -- Not clock(): the user's transaction may have begun long ago.
        syncline.wall_clock()
    );
    return null;
end
$$;

-- Statement trigger for truncate. Arguments: tenant, object.
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

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

-- Returns the query of what changed, nothing of a row of which no mapped column did. `install` creates functions that name
-- the columns of a table in static SQL; they fall back to this query if a column was renamed, dropped or is of another
-- type since. It reads the transition tables or, `of_row`, the row before as $1 and the row after as $2.
--
-- It runs with the rights of those functions, so it calls nothing that the owner of a table could have made: values of
-- other types than Postgres's own are read by the output functions of their types, never by casts and operators.
--
-- There is no query, which is an error for who runs it, if the column of the external id is gone.
create function syncline.capture_query(
    operation text,
    captured_table oid,
    of_row boolean,
    external_column text,
    mapped_columns text[],
    key_columns text[]
)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    old_rows text := case when of_row then '(select ($1).*)' else 'old_rows' end;
    new_rows text := case when of_row then '(select ($2).*)' else 'new_rows' end;
    side text;
    found_columns text[];
    changed text;
    key text;
begin
    with recursive base as (
        select attribute.attnum, attribute.attname, attribute.atttypid as type
        from pg_attribute as attribute
        where attribute.attrelid = captured_table
        and attribute.attnum > 0
        and not attribute.attisdropped
        and attribute.attname = any (mapped_columns || key_columns)
        union all
        select base.attnum, base.attname, type.typbasetype
        from base
        join pg_type as type on type.oid = base.type
        where type.typtype = 'd'
    ),
    found as (
        select
            base.attnum,
            base.attname,
            base.attname = any (mapped_columns) as is_mapped,
            base.attname = any (key_columns) as is_key,
            -- Users' types have ids from 16384. Only a superuser can make a cast between two others.
            case
                when base.type < 16384 then format('to_jsonb(r.%I)', base.attname)
                else format('to_jsonb(concat(r.%I))', base.attname)
            end as json
        from base
        join pg_type as type on type.oid = base.type
        where type.typtype <> 'd'
    )
    select
        format(
            'select place, case when id ~ ''[^[:space:][:cntrl:]]'' then id end as id, local_key, %s
            from (select row_number() over () as place, %s #>> ''{}'' as id, %s as local_key, %s from ',
            string_agg(format('c%s', attnum), ', ') filter (where is_mapped),
            min(json) filter (where attname = external_column),
            coalesce(
                'jsonb_build_object(' || string_agg(format('%L, %s', attname, json), ', ') filter (where is_key) || ')',
                'null::jsonb'
            ),
            string_agg(format('r.%I as c%s', attname, attnum), ', ') filter (where is_mapped)
        ),
        array_agg(attname::text order by array_position(mapped_columns, attname::text)) filter (where is_mapped),
        string_agg(
            -- Without the cast Postgres would compare the columns, by an operator of their type.
            format('case when row(o.c%s)::record operator(pg_catalog.*<>) row(n.c%1$s)::record then %L end', attnum, attname),
            ', '
            order by array_position(mapped_columns, attname::text)
        ) filter (where is_mapped),
        -- A row that has no other name than a key of which a column is gone is an error, too.
        case when count(*) filter (where is_key) = cardinality(key_columns) then 'local_key' else 'to_jsonb(place / 0)' end
    into side, found_columns, changed, key
    from found
    having bool_or(attname = external_column);
    old_rows := side || old_rows || ' as r) as picked';
    new_rows := side || new_rows || ' as r) as picked';
    return case operation
        when 'insert' then
            'select id, null::text, case when id is null then ' || key || ' end, ' || quote_literal(found_columns)
            || '::text[] from (' || new_rows || ') as n'
        when 'delete' then
            'select id, null::text, case when id is null then ' || key || ' end, null::text[] from (' || old_rows || ') as o'
        else
            'select new_id, nullif(old_id, new_id), case when new_id is null or old_id is null then ' || key || ' end, columns
            from (
                select
                    o.place, o.id as old_id, n.id as new_id, o.local_key,
                    array_remove(array[' || changed || ']::text[], null) as columns
                from (' || old_rows || ') as o
                join (' || new_rows || ') as n on n.place = o.place
            ) as pair
            where cardinality(columns) > 0
            order by place'
    end;
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

-- What users and their applications may read and call.

-- One row per record that exists on at least one side. It has ids, states and reasons, never values.
-- Records in Salesforce that do not match their object's filter are neither in sync nor pending.
-- A role sees the records of tables that it may read and of which row security hides nothing from it: a database may
-- hold tables of several tenants.
create view syncline.record_status as
select
    link.tenant,
    link.object,
    link.record_id,
    link.external_id,
    link.salesforce_id,
    case
        when task.state = 'parked' then 'parked'
        when conflict.fields is not null then 'conflict'
        when task.record_id is not null or writing.record_id is not null or scan.needs_resync then 'pending'
        when link.remote_state ->> 'presence' = 'filtered_out' then 'filtered_out'
        -- The row of a record that was deleted in Salesforce stays, marked as deleted.
        when not link.agreed and link.remote_state ->> 'presence' = 'deleted' then 'in_sync'
        when not link.agreed then 'pending'
        else 'in_sync'
    end as state,
    case
        when task.state = 'parked' then task.code
        when conflict.fields is not null then 'conflict on ' || conflict.fields
        when task.record_id is not null then coalesce(task.code, 'waiting to be applied')
        when writing.record_id is not null then 'a write is under way'
        when scan.needs_resync then 'the object is being read again'
        when link.remote_state ->> 'presence' = 'filtered_out' then 'outside the filter of the object'
        when not link.agreed and link.remote_state ->> 'presence' = 'deleted' then 'deleted in Salesforce'
        when not link.agreed then 'held by one side only'
    end as reason,
    (
        select array_agg(automation.key order by automation.key)
        from jsonb_each(link.automation_overrides) as automation
        where (automation.value ->> 'count')::integer >= 2
    ) as automation_override_fields,
    coalesce(conflict.opened_at, task.dirty_since, writing.created_at) as since,
    syncline.clock() - coalesce(conflict.opened_at, task.dirty_since, writing.created_at) as age,
    link.updated_at
from syncline.sync_link as link
left join syncline.sync_task as task
    on task.record_id = link.record_id
left join lateral (
    select
        string_agg(coalesce(open.field, 'the whole record'), ', ' order by open.field) as fields,
        min(open.opened_at) as opened_at
    from syncline.sync_conflict as open
    where open.record_id = link.record_id
    and open.state = 'open'
) as conflict on true
left join lateral (
    select intent.record_id, intent.created_at
    from syncline.sync_intent as intent
    where intent.record_id = link.record_id
    and intent.state in ('open', 'unknown')
    limit 1
) as writing on true
left join syncline.sync_checkpoint as scan
    on scan.tenant = link.tenant
    and scan.stream = 'scan:' || link.object
    and scan.needs_resync
where (
    link.agreed
    or link.postgres_presence = 'present'
    or link.remote_state ->> 'presence' = 'present'
    or task.record_id is not null
    or conflict.fields is not null
)
and (
    has_table_privilege('syncline.sync_link', 'select')
    or (link.tenant, link.object) in (
        select capture.tenant, capture.object
        from syncline.sync_capture as capture
        where has_table_privilege(capture.table_oid, 'select')
        -- A role from which row security may hide rows sees none of their records either.
        and not row_security_active(capture.table_oid)
    )
);

-- Moves every sequence of the control plane past the values that its table has. After logical replication, the
-- replica's sequences begin at 1 again.
create function syncline.advance_sequences()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    numbered record;
    highest bigint;
begin
    for numbered in
        select
            format('%I.%I', namespace.nspname, class.relname) as table_name,
            attribute.attname::text as column_name,
            pg_get_serial_sequence(format('%I.%I', namespace.nspname, class.relname), attribute.attname) as sequence
        from pg_attribute as attribute
        join pg_class as class on class.oid = attribute.attrelid
        join pg_namespace as namespace on namespace.oid = class.relnamespace
        where namespace.nspname = 'syncline'
        and attribute.attidentity <> ''
        and not class.relispartition
        union all
        select 'syncline.sync_task', 'fencing_token', 'syncline.fencing_token'
    loop
        execute format('select max(%I) from %s', numbered.column_name, numbered.table_name) into highest;
        -- Never back: a value that was given once is not given again.
        perform setval(numbered.sequence, greatest(highest, nextval(numbered.sequence)));
    end loop;
end
$$;

revoke all on all tables in schema syncline from public;
revoke all on all functions in schema syncline from public;
grant usage on schema syncline to public;
grant select on syncline.record_status to public;
grant execute on function syncline.emit(text, text, text, jsonb, text) to public;
grant execute on function syncline.clock() to public;-- So that a role which may only read the tables can ask for ages, and whether this is a copy. They show nothing that
-- Postgres does not show itself.
grant execute on function syncline.wall_clock() to public;
grant execute on function syncline.this_database() to public;

-- Time and ids, tenants, streams, and what the workers of a tenant share.

-- All our statements, triggers and defaults take time and ids only from these functions, so that a
-- simulation can replace them. Each is one expression, so that Postgres inlines it: a condition on
-- clock() can use an index, like one on the built-in function.

-- The time at which the transaction began: everything that one transaction records has one time.
create function syncline.clock()
returns timestamptz
language sql
stable
parallel safe
as $$
    select now()
$$;

-- The current time, even within a transaction: for leases, which must not begin before they are given,
-- and for users' transactions, which may be long.
create function syncline.wall_clock()
returns timestamptz
language sql
volatile
parallel safe
as $$
    select clock_timestamp()
$$;

-- A new random id.
create function syncline.new_id()
returns uuid
language sql
volatile
parallel safe
as $$
    select gen_random_uuid()
$$;

-- One row per tenant: its switches and the org it belongs to.
create table syncline.sync_control (
    tenant text not null,
    -- The tenant is paused: nothing is leased, capture continues.
    paused_at timestamptz,
    paused_reason text,
    organization_id text collate "C",
    -- The login leads to this org instead: nothing is done until a person adopts it or the login is corrected.
    other_organization_id text collate "C",
    -- Our user in the org: known while the org cannot be reached.
    user_id text collate "C",
    -- Increases when the org's id changes: positions and commit numbers of two epochs are never compared.
    org_epoch bigint not null default 0,
    -- How far Salesforce's clock is ahead of this database's, as last measured, and by how much that may be wrong.
    -- The sum is how far apart two edits must be, beyond a fixed tolerance, for the later one to win.
    clock_skew_ms bigint,
    clock_uncertainty_ms bigint,
    clock_measured_at timestamptz,
    -- Set by a person, instead of that sum.
    clock_skew_set_ms bigint,
    -- The API requests of 24 hours that all users of the org have used, and how many there are, as last measured.
    api_requests_used bigint,
    api_requests_max bigint,
    api_requests_measured_at timestamptz,
    -- When something last changed on either side: captures keep polling for active tenants only, whichever
    -- instance they run on.
    active_at timestamptz,
    -- How often stopped work was replayed. What the sides allow was probably changed before, so a job that finds more
    -- replays than it knows describes the org again. No time: of two transactions the one that began first may commit
    -- last.
    replays bigint not null default 0,
    updated_at timestamptz not null default syncline.clock(),
    constraint sync_control_pkey primary key (tenant)
);

-- What is the same in every connection to this database and differs in another one.
--
-- The system identifier belongs to the cluster; a physical copy has it, too. It is null if our role may not ask for
-- it. Not one expression: Postgres checks the privileges of all functions of a statement, reached or not.
create function syncline.this_database()
returns table (system_identifier text, database_oid bigint, database_name text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if has_function_privilege('pg_catalog.pg_control_system()', 'execute') then
        system_identifier := (select control.system_identifier::text from pg_control_system() as control);
    end if;
    select database.oid::bigint, database.datname::text
    into database_oid, database_name
    from pg_database as database
    where database.datname = current_database();
    return next;
end
$$;

-- Which database the records of a tenant belong to. In any other one, and at any other endpoint, nothing of the
-- tenant is done until a person adopts it. Per tenant, because each configures its endpoint, and because a copy may
-- go on for one tenant and stand still for another.
create table syncline.sync_database (
    tenant text not null,
    system_identifier text,
    database_oid bigint not null,
    database_name text not null,
    -- Host or socket, port and name of the connection URL.
    endpoint text not null,
    -- A person declared this database a copy: nothing of the tenant is ever done in it.
    copy_since timestamptz,
    known_since timestamptz not null default syncline.clock(),
    -- The values that this database may have given the fence since the last time that it surely did: after a crash or a
    -- lost answer, each may be there. Any other value was written by another copy.
    fence_known text[] not null default '{}',
    fence_claimed_at timestamptz,
    fence_moved_at timestamptz,
    fence_problem text,
    fence_lost_at timestamptz,
    fence_lost_to text,
    -- A person decided that this database goes on: the next move accepts any value.
    fence_takes_over boolean not null default false,
    constraint sync_database_pkey primary key (tenant)
);

-- Why a tenant's org cannot be used, while it cannot: a refused sign-in, a spent quota, maintenance. It concerns
-- every record alike, so it is kept here and counts as no record's attempt.
create table syncline.sync_outage (
    tenant text not null,
    code text not null,
    message text not null,
    -- Only the API calls are spent: events still arrive.
    quota boolean not null,
    since timestamptz not null default syncline.clock(),
    -- How often the org was tried, and when it is tried again.
    tries integer not null default 1,
    retry_at timestamptz not null,
    constraint sync_outage_pkey primary key (tenant)
);

-- The schema of each mapped object as Salesforce last described it: work that does not need the org goes on while
-- it cannot be reached.
create table syncline.sync_schema (
    tenant text not null,
    object text not null,
    described jsonb not null,
    -- When, and how often work had been replayed until then: a process that starts soon after need not ask again.
    described_at timestamptz not null default syncline.clock(),
    replays bigint not null default 0,
    -- The mapped fields that both sides had last: every record is read and planned again when another one is added.
    used_fields text[],
    constraint sync_schema_pkey primary key (tenant, object)
);

-- Mapped fields that one side lacks: a field that was deleted or hidden in Salesforce, a column that was dropped.
-- Their changes are withheld, everything else goes on.
create table syncline.sync_withheld_field (
    tenant text not null,
    object text not null,
    field text not null,
    problem text not null,
    since timestamptz not null default syncline.clock(),
    constraint sync_withheld_field_pkey primary key (tenant, object, field)
);

-- A stream has one owner and one position. The position is replaced by compare-and-set on its previous
-- bytes under the lease's fencing token, never by order: replay ids have no order.
create table syncline.sync_checkpoint (
    tenant text not null,
    stream text not null,
    position text,
    -- Changes before the position may be missing. A stream without a position needs a resync.
    needs_resync boolean not null default true,
    resync_reason text,
    lease_owner text,
    fencing_token bigint not null default 0,
    lease_until timestamptz,
    captured_at timestamptz,
    -- When its owner last read it: without new changes the position stays, and captured_at with it.
    read_at timestamptz,
    updated_at timestamptz not null default syncline.clock(),
    constraint sync_checkpoint_pkey primary key (tenant, stream)
);

-- How the jobs fare that run at fixed intervals: `syncline status` reports one that fails or does not run.
create table syncline.sync_job (
    tenant text not null,
    job text not null,
    -- The object that an apply worked on; empty for jobs of the whole tenant.
    object text not null default '',
    succeeded_at timestamptz,
    -- When it failed first after its last success.
    failing_since timestamptz,
    failed_at timestamptz,
    -- Why it failed last, without values.
    error text,
    constraint sync_job_pkey primary key (tenant, job, object)
);

-- The capture triggers that `install` created, so that a sweep notices when they are gone or changed.
create table syncline.sync_capture (
    tenant text not null,
    object text not null,
    table_schema text not null,
    table_name text not null,
    table_oid oid not null,
    partitions oid[] not null,
    -- Rows from before the triggers, or from while they were broken, are in the outbox.
    rows_enqueued boolean not null default false,
    broken text,
    -- Why no change events of the object arrive from Salesforce.
    events_missing text,
    installed_at timestamptz not null default syncline.clock(),
    constraint sync_capture_pkey primary key (tenant, object)
);

-- Full comparisons of each object: the last finished one, and the one under way. No values, only keys.
create table syncline.sync_comparison (
    tenant text not null,
    object text not null,
    started_at timestamptz not null default syncline.clock(),
    finished_at timestamptz,
    config_hash text not null,
    -- Where it goes on: the side and the last key.
    position jsonb,
    -- Rows and Salesforce records that were counted, rows that were compared with a Salesforce record, rows that the
    -- walk of the table met, and links of records that neither side has any more.
    row_count bigint not null default 0,
    in_salesforce bigint not null default 0,
    pairs bigint not null default 0,
    rows_met bigint not null default 0,
    gone bigint not null default 0,
    -- Records by class; records that differ by field; keys of some records that a person may look at.
    classes jsonb not null default '{}',
    fields jsonb not null default '{}',
    samples jsonb not null default '[]',
    updated_at timestamptz not null default syncline.clock(),
    constraint sync_comparison_pkey primary key (tenant, object, started_at),
    constraint sync_comparison_position_check check ((finished_at is null) = (position is not null))
);

create unique index sync_comparison_running_key
    on syncline.sync_comparison (tenant, object)
    where finished_at is null;

create unique index sync_comparison_finished_key
    on syncline.sync_comparison (tenant, object)
    where finished_at is not null;

-- A wake-up needs a free permit, so that wake-ups cannot multiply.
create table syncline.sync_wake_up_permit (
    tenant text not null,
    object text not null,
    permit integer not null,
    expires_at timestamptz not null,
    constraint sync_wake_up_permit_pkey primary key (tenant, object, permit)
);

-- Transactions in which the engine writes mapped tables. A capture trigger skips a row only if its
-- transaction is listed here. The entry is deleted before the commit, so no other transaction ever
-- sees it.
create table syncline.engine_tx (
    xid xid8 not null,
    constraint engine_tx_pkey primary key (xid)
);

-- Deletes are counted per object: too many of them wait for a person. The row stays locked from the count to
-- the commit, so that concurrent workers cannot exceed the limit together.
create table syncline.sync_delete_guard (
    tenant text not null,
    object text not null,
    -- A person approved deletes until this time: no delete is withheld before it.
    approved_until timestamptz,
    constraint sync_delete_guard_pkey primary key (tenant, object)
);

-- The deletes of the last day that went without approval, one row a record: at most as many as the limit.
create table syncline.sync_delete (
    record_id uuid not null,
    tenant text not null,
    object text not null,
    deleted_at timestamptz not null default syncline.clock(),
    constraint sync_delete_pkey primary key (record_id)
);

create index sync_delete_deleted_at_idx
    on syncline.sync_delete (tenant, object, deleted_at);

-- Values that were cleared within the last hour without approval, one row a record and field.
create table syncline.sync_clear (
    record_id uuid not null,
    field text not null,
    tenant text not null,
    object text not null,
    cleared_at timestamptz not null default syncline.clock(),
    constraint sync_clear_pkey primary key (record_id, field)
);

create index sync_clear_cleared_at_idx
    on syncline.sync_clear (tenant, object, cleared_at);

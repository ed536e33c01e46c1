-- Records: their ids, their last known state, their pending work.

-- Fencing tokens of record leases. Used as a column default, so that no statement contains the sequence's
-- name: some connection proxies pin the sessions of such statements.
create sequence syncline.fencing_token as bigint;

-- One record: its current ids, the last known state of each side, and the base.
create table syncline.sync_link (
    record_id uuid not null default syncline.new_id(),
    tenant text not null,
    object text not null,
    org_epoch bigint not null default 0,
    -- The external id as given, and its canonical form for comparisons. The canonical form is unique.
    external_id text not null,
    canonical_id text collate "C" not null,
    -- The external id was generated and neither side has confirmed it yet.
    generated boolean not null default false,
    salesforce_id text collate "C",
    -- The row took the external id of another live record. A person must decide; until then its absence
    -- under the old external id does not count as a delete.
    key_conflict boolean not null default false,
    -- Primary key of a row that was inserted without an external id.
    local_key jsonb,
    -- Per field, the last value on which both sides agreed.
    base jsonb not null default '{}',
    -- Both sides have had the record at the same time since it was last deleted.
    agreed boolean not null default false,
    remote_state jsonb not null,
    automation_overrides jsonb not null default '{}',
    -- The row as last captured: a hint for renames and vanished rows, never an input of the plan.
    postgres_presence text not null default 'unseen',
    postgres_changed_at timestamptz,
    -- When mapped columns were last edited, by field, in milliseconds since the epoch: only while the record has
    -- work, for objects whose later edit wins.
    postgres_edited jsonb not null default '{}',
    version bigint not null default 1,
    created_at timestamptz not null default syncline.clock(),
    updated_at timestamptz not null default syncline.clock(),
    constraint sync_link_pkey primary key (record_id),
    constraint sync_link_postgres_presence_check check (postgres_presence in ('unseen', 'present', 'deleted'))
)
-- Every change updates a link several times, seldom its keys: with room on its page, no index is written then.
with (fillfactor = 50);

-- The most selective column comes first: until the tables are analyzed, Postgres estimates that tenant
-- and object are as selective as a key, and may scan the wrong index.
create unique index sync_link_canonical_key
    on syncline.sync_link (canonical_id, object, tenant);

create unique index sync_link_salesforce_key
    on syncline.sync_link (salesforce_id, object, tenant)
    where salesforce_id is not null;

create unique index sync_link_local_key
    on syncline.sync_link (local_key, object, tenant)
    where local_key is not null;

-- Every name that a record has or had. Current ones are unique; former ones are history.
create table syncline.sync_link_alias (
    alias_id bigint generated always as identity,
    tenant text not null,
    object text not null,
    kind text not null,
    -- An external id as written on one side, or a Salesforce id.
    value text collate "C" not null,
    record_id uuid not null,
    -- A separate boolean, because until the table is analyzed Postgres estimates that an index over
    -- "valid_to is null" is almost empty, and scans all of it.
    is_current boolean not null default true,
    valid_from timestamptz not null default syncline.clock(),
    valid_to timestamptz,
    constraint sync_link_alias_pkey primary key (alias_id),
    constraint sync_link_alias_current_check check (is_current = (valid_to is null)),
    constraint sync_link_alias_kind_check check (kind in ('external_id', 'salesforce_id')),
    constraint sync_link_alias_record_id_fkey foreign key (record_id)
        references syncline.sync_link (record_id) on delete cascade
);

create unique index sync_link_alias_current_key
    on syncline.sync_link_alias (value, kind, object, tenant)
    where is_current;

create index sync_link_alias_record_id_idx
    on syncline.sync_link_alias (record_id, kind);

create index sync_link_alias_history_idx
    on syncline.sync_link_alias (value, kind, object, tenant)
    where not is_current;

-- A record that has work: one row, however many changes it had.
create table syncline.sync_task (
    record_id uuid not null,
    tenant text not null,
    object text not null,
    state text not null default 'ready',
    -- Increases with every new change: settling deletes the task only if it has not increased meanwhile.
    generation bigint not null default 1,
    -- Failed attempts by what they failed on.
    attempts jsonb not null default '{}',
    due_at timestamptz not null default syncline.clock(),
    -- The record must be read in Salesforce before it is planned.
    needs_refresh boolean not null default false,
    -- Why it waits or is parked: a stable code, and a text without values.
    code text,
    reason text,
    -- The parents for which it waits, by Salesforce id or external id: it becomes due when they exist.
    awaits text[],
    -- Every lease and every end of a lease takes a new token, so that a late worker changes nothing.
    fencing_token bigint not null default nextval('syncline.fencing_token'),
    lease_owner text,
    lease_until timestamptz,
    dirty_since timestamptz not null default syncline.clock(),
    updated_at timestamptz not null default syncline.clock(),
    constraint sync_task_pkey primary key (record_id),
    constraint sync_task_state_check check (state in ('ready', 'leased', 'parked')),
    constraint sync_task_lease_check check ((state = 'leased') = (lease_until is not null)),
    constraint sync_task_record_id_fkey foreign key (record_id)
        references syncline.sync_link (record_id) on delete cascade
);

create index sync_task_ready_idx
    on syncline.sync_task (tenant, object, due_at, record_id)
    where state = 'ready';

create index sync_task_leased_idx
    on syncline.sync_task (lease_until)
    where state = 'leased';

create index sync_task_parked_idx
    on syncline.sync_task (tenant, object)
    where state = 'parked';

create index sync_task_awaits_idx
    on syncline.sync_task using gin (awaits)
    where awaits is not null;

create index sync_task_dirty_idx
    on syncline.sync_task (dirty_since);

-- A remote write, recorded before it is made.
create table syncline.sync_intent (
    intent_id uuid not null,
    record_id uuid not null,
    tenant text not null,
    object text not null,
    fencing_token bigint not null,
    action text not null,
    fields jsonb not null,
    echoed jsonb not null default '[]',
    state text not null default 'open',
    deadline timestamptz not null,
    config_hash text not null,
    refusal jsonb,
    created_at timestamptz not null default syncline.wall_clock(),
    updated_at timestamptz not null default syncline.clock(),
    constraint sync_intent_pkey primary key (intent_id),
    constraint sync_intent_state_check
        check (state in ('open', 'applied', 'confirmed', 'refused', 'unknown', 'abandoned')),
    constraint sync_intent_record_id_fkey foreign key (record_id)
        references syncline.sync_link (record_id) on delete cascade
);

-- A record has at most one unfinished write.
create unique index sync_intent_open_key
    on syncline.sync_intent (record_id)
    where state = 'open';

create index sync_intent_live_idx
    on syncline.sync_intent (record_id)
    where state in ('open', 'applied', 'unknown', 'abandoned');

create index sync_intent_record_id_idx
    on syncline.sync_intent (record_id);

create index sync_intent_waiting_idx
    on syncline.sync_intent (updated_at)
    where state in ('open', 'applied', 'unknown');

create index sync_intent_settled_idx
    on syncline.sync_intent (updated_at)
    where state in ('confirmed', 'refused', 'abandoned');

-- Conflicts for a person to resolve: at most one open row per record and field.
create table syncline.sync_conflict (
    conflict_id bigint generated always as identity,
    record_id uuid not null,
    tenant text not null,
    object text not null,
    -- Null when one side deleted the record that the other edited.
    field text,
    state text not null default 'open',
    -- Canonical values: SQL null without a value, JSON null if the field was cleared.
    base_value jsonb,
    postgres_value jsonb,
    salesforce_value jsonb,
    -- The exact value of each side; a resolution is checked against it.
    postgres_seen jsonb,
    salesforce_seen jsonb,
    version bigint not null default 1,
    config_hash text not null,
    opened_at timestamptz not null default syncline.clock(),
    updated_at timestamptz not null default syncline.clock(),
    closed_at timestamptz,
    resolution text,
    constraint sync_conflict_pkey primary key (conflict_id),
    constraint sync_conflict_state_check check (state in ('open', 'resolved', 'closed')),
    constraint sync_conflict_record_id_fkey foreign key (record_id)
        references syncline.sync_link (record_id) on delete cascade
);

create unique index sync_conflict_open_key
    on syncline.sync_conflict (record_id, coalesce(field, ''))
    where state = 'open';

create index sync_conflict_inbox_idx
    on syncline.sync_conflict (tenant, object, conflict_id)
    where state = 'open';

create index sync_conflict_record_id_idx
    on syncline.sync_conflict (record_id);

create index sync_conflict_closed_idx
    on syncline.sync_conflict (closed_at)
    where state <> 'open';

-- Discarded values: by a rule, by an owner, or because our write replaced them before they were seen.
-- Each can be restored from here.
create table syncline.sync_discarded_value (
    discarded_value_id bigint generated always as identity,
    record_id uuid not null,
    tenant text not null,
    object text not null,
    field text not null,
    side text not null,
    value jsonb not null,
    rule text not null,
    -- When each side edited the field, if that decided.
    edited jsonb,
    config_hash text not null,
    logged_at timestamptz not null default syncline.clock(),
    constraint sync_discarded_value_pkey primary key (discarded_value_id),
    constraint sync_discarded_value_side_check check (side in ('salesforce', 'postgres'))
);

create index sync_discarded_value_record_id_idx
    on syncline.sync_discarded_value (record_id, field);

create index sync_discarded_value_logged_at_idx
    on syncline.sync_discarded_value (logged_at);

-- Stopped work, with the reason and everything that is needed to continue.
create table syncline.sync_dead_letter (
    dead_letter_id bigint generated always as identity,
    tenant text not null,
    object text not null,
    record_id uuid,
    origin text not null,
    code text not null,
    field text,
    message text not null,
    payload jsonb,
    attempts integer not null default 0,
    created_at timestamptz not null default syncline.clock(),
    closed_at timestamptz,
    outcome text,
    constraint sync_dead_letter_pkey primary key (dead_letter_id),
    constraint sync_dead_letter_origin_check check (origin in ('outbox', 'observation', 'task'))
);

create index sync_dead_letter_open_idx
    on syncline.sync_dead_letter (tenant, object, dead_letter_id)
    where closed_at is null;

create index sync_dead_letter_record_id_idx
    on syncline.sync_dead_letter (record_id)
    where closed_at is null;

create index sync_dead_letter_closed_at_idx
    on syncline.sync_dead_letter (closed_at)
    where closed_at is not null;

-- Tenants, streams and what one tenant shares between its workers.

-- One row per tenant: its switches and the org it belongs to.
create table syncline.sync_control (
    tenant text not null,
    -- Somebody paused the tenant: nothing is leased, capture goes on.
    paused_at timestamptz,
    paused_reason text,
    organization_id text collate "C",
    -- Grows when the org's identity changes: positions and commit numbers of two epochs are never compared.
    org_epoch bigint not null default 0,
    -- Clock skew measured between the sides, beyond the fixed tolerance of the rules.
    clock_skew_ms bigint not null default 0,
    updated_at timestamptz not null default now(),
    constraint sync_control_pkey primary key (tenant)
);

-- Which tenant a database role emits for, where a database serves more than one.
create table syncline.sync_emitter (
    role_name text not null,
    tenant text not null,
    constraint sync_emitter_pkey primary key (role_name)
);

-- A stream has one owner and one position. The position moves by compare-and-set on its previous
-- bytes under the lease's epoch, never by order: replay ids have none.
create table syncline.sync_checkpoint (
    tenant text not null,
    stream text not null,
    position text,
    -- The scope is not known to be whole up to the position. A stream without a position is needs_resync.
    needs_resync boolean not null default true,
    resync_reason text,
    lease_owner text,
    fencing_token bigint not null default 0,
    lease_until timestamptz,
    captured_at timestamptz,
    updated_at timestamptz not null default now(),
    constraint sync_checkpoint_pkey primary key (tenant, stream)
);

-- What `install` left on a mapped table, so that a sweep notices when it no longer stands.
create table syncline.sync_capture (
    tenant text not null,
    object text not null,
    table_schema text not null,
    table_name text not null,
    table_oid oid not null,
    partitions oid[] not null,
    broken text,
    installed_at timestamptz not null default now(),
    constraint sync_capture_pkey primary key (tenant, object)
);

-- One access token per tenant, encrypted by the caller, refreshed by one lease holder.
create table syncline.sync_token (
    tenant text not null,
    ciphertext bytea,
    instance_url text,
    issued_at timestamptz,
    expires_at timestamptz,
    lease_owner text,
    fencing_token bigint not null default 0,
    lease_until timestamptz,
    constraint sync_token_pkey primary key (tenant)
);

-- What remains of an allocation the org gives us, as last seen.
create table syncline.sync_api_budget (
    tenant text not null,
    budget text not null,
    maximum bigint not null,
    remaining bigint not null,
    observed_at timestamptz not null default now(),
    constraint sync_api_budget_pkey primary key (tenant, budget)
);

-- The result of the last full comparison of an object.
create table syncline.sync_comparison (
    tenant text not null,
    object text not null,
    compared bigint not null,
    differing bigint not null,
    config_hash text not null,
    compared_at timestamptz not null default now(),
    constraint sync_comparison_pkey primary key (tenant, object)
);

-- A ring needs a free permit, so that wake-ups cannot multiply.
create table syncline.sync_wake_up_permit (
    tenant text not null,
    object text not null,
    permit integer not null,
    expires_at timestamptz not null,
    constraint sync_wake_up_permit_pkey primary key (tenant, object, permit)
);

-- The transactions of the engine that are writing mapped tables right now. A capture trigger skips a
-- row only if its transaction stands here; the row is deleted before the commit, so nobody else ever
-- sees one.
create table syncline.engine_tx (
    xid xid8 not null,
    constraint engine_tx_pkey primary key (xid)
);

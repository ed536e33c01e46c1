-- Deletes are counted together for an hour, by object: too many of them wait for a person. The row is held
-- by whoever deletes, until the deletes are committed.
create table syncline.sync_delete_guard (
    tenant text not null,
    object text not null,
    window_began_at timestamptz not null default now(),
    deletes bigint not null default 0,
    -- A person has said that they are meant; until then none is held.
    approved_until timestamptz,
    constraint sync_delete_guard_pkey primary key (tenant, object)
);

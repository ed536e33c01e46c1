-- The roles of Syncline, each with the least rights that it needs: docs/security.md explains them.
--
-- Write your own names for shop and shop_owner, the application and the owner of its tables, and for account and contact,
-- the mapped tables. Run it as an administrator before `syncline migrate`. It may be repeated, and must be after
-- `syncline migrate` and whenever a table is mapped.

do $$
declare
    role name;
begin
    foreach role in array array['syncline_owner', 'syncline_engine', 'syncline_reader', 'syncline_operator'] loop
        if not exists (select from pg_roles where rolname = role) then
            execute format('create role %I login', role);
        end if;
        execute format('grant connect on database %I to %I', current_database(), role);
    end loop;
    -- Only a member gives away what a role owns, unless a superuser does.
    if not (select rolsuper from pg_roles where rolname = current_user) then
        execute format('grant syncline_owner to %I', current_user);
    end if;
    -- The control plane lies in a schema of its owner, who so needs no right on the database.
    if not exists (select from pg_namespace where nspname = 'syncline') then
        create schema syncline authorization syncline_owner;
    end if;
end $$;

-- The owner migrates the control plane and installs capture. Only who may act as the owner of a table may put triggers
-- on it. No job runs as this role.
grant shop_owner to syncline_owner;

-- The engine runs the jobs. It owns nothing and creates nothing.
grant usage on schema syncline to syncline_engine;
grant select, insert, update, delete on all tables in schema syncline to syncline_engine;
grant usage on all sequences in schema syncline to syncline_engine;
grant execute on all functions in schema syncline to syncline_engine;

-- An operator who only reads: status, explain, conflicts list, deadletters list, discarded.
grant usage on schema syncline to syncline_reader;
grant select on all tables in schema syncline to syncline_reader;

-- An operator who acts: conflicts resolve, deadletters replay, deletes approve, pause, resume, restore, compare,
-- plan.
grant usage on schema syncline to syncline_operator;
grant select, insert, update, delete on all tables in schema syncline to syncline_operator;
grant usage on all sequences in schema syncline to syncline_operator;
grant execute on all functions in schema syncline to syncline_operator;

-- What `syncline migrate` creates from now on.
alter default privileges for role syncline_owner in schema syncline
    grant select, insert, update, delete on tables to syncline_engine, syncline_operator;
alter default privileges for role syncline_owner in schema syncline
    grant select on tables to syncline_reader;
alter default privileges for role syncline_owner in schema syncline
    grant usage on sequences to syncline_engine, syncline_operator;
alter default privileges for role syncline_owner in schema syncline
    grant execute on functions to syncline_engine, syncline_operator;

-- The mapped tables. Who acts writes rows too: `restore` edits them.
grant usage on schema public to syncline_engine, syncline_operator;
grant select, insert, update, delete on account, contact to syncline_engine;
grant select, update on account, contact to syncline_operator;

-- The application needs nothing here. It may read `syncline.record_status`, which shows no values. If it does report changes
-- by `syncline.emit`, grant it that: grant execute on function syncline.emit(text, text, text, jsonb, text) to shop;
do $$
begin
    if to_regprocedure('syncline.emit(text, text, text, jsonb, text)') is not null then
        revoke execute on function syncline.emit(text, text, text, jsonb, text) from public;
    end if;
end $$;

//! What capture makes of the changes that users' triggers make to the rows of the statement which fired them, and what it
//! does not let the owner of a table do.

use syncline::ports::CaptureStore;

use super::captured_statements::captured;
use super::world::{World, account, kinds};

/// Triggers that change rows again. The names decide whether they fire before those of capture.
fn again(name: &str, event: &str, change: &str) -> String {
    format!(
        "create function again() returns trigger language plpgsql as $$
        begin
            {change};
            return null;
        end $$;
        create trigger {name} after {event} on public.account
        for each row when (pg_trigger_depth() = 0) execute function again()"
    )
}

/// Captures in batches of this many rows, and returns the external ids of the records that have a row.
async fn records(world: &mut World, batch: usize) -> String {
    loop {
        let report = world
            .store
            .capture_outbox(world.mapped_objects(), batch)
            .await
            .unwrap();
        if !report.more {
            break;
        }
    }
    world
        .ask(
            "select coalesce(string_agg(link.external_id || case when link.salesforce_id is null then '' else ' sent' end, ', ' \
             order by link.external_id), '')
            from syncline.sync_link as link
            where link.postgres_presence = 'present'",
        )
        .await
}

const RENAME: &str = "update public.account set external_id = 'B' where external_id = 'K'";
/// Two statements that run when there are the rows K1 and K2, too.
const RENAME_MANY: &str =
    "update public.account set external_id = 'B' || external_id where external_id like 'K%'";
const HAND_ON: &str =
    "update public.account set external_id = 'B', note = 'x' where external_id = 'K'";

/// When a trigger fires, what it does then, the statement that fires it, and the records after that.
fn changed_again() -> [(&'static str, &'static str, &'static str, &'static str); 10] {
    [
        (
            "delete",
            "insert into public.account (external_id) values (old.external_id)",
            "delete from public.account where external_id = 'K'",
            "K sent",
        ),
        (
            "update",
            "insert into public.account (external_id) values (old.external_id)",
            RENAME,
            "B sent, K",
        ),
        (
            "update",
            "update public.account set external_id = old.external_id where external_id = 'K1'",
            HAND_ON,
            "B sent, K, K2",
        ),
        (
            "insert",
            "update public.account set external_id = 'C-' || new.name where id = new.id",
            "insert into public.account (name) values ('1'), ('2')",
            "C-1, C-2, K sent",
        ),
        (
            "update",
            "update public.account set external_id = 'C' where external_id = 'B'",
            RENAME,
            "C sent",
        ),
        (
            "update",
            "update public.account set note = 'x', phone = '1' where id = new.id",
            RENAME,
            "B sent",
        ),
        (
            "update",
            "delete from public.account where id = new.id",
            RENAME,
            "",
        ),
        (
            "update",
            "update public.account set external_id = 'C' || external_id where id = new.id",
            RENAME_MANY,
            "CBK sent, CBK1, CBK2",
        ),
        (
            "insert",
            "update public.account set external_id = 'C-' || new.name where id = new.id",
            "insert into public.account (external_id, name) values ('T', '1'), ('U', '2')",
            "C-1, C-2, K sent",
        ),
        (
            "insert",
            "delete from public.account where id = new.id",
            "insert into public.account (external_id) values ('T'), ('U')",
            "K sent",
        ),
    ]
}

#[tokio::test]
async fn row_changed_again_by_a_trigger_stays_one_record() {
    for (event, change, statement, expected) in changed_again() {
        for name in ["a_again", "z_again"] {
            for batch in [1, 2, 1_000] {
                let mut world = World::new().await;
                world.synced("K", "Ada").await;
                if [RENAME_MANY, HAND_ON].contains(&statement) {
                    world
                        .sql("insert into public.account (external_id) values ('K1'), ('K2')")
                        .await;
                    records(&mut world, 1_000).await;
                }
                world.sql(&again(name, event, change)).await;
                world.sql(statement).await;
                let found = records(&mut world, batch).await;
                assert_eq!(
                    found, expected,
                    "{name} after {event}, {change}; batches of {batch}"
                );
            }
        }
    }
}

#[tokio::test]
async fn row_renamed_by_triggers_of_triggers_stays_one_record() {
    for batch in [1, 2, 3, 1_000] {
        let mut world = World::new().await;
        world.synced("K", "Ada").await;
        world
            .sql(
                "create function again() returns trigger language plpgsql as $$
                begin
                    update public.account set external_id = new.external_id || 'x' where id = new.id;
                    return null;
                end $$;
                create trigger again after update on public.account
                for each row when (pg_trigger_depth() < 3) execute function again();
                update public.account set external_id = 'B'",
            )
            .await;
        assert_eq!(
            records(&mut world, batch).await,
            "Bxxx sent",
            "batches of {batch}"
        );
    }
}

#[tokio::test]
async fn name_that_a_trigger_frees_first_goes_to_the_other_row() {
    let mut world = World::new().await;
    world.synced("A", "Ada").await;
    world.synced("B", "Bob").await;
    world
        .sql(
            "create function make_room() returns trigger language plpgsql as $$
            begin
                update public.account set external_id = 'C' where external_id = new.external_id;
                return new;
            end $$;
            create trigger make_room before update on public.account
            for each row when (pg_trigger_depth() = 0) execute function make_room();
            update public.account set external_id = 'B' where external_id = 'A'",
        )
        .await;
    records(&mut world, 1_000).await;
    assert_eq!(
        world
            .ask(
                "select string_agg(external_id || ' ' || (base ->> 'Name'), ', ' order by external_id)
                from syncline.sync_link"
            )
            .await,
        "B Ada, C Bob"
    );
}

const SPIED: &str = "create table public.account (
        id integer primary key, external_id text, name text, phone text, employees integer,
        parent_external_id text, note text
    );
    insert into public.account values (1, '1', '1', '1', 1), (2, '2', '2', '2', 2)";

/// A table whose owner put code of his own behind casts and operators of his types, which notes who runs it.
async fn spied(table: &str) -> (World, String) {
    let mut world = World::with(table, account()).await;
    let owner = format!("owner_of_{}", world.ask("current_database()").await);
    world
        .sql(&format!(
            "create role {owner};
        create schema theirs authorization {owner};
        grant create on schema public to {owner};
        alter table public.account owner to {owner};
        set role {owner};
        create table theirs.runs (who text, at text);
        grant insert, select on theirs.runs to public;
        create type theirs.odd as enum ('1', '2', '3');
        create type theirs.pair as (a integer, b theirs.odd);
        create function theirs.note(at text) returns void language sql volatile
            as $$ insert into theirs.runs values (current_user, at) $$;
        create function theirs.ran(at text) returns text language plpgsql immutable as $$
        begin
            perform theirs.note(at);
            return '1';
        end $$;
        -- Planning may run what an inlined function calls.
        create function theirs.to_text(theirs.odd) returns text language sql immutable
            as $$ select theirs.ran('text') $$;
        create function theirs.to_json(theirs.odd) returns json language sql immutable
            as $$ select theirs.ran('json')::json $$;
        create function theirs.to_number(theirs.odd) returns integer language sql immutable
            as $$ select theirs.ran('integer')::integer $$;
        create function theirs.pair_to_json(theirs.pair) returns json language sql immutable
            as $$ select theirs.ran('pair')::json $$;
        create function theirs.equal(theirs.odd, theirs.odd) returns boolean language sql immutable
            as $$ select theirs.ran('=') = '2' $$;
        create cast (theirs.odd as text) with function theirs.to_text(theirs.odd) as implicit;
        create cast (theirs.odd as json) with function theirs.to_json(theirs.odd) as implicit;
        create cast (theirs.odd as integer) with function theirs.to_number(theirs.odd) as implicit;
        create cast (theirs.pair as json) with function theirs.pair_to_json(theirs.pair);
        create operator theirs.= (leftarg = theirs.odd, rightarg = theirs.odd, function = theirs.equal);
            reset role"
        ))
        .await;
    (world, owner)
}

/// Postgres takes `o.to_jsonb` for the function if the row has no such column.
#[tokio::test]
async fn column_named_like_a_function_runs_nothing_as_capture() {
    let table = "create table public.account (
            to_jsonb integer primary key, external_id text, name text, phone text, employees integer,
            parent_external_id text, note text
        );
        insert into public.account values (1, '1', '1', '1', 1), (2, '2', '2', '2', 2)";
    let (mut world, owner) = spied(table).await;
    let alteration = "alter table public.account rename column to_jsonb to id;
        alter table public.account add odd theirs.odd default '1'";
    for role in ["origin", "replica"] {
        world
            .sql(&format!(
                "begin; set local role {owner}; {alteration}; reset role"
            ))
            .await;
        check_spied(&mut world, &owner, alteration, role).await;
        world.sql("rollback").await;
    }
}

/// Returns what the owner may make of his table, each in one statement.
fn alterations() -> Vec<String> {
    let odd = |column: &str| {
        format!(
            "alter table public.account alter {column} type theirs.odd using (array['1', '2', '3'])[id]::theirs.odd"
        )
    };
    let mut alterations: Vec<String> = ["external_id", "name", "employees", "phone"]
        .map(odd)
        .into();
    alterations.extend(
        [
            "alter table public.account drop column phone cascade; alter table public.account add phone theirs.odd",
            "alter table public.account drop column name; alter table public.account add name theirs.pair",
            "alter table public.account alter id type theirs.odd using id::text::theirs.odd",
            "create domain theirs.named as theirs.odd; alter table public.account alter external_id type theirs.named
                using external_id::theirs.odd",
            "create domain theirs.number as integer; alter table public.account alter id type theirs.number",
        ]
        .map(str::to_owned),
    );
    alterations
}

/// Changes rows as the owner, and checks who ran his code and what was captured.
async fn check_spied(world: &mut World, owner: &str, alteration: &str, role: &str) {
    world
        .sql(&format!(
            "truncate theirs.runs, syncline.sync_outbox;
            set local session_replication_role = {role};
            set local role {owner}"
        ))
        .await;
    let name = if alteration.contains("pair") {
        "row(1, '2')"
    } else {
        "'2'"
    };
    for change in [
        "update public.account set phone = '3', external_id = '3' where external_id = '1'"
            .to_owned(),
        format!("update public.account set name = {name}, employees = '1'"),
        "insert into public.account (id, external_id) values ('3', '1')".to_owned(),
        "delete from public.account".to_owned(),
    ] {
        world.sql(&change).await;
    }
    world.sql("reset role").await;
    let others = format!(
        "select string_agg(distinct who || ' ' || at, ', ')
        from theirs.runs
        where who <> '{owner}'"
    );
    assert_eq!(world.ask(&others).await, "null", "{alteration}, {role}");
    let rows = captured(world).await;
    let of_rows = ["3", "3", "2", "1", "1", "2", "3"];
    let known = rows.iter().filter(|row| {
        of_rows
            .iter()
            .any(|id| row.split(' ').any(|word| &word == id))
    });
    assert_eq!(known.count(), rows.len(), "{rows:?}: {alteration}, {role}");
    assert!(
        rows.len() >= of_rows.len(),
        "{rows:?}: {alteration}, {role}"
    );
}

#[tokio::test]
async fn owner_who_alters_his_table_runs_nothing_as_capture() {
    let (mut world, owner) = spied(SPIED).await;
    for alteration in alterations() {
        for role in ["origin", "replica"] {
            world
                .sql(&format!(
                    "begin; set local role {owner}; {alteration}; reset role"
                ))
                .await;
            check_spied(&mut world, &owner, &alteration, role).await;
            world.sql("rollback").await;
        }
    }
}

#[tokio::test]
async fn owner_of_types_that_are_mapped_runs_nothing_as_capture() {
    for alteration in alterations() {
        let (mut world, owner) = spied(SPIED).await;
        world
            .sql(&format!("set role {owner}; {alteration}; reset role"))
            .await;
        world.store.install(world.mapped_objects()).await.unwrap();
        for role in ["origin", "replica"] {
            world.sql("begin").await;
            check_spied(&mut world, &owner, &alteration, role).await;
            world.sql("rollback").await;
        }
    }
}

#[tokio::test]
async fn external_id_of_any_length_is_captured() {
    let table = super::world::ACCOUNT
        .replace("external_id text unique", "external_id text")
        .replace("references public.account (external_id) deferrable", "");
    let mut world = World::with(&table, account()).await;
    let long = "(select string_agg(md5(n::text), '') from generate_series(1, 300) as n)";
    for role in ["origin", "replica"] {
        world
            .sql(&format!(
                "set session_replication_role = {role};
                insert into public.account (external_id) values ('K');
                update public.account set external_id = {long};
                update public.account set external_id = 'L' || external_id;
                delete from public.account"
            ))
            .await;
        let lengths = "select string_agg(length(external_id)::text, ' ' order by outbox_id) from syncline.sync_outbox";
        assert_eq!(world.ask(lengths).await, "1 9600 9601 9601", "{role}");
        captured(&mut world).await;
    }
}

#[tokio::test]
async fn object_with_a_change_that_capture_missed_is_read_again() {
    let mut world = World::new().await;
    world.synced("K", "Ada").await;
    world
        .sql(
            "alter table public.account rename column external_id to renamed;
            update public.account set name = 'Eve';
            alter table public.account rename column renamed to external_id",
        )
        .await;
    let report = world.capture().await;
    assert_eq!((report.counts.refused, report.counts.journaled), (0, 1));
    assert_eq!(
        world
            .ask(
                "select concat_ws(' ', stream, needs_resync, resync_reason) from syncline.sync_checkpoint
                where needs_resync"
            )
            .await,
        "scan:Account t a change of its table could not be captured"
    );
    assert_eq!(kinds(&world.apply().await), [""; 0], "no record is blamed");
}

#[tokio::test]
async fn object_is_read_again_after_a_change_of_a_row_whose_key_is_gone() {
    for role in ["origin", "replica"] {
        let mut world = World::new().await;
        world
            .sql(&format!(
                "alter table public.account rename column id to number;
                set session_replication_role = {role};
                insert into public.account (external_id) values ('K'), ('L');
                insert into public.account (name) values ('Ada'), ('Bob');
                delete from public.account where external_id is null"
            ))
            .await;
        let report = world.capture().await;
        assert_eq!(report.counts.refused, 0, "{role}");
        let again = "select stream from syncline.sync_checkpoint where needs_resync";
        assert_eq!(world.ask(again).await, "scan:Account", "{role}");
        assert_eq!(records(&mut world, 1_000).await, "K, L", "{role}");
    }
}

//! What capture makes of values of every type, in every session.

use super::captured_statements::{PLAIN, check, check_altered};
use super::world::{World, account};

#[tokio::test]
async fn columns_of_any_type_are_compared() {
    let table = "create type mood as enum ('good', 'bad');
        create type pair as (a integer, b text);
        create collation folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        create table public.account (
            id uuid primary key,
            external_id numeric(10, 2) unique,
            name text collate folded,
            phone json,
            employees point,
            parent_external_id mood[],
            note text,
            doubled text generated always as (note || note) stored
        );
        insert into account values
            ('00000000-0000-0000-0000-000000000001', 1.50, 'ada', '{}', '(1,2)', '{good}', 'n'),
            ('00000000-0000-0000-0000-000000000002', 2.00, null, null, null, null, 'n')";
    check(
        table,
        "",
        &[
            ("update account set note = 'other', phone = phone, employees = employees, name = name", &[]),
            ("update account set name = upper(name)", &["update 1.50 {name}"]),
            ("update account set phone = '[]'", &["update 1.50 {phone}", "update 2.00 {phone}"]),
            ("update account set phone = null", &["update 1.50 {phone}"]),
            ("update account set employees = '(1,3)', parent_external_id = '{bad}' where external_id = 2",
                &["update 2.00 {employees,parent_external_id}"]),
            ("update account set external_id = 3 where external_id = 2", &["update 3.00 was 2.00 {external_id}"]),
            ("delete from account", &["delete 1.50", "delete 2.00"]),
        ],
    )
    .await;
    let table = "create table public.account (
            external_id char(4) primary key,
            name text generated always as (note || '!') stored,
            phone bytea, employees timestamptz, parent_external_id double precision, note text
        );
        alter table account alter phone set storage external;
        insert into account (external_id, phone, note) values ('K1', decode(repeat('ab', 9000), 'hex'), 'n')";
    check(
        table,
        "",
        &[
            ("update account set parent_external_id = 1", &["update K1   {parent_external_id}"]),
            ("update account set note = 'm'", &["update K1   {name}"]),
            ("update account set phone = decode(repeat('ab', 8999) || 'cd', 'hex')", &["update K1   {phone}"]),
            ("set datestyle = 'sql, dmy'; update account set employees = now(), external_id = 'K2'",
                &["update K2   was K1   {external_id,employees}"]),
            ("update account set external_id = upper(external_id)", &[]),
        ],
    )
    .await;
}

#[tokio::test]
async fn row_has_the_same_key_in_every_session() {
    let table = "create domain moment as timestamptz;
        create domain amount as double precision;
        create table public.account (
            at timestamptz, since moment, hash bytea, span interval, size amount,
            external_id text, name text, phone text, employees integer, parent_external_id text,
            primary key (at, since, hash, span, size)
        )";
    let mut world = World::with(table, account()).await;
    world
        .sql(
            "insert into account
            values (now(), '2020-01-02 03:04:05Z', '\\x0102', '1 day 2 hours', 0.1::float8 + 0.2::float8)",
        )
        .await;
    let foreign =
        "set timezone = 'Asia/Kolkata'; set datestyle = 'SQL, DMY'; set intervalstyle = 'iso_8601';
        set bytea_output = 'escape'; set extra_float_digits = 0; ";
    for change in [
        "update account set name = 'x'",
        "alter table account drop column phone; update account set name = 'y'",
        "set session_replication_role = replica; update account set name = 'z'",
    ] {
        world.sql(&format!("{foreign}{change}")).await;
    }
    let keys = "select count(*) || ' ' || count(distinct local_key) from syncline.sync_outbox";
    assert_eq!(world.ask(keys).await, "4 1");
    let known = "select local_key ->> 'at' like '%+00:00' and local_key ->> 'since' = '2020-01-02T03:04:05+00:00'
        from syncline.sync_outbox limit 1";
    assert_eq!(world.ask(known).await, "true", "as the engine reads it");
}

#[tokio::test]
async fn column_of_another_type_since_is_compared_as_stored() {
    let alter = "create collation folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        alter table account alter employees type text collate folded using 'a'";
    let before = format!("{alter}; update account set name = 'warm'");
    check_altered(
        PLAIN,
        &before,
        &[
            (
                "update account set employees = 'A' where id = 1",
                &["update K1 {employees}"],
            ),
            (
                "update account set employees = 'A' where id < 3",
                &["update K1 {employees}", "update K2 {employees}"],
            ),
        ],
    )
    .await;
}

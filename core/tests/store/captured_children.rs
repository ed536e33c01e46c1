//! A mapped table that is a partition of another one: statements that name its parent are captured, too.

use super::captured_statements::{captured, check};
use super::install::broken;
use super::world::{World, account};

/// Statements that name a parent of the mapped table, and what they change in it.
const BY_PARENT: &[(&str, &[&str])] = &[
    (
        "insert into everything (id, external_id, region) values (9, 'K9', 'a')",
        &["insert K9"],
    ),
    (
        "update everything set external_id = 'K8', name = 'x'",
        &["update K8 was K1 {external_id,name}"],
    ),
    ("delete from everything", &["delete K1"]),
    ("update account set name = 'x'", &["update K1 {name}"]),
];

const CHILD: &str = "create table public.account (
        id integer,
        external_id text unique,
        name text,
        phone text,
        employees integer,
        parent_external_id text,
        region text not null,
        primary key (id, region)
    );
    insert into public.account (id, external_id, region) values (1, 'K1', 'a');
    create table public.everything (like public.account) partition by list (region);";

const ATTACH: &str =
    "alter table public.everything attach partition public.account for values in ('a')";

#[tokio::test]
async fn partition_is_captured_by_the_name_of_its_parent() {
    check(&format!("{CHILD}{ATTACH}"), "", BY_PARENT).await;
}

#[tokio::test]
async fn table_attached_later_is_a_problem_until_installed_again() {
    let mut world = World::with(CHILD, account()).await;
    assert_eq!(broken(&world).await, [""; 0]);
    world.sql(ATTACH).await;
    assert_eq!(
        broken(&world).await,
        ["acme Account: row trigger does not fire as it should on account"]
    );
    world.store.install(world.mapped_objects()).await.unwrap();
    assert_eq!(broken(&world).await, [""; 0]);
    captured(&mut world).await;
    for (statement, expected) in BY_PARENT {
        world.sql("begin").await;
        world.sql(statement).await;
        assert_eq!(captured(&mut world).await, *expected, "{statement}");
        world.sql("rollback").await;
    }
}

//! What changes leave behind in the database.

use syncline::model::observation::ObservationKind::{Changed, Created};

use super::world::{World, seen, sf_id};

const RECORDS: usize = 500;

/// Returns the bytes of the links' indexes and of the aliases.
async fn sizes(world: &mut World) -> String {
    world
        .ask(
            "select concat_ws(' ', pg_indexes_size('syncline.sync_link'),
                pg_total_relation_size('syncline.sync_link_alias'))",
        )
        .await
}

/// Returns the echoes of a write to each record.
fn echoes(
    kind: syncline::model::observation::ObservationKind,
    phone: &str,
    version: i64,
) -> Vec<syncline::model::observation::SalesforceObservation> {
    (1..=RECORDS)
        .map(|n| {
            let mut echo = seen(kind, &format!("K{n}"), &[("Phone", phone)], version);
            echo.ours = true;
            echo
        })
        .collect()
}

#[tokio::test]
async fn changes_write_neither_indexes_of_links_nor_names() {
    let mut world = World::new().await;
    world
        .sql(&format!(
            "insert into public.account (external_id, phone) select 'K' || n, '0' from generate_series(1, {RECORDS}) as n"
        ))
        .await;
    world.sync().await;
    world.see(&echoes(Created, "0", 1)).await;
    let before = sizes(&mut world).await;
    for round in 1..=6 {
        world
            .sql(&format!("update public.account set phone = '{round}'"))
            .await;
        let planned = world.sync().await;
        assert_eq!(planned.writes.len(), RECORDS);
        world
            .see(&echoes(Changed, &round.to_string(), round + 1))
            .await;
    }
    assert_eq!(sizes(&mut world).await, before);
    let names = "select string_agg(distinct kind || ' ' || value || ' ' || is_current, ', ' order by kind || ' ' || value \
         || ' ' || is_current)
        from syncline.sync_link_alias
        where record_id = (select record_id from syncline.sync_link where external_id = 'K1')";
    assert_eq!(
        world.ask(names).await,
        format!("external_id K1 true, salesforce_id {} true", sf_id("K1"))
    );
}

//! Lanes for many plans at once.

use syncline_planner::config::LaneThresholds;
use syncline_planner::route;
use syncline_planner::route::Lane::{
    Bulk, Collections, CompositeGraph, Conflict, Postgres, Single,
};
use syncline_planner::route::{Lane, LaneBudget, Routable};

use crate::fixture::World;

fn plan(fixture: &str) -> Routable {
    World::read(fixture).routable()
}

fn edit() -> Routable {
    plan(
        "rules policy=postgres_wins
          base Phone=1
          pg   Phone=2
          sf   Phone=1",
    )
}

fn discarding() -> Routable {
    plan(
        "rules policy=postgres_wins
          base Phone=1
          pg   Phone=2
          sf   Phone=3",
    )
}

fn routes(plans: &[Routable], budget: LaneBudget) -> Vec<Lane> {
    route(
        plans,
        LaneThresholds {
            rest_max_batch_size: 2,
            bulk_min_batch_size: 3,
        },
        budget,
    )
}

const ALL: LaneBudget = LaneBudget {
    calls_max: None,
    graph: true,
    bulk: true,
};

#[test]
fn what_writes_nothing_to_salesforce_takes_no_lane() {
    let conflict = plan(
        "base Phone=1
                         pg   Phone=2
                         sf   Phone=3",
    );
    let inbound = plan(
        "base Phone=1
                        pg   Phone=1
                        sf   Phone=3",
    );
    assert_eq!(routes(&[conflict, inbound], ALL), [Conflict, Postgres]);
}

#[test]
fn urgent_and_discarding_rows_go_alone_within_limits() {
    let (edit, discarding) = (edit(), discarding());
    let urgent = Routable {
        urgent: true,
        ..edit
    };
    let plans = [edit, discarding, urgent, urgent];
    assert_eq!(
        routes(&plans, LaneBudget::REST),
        [Collections, Single, Single, Collections]
    );
    let few = LaneBudget {
        calls_max: Some(2),
        ..LaneBudget::REST
    };
    assert_eq!(
        routes(&plans, few),
        [Collections, Single, Collections, Collections]
    );
}

#[test]
fn many_plain_rows_go_by_bulk_where_it_is_available() {
    let (edit, discarding) = (edit(), discarding());
    let plans = [edit, edit, edit, discarding];
    assert_eq!(routes(&plans, ALL), [Bulk, Bulk, Bulk, Single]);
    assert_eq!(routes(&plans[1..], ALL), [Collections, Collections, Single]);
    assert_eq!(routes(&plans, LaneBudget::REST)[0], Collections);
}

#[test]
fn lone_write_that_may_overwrite_goes_single_within_limits() {
    let edit = edit();
    let guarded = plan(
        "base Phone=1
          pg   Phone=2
          sf   Phone=1",
    );
    assert_eq!(routes(&[guarded], ALL), [Single]);
    assert_eq!(
        routes(&[edit, guarded, edit, edit], ALL),
        [Bulk, Single, Bulk, Bulk]
    );
    let spent = LaneBudget {
        calls_max: Some(1),
        ..LaneBudget::REST
    };
    assert_eq!(routes(&[edit, guarded], spent), [Collections, Collections]);
    assert_eq!(
        routes(&[guarded, guarded], LaneBudget::REST),
        [Collections, Collections],
        "one read serves both"
    );
}

#[test]
fn dependent_records_go_by_graph_where_available() {
    let edit = edit();
    let bound = Routable {
        has_dependencies: true,
        urgent: true,
        ..edit
    };
    assert_eq!(routes(&[bound], ALL), [CompositeGraph]);
    assert_eq!(routes(&[bound], LaneBudget::REST), [Single]);
}

//! Lanes for many plans at once.

use syncline_planner::config::LaneThresholds;
use syncline_planner::record::RecordPlan;
use syncline_planner::route::{LaneBudget, RestCall, Routable, Route};
use syncline_planner::{ApplyLane, route};

use crate::fixture::World;

fn plan(fixture: &str) -> RecordPlan {
    World::read(fixture).plan()
}

fn edit() -> RecordPlan {
    plan(
        "base Phone=1
          pg   Phone=2
          sf   Phone=1",
    )
}

fn contested() -> RecordPlan {
    plan(
        "rules policy=postgres_wins
          base Phone=1
          pg   Phone=2
          sf   Phone=3",
    )
}

fn plain(plan: &RecordPlan) -> Routable<'_> {
    Routable {
        plan,
        urgent: false,
        has_dependencies: false,
    }
}

fn routes(plans: &[Routable<'_>], budget: LaneBudget) -> Vec<Route> {
    route(
        plans,
        LaneThresholds {
            rest_max_batch_size: 2,
            bulk_min_batch_size: 3,
        },
        budget,
    )
}

const SINGLE: Route = Route {
    lane: ApplyLane::Rest,
    call: Some(RestCall::Single),
};
const COLLECTIONS: Route = Route {
    lane: ApplyLane::Rest,
    call: Some(RestCall::Collections),
};
const BULK: Route = Route {
    lane: ApplyLane::Bulk,
    call: None,
};
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
    let lanes: Vec<ApplyLane> = routes(&[plain(&conflict), plain(&inbound)], ALL)
        .iter()
        .map(|route| route.lane)
        .collect();
    assert_eq!(lanes, [ApplyLane::Conflict, ApplyLane::Noop]);
}

#[test]
fn urgent_and_contested_rows_go_alone_as_many_as_are_allowed() {
    let (edit, contested) = (edit(), contested());
    let urgent = Routable {
        urgent: true,
        ..plain(&edit)
    };
    let plans = [plain(&edit), plain(&contested), urgent, urgent];
    assert_eq!(
        routes(&plans, LaneBudget::REST),
        [COLLECTIONS, SINGLE, SINGLE, COLLECTIONS]
    );
    let few = LaneBudget {
        calls_max: Some(2),
        ..LaneBudget::REST
    };
    assert_eq!(
        routes(&plans, few),
        [COLLECTIONS, SINGLE, COLLECTIONS, COLLECTIONS]
    );
}

#[test]
fn many_plain_rows_go_by_bulk_where_it_is_available() {
    let (edit, contested) = (edit(), contested());
    let plans = [plain(&edit), plain(&edit), plain(&edit), plain(&contested)];
    assert_eq!(routes(&plans, ALL), [BULK, BULK, BULK, SINGLE]);
    assert_eq!(routes(&plans[1..], ALL), [COLLECTIONS, COLLECTIONS, SINGLE]);
    assert_eq!(routes(&plans, LaneBudget::REST)[0], COLLECTIONS);
}

#[test]
fn records_that_depend_on_each_other_go_by_graph_where_it_is_available() {
    let edit = edit();
    let bound = Routable {
        has_dependencies: true,
        urgent: true,
        ..plain(&edit)
    };
    assert_eq!(routes(&[bound], ALL)[0].lane, ApplyLane::CompositeGraph);
    assert_eq!(routes(&[bound], LaneBudget::REST), [SINGLE]);
}

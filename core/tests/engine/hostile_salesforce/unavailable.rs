//! An org that cannot be used for an hour, on every road.

use salesforce_org::FaultAction;
use serde_json::{Value as Json, json};

use super::world::{ALWAYS, World};

/// Refuses every REST call, sign-ins among them, and every call of the event bus.
fn shut(world: &World, status: u16, body: &Json) {
    let body = body.to_string();
    let down = FaultAction::Answer { status, body };
    world.stage.org.fault(&down.once().times(ALWAYS));
    for mid_stream in [false, true] {
        let refusal =
            json!({"code": "service.unavailable", "count": ALWAYS, "mid_stream": mid_stream});
        world.stage.org.order("pubsub/refusals", &refusal);
    }
}

/// People edit both sides: each kind of change, and both sides of one record.
async fn edit_both_sides(world: &World) {
    let org = &world.stage.org;
    org.update(&world.account("a-1"), json!({"Phone": "there"}));
    org.delete(&world.account("a-2"));
    org.insert(
        "Account",
        json!({"Name": "New there", "External_Id__c": "a-8"}),
    );
    world.sql(
            "update account set name = 'Here' where external_id = 'a-1';
            update account set phone = 'here' where external_id = 'a-3';
            insert into account (external_id, name, parent_external_id) values ('a-9', 'New here', 'a-3');
            delete from contact where external_id = 'c-4'",
        )
        .await;
}

/// The right end of [`edit_both_sides`].
async fn assert_edits_arrived(world: &World) {
    let rows = world
        .stage
        .rows("select external_id, name, phone from account order by external_id")
        .await;
    let row = |id: &str, name: &str, phone: Option<&str>| json!({"external_id": id, "name": name, "phone": phone});
    assert_eq!(
        rows,
        [
            row("a-1", "Here", Some("there")),
            row("a-3", "Account 3", Some("here")),
            row("a-4", "Account 4", Some("0")),
            row("a-8", "New there", None),
            row("a-9", "New here", None),
        ]
    );
    assert_eq!(world.stage.org.count("Contact"), 3);
    assert_eq!(world.discarded().await, [] as [String; 0]);
}

/// Asserts that the tenant waits and no record is blamed.
async fn assert_no_record_is_blamed(world: &World) {
    // A delete is preceded by a read, which counts.
    let tasks = "select distinct state, attempts - 'changed' as attempts, coalesce((attempts ->> 'changed')::int, 0) < 2
        as is_new from syncline.sync_task";
    let waiting = json!({"state": "ready", "attempts": {}, "is_new": true});
    assert_eq!(world.stage.rows(tasks).await, [waiting]);
    assert_eq!(world.stopped().await, [] as [String; 0]);
}

/// Lets the org fail for an hour on every road, with a restart in the middle, and come back.
async fn survives_an_hour_of(status: u16, body: Json, code: &str) {
    let mut world = World::open().await;
    edit_both_sides(&world).await;
    shut(&world, status, &body);
    let before = world.calls();
    world.live(30).await;
    world.restart();
    world.live(30).await;
    let made = world.calls() - before;
    assert!(made <= 110, "{code}: {made} calls in an hour");
    let outage = world.status().await.outage.expect("the status names it");
    assert_eq!(outage.code, code);
    assert_no_record_is_blamed(&world).await;

    world.stage.org.end_faults();
    let minutes = world.recover().await;
    assert!(minutes <= 8, "{code}: {minutes} minutes");
    assert_edits_arrived(&world).await;
}

#[tokio::test]
async fn maintenance_on_every_road_loses_nothing() {
    let body = json!([{"errorCode": "SERVER_UNAVAILABLE", "message": "Maintenance"}]);
    survives_an_hour_of(503, body, "SERVER_UNAVAILABLE").await;
}

#[tokio::test]
async fn maintenance_page_without_a_code_loses_nothing() {
    survives_an_hour_of(
        503,
        json!("<html>We are down for maintenance</html>"),
        "HTTP_503",
    )
    .await;
}

#[tokio::test]
async fn retired_api_version_is_named_on_every_road() {
    let message = "The requested API version has been retired or is not supported";
    let body = json!([{"errorCode": "UNSUPPORTED_API_VERSION", "message": message}]);
    survives_an_hour_of(410, body, "UNSUPPORTED_API_VERSION").await;
}

#[tokio::test]
async fn api_version_that_is_not_found_is_named() {
    let mut world = World::open().await;
    edit_both_sides(&world).await;
    let unknown = FaultAction::Reject {
        status: 404,
        code: "NOT_FOUND".to_owned(),
        message: "The requested resource does not exist".to_owned(),
    };
    let org = &world.stage.org;
    org.fault(&unknown.once().times(ALWAYS).on("/services/data"));
    let before = world.calls();
    world.live(60).await;
    let made = world.calls() - before;
    assert!(made <= 300, "{made} calls in an hour");
    // Neither a missing record nor a deleted one follows from a resource that does not exist.
    let rows = world.stage.one("select count(*) from account").await;
    assert_eq!(rows, json!(5));
    assert_eq!(world.stopped().await, [] as [String; 0]);
    let outage = world.status().await.outage.expect("the status names it");
    assert_eq!(outage.code, "NOT_FOUND");

    world.stage.org.end_faults();
    world.recover().await;
    assert_edits_arrived(&world).await;
}

#[tokio::test]
async fn sign_ins_refused_for_an_hour_are_few_and_lose_nothing() {
    let mut world = World::open().await;
    edit_both_sides(&world).await;
    let refused = FaultAction::Answer {
        status: 400,
        body: json!({"error": "invalid_grant", "error_description": "user hasn't approved this consumer"})
            .to_string(),
    };
    let org = &world.stage.org;
    org.fault(&refused.once().times(ALWAYS).on("oauth2/token"));
    org.expire_sessions();
    let sign_ins = |world: &World| world.stage.org.calls().get("POST (fault)").copied();
    let before = sign_ins(&world).unwrap_or_default();
    world.live(30).await;
    world.restart();
    world.live(30).await;
    let made = sign_ins(&world).unwrap_or_default() - before;
    assert!((2..=60).contains(&made), "{made} sign-ins in an hour");
    let outage = world.status().await.outage.expect("the status names it");
    assert_eq!(outage.code, "invalid_grant");
    assert_no_record_is_blamed(&world).await;

    world.stage.org.end_faults();
    // A process remembers a refusal for half a minute of real time; another one need not wait.
    world.restart();
    world.recover().await;
    assert_edits_arrived(&world).await;
}

#[tokio::test]
async fn session_revoked_after_the_first_call_of_a_batch() {
    let mut world = World::open().await;
    world.sql("insert into account (external_id, name) select 'b-' || n, 'B' from generate_series(1, 450) as n")
        .await;
    let writes = world.stage.org.writing_calls();
    let after_one = |action: Json| {
        let mut rule = action;
        rule["skip"] = json!(1);
        rule["match"] = json!({"path_contains": "composite/sobjects", "method": "PATCH"});
        world.stage.org.order("faults", &rule);
    };
    after_one(json!({"action": "expire_token", "count": 1}));
    let refused = FaultAction::Answer {
        status: 400,
        body: json!({"error": "inactive_user", "error_description": "user is inactive"})
            .to_string(),
    };
    let org = &world.stage.org;
    org.fault(&refused.once().times(ALWAYS).on("oauth2/token"));
    world.live(1).await;
    assert_eq!(world.stage.org.count("Account"), 204, "one call is done");
    let settled = "select count(*) from syncline.sync_link where external_id like 'b-%' and agreed";
    assert_eq!(world.stage.one(settled).await, json!(200));
    world.live(60).await;
    assert_no_record_is_blamed(&world).await;
    let outage = world.status().await.outage.expect("the status names it");
    assert_eq!(outage.code, "inactive_user");

    world.stage.org.end_faults();
    world.restart();
    world.recover().await;
    assert_eq!(world.stage.org.count("Account"), 454);
    // 200, 200 and 50: nothing that was done is sent again.
    assert_eq!(world.stage.org.writing_calls() - writes, 3);
}

//! The later edit of a field wins: by the times of that field's edits, and beyond what the clocks may differ.

use std::sync::Arc;

use salesforce_org::FaultAction;
use serde_json::{Value as Json, json};
use syncline::engine::system::SystemClock;
use syncline::ports::{Clock, SalesforcePort};

use crate::local_org::LocalOrg;
use crate::mapping::with_line;
use crate::stage::Stage;

const LATER_WINS: &str = "conflicts = \"last_writer_wins\"";

/// One account that both sides agree on, and persons who edit it some time ago.
struct Scene {
    stage: Stage,
    id: String,
    /// How far the org's clock is ahead, in seconds.
    ahead: i64,
    /// When the account was last changed in Salesforce before both agreed, by the org's clock.
    agreed_ms: i64,
}

/// Returns the time of so many seconds ago.
fn ago(seconds: i64) -> i64 {
    SystemClock.now_ms() - seconds * 1_000
}

impl Scene {
    /// Opens it under this mapping. In Salesforce the account was last changed ten minutes ago.
    async fn open(mapping: &str, ahead: i64) -> Self {
        let org = LocalOrg::new();
        let agreed_ms = ago(600 - ahead);
        org.set_wall_ms(agreed_ms);
        let fields = json!({"Name": "Ada", "Phone": "1", "External_Id__c": "a-1"});
        let id = org.insert("Account", fields);
        org.set_wall_ms(ago(-ahead));
        let stage = Stage::of(org, mapping).await;
        stage.install().await;
        let scene = Self {
            stage,
            id,
            ahead,
            agreed_ms,
        };
        scene.drain().await;
        scene
    }

    async fn under(line: &str) -> Self {
        Self::open(&with_line(line), 0).await
    }

    /// Edits the row as a user did so many seconds ago.
    async fn edit_row(&self, seconds: i64, columns: &str) {
        self.set_trigger_clock(seconds).await;
        self.stage
            .sql(&format!("update account set {columns}"))
            .await;
        self.set_trigger_clock(0).await;
    }

    async fn set_trigger_clock(&self, seconds: i64) {
        self.stage
            .sql(&format!(
                "create or replace function syncline.wall_clock() returns timestamptz
                language sql volatile parallel safe
                as $$ select clock_timestamp() - interval '{seconds} seconds' $$"
            ))
            .await;
    }

    /// Edits the Salesforce record as a user did so many seconds ago.
    fn edit_record(&self, seconds: i64, fields: Json) {
        let org = &self.stage.org;
        org.set_wall_ms(ago(seconds - self.ahead));
        org.update(&self.id, fields);
        org.set_wall_ms(ago(-self.ahead));
    }

    async fn drain(&self) {
        self.stage.org.set_wall_ms(ago(-self.ahead));
        self.stage.drain_polling().await;
    }

    /// Runs all work, and returns the phone that both sides have then, the rule and the discarded value.
    async fn decided(&self) -> String {
        self.drain().await;
        self.stage.assert_equal().await;
        let phone = self.stage.one("select phone from account").await;
        let rules = "select string_agg(rule || ' over ' || (value #>> '{}'), ', ' order by discarded_value_id)
            from syncline.sync_discarded_value where field = 'Phone'";
        let rules = self.stage.one(rules).await;
        let text = |json: &Json| json.as_str().unwrap_or("-").to_owned();
        format!("{} by {}", text(&phone), text(&rules))
    }

    /// Returns how many links still hold times of edits, apart from those of what a write of ours sent.
    async fn kept_times(&self) -> Json {
        self.stage
            .one(
                "select count(*) from syncline.sync_link
                where postgres_edited <> '{}' or remote_state::text like '%\"edited\"%'",
            )
            .await
    }
}

/// The phone was edited here, then there, and after that the name here.
async fn name_was_edited_last_in_postgres(scene: &Scene) {
    scene.edit_row(300, "phone = 'here'").await;
    scene.edit_record(200, json!({"Phone": "there"}));
    scene.edit_row(100, "name = 'Ada of here'").await;
}

/// The phone was edited there, then here, and after that the name there.
async fn name_was_edited_last_in_salesforce(scene: &Scene) {
    scene.edit_record(300, json!({"Phone": "there"}));
    scene.edit_row(200, "phone = 'here'").await;
    scene.edit_record(100, json!({"Name": "Ada of there"}));
}

#[tokio::test]
async fn later_edit_of_another_column_does_not_count() {
    let scene = Scene::under(LATER_WINS).await;
    name_was_edited_last_in_postgres(&scene).await;
    assert_eq!(scene.decided().await, "there by later_edit_wins over here");
    let name = scene.stage.org.value(&scene.id, "Name");
    assert_eq!(name.as_deref(), Some("Ada of here"));
}

#[tokio::test]
async fn later_edit_of_another_field_does_not_count() {
    let scene = Scene::under(LATER_WINS).await;
    name_was_edited_last_in_salesforce(&scene).await;
    assert_eq!(scene.decided().await, "here by later_edit_wins over there");
    let name = scene.stage.one("select name from account").await;
    assert_eq!(name, json!("Ada of there"));
}

#[tokio::test]
async fn latest_of_several_edits_of_a_column_counts() {
    let scene = Scene::under(LATER_WINS).await;
    scene.edit_row(400, "phone = 'first'").await;
    scene.stage.capture_postgres().await;
    scene.edit_record(300, json!({"Phone": "there"}));
    scene.edit_row(200, "phone = 'here'").await;
    scene.edit_row(250, "phone = 'here', name = 'Eve'").await;
    assert_eq!(scene.decided().await, "here by later_edit_wins over there");
}

#[tokio::test]
async fn decision_waits_until_the_row_is_captured() {
    let scene = Scene::under(LATER_WINS).await;
    scene.edit_row(400, "phone = 'first'").await;
    scene.stage.capture_postgres().await;
    scene.edit_record(300, json!({"Phone": "there"}));
    scene.stage.capture_salesforce().await;
    scene.edit_row(200, "phone = 'here'").await;
    scene.stage.apply("Account").await;
    let phone = "select phone from account";
    assert_eq!(scene.stage.one(phone).await, json!("here"));
    let tasks = scene.stage.tasks().await;
    assert_eq!(
        tasks[0]["reason"],
        json!("edits of its row are not captured yet"),
        "{tasks:?}"
    );
    assert_eq!(scene.decided().await, "here by later_edit_wins over there");
}

#[tokio::test]
async fn edits_within_two_seconds_are_a_tie() {
    let scene = Scene::under(LATER_WINS).await;
    scene.edit_record(100, json!({"Phone": "there"}));
    scene.edit_row(99, "phone = 'here'").await;
    assert_eq!(
        scene.decided().await,
        "there by tie_goes_to_salesforce over here"
    );
}

#[tokio::test]
async fn times_are_kept_only_while_they_matter() {
    let scene = Scene::under(LATER_WINS).await;
    assert_eq!(scene.kept_times().await, json!(0));
    scene.edit_row(100, "phone = 'here'").await;
    scene.stage.capture_postgres().await;
    assert_eq!(scene.kept_times().await, json!(1));
    scene.stage.apply("Account").await;
    assert_eq!(scene.kept_times().await, json!(1), "its echo is awaited");
    scene.drain().await;
    assert_eq!(scene.kept_times().await, json!(0));
    scene.edit_record(50, json!({"Phone": "there"}));
    scene.stage.capture_salesforce().await;
    assert_eq!(scene.kept_times().await, json!(1));
    scene.drain().await;
    assert_eq!(scene.kept_times().await, json!(0));
    name_was_edited_last_in_salesforce(&scene).await;
    scene.decided().await;
    assert_eq!(scene.kept_times().await, json!(0));
}

#[tokio::test]
async fn other_policies_keep_no_times_of_columns() {
    let scene = Scene::under("conflicts = \"salesforce_wins\"").await;
    scene.edit_row(100, "phone = 'here'").await;
    scene.stage.capture_postgres().await;
    assert_eq!(scene.kept_times().await, json!(0));
    scene.edit_record(50, json!({"Phone": "there"}));
    assert_eq!(scene.decided().await, "there by salesforce_wins over here");
    assert_eq!(scene.kept_times().await, json!(0));
}

#[tokio::test]
async fn decision_and_discarded_value_show_both_times() {
    let scene = Scene::under(LATER_WINS).await;
    name_was_edited_last_in_postgres(&scene).await;
    scene.decided().await;
    let seconds_ago = |path: &str| {
        format!("select round((extract(epoch from now()) - ({path})::numeric / 1000) / 100) * 100")
    };
    let of_value = |side: &str| {
        let path = "select edited #>> '{SIDE,at_ms}' from syncline.sync_discarded_value";
        seconds_ago(&path.replace("SIDE", side))
    };
    let stage = &scene.stage;
    assert_eq!(stage.one(&of_value("postgres")).await, json!(300));
    assert_eq!(stage.one(&of_value("salesforce")).await, json!(200));
    let of_decision = |side: &str| {
        let path = "select payload #>> '{input,edited,SIDE,Phone,at_ms}' from syncline.sync_journal
            where source = 'decision' and payload #> '{input,edited}' is not null";
        seconds_ago(&path.replace("SIDE", side))
    };
    assert_eq!(stage.one(&of_decision("postgres")).await, json!(300));
    assert_eq!(stage.one(&of_decision("salesforce")).await, json!(200));
    let lost = stage.store.discarded_values(&stage.tenant, None, 10).await;
    let lost = lost.unwrap();
    assert!(lost[0].edited.unwrap().postgres.is_some());
}

/// Reads the record before the events of its edits arrive, and applies.
async fn apply_before_events(scene: &Scene) {
    scene.stage.capture_postgres().await;
    scene
        .stage
        .sql("update syncline.sync_task set needs_refresh = true")
        .await;
    scene.stage.apply("Account").await;
}

#[tokio::test]
async fn read_around_the_other_edit_is_a_tie() {
    let scene = Scene::under(LATER_WINS).await;
    name_was_edited_last_in_salesforce(&scene).await;
    apply_before_events(&scene).await;
    let phone = "select phone from account";
    assert_eq!(scene.stage.one(phone).await, json!("there"));
    assert_eq!(
        scene.decided().await,
        "there by tie_goes_to_salesforce over here",
        "late events change nothing"
    );
    assert_eq!(scene.kept_times().await, json!(0));
}

#[tokio::test]
async fn edit_after_the_read_version_wins_before_events() {
    let scene = Scene::under(LATER_WINS).await;
    scene.edit_record(300, json!({"Phone": "there"}));
    scene.edit_record(200, json!({"Name": "Ada of there"}));
    scene.edit_row(100, "phone = 'here'").await;
    apply_before_events(&scene).await;
    assert_eq!(scene.decided().await, "here by later_edit_wins over there");
    assert_eq!(scene.kept_times().await, json!(0));
}

#[tokio::test]
async fn time_of_a_sent_edit_outlives_its_echo() {
    for (here, expected) in [
        (500, "here by later_edit_wins over there"),
        (700, "there by later_edit_wins over here"),
    ] {
        let scene = Scene::under(LATER_WINS).await;
        let (stage, org) = (&scene.stage, &scene.stage.org);
        // In the second of the last change that was seen: our write does not notice it.
        org.set_wall_ms(scene.agreed_ms);
        org.update(&scene.id, json!({"Phone": "there"}));
        org.set_wall_ms(ago(0));
        scene.edit_row(here, "phone = 'here'").await;
        // The answer is lost, so the record is read with our write before the event of the edit comes.
        org.fault(&FaultAction::FailAfterWrite.once());
        stage.capture_postgres().await;
        assert_eq!(stage.apply("Account").await.unknown, 1);
        stage.make_due().await;
        while stage.apply("Account").await.leased > 0 {}
        assert_eq!(org.value(&scene.id, "Phone").as_deref(), Some("here"));
        assert_eq!(scene.kept_times().await, json!(0));
        assert_eq!(scene.decided().await, expected);
        assert_eq!(scene.kept_times().await, json!(0));
    }
}

/// Opens a scene whose accounts are polled.
async fn polled() -> Scene {
    let poll = "capture = \"poll\"\n\n[[tenant.acme.object]]\nobject      = \"Account\"";
    let object = "[[tenant.acme.object]]\nobject      = \"Account\"";
    Scene::open(&with_line(LATER_WINS).replacen(object, poll, 1), 0).await
}

#[tokio::test]
async fn polled_edit_is_later_than_its_last_version() {
    let scene = polled().await;
    scene.edit_record(400, json!({"Name": "Eve"}));
    scene.drain().await;
    scene.edit_row(500, "phone = 'here'").await;
    scene.edit_record(200, json!({"Phone": "there"}));
    scene.edit_row(100, "name = 'Ada of here'").await;
    assert_eq!(scene.decided().await, "there by later_edit_wins over here");
}

#[tokio::test]
async fn polled_edit_around_the_other_is_a_tie() {
    let scene = polled().await;
    name_was_edited_last_in_postgres(&scene).await;
    assert_eq!(
        scene.decided().await,
        "there by tie_goes_to_salesforce over here"
    );
}

#[tokio::test]
async fn edit_after_the_polled_version_wins() {
    let scene = polled().await;
    scene.edit_record(300, json!({"Phone": "there"}));
    scene.edit_row(100, "phone = 'here'").await;
    assert_eq!(scene.decided().await, "here by later_edit_wins over there");
    assert_eq!(scene.kept_times().await, json!(0));
}

#[tokio::test]
async fn clock_that_is_behind_loses_no_edit() {
    let scene = Scene::open(&with_line(LATER_WINS), -30).await;
    scene.edit_row(120, "phone = 'here'").await;
    // Ten seconds later, yet by the org's clock twenty seconds earlier.
    scene.edit_record(110, json!({"Phone": "there"}));
    assert_eq!(
        scene.decided().await,
        "there by tie_goes_to_salesforce over here"
    );
}

#[tokio::test]
async fn edits_further_apart_than_the_clocks_are_ordered() {
    for (ahead, here, there, expected) in [
        (-30, 100, 200, "here by later_edit_wins over there"),
        (-30, 200, 100, "there by later_edit_wins over here"),
        (30, 100, 200, "here by later_edit_wins over there"),
        (30, 200, 100, "there by later_edit_wins over here"),
        (30, 100, 110, "there by tie_goes_to_salesforce over here"),
    ] {
        let scene = Scene::open(&with_line(LATER_WINS), ahead).await;
        scene.edit_row(here, "phone = 'here'").await;
        scene.edit_record(there, json!({"Phone": "there"}));
        assert_eq!(scene.decided().await, expected, "{ahead} {here} {there}");
    }
}

#[tokio::test]
async fn measured_skew_is_shared_and_shown() {
    let scene = Scene::open(&with_line(LATER_WINS), 30).await;
    let stage = &scene.stage;
    let status = stage.store.status(&stage.tenant).await.unwrap();
    let clock = status.clock_skew.unwrap();
    let skew_ms = clock.skew_ms.unwrap();
    // The local org's clock stands still between the steps of a test.
    assert!((20_000..=31_000).contains(&skew_ms), "{clock:?}");
    assert!((500..5_000).contains(&clock.uncertainty_ms.unwrap()));
    let measured_at = clock.measured_at;
    scene.drain().await;
    let status = stage.store.status(&stage.tenant).await.unwrap();
    let again = status.clock_skew.unwrap().measured_at;
    assert_eq!(
        again, measured_at,
        "it is not stored again while it is good"
    );
    assert!(stage.salesforce.clock().is_some());
    let fresh: Arc<dyn SalesforcePort> = Arc::new(stage.org.client());
    assert!(fresh.clock().is_none(), "nothing was measured yet");
}

#[tokio::test]
async fn set_skew_counts_instead_of_the_measured_one() {
    let scene = Scene::under(LATER_WINS).await;
    let (store, tenant) = (&scene.stage.store, &scene.stage.tenant);
    store.set_clock_skew(tenant, Some(3_600_000)).await.unwrap();
    let status = store.status(tenant).await.unwrap();
    assert_eq!(status.clock_skew.unwrap().set_ms, Some(3_600_000));
    scene.edit_record(300, json!({"Phone": "there"}));
    scene.edit_row(100, "phone = 'here'").await;
    assert_eq!(
        scene.decided().await,
        "there by tie_goes_to_salesforce over here"
    );
    store.set_clock_skew(tenant, None).await.unwrap();
    scene.edit_record(80, json!({"Phone": "there again"}));
    scene.edit_row(20, "phone = 'here again'").await;
    let decided = scene.decided().await;
    assert!(decided.starts_with("here again by"), "{decided}");
}

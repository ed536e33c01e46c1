//! The full comparison accounts for every row and every record: each is in one class, and the classes sum up.

use std::collections::BTreeMap;
use std::sync::Arc;

use salesforce_org::FaultAction;
use serde_json::{Value as Json, json};
use syncline::engine::SyncEngine;
use syncline::engine::system::SystemClock;
use syncline::model::ids::ObjectName;
use syncline::ports::comparison::{Begin, Comparison, RecordClass};
use syncline::ports::{CaptureStore, Clock};
use syncline::reconcile::{CompareOptions, ReconcileReport};

use crate::crashes::pausing_worker;
use crate::mapping::{MAPPING, with_line};
use crate::pausing::PauseAt;
use crate::stage::Stage;

/// Opens a stage with accounts `a-1` to `a-<count>` in sync.
async fn with_accounts(mapping: &str, count: usize) -> Stage {
    let stage = Stage::with_mapping(mapping).await;
    let existing = stage.engine.enqueue_existing_rows(&stage.tenant).await;
    assert_eq!(existing.unwrap(), 0);
    stage
        .sql(&format!(
            "insert into account (external_id, name) select 'a-' || n, 'Account ' || n from generate_series(1, {count}) as n"
        ))
        .await;
    stage.drain().await;
    stage.assert_equal().await;
    stage
}

impl Stage {
    /// Changes rows without the capture triggers noticing.
    pub(crate) async fn unnoticed(&self, statement: &str) {
        self.sql(&format!(
            "begin;
            set local syncline.is_engine = 'on';
            insert into syncline.engine_tx (xid) values (pg_current_xact_id());
            {statement};
            delete from syncline.engine_tx;
            commit"
        ))
        .await;
    }

    async fn compare(&self) -> ReconcileReport {
        let compared = self.engine.reconcile_full(&self.tenant, self.deadline());
        compared.await.unwrap()
    }

    /// Returns the last finished comparison of accounts.
    async fn published(&self) -> Comparison {
        let comparisons = self.store.comparisons(&self.tenant).await.unwrap();
        let mut comparisons = comparisons.into_iter();
        comparisons
            .find(|one| one.object.as_str() == "Account" && one.finished_at.is_some())
            .expect("it was published")
    }

    /// Returns the entries by class, after checking that they stand for all rows and all records of the filter.
    async fn classes(&self, in_salesforce: usize) -> BTreeMap<String, u64> {
        let tally = self.published().await.tally;
        let rows = self.one("select count(*) from account").await;
        assert_eq!(json!(tally.rows), rows, "{tally:?}");
        assert_eq!(tally.rows_met, tally.rows, "{tally:?}");
        let there = u64::try_from(in_salesforce).unwrap();
        assert_eq!(tally.in_salesforce, there, "{tally:?}");
        let entries = tally.rows + tally.in_salesforce - tally.pairs;
        assert_eq!(tally.records(), entries, "{tally:?}");
        let classes = tally.classes.iter();
        classes
            .map(|(class, count)| (<&str>::from(*class).to_owned(), *count))
            .collect()
    }
}

fn classes<const N: usize>(expected: [(&str, u64); N]) -> BTreeMap<String, u64> {
    let expected = expected.into_iter();
    expected
        .map(|(class, count)| (class.to_owned(), count))
        .collect()
}

/// Compares accounts with an engine until it has handled this many pages, and stops it there.
async fn some_pages(stage: &Stage, engine: &SyncEngine, pages: usize) -> ReconcileReport {
    let options = CompareOptions {
        object: Some(ObjectName::parse("Account").unwrap()),
        begin: Begin::Now,
    };
    let mut handled = 0;
    let mut stop = |_: &Comparison| {
        handled += 1;
        if handled == pages {
            engine.stop();
        }
    };
    let compared = engine.compare(&stage.tenant, &options, stage.deadline(), &mut stop);
    compared.await.unwrap()
}

fn new_worker(stage: &Stage) -> SyncEngine {
    let store = Arc::new(stage.store.clone());
    stage.worker("slice", store, Arc::clone(&stage.salesforce))
}

#[tokio::test]
async fn equal_sides_are_verified() {
    let stage = with_accounts(MAPPING, 120).await;
    stage.compare().await;
    assert_eq!(stage.classes(120).await, classes([("equal", 120)]));
    let status = stage.store.status(&stage.tenant).await.unwrap();
    let account = &status.objects[0];
    let last = account.last_comparison.as_ref().unwrap();
    assert!(last.verified_equal, "{last:?}");
    assert_eq!((last.records, account.comparing_since), (120, None));
}

#[tokio::test]
async fn every_difference_is_in_the_class_that_explains_it() {
    let stage = with_accounts(MAPPING, 120).await;
    let refused = FaultAction::RejectRow {
        external_id: "a-3".to_owned(),
        code: "FIELD_CUSTOM_VALIDATION_EXCEPTION".to_owned(),
        message: "no".to_owned(),
    };
    stage.org.fault(&refused.once());
    let second = stage.org.id_of("Account", "a-2").unwrap();
    stage.org.update(&second, json!({"Phone": "1"}));
    stage
        .sql(
            "update account set phone = '2' where external_id in ('a-2', 'a-3');
            update account set phone = repeat('7', 60) where external_id = 'a-4'",
        )
        .await;
    stage.drain().await;
    stage
        .sql("update account set name = 'Captured' where external_id = 'a-5'")
        .await;
    stage.capture_postgres().await;
    stage
        .sql(
            "update account set name = 'In the outbox' where external_id = 'a-6';
            insert into account (external_id, name) values ('a-new', 'New')",
        )
        .await;
    stage
        .unnoticed(
            "update account set name = 'Unnoticed' where external_id = 'a-7';
            insert into account (external_id, name) values ('a-row', 'Row');
            insert into account (name) values ('Nameless')",
        )
        .await;
    stage.org.insert(
        "Account",
        json!({"Name": "There", "External_Id__c": "a-there"}),
    );
    let report = stage.compare().await;
    let expected = classes([
        ("equal", 114),
        ("pending", 3),
        ("conflicting", 1),
        ("parked", 1),
        ("withheld", 1),
        ("only_in_salesforce", 1),
        ("only_in_postgres", 1),
        ("without_id", 1),
        ("unexplained", 1),
    ]);
    assert_eq!(stage.classes(121).await, expected);
    assert_eq!((report.drifted.len(), report.enqueued), (1, 4));
    let tally = stage.published().await.tally;
    assert!(!tally.is_verified_equal() && !tally.is_well());
    let by_field = json!({"Name": 3, "Phone": 3});
    assert_eq!(json!(tally.fields), by_field);
    let keys = tally.samples.iter().map(|one| one.key.as_str());
    for key in ["a-2", "a-3", "a-4", "a-7", "a-row", "a-there"] {
        assert!(keys.clone().any(|known| known == key), "{key}");
    }
}

#[tokio::test]
async fn unexplained_records_are_planned_and_become_equal() {
    let stage = with_accounts(MAPPING, 3).await;
    stage
        .unnoticed(
            "update account set name = 'Unnoticed' where external_id = 'a-1';
            insert into account (external_id, name) values ('a-row', 'Row')",
        )
        .await;
    stage.org.insert(
        "Account",
        json!({"Name": "There", "External_Id__c": "a-there"}),
    );
    let writes = stage.org.writing_calls();
    stage.compare().await;
    assert_eq!(stage.org.writing_calls(), writes, "it writes nothing");
    stage.drain().await;
    stage.assert_equal().await;
    stage.compare().await;
    assert_eq!(stage.classes(5).await, classes([("equal", 5)]));
}

#[tokio::test]
async fn unnoticed_changes_are_found_during_a_resync_too() {
    let stage = with_accounts(MAPPING, 3).await;
    let accounts = [ObjectName::parse("Account").unwrap()];
    let marked = stage
        .store
        .mark_needs_resync(&stage.tenant, &accounts, "a test");
    marked.await.unwrap();
    stage
        .unnoticed(
            "delete from account where external_id = 'a-1';
            update account set name = 'Unnoticed' where external_id = 'a-2'",
        )
        .await;
    let third = stage.org.id_of("Account", "a-3").unwrap();
    stage.org.update(&third, json!({"Phone": "1"}));
    let report = stage.compare().await;
    assert_eq!((report.drifted.len(), report.enqueued), (2, 2));
    let expected = classes([
        ("only_in_salesforce", 1),
        ("unexplained", 1),
        ("pending", 1),
    ]);
    assert_eq!(stage.classes(3).await, expected);
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.count("Account"), 2);
}

#[tokio::test]
async fn rows_that_were_left_out_are_found_and_stay() {
    let stage = Stage::prepared(MAPPING).await;
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Old')")
        .await;
    stage.install().await;
    stage.drain().await;
    let report = stage.compare().await;
    assert_eq!(stage.classes(0).await, classes([("only_in_postgres", 1)]));
    assert_eq!(report.enqueued, 0);
    stage.drain().await;
    assert_eq!(stage.org.count("Account"), 0);
}

#[tokio::test]
async fn deleted_and_withheld_deletes_have_their_classes() {
    let deletes = "deletes = { mode = \"soft\", column = \"deleted_at\", max_per_hour = 2 }";
    let stage = with_accounts(&with_line(deletes), 20).await;
    let id = stage.org.id_of("Account", "a-1").unwrap();
    stage.org.delete(&id);
    stage.drain().await;
    stage
        .sql("update account set deleted_at = now() where external_id in ('a-2', 'a-3', 'a-4')")
        .await;
    stage.drain().await;
    stage.compare().await;
    let expected = classes([("deleted", 1), ("delete_withheld", 3), ("equal", 16)]);
    assert_eq!(stage.classes(19).await, expected);
}

#[tokio::test]
async fn links_of_records_that_are_gone_are_counted_apart() {
    let stage = with_accounts(MAPPING, 3).await;
    stage
        .sql("delete from account where external_id = 'a-1'")
        .await;
    stage.drain().await;
    stage.compare().await;
    assert_eq!(stage.classes(2).await, classes([("equal", 2)]));
    assert_eq!(stage.published().await.tally.gone, 1);
}

#[tokio::test]
async fn rows_kept_by_rule_are_explained() {
    let stage = with_accounts(&with_line("deletes = { mode = \"ignore\" }"), 2).await;
    let id = stage.org.id_of("Account", "a-1").unwrap();
    stage.org.delete(&id);
    stage.drain().await;
    stage.compare().await;
    let expected = classes([("kept_apart", 1), ("equal", 1)]);
    assert_eq!(stage.classes(1).await, expected);
}

#[tokio::test]
async fn rows_outside_the_filter_are_explained() {
    let filter = "where = \"Type = 'Customer'\"\non_filter_exit = \"keep\"";
    let stage = Stage::with_mapping(&with_line(filter)).await;
    stage.drain().await;
    let customer = json!({"Name": "Ada", "Type": "Customer", "External_Id__c": "a-1"});
    let id = stage.org.insert("Account", customer);
    stage.drain().await;
    stage.org.update(&id, json!({"Type": "Prospect"}));
    stage.drain().await;
    stage.compare().await;
    assert_eq!(stage.classes(0).await, classes([("filtered_out", 1)]));
}

#[tokio::test]
async fn unreadable_records_are_never_equal() {
    let stage = Stage::open().await;
    let ada = json!({"Name": "Ada", "External_Id__c": "a-1"});
    stage.org.insert("Account", ada);
    stage.drain().await;
    stage.org.restrict(&json!({"cannot_view_all": ["Account"]}));
    stage.compare().await;
    stage.drain().await;
    stage.compare().await;
    assert_eq!(stage.classes(0).await, classes([("unreadable", 1)]));
}

#[tokio::test]
async fn hidden_field_leaves_its_records_unverified() {
    let stage = with_accounts(MAPPING, 2).await;
    stage
        .org
        .restrict(&json!({"hidden_fields": ["Account.Phone"]}));
    stage.age_schemas().await;
    let engine = stage.engine_of(stage.config.clone());
    stage
        .salesforce
        .forget_schema(&ObjectName::parse("Account").unwrap());
    engine
        .reconcile_full(&stage.tenant, stage.deadline())
        .await
        .unwrap();
    assert_eq!(stage.classes(2).await, classes([("withheld", 2)]));
    assert_eq!(
        json!(stage.published().await.tally.fields),
        json!({"Phone": 2})
    );
}

#[tokio::test]
async fn undeleted_record_whose_name_was_taken_is_accounted_for() {
    let stage = with_accounts(MAPPING, 1).await;
    let first = stage.org.id_of("Account", "a-1").unwrap();
    stage.org.delete(&first);
    stage.drain().await;
    stage
        .sql("insert into account (external_id, name) values ('a-2', 'Second')")
        .await;
    stage.drain().await;
    stage.org.undelete(&first);
    stage.compare().await;
    let found = stage.classes(2).await;
    assert_eq!(found.get("equal"), Some(&1), "{found:?}");
    stage.drain().await;
    stage.compare().await;
    assert_eq!(stage.classes(2).await, classes([("equal", 2)]));
}

#[tokio::test]
async fn comparison_in_slices_counts_each_record_once() {
    let stage = with_accounts(MAPPING, 120).await;
    for pages in [1, 1, 1] {
        let report = some_pages(&stage, &new_worker(&stage), pages).await;
        assert!(!report.complete);
    }
    let status = stage.store.status(&stage.tenant).await.unwrap();
    assert!(status.objects[0].comparing_since.is_some());
    assert_eq!(status.objects[0].last_comparison, None);
    assert!(some_pages(&stage, &new_worker(&stage), 1).await.complete);
    assert_eq!(stage.classes(120).await, classes([("equal", 120)]));
}

#[tokio::test]
async fn killed_comparison_goes_on_where_it_stopped() {
    let stage = with_accounts(MAPPING, 120).await;
    some_pages(&stage, &new_worker(&stage), 1).await;
    let (doomed, port) = pausing_worker(&stage, PauseAt::BeforeReading);
    tokio::select! {
        compared = some_pages(&stage, &doomed, 9) => panic!("it was not cut: {compared:?}"),
        () = port.paused.notified() => {}
    }
    doomed.release_orphaned_leases().await;
    stage.compare().await;
    assert_eq!(stage.classes(120).await, classes([("equal", 120)]));
}

#[tokio::test]
async fn changed_configuration_starts_a_comparison_over() {
    let stage = with_accounts(MAPPING, 120).await;
    some_pages(&stage, &new_worker(&stage), 2).await;
    let mut config = stage.config.clone();
    config.config_hash = "other".to_owned();
    let engine = stage.engine_of(config);
    engine
        .reconcile_full(&stage.tenant, stage.deadline())
        .await
        .unwrap();
    assert_eq!(stage.classes(120).await, classes([("equal", 120)]));
    assert_eq!(stage.published().await.config_hash, "other");
}

#[tokio::test]
async fn records_that_appear_meanwhile_are_left_to_the_next() {
    let stage = with_accounts(MAPPING, 120).await;
    some_pages(&stage, &new_worker(&stage), 1).await;
    stage
        .sql("insert into account (external_id, name) values ('b-1', 'Late')")
        .await;
    stage
        .org
        .insert("Account", json!({"Name": "Late", "External_Id__c": "b-2"}));
    stage.drain().await;
    let report = stage.compare().await;
    let found = stage.published().await.tally;
    assert_eq!((report.drifted.len(), found.unexplained()), (0, 0));
    assert_eq!(found.of(RecordClass::Equal), 120);
    assert_eq!(found.of(RecordClass::Appeared), 4, "each side of two");
    stage.compare().await;
    assert_eq!(stage.classes(122).await, classes([("equal", 122)]));
}

#[tokio::test]
async fn edit_that_is_on_its_way_is_no_difference() {
    let stage = with_accounts(MAPPING, 3).await;
    stage.org.set_wall_ms(SystemClock.now_ms());
    let id = stage.org.id_of("Account", "a-1").unwrap();
    stage.org.update(&id, json!({"Phone": "1"}));
    stage
        .org
        .insert("Account", json!({"Name": "New", "External_Id__c": "a-4"}));
    let report = stage.compare().await;
    assert_eq!(report.drifted, []);
    let expected = classes([("equal", 2), ("pending", 2)]);
    assert_eq!(stage.classes(4).await, expected);
}

#[tokio::test]
async fn edit_between_both_reads_is_no_difference() {
    let stage = with_accounts(MAPPING, 3).await;
    stage
        .unnoticed("update account set name = 'Unnoticed' where external_id = 'a-1'")
        .await;
    let (worker, port) = pausing_worker(&stage, PauseAt::BeforeReading);
    let mend = async {
        port.paused.notified().await;
        port.resume.notify_one();
        // The second read.
        port.paused.notified().await;
        stage
            .unnoticed("update account set name = 'Account 1' where external_id = 'a-1'")
            .await;
        port.resume.notify_one();
    };
    let (report, ()) = tokio::join!(some_pages(&stage, &worker, 9), mend);
    assert_eq!(report.drifted, []);
    assert_eq!(stage.classes(3).await, classes([("equal", 3)]));
}

#[tokio::test]
async fn calls_are_bounded_by_pages() {
    let stage = with_accounts(MAPPING, 120).await;
    stage
        .unnoticed("update account set name = 'Unnoticed'")
        .await;
    let before = stage.org.calls();
    let report = stage.compare().await;
    assert_eq!(report.drifted.len(), 120);
    let after = stage.org.calls();
    let made: u64 = after.values().sum::<u64>() - before.values().sum::<u64>();
    // Three pages of accounts, each read twice; one of contacts.
    assert_eq!(made, 7, "{before:?} {after:?}");
    let samples: Vec<Json> = vec![json!(stage.published().await.tally.samples.len())];
    assert_eq!(samples, [json!(10)]);
}

#[tokio::test]
async fn schedule_begins_one_a_day_and_ends_what_was_begun() {
    let stage = with_accounts(MAPPING, 120).await;
    let account = Some(ObjectName::parse("Account").unwrap());
    let options = |begin| CompareOptions {
        object: account.clone(),
        begin,
    };
    let daily = options(Begin::After { ms: 86_400_000 });
    let unfinished = options(Begin::Never);
    let compare = async |options: &CompareOptions| {
        let end = stage.deadline();
        let compared = stage
            .engine
            .compare(&stage.tenant, options, end, &mut |_| {})
            .await;
        compared.unwrap().compared
    };
    assert_eq!(compare(&unfinished).await, 0);
    assert_eq!(compare(&daily).await, 120);
    assert_eq!(compare(&daily).await, 0, "not again today");
    some_pages(&stage, &new_worker(&stage), 2).await;
    assert_eq!(compare(&unfinished).await, 20, "the rest");
}

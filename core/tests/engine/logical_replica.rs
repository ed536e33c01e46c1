//! A logical replica takes over, as the new side of a blue/green switch does. Its triggers are there while it is filled,
//! and no sequence is carried over.

use std::time::Duration;

use serde_json::{Value as Json, json};
use syncline::engine::check::Finding;

use crate::stage::Stage;
use crate::which_database::assert_held;

/// How often the replication is looked at until all has arrived: it takes a few seconds.
const LOOKS_MAX: u32 = 6_000;
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// What the new server begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Tables, triggers and the control plane without rows. Its sequences begin at 1, and its tables are others.
    Dump,
    /// A physical copy of the old one. Its sequences begin where those of the old one go on.
    Snapshot,
}

/// Both servers of a switch.
struct Switch {
    blue: Stage,
    green: Stage,
}

impl Switch {
    /// Opens two servers. The old one has accounts that are in step, and the new one has what it begins with.
    async fn begun(start: Start) -> Self {
        let blue = Stage::alone().await;
        blue.sql(
            "insert into account (external_id, name) select 'a-' || n, 'Ada' from generate_series(1, 7) as n;
            insert into contact (external_id, last_name, account_external_id) values ('c-1', 'Cy', 'a-1')",
        )
        .await;
        blue.drain().await;
        blue.assert_equal().await;
        blue.sql(
            "create publication everything for tables in schema public, syncline
            with (publish_via_partition_root = true)",
        )
        .await;
        let (green, options) = match start {
            Start::Dump => (blue.schema_alone().await, "create_slot = true"),
            Start::Snapshot => {
                blue.sql("select pg_create_logical_replication_slot('green', 'pgoutput')")
                    .await;
                (blue.snapshot(), "create_slot = false, copy_data = false")
            }
        };
        let switch = Self { blue, green };
        switch.replicate(options).await;
        switch
    }

    /// Copies the rows that the new server lacks, and whatever changes from now on.
    async fn replicate(&self, options: &str) {
        let Self { blue, green } = self;
        let folder = blue.database().socket_folder();
        green
            .sql(&format!(
                "create subscription green connection 'host={} user=postgres dbname={}' publication everything
                with ({options})",
                folder.display(),
                blue.database_name()
            ))
            .await;
        wait_until(
            green,
            "select bool_and(srsubstate = 'r') from pg_subscription_rel",
        )
        .await;
    }

    /// Edits both sides while the engine works on the old server.
    async fn edit_and_drain(&self) {
        let Self { blue, .. } = self;
        blue.sql(
            "update account set phone = '1' where external_id = 'a-1';
            delete from account where external_id = 'a-2';
            insert into account (name) values ('No key');
            update contact set email = 'cy@example.com'",
        )
        .await;
        let org = &blue.org;
        org.update(&self.id_of("a-3"), json!({"Name": "Ada Lovelace"}));
        org.delete(&self.id_of("a-4"));
        org.insert("Account", json!({"Name": "There", "External_Id__c": "a-8"}));
        blue.drain().await;
        blue.assert_equal().await;
    }

    /// Edits both sides and leaves all work undone: edits that wait, a lease, and a write that may be under way.
    async fn edit_and_stop(&self) {
        let Self { blue, .. } = self;
        blue.sql(
            "update account set phone = '9' where external_id = 'a-1';
            update account set external_id = 'b-5' where external_id = 'a-5';
            insert into account (external_id, name) values ('a-9', 'Here');
            insert into syncline.sync_task (record_id, tenant, object, state, lease_owner, lease_until)
            select record_id, tenant, object, 'leased', 'gone', syncline.clock() + interval '1 hour'
            from syncline.sync_link where external_id = 'a-6';
            insert into syncline.sync_intent
                (intent_id, record_id, tenant, object, fencing_token, action, fields, deadline, config_hash)
            select syncline.new_id(), record_id, tenant, object, fencing_token, 'update', '{\"Phone\": \"6\"}',
                syncline.clock() + interval '1 hour', ''
            from syncline.sync_task",
        )
        .await;
        blue.org.update(&self.id_of("a-3"), json!({"Phone": "3"}));
    }

    /// Waits until everything that was committed on the old server is on the new one.
    async fn catch_up(&self) {
        let Self { blue, green } = self;
        // Only what is flushed is sent, and a commit flushes all before it.
        blue.sql(
            "begin;
            set local synchronous_commit = on;
            select pg_logical_emit_message(true, 'end', '');
            commit",
        )
        .await;
        let end = blue.one("select pg_current_wal_flush_lsn()").await;
        wait_until(
            blue,
            &format!(
                "select bool_or(replay_lsn >= '{}') from pg_stat_replication where application_name = 'green'",
                end.as_str().unwrap()
            ),
        )
        .await;
        let accounts = "select * from account order by id";
        assert_eq!(green.rows(accounts).await, blue.rows(accounts).await);
    }

    /// Ends the replication. What an operator does about the user's own sequences is done, too.
    async fn end(&self) {
        let Self { green, .. } = self;
        green.sql("drop subscription green").await;
        green
            .sql(
                "select setval(pg_get_serial_sequence(name, 'id'), 1000)
                from unnest(array['account', 'contact']) as name",
            )
            .await;
    }

    /// Edits both sides after users have moved to the new server and before a person has decided.
    async fn edit_before_adoption(&self) {
        let Self { green, .. } = self;
        green
            .sql(
                "update account set phone = '7' where external_id = 'a-6';
                delete from account where external_id = 'a-7';
                insert into account (external_id, name) values ('a-10', 'New')",
            )
            .await;
        green
            .org
            .update(&self.id_of("a-1"), json!({"Name": "Ada Ltd"}));
    }

    /// Renames a row whose last rename still waits.
    async fn rename_again(&self) {
        self.green
            .sql("update account set external_id = 'c-5' where external_id = 'b-5'")
            .await;
    }

    fn id_of(&self, external_id: &str) -> String {
        let found = self.blue.org.id_of("Account", external_id);
        found.unwrap_or_else(|| panic!("{external_id} is not in the org"))
    }

    /// Asserts that every edit of each phase, of either side, is on both.
    async fn assert_nothing_lost(&self, renamed: &str) {
        let Self { green, .. } = self;
        green.assert_equal().await;
        assert_eq!(green.conflicts().await, Vec::<Json>::new());
        let found = green
            .rows(
                "select external_id, name, phone from account
                where name <> 'No key' order by external_id collate \"C\"",
            )
            .await;
        let account = |external_id: &str, name: &str, phone: Option<&str>| json!({"external_id": external_id, "name": name, "phone": phone});
        assert_eq!(
            found,
            [
                account("a-1", "Ada Ltd", Some("9")),
                account("a-10", "New", None),
                account("a-3", "Ada Lovelace", Some("3")),
                account("a-6", "Ada", Some("7")),
                account("a-8", "There", None),
                account("a-9", "Here", None),
                account("c-5", "Ada", None),
            ]
        );
        assert_eq!(green.one("select count(*) from account").await, json!(8));
        assert_eq!(self.id_of("c-5"), renamed, "it was created again");
    }
}

async fn wait_until(stage: &Stage, condition: &str) {
    let mut looks = tokio::time::interval(BETWEEN_LOOKS);
    for _ in 0..LOOKS_MAX {
        looks.tick().await;
        if stage.one(condition).await == json!(true) {
            return;
        }
    }
    let workers = stage.rows("select * from pg_stat_subscription_stats").await;
    panic!("it never came true: {condition}; {workers:?}");
}

/// Returns the edits that wait.
async fn waiting(stage: &Stage) -> Vec<Json> {
    stage
        .rows("select * from syncline.sync_outbox order by outbox_id")
        .await
}

#[tokio::test]
async fn replica_of_a_dump_takes_over_without_loss() {
    take_over(Start::Dump).await;
}

#[tokio::test]
async fn replica_of_a_snapshot_takes_over_without_loss() {
    take_over(Start::Snapshot).await;
}

async fn take_over(start: Start) {
    let switch = Switch::begun(start).await;
    let Switch { blue, green } = &switch;
    switch.edit_and_drain().await;
    switch.edit_and_stop().await;
    switch.catch_up().await;
    assert_eq!(waiting(blue).await.len(), 3);
    assert_eq!(
        waiting(green).await,
        waiting(blue).await,
        "edits were captured twice"
    );
    let renamed = switch.id_of("a-5");
    let replicates = |found: &[Finding]| {
        let mut found = found.iter();
        found.any(|one| {
            one.what
                .starts_with("the subscription green replicates the outbox")
        })
    };
    assert!(replicates(&green.mismatches(&green.engine).await));
    switch.end().await;
    assert!(!replicates(&green.mismatches(&green.engine).await));
    switch.edit_before_adoption().await;
    switch.rename_again().await;
    let reason = assert_held(green, &green.engine).await;
    assert!(reason.contains("another database"), "{reason}");
    assert_eq!(waiting(green).await.len(), 7);

    green.store.adopt_database(&green.tenant).await.unwrap();
    let numbers = "select nextval('syncline.fencing_token') > (select max(fencing_token) from syncline.sync_task)
        and nextval(pg_get_serial_sequence('syncline.sync_link_alias', 'alias_id'))
            > (select max(alias_id) from syncline.sync_link_alias)
        and nextval(pg_get_serial_sequence('syncline.sync_journal', 'journal_id'))
            > (select max(journal_id) from syncline.sync_journal)
        and nextval(pg_get_serial_sequence('syncline.sync_outbox', 'outbox_id'))
            > (select max(outbox_id) from syncline.sync_outbox)";
    assert_eq!(green.one(numbers).await, json!(true));
    let intents =
        "select jsonb_agg(state) from syncline.sync_intent where state in ('open', 'unknown')";
    assert_eq!(green.one(intents).await, json!(["unknown"]));
    // The triggers came with the schema. In a new database they are on other tables than those that are known.
    let found = green.mismatches(&green.engine).await;
    let others = found
        .iter()
        .filter(|one| one.what.contains("not installed"));
    let expected = if start == Start::Dump { 2 } else { 0 };
    assert_eq!(others.count(), expected, "{found:?}");
    set_up(green).await;
    green.drain().await;
    switch.assert_nothing_lost(&renamed).await;
    assert_eq!(green.mismatches(&green.engine).await, []);
}

/// Installs capture, as `syncline install` does: rows of before are enqueued.
async fn set_up(stage: &Stage) {
    stage.install().await;
    let enqueued = stage.engine.enqueue_existing_rows(&stage.tenant).await;
    enqueued.unwrap();
}

#[tokio::test]
async fn replica_without_triggers_is_named_and_mended() {
    let switch = Switch::begun(Start::Dump).await;
    let green = &switch.green;
    green
        .sql(
            "drop trigger syncline_capture_account on account;
            drop trigger syncline_insert_account on account;
            drop trigger syncline_update_account on account;
            drop trigger syncline_delete_account on account;
            drop trigger syncline_truncate_account on account",
        )
        .await;
    switch.edit_and_drain().await;
    switch.edit_and_stop().await;
    switch.catch_up().await;
    let renamed = switch.id_of("a-5");
    switch.end().await;
    switch.edit_before_adoption().await;
    green.store.adopt_database(&green.tenant).await.unwrap();
    let swept = green.engine.sweep(&green.tenant).await.unwrap();
    let broken = swept.found.capture_broken;
    assert!(
        broken
            .iter()
            .any(|problem| problem.contains("row trigger is missing on account")),
        "{broken:?}"
    );
    set_up(green).await;
    switch.rename_again().await;
    green.drain().await;
    // Only a comparison shows a delete that no trigger saw.
    green
        .engine
        .reconcile_full(&green.tenant, green.deadline())
        .await
        .unwrap();
    green.drain().await;
    switch.assert_nothing_lost(&renamed).await;
    assert_eq!(green.mismatches(&green.engine).await, []);
}

//! A tenant whose jobs run minute by minute, on clocks that the test moves.

use async_trait::async_trait;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde_json::{Value as Json, json};
use syncline::capture::CaptureOptions;
use syncline::engine::SyncEngine;
use syncline::engine::system::SystemClock;
use syncline::job::error::{Error, error_chain};
use syncline::ports::{Clock, SalesforcePort};
use syncline::store::TenantStatus;

use crate::mapping::with_line;
use crate::pausing::{PauseAt, PausingSalesforce};
use crate::stage::Stage;

/// A fault that lasts until it is ended.
pub(super) const ALWAYS: u32 = 1_000_000;

/// Accounts and contacts that a world begins with.
const RECORDS: usize = 4;

/// Minutes between two comparisons of what changed lately.
const COMPARE_EVERY: u32 = 15;

/// Minutes until a world whose faults have ended must be at rest.
const REST_MINUTES: u32 = 40;

/// Longer than one job takes.
const JOB_TIME: Duration = Duration::from_secs(600);

/// The clock of the machine, and how far it has been moved.
#[derive(Default)]
struct MovedClock(AtomicI64);

#[async_trait]
impl Clock for MovedClock {
    fn now_ms(&self) -> i64 {
        SystemClock.now_ms() + self.0.load(Ordering::Relaxed)
    }

    async fn wait(&self, pause: Duration) {
        SystemClock.wait(pause).await;
    }
}

/// A tenant whose accounts `a-1` … and contacts `c-1` … are in step.
pub(super) struct World {
    pub(super) stage: Stage,
    engine: SyncEngine,
    clock: Arc<MovedClock>,
    minutes: u32,
    /// The failures of jobs since they were last taken.
    failures: Vec<String>,
}

impl World {
    pub(super) async fn open() -> Self {
        Self::under("conflicts = \"manual_review\"").await
    }

    /// Opens a world with this line in the section of accounts.
    pub(super) async fn under(line: &str) -> Self {
        Self::of(Stage::with_mapping(&with_line(line)).await).await
    }

    /// Lets a stage live by the minute, with its first records.
    pub(super) async fn of(stage: Stage) -> Self {
        let clock = Arc::new(MovedClock::default());
        stage.org.set_wall_ms(clock.now_ms());
        stage
            .sql(&format!(
                "insert into account (external_id, name, phone, rating)
                select 'a-' || n, 'Account ' || n, '0', 'Cold' from generate_series(1, {RECORDS}) as n;
                insert into contact (external_id, last_name, account_external_id)
                select 'c-' || n, 'Contact ' || n, 'a-1' from generate_series(1, {RECORDS}) as n"
            ))
            .await;
        stage.drain().await;
        stage.assert_equal().await;
        let engine = engine(&stage, &clock, Arc::clone(&stage.salesforce));
        let mut world = Self {
            stage,
            engine,
            clock,
            minutes: 0,
            failures: Vec::new(),
        };
        world.live(1).await;
        assert_eq!(world.failures(), [] as [String; 0]);
        world
    }

    /// Another process takes over: it has signed in nowhere and read no schema.
    pub(super) fn restart(&mut self) {
        let client = Arc::new(self.stage.org.client());
        let port = PausingSalesforce::new(client, &self.stage.org, PauseAt::Never);
        self.engine = engine(&self.stage, &self.clock, port);
    }

    /// Runs every job once a minute, and the comparison of recent changes every quarter of an hour. A job that fails
    /// is run again in the next minute, as schedules do.
    pub(super) async fn live(&mut self, minutes: u32) {
        for _ in 0..minutes {
            self.run_jobs().await;
            self.pass_minute().await;
        }
    }

    async fn run_jobs(&mut self) {
        let tenant = &self.stage.tenant;
        let engine = &self.engine;
        let time = || engine.deadline_in(JOB_TIME);
        let options = CaptureOptions::draining(time());
        let mut ended = vec![
            engine.capture_postgres(tenant, &options).await.err(),
            engine.capture_salesforce(tenant, &options).await.err(),
        ];
        for object in &self.stage.config.objects {
            let applied = engine.apply(tenant, &object.object, 0, time()).await;
            ended.push(applied.err());
        }
        ended.push(engine.sweep(tenant).await.err());
        if self.minutes.is_multiple_of(COMPARE_EVERY) {
            let compared = engine.reconcile_incremental(tenant, time()).await;
            ended.push(compared.err());
        }
        engine.release_orphaned_leases().await;
        let failures = ended.into_iter().flatten();
        self.failures
            .extend(failures.map(|error: Error| error_chain(&error)));
    }

    async fn pass_minute(&mut self) {
        self.minutes += 1;
        self.clock.0.fetch_add(60_000, Ordering::Relaxed);
        self.stage.org.advance_ms(60_000);
        self.stage.pass_seconds(60).await;
        self.stage
            .sql(
                "update syncline.sync_checkpoint
                set read_at = read_at - interval '1 minute', captured_at = captured_at - interval '1 minute';
                update syncline.sync_intent
                set updated_at = updated_at - interval '1 minute', deadline = deadline - interval '1 minute'",
            )
            .await;
    }

    /// Lives until no work is left, and asserts that both sides are equal, that nothing is parked or in conflict, and
    /// that nothing stands against the tenant. Returns the minutes it took.
    pub(super) async fn recover(&mut self) -> u32 {
        let minutes = self.rest().await;
        self.stage.assert_equal().await;
        assert_eq!(self.stage.conflicts().await, [] as [Json; 0]);
        assert_eq!(self.stopped().await, [] as [String; 0]);
        let status = self.status().await;
        assert_eq!((status.outage, status.paused), (None, None));
        assert_eq!(status.withheld, []);
        for object in status.objects {
            assert_eq!(object.in_sync, object.records, "{object:?}");
        }
        minutes
    }

    /// Lives until no task is left that is not parked. Returns the minutes it took.
    pub(super) async fn rest(&mut self) -> u32 {
        for minute in 0..REST_MINUTES {
            self.live(1).await;
            let open = "select count(*) from syncline.sync_task where state <> 'parked'";
            let is_known = self.status().await.outage.is_none();
            if is_known && self.stage.one(open).await == json!(0) {
                // What the last applies wrote comes back.
                self.live(1).await;
                if self.stage.one(open).await == json!(0) {
                    return minute + 1;
                }
            }
        }
        panic!(
            "no rest: {:?}; {:?}",
            self.stage.tasks().await,
            self.failures
        );
    }

    /// Compares everything; returns whether each record was compared.
    pub(super) async fn compare(&self) -> bool {
        let end = self.engine.deadline_in(JOB_TIME);
        let compared = self.engine.reconcile_full(&self.stage.tenant, end).await;
        compared.unwrap().complete
    }

    pub(super) async fn status(&self) -> TenantStatus {
        self.stage.store.status(&self.stage.tenant).await.unwrap()
    }

    /// Returns the calls and rpcs that the org has received.
    pub(super) fn calls(&self) -> u64 {
        self.stage.org.calls().values().sum()
    }

    /// Returns and forgets the failures of jobs.
    pub(super) fn failures(&mut self) -> Vec<String> {
        std::mem::take(&mut self.failures)
    }

    /// Returns the open dead letters as `record field code: message`.
    pub(super) async fn stopped(&self) -> Vec<String> {
        let rows = self
            .stage
            .rows(
                "select link.external_id || ' ' || coalesce(letter.field, '-') || ' ' || letter.code || ': '
                    || letter.message as text
                from syncline.sync_dead_letter as letter
                join syncline.sync_link as link using (record_id)
                where letter.closed_at is null
                order by 1",
            )
            .await;
        rows.iter()
            .map(|row| row["text"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Returns the log of discarded values as `record field side value`.
    pub(super) async fn discarded(&self) -> Vec<String> {
        let rows = self
            .stage
            .rows(
                "select link.external_id || ' ' || lost.field || ' ' || lost.side || ' ' || (lost.value #>> '{}') as text
                from syncline.sync_discarded_value as lost
                join syncline.sync_link as link using (record_id)
                order by 1",
            )
            .await;
        rows.iter()
            .map(|row| row["text"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Replays every open dead letter, as a person does.
    pub(super) async fn replay_all(&self) {
        let (store, tenant) = (&self.stage.store, &self.stage.tenant);
        for letter in store.dead_letters(tenant, None, 100).await.unwrap() {
            let replayed = store.replay_dead_letter(tenant, letter.dead_letter_id);
            assert!(replayed.await.unwrap());
        }
    }

    /// Returns the Salesforce id of an account.
    pub(super) fn account(&self, external_id: &str) -> String {
        self.stage.org.id_of("Account", external_id).unwrap()
    }

    /// Returns one field of an account on both sides: the row's, the record's. A column is named like its field.
    pub(super) async fn both(&self, id: &str, field: &str) -> [Json; 2] {
        let external_id = self.stage.org.value(id, "External_Id__c").unwrap();
        let column = field.trim_end_matches("__c");
        let row = format!("select {column} from account where external_id = '{external_id}'");
        let record = self.stage.org.value(id, field);
        [self.stage.one(&row).await, json!(record)]
    }

    /// Asserts that both sides of an account have this value.
    #[track_caller]
    pub(super) fn assert_both<'a>(
        &'a self,
        id: &'a str,
        field: &'a str,
        value: &'a str,
    ) -> impl Future<Output = ()> + 'a {
        let caller = Location::caller();
        async move {
            let both = self.both(id, field).await;
            assert_eq!(both, [json!(value), json!(value)], "{field} at {caller}");
        }
    }

    /// Runs SQL as a user of the database.
    pub(super) async fn sql(&self, sql: &str) {
        self.stage.sql(sql).await;
    }

    /// Sets what our user may not see or do in the org.
    pub(super) fn restrict(&self, restrictions: &Json) {
        self.stage.org.restrict(restrictions);
    }
}

fn engine(
    stage: &Stage,
    clock: &Arc<MovedClock>,
    salesforce: Arc<dyn SalesforcePort>,
) -> SyncEngine {
    SyncEngine::builder()
        .tenant(
            stage.config.clone(),
            Arc::new(stage.store.clone()),
            salesforce,
        )
        .clock(Arc::clone(clock) as Arc<dyn Clock>)
        .build()
}

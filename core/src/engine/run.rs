//! Runs all jobs in one process until it is stopped, without a queue and schedules.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::capture::{CaptureOptions, Idle};
use crate::job::error::{Error, error_chain};
use crate::model::ids::TenantId;
use crate::ports::comparison::Begin;
use crate::reconcile::{CompareOptions, FULL_EVERY};

use super::SyncEngine;
use super::in_process::SentWakeUps;
use crate::ports::WakeUp;

/// How long one capture runs before it acquires its leases and loads its mapped objects again.
const CAPTURE_TURN: Duration = Duration::from_secs(60);

/// How long an apply may work on one wake-up.
const APPLY_TURN: Duration = Duration::from_secs(120);

/// How often the sweep runs; in the cloud it is a schedule of one minute.
const SWEEP_EVERY: Duration = Duration::from_secs(15);

/// How often recent changes are compared; in the cloud it is a schedule.
const COMPARE_EVERY: Duration = Duration::from_secs(15 * 60);

/// How long one slice of a comparison runs before it acquires its leases and loads its mapped objects again.
const COMPARE_TURN: Duration = Duration::from_secs(60);

/// The pause between two slices: comparing leaves calls and time to synchronising.
const COMPARE_PAUSE: Duration = Duration::from_secs(15);

/// How long a job that failed waits before it is tried again.
const REST_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// How long a job waits that may not run because of the database: a person decides, and that takes minutes.
const REST_WHILE_HELD: Duration = Duration::from_secs(30);

/// First and longest pause before a job that panicked is started again. After it ran for the longest one, the first
/// one is used again.
const RESTART_PAUSE_MIN: Duration = Duration::from_millis(200);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(60);

/// Concurrent applies: they mostly wait for Salesforce, and share the connection pool.
const APPLIES_AT_A_TIME: usize = 4;

impl SyncEngine {
    /// Runs capture of both sides, apply, sweep and comparisons for every tenant until [`SyncEngine::stop`].
    /// `sent_wake_ups` must be the receiving end of the engine's own queue.
    pub async fn run(&self, mut sent_wake_ups: SentWakeUps) {
        let mut jobs = JoinSet::new();
        // Whoever starts it may just have changed a permission.
        self.describe_again();
        for tenant in self.tenants() {
            let engine = || (self.clone(), tenant.clone());
            jobs.spawn(keep_alive(engine(), Self::keep_capturing_postgres));
            jobs.spawn(keep_alive(engine(), Self::keep_capturing_salesforce));
            jobs.spawn(keep_alive(engine(), Self::keep_sweeping));
            jobs.spawn(keep_alive(engine(), Self::keep_comparing));
        }
        let applies = Arc::new(Semaphore::new(APPLIES_AT_A_TIME));
        loop {
            let received = tokio::select! {
                received = sent_wake_ups.next() => received,
                () = self.shared().stop.cancelled() => None,
            };
            let Some((wake_up, delay_seconds)) = received else {
                break;
            };
            jobs.spawn(
                self.clone()
                    .answer(wake_up, delay_seconds, Arc::clone(&applies)),
            );
            while jobs.try_join_next().is_some() {}
        }
        self.stop();
        while jobs.join_next().await.is_some() {}
    }

    /// Applies the object of one wake-up, once one of the concurrent applies is free.
    async fn answer(self, wake_up: WakeUp, delay_seconds: u32, applies: Arc<Semaphore>) {
        let delay = Duration::from_secs(u64::from(delay_seconds));
        if !delay.is_zero() {
            self.shared().pause(delay).await;
        }
        let Ok(_free_apply) = applies.acquire_owned().await else {
            return;
        };
        let WakeUp::Apply {
            tenant,
            object,
            permit,
            ..
        } = wake_up;
        let deadline = self.deadline_in(APPLY_TURN);
        let applied = self.apply(&tenant, &object, permit, deadline);
        // The next sweep sends the wake-up again.
        match AssertUnwindSafe(applied).catch_unwind().await {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => {
                tracing::error!(tenant = %tenant, object = %object, error = %error_chain(&error), "apply failed");
            }
            Err(_) => {
                tracing::error!(tenant = %tenant, object = %object, "apply panicked; its records are tried again");
            }
        }
        self.shared().pause(REST_AFTER_FAILURE).await;
        self.release_orphaned_leases().await;
    }

    async fn keep_capturing_postgres(self, tenant: TenantId) {
        while !self.shared().stopping() {
            let captured = self.capture_postgres(&tenant, &self.turn()).await;
            self.rest_after(&tenant, "capture of Postgres", captured.err())
                .await;
        }
    }

    async fn keep_capturing_salesforce(self, tenant: TenantId) {
        while !self.shared().stopping() {
            let failure = match self.capture_salesforce(&tenant, &self.turn()).await {
                Ok(report) if report.leased_elsewhere => {
                    self.shared().pause(REST_AFTER_FAILURE).await;
                    None
                }
                Ok(_) => None,
                Err(error) => Some(error),
            };
            self.rest_after(&tenant, "capture of Salesforce", failure)
                .await;
        }
    }

    async fn keep_sweeping(self, tenant: TenantId) {
        let mut has_forgotten = false;
        while !self.shared().stopping() {
            self.release_orphaned_leases().await;
            has_forgotten = has_forgotten || self.forget_wake_ups(&tenant).await.is_ok();
            let swept = self.sweep(&tenant).await;
            self.rest_after(&tenant, "sweep", swept.err()).await;
            self.shared().pause(SWEEP_EVERY).await;
        }
    }

    /// Frees the permits of wake-ups that a process before this one had in its memory: no one receives those any more,
    /// and the sweep would send none until their permits expire. One that another process holds has its wake-up sent
    /// twice, which changes nothing.
    async fn forget_wake_ups(&self, tenant: &TenantId) -> Result<(), Error> {
        let job = self.job(tenant).await?;
        Ok(job.store().free_permits(tenant).await?)
    }

    /// Compares what changed lately, and everything once a day in slices.
    async fn keep_comparing(self, tenant: TenantId) {
        let everything = CompareOptions {
            object: None,
            begin: Begin::After {
                ms: i64::try_from(FULL_EVERY.as_millis()).unwrap_or(i64::MAX),
            },
        };
        while !self.shared().stopping() {
            let end = self.deadline_in(COMPARE_TURN);
            let lately = self.reconcile_incremental(&tenant, end).await;
            self.rest_after(&tenant, "comparison of recent changes", lately.err())
                .await;
            let next = self.deadline_in(COMPARE_EVERY);
            while !self.shared().stopping()
                && !next.remaining(self.shared().clock.now_ms()).is_zero()
            {
                let end = self.deadline_in(COMPARE_TURN);
                let compared = self.compare(&tenant, &everything, end, &mut |_| {}).await;
                self.rest_after(&tenant, "full comparison", compared.err())
                    .await;
                self.shared().pause(COMPARE_PAUSE).await;
            }
        }
    }

    fn turn(&self) -> CaptureOptions {
        CaptureOptions {
            deadline: self.deadline_in(CAPTURE_TURN * 2),
            keep_polling: CAPTURE_TURN,
            idle: Idle::Stay,
        }
    }

    async fn rest_after(&self, tenant: &TenantId, job: &str, failure: Option<Error>) {
        let Some(error) = failure else {
            return;
        };
        if error.is_copy() {
            tracing::info!(tenant = %tenant, job, reason = %error, "a job stands still");
        } else if !matches!(error, Error::OrgUnavailable { .. }) {
            // An outage was logged when it was recorded.
            tracing::error!(tenant = %tenant, job, error = %error_chain(&error), "a job failed; it is tried again");
        }
        if error.is_database_held() {
            // Nothing is released in a database that is not the tenant's.
            self.shared().pause(REST_WHILE_HELD).await;
            return;
        }
        self.shared().pause(REST_AFTER_FAILURE).await;
        self.release_orphaned_leases().await;
    }
}

/// Runs a job of a tenant until it ends. Starts it again if it panics: no other job would do its work.
async fn keep_alive<F>(
    (engine, tenant): (SyncEngine, TenantId),
    job: impl Fn(SyncEngine, TenantId) -> F,
) where
    F: Future<Output = ()>,
{
    let mut pause = RESTART_PAUSE_MIN;
    loop {
        let began = Instant::now();
        let run = AssertUnwindSafe(job(engine.clone(), tenant.clone()));
        if run.catch_unwind().await.is_ok() {
            return;
        }
        if began.elapsed() >= RESTART_PAUSE_MAX {
            pause = RESTART_PAUSE_MIN;
        }
        // The message is not repeated: it may quote a record.
        tracing::error!(
            tenant = %tenant,
            job = std::any::type_name_of_val(&job),
            restart_in_ms = pause.as_millis(),
            "a job panicked; it is started again"
        );
        engine.release_orphaned_leases().await;
        engine.shared().pause(pause).await;
        pause = (pause * 2).min(RESTART_PAUSE_MAX);
    }
}

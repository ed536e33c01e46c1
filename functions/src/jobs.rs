//! The jobs of the three functions, for one tenant or for all of them at once. Callers release the leases of
//! failed jobs.
//!
//! Tenants are isolated: one that fails is reported in the result and in the log, and the others continue. An
//! invocation fails only if the job failed for every tenant.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use serde_json::{Value, json};
use syncline::capture::{CaptureOptions, CaptureReport, Idle};
use syncline::engine::SyncEngine;
use syncline::host::instance::Instance;
use syncline::job::error::Error;
use syncline::model::Side;
use syncline::model::ids::{SalesforceId, TenantId};
use syncline::ports::WakeUp;
use syncline::ports::comparison::Begin;
use syncline::reconcile::{CompareOptions, ReconcileReport, SweepOutcome};
use syncline::salesforce::RelayedEvent;
use tokio::sync::Mutex;
use tracing::{error, info};

use crate::attempt::attempt;
use crate::payload::{self, CaptureCall, CaptureJob, ReconcileJob, ReconcileKind};
use crate::sqs;
use crate::time_limits::TimeLimits;

/// Tenants that one invocation handles at a time. Most are idle and end at once; the others mostly wait.
const TENANTS_AT_ONCE: usize = 256;

/// Captures one side for a schedule, or relayed events from their queue.
///
/// Fails if the payload is neither, if the configuration cannot be read or does not have the tenant, if no
/// tenant could be captured, or if a message has no id, so that its failure cannot be reported.
pub async fn capture(
    instance: &Instance,
    payload: Value,
    limits: TimeLimits,
) -> anyhow::Result<Value> {
    match CaptureCall::parse(payload)? {
        CaptureCall::Job(job) => capture_side(instance, &job, limits).await,
        CaptureCall::Relayed(batch) => {
            let response = capture_relayed(instance, batch, limits).await?;
            Ok(json!(response))
        }
    }
}

/// Captures one side of the selected tenants.
async fn capture_side(
    instance: &Instance,
    job: &CaptureJob,
    limits: TimeLimits,
) -> anyhow::Result<Value> {
    let side = match job.side {
        Side::Postgres => "postgres",
        Side::Salesforce => "salesforce",
    };
    let keep_polling = Duration::from_secs(u64::from(job.keep_polling_seconds));
    let outcome = for_each_tenant(instance, job.tenant.as_ref(), limits, |tenant| {
        async move {
            let engine = instance.engine(&tenant).await?;
            let options = CaptureOptions {
                deadline: limits.stop(),
                keep_polling,
                idle: Idle::Return,
            };
            let report = match job.side {
                Side::Postgres => engine.capture_postgres(&tenant, &options).await?,
                Side::Salesforce => engine.capture_salesforce(&tenant, &options).await?,
            };
            Ok(captured(&report))
        }
        .boxed()
    })
    .await?;
    outcome.answer(json!({"job": "capture", "side": side}))
}

/// Records a batch of relayed events. A message succeeds once its event is durable.
async fn capture_relayed(
    instance: &Instance,
    event: SqsEvent,
    limits: TimeLimits,
) -> anyhow::Result<SqsBatchResponse> {
    let tenants = Owners::default();
    let tenants = &tenants;
    let response = sqs::handle_groups(
        event,
        limits,
        |body| async move {
            let event = RelayedEvent::parse(&body)?;
            let tenant = tenants.of(instance, event.organization_id()).await?;
            Ok((tenant, event))
        },
        |tenant, events: Vec<RelayedEvent>| {
            async move {
                let engine = instance.engine(&tenant).await?;
                engine.capture_envelopes(&tenant, &events).await?;
                Ok(())
            }
            .boxed()
        },
    )
    .await?;
    Ok(response)
}

/// Runs a reconcile job for the selected tenants.
///
/// Fails if the payload is not such a job, if the configuration cannot be read or does not have the tenant, or
/// if the job failed for every tenant.
pub async fn reconcile(
    instance: &Instance,
    payload: Value,
    limits: TimeLimits,
) -> anyhow::Result<Value> {
    let job = &ReconcileJob::parse(payload)?;
    let outcome = for_each_tenant(instance, job.tenant.as_ref(), limits, |tenant| {
        async move {
            if job.kind == ReconcileKind::Migrate {
                instance.store(&tenant).await?.migrate().await?;
                return Ok(json!({"migrated": true}));
            }
            let engine = instance.engine(&tenant).await?;
            reconcile_one(&engine, &tenant, job.kind, limits).await
        }
        .boxed()
    })
    .await?;
    outcome.answer(json!({"job": <&str>::from(job.kind)}))
}

/// Handles a batch of wake-ups.
///
/// Fails if a message has no id, so that its failure cannot be reported.
pub async fn apply(
    instance: &Instance,
    event: SqsEvent,
    limits: TimeLimits,
) -> anyhow::Result<SqsBatchResponse> {
    let response = sqs::handle_batch(event, limits, |body| {
        async move {
            let WakeUp::Apply {
                tenant,
                object,
                permit,
                ..
            } = payload::wake_up(&body)?;
            let engine = instance.engine(&tenant).await?;
            match Box::pin(engine.apply(&tenant, &object, permit, limits.stop())).await {
                // Delivering the wake-up again would change nothing; the sweep sends new ones.
                Err(held) if held.is_database_held() => {
                    error!(tenant = %tenant, reason = %held, "nothing is applied");
                    Ok(())
                }
                applied => Ok(applied.map(drop)?),
            }
        }
        .boxed()
    })
    .await?;
    Ok(response)
}

/// Caches the tenants of the orgs of one batch. Each is looked up once, even if that fails.
#[derive(Default)]
struct Owners {
    known: Mutex<BTreeMap<SalesforceId, Result<TenantId, String>>>,
}

impl Owners {
    async fn of(
        &self,
        instance: &Instance,
        organization: &SalesforceId,
    ) -> anyhow::Result<TenantId> {
        let mut known = self.known.lock().await;
        if !known.contains_key(organization) {
            let owner = instance.tenant_of_org(organization).await;
            let owner = owner.map_err(|error| format!("{error:#}"));
            known.insert(organization.clone(), owner);
        }
        known[organization].clone().map_err(anyhow::Error::msg)
    }
}

async fn reconcile_one(
    engine: &SyncEngine,
    tenant: &TenantId,
    kind: ReconcileKind,
    limits: TimeLimits,
) -> anyhow::Result<Value> {
    let end = limits.stop();
    Ok(match kind {
        ReconcileKind::Sweep => swept(&engine.sweep(tenant).await?),
        ReconcileKind::Incremental => {
            let lately = engine.reconcile_incremental(tenant, end).await?;
            // A full comparison that ran out of time goes on with the time that is left.
            let unfinished = CompareOptions {
                object: None,
                begin: Begin::Never,
            };
            let full = engine
                .compare(tenant, &unfinished, end, &mut |_| {})
                .await?;
            let mut done = compared(&lately);
            done["full"] = compared(&full);
            done
        }
        ReconcileKind::Full => compared(&engine.reconcile_full(tenant, end).await?),
        ReconcileKind::Migrate => unreachable!("migrating needs no engine and was done before"),
    })
}

/// The outcome of each tenant's job.
struct Outcome {
    done: BTreeMap<TenantId, Value>,
    failed: BTreeMap<TenantId, String>,
}

impl Outcome {
    /// Returns the invocation's response: `head` with the results and the failures.
    fn answer(self, mut head: Value) -> anyhow::Result<Value> {
        if self.done.is_empty() && !self.failed.is_empty() {
            let reasons: Vec<String> = self
                .failed
                .iter()
                .map(|(tenant, reason)| format!("{tenant}: {reason}"))
                .collect();
            anyhow::bail!("no tenant's job was done: {}", reasons.join("; "));
        }
        head["tenants"] = json!(self.done);
        head["failed"] = json!(self.failed);
        Ok(head)
    }
}

async fn for_each_tenant<'a>(
    instance: &Instance,
    only: Option<&TenantId>,
    limits: TimeLimits,
    work: impl Fn(TenantId) -> BoxFuture<'a, anyhow::Result<Value>>,
) -> anyhow::Result<Outcome> {
    let tenants = instance.tenants(only).await?;
    let work = &work;
    let results: Vec<_> = stream::iter(tenants)
        .map(|tenant| async move {
            let done = attempt(limits, || still_if_copy(&tenant, work(tenant.clone()))).await;
            (tenant, done)
        })
        .buffer_unordered(TENANTS_AT_ONCE)
        .collect()
        .await;
    let mut outcome = Outcome {
        done: BTreeMap::new(),
        failed: BTreeMap::new(),
    };
    for (tenant, done) in results {
        match done {
            Ok(counts) => {
                outcome.done.insert(tenant, counts);
            }
            Err(failure) => {
                error!(tenant = %tenant, reason = %failure, "a tenant's job failed; the others continue");
                outcome.failed.insert(tenant, failure.to_string());
            }
        }
    }
    Ok(outcome)
}

/// Does the work of one tenant. A database that a person declared a copy stands still, and that is no failure.
async fn still_if_copy(
    tenant: &TenantId,
    work: BoxFuture<'_, anyhow::Result<Value>>,
) -> anyhow::Result<Value> {
    match work.await {
        Err(failure) if failure.downcast_ref::<Error>().is_some_and(Error::is_copy) => {
            let reason = failure.to_string();
            info!(%tenant, reason, "nothing is done in a copy");
            Ok(json!({"copy": reason}))
        }
        done => done,
    }
}

fn captured(report: &CaptureReport) -> Value {
    json!({
        "seen": report.counts.seen,
        "journaled": report.counts.journaled,
        "duplicate": report.counts.duplicate,
        "refused": report.counts.refused,
        "out_of_scope": report.counts.out_of_scope,
        "dirty": report.dirty,
        "echoes": report.echoes,
        "superseded": report.superseded,
        "scanned": report.scanned,
        "woken": report.sent,
        "leased_elsewhere": report.leased_elsewhere,
    })
}

fn swept(outcome: &SweepOutcome) -> Value {
    json!({
        "leases_expired": outcome.found.leases_expired,
        "intents_unknown": outcome.found.intents_unknown,
        "echoes_missing": outcome.found.echoes_missing,
        "capture_broken": outcome.found.capture_broken,
        "events_missing": outcome.events_missing,
        "rows_removed": outcome.found.rows_removed,
        "woken": outcome.sent,
    })
}

fn compared(report: &ReconcileReport) -> Value {
    json!({
        "compared": report.compared,
        "drifted": report.drifted.len(),
        "allowed": report.allowed,
        "enqueued": report.enqueued,
        "complete": report.complete,
    })
}

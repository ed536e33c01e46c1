//! The public names of the crate `force-sync` 0.5, in its shapes, over the engine of this crate.
//!
//! Code that plans, merges and hashes needs another crate name in its imports and nothing else:
//! `force_sync::…` becomes `syncline::force_sync::…`. A program that connects to Postgres and Salesforce
//! needs more; [what changes](#what-changes-for-your-program) is listed below. New programs use the items
//! at the root of this crate.
//!
//! Every item here converts its arguments, calls the engine and converts the result. The façade has no
//! logic of its own.
//!
//! ```
//! use chrono::Utc;
//! use serde_json::json;
//! use syncline::force_sync::{
//!     ApplyLane, ChangeEnvelope, ChangeOperation, ObjectSync, Owner, PlannerContext, SourceSystem,
//!     SyncKey, plan_change,
//! };
//!
//! # fn main() -> Result<(), syncline::force_sync::ForceSyncError> {
//! let change = ChangeEnvelope::new(
//!     SyncKey::new("acme", "Account", "A-1")?,
//!     SourceSystem::Postgres,
//!     ChangeOperation::Upsert,
//!     Utc::now(),
//!     json!({"Name": "Acme", "Phone": "1"}),
//! );
//! let context = PlannerContext {
//!     object: ObjectSync::new("Account")
//!         .external_id("External_Id__c")
//!         .field_owner("Phone", Owner::Postgres),
//!     current_payload: Some(json!({"Name": "Acme", "Phone": "0"})),
//!     batch_size: 1,
//!     urgent: false,
//!     has_dependencies: false,
//! };
//! let decision = plan_change(&context, &change);
//! assert_eq!(decision.lane, ApplyLane::Rest);
//! assert_eq!(decision.payload, Some(json!({"Name": "Acme", "Phone": "1"})));
//! # Ok(())
//! # }
//! ```
//!
//! # What changes for your program
//!
//! These need changes in the code:
//!
//! - **Pool.** [`PgStore::new`] and [`migrate()`] take a pool of `sqlx` ([`Pool`]) instead of one of
//!   `deadpool_postgres`. `with_client` and `with_transaction` do not exist; use the pool.
//! - **Client.** [`SyncEngine::builder`] and [`SalesforceApplier::new`] take
//!   [`HttpSalesforce`](crate::salesforce::HttpSalesforce) or another
//!   [`SalesforcePort`](crate::ports::SalesforcePort) instead of a client of `force-rs`. [`SyncEngine`],
//!   [`SyncEngineBuilder`] and [`SalesforceApplier`] have no type parameter for an authenticator.
//! - **Events.** [`EventMessage`], [`PubSubEvent`], [`ReplayId`], [`PubSubError`] and [`SalesforceId`] are
//!   types of this module instead of `force-rs` and `force-pubsub`.
//! - **Tables.** `force-sync` reads payloads from an outbox table that the application fills. This engine
//!   maps tables: the application writes its rows, and triggers capture the changes. [`ObjectSync`] maps
//!   `Account` to `public.account` and `External_Id__c` to the column `external_id`; use
//!   [`ObjectSync::table`] and [`ObjectSync::column`] for other names. The first run creates the triggers.
//! - **Store.** Only the engine writes tasks, links, checkpoints, conflicts and dead letters, so that its
//!   guarantees hold. These methods do not exist: `append_journal` (use
//!   [`PgStore::append_journal_if_new`]), all that end with `_in_tx`, `put_link`, `enqueue_apply_task`,
//!   `ack_task`, `retry_task`, `fail_task`, `insert_conflict`, `insert_dead_letter` and
//!   `advance_checkpoint_if_greater`. The applier has no `apply_bulk_upsert`: the engine chooses the lane.
//! - **Errors.** [`ForceSyncError`] has no variants `Pool`, `TransactionRollback`, `Json`,
//!   `InvalidOutboxOperation`, `InvalidOutboxCursor` and `NotImplemented`; `Engine` is new, and `Database`
//!   contains a [`StoreError`](crate::ports::StoreError).
//!
//! These compile unchanged, with another effect:
//!
//! - **Existing data.** [`migrate()`] creates the schema `syncline`. It does not read the tables of
//!   `force-sync`: the first reconciliation finds all records and compares them.
//! - **Tenant.** An engine serves one tenant: `default`, or the one given to [`SyncEngineBuilder::tenant`].
//! - **Functions with a store.** [`capture_batch`], [`detect_drift`] and the others use the engine that
//!   was built with the store or a clone of it. Without an engine they return
//!   [`ForceSyncError::MissingConfiguration`].
//! - **Leases.** [`PgStore::lease_ready_tasks`] leases records; the engine skips them until the lease ends.
//! - **Batches.** The engine chooses the size of its batches. `apply_batch_size` and the priority of
//!   [`capture_batch`] have no effect.

mod capture;
mod config;
mod engine;
mod error;
pub mod migrate;
pub mod model;
mod plan;
mod reconcile;
mod salesforce;
mod store;

pub use capture::{
    EventMessage, PubSubError, PubSubEvent, ReplayId, capture_batch, capture_stream, load_replay_id,
};
pub use config::{ConflictPolicy, LaneThresholds, ObjectSync, Owner};
pub use engine::{SyncEngine, SyncEngineBuilder};
pub use error::ForceSyncError;
pub use migrate::{Pool, migrate};
pub use model::{ChangeEnvelope, ChangeOperation, SourceCursor, SourceSystem, SyncKey};
pub use plan::{ApplyLane, MergeOutcome, PlanDecision, PlannerContext, merge_payload, plan_change};
pub use reconcile::{DriftItem, detect_drift, enqueue_repair, run_reconcile_once};
pub use salesforce::{ApplyError, ForceClient, RestApplyResult, SalesforceApplier, SalesforceId};
pub use store::{
    AppendResult, CheckpointState, DeadLetter, LeasedTask, PgStore, SyncConflict, SyncLink,
    project_sync_link,
};

pub use crate::version;

//! The public names of the crate `force-sync` 0.5, in its shapes, over the engine of this crate.
//!
//! A program that was written for `force-sync` moves by changing the crate's name in its imports:
//! `force_sync::…` becomes `syncline::force_sync::…`. Every item here converts its arguments, calls the
//! engine and converts the answer. It holds no logic of its own; new programs use the items at the
//! root of this crate.
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
//! # What differs
//!
//! - **Connections.** [`PgStore::new`] and [`migrate()`] take a pool of `sqlx` ([`Pool`]).
//!   [`SyncEngine::builder`] and [`SalesforceApplier::new`] take our client
//!   ([`HttpSalesforce`](crate::salesforce::HttpSalesforce)) or any other
//!   [`SalesforcePort`](crate::ports::SalesforcePort).
//! - **Tables.** `force-sync` carries payloads through an outbox table that the application fills. This
//!   engine maps tables. [`ObjectSync`] maps `Account` to `public.account` and `External_Id__c` to the
//!   column `external_id`, unless [`ObjectSync::table`] and [`ObjectSync::column`] name others. The first
//!   run puts the capture triggers on the mapped tables.
//! - **Tenant.** An engine serves one tenant: `default`, unless [`SyncEngineBuilder::tenant`] names another.
//! - **Functions that take a store.** [`capture_batch`], [`detect_drift`] and the others use the engine
//!   that was built over the store, or over a clone of it. Without one they report
//!   [`ForceSyncError::MissingConfiguration`].
//! - **Batches.** The engine chooses the size of its rounds. `apply_batch_size` and the priority of
//!   [`capture_batch`] have no effect.
//! - **Tasks, links and checkpoints** are written by the engine alone, so that its guarantees hold. The
//!   store reads them; it has no `put_link`, `ack_task` or `advance_checkpoint_if_greater`.
//!   `apply_bulk_upsert` does not exist: the engine chooses the lane.

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

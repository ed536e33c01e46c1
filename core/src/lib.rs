//! The engine of Syncline: keeps Salesforce objects and Postgres tables equal, in both directions.
//!
//! Without the feature `runtime` this crate is model, config and plan alone: no async, no clock, no
//! randomness, no I/O. With it come the store, the Salesforce client and the engine over both.

pub mod config;
pub mod model;
pub mod plan;

#[cfg(feature = "runtime")]
pub mod apply;
#[cfg(feature = "runtime")]
pub mod capture;
#[cfg(feature = "runtime")]
pub mod engine;
#[cfg(feature = "runtime")]
pub mod migrate;
#[cfg(feature = "runtime")]
pub mod reconcile;
#[cfg(feature = "runtime")]
pub mod salesforce;
#[cfg(feature = "runtime")]
pub mod store;

pub use config::{ConflictPolicy, LaneThresholds, ObjectSync, Owner};
pub use model::{ChangeEnvelope, ChangeOperation, SourceCursor, SourceSystem, SyncKey, SyncLink};
pub use plan::change::{PlanDecision, PlannerContext, plan_change};
pub use plan::facts::RecordFacts;
pub use plan::merge::{MergeOutcome, merge_payload};
pub use plan::record::{RecordPlan, RecordState, plan_record};
pub use plan::route::{ApplyLane, route};

#[cfg(feature = "runtime")]
pub use apply::project_sync_link;
#[cfg(feature = "runtime")]
pub use capture::{capture_batch, capture_stream, load_replay_id};
#[cfg(feature = "runtime")]
pub use engine::error::Error;
#[cfg(feature = "runtime")]
pub use engine::ports::store::LeasedTask;
#[cfg(feature = "runtime")]
pub use engine::{SyncEngine, SyncEngineBuilder};
#[cfg(feature = "runtime")]
pub use migrate::migrate;
#[cfg(feature = "runtime")]
pub use reconcile::{DriftItem, detect_drift, enqueue_repair, run_reconcile_once};
#[cfg(feature = "runtime")]
pub use salesforce::{ApplyError, RestApplyResult, SalesforceApplier};
#[cfg(feature = "runtime")]
pub use store::{AppendResult, CheckpointState, DeadLetter, PgStore, SyncConflict};

/// Returns the version of the crate.
pub const fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

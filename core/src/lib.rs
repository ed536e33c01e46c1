//! The engine of Syncline: keeps Salesforce objects and Postgres tables equal, in both directions.
//!
//! What to do about a record is decided by the crate [`planner`]; this crate observes, asks it,
//! performs and records. Start at [`SyncEngine`].

pub mod apply;
pub mod capture;
pub mod engine;
pub mod host;
pub mod migrate;
pub mod reconcile;
pub mod salesforce;
pub mod store;

pub use syncline_planner as planner;
pub use syncline_planner::{config, model};

pub use syncline_planner::{
    ApplyLane, ChangeEnvelope, ChangeOperation, ConflictPolicy, LaneThresholds, MergeOutcome,
    ObjectSync, Owner, PlanDecision, PlannerContext, RecordFacts, RecordPlan, RecordState,
    SourceCursor, SourceSystem, SyncKey, SyncLink, merge_payload, plan_change, plan_record, route,
};

pub use apply::project_sync_link;
pub use capture::{capture_batch, capture_stream, load_replay_id};
pub use engine::error::Error;
pub use engine::ports::store::LeasedTask;
pub use engine::{SyncEngine, SyncEngineBuilder};
pub use migrate::migrate;
pub use reconcile::{DriftItem, detect_drift, enqueue_repair, run_reconcile_once};
pub use salesforce::{ApplyError, RestApplyResult, SalesforceApplier};
pub use store::{AppendResult, CheckpointState, DeadLetter, PgStore, SyncConflict};

/// Returns the version of the crate.
pub const fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

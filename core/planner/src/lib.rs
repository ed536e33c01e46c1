//! What to do about one record, and by which lane.
//!
//! Pure: no clock, no I/O, no randomness, and it cannot fail. The same inputs give the same plan in
//! a Lambda, in a simulation and in the browser. Start at [`record::plan_record`]; lanes are chosen
//! afterwards, for many plans at once, by [`route::route`]; what one observation of Salesforce means
//! for a record is [`observation::absorb`]. [`merge`] and [`change`] are two-way façades;
//! [`facts`] are what a plan was made of, kept so that it can be made again.

pub mod change;
pub mod config;
pub mod delete_guard;
pub mod facts;
mod field;
pub mod merge;
pub mod model;
pub mod observation;
pub mod record;
pub mod retry;
pub mod route;
pub mod rule;
mod text;

pub use change::{PlanDecision, PlannerContext, plan_change};
pub use config::{ConflictPolicy, LaneThresholds, ObjectSync, Owner};
pub use facts::RecordFacts;
pub use merge::{MergeOutcome, merge_payload};
pub use model::{ChangeEnvelope, ChangeOperation, SourceCursor, SourceSystem, SyncKey, SyncLink};
pub use record::{RecordPlan, RecordState, plan_record};
pub use route::{ApplyLane, route};

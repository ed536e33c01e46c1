//! Decides what one record needs next to be equal in Salesforce and Postgres.
//!
//! A record is on two sides, and the base is the last value that both agreed on. All decisions compare these
//! three. Read the modules in this order:
//!
//! 1. [`model`]: sides, ids, values, changes; what is known of one record.
//! 2. [`config`]: the rules of an object, read from `syncline.toml`; [`mapping`]: its fields by place.
//! 3. [`observation`]: what an observation of Salesforce means for what is known of a record.
//! 4. [`identity`]: which record a row or an observation belongs to.
//! 5. [`record`]: what one record needs next, from its [`facts`]. Start at [`plan_record`]; one
//!    sentence per rule is in [`rule`].
//! 6. [`mod@route`]: by which lane each of many plans is written to Salesforce.
//! 7. [`policy`]: retry, wait or park when a record cannot go on; the delete guard.
//!
//! [`merge`] and [`change`] decide about one envelope for callers without a record.
//!
//! Pure: no clock, no I/O, no randomness, and it cannot fail. The same inputs give the same plan in a
//! Lambda, in a simulation and in the browser.

pub mod change;
pub mod config;
pub mod facts;
mod field;
pub mod identity;
pub mod mapping;
pub mod merge;
pub mod model;
mod names;
pub mod observation;
pub mod policy;
pub mod record;
pub mod route;
pub mod rule;

pub use change::{ApplyLane, PlanDecision, PlannerContext, plan_change};
pub use config::{ConflictPolicy, LaneThresholds, ObjectSync, Owner};
pub use facts::{RecordFacts, SideState};
pub use mapping::Mapping;
pub use merge::{MergeOutcome, merge_payload};
pub use model::{ChangeEnvelope, ChangeOperation, Side, SourceCursor, SyncKey, SyncLink};
pub use record::{RecordPlan, plan_record};
pub use route::{Lane, route};

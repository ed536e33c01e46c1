//! Keeps one record equal in Salesforce and Postgres, as a decision: what does it need next?
//!
//! A record is held by two sides, and a base remembers what both agreed on last. Everything follows
//! from comparing the three. Read the modules in this order:
//!
//! 1. [`model`]: sides, ids, values, changes; what is known of one record.
//! 2. [`config`]: the rules of an object, read from `syncline.toml`.
//! 3. [`observation`]: what an observation of Salesforce means for what is known of a record.
//! 4. [`identity`]: which record a row or an observation belongs to.
//! 5. [`record`]: what one record needs next. Start at [`plan_record`]; one sentence per rule is in
//!    [`rule`]. [`facts`] are what a plan was made of, kept so that it can be made again.
//! 6. [`mod@route`]: by which lane many plans travel to Salesforce.
//! 7. [`policy`]: retry, wait or park when a record cannot go on; the delete guard.
//!
//! [`merge`] and [`change`] decide about one envelope for callers who hold no record.
//!
//! Pure: no clock, no I/O, no randomness, and it cannot fail. The same inputs give the same plan in a
//! Lambda, in a simulation and in the browser.

pub mod change;
pub mod config;
pub mod facts;
mod field;
pub mod identity;
pub mod merge;
pub mod model;
mod names;
pub mod observation;
pub mod policy;
pub mod record;
pub mod route;
pub mod rule;

pub use change::{PlanDecision, PlannerContext, plan_change};
pub use config::{ConflictPolicy, LaneThresholds, ObjectSync, Owner};
pub use facts::RecordFacts;
pub use merge::{MergeOutcome, merge_payload};
pub use model::{ChangeEnvelope, ChangeOperation, SourceCursor, SourceSystem, SyncKey, SyncLink};
pub use record::{RecordPlan, RecordState, plan_record};
pub use route::{ApplyLane, route};

//! The engine of Syncline: keeps Salesforce objects and Postgres tables equal, in both directions.
//!
//! The crate [`planner`] decides what to do about a record; this crate observes, asks the planner, performs
//! and records. Start at [`SyncEngine`].

pub mod apply;
pub mod capture;
pub mod engine;
pub mod force_sync;
pub mod host;
pub mod job;
pub mod migrate;
pub(crate) mod observe;
pub mod ports;
pub mod reconcile;
pub mod salesforce;
pub mod store;

pub use syncline_planner as planner;
pub use syncline_planner::{config, model};

pub use syncline_planner::{Mapping, ObjectSync, RecordFacts, RecordPlan, Side, plan_record};

pub use engine::{SyncEngine, SyncEngineBuilder};
pub use job::deadline::Deadline;
pub use job::error::Error;
pub use migrate::migrate;
pub use store::PgStore;

/// Returns the version of the crate.
pub const fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// The examples of the crate's README, compiled and run as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

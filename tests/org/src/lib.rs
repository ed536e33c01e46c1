//! A local Salesforce org: one model behind a REST server and a Pub/Sub server.
//!
//! [`Org`] is the whole org as a state machine without sockets or clock: [`Org::request`] answers
//! any REST call, and [`Org::fetch`] reads the change events of the writes. [`server::start`]
//! serves the same org on an HTTP port and a gRPC port; [`in_process::InProcess`] answers the same
//! calls without sockets. The org does what Salesforce documents. Behaviour that could not be
//! confirmed is in one file of named switches, `unconfirmed.rs`.

mod bulk;
mod control;
mod dump;
mod faults;
pub mod in_process;
pub mod local;
mod model;
mod org;
pub mod pubsub;
mod relay;
mod rest;
mod seed;
pub mod server;
mod soql;
mod tooling;
mod unconfirmed;

pub use dump::RestoreError;
pub use faults::{Fault, FaultAction};
pub use model::decode::DecodedEvent;
pub use model::error::SfError;
pub use model::id::RecordId;
pub use model::log::{ChangeEvent, Fetched, Position, RETENTION_MS, StreamError};
pub use model::org_file::OrgFileError;
pub use org::{Org, SchemaInfo, TopicInfo};
pub use rest::message::{Delivery, Request, Response};
pub use seed::SeedError;

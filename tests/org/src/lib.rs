//! A local Salesforce org: one model under a REST server and a Pub/Sub server.
//!
//! [`Org`] is the whole org as a state machine without sockets or clock: [`Org::request`] answers
//! any REST call, [`Org::fetch`] reads the change events that the writes left. [`server::start`]
//! puts the same org behind an HTTP and a gRPC port, [`in_process::InProcess`] answers the same calls
//! without sockets. What Salesforce documents, the org does; what
//! nobody could confirm stands in one file of named switches.

mod bulk;
mod control;
mod dump;
mod event_door;
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

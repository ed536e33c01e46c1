//! One file per table: its row types and its SQL. No file here imports an operation.

pub(crate) mod alias;
pub(crate) mod capture;
pub(crate) mod checkpoint;
pub(crate) mod clear_guard;
pub(crate) mod comparison;
pub(crate) mod conflict;
pub(crate) mod control;
pub(crate) mod database;
pub(crate) mod dead_letter;
pub(crate) mod delete_guard;
pub(crate) mod discarded_value;
pub(crate) mod engine_tx;
pub(crate) mod intent;
pub(crate) mod job;
pub(crate) mod journal;
pub(crate) mod link;
pub(crate) mod outage;
pub(crate) mod outbox;
pub(crate) mod permit;
pub(crate) mod rules;
pub(crate) mod schema;
pub(crate) mod seen;
pub(crate) mod task;

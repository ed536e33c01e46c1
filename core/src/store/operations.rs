//! The store's calls: each is one transaction over the tables.
//!
//! [`job`], [`capture`], [`apply`], [`reconcile`] and [`operator`] implement the ports. The others contain
//! the steps of the larger calls, and the calls of the command line.

mod adopt_database;
mod adopt_org;
mod apply;
mod approve_deletes;
mod capture;
mod children;
mod compare;
pub(crate) mod conflicts;
mod dead_letters;
pub(crate) mod discarded_values;
mod drain_outbox;
mod duplicate_keys;
pub(crate) mod install;
mod job;
pub(crate) mod journal;
mod leased_record;
mod operator;
mod parents;
mod plan_and_write;
mod plan_only;
mod reconcile;
mod record_observations;
mod record_outcomes;
mod refused_row;
mod settle;
pub(crate) mod status;
mod sweep;
mod switches;
mod table_identity;
pub(crate) mod timeline;
mod usable_database;

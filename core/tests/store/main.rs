//! The store on a real Postgres: what users do beside it, what dies in the middle, what comes twice.
//!
//! Each test has a database of its own. Salesforce is not needed here: what it would show is given
//! as observations, what it would answer as settlements.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod apply;
mod capture;
mod install;
mod observations;
mod operator;
mod schema;
mod settle;
mod statements;
mod streams;
mod timeline;
mod world;

//! The store on a real Postgres: concurrent users, crashes, and duplicates.
//!
//! Each test has its own database and no Salesforce: it passes observations and write outcomes to the
//! store directly.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod apply;
mod capture;
mod captured_children;
mod captured_statements;
mod captured_triggers;
mod captured_types;
mod column_types;
mod install;
mod observations;
mod operator;
mod schema;
mod settle;
mod statements;
mod storage;
mod streams;
mod timeline;
mod world;

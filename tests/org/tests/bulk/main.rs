//! Bulk API 2.0 and 1.0, call by call, without sockets. The tests move the clock.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod cells;
mod dataload;
mod dataload_loads;
mod failures;
mod fixture;
mod ingest;
mod lifecycle;
mod properties;
mod query;
